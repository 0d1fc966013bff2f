--- Books of messages between uids of several nodes: cluster_ledger.py, which
--- says what it counts, and the application it talks to.
---
---     local s = server.start(ledger.files, bed[1])
---     local books = ledger.start({ s:at("game"), s:at("web") },
---         { conns = 20, rate = 500 }, bed[2])
---     ...
---     assert.equal(0, books:finish().wrong)

local cjson = require("cjson")
local server = require("spec.support.server")

---@class spec.ledger
---@field pid integer
---@field out string
local Ledger = {}
Ledger.__index = Ledger

local ledger = {}

--- An application for it: two ports for every address, two ways to send.
ledger.files = {
    ["config/ports.lua"] = [[
return {
    game = { listen = "0.0.0.0:9091", protocol = "tcp" },
    web = { listen = "0.0.0.0:8081", protocol = "http" },
}]],
    ["scripts/controllers/ledger.lua"] = [[
local sd = require("sd")
local Ledger = {}
function Ledger:bind(p)
    return self:bind_uid(p.uid)
end
function Ledger:deliver(p)
    return sd.deliver_to_uid(p.to, p.data)
end
function Ledger:post(p)
    p.data.by = self.conn_id
    return sd.send_to_uid(p.to, p.data)
end
return Ledger]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local app = {}
-- To that conn and no other: what else is under way to its uid may hold up
-- what is sent to the uid.
function app.on_undeliverable(_, data, reason)
    if data.m then
        sd.log.debug(data.m .. " from " .. data.from .. " is undelivered: " .. reason)
        sd.send_to_conn(data.by, { undelivered = data.m, reason = reason })
    end
end
return app]],
}

--- Begin. `options` are those of the program, without their dashes.
---@param endpoints string[] "tcp:10.77.0.1:9091", "ws:..."
---@param options table<string, any>|nil
---@param host spec.host|nil where the clients are; nil: on this machine
---@return spec.ledger
function ledger.start(endpoints, options, host)
    local words = {}
    for name, value in pairs(options or {}) do
        if value then
            words[#words + 1] = "--" .. name .. (value == true and "" or " " .. value)
        end
    end
    local dir = server.shell("mktemp -d" .. (host and " -p " .. host.dir or "")):gsub("%s", "")
    local run = ("env -u LD_PRELOAD /usr/bin/python3 spec/support/cluster_ledger.py %s %s"):format(
        table.concat(words, " "), table.concat(endpoints, " "))
    local command = ("{ exec %s; } > %s/out 2> %s/err < /dev/null & echo $!"):format(run, dir, dir)
    local pid = host and host:run(command) or server.shell(command)
    local self = setmetatable({ dir = dir, pid = tonumber(pid) }, Ledger)
    server.until_(function()
        return self:read("out"):find("ready") or not server.is_alive(self.pid)
    end, "all conns of the ledger are bound")
    return self
end

function Ledger:read(name)
    local f = assert(io.open(self.dir .. "/" .. name))
    local text = f:read("*a")
    f:close()
    return text
end

--- End the sending and wait for the judgement.
---@return table books
---@return string wrongs a line for each, the first of them
function Ledger:finish()
    server.shell("kill " .. self.pid)
    return self:wait()
end

--- Wait for the judgement of one that ends by itself (`seconds`). Fails when
--- there is none.
---@return table books
---@return string wrongs
function Ledger:wait()
    local limit = 0
    while server.is_alive(self.pid) do
        limit = limit + 1
        pcall(server.until_, function()
            return not server.is_alive(self.pid)
        end)
        assert(limit < 5, "the ledger does not end")
    end
    local books, err = self:read("out"):match("\n({.*})"), self:read("err")
    server.shell("rm -r " .. self.dir)
    assert(books, err)
    return cjson.decode(books), err
end

return ledger
