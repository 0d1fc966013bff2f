--- The timers of config/timers.lua, when C says that one is due.

local calls = require("sd.calls")
local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local model = require("sd.model")
local task = require("sd.task")
local ticks = require("sd.ticks")

---@class sd.timers
local timers = {}

local function call(config, args, info)
    if config.task then
        local proxy = task.proxy(config.task)
        return proxy[config.method](proxy, args, info)
    end
    local object = model(config.model)
    local method = object[config.method]
    if type(method) ~= "function" then
        return nil, "no method '" .. tostring(config.method) .. "'"
    end
    return method(object, args, info)
end

local function run_now(config, name, info)
    local ok, result, err =
        xpcall(call, fault.catch, config, config.args or {}, info)
    result = ok and result or fault.of_xpcall(result)
    if not ok and fault.is_raised(result) then
        log.raised(result)
    elseif not ok then
        log.error("timer " .. name .. ": " .. tostring(result))
    elseif result == nil and err ~= nil then
        log.error("timer " .. name .. ": " .. tostring(err))
    end
end

--- From C: run the i-th timer.
---@param i integer
---@param scheduled number seconds, as sd.now()
---@param run integer the how-manieth run this is
function timers.run(i, scheduled, run)
    local config = core.config.timers[i]
    local name = config.name or tostring(i)
    calls.adopt({ request_id = core.request_id() })
    if config.scope ~= "cluster" then
        run_now(config, name, { scheduled = scheduled, run = run })
        return
    end
    local of = (config.model or config.task) .. "." .. config.method
    ticks.run(config, config.name or of, scheduled, function(info)
        run_now(config, name, info)
    end)
end

return timers
