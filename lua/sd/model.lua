--- Models: what controllers, tasks and timers share, one object per call and
--- name.

local app = require("sd.app")
local calls = require("sd.calls")
local fault = require("sd.fault")

---@class sd.Model
---@field context table
---@field model fun(self: sd.Model, name: string): table

local model

local base = {}

function base.model(_, name)
    return model(name)
end

--- Metatables by module, made when first used.
local metas = {}

local function meta(name)
    local module = app.models[name]
    if not module then
        fault.misuse("no model '" .. tostring(name) .. "'")
    end
    local mt = {}
    function mt.__index(self, key)
        local value = module[key]
        if value == nil then
            value = base[key]
        end
        if value == nil and key == "context" then
            value = calls.context()
            rawset(self, "context", value)
        end
        return value
    end
    metas[name] = mt
    return mt
end

--- The running call's object of a model.
---@param name string
---@return table
model = function(name)
    local mt = metas[name] or meta(name)
    local state = calls.state()
    local models = state.models
    if not models then
        models = {}
        state.models = models
    end
    local object = models[name]
    if not object then
        object = setmetatable({}, mt)
        models[name] = object
    end
    return object
end

return model
