--- What a reload cannot apply stays as the running node has it, and is named.
local env = require("sd.conf.env")
local nested = require("sd.conf.nested")
local resolve = require("sd.conf.resolve")
local schema = require("sd.conf.schema")

local keep = {}

--- Sections whose names stand for something that the master has opened.
local NAMED = { "ports" }

--- A port that is new or gone.
local function keep_names(c, running, section, warn)
    local new, old = c.trees[section] or {}, running[section] or {}
    c.trees[section] = new
    for _, name in ipairs(schema.sorted_keys(new)) do
        if old[name] == nil then
            local path = section .. "." .. name
            warn(path, path .. " is new: it needs a restart")
            new[name] = nil
        end
    end
    for _, name in ipairs(schema.sorted_keys(old)) do
        if new[name] == nil then
            warn(section, ("%s.%s goes on: it needs a restart to be taken away")
                :format(section, name))
            new[name] = nested.copy(old[name])
        end
    end
end

--- A redis-server of this node's own is started with the node.
local function is_kept(key, tree, running, path)
    if key.path ~= "redis.*.url" then
        return not key.reload
    end
    local has_own = false
    for _, server in pairs(running.redis or {}) do
        has_own = has_own or server.url == "embedded"
    end
    return nested.get(tree, path) == "embedded" and not has_own
end

--- Put back what cannot be applied; a server that the running node does not
--- know goes whole.
local function put_back(c, key, path, old, warn)
    local name = path:match("^redis%.([^.]+)%.url$")
    if name and old == nil then
        c.trees.redis[name] = nil
        warn(path, ("redis.%s is new: it needs a restart"):format(name))
        return
    end
    -- A default that did not fit was lowered at the start.
    local is_set = nested.get(c.trees, path) ~= nil
    if is_set or key.path ~= "server.max_conns" then
        warn(path, path .. " stays as it was: it needs a restart")
    end
    env.apply(c.trees, { path = path, value = nested.copy(old) })
    c.sources[path] = "as it was started"
end

--- Put back, in c.trees, what differs and cannot be applied. True when that
--- was anything.
---@param c table the builder of sd.conf
---@param resolved sd.conf.Resolved
---@param warn fun(path: string, text: string)
function keep.values(c, resolved, running, warn)
    local changed = false
    for _, key in ipairs(c.keys) do
        for _, path in ipairs(resolve.paths(key, resolved.tree)) do
            local old = nested.get(running, path)
            if
                is_kept(key, resolved.tree, running, path)
                and not nested.same(old, nested.get(resolved.tree, path))
            then
                put_back(c, key, path, old, warn)
                changed = true
            end
        end
    end
    return changed
end

function keep.names(c, running, warn)
    for _, section in ipairs(NAMED) do
        keep_names(c, running, section, warn)
    end
end

return keep
