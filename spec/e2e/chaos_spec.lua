-- Clients that come, speak and go at every wrong moment: the worker serves on,
-- every conn that opened closes exactly once, and nothing stays behind.
local client = require("spec.support.client")
local server = require("spec.support.server")

local ROUNDS = 400

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 1 }",
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", backlog = 4 },
    wide = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 8,
        middlewares = { "wait" }, timeout = "100ms",
        slow_client = { low = "8k", high = "32k" } },
    web = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { path = "/ws" } },
}]],
    ["scripts/middlewares/wait.lua"] = [[
local sd = require("sd")
return function(_, call, next)
    if call.method == "value" then sd.sleep(0) end
    return next()
end]],
    ["scripts/counts.lua"] = "return { opened = 0, closed = 0, twice = 0 }",
    ["scripts/app.lua"] = [[
local sd = require("sd")
local counts = require("counts")
local App = {}
local seen = {}
function App.on_handshake(self)
    if self.request.query.wait then sd.sleep(0.005) end
    self:bind_uid(math.random(9), { policy = "allow" })
    self:subscribe("news/+")
end
function App.on_connect(self)
    counts.opened = counts.opened + 1
    self.session.n = 1
    local how = math.random(6)
    if how == 1 then sd.sleep(0.003)
    elseif how == 2 then self:ask({ q = 1 }, { timeout = 0.01 })
    elseif how == 3 then self:bind_uid("u" .. math.random(5))
    elseif how == 4 then self:subscribe("#")
    elseif how == 5 and math.random(5) == 1 then self:close("moody") end
end
function App.on_close(self)
    counts.closed = counts.closed + 1
    if seen[self.conn_id] then counts.twice = counts.twice + 1 end
    seen[self.conn_id] = true
    if math.random(3) == 1 then sd.sleep(0.002) end
    assert(self.session.n)
end
return App]],
    ["scripts/tasks/t.lua"] = [[
return { echo = function(_, p) return p end }]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local counts = require("counts")
local C = {}
function C:value(p) return p end
function C:sleep(p) sd.sleep(p.s) self.session.n = self.session.n + 1 return 1 end
function C:asks()
    return sd.all({
        function() return self:ask({ q = 1 }, { timeout = 0.05 }) end,
        function() return self:ask({ q = 2 }, { timeout = 0.02 }) end,
    })
end
function C:leave() self:send("bye") sd.sleep(0) self:close("left") end
function C:task(p) return sd.task("t"):echo(p) end
function C:flood() for i = 1, 200 do
    if not self:send(("x"):rep(500)) then return end end end
function C:news() sd.publish("news/all", { n = 1 }) end
function C:to_uid() sd.send_to_uid("u1", { n = 1 }) end
function C:kick() sd.kick_uid("u" .. math.random(5)) end
function C:child() sd.go(function() sd.sleep(0.01) self:send("late") end)
    sd.after(0.004, function() self:send("later") end) end
function C:boom() error("boom") end
function C:counts() return counts end
return C]],
}
-- One thing that a client does; true: it is gone.
local deeds = {
    function(c, method)
        c:cast("c/" .. method, { s = math.random(5) / 1000 })
    end,
    function(c)
        for i = 1, 10 do
            c:send(client.packet("c/value", i, i))
        end
    end,
    function(c)
        c:send({ id = math.random(3), result = "answer" })
    end,
    function(c)
        c:put("garbage")
    end,
    function(c)
        c:close()
        return true
    end,
    function(c)
        c.sock:setoption("linger", { on = true, timeout = 0 })
        c:close()
        return true
    end,
    function(c)
        c.sock:send("\0\0\0\1")
    end,
    function(c)
        c.sock:send("\255")
        c:close()
        return true
    end,
    function(c)
        c.sock:settimeout(0.001)
        c.sock:receive(100)
        c.sock:settimeout(10)
    end,
    function(c)
        c.sock:shutdown("send")
    end,
}

local methods = { "value", "sleep", "asks", "leave", "task", "flood", "news",
    "to_uid", "kick", "child", "boom" }

describe("clients that come and go", function()
    local s, ports, probe

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    local function visitor()
        local kind = math.random(4)
        if kind == 1 then
            return client.ws(ports.web, { path = "/ws?wait=1" })
        elseif kind == 2 then
            return client.ws(ports.web)
        end
        return client.open(ports[kind == 3 and "game" or "wide"])
    end

    it("leave nothing behind", function()
        math.randomseed(20)
        local pid = s:process("worker").pid
        local staying = {}
        for _ = 1, ROUNDS do
            local c = visitor()
            local gone = c == nil
            for _ = 1, math.random(6) do
                if not gone then
                    local deed = deeds[math.random(3) == 1 and 1
                        or math.random(#deeds)]
                    local ok, left = pcall(deed, c, methods[math.random(#methods)])
                    gone = not ok or left
                end
            end
            if not gone then
                table.insert(staying, c)
            end
            if #staying > 40 then
                table.remove(staying, 1):close()
            end
        end
        for _, c in ipairs(staying) do
            c:close()
        end
        probe = client.open(ports.game)
        local counts = server.until_(function()
            local r = probe:call("c/counts")
            if not r then
                probe = client.open(ports.game)
                return nil
            end
            return r.result.opened == r.result.closed + 1 and r.result
        end, "all to close")
        assert.equal(0, counts.twice)
        assert.is_true(counts.opened > ROUNDS / 2)
        probe:close()
        assert.equal(pid, s:process("worker").pid)
        server.until_(function()
            return s:process("worker").conns == 0
        end, "no conn to be left")
        assert.is_nil(s:output():match("[^\n]*panic[^\n]*"))
    end)
end)
