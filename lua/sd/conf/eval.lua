--- Run the files of config/ in a sandbox and lay them over each other.
local lex = require("sd.conf.lex")

local eval = {}

local DEPTH = 64

---@class sd.conf.Layer
---@field file string
---@field tree table
---@field lines table<string, integer>

--- What a configuration file may use. Fresh copies: whatever it changes there
--- is gone with it.
local function sandbox(getenv)
    local env = {
        assert = assert,
        error = error,
        ipairs = ipairs,
        next = next,
        pairs = pairs,
        pcall = pcall,
        select = select,
        tonumber = tonumber,
        tostring = tostring,
        type = type,
        unpack = unpack,
        os = { getenv = getenv },
    }
    for _, name in ipairs({ "string", "table", "math" }) do
        env[name] = {}
        for key, value in pairs(_G[name]) do
            env[name][key] = value
        end
    end
    env.string.dump = nil
    env._G = env
    return env
end

--- Why a value that is no table is not plain data, or nil.
local function odd_leaf(value)
    local kind = type(value)
    if kind == "number" then
        local finite = value == value and math.abs(value) < 1 / 0
        return not finite and "is not a finite number" or nil
    elseif kind ~= "string" and kind ~= "boolean" then
        return "is a " .. kind .. ", not plain data"
    end
end

--- What is not plain data in `value`: its path and why.
local function not_plain(value, path, open, depth)
    if type(value) ~= "table" then
        local why = odd_leaf(value)
        return why and path, why
    elseif open[value] then
        return path, "contains itself"
    elseif depth > DEPTH then
        return path, "is nested too deep"
    end
    open[value] = true
    for key, item in next, value do
        if odd_leaf(key) or type(key) == "boolean" then
            return path, "has a key that is a " .. type(key)
        end
        local below = (path == "" and "" or path .. ".") .. tostring(key)
        local where, why = not_plain(item, below, open, depth + 1)
        if where then
            return where, why
        end
    end
    open[value] = nil
end

--- Cut "file:line: text" as Lua's errors begin.
local function split_error(file, err)
    local message = type(err) == "string" and err
        or "raised a " .. type(err) .. " value"
    local rest = message:sub(1, #file + 1) == file .. ":"
        and message:sub(#file + 2)
    local line, text = (rest or ""):match("^(%d+): (.*)$")
    return tonumber(line), text or message
end

local function load_file(host, file, env)
    local source, err = host.read("app", file)
    if not source then
        return nil, nil, err
    end
    if source:sub(1, 1) == "\27" then
        return nil, nil, "is compiled Lua, not text"
    end
    local chunk, bad = load(source, "@" .. file, "t", env)
    if not chunk then
        return nil, split_error(file, bad)
    end
    host.on_file(file)
    local ok, tree = pcall(chunk)
    if not ok then
        return nil, split_error(file, tree)
    end
    return { file = file, tree = tree, lines = lex.lines(source) }
end

--- Run one file. A note says what is wrong with it.
---@return sd.conf.Layer?
local function run(host, note, file)
    local layer, line, err = load_file(host, file, sandbox(host.getenv))
    if not layer then
        note("error", file, line, err)
        return nil
    end
    if type(layer.tree) ~= "table" then
        note(
            "error",
            file,
            nil,
            "returns "
                .. (layer.tree == nil and "nothing" or "a " .. type(layer.tree))
                .. ", not a table"
        )
        return nil
    end
    local path, why = not_plain(layer.tree, "", {}, 0)
    if path then
        local what = path == "" and "the table" or path
        note("error", file, layer.lines[path], what .. " " .. why)
        return nil
    end
    return layer
end

local function is_list(t)
    return #t > 0
end

--- `over` laid over `under`: maps are merged, all else replaced. Copies.
local function merge(under, over)
    if type(over) ~= "table" then
        return over
    end
    local result = {}
    if type(under) == "table" and not is_list(under) and not is_list(over) then
        for key, value in pairs(under) do
            result[key] = merge(nil, value)
        end
    end
    for key, value in pairs(over) do
        result[key] = merge(result[key], value)
    end
    return result
end

local function lua_files(host, dir)
    local names = {}
    for _, entry in ipairs(host.list("app", dir) or {}) do
        local name = entry.name:match("^([^.].*)%.lua$")
        if name and entry.kind ~= "dir" then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return names
end

--- Complain where a folder is missing. The environment may say all that a
--- dispatch needs.
local function need(host, note, dir)
    local is_base = dir == "config"
    if host.list("app", dir) or is_base and host.is_dispatch then
        return
    end
    local which = is_base and ": this is no application (-C DIR is)" or ""
    note("error", dir, nil, "no such folder" .. which)
end

--- Evaluate config/ and its overlay.
---@param host table what C provides
---@param note fun(severity: string, file: string, line: integer?, text: string)
---@param overlay string? name of the folder laid over config/
---@return table<string, table> trees by file name
---@return table<string, sd.conf.Layer[]> layers by file name, first to last
function eval.all(host, note, overlay)
    local trees, layers = {}, {}
    local dirs = { "config" }
    if overlay and not overlay:find("^[%w_-][%w_.-]*$") then
        note("error", "SD_CONFIG_DIR", nil, "is not the name of a folder")
    elseif overlay then
        dirs[2] = "config/" .. overlay
    end
    for _, dir in ipairs(dirs) do
        need(host, note, dir)
        for _, name in ipairs(lua_files(host, dir)) do
            local layer = run(host, note, dir .. "/" .. name .. ".lua")
            layers[name] = layers[name] or {}
            trees[name] = trees[name] or {}
            if layer then
                table.insert(layers[name], layer)
                trees[name] = merge(trees[name], layer.tree)
            end
        end
    end
    return trees, layers
end

return eval
