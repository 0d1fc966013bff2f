--- Conns of uids in Redis, for lua/sd/location.lua.
---
--- Of each uid there is a hash sd:{u:UID}:conns: conn id -> "NUMBER HOW TIME".
--- NUMBER is the number of its binding: of two, the higher one is newer. HOW is
--- "alone" when it was bound to be the uid's only conn, else "beside". TIME is
--- when somebody last said that it holds, by Redis's own clock. What nobody has
--- said for EXPIRES seconds is taken out by whoever comes to the hash next, and
--- a hash that nobody comes to expires in the same time: nothing that a dead
--- node or a lost command has left behind stays.
---
--- Where ends of bindings are to be told also when their node has died
--- (reaper.lua), each node has a list of its own, a sorted set sd:{n:BOOT}:uids
--- by when it was said last that the binding holds. A binding is in it before
--- it is made, and until its end was told; what is not said again goes in the
--- same time.

local core = require("sd.core")

---@class sd.location_store
---@field has_list boolean our node's bindings are listed
local location_store = { has_list = false }

local EXPIRES = 900 -- seconds; several rounds, and more than a node may be away
local LIST = 86400 -- seconds that the list of a dead node is kept

--- KEYS: the hash. ARGV: conn, number, policy, seconds, conns to forget ...
local READ = [[
local now = tonumber(redis.call("time")[1])
local id, number, mine, others = ARGV[1], tonumber(ARGV[2]), 0, {}
local alone, highest, forgotten = ARGV[3] ~= "allow", 0, {}
for i = 5, #ARGV do forgotten[ARGV[i] ] = true end
local all = redis.call("hgetall", KEYS[1])
for i = 1, #all, 2 do
    local one = all[i]
    local n, how, at = string.match(all[i + 1], "^(%d+) (%l+) (%d+)$")
    highest = math.max(highest, tonumber(n) or 0)
    if not n or forgotten[one] or tonumber(at) + tonumber(ARGV[4]) < now then
        redis.call("hdel", KEYS[1], one)
    elseif one == id then
        mine = tonumber(n)
    else
        others[#others + 1] = { id = one, n = tonumber(n), how = how }
    end
end
local function write(n)
    local value = string.format("%.0f %s %.0f", n,
        alone and "alone" or "beside", now)
    redis.call("hset", KEYS[1], id, value)
    redis.call("expire", KEYS[1], ARGV[4])
end
]]

--- Returns 0 and the others when it is refused, else the number, above all
--- that the uid has, and those that were there before.
local BIND = READ .. [[
local names = {}
for i, o in ipairs(others) do names[i] = o.id end
if ARGV[3] == "refuse" and #names > 0 then return { 0, names } end
if ARGV[3] == "kick" then redis.call("del", KEYS[1]) end
number = math.max(number, highest + 1)
write(number)
return { number, names }
]]

--- Returns 0 when a newer one wants to be alone, else the number it has now,
--- those who have lost to it, and the others it lives with. Of two with the
--- same number, which two sides of a network that was cut may give, one wins,
--- and gets a higher one; on one node its workers have decided that already
--- (vm/rivals.c), or it is the same conn, which has moved.
local ASSERT = READ .. [[
number = math.max(number, mine)
local lost, beside, top = {}, {}, number
for _, o in ipairs(others) do
    local is_same = o.n == number
    o.is_rival = is_same and string.sub(o.id, 1, 16) ~= string.sub(id, 1, 16)
    o.is_newer = o.n > number or o.is_rival and o.id > id
    if o.is_newer and o.how == "alone" then
        redis.call("hdel", KEYS[1], id)
        return { 0, {}, {} }
    end
end
for _, o in ipairs(others) do
    if alone and not o.is_newer then
        redis.call("hdel", KEYS[1], o.id)
        lost[#lost + 1] = o.id
        if o.is_rival then top = number + 1 end
    else
        beside[#beside + 1] = o.id
    end
end
write(top)
return { top, lost, beside }
]]

function location_store.key(uid)
    return "sd:{u:" .. uid .. "}:conns"
end

local key = location_store.key

--- The list of a node.
---@param boot string
function location_store.list_of(boot)
    return "sd:{n:" .. boot .. "}:uids"
end

local list_of = location_store.list_of

--- A binding in the list of its node: the conn's part of its id, and the uid.
local function entry(uid, id)
    return id:sub(17) .. uid
end

local function digits(n)
    return ("%.0f"):format(n)
end

--- A conn gets a uid.
---@async
---@param policy "kick"|"refuse"|"allow"
---@param dead string[] conns that are to be forgotten before
---@return any[]? reply {number, others}; number 0: refused
---@return string? err
function location_store.bind(server, uid, id, number, policy, dead)
    if not location_store.has_list then
        return server:eval(BIND, 1, key(uid), id, digits(number), policy,
            EXPIRES, unpack(dead))
    end
    local replies, err = server:pipeline(function(p)
        p:zadd(list_of(core.boot), digits(core.now()), entry(uid, id))
        p:eval(BIND, 1, key(uid), id, digits(number), policy, EXPIRES,
            unpack(dead))
    end)
    if not replies then
        return nil, err
    end
    local listed, reply = unpack(replies)
    local failed = reply.err or type(listed) == "table" and listed.err
    if failed then
        return nil, failed
    end
    return reply
end

local sha -- of ASSERT; the same for ever

--- To be called before assert_all().
---@async
---@return true? ok
---@return string? err
function location_store.prepare(server)
    if not sha then
        local reply, err = server:script("load", ASSERT)
        if not reply then
            return nil, err
        end
        sha = reply
    end
    return true
end

--- That these bindings hold: each is {uid=, id=, number=, policy=}. They leave
--- at once, so what ends later is taken out later. The script goes along once.
---@async
---@return any[]? replies {number, lost, others}; number 0: it has lost
---@return string? err also when all is said, but not listed
function location_store.assert_all(server, list)
    local entries, now = {}, digits(core.now())
    local replies, err = server:pipeline(function(p)
        p:script("load", ASSERT)
        for i, b in ipairs(list) do
            p:evalsha(sha, 1, key(b.uid), b.id, digits(b.number), b.policy,
                EXPIRES)
            entries[2 * i - 1], entries[2 * i] = now, entry(b.uid, b.id)
        end
        if location_store.has_list and entries[1] then
            p:zadd(list_of(core.boot), unpack(entries))
        end
    end)
    if not replies then
        return nil, err
    end
    table.remove(replies, 1)
    local listed = table.remove(replies, #list + 1)
    return replies, type(listed) == "table" and listed.err or nil
end

--- Bindings have ended: uids and conns in turn. Those that Redis refuses to
--- take out are left over.
---@async
---@return string[] left all of them when Redis is away
---@return string? err
function location_store.forget(server, list)
    local replies, err = server:pipeline(function(p)
        for i = 1, #list, 2 do
            p:hdel(key(list[i]), list[i + 1])
        end
    end)
    if not replies then
        return list, err
    end
    local left, why = {}, nil
    for i, reply in ipairs(replies) do
        if type(reply) == "table" then
            left[#left + 1], left[#left + 2] = list[2 * i - 1], list[2 * i]
            why = reply.err
        end
    end
    return left, why
end

--- A binding of ours is no more, and that was told, if anybody wants to know.
---@async
function location_store.strike(server, uid, id)
    return server:zrem(list_of(core.boot), entry(uid, id))
end

--- Into a pipeline: of our list goes what is not asserted any more, and in the
--- end the list itself.
function location_store.trim(p)
    local now = core.now()
    p:zremrangebyscore(list_of(core.boot), "-inf", digits(now - EXPIRES))
    p:expire(list_of(core.boot), LIST)
end

--- Some bindings of a node that are in its list.
---@async
---@return {uid: string, id: string, entry: string, is_told: boolean?}[]? list
---@return string? err
function location_store.listed(server, boot, most)
    local list, err = server:zrange(list_of(boot), 0, most - 1)
    for i, text in ipairs(list or {}) do
        list[i] = { uid = text:sub(17), id = boot .. text:sub(1, 16),
            entry = text }
    end
    return list, err
end

--- Of those take out what was told.
---@async
---@return integer? n
---@return string? err
function location_store.unlist(server, list)
    local told = {}
    for _, b in ipairs(list) do
        told[#told + 1] = b.is_told and b.entry or nil
    end
    if not told[1] then
        return nil, "failed: no hook has ended"
    end
    local n, err = server:zrem(list_of(list[1].id:sub(1, 16)), unpack(told))
    return n and #told, err
end

--- The conns of a uid once this one is taken out.
---@async
---@return string[]? list
---@return string? err
function location_store.find_others(server, uid, id)
    local replies, err = server:pipeline(function(p)
        p:hdel(key(uid), id)
        p:hkeys(key(uid))
    end)
    local list = replies and replies[2]
    if not list or list.err then
        return nil, list and list.err or err
    end
    return list
end

--- The conns of a uid and their numbers in turn.
---@async
---@return any[]? list
---@return boolean|string is_sole_or_err there is one, which is alone
function location_store.find(server, uid)
    local reply, err = server:hgetall(key(uid))
    if not reply then
        return nil, err
    end
    local list, is_alone = {}, false
    for id, value in pairs(reply) do
        local number, how = value:match("^(%d+) (%l+)")
        list[#list + 1], list[#list + 2] = id, tonumber(number) or 0
        is_alone = how == "alone"
    end
    return list, is_alone and #list == 2
end

return location_store
