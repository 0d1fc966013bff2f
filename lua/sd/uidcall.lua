--- Calls about conns that give an answer: a delivery that says what became of
--- it, a question to a client, what conns listen to. The worker that has the
--- conns does it; another one, or a task, calls it.

local abroad = require("sd.abroad")
local ask = require("sd.ask")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local task = require("sd.task")
local wait = require("sd.wait")

local settle = wait.settle
local uid_text = conn.uid_text

---@class sd.uidcall
local uidcall = {}

--- How often a uid is looked up for one call. A worker that answers "gone" has
--- done nothing, and knows that the uid has left it since it was looked up.
local LOOKS = 3

--- What this worker does for itself and for others.
---@type table<string, fun(uid: string, value: any, ms: integer): any, ...>
local here = {
    deliver = core.deliver_here,
    subscribe = core.subscribe_here,
    unsubscribe = core.unsubscribe_here,
    abroad = abroad.serve,
}
uidcall.here = here

function here.ask(uid, data, ms)
    local handle = core.uid_newest(uid)
    if not handle then
        return nil, "gone"
    end
    return ask.ask(handle, data, { timeout = ms / 1000 })
end

function here.topic_count(_, filter)
    return core.topic_count_here(filter)
end

local function run(slot, verb, uid, value, ms)
    if slot == core.slot then
        return here[verb](uid, value, ms)
    end
    return settle(core.uid_call(slot, verb, uid, value, ms))
end

local function life(opts)
    local own =
        wait.ms(fault.options(opts).timeout, "timeout") or core.call_timeout
    local left = core.time_left()
    return left and math.min(own, left) or own
end

--- Call `fn(slots, ms)` with the slots that have the uid, that of its newest
--- conn first, `far(ms)` when it has none here, and `both(fn, far)` when it may
--- have some elsewhere too; again with where it is then, while "gone" is all
--- they say.
local function at_uid(uid, ms, fn, far, both)
    local in_cluster = core.in_cluster()
    local ends = core.now() + ms / 1000
    for _ = 1, LOOKS do
        local slots = core.uid_slots({}, uid)
        if #slots == 0 and not in_cluster then
            return nil, "offline"
        end
        local left = math.min(ms, math.ceil((ends - core.now()) * 1000))
        left = math.max(left, 1)
        local result, err, code
        if #slots == 0 then
            result, err, code = far(left)
        elseif in_cluster and core.is_elsewhere(uid) then
            result, err, code = both(function()
                return fn(slots, left)
            end, function()
                return far(left)
            end)
        else
            result, err, code = fn(slots, left)
        end
        if err ~= "gone" then
            return result, err, code
        end
    end
    return nil, "gone"
end

--- What says that nothing was done, and less than any other word.
local nobody = { gone = true, offline = true }

--- Do all of this at the same time, until one has done it; else an error,
--- rather than "gone" another one.
local function any_of(fns)
    local why
    local runs = {}
    for i, fn in ipairs(fns) do
        runs[i] = function()
            local ok, err = fn()
            why = (why == nil or nobody[why]) and err or why
            return ok, err
        end
    end
    local ok, err = go.any(runs)
    if ok then
        return ok
    end
    return nil, why or err
end

local function any_of_both(fn, far)
    return any_of({ fn, far })
end

--- Let all these workers do it.
local function on_any(slots, verb, uid, value, ms)
    if #slots == 1 then
        return run(slots[1], verb, uid, value, ms)
    end
    local runs = {}
    for i, slot in ipairs(slots) do
        runs[i] = function()
            return run(slot, verb, uid, value, ms)
        end
    end
    return any_of(runs)
end

--- All conns of the cluster: the newest of them is asked there, and one here
--- only when nobody was asked.
local function newest_of_both(fn, far)
    local result, err, code = far()
    if result == nil and (nobody[err] or err == "unavailable") then
        return fn()
    end
    return result, err, code
end

--- Send to all conns of a uid and wait until the message is in the queue of
--- one of them.
---@async
---@param uid sd.Uid
---@param data any plain data
---@param opts? {timeout?: number}
---@return true? ok
---@return string? err "offline", "gone", "busy", "slow", "timeout"
function uidcall.deliver_to_uid(uid, data, opts)
    uid = uid_text(uid)
    return at_uid(uid, life(opts), function(slots, ms)
        return on_any(slots, "deliver", uid, data, ms)
    end, function(ms)
        return abroad.call("deliver", uid, data, ms)
    end, any_of_both)
end

--- Ask the client of a uid, wherever it is; of several conns the newest.
---@async
---@param uid sd.Uid
---@param data table
---@param opts? {timeout?: number}
---@return any answer
---@return string? err
---@return integer? code
function uidcall.ask_uid(uid, data, opts)
    uid = uid_text(uid)
    if data == nil then
        fault.misuse("bad argument #2 to 'ask_uid' (something to ask expected)")
    end
    return at_uid(uid, life(opts), function(slots, ms)
        return run(slots[1], "ask", uid, data, ms)
    end, function(ms)
        return abroad.call("ask", uid, data, ms)
    end, newest_of_both)
end

--- Call `fn(slot)` for all of them at the same time; its first results.
local function on_all(slots, fn)
    if #slots == 1 then
        local result, err = fn(slots[1])
        if result == nil and err ~= nil then
            return nil, err
        end
        return { result }
    end
    local runs = {}
    for i, slot in ipairs(slots) do
        runs[i] = function()
            return fn(slot)
        end
    end
    return go.all(runs)
end

--- The first error, but for one that says that there is nobody.
local function change_both(fn, far)
    local results = {}
    local _, cut = go.all({
        function()
            results[1] = { fn() }
        end,
        function()
            results[2] = { far() }
        end,
    })
    local a, b = results[1] or {}, results[2] or {}
    for _, r in ipairs({ a, b }) do
        if not r[1] and r[2] and not nobody[r[2]] then
            return nil, r[2]
        end
    end
    if not cut and (a[1] or b[1]) then
        return true
    end
    return nil, cut or a[2] or b[2]
end

--- The same change for all conns of a uid: the first error, after all had
--- their turn.
local function change(verb, uid, filter)
    uid = uid_text(uid)
    core.topic_filter(filter)
    return at_uid(uid, life(), function(slots, ms)
        local done, why
        local function change_at(slot)
            local ok, err = run(slot, verb, uid, filter, ms)
            done = done or ok
            if err ~= "gone" then
                why = why or err
            end
        end
        local _, cut = on_all(slots, change_at)
        if done and not why and not cut then
            return true
        end
        return nil, why or cut or "gone"
    end, function(ms)
        return abroad.call(verb, uid, filter, ms)
    end, change_both)
end

--- Subscribe the conns the uid has now.
---@async
---@param uid sd.Uid
---@param filter string
---@return true? ok
---@return string? err "offline", "too_large"
function uidcall.subscribe_uid(uid, filter)
    return change("subscribe", uid, filter)
end

---@async
---@param uid sd.Uid
---@param filter string
---@return true? ok
---@return string? err "offline"
function uidcall.unsubscribe_uid(uid, filter)
    return change("unsubscribe", uid, filter)
end

--- Conns of this node that are subscribed to exactly this filter.
---@async
---@param filter string
---@return integer? count
---@return string? err "busy", "timeout"
function uidcall.topic_count_here(filter)
    local ms = life()
    local counts, err = on_all(core.worker_slots({}), function(slot)
        local n, why = run(slot, "topic_count", "", filter, ms)
        if why == "crashed" or why == "gone" then
            return 0 -- its conns are no more
        end
        return n, why
    end)
    if not counts then
        return nil, err
    end
    local sum = 0
    for _, n in ipairs(counts) do
        sum = sum + n
    end
    return sum
end

--- From C: another process calls.
function uidcall.serve(number)
    local verb, uid, value, ms = core.uid_called(number)
    local ok, result, err, code =
        xpcall(here[verb], fault.catch, uid, value, ms)
    if not ok then
        local raised = fault.of_xpcall(result)
        if fault.is_raised(raised) then
            log.raised(raised)
        end
        result, err, code = nil, "failed: " .. verb, 500
    end
    core.uid_answer(number, task.list_of(3, result, err, code))
end

return uidcall
