--- The application's files, loaded once: tables of functions by kind and
--- name.

local core = require("sd.core")

---@class sd.app
local app = {
    ---@type table<string, table> "shop/cart" -> module
    controllers = {},
    models = {},
    tasks = {},
    packs = {},
    routes = {},
    middlewares = {},
    hooks = {},
}

local folders = {
    controllers = "table",
    models = "table",
    tasks = "table",
    packs = "table",
    routes = "table",
    middlewares = "function",
}

--- Words of a controller's `self`; a method of that name would hide them.
local words = [[
    conn_id uid port peer session context send close ask bind_uid unbind_uid
    join_group leave_group subscribe unsubscribe model request response
]]
local reserved = {}
for word in words:gmatch("%S+") do
    reserved[word] = true
end

local function refuse(path, text)
    error("scripts/" .. path .. ".lua: " .. text, 0)
end

local function check_controller(path, module)
    for name, value in pairs(module) do
        if type(value) == "function" and reserved[name] then
            refuse(path, "method '" .. name .. "' hides self:" .. name)
        end
    end
end

--- Run one file and keep what it returned.
local function load_file(path)
    local kind, name = path:match("^(%l+)/(.+)$")
    local module = require(path:gsub("/", "."), nil)
    if type(module) ~= folders[kind] then
        refuse(path, "must return a " .. folders[kind])
    end
    if kind == "controllers" then
        check_controller(path, module)
    end
    app[kind][name] = module
end

local paths, at = nil, 0

--- Load the next file of the folders above. Raises "file:line: message".
---@return boolean more is there another one?
function app.load_next()
    paths = paths or core.scripts()
    at = at + 1
    local path = paths[at]
    local kind = path and path:match("^(%l+)/")
    if kind and folders[kind] then
        load_file(path)
    elseif path == "app" then
        local hooks = require("app")
        if type(hooks) ~= "table" then
            refuse("app", "must return a table of hooks")
        end
        app.hooks = hooks
    end
    return at < #paths
end

--- Functions of a module that may be called from outside.
---@param module table
---@return table<string, function>
function app.methods(module)
    local methods = {}
    for name, value in next, module do
        if type(name) == "string" and type(value) == "function" then
            if name:sub(1, 1) ~= "_" then
                methods[name] = value
            end
        end
    end
    return methods
end

return app
