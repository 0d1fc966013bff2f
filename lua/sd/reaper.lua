--- What a node that died has left behind: on_uid_closed for whoever was bound
--- there, and its entries in Redis. For lua/sd/location.lua.
---
--- To others its conns are nobody's from when it is thought to be dead. But it
--- may be thought so wrongly, and come back; so their end is told only when it
--- was not heard of for DEAD seconds, or when another node has its name: the
--- next boot of it, which then does this for the former one.
---
--- A node whose application wants to hear of ends keeps a list of its bindings,
--- sd:{n:BOOT}:uids (location_store.lua), and a beat, sd:{n:BOOT}:beat, that
--- expires; all nodes stand in sd:nodes, boot -> name. One node at a time works
--- off the list of a dead one, and takes out of it whose end was told: who dies
--- of this leaves the rest to another, so an end may be told twice.

local core = require("sd.core")
local go = require("sd.go")
local lock = require("sd.lock")
local log = require("sd.log")
local redis = require("sd.redis")
local store = require("sd.location_store")

---@class sd.reaper
local reaper = {}

local NODES = "sd:nodes"
local DEAD = 600 -- seconds without a beat
local LIST = 86400 -- seconds that a list is kept of which nobody says anything
local PART = 64 -- ends told at once
local TTL = 30000 -- ms until a reaper that died is replaced

--- Tells of an end. Set by boot.lua.
---@type fun(uid: string, last: boolean, reason: string)
reaper.tell = nil

local function beat_of(boot)
    return "sd:{n:" .. boot .. "}:beat"
end

--- Say that we live. Whom Redis knows: boot -> name.
---@async
---@return table<string, string>? nodes
---@return string? err
local function beat()
    local replies, err = redis():pipeline(function(p)
        p:hset(NODES, core.boot, core.node)
        p:set(beat_of(core.boot), "1", "ex", DEAD)
        p:expire(store.list_of(core.boot), LIST)
        p:hgetall(NODES)
    end)
    if not replies then
        return nil, err
    end
    return not replies[4].err and replies[4] or nil, replies[4].err
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
    if not replies then
        error(err, 0)
    end
    for i, b in ipairs(bindings) do
        local left = replies[2 * i]
        if left.err then
            error(left.err, 0)
        end
        b.last = true
        for _, id in ipairs(left) do
            if id:sub(1, 16) == boot or core.conn_lives(id) then
                b.last = false
            end
        end
    end
end

--- Tell of the next ends; how many there were.
---@async
local function tell_some(boot)
    local bindings, err = store.listed(redis(), boot, PART)
    if not bindings then
        error(err, 0)
    end
    take_out(boot, bindings)
    local hooks, told = {}, {}
    for i, b in ipairs(bindings) do
        hooks[i] = function()
            reaper.tell(b.uid, b.last, "error")
        end
        told[2 * i - 1], told[2 * i] = b.uid, b.id
    end
    if told[1] then
        go.all(hooks)
        local ok, why = store.forget(redis(), told)
        if not ok then
            error(why, 0)
        end
    end
    return #bindings
end

--- Tell of all ends of a node.
---@async
local function reap(boot, name)
    local told = 0
    repeat
        local n = tell_some(boot)
        told = told + n
    until n == 0
    redis():pipeline(function(p)
        p:del(beat_of(boot))
        p:hdel(NODES, boot)
    end)
    if told > 0 then
        log.info(("node %s died: %d bindings of it have ended"):format(name,
            told))
    end
    return true
end

--- Can nothing be heard of it any more?
---@async
local function is_over(boot, name)
    if boot == core.boot or core.boot_lives(boot) then
        return false
    end
    return name == core.node or redis():exists(beat_of(boot)) == 0
end

--- One look at all nodes; one worker does it for ours.
---@async
local function look()
    if core.worker_slots({})[1] ~= core.slot then
        return
    end
    local nodes, err = beat()
    if not nodes then
        log.debug("nodes in Redis: " .. tostring(err))
        return
    end
    for boot, name in pairs(nodes) do
        if is_over(boot, name) then
            local ok, why = lock.at("sd:{n:" .. boot .. "}:reap:", TTL,
                function()
                    return reap(boot, name)
                end, 0)
            if not ok and why ~= "busy" then
                error(why, 0)
            end
        end
    end
end

--- Look again and again, after so many seconds. Before anything is bound here
--- our node is known.
---@async
---@param pause number
function reaper.start(pause)
    beat()
    go.every(pause, function()
        local ok, err = pcall(look)
        if not ok then
            log.warn("bindings of dead nodes: " .. tostring(err))
        end
    end)
end

return reaper
