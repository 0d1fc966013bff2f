--- Which controller methods can be called through which port.
local routes = {}

---@class sd.conf.Route
---@field port string
---@field controller string
---@field method string
---@field place string "scripts/controllers/chat.lua:7"

--- Does a port's pattern ("*", "admin/*", a name) serve this controller?
---@return boolean
function routes.serves(pattern, controller)
    if pattern == "*" then
        return true
    end
    local folder = pattern:match("^(.*/)%*$")
    if folder then
        return controller:sub(1, #folder) == folder
    end
    return pattern == controller
end

local function open_methods(methods, prefix)
    local list = {}
    for _, m in ipairs(methods) do
        local name = m.name
        if name:sub(1, 1) ~= "_" and name:sub(1, #prefix) == prefix then
            list[#list + 1] = { name = name:sub(#prefix + 1), line = m.line }
        end
    end
    return list
end

local function served_by(port, controller)
    for _, pattern in ipairs(port.controllers or { "*" }) do
        if routes.serves(pattern, controller) then
            return true
        end
    end
    return false
end

---@param ports table<string, table> checked and complete
---@param methods table<string, { name: string, line: integer }[]>
---@return sd.conf.Route[]
function routes.all(ports, methods)
    local list, names, controllers = {}, {}, {}
    for name in pairs(ports or {}) do
        names[#names + 1] = name
    end
    for controller in pairs(methods) do
        controllers[#controllers + 1] = controller
    end
    table.sort(names)
    table.sort(controllers)
    for _, name in ipairs(names) do
        local port = ports[name]
        for _, controller in ipairs(controllers) do
            local open = served_by(port, controller)
                and open_methods(methods[controller], port.method_prefix or "")
            for _, m in ipairs(open or {}) do
                list[#list + 1] = {
                    port = name,
                    controller = controller,
                    method = m.name,
                    place = ("scripts/controllers/%s.lua:%d"):format(
                        controller,
                        m.line
                    ),
                }
            end
        end
    end
    return list
end

return routes
