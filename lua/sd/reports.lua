--- Reports: what a send did not reach, for the hook `on_undeliverable`.
---
--- A hook may wait, and one handler may send to a hundred thousand uids that
--- are offline. So reports stand in one queue, a few of them are told at a
--- time, and when the queue is full further ones are left out and counted.
--- Each is a call of its own, with a deadline, and with data of its own: what
--- the sender does with its table later is not in it.

local app = require("sd.app")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")

---@class sd.reports
local reports = {}

local TOLD = 32 -- at a time
local WAITING = 1024 -- at most
local BYTES = 16 * 2 ^ 20 -- of the values they carry
local SILENCE = 1 -- seconds between two lines about those left out

---@class sd.Report
---@field uid string
---@field value string msgpack, shared by all reports of a send
---@field bytes integer of the value; 0: another report counts them
---@field reason string

---@type sd.Report[]
local queue = {}
local first, last = 1, 0
local bytes, told, left_out = 0, 0, 0

local function has_room(more)
    return last - first + 1 < WAITING and bytes + more <= BYTES
end

local function put(report)
    last = last + 1
    queue[last] = report
    bytes = bytes + report.bytes
end

local function take()
    local report = queue[first]
    queue[first] = nil
    first = first + 1
    bytes = bytes - report.bytes
    return report
end

local function call_hook(report)
    local value = core.msgpack_decode(report.value)
    if value == core.null then
        value = nil -- nothing was sent, or what it was is not known any more
    end
    app.hooks.on_undeliverable(report.uid, value, report.reason)
end

local tell_more

local function tell(report)
    local ok, err = xpcall(call_hook, fault.catch, report)
    err = not ok and fault.of_xpcall(err)
    if fault.is_raised(err) then
        log.raised(err)
    elseif not ok then
        log.error("on_undeliverable: " .. tostring(err))
    end
    told = told - 1
    tell_more()
end

tell_more = function()
    while told < TOLD and first <= last do
        core.call(tell, take())
        told = told + 1
    end
end

local function leave_one_out()
    if left_out == 0 then
        go.after(SILENCE, function()
            log.warn("on_undeliverable: " .. left_out .. " reports left out")
            left_out = 0
        end)
    end
    left_out = left_out + 1
end

--- Nobody waits for what is volatile, so nobody misses it.
local function is_missed(result, is_volatile)
    return result ~= true and not (is_volatile and result == "slow")
end

--- The value is encoded for the first report of a send, which counts it.
local function add_one(uid, reason, sent)
    if not sent.value and has_room(0) then
        sent.value = core.msgpack_encode(sent.data)
        sent.bytes = #sent.value
    end
    if not sent.value or not has_room(sent.bytes) then
        return leave_one_out()
    end
    put({
        uid = uid,
        value = sent.value,
        bytes = sent.bytes,
        reason = reason,
    })
    sent.bytes = 0
end

--- Report those uids of a send whose result is not true.
---@param uids string[]
---@param data any what was sent
---@param results (true|string)[]
---@param is_volatile? boolean
function reports.add(uids, data, results, is_volatile)
    if not app.hooks.on_undeliverable then
        return
    end
    local sent
    for i, uid in ipairs(uids) do
        if is_missed(results[i], is_volatile) then
            sent = sent or { data = data }
            add_one(uid, results[i], sent)
        end
    end
    if sent then
        tell_more()
    end
end

return reports
