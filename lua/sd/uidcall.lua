--- Calls to a uid that give an answer: a question to its client, and a
--- delivery that says what became of it. The worker that has the conn does
--- both; another one, or a task, calls it.

local ask = require("sd.ask")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local task = require("sd.task")
local wait = require("sd.wait")

local settle = wait.settle
local uid_text = conn.uid_text

---@class sd.uidcall
local uidcall = {}

--- Ask or deliver on this worker.
local function run_here(kind, uid, data, ms)
    if kind == "deliver" then
        return core.deliver_here(uid, data)
    end
    local handle = core.uid_newest(uid)
    if not handle then
        return nil, "gone"
    end
    return ask.ask(handle, data, { timeout = ms / 1000 })
end

local function run(slot, kind, uid, data, ms)
    if slot == core.slot then
        return run_here(kind, uid, data, ms)
    end
    return settle(core.uid_call(slot, kind, uid, data, ms))
end

local function life(opts)
    local own = wait.ms(opts and opts.timeout, "timeout") or core.call_timeout
    local left = core.time_left()
    return left and math.min(own, left) or own
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
    local ms = life(opts)
    local done, why = nil, "offline"
    for _, slot in ipairs(core.uid_slots({}, uid)) do
        local ok, err = run(slot, "deliver", uid, data, ms)
        done, why = done or ok, err or why
    end
    if done then
        return true
    end
    return nil, why
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
    local slot = core.uid_slots({}, uid)[1]
    if not slot then
        return nil, "offline"
    end
    return run(slot, "ask", uid, data, life(opts))
end

--- From C: another process calls.
function uidcall.serve(number)
    local is_ask, uid, data, ms = core.uid_called(number)
    local kind = is_ask and "ask" or "deliver"
    local ok, result, err, code =
        xpcall(run_here, fault.catch, kind, uid, data, ms)
    if not ok then
        local raised = fault.of_xpcall(result)
        if fault.is_raised(raised) then
            log.raised(raised)
        end
        result, err, code = nil, "failed: " .. kind, 500
    end
    core.uid_answer(number, task.list_of(3, result, err, code))
end

return uidcall
