--- What a node that died has left behind: on_uid_closed for whoever was bound
--- there, and its entries in Redis. For lua/sd/location.lua.
---
--- To others its conns are nobody's from when it is thought to be dead. But it
--- may be thought so wrongly, and come back; so their end is told only when it
--- has not been heard of for DEAD seconds, or when another node has its name:
--- the next boot of it, which then does this for the former one.
---
--- A node whose application wants to hear of ends keeps a list of its bindings,
--- sd:{n:BOOT}:uids (location_store.lua), and a beat, sd:{n:BOOT}:beat, that
--- expires; such nodes stand in sd:nodes, boot -> name. One node at a time
--- works off the list of a dead one, as long as that stays dead, and takes out
--- of it whose end was told: who dies of this leaves the rest to another, so an
--- end may be told twice.

local binds = require("sd.binds")
local core = require("sd.core")
local channel = require("sd.channel")
local go = require("sd.go")
local log = require("sd.log")
local redis = require("sd.redis")
local store = require("sd.location_store")

---@class sd.reaper
local reaper = {}

local NODES = "sd:nodes"
local DEAD = 600 -- seconds without a beat
local MISSED = 3 -- beats that the former boot of a name has left out
local PART = 64 -- ends told at once
local HELD = 5000 -- ms that a reaper has for one part, besides its hooks

local ELSEWHERE, BACK = "another node does it", "it is not dead"

--- KEYS: who reaps. ARGV: our boot, ms. Returns 1, or 0: another node does.
local HOLD = [[
local holder = redis.call("get", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("set", KEYS[1], ARGV[1], "px", ARGV[2])
return 1
]]

--- Tells of an end. Set by boot.lua.
---@type fun(uid: string, last: boolean, reason: string)
reaper.tell = nil

local pause -- seconds from one beat to the next

local function of_node(boot, what)
    return "sd:{n:" .. boot .. "}:" .. what
end

--- Replies of a pipeline of which each must be good.
---@async
---@return any[]? replies
---@return string? err
local function pipeline(fn)
    local replies, err = redis():pipeline(fn)
    for _, reply in ipairs(replies or {}) do
        if type(reply) == "table" and reply.err then
            return nil, reply.err
        end
    end
    return replies, err
end

--- Say that we live, and forget what nobody asserts.
---@async
---@return boolean? is_listed there is a list of ours
---@return string? err
local function beat()
    local replies, err = pipeline(function(p)
        p:hset(NODES, core.boot, core.node)
        p:set(of_node(core.boot, "beat"), "1", "ex", DEAD)
        store.trim(p)
        p:exists(store.list_of(core.boot))
    end)
    return replies and replies[#replies] == 1, err
end

--- Is nothing heard of it any more?
---@async
---@return boolean? is_dead
---@return string? err
local function is_dead(boot, name)
    if core.boot_lives(boot) then
        return false
    end
    local ttl, err = redis():ttl(of_node(boot, "beat"))
    if not ttl then
        return nil, err
    end
    return ttl < 0 or name == core.node and ttl < DEAD - MISSED * pause
end

--- Take these conns of a dead node out. Of each: is no other conn of its uid
--- left, of those that live or are still to be told of?
---@async
local function take_out(boot, bindings)
    local replies, err = redis():pipeline(function(p)
        for _, b in ipairs(bindings) do
            p:hdel(store.key(b.uid), b.id)
            p:hkeys(store.key(b.uid))
        end
    end)
    for i, b in ipairs(replies and bindings or {}) do
        local left = replies[2 * i]
        b.last = not left.err
        for _, id in ipairs(left) do
            if id:sub(1, 16) == boot or core.conn_lives(id) then
                b.last = false
            end
        end
    end
    return replies, err
end

--- Run a hook for each, in a call of its own, for so long as others have.
---@async
local function tell_all(bindings)
    local patience = core.call_timeout / 1000
    local done = channel(#bindings)
    for _, b in ipairs(bindings) do
        go.after(0, function()
            local told = go.timeout(patience, reaper.tell, b.uid, b.last,
                "error")
            if not told then
                log.warn("on_uid_closed has not ended in time", { uid = b.uid })
            end
            b.is_told = true
            done:send(true)
        end)
    end
    for _ = 1, #bindings do
        done:receive(patience + 1)
    end
end

--- Tell of the next ends.
---@async
---@return integer? n how many there were
---@return string? err
local function reap_part(boot, name)
    local held, err = redis():eval(HOLD, 1, of_node(boot, "reaper"),
        core.boot .. core.slot, HELD + core.call_timeout)
    if held ~= 1 then
        return nil, held and ELSEWHERE or err
    end
    local dead, why = is_dead(boot, name)
    if not dead then
        return nil, why or BACK
    end
    local bindings
    bindings, err = store.listed(redis(), boot, PART)
    if not bindings or not bindings[1] then
        return bindings and 0, err
    end
    local replies
    replies, err = take_out(boot, bindings)
    if not replies then
        return nil, err
    end
    tell_all(bindings)
    return store.unlist(redis(), bindings)
end

--- Tell of all ends of a node.
---@async
local function reap(boot, name)
    local sum = 0
    repeat
        local n, err = reap_part(boot, name)
        if not n then
            return nil, err, sum
        end
        sum = sum + n
    until n == 0
    local _, err = pipeline(function(p)
        p:del(of_node(boot, "beat"), of_node(boot, "reaper"))
        p:hdel(NODES, boot)
    end)
    return not err, err, sum
end

--- The same, with a word of it.
---@async
local function reap_and_say(boot, name)
    local ok, err, n = reap(boot, name)
    if n > 0 then
        log.info(("node %s is dead: %d bindings of it have ended"):format(name,
            n))
    end
    if not ok and err ~= ELSEWHERE and err ~= BACK then
        binds.complain("bindings of " .. name, err)
    end
end

local seen = {} -- boots that were dead when we looked last

--- One look at all nodes. Who was dead at the last one, too, is reaped: a node
--- that begins knows nobody at first.
---@async
local function look()
    local nodes, err = redis():hgetall(NODES)
    if not nodes then
        binds.complain("nodes in Redis", err)
        return
    end
    local before = seen
    seen = {}
    for boot, name in pairs(nodes) do
        if boot ~= core.boot and is_dead(boot, name) then
            seen[boot] = true
            if before[boot] then
                reap_and_say(boot, name)
            end
        end
    end
end

--- Our node's code does not want to hear of ends any more.
---@async
function reaper.give_up()
    local _, err = pipeline(function(p)
        p:hdel(NODES, core.boot)
        p:del(store.list_of(core.boot), of_node(core.boot, "beat"))
    end)
    if err then
        binds.complain("list of bindings", err)
    end
end

local function beat_and_say()
    local _, err = beat()
    if err then
        binds.complain("beat of our node", err)
    end
end

--- For our node one worker does it.
local function every(seconds, fn)
    go.every(seconds, function()
        if core.worker_slots({})[1] == core.slot then
            fn()
        end
    end)
end

--- Look again and again, and beat, after so many seconds. Before anything is
--- bound here our node is known; what was bound without a list, by code that
--- did not want one, is asserted.
---@async
---@param seconds number
function reaper.start(seconds)
    pause = seconds
    local is_listed, err = beat()
    if not is_listed and core.bound_here() > 0 or err then
        binds.is_behind = true
    end
    every(pause, beat_and_say)
    every(pause, look)
end

return reaper
