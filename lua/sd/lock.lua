--- Locks that all nodes share, in Redis.
---
---     local ok, err = sd.lock("stock:7", 10, function(fence) ... end)
---
--- The owner has a token of its own in sd:{l:KEY}:owner, which expires; while
--- the function runs it is renewed again and again. sd:{l:KEY}:fence has the
--- last fencing number. It is never below Redis's clock in microseconds, which
--- owners in turn cannot outrun, so it rises also after Redis has lost its
--- data, and may be forgotten in time.
---
--- Who cannot renew ends its function before the lock is somebody else's: all
--- is counted from before the question was sent.

local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local redis = require("sd.redis")
local wait = require("sd.wait")

---@class sd.lock
local lock = {}

local LEAST = 100 -- ms that a lock may live unrenewed
local LAST_PART = 5 / 6 -- of its time, when a lock that is not renewed is lost
local FENCE_LIFE = 7 * 86400 * 1000 -- ms that a number is kept without locks
local PAUSE, PAUSE_MOST = 20, 500 -- ms between tries

--- KEYS: owner, fence. ARGV: token, ms, ms the number is kept.
--- Returns the fencing number, or 0: somebody else has it.
local TAKE = [[
if not redis.call("set", KEYS[1], ARGV[1], "nx", "px", ARGV[2]) then
    return 0
end
local time = redis.call("time")
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local fence = tonumber(redis.call("get", KEYS[2]) or 0) + 1
if fence < now then fence = now end
local text = string.format("%.0f", fence)
redis.call("set", KEYS[2], text, "px", ARGV[3])
return fence
]]

--- KEYS: owner. ARGV: token, ms. Returns 1, or 0: it is not ours any more.
local RENEW = [[
if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("pexpire", KEYS[1], ARGV[2])
]]

--- KEYS: owner. ARGV: token.
local RELEASE = [[
if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("del", KEYS[1])
]]

--- A lock that is ours.
---@class sd.Held
---@field owner string its key in Redis
---@field token string
---@field ttl integer ms
---@field good_until number core.mono()
---@field work? sd.Handle
---@field keeper? sd.Handle
---@field release? sd.Handle
---@field is_lost? boolean
---@field why? string what went wrong with the last renewal

local function digits(n)
    return ("%.0f"):format(n)
end

--- True, or nil and what went wrong; nil alone: it is not ours.
local function renew(held)
    local sent = core.mono()
    local reply, err = redis():eval(RENEW, 1, held.owner, held.token,
        digits(held.ttl))
    if reply == 1 then
        held.good_until = sent + held.ttl * LAST_PART
        return true
    end
    return nil, err
end

local function lose(held, why)
    held.is_lost = true
    log.warn(("lock %s was lost: %s"):format(held.owner, why))
    held.work:cancel()
end

--- Renew it until the work has ended.
local function keep(held)
    while not held.work.results do
        local left = held.good_until - core.mono()
        if left <= 0 then
            return lose(held, held.why or "Redis did not answer in time")
        end
        go.sleep(math.min(held.ttl / 3, left) / 1000)
        if held.work.results then
            return
        elseif core.mono() < held.good_until then
            local done, err = go.timeout(
                (held.good_until - core.mono()) / 1000, renew, held)
            if not done and not err then
                return lose(held, "it is somebody else's")
            end
            held.why = err
        end
    end
end

--- A function that did not wait has kept the keeper from its work: whether the
--- lock was ours to the end, Redis says, or else the time that it was good for.
local function release(held)
    local ended = core.mono()
    held.keeper:cancel()
    local done, err = redis():eval(RELEASE, 1, held.owner, held.token)
    local is_ours = done == 1 or not done and ended < held.good_until
    if not is_ours and not held.is_lost then
        held.is_lost = true
        log.warn(("lock %s was lost before its function ended"):format(
            held.owner))
    elseif not done then
        log.warn(("lock %s expires by itself: %s"):format(held.owner, err))
    end
end

--- Run the function, which ends when the lock is lost.
local function work(held, fn, fence)
    held.work = go.go(fn, fence)
    held.work.on_done = function()
        held.release = go.apart(release, held)
    end
    held.keeper = go.apart(keep, held)
    local _, err = held.work:wait()
    if not held.work.results then
        held.work:cancel() -- the call's own time is over
        return nil, err
    end
    held.release:wait()
    if held.is_lost then
        return nil, "closed: the lock was lost"
    end
    return unpack(held.work.results, 1, held.work.results.n)
end

--- The fencing number; 0: somebody else has it; or nil, word.
local function take(held, fence_key)
    local sent, server = core.mono(), redis()
    local ok, fence, err = pcall(server.eval, server, TAKE, 2, held.owner,
        fence_key, held.token, digits(held.ttl), digits(FENCE_LIFE))
    held.good_until = sent + held.ttl * LAST_PART
    if ok and fence then
        return fence
    end
    -- It may have been done all the same.
    go.apart(function()
        server:eval(RELEASE, 1, held.owner, held.token)
    end)
    if not ok then
        error(fence, 0) -- the wait was cancelled
    end
    log.debug("lock " .. held.owner .. ": " .. tostring(err))
    return nil, "unavailable"
end

--- Take it, again and again for so many ms.
local function take_in(held, fence_key, ms)
    local last, pause = core.mono() + ms, PAUSE
    while true do
        local fence, err = take(held, fence_key)
        local left = last - core.mono()
        if not fence or fence > 0 then
            return fence, err
        elseif left <= 0 then
            return nil, "busy"
        end
        local rest = math.min(pause * (0.5 + core.random(1):byte() / 256), left)
        local slept, why = go.sleep(math.max(rest, 1) / 1000)
        if not slept then
            return nil, why
        end
        pause = math.min(pause * 2, PAUSE_MOST)
    end
end

--- The same as below, of keys in Redis that begin so; times in ms.
---@async
function lock.at(prefix, ttl, fn, patience)
    local held = {
        owner = prefix .. "owner",
        token = core.request_id(),
        ttl = ttl,
    }
    local fence, err = take_in(held, prefix .. "fence", patience)
    if not fence then
        return nil, err
    end
    return work(held, fn, fence)
end

--- Run a function that nobody else in the cluster runs under the same key.
---@async
---@param key string
---@param ttl number seconds after which the lock of an owner that died is free
---@param fn fun(fence: integer): any gets a number higher than all before it
---@param opts? { wait: number? } seconds to wait for it; default: none
---@return any ... fn's results, or nil, "busy", "unavailable", or "closed: the
--- lock was lost"
function lock.lock(key, ttl, fn, opts)
    if type(key) ~= "string" or #key == 0 or #key > 256 then
        fault.misuse("bad key of a lock (text of 1 to 256 bytes expected)")
    elseif type(fn) ~= "function" then
        fault.misuse("bad argument #3 to 'lock' (a function expected)")
    end
    local ms = wait.ms(ttl, "ttl")
    if not ms or ms < LEAST then
        fault.misuse("bad argument 'ttl' (at least 0.1 seconds expected)")
    end
    return lock.at("sd:{l:" .. key .. "}:", ms, fn,
        wait.ms(fault.options(opts).wait, "wait") or 0)
end

return lock
