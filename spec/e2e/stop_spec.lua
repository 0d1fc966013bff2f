-- How a node stops: what is in flight, what clients are told, how long it may
-- take; and what a start that waits does with a signal.
local socket = require("socket")
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local PROBE = [[
local sd = require("sd")
return {
    nap = function(_, p) sd.sleep(p.seconds) return { done = true } end,
    work = function() return sd.task("nap"):run() end,
    hang = function()
        io.open("hung", "w"):close()
        while true do end
    end,
}]]

local function nap(seconds)
    return ('{"controller_name":"probe","method_name":"nap",'
        .. '"params":{"seconds":%g}}\r\n'):format(seconds)
end

describe("a node that is told to stop", function()
    local s

    local function start(extra)
        local files = {
            ["config/server.lua"] = [[return { workers = 2, tasks = 1, name = "n" }]],
            ["scripts/controllers/probe.lua"] = PROBE,
            ["scripts/tasks/nap.lua"] = [[
local sd = require("sd")
return { run = function() sd.sleep(1) return { done = true } end }]],
        }
        for path, text in pairs(extra or {}) do
            files[path] = text
        end
        s = server.start(files)
    end

    after_each(function()
        if s then
            s:stop()
        end
        s = nil
    end)

    --- A conn that has sent `line`, which the node has.
    local function busy(line)
        local before = s:conns()
        local tcp = s:connect("game")
        tcp:send(line)
        until_(function()
            return s:conns() > before
        end, "the node has the conn")
        return tcp
    end

    local function assert_gone(status)
        until_(function()
            return s:exit_status()
        end, "the master ends")
        assert.equal(status, s:exit_status())
        assert.same({}, s:pids())
        for _, name in ipairs({ "sdlua.pid", "control.sock", "redis.sock" }) do
            assert.is_false(s:has("run/" .. name), name)
        end
    end

    it("answers a request of two seconds, then ends", function()
        start()
        local tcp = busy(nap(2))
        assert.equal(0, select(2, s:run("stop")))
        assert.equal('{"done":true}', tcp:receive("*l"))
        assert.equal("closed", select(2, tcp:receive("*l")))
        assert_gone(0)
    end)

    it("lets a task end that a request waits for", function()
        start()
        local tcp = busy('{"controller_name":"probe","method_name":"work"}\r\n')
        assert.equal(0, select(2, s:run("stop")))
        assert.equal('{"done":true}', tcp:receive("*l"))
        assert_gone(0)
    end)

    it("cuts off with --now, also a stop that waits", function()
        start()
        local tcp = busy(nap(9))
        server.shell(s:command("stop") .. " > /dev/null 2>&1 &")
        until_(function()
            for _, p in ipairs((s:status() or { processes = {} }).processes) do
                if p.state == "draining" then
                    return true
                end
            end
        end, "it drains")
        local begin = socket.gettime()
        assert.equal(0, select(2, s:run("stop --now")))
        assert.is_true(socket.gettime() - begin < 8)
        assert.is_nil((tcp:receive("*l")))
        assert_gone(0)
    end)

    it("says 1001 to WebSockets and closes idle conns", function()
        start()
        local list = {}
        for i = 1, 20 do
            list[i] = client.ws(s:port("web"), { path = "/ws" })
        end
        local tcp = s:connect("game")
        until_(function()
            return s:conns() == 21
        end, "the node has all conns")
        server.shell(s:command("stop") .. " > /dev/null 2>&1 &")
        for _, ws in ipairs(list) do
            assert.equal(1001, (ws:close_code()))
        end
        assert.equal("closed", select(2, tcp:receive("*l")))
        for _, ws in ipairs(list) do
            ws:close()
        end
        assert_gone(0)
    end)

    it("refuses clients while it finishes", function()
        start()
        local port = s:port("web")
        local tcp = busy(nap(4))
        server.shell(s:command("stop") .. " > /dev/null 2>&1 &")
        until_(function()
            local other = socket.tcp()
            local ok, why = other:connect("127.0.0.1", port)
            other:close()
            return not ok and why == "connection refused"
        end, "clients are refused")
        assert.equal("stopping", s:status().state)
        assert.equal('{"done":true}', tcp:receive("*l"))
        assert_gone(0)
    end)

    it("does not wait for a stuck script beyond stop_timeout", function()
        start({ ["config/server.lua"] = [[
return { workers = 2, tasks = 1, stop_timeout = "1s" }]] })
        local tcp = s:connect("game")
        tcp:send('{"controller_name":"probe","method_name":"hang"}\r\n')
        until_(function()
            return s:has("hung")
        end, "the script hangs")
        s:kill("TERM")
        assert_gone(0)
        assert.matches("worker %d did not end in time: killed", s:output())
    end)

    it("stops several nodes of one machine one by one", function()
        start()
        local others = {}
        for i = 1, 2 do
            others[i] = server.start({ ["config/redis.lua"] =
                [[return { default = { url = "embedded" } }]] })
        end
        assert.equal(0, select(2, others[1]:run("stop")))
        assert.same({}, others[1]:pids())
        assert.equal(200, select(2, others[2]:get("/probe/who")))
        assert.is_table(s:status())
        for _, other in ipairs(others) do
            other:stop()
        end
    end)
end)

describe("a node that is still starting", function()
    local s

    after_each(function()
        s:stop()
    end)

    for _, signal in ipairs({ "TERM", "INT", "QUIT" }) do
        it("ends at " .. signal .. " while it waits for redis", function()
            s = server.new({ ["config/redis.lua"] =
                [[return { default = { url = "embedded" } }]] })
            server.shell("mkdir -p " .. s.dir .. "/run/redis")
            local holder = server.shell(("flock -F %s/run/redis/lock "
                .. "sleep 60 > /dev/null 2>&1 & echo $!"):format(s.dir))
                :match("%d+")
            s:launch()
            local pid = until_(function()
                local text = s:read("run/sdlua.pid")
                return text and tonumber(text)
            end, "it has its pid file")
            local begin = socket.gettime()
            s:kill(signal, pid)
            until_(function()
                return s:exit_status()
            end, "it ends")
            assert.is_true(socket.gettime() - begin < 8)
            assert.equal(1, s:exit_status())
            assert.is_false(s:has("run/sdlua.pid"))
            server.shell("kill " .. holder)
        end)
    end

    it("ends at stop while on_start waits", function()
        s = server.new({ ["scripts/app.lua"] = [[
return { on_start = function() require("sd").sleep(50) end }]] })
        s:launch()
        until_(function()
            return s:run("status"):match("starting")
        end, "it starts")
        assert.equal(0, select(2, s:run("stop")))
        until_(function()
            return s:exit_status()
        end)
        assert.same({}, s:pids())
        assert.is_false(s:has("run/sdlua.pid"))
    end)

    it("waits for a redis that loads its data", function()
        s = server.new({ ["config/redis.lua"] =
            [[return { default = { url = "embedded" } }]] })
        s:write("bin/redis-server", [[#!/bin/sh
exec python3 - <<'END'
import os, socket, time
path = "run/redis.sock"
if os.path.exists(path): os.unlink(path)
l = socket.socket(socket.AF_UNIX)
l.bind(path)
l.listen(9)
begin = time.time()
while True:
    c, _ = l.accept()
    c.recv(99)
    # Longer than one that says nothing may take.
    c.send(b"-LOADING\r\n" if time.time() < begin + 12 else b"+PONG\r\n")
    c.close()
END
]])
        server.shell("chmod 755 " .. s.dir .. "/bin/redis-server")
        s.env = ("PATH=%s/bin:$PATH"):format(s.dir)
        s:launch()
        s:wait_ready()
        assert.equal(200, select(2, s:get("/probe/who")))
        s.env = ""
    end)
end)

describe("a daemon", function()
    local s

    after_each(function()
        s:stop()
    end)

    it("serves when its start returns, and relays why it cannot", function()
        s = server.new()
        assert.equal(0, select(2, s:run("start -d")))
        assert.equal(200, select(2, s:get("/probe/who")))
        local out, code = s:run("start -d")
        assert.equal(1, code)
        assert.matches("^sdlua: already running", out)
        assert.equal(0, select(2, s:run("restart -d")))
        assert.equal(200, select(2, s:get("/probe/who")))
    end)

    it("goes on when restart finds a fault in the application", function()
        s = server.new()
        assert.equal(0, select(2, s:run("start -d")))
        local pid = s:status().pid
        s:write("scripts/controllers/bad.lua", "return {")
        local out, code = s:run("restart -d")
        assert.equal(1, code)
        assert.matches("scripts/controllers/bad.lua:1", out)
        assert.equal(pid, s:status().pid)
        assert.equal(200, select(2, s:get("/probe/who")))
    end)

    it("goes on when its log cannot be written", function()
        s = server.new({ ["config/log.lua"] =
            [[return { file = "/dev/full" }]] })
        assert.equal(0, select(2, s:run("start -d")))
        local pid = s:process("worker").pid
        s:kill("KILL", pid)
        until_(function()
            local p = s:process("worker")
            return p.state == "ready" and p.pid ~= pid
        end, "the worker is replaced")
        assert.equal(200, select(2, s:get("/probe/who")))
    end)

    it("lets all its processes write to the new log after USR2", function()
        s = server.new({ ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { who = function() sd.log.warn("here " .. sd.slot) print("loud") end }]] })
        assert.equal(0, select(2, s:run("start -d")))
        s.pid = s:status().pid
        assert(os.rename(s.dir .. "/run/sdlua.log", s.dir .. "/run/old"))
        s:kill("USR2")
        until_(function()
            s:get("/probe/who")
            local log = s:read("run/sdlua.log") or ""
            return log:find("here 0", 1, true) and log:find("here 1", 1, true)
        end, "both workers write")
    end)
end)
