--- Concurrency: go, all, any, timeout, channel, sleep, after, every.
---
--- A child runs in a coroutine of its own and belongs to the one that made
--- it: when the parent ends, its children are cancelled, which means that
--- their current wait and each later one raises "cancelled".

local core = require("sd.core")
local calls = require("sd.calls")
local fault = require("sd.fault")
local log = require("sd.log")
local wait = require("sd.wait")

local settle = wait.settle

local function pack(...)
    return { n = select("#", ...), ... }
end

---@class sd.go
local go = {}

---@class sd.Handle
---@field private id integer
---@field private results? table packed
---@field private waiters table<integer, true> tickets
---@field private on_done? fun(handle: sd.Handle)
local Handle = {}
Handle.__index = Handle

--- Children by the identity of their parent.
---@type table<integer, table<integer, true>>
local children = {}

--- Parent by the identity of the child.
---@type table<integer, integer>
local parents = {}

--- From C: a tracked coroutine has ended.
---@param id integer
function go.ended(id)
    local kids = children[id]
    children[id] = nil
    for kid in pairs(kids or {}) do
        parents[kid] = nil
        core.cancel(kid)
    end
    local parent = parents[id]
    parents[id] = nil
    if parent and children[parent] then
        children[parent][id] = nil
    end
end

local function finish(handle, ok, ...)
    local results
    if ok then
        results = pack(...)
    else
        local err = fault.of_xpcall((...))
        if fault.is_raised(err) then
            log.raised(err)
        end
        results = pack(fault.result(err))
    end
    handle.results = results
    for ticket in pairs(handle.waiters) do
        core.wake(ticket)
    end
    handle.waiters = nil
    if handle.on_done then
        handle.on_done(handle)
    end
end

local function body(handle, fn, ...)
    finish(handle, xpcall(fn, fault.catch, ...))
end

--- Start a coroutine; `deadline` as in core.spawn.
---@return sd.Handle
local function spawn(detached, fn, ...)
    if type(fn) ~= "function" then
        fault.misuse("a function expected, got " .. type(fn))
    end
    local handle = setmetatable({ waiters = {} }, Handle)
    handle.id = core.spawn(detached, body, handle, fn, ...)
    return handle
end

local function adopt(handle)
    local parent = core.running()
    core.track(parent)
    core.track(handle.id)
    children[parent] = children[parent] or {}
    children[parent][handle.id] = true
    parents[handle.id] = parent
end

--- Wait for the function's results.
---@async
---@param seconds? number
---@return any ... its results, or nil and what went wrong
function Handle:wait(seconds)
    local ms = wait.ms(seconds, "seconds")
    if not self.results then
        local ticket = core.ticket()
        self.waiters[ticket] = true
        local _, err = settle(core.wait(ms))
        if not self.results then
            self.waiters[ticket] = nil
            return nil, err
        end
    end
    return unpack(self.results, 1, self.results.n)
end

--- Make its current wait and every later one raise "cancelled".
function Handle:cancel()
    if not self.results then
        core.cancel(self.id)
    end
end

--- Run a function beside this one.
---@param fn function
---@return sd.Handle
function go.go(fn, ...)
    if not core.running() then
        return spawn(true, fn, ...)
    end
    local handle = spawn(false, fn, ...)
    adopt(handle)
    return handle
end

--- Run a function in a call of its own: neither the end of this one nor its
--- deadline ends it, but what waits for the end of calls waits for it.
---@param fn function
---@return sd.Handle
function go.apart(fn, ...)
    local handle = setmetatable({ waiters = {} }, Handle)
    handle.id = core.apart(body, handle, fn, ...)
    return handle
end

--- Did these packed results say failure?
local function failed(results)
    return results[1] == nil and results[2] ~= nil
end

--- Run every function of a table and watch them; `judge(key, results, left)`
--- returns true when the outcome is settled.
local function race(fns, judge)
    if type(fns) ~= "table" then
        fault.misuse("a table of functions expected, got " .. type(fns))
    end
    local left, settled, ticket = 0, false, nil
    local handles = {}
    for _, fn in pairs(fns) do
        if type(fn) ~= "function" then
            fault.misuse("a table of functions expected")
        end
        left = left + 1
    end
    if left == 0 then
        return
    end
    for key, fn in pairs(fns) do
        local handle = go.go(fn)
        handles[key] = handle
        handle.on_done = function()
            left = left - 1
            if not settled and (judge(key, handle.results) or left == 0) then
                settled = true
                if ticket then
                    core.wake(ticket)
                end
            end
        end
    end
    local err
    while not settled do
        ticket = core.ticket()
        local _, why = settle(core.wait())
        if not settled and why then
            err = why
            break
        end
    end
    settled = true
    for _, handle in pairs(handles) do
        handle:cancel()
    end
    return err
end

--- Run all; their first results under the same keys.
---@async
---@param fns table<any, function>
---@return table? results
---@return string? err of the first that failed
---@return any key of the first that failed
function go.all(fns)
    local results, err, bad = {}, nil, nil
    local cut = race(fns, function(key, r)
        if failed(r) then
            err, bad = r[2], key
            return true
        end
        results[key] = r[1]
    end)
    if err or cut then
        return nil, err or cut, bad
    end
    return results
end

--- Run all; the first that succeeds wins.
---@async
---@param fns table<any, function>
---@return any result
---@return any key_or_err
function go.any(fns)
    local result, won, err
    local cut = race(fns, function(key, r)
        if failed(r) then
            err = r[2]
            return false
        end
        result, won = r[1], key
        return true
    end)
    if won ~= nil then
        return result, won
    end
    return nil, cut or err or "invalid: nothing to run"
end

--- Run a function for at most so long.
---@async
---@param seconds number
---@param fn function
---@return any ... its results, or nil, "timeout"
function go.timeout(seconds, fn, ...)
    if seconds == nil then
        fault.misuse("bad argument 'seconds' (seconds expected)")
    end
    wait.ms(seconds, "seconds")
    local handle = go.go(fn, ...)
    handle:wait(seconds)
    if handle.results then
        return unpack(handle.results, 1, handle.results.n)
    end
    handle:cancel()
    return nil, "timeout"
end

--- Wait.
---@async
---@param seconds number
---@return true? ok
---@return string? err "timeout" when the call's deadline came first
function go.sleep(seconds)
    if seconds == nil then
        fault.misuse("bad argument 'seconds' (seconds expected)")
    end
    local _, err = settle(core.sleep(wait.ms(seconds, "seconds")))
    if err == "timeout" and calls.live > 0 then
        local state = calls.peek()
        if state and state.expired then
            return nil, "timeout"
        end
    end
    return true
end

---@class sd.Timer
---@field private off boolean
---@field private ticket? integer while it rests
local Timer = {}
Timer.__index = Timer

--- Never run again; a run under way goes on.
function Timer:cancel()
    self.off = true
    if self.ticket then
        core.wake(self.ticket)
    end
end

--- Rest until `due`, or until the timer is cancelled.
local function rest(timer, due)
    local ms = due - core.mono()
    if not timer.off then
        timer.ticket = core.ticket()
        settle(core.wait(math.max(ms, 1)))
        timer.ticket = nil
    end
end

local function run(fn)
    local ok, err = xpcall(fn, fault.catch)
    err = not ok and fault.of_xpcall(err)
    if fault.is_raised(err) then
        log.raised(err)
    elseif not ok and err ~= "cancelled" then
        log.error("timer: " .. tostring(err))
    end
end

--- Timers that rest, and those of `after` that run, by the identity of their
--- coroutine.
---@type table<integer, {due: number, again: boolean}>
local resting = {}

--- Until when timers still run, once another vm has taken over.
local last_due

--- One run in a coroutine of its own: it is a call with its own context. The
--- next one is planned when it has ended, so that runs never overlap.
local function plan(timer, due, ms, fn, again)
    local id
    id = core.spawn(true, function()
        rest(timer, due) -- cancelled only when the vm ends, and with it
        if timer.off then
            resting[id] = nil
            return
        elseif again then
            resting[id] = nil
        end
        run(fn)
        resting[id] = nil
        if again and not timer.off then
            plan(timer, math.max(due + ms, core.mono()), ms, fn, again)
        end
    end)
    resting[id] = { due = due, again = again }
    if last_due and not again and due <= last_due then
        core.serve(id)
    elseif last_due then
        log.warn("a timer will not run: other code has taken over")
    end
end

--- From C: another vm takes over. Of the timers those of `after` that are due
--- within so many milliseconds still run.
---@param ms number
function go.retire(ms)
    last_due = core.mono() + ms
    for id, timer in pairs(resting) do
        if not timer.again and timer.due <= last_due then
            core.serve(id)
        end
    end
end

local function start_timer(seconds, fn, again)
    local ms = wait.ms(seconds, "seconds")
    if not ms then
        fault.misuse("bad argument 'seconds' (seconds expected)")
    elseif type(fn) ~= "function" then
        fault.misuse("a function expected, got " .. type(fn))
    end
    ms = again and math.max(ms, 1) or ms
    local timer = setmetatable({ off = false }, Timer)
    plan(timer, core.mono() + ms, ms, fn, again)
    return timer
end

--- Run once, later, in this vm.
---@param seconds number
---@param fn fun()
---@return sd.Timer
function go.after(seconds, fn)
    return start_timer(seconds, fn, false)
end

--- Run again and again; a run that takes longer delays the next.
---@param seconds number
---@param fn fun()
---@return sd.Timer
function go.every(seconds, fn)
    return start_timer(seconds, fn, true)
end

return go
