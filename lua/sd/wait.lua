--- The end of every wait: marks from C become results.
---
--- A binding that waits returns through `settle`, so that an answer is made
--- inside the coroutine, a deadline is `nil, "timeout"`, and a cancelled
--- coroutine raises at each of its waits.

local core = require("sd.core")
local calls = require("sd.calls")

local ANSWER, TIMEOUT = core.ANSWER, core.TIMEOUT
local EXPIRED, CANCELLED = core.EXPIRED, core.CANCELLED
local take = core.take

---@class sd.wait
local wait = {}

--- Results of a wait from what the binding gave.
function wait.settle(mark, ...)
    if mark == ANSWER then
        return take()
    elseif mark == TIMEOUT then
        return nil, "timeout"
    elseif mark == EXPIRED then
        calls.expire()
        return nil, "timeout"
    elseif mark == CANCELLED then
        error("cancelled", 0)
    end
    return mark, ...
end

--- Milliseconds of an argument in seconds; misuse raises.
---@param seconds any
---@param name string for the message
---@return integer? ms nil when there was no argument
function wait.ms(seconds, name)
    if seconds == nil then
        return nil
    end
    local is_number = type(seconds) == "number" and seconds == seconds
    if not is_number or seconds < 0 then
        core.raise("bad argument '" .. name .. "' (seconds expected)")
    end
    return math.min(math.ceil(seconds * 1000), 2 ^ 42)
end

return wait
