--- The route `normal`, and how a route of the application is completed by it.

local fault = require("sd.fault")

---@class sd.Route
---@field request fun(self: table, packet: any): table?, string?
---@field reply fun(call: table, result: any): any
---@field fail fun(call: table?, code: integer, message: string): any
---@field ask fun(id: integer, data: any): any
---@field bye fun(reason: string): any
---@field max_id integer
local normal = { max_id = 65535 }

--- An answer has an id and no more than result and error besides; a null
--- result is absent. What names a method or params is a call gone wrong.
local function is_answer(packet)
    return packet.id ~= nil
        and packet.method_name == nil
        and packet.params == nil
end

function normal.request(_, packet)
    if type(packet) ~= "table" then
        return nil, "a packet is a map"
    end
    local id = packet.id
    if packet.controller_name == nil and is_answer(packet) then
        return { answer = id, result = packet.result, error = packet.error }
    end
    return {
        controller = packet.controller_name,
        method = packet.method_name,
        params = packet.params,
        id = id,
    }
end

function normal.reply(call, result)
    if call.id ~= nil then
        return { id = call.id, result = result }
    end
    return result
end

function normal.fail(call, code, message)
    return {
        id = call and call.id,
        error = { code = code, message = message },
    }
end

function normal.ask(id, data)
    if type(data) ~= "table" then
        fault.misuse("bad argument #1 to 'ask' (a table expected)")
    end
    local packet = {}
    for key, value in pairs(data) do
        packet[key] = value
    end
    packet.id = id
    return packet
end

function normal.bye()
    return nil
end

local routes = {}

--- The route of that name: a module of scripts/routes, completed.
---@param name string
---@param modules table<string, table>
---@return sd.Route
function routes.get(name, modules)
    if name == "normal" then
        return normal
    end
    local module = modules[name]
    if not module then
        error("no route '" .. name .. "' in scripts/routes", 0)
    end
    local route = {}
    for key, own in pairs(normal) do
        route[key] = own
    end
    for key, own in pairs(module) do
        route[key] = own
    end
    return route
end

routes.normal = normal

return routes
