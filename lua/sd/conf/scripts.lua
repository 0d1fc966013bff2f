--- Read and compile every script of the application and of the framework.
local lex = require("sd.conf.lex")

local scripts = {}

local DEPTH = 16
local FILES = 10000

-- The words of a controller's `self`: a method of that name would hide one.
local SELF = {}
for word in
    ([[conn_id uid port peer session context send close ask bind_uid
    unbind_uid join_group leave_group subscribe unsubscribe model request
    response]]):gmatch("%S+")
do
    SELF[word] = true
end

---@class sd.conf.Script
---@field name string its path, and its name in the bundle
---@field text string

local function walk(ctx, root, dir, depth)
    local entries = ctx.host.list(root, dir)
    if entries and depth > DEPTH then
        ctx.note("error", dir, nil, "is nested too deep")
        return
    end
    table.sort(entries or {}, function(a, b)
        return a.name < b.name
    end)
    for _, entry in ipairs(entries or {}) do
        local path = dir .. "/" .. entry.name
        if entry.name:sub(1, 1) == "." or ctx.skip[path] then
            ctx.skipped = true
        elseif entry.kind == "dir" then
            walk(ctx, root, path, depth + 1)
        elseif entry.name:find("%.lua$") then
            ctx.found[#ctx.found + 1] = path
        end
    end
end

local function compile(ctx, path, text)
    if path:find("^scripts/redis/") then
        return true
    elseif text:sub(1, 1) == "\27" then
        ctx.note("error", path, nil, "is compiled Lua, not text")
        return false
    end
    local ok, err = load(text, "@" .. path, "t")
    if not ok then
        local line, what = err:sub(#path + 2):match("^(%d+): (.*)$")
        local severity = path:find("^lua_modules/") and "warning" or "error"
        ctx.note(severity, path, tonumber(line), what or err)
    end
    return ok ~= nil
end

local function read(ctx, root, path)
    ctx.host.on_file(path)
    local text, err = ctx.host.read(root, path)
    if not text then
        ctx.note("error", path, nil, err)
    elseif compile(ctx, path, text) then
        ctx.files[#ctx.files + 1] = { name = path, text = text }
    end
end

local function check_methods(ctx, file)
    local controller = file.name:match("^scripts/controllers/(.+)%.lua$")
    if not controller then
        return
    end
    local methods = lex.methods(file.text)
    for _, m in ipairs(methods) do
        if SELF[m.name] then
            ctx.note(
                "error",
                file.name,
                m.line,
                ('method "%s" would hide self.%s: choose another name'):format(
                    m.name,
                    m.name
                )
            )
        end
    end
    ctx.methods[controller] = methods
end

--- The framework and all scripts, in the order in which they are read.
---@return sd.conf.Script[] files
---@return table<string, { name: string, line: integer }[]> methods of each
--- controller, as far as they are written out
function scripts.all(host, note)
    local ctx = {
        host = host,
        note = note,
        files = {},
        found = {},
        methods = {},
        skip = {
            ["scripts/public"] = true,
            ["sd/conf"] = true,
            ["sd/conf.lua"] = true,
        },
    }
    walk(ctx, "lib", "sd", 1)
    for _, path in ipairs(ctx.found) do
        read(ctx, "lib", path)
    end
    ctx.found = {}
    for _, dir in ipairs({ "scripts", "lib", "lua_modules" }) do
        walk(ctx, "app", dir, 1)
    end
    if #ctx.found > FILES then
        note(
            "error",
            "",
            nil,
            ("%d scripts are more than %d"):format(#ctx.found, FILES)
        )
        return {}, {}
    end
    for _, path in ipairs(ctx.found) do
        read(ctx, "app", path)
    end
    for _, file in ipairs(ctx.files) do
        check_methods(ctx, file)
    end
    return ctx.files, ctx.methods
end

return scripts
