--- A small cluster on the addresses of loopback, without hosts of its own
--- (cluster.lua has those): nodes, one dispatch, one Redis, each node in a
--- folder of its own.
---
---     local c = cluster_local.start({ "a", "b" }, files)
---     local x = client.lines(c.a:port("game"))
---     c:stop()
local cjson = require("cjson")
local client = require("spec.support.client")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

---@class spec.cluster_local
---@field names string[] of its nodes
---@field redis support.Redis
---@field dispatch spec.server
---@field [string] spec.server a node by its name
local Cluster = {}
Cluster.__index = Cluster

local cluster_local = {}

local KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="

-- Who is in the way of a call to other nodes?
local PROBE = [[
local sd = require("sd")
local core = require("sd.core")
return { nodes = function()
    local _, err, silent = sd.count_online()
    return { n = #core.other_nodes() / 2, silent = silent, err = err, slot = sd.slot }
end }]]

local function conf(seed, bind)
    return ("return { enable = true, key = %q, bind = %q, discovery = 'seeds', "
        .. "seeds = { %q } }"):format(KEY, bind, seed)
end

--- Do all workers of the node reach all other nodes?
function Cluster:is_joined(name, others)
    local s = self[name]
    local workers, seen, n = 0, {}, 0
    for _, p in ipairs((s:status() or { processes = {} }).processes) do
        workers = workers + (p.role == "worker" and 1 or 0)
    end
    for _ = 1, 40 do
        local c = client.lines(s:port("game"))
        local reply = c:call("cluster_probe/nodes")
        c:close()
        local r = reply and reply.result
        if not r or r.n ~= others or r.silent then
            return false
        elseif not seen[r.slot] then
            seen[r.slot] = true
            n = n + 1
        end
        if n == workers then
            return true
        end
    end
    return false
end

--- Wait until all nodes that run reach each other.
---@param names string[]|nil default: all
function Cluster:join(names)
    names = names or self.names
    for _, name in ipairs(names) do
        server.until_(function()
            return self:is_joined(name, #names - 1)
        end, name .. " reaches the other nodes")
    end
end

--- Pids of the dispatch's processes by role.
---@param role string
---@return integer[]
function Cluster:dispatch_pids(role)
    local out, status = self.dispatch:run("dispatch status --json")
    local list = {}
    for _, p in ipairs(status == 0 and cjson.decode(out).processes or {}) do
        if p.role == role and p.pid then
            list[#list + 1] = p.pid
        end
    end
    return list
end

local function start_dispatch(seed)
    local dispatch = server.new({
        ["config/server.lua"] = 'return { name = "d" }',
        ["config/cluster.lua"] = conf(seed, seed),
        ["config/dispatch.lua"] = "return { relays = 2 }",
        ["config/admin.lua"] = "return { listen = '127.0.0.1:0' }",
        ["config/ports.lua"] = false,
        ["scripts/controllers/probe.lua"] = false,
    })
    local out, status = dispatch:run("dispatch start -d")
    if status == 0 then
        return dispatch
    end
    server.shell("rm -rf '" .. dispatch.dir .. "'")
    return nil, out
end

local function merge(into, files)
    for path, text in pairs(files or {}) do
        into[path] = text
    end
    return into
end

--- Start them; they find each other in a moment.
---@param names string[]
---@param files table<string, string|false>|nil of all nodes
---@param env string|nil of all nodes
---@return spec.cluster_local
function cluster_local.launch(names, files, env)
    local self = setmetatable({ names = names, redis = redis.start() }, Cluster)
    local seed
    for i = 1, 10 do -- somebody may have taken the port since it was free
        seed = "127.0.0.1:" .. redis.free_port()
        local out
        self.dispatch, out = start_dispatch(seed)
        if self.dispatch then
            break
        end
        assert(i < 10 and out:find(seed, 1, true), out)
    end
    for _, name in ipairs(names) do
        self[name] = server.new(merge({
            ["config/server.lua"] = ([[
return {
    name = %q, workers = 2, tasks = 1, max_conns = 1000, call_timeout = "20s",
}]]):format(name),
            ["config/cluster.lua"] = conf(seed, "127.0.0.1:0"),
            ["config/redis.lua"] = ("return { default = { url = %q } }"):format(self.redis.url),
        }, files))
        self[name].env = env or ""
        self[name]:launch()
    end
    for _, name in ipairs(names) do
        self[name]:wait_ready()
    end
    return self
end

--- Start them, with a port "game" of lines, and wait until they reach each
--- other.
---@param names string[]
---@param files table<string, string|false>|nil of all nodes
---@param env string|nil of all nodes
---@return spec.cluster_local
function cluster_local.start(names, files, env)
    local self = cluster_local.launch(names, merge({
        ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" } }]],
        ["scripts/controllers/cluster_probe.lua"] = PROBE,
    }, files), env)
    self:join()
    return self
end

-- What no process may ever say.
local FAULTS = { "AddressSanitizer", "runtime error:", "panic" }

--- Stop everything; also after a failure. Fails when a process went wrong.
function Cluster:stop()
    local fault
    for _, name in ipairs(self.names) do
        local out = self[name]:output()
        for _, word in ipairs(FAULTS) do
            local at = out:find(word, 1, true)
            fault = fault or at and name .. ": " .. out:sub(math.max(at - 500, 1), at + 3000)
        end
        local ok, why = pcall(self[name].stop, self[name])
        fault = fault or not ok and tostring(why)
    end
    self.dispatch:run("dispatch stop --now")
    for _, pid in ipairs(self.dispatch:pids()) do
        self.dispatch:kill("KILL", pid)
    end
    server.shell("rm -rf '" .. self.dispatch.dir .. "'")
    self.redis:stop()
    assert(not fault, fault)
end

return cluster_local
