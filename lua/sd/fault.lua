--- Errors: what scripts raise, what they return, what clients see.
---
--- A failure has three faces. In a script it is `nil, err` with a stable word
--- first ("timeout", "refused: too young"). Raised by `sd.fail` it is a Fail
--- object. Towards a client it is a code and a message.

local core = require("sd.core")

---@class sd.fault
local fault = {}

---@class sd.Fail
---@field code integer
---@field message string
local Fail = {
    __tostring = function(self)
        return self.message
    end,
}

--- A Lua error with the stack it had.
---@class sd.Raised
---@field message string
---@field stack string
local Raised = {}

local status = {
    invalid = 400,
    refused = 409,
    offline = 404,
    gone = 410,
    too_large = 413,
    busy = 503,
    slow = 503,
    unavailable = 503,
    timeout = 504,
    closed = 502,
    crashed = 502,
    cancelled = 503,
    failed = 500,
}

--- Raise at the line of the script that called the framework.
---@param text string
function fault.misuse(text)
    core.raise(text)
end

local NONE = {}

--- The options of a call, to be read only; misuse raises.
---@param opts any
---@return table
function fault.options(opts)
    if opts == nil then
        return NONE
    elseif type(opts) ~= "table" then
        fault.misuse("bad options (a table expected)")
    end
    return opts
end

--- Fail the running call with a code of the application's choice.
---@param code integer 400-599 is also the HTTP status
---@param message? string
function fault.fail(code, message)
    if type(code) ~= "number" or code % 1 ~= 0 then
        fault.misuse("bad argument #1 to 'fail' (an integer expected)")
    end
    message = message == nil and "failed" or tostring(message)
    error(setmetatable({ code = code, message = message }, Fail), 0)
end

--- Handler for xpcall: keeps what is no bug as it is, adds the stack to bugs.
function fault.catch(err)
    if err == "cancelled" or getmetatable(err) == Fail then
        return err
    end
    if type(err) ~= "string" then
        err = "(error object is a " .. type(err) .. " value)"
    end
    local stack = debug.traceback("", 2)
    return setmetatable({ message = err, stack = stack }, Raised)
end

--- What xpcall gave behind false: running out of memory, and being stopped by
--- the watchdog, do not pass through `catch` and come as a plain text.
function fault.of_xpcall(err)
    if type(err) == "string" and err ~= "cancelled" then
        local text, stopped_stack = core.stopped()
        if text then
            local raised = { message = text, stack = stopped_stack }
            return setmetatable(raised, Raised)
        end
        core.collect() -- or there is no room for the table that follows
        return setmetatable({ message = err, stack = "" }, Raised)
    end
    return err
end

--- Is this what `catch` made of a Lua error?
function fault.is_raised(err)
    return getmetatable(err) == Raised
end

--- What a client may read of an error of ours.
local function shown(message)
    return core.dev and message or "internal error"
end

--- The same for the text of a failure: "word", "word: detail", or the
--- application's own.
local function describe_text(text, code)
    local word, detail = text:match("^([%l_]+): ?(.*)$")
    if word == "failed" and type(code) == "number" then
        return code, code == 500 and shown(detail) or detail
    end
    return status[word or text] or 400, text
end

--- Code and message for a client.
---@param err any what a call returned behind nil, or what `catch` gave
---@param code? integer the third value of a `failed`
---@return integer code
---@return string message
function fault.describe(err, code)
    local kind = getmetatable(err)
    if kind == Fail then
        return err.code, err.message
    elseif kind == Raised then
        return 500, shown(err.message)
    end
    return describe_text(tostring(err), code)
end

--- `nil, err, code` for the script that waits for a call elsewhere.
---@return nil
---@return string err
---@return integer? code
function fault.result(err)
    local kind = getmetatable(err)
    if kind == Fail then
        return nil, "failed: " .. err.message, err.code
    elseif kind == Raised then
        return nil, "failed: " .. err.message, 500
    end
    return nil, tostring(err)
end

--- A reply's `error` field, as `nil, err, code` again.
---@param err any
function fault.from_reply(err)
    if type(err) ~= "table" then
        return nil, "failed: " .. tostring(err)
    end
    local code = tonumber(err.code)
    return nil, "failed: " .. tostring(err.message), code
end

return fault
