--- Log lines from scripts.

local core = require("sd.core")

---@class sd.log
local log = {}

--- `fields` is plain data, shown behind the text.
---@param text string
---@param fields? table
function log.debug(text, fields)
    core.log(0, tostring(text), fields)
end

---@param text string
---@param fields? table
function log.info(text, fields)
    core.log(1, tostring(text), fields)
end

---@param text string
---@param fields? table
function log.warn(text, fields)
    core.log(2, tostring(text), fields)
end

---@param text string
---@param fields? table
function log.error(text, fields)
    core.log(3, tostring(text), fields)
end

--- A Lua error that nobody caught, with the stack it had.
---@param raised sd.Raised
function log.raised(raised)
    core.log(3, raised.message .. raised.stack)
end

return log
