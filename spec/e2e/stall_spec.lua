-- Workers that C does not give back: named, and replaced when they burn CPU;
-- never when they are stopped or starved.
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = [[
return { workers = 2, tasks = 0, name = "n", max_run = "100ms",
    hang_timeout = "1500ms" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/controllers/stuck.lua"] = [[
local sd = require("sd")
local Stuck = {}
function Stuck:login(p) return self:bind_uid(p.uid) end
function Stuck:pattern()
    return { n = ("a"):rep(50000):find((".-"):rep(20) .. "b") }
end
function Stuck:later()
    sd.sleep(0.01)
    return Stuck.pattern()
end
function Stuck:finalizer()
    local p = newproxy(true)
    getmetatable(p).__gc = function()
        while true do end
    end
    p = nil
    collectgarbage()
end
function Stuck:file()
    return { text = io.open("run/fifo"):read() }
end
return Stuck]],
}

describe("a worker stuck in C", function()
    local s
    before_each(function()
        s = server.start(files)
    end)
    after_each(function()
        s:stop()
    end)

    --- What the log says of a worker that does not answer.
    local function warning()
        return s:output():match("warn [^\n]*(worker %d+ %(pid %d+%) has not answered[^\n]*)")
    end

    local function index_of(text)
        return tonumber(text:match("worker (%d+)"))
    end

    it("is named, then killed and replaced", function()
        local c = client.open(s:port("game"))
        assert.is_true(c:call("stuck/login", { uid = "ann" }).result)
        c:cast("stuck/pattern")
        local text = server.until_(warning, "the worker is named")
        assert.matches("in packet stuck/pattern of port game, uid ann$", text)
        local i = index_of(text)
        local other = s:process("worker", 1 - i)
        server.until_(function()
            local row = s:process("worker", i)
            return row.restarts == 1 and row.state == "ready"
        end, "the worker is replaced")
        assert.matches("of CPU: killed %(server.hang_timeout%)", s:output())
        assert.equal(other.pid, s:process("worker", 1 - i).pid)
        assert.equal(0, s:process("worker", 1 - i).restarts)
        assert.is_true(c:is_closed())
    end)

    it("is named by its method also after a wait", function()
        local c = client.open(s:port("game"))
        c:cast("stuck/later")
        assert.matches("in packet stuck/later of port game",
            server.until_(warning, "the worker is named"))
        c:close()
    end)

    it("is replaced when a finalizer does not end", function()
        local c = client.open(s:port("game"))
        c:cast("stuck/finalizer")
        local i = index_of(server.until_(warning, "the worker is named"))
        server.until_(function()
            return s:process("worker", i).restarts == 1
        end, "the worker is replaced")
        c:close()
    end)

    it("is not killed when it waits and burns nothing", function()
        server.shell("mkfifo " .. s.dir .. "/run/fifo")
        local c = web.open(s:port("web"))
        c:send(web.text("/stuck/file", { method = "POST" }))
        local text = server.until_(warning, "the worker is named")
        assert.matches("in request stuck/file of port web", text)
        local row
        server.until_(function()
            row = s:process("worker", index_of(text))
            return (row.blocked or 0) > 3 * 1.5
        end, "three times hang_timeout have passed")
        assert.equal("request stuck/file of port web", row.blocked_at)
        assert.matches("has not answered for .* in request stuck/file of port web",
            (s:run("status")))
        server.shell("echo here > " .. s.dir .. "/run/fifo")
        local reply = c:reply()
        assert.equal(200, reply.status)
        assert.matches("here", reply.body)
        assert.equal(0, s:process("worker", 0).restarts)
        assert.equal(0, s:process("worker", 1).restarts)
    end)
end)

describe("a worker that gets no time", function()
    it("is not killed: stopped for three times hang_timeout", function()
        local s = server.start(files)
        finally(function() s:stop() end)
        local pid = s:process("worker", 0).pid
        s:kill("STOP", pid)
        server.until_(function()
            return (s:process("worker", 0).blocked or 0) > 3 * 1.5
        end, "three times hang_timeout have passed")
        s:kill("CONT", pid)
        server.until_(function()
            return s:process("worker", 0).blocked == nil
        end, "it answers again")
        assert.equal(pid, s:process("worker", 0).pid)
        local _, warnings = s:output():gsub("has not answered", "")
        assert.equal(1, warnings)
    end)

    it("is not killed: beside others that burn all there is #slow", function()
        local s = server.start(files)
        local hogs = server.shell([[
for i in 1 2 3 4 5 6 7 8; do
    sh -c 'while :; do :; done' > /dev/null 2>&1 &
    echo $!
done]])
        finally(function()
            for pid in hogs:gmatch("%d+") do
                s:kill("KILL", pid)
            end
            s:stop()
        end)
        local port = s:port("web")
        server.shell("renice -n 19 " .. s:process("worker", 0).pid .. " "
            .. s:process("worker", 1).pid)
        local limit = socket.gettime() + 6
        repeat
            assert(web.ask(port, "/stuck/none"))
        until socket.gettime() > limit
        assert.equal(0, s:process("worker", 0).restarts)
        assert.equal(0, s:process("worker", 1).restarts)
    end)
end)
