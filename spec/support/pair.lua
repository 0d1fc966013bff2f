--- Nodes that share one dispatch and one Redis, all on loopback:
---
---     local p = pair.start({ "a", "b" }, files)
---     p.nodes.a:connect("game")
---     p:stop()
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local pair = {}
pair.__index = pair

local CLUSTER = [[
return { enable = true, key = "%s", bind = "127.0.0.1:%d", discovery = "seeds",
    seeds = { "127.0.0.1:%d" } }]]

--- A UDP port nobody uses at the moment.
local function free_port()
    return tonumber((server.shell([[python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
print(s.getsockname()[1])"]])))
end

local function start_dispatch(self)
    self.dispatch = server.new({
        ["config/cluster.lua"] = CLUSTER:format(self.key, self.port, self.port),
        ["config/dispatch.lua"] = "return { relays = 1 }",
        ["config/ports.lua"] = false,
        ["scripts/controllers/probe.lua"] = false,
        ["config/server.lua"] = [[return { name = "d" }]],
    })
    local text, code = self.dispatch:run("dispatch start -d")
    assert(code == 0, text)
end

local function start_node(self, name, files)
    local all = {
        ["config/cluster.lua"] = CLUSTER:format(self.key, 0, self.port),
        ["config/redis.lua"] = ([[return { default = { url = "%s" } }]])
            :format(self.redis.url),
        ["config/server.lua"] = ([[
return { name = "%s", workers = 2, tasks = 1, max_conns = 1000 }]])
            :format(name),
    }
    for path, text in pairs(files) do
        all[path] = text
    end
    self.nodes[name] = server.start(all)
end

---@param names string[] of the nodes
---@param files table<string, string> of each of them
function pair.start(names, files)
    local self = setmetatable({ nodes = {} }, pair)
    self.redis = redis.start()
    self.key = server.shell(server.command({ env = "", dir = "." }, "key")):gsub("%s", "")
    self.port = free_port()
    start_dispatch(self)
    for _, name in ipairs(names) do
        start_node(self, name, files)
    end
    return self
end

function pair:stop()
    for _, node in pairs(self.nodes) do
        node:stop()
    end
    self.dispatch:run("dispatch stop --now")
    self.dispatch:stop()
    self.redis:stop()
end

return pair
