--- Timers with scope = "cluster": each tick is run by one node.
---
--- The ticks of all nodes are those of the wall clock, numbered from 1970, so
--- whoever is due first takes the number in Redis, sd:{t:NAME}:NUMBER, and the
--- others find it taken. A node that is gone takes none, and nothing has to be
--- handed on; one that drains lets the others go first. While the last run goes
--- on somewhere, as its lock says, a tick is left out.
---
--- A number is forgotten after a while, and must not be taken again by somebody
--- who is late: a node that was frozen, or whose clock is wrong. So Redis's own
--- clock judges: only while a tick is near to it on both sides may it be taken,
--- and it is remembered for as long as that is wide.
---
--- Without Redis nobody knows who has a tick, so there are no runs.

local core = require("sd.core")
local go = require("sd.go")
local lock = require("sd.lock")
local log = require("sd.log")
local redis = require("sd.redis")

---@class sd.ticks
local ticks = {}

local LOCK = 10000 -- ms until a run whose node has died is forgotten
local APART = 30000 -- ms, and a period: how far Redis's clock may be
local POLITE = 500 -- ms that one who drains waits for the others, at most
local COUNTED = 30 * 86400 * 1000 -- ms that counters are kept

--- KEYS: tick, runs, fence. ARGV: who, ms the counters are kept, the tick's
--- time, ms it may be off.
--- Returns how many runs there were, and a fencing number as that of a lock;
--- 0: it is taken; -1 and by how many ms the tick is too late for Redis.
local TAKE = [[
local time, most = redis.call("time"), tonumber(ARGV[4])
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local late = math.floor(now / 1000) - tonumber(ARGV[3])
if late > most or -late > most then
    return { -1, late }
end
if not redis.call("set", KEYS[1], ARGV[1], "nx", "px", 2 * most + 1000) then
    return { 0 }
end
local run = redis.call("incr", KEYS[2])
local fence = tonumber(redis.call("get", KEYS[3]) or 0) + 1
if fence < now then fence = now end
redis.call("set", KEYS[3], string.format("%.0f", fence), "px", ARGV[2])
redis.call("pexpire", KEYS[2], ARGV[2])
return { run, fence }
]]

--- Timers that could not run, by name: they have said so.
---@type table<string, true>
local quiet = {}

local function is_away(name, err)
    if not quiet[name] then
        quiet[name] = true
        log.warn(("timer %s does not run: %s"):format(name, tostring(err)))
    end
end

local function digits(n)
    return ("%.0f"):format(n)
end

--- Its keys in Redis begin so. No key of a script's lock does.
local function prefix(name)
    return "sd:{t:" .. name .. "}:"
end

--- Take a tick: its number of runs and fencing number; nothing when another
--- node has it.
local function take(name, tick, every)
    local key = prefix(name)
    local reply, err = redis():eval(TAKE, 3, key .. digits(tick),
        key .. "runs", key .. "fence", core.node, digits(2 * every + COUNTED),
        digits(tick * every), digits(every + APART))
    if not reply then
        return is_away(name, err)
    elseif reply[1] < 0 then
        return is_away(name, ("this node is %.0f s behind the clock of Redis")
            :format(reply[2] / 1000))
    end
    quiet[name] = nil
    if reply[1] > 0 then
        return reply[1], reply[2]
    end
end

--- Run `fn` for the tick at `scheduled`, if it is ours.
---@async
---@param config table of the timer
---@param name string
---@param scheduled number seconds
---@param fn fun(info: table) logs what goes wrong
function ticks.run(config, name, scheduled, fn)
    local every = config.every * 1000
    local tick = math.floor(scheduled * 1000 / every + 0.5)
    if core.is_leaving() then
        go.sleep(math.min(every / 4, POLITE) / 1000)
    end
    local run, fence = take(name, tick, every)
    if not run then
        return
    end
    local info = { scheduled = tick * every / 1000, run = run, fence = fence }
    if config.overlap == "allow" then
        return fn(info)
    end
    local is_ours = false
    local _, err = lock.at(prefix(name), LOCK, function(number)
        is_ours = true
        info.fence = number
        fn(info)
    end, 0)
    if not is_ours and err == "busy" then
        log.debug("timer " .. name .. ": its last run goes on")
    elseif not is_ours then
        is_away(name, err)
    end
end

return ticks
