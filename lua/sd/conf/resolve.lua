--- From checked trees to what the processes read: flat entries for C, typed
--- values for `sd.config`, and where each value came from.
local cluster = require("sd.conf.cluster")
local nested = require("sd.conf.nested")
local schema = require("sd.conf.schema")

local resolve = {}

--- Defaults that depend on other values. C makes them itself: that it is not
--- told tells it that nobody chose.
local DERIVED = { ["cluster.bind"] = cluster.default_bind }

---@class sd.conf.Resolved
---@field entries string
---@field tree table
---@field origin string

--- Where a path was written last: "config/ports.lua:7" or the file alone.
---@param layers table<string, sd.conf.Layer[]>
---@return string? file
---@return integer? line
function resolve.place(layers, path)
    local section, rest = path:match("^([^.]+)%.?(.*)$")
    local list = layers[section] or {}
    for i = #list, 1, -1 do
        local inside = rest
        while inside ~= "" do
            if nested.get(list[i].tree, inside) ~= nil then
                return list[i].file, list[i].lines[inside]
            end
            inside = inside:match("^(.*)%.[^.]*$") or ""
        end
    end
    return list[#list] and list[#list].file
end

local function escape(text)
    return (text:gsub("\\", "\\\\"):gsub("%z", "\\0"))
end

--- A value as Lua and JSON see it: seconds, bytes, numbers, lists.
local function typed(host, key, value)
    if key.type == "any" or type(value) == "table" then
        return value
    elseif key.type == "string" or key.type == "words" then
        return value
    elseif key.type == "list" then
        return { value }
    elseif key.type == "choice" then
        return tonumber(value) or value
    elseif key.type == "time" then
        return value
    end
    return (host.key_read(key.index, schema.text(value)))
end

local function default(host, key)
    if key.fallback == nil then
        return nil
    elseif key.type == "list" or key.type == "words" then
        local list = {}
        for item in key.fallback:gmatch("[^,]+") do
            list[#list + 1] = item
        end
        return list
    end
    return typed(host, key, key.fallback)
end

local function flatten(out, key, path, value)
    if key.type == "any" then
        return
    elseif value == false and key.nullable then
        value = ""
    end
    if type(value) ~= "table" then
        value = schema.text(value)
        out[#out + 1] = path .. "\0" .. escape(value) .. "\0"
        return
    end
    if #value == 0 then
        out[#out + 1] = path .. "\0\0"
    end
    for i, item in ipairs(value) do
        out[#out + 1] = ("%s.%d\0%s\0"):format(path, i, escape(item))
    end
end

local function masked(key, value)
    if not key.secret or type(value) ~= "string" then
        return key.secret and value ~= nil and "***" or value
    elseif value:find("^%a[%w+]*://") then
        return (value:gsub("^(%a[%w+]*://[^:@/]*):[^@]*@", "%1:***@"))
    end
    return value == "embedded" and value or "***"
end

--- Do keys of HTTP stand where HTTP is not spoken?
local function is_idle(key, path, tree)
    local port = path:match("^ports%.([^.]+)%.")
    local protocol = port and nested.get(tree, "ports." .. port .. ".protocol")
    return port and protocol ~= "http" and key.http
end

--- Each key's paths here: one for each name its `*` stands for.
function resolve.paths(key, tree)
    local section = key.path:match("^([^.]+)%.%*")
    if not section then
        return { key.path }
    end
    local list = {}
    for _, name in ipairs(schema.sorted_keys(tree[section] or {})) do
        list[#list + 1] = (key.path:gsub("%*", tostring(name)))
    end
    return list
end

--- One key at one path: its value, and who said so.
local function settle(r, key, path)
    local value = nested.get(r.trees, path)
    local source = r.sources[path]
    if value == nil and DERIVED[path] then
        value, source = DERIVED[path](r.trees), "default"
    elseif value == nil then
        value, source = default(r.host, key), "default"
    else
        if not source then
            local file, line = resolve.place(r.layers, path)
            source = line and file .. ":" .. line or file
        end
        value = typed(r.host, key, value)
    end
    return value, source
end

---@param r table host, keys, trees, layers, sources
---@return sd.conf.Resolved
function resolve.all(r)
    local out, origin, tree = {}, {}, nested.copy(r.trees)
    for _, key in ipairs(r.keys) do
        for _, path in ipairs(resolve.paths(key, r.trees)) do
            local value, source = settle(r, key, path)
            if value ~= nil and not is_idle(key, path, r.trees) then
                nested.put(tree, path, value)
                if not DERIVED[path] or source ~= "default" then
                    flatten(out, key, path, value)
                end
            end
            if not is_idle(key, path, r.trees) then
                origin[#origin + 1] = table.concat({
                    path,
                    value == nil and "null" or r.host.json(masked(key, value)),
                    source,
                    key.reload and "reload" or "",
                    "",
                }, "\0")
            end
        end
    end
    return {
        entries = table.concat(out),
        tree = tree,
        origin = table.concat(origin),
    }
end

return resolve
