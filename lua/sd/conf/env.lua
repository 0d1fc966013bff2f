--- Values from the environment and from flags, matched against known keys.
local schema = require("sd.conf.schema")

local env = {}

-- Variables with a meaning of their own, not a key's.
local SWITCHES = {
    SD_CONFIG_DIR = true,
    SD_CONFIG_SECONDS = true,
    SD_JIT = true,
    SD_NODE_NAME = true,
    SD_BUILD = true,
    SD_LIB = true,
    SD_PRELOAD = true, -- of the specs
}

---@class sd.conf.Override
---@field path string
---@field key sd.conf.Key
---@field value any
---@field source string "environment NAME" or "flag"

local function variable(path)
    return "SD_" .. path:upper():gsub("[^%w]", "_")
end

--- The names a `*` of this key stands for in this configuration.
local function names_of(section, trees)
    local names = {}
    local tree = type(trees[section]) == "table" and trees[section] or {}
    for name in pairs(tree) do
        names[tostring(name)] = true
    end
    if section == "redis" or section == "mysql" then
        names.default = true
    end
    return names
end

--- Every path the keys can have here, by the variable that sets it.
---@return table<string, { path: string, key: sd.conf.Key }>
function env.variables(keys, trees)
    local found = {}
    for _, key in ipairs(keys) do
        local section = key.path:match("^[^.]+")
        if key.type == "any" then
            section = nil
        elseif not key.path:find("*", 1, true) then
            found[variable(key.path)] = { path = key.path, key = key }
            section = nil
        end
        for name in pairs(section and names_of(section, trees) or {}) do
            local path = key.path:gsub("%*", (name:gsub("%%", "%%%%")))
            found[variable(path)] = { path = path, key = key }
        end
    end
    return found
end

local function split(text)
    local list = {}
    for item in text:gmatch("[^,]+") do
        list[#list + 1] = item:match("^%s*(.-)%s*$")
    end
    return list
end

local function from_text(key, text)
    if key.type == "list" or key.type == "words" then
        return split(text)
    elseif key.nullable and text == "false" then
        return false
    end
    return text
end

--- The value of a variable, from the file it names when it ends in _FILE.
local function read(host, name, found)
    local target, value = found[name], host.environ[name]
    local base = name:match("^(.*)_FILE$")
    if not target and base and found[base] then
        local text, err = host.secret(value)
        if not text then
            return nil, nil, value .. ": " .. err
        end
        return found[base], (text:gsub("[\r\n]+$", ""))
    end
    return target, value
end

local function override(host, note, list, name, target, text, source)
    local value = from_text(target.key, text)
    local why = schema.check(host, target.key, value, true)
    if why then
        note("error", name, nil, why)
        return
    end
    list[#list + 1] = {
        path = target.path,
        key = target.key,
        value = value,
        source = source,
    }
end

local function flags(host, note, list)
    for _, flag in ipairs(host.flags) do
        local path, text = flag:match("^([^=]+)=(.*)$")
        local key = path and host.key_find(path)
        if key then
            override(
                host,
                note,
                list,
                path,
                { path = path, key = key },
                text,
                "flag"
            )
        else
            note("error", flag, nil, "is no known key")
        end
    end
end

--- What environment and flags say, in the order in which it applies.
---@return sd.conf.Override[]
function env.overrides(host, note, keys, trees)
    local found = env.variables(keys, trees)
    local list, names = {}, {}
    for name in pairs(host.environ) do
        if name:find("^SD_") and not SWITCHES[name] then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local target, text, err = read(host, name, found)
        if err then
            note("error", name, nil, err)
        elseif target then
            override(
                host,
                note,
                list,
                name,
                target,
                text,
                "environment " .. name
            )
        else
            local near = schema.nearest(name, found)
            note(
                "warning",
                name,
                nil,
                "names no known key"
                    .. (near and "; did you mean " .. near .. "?" or "")
            )
        end
    end
    local node = host.environ.SD_NODE_NAME
    if node and node ~= "" then
        override(
            host,
            note,
            list,
            "SD_NODE_NAME",
            found.SD_SERVER_NAME,
            node,
            "environment SD_NODE_NAME"
        )
    end
    flags(host, note, list)
    return list
end

--- Put a value into the trees; tables on the way are made.
function env.apply(trees, o)
    local parts = {}
    for part in o.path:gmatch("[^.]+") do
        parts[#parts + 1] = part
    end
    local at = trees
    for i = 1, #parts - 1 do
        local name = parts[i]
        if at[tonumber(name)] ~= nil then
            name = tonumber(name)
        end
        if type(at[name]) ~= "table" then
            at[name] = name == "frame" and { type = at[name] } or {}
        end
        at = at[name]
    end
    at[parts[#parts]] = o.value
end

return env
