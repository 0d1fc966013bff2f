--- Clusters for specs: nodes and dispatches on the hosts of a bed (hosts.lua).
---
---     local c = cluster.new(hosts.start(3))
---     c:redis(bed[3])
---     local a, d = c:node("a", bed[1]), c:dispatch("d", bed[2])
---     c:wait_linked()
---     ...
---     c:stop()
---
--- What is started is a server (server.lua) in all respects; a dispatch answers
--- the verbs of `sdlua dispatch`.

local cjson = require("cjson")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

---@class spec.cluster
---@field bed spec.bed
---@field members spec.server[]
local Cluster = {}
Cluster.__index = Cluster

local cluster = {}

--- A new key, as `sdlua key` prints it.
---@return string
function cluster.key()
    local s = server.new()
    local key = s:run("key"):match("%S+")
    server.shell("rm -rf " .. s.dir)
    return key
end

--- Nothing runs yet. `options`: name, key (false: none), and `conf`, Lua text
--- of further fields of config/cluster.lua.
---@param bed spec.bed
---@param options table|nil
---@return spec.cluster
function cluster.new(bed, options)
    options = options or {}
    if options.key == nil then
        options.key = cluster.key()
    end
    return setmetatable({ bed = bed, options = options, members = {} }, Cluster)
end

local function text_of(t)
    local words = {}
    for name, value in pairs(t) do
        if type(value) == "table" then
            local list = {}
            for i, v in ipairs(value) do
                list[i] = ("%q"):format(v)
            end
            value = "{ " .. table.concat(list, ", ") .. " }"
        elseif type(value) == "string" then
            value = ("%q"):format(value)
        end
        words[#words + 1] = ("    %s = %s,\n"):format(name, tostring(value))
    end
    table.sort(words)
    return "return {\n" .. table.concat(words) .. "}\n"
end

--- config/cluster.lua of a member, with `more` in it.
---@param more table|nil
---@return string
function Cluster:conf(more)
    local conf = { enable = true, key = self.options.key or nil, name = self.options.name }
    for _, t in ipairs({ self.options.conf or {}, more or {} }) do
        for name, value in pairs(t) do
            conf[name] = value
        end
    end
    return text_of(conf)
end

--- The Redis of all nodes.
---@param host spec.host
function Cluster:redis(host)
    self.store = redis.start(nil, 6379, host)
    return self.store
end

function Cluster:redis_url()
    return self.store and self.store.url or "redis://10.77.0.254:6379"
end

local function merge(into, files)
    for path, text in pairs(files or {}) do
        into[path] = text
    end
    return into
end

function Cluster:prepare(files, host)
    local s = server.new(files, host)
    self.members[#self.members + 1] = s
    return s
end

--- A folder for a node; launch() starts it.
---@param name string
---@param host spec.host
---@param files table<string, string|false>|nil besides
---@param more table|nil of config/cluster.lua
---@return spec.server
function Cluster:new_node(name, host, files, more)
    local s = self:prepare(merge({
        ["config/server.lua"] = text_of({ workers = 2, tasks = 1, name = name }),
        ["config/cluster.lua"] = self:conf(more),
        ["config/redis.lua"] = ("return { default = { url = %q } }"):format(self:redis_url()),
    }, files), host)
    s.name = name
    return s
end

--- The same for a dispatch, of nothing but the cluster's name and key.
function Cluster:new_dispatch(name, host, files, more)
    local s = self:prepare(merge({
        ["config/server.lua"] = false,
        ["config/ports.lua"] = false,
        ["config/admin.lua"] = "return { listen = 'off' }",
        ["config/cluster.lua"] = self:conf(more),
        ["config/dispatch.lua"] = "return { relays = 2 }",
        ["scripts/controllers/probe.lua"] = false,
    }, files), host)
    s.verbs = "dispatch "
    s.env = "SD_NODE_NAME=" .. name
    s.name = name
    return s
end

--- Start all that were not started yet, beside each other.
function Cluster:launch()
    local new = {}
    for _, s in ipairs(self.members) do
        if not s.launches then
            s:launch()
            new[#new + 1] = s
        end
    end
    for _, s in ipairs(new) do
        s:wait_ready()
    end
end

function Cluster:node(...)
    local s = self:new_node(...)
    s:launch()
    return s:wait_ready()
end

function Cluster:dispatch(...)
    local s = self:new_dispatch(...)
    s:launch()
    return s:wait_ready()
end

--- Whom a member knows: by name, lines of `status --cluster`.
---@param s spec.server
---@return table<string, table>
function cluster.members(s)
    local text, code = s:run("status --cluster --json")
    local list = code == 0 and cjson.decode(text).members or {}
    local map = {}
    for _, m in ipairs(list) do
        map[m.name] = m
    end
    return map
end

--- Does every member that runs know exactly these names as alive?
---@param names string[]
---@param asked spec.server[]|nil nil: all
function Cluster:wait_members(names, asked)
    for _, s in ipairs(asked or self.members) do
        local known
        local function seen()
            local states = {}
            for name, m in pairs(known) do
                states[#states + 1] = name .. " is " .. m.state
            end
            return table.concat(states, ", ") .. "\n" .. s:output()
        end
        server.until_(function()
            local n = 0
            known = cluster.members(s)
            for _, m in pairs(known) do
                n = n + (m.state == "alive" and 1 or 0)
            end
            for _, name in ipairs(names) do
                if not known[name] or known[name].state ~= "alive" then
                    return false, seen
                end
            end
            return n == #names, seen
        end, s.name .. " knows " .. table.concat(names, " "))
    end
end

--- Are all relays of the dispatch linked by so many workers?
---@param dispatch spec.server
---@param workers integer
function cluster.wait_links(dispatch, workers)
    server.until_(function()
        return cluster.are_linked(dispatch, workers)
    end, "all relays of " .. dispatch.name .. " have " .. workers .. " links")
end

function cluster.are_linked(dispatch, workers)
    local relays = 0
    for _, p in ipairs((dispatch:status() or { processes = {} }).processes) do
        if p.role == "relay" then
            relays = relays + 1
            if p.conns ~= workers then
                return false
            end
        end
    end
    return relays > 0
end

--- Every relay has a link to every worker of so many nodes.
function Cluster:wait_linked()
    local workers, dispatches = 0, {}
    for _, s in ipairs(self.members) do
        for _, p in ipairs((s:status() or { processes = {} }).processes) do
            workers = workers + (p.role == "worker" and 1 or 0)
            if p.role == "relay" then
                dispatches[s] = true
            end
        end
    end
    for s in pairs(dispatches) do
        cluster.wait_links(s, workers)
    end
end

--- What the members wrote, for a spec that failed.
function Cluster:logs()
    local texts = {}
    for _, s in ipairs(self.members) do
        texts[#texts + 1] = "--- " .. s.name .. "\n" .. s:output()
    end
    return table.concat(texts, "\n")
end

--- Stop those that still run; the bed is the caller's.
function Cluster:stop()
    for _, s in ipairs(self.members) do
        server.shell("kill -KILL " .. table.concat(s:pids(), " ") .. " 2> /dev/null")
        server.until_(function()
            return #s:pids() == 0
        end)
        server.shell("rm -rf " .. s.dir)
    end
    self.members = {}
    if self.store then
        self.store:stop()
        self.store = nil
    end
end

return cluster
