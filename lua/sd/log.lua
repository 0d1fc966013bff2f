--- Log lines from scripts.

local calls = require("sd.calls")
local core = require("sd.core")

---@class sd.log
local log = {}

--- `fields` is plain data, shown behind the text.
---@param text string
---@param fields? table
function log.debug(text, fields)
    core.log(0, tostring(text), fields, calls.request_id())
end

---@param text string
---@param fields? table
function log.info(text, fields)
    core.log(1, tostring(text), fields, calls.request_id())
end

---@param text string
---@param fields? table
function log.warn(text, fields)
    core.log(2, tostring(text), fields, calls.request_id())
end

---@param text string
---@param fields? table
function log.error(text, fields)
    core.log(3, tostring(text), fields, calls.request_id())
end

--- A Lua error that nobody caught, with the stack it had.
---@param raised sd.Raised
function log.raised(raised)
    core.log(3, raised.message .. raised.stack, nil, calls.request_id())
end

return log
