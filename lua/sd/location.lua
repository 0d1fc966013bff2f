--- Where uids are in the cluster: Redis is the truth, and workers write it.
---
--- Of each uid there is a hash sd:{u:UID}:conns: conn id -> bind number. A bind
--- gets a number above all others of its uid, in one script with the policy; so
--- of two nodes that bind a uid at the same time one loses, and the winner
--- tells the loser's worker. A close takes its own conn id out, so a late one
--- never takes a newer binding away.
---
--- The hash of a uid expires some minutes after the last worker has said that
--- its binding holds, which every worker does with each of its bindings again
--- and again: so what a dead node has left behind goes, and a Redis that has
--- lost its data has it again.

local conn = require("sd.conn")
local core = require("sd.core")
local go = require("sd.go")
local log = require("sd.log")
local redis = require("sd.redis")
local settle = require("sd.wait").settle

---@class sd.location
local location = {}

local EXPIRES = 660 -- seconds after the last assertion
local ROUND = 100 -- seconds in which all bindings are asserted
local STEP = 1 -- seconds from one part of them to the next
local COMPLAIN = 10 -- seconds from one line about Redis to the next
local PART = 500 -- ends or assertions written at once
local OWED = 100000 -- ends kept while Redis is away
local PATIENCE = 500 -- ms for those who had the uid to hear of its new conn

--- KEYS: the hash. ARGV: conn, number, policy, seconds, conns to forget ...
--- Returns 0 and the others when it is refused, else the number and, in turn,
--- the conns that were there before with their numbers.
local BIND = [[
for i = 5, #ARGV do redis.call("hdel", KEYS[1], ARGV[i]) end
local all, last = redis.call("hgetall", KEYS[1]), tonumber(ARGV[2]) - 1
local others = {}
for i = 1, #all, 2 do
    if all[i] ~= ARGV[1] then
        others[#others + 1], others[#others + 2] = all[i], all[i + 1]
    end
    if tonumber(all[i + 1]) > last then last = tonumber(all[i + 1]) end
end
if ARGV[3] == "refuse" and #others > 0 then return { 0, others } end
if ARGV[3] == "kick" then redis.call("del", KEYS[1]) end
redis.call("hset", KEYS[1], ARGV[1], string.format("%.0f", last + 1))
redis.call("expire", KEYS[1], ARGV[4])
return { last + 1, others }
]]

--- KEYS: the hash. ARGV: conn, number, whether it is the only one, seconds.
--- Returns 0 when a newer one has it alone, else 1, those who have lost, and
--- the others it lives with.
local ASSERT = [[
local all, lost, others = redis.call("hgetall", KEYS[1]), {}, {}
for i = 1, #all, 2 do
    if ARGV[3] == "1" and all[i] ~= ARGV[1] then
        if tonumber(all[i + 1]) > tonumber(ARGV[2]) then return { 0, lost } end
        lost[#lost + 1] = all[i]
        redis.call("hdel", KEYS[1], all[i])
    elseif all[i] ~= ARGV[1] then
        others[#others + 1] = all[i]
    end
end
redis.call("hset", KEYS[1], ARGV[1], ARGV[2])
redis.call("expire", KEYS[1], ARGV[4])
return { 1, lost, others }
]]

--- KEYS: where the mark is. ARGV: another one. Returns the one that is there:
--- it goes when all the rest goes.
local MARK = [[
redis.call("set", KEYS[1], ARGV[1], "nx")
return redis.call("get", KEYS[1])
]]

local function key(uid)
    return "sd:{u:" .. uid .. "}:conns"
end

--- Redis is away: one line in a while.
local complained = 0
local function complain(what, err)
    local now = core.now()
    if now - complained >= COMPLAIN then
        complained = now
        log.warn(what .. ": " .. tostring(err))
    end
end

local function digits(n)
    return ("%.0f"):format(n)
end

--- Call fn(conn) of all these conns that live on other nodes, at the same time,
--- and wait for all.
local function each(conns, step, fn)
    local runs = {}
    for i = 1, #conns, step do
        if conns[i]:sub(1, 16) ~= core.boot and core.conn_lives(conns[i]) then
            runs[#runs + 1] = function()
                fn(conns[i])
            end
        end
    end
    if runs[1] then
        go.all(runs)
    end
end

--- Those conns have lost the uid to a binding of that number. That they have
--- heard of it is waited for, so that nobody is there twice when bind_uid() has
--- returned; but not for long, and who does not hear it learns it by asserting
--- his binding.
local function oust(conns, step, uid, number)
    each(conns, step, function(id)
        settle(core.oust(id, uid, number, "replaced", PATIENCE))
    end)
end

--- The uid has those conns, too. Their nodes are told, as above, so that sends
--- from there reach the new one.
local function join(conns, step, uid)
    each(conns, step, function(id)
        if core.mark_elsewhere(uid, id) then
            settle(core.tell_elsewhere(uid, id, PATIENCE))
        end
    end)
end

--- Of those who are in the way, who cannot be there any more; nil: somebody
--- can.
local function all_dead(others)
    local dead = {}
    for i = 1, #others, 2 do
        if core.conn_lives(others[i]) then
            return nil
        end
        dead[#dead + 1] = others[i]
    end
    return dead
end

local function bind(uid, id, number, policy)
    local server = redis()
    local reply, err = server:eval(BIND, 1, key(uid), id, digits(number),
        policy, EXPIRES)
    local dead = reply and reply[1] == 0 and all_dead(reply[2])
    if dead then
        reply, err = server:eval(BIND, 1, key(uid), id, digits(number), policy,
            EXPIRES, unpack(dead))
    end
    return reply, err
end

--- A conn was bound on this node: have it in Redis, too.
---@async
---@return true? ok
---@return string? err "refused", or with that policy "unavailable"
local function publish(handle, uid, policy)
    local bound, id, number, is_sole = core.binding(handle)
    if bound ~= uid then
        return true -- somebody was quicker
    end
    local reply, err = bind(uid, id, number, policy or
        (is_sole and "kick" or "allow"))
    if not reply then
        if policy == "refuse" then
            return nil, "unavailable"
        end
        complain("location of " .. uid, err)
        return true -- asserted later
    elseif reply[1] == 0 then
        return nil, "refused"
    end
    if not core.raise_binding(handle, uid, reply[1]) then
        redis():hdel(key(uid), id) -- it has gone meanwhile
        return true
    end
    core.locate(uid, reply[1], true, is_sole)
    if is_sole then
        oust(reply[2], 2, uid, reply[1])
    else
        join(reply[2], 2, uid)
    end
    return true
end

---@async
function location.bound(handle, uid, policy)
    local ok, done, err = pcall(publish, handle, uid, policy)
    if not ok then
        error(done, 0)
    elseif not done then
        core.unbind_uid(handle)
        return nil, err
    end
    return true
end

--- Conns and uids, in turn, whose end Redis does not know yet.
local owed = {}

--- Take those ends out of Redis. What fails is owed, within bounds: of what is
--- beyond them the hashes expire.
---@async
local function write_ends(list)
    local replies, err = redis():pipeline(function(p)
        for i = 1, #list, 2 do
            p:hdel(key(list[i]), list[i + 1])
        end
    end)
    for i = 1, replies and 0 or math.min(#list, 2 * OWED - #owed) do
        owed[#owed + 1] = list[i]
    end
    return replies, err
end

--- From C: bindings have ended.
---@async
function location.left()
    local list = core.take_left(PART)
    while #list > 0 do
        local ok, err = write_ends(list)
        if not ok then
            complain("ends of bindings", err)
        end
        list = core.take_left(PART)
    end
end

---@async
local function pay()
    local list = owed
    owed = {}
    for first = 1, #list, 2 * PART do
        local last = math.min(first + 2 * PART - 1, #list)
        write_ends({ unpack(list, first, last) })
    end
end

--- From C: a message waits for this uid.
---@async
function location.resolve(uid)
    local ok, reply, err = pcall(function()
        return redis():hgetall(key(uid))
    end)
    if not ok or not reply then
        complain("location of " .. uid, err or reply)
        core.located(uid, "flood")
        return
    end
    local list = {}
    for id, number in pairs(reply) do
        list[#list + 1], list[#list + 2] = id, tonumber(number)
    end
    core.located(uid, "at", list, #list == 2)
end

--- One binding, once more; whoever has lost it is told, also when it is we.
local function take_assertion(handle, uid, number, reply)
    if type(reply) ~= "table" or reply.err then
        return false
    elseif reply[1] == 1 then
        if reply[2][1] then
            go.apart(oust, reply[2], 1, uid, number) -- nobody waits for it
        end
        for _, id in ipairs(reply[3]) do
            core.mark_elsewhere(uid, id)
        end
    elseif core.binding(handle) == uid then
        core.close(handle, "replaced")
    end
    return true
end

---@async
---@return any[]? replies
local function assert_some(handles)
    local those = {}
    local replies = redis():pipeline(function(p)
        for _, handle in ipairs(handles) do
            local uid, id, number, is_sole = core.binding(handle)
            if uid then
                those[#those + 1] = { handle, uid, number }
                p:eval(ASSERT, 1, key(uid), id, digits(number),
                    is_sole and "1" or "0", EXPIRES)
            end
        end
    end)
    for i, reply in ipairs(replies or {}) do
        take_assertion(those[i][1], those[i][2], those[i][3], reply)
    end
    return replies
end

local cursor = 0 -- of the round of assertions
local last_mark
local is_behind = false -- Redis does not know all of them

--- Assert the next bindings; false: Redis is away.
---@async
local function assert_part(most)
    local before = cursor
    local handles
    cursor, handles = core.bindings(cursor, most)
    if #handles > 0 and not assert_some(handles) then
        cursor = before
        return false
    end
    return true
end

--- Assert all bindings.
---@async
local function assert_all()
    cursor = 0
    repeat
        if not assert_part(PART) then
            return false
        end
    until not cursor
    cursor = 0
    return true
end

--- A step of the round. A Redis that has lost its data, or is another one, has
--- another mark: it is told everything at once.
---@async
local function step(round)
    local mark = redis():eval(MARK, 1, "sd:mark", core.random(16))
    if not mark then
        return
    end
    if last_mark and mark ~= last_mark then
        log.info("the Redis has lost where uids are: it is told again")
        is_behind = true
    end
    last_mark = mark
    if is_behind then
        is_behind = not assert_all()
    else
        assert_part(math.max(1, math.ceil(core.online_here() * STEP / round)))
        cursor = cursor or 0
    end
    pay()
end

--- Members compare by a number in it whether they have the same Redis. One
--- that has lost its data is given the number again that it had.
---@async
local function know_redis()
    local id = core.cluster_id()
    if id == 0 then
        for _, byte in ipairs({ core.random(6):byte(1, 6) }) do
            id = id * 256 + byte
        end
    end
    local replies, err = redis():pipeline(function(p)
        p:set("sd:cluster", digits(id), "nx")
        p:get("sd:cluster")
    end)
    local known = replies and tonumber(replies[2])
    if known then
        core.cluster_id(known)
    else
        complain("the cluster's number, of Redis (it is asked again)", err)
    end
end

--- Say again and again, about one in ROUND / STEP of them at a time, that our
--- bindings hold.
function location.start()
    local round = core.location_round() or ROUND
    know_redis()
    go.every(STEP, function()
        know_redis()
        local ok, err = pcall(step, round)
        if not ok then
            complain("location", err)
        end
    end)
end

conn.on_located = location.bound

return location
