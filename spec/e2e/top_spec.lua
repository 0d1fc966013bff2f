-- The busiest routes, conns and workers, as a program and as a person sees them.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local FILES = {
    ["config/server.lua"] = [[return { workers = 2, tasks = 1, name = "n" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    guarded = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        middlewares = { "pass" } },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/middlewares/pass.lua"] = [[
return function(_, _, next) return next() end]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return {
    login = function(self, p) return self:bind_uid(p.uid) end,
    often = function() return true end,
    seldom = function() return true end,
    bad = function() error("boo") end,
}]],
}

describe("top", function()
    local s, load

    setup(function()
        s = server.start(FILES)
        s:write("load.lua", [[
local client = require("spec.support.client")
local ports = { game = tonumber(arg[1]), guarded = tonumber(arg[2]), web = tonumber(arg[3]) }
local game = client.lines(ports.game)
local guarded = client.lines(ports.guarded)
local ws = client.ws(ports.web, { path = "/ws" })
assert(game:call("probe/login", { uid = "ann\27[2J" }).result)
local stop = io.open(arg[4])
repeat
    for _ = 1, 4 do
        game:call("probe/often")
    end
    game:call("probe/seldom")
    game:call("probe/bad")
    guarded:call("probe/often")
    guarded:call("probe/bad")
    ws:call("probe/seldom")
    local f = io.open(arg[4])
    if f then f:close() end
until not f]])
        s:write("busy", "")
        local ports = client.ports(s)
        load = ("luajit %s/load.lua %d %d %d %s/busy"):format(
            s.dir, ports.game, ports.guarded, ports.web, s.dir)
        server.shell(("LUA_PATH='./?.lua;;' timeout 100 %s > %s/load.out 2>&1 &"):format(
            load, s.dir))
    end)

    teardown(function()
        os.remove(s.dir .. "/busy")
        s:stop()
    end)

    local function look(options)
        local out, code = s:run("top --json " .. (options or ""))
        assert.equal(0, code, out)
        return cjson.decode(out)
    end

    local function route_of(t, port, name)
        for i, r in ipairs(t.routes) do
            if r.port == port and r.route == name then
                return r, i
            end
        end
    end

    it("gives a program one snapshot of rates", function()
        local t = until_(function()
            local t = look("-i 0.5")
            return route_of(t, "guarded", "probe/bad")
                and route_of(t, "game", "probe/bad") and t
        end, "all routes are called: " .. (s:read("load.out") or ""))
        assert.equal("n", t.node)
        assert.equal("serving", t.state)
        local often, at = route_of(t, "game", "probe/often")
        assert.equal(1, at)
        assert.is_true(often.calls > 0)
        assert.equal(0, often.errors)
        local seldom = route_of(t, "game", "probe/seldom")
        assert.is_true(often.calls > 2 * seldom.calls)
        local bad = route_of(t, "game", "probe/bad")
        assert.is_true(math.abs(bad.calls - bad.errors) <= 4)
        bad = route_of(t, "guarded", "probe/bad")
        assert.is_true(bad.calls > 0 and math.abs(bad.calls - bad.errors) <= 4)
        assert.is_table(route_of(t, "guarded", "probe/often"))
        assert.is_table(route_of(t, "web", "probe/seldom"))

        assert.equal("game", t.conns[1].port)
        assert.equal("ann\27[2J", t.conns[1].uid)
        assert.equal("127.0.0.1", t.conns[1].address)
        assert.is_true(t.conns[1].packets > t.conns[2].packets)
        assert.is_true(t.conns[1].bytes > 0)
        assert.is_truthy(t.conns[1].id:match("^%x+$"))

        assert.equal(2, #t.workers)
        local packets, conns = 0, 0
        for i, w in ipairs(t.workers) do
            assert.equal(i - 1, w.index)
            assert.equal(s:process("worker", i - 1).pid, w.pid)
            assert.equal("ready", w.state)
            assert.equal(1, w.generation)
            assert.is_true(w.memory > 0)
            packets, conns = packets + w.packets, conns + w.conns
        end
        assert.equal(3, conns)
        assert.is_true(packets > 2 * often.calls)
    end)

    it("counts plain requests too", function()
        until_(function()
            s:get("/probe/often")
            server.shell(("for i in 1 2 3 4 5 6 7 8; do sleep 0.1; env -u LD_PRELOAD curl -s "
                .. "http://127.0.0.1:%d/probe/bad; done > /dev/null 2>&1 &"):format(s:port("web")))
            local r = route_of(look("-i 0.5"), "web", "probe/bad")
            return r and r.errors > 0 and r.calls == r.errors
        end, "requests are seen")
    end)

    it("prints as many snapshots as were asked for", function()
        local out, code = s:run("top -n 2 -i 0.2")
        assert.equal(0, code)
        assert.equal(2, select(2, out:gsub("node n, serving\n", "")))
        assert.matches("\nprobe/often +game +[%d.]+ +0.0\n", out)
        assert.matches("\n127%.0%.0%.1 %d+ +game +ann\\x1b%[2J +%d ", out)
        assert.is_nil(out:find("\27", 1, true))
    end)

    it("draws for a person until q, as large as the terminal is", function()
        local out = server.terminal(12, 50, s:command("top -i 0.2"),
            { "worker", "", "worker", "q" })
        assert.matches("^code 0\n", out)
        assert.matches("%^%[%[%?1049h", out)
        assert.matches("%^%[%[%?1049l$", out)
        local drawn
        for page in out:gmatch("%^%[%[H%^%[%[2J(.-)%^%[") do
            drawn = page
            local lines = 0
            for line in page:gmatch("([^\n]*)%^M\n") do
                lines = lines + 1
                assert.is_true(#line <= 50)
            end
            assert.is_true(lines <= 11)
        end
        assert.matches("worker", drawn)
    end)

    it("goes on when a worker is replaced", function()
        server.shell(("{ %s; } > %s/many 2>&1 &"):format(
            s:command("top -n 30 -i 0.2 --json"), s.dir))
        until_(function()
            return (s:read("many") or ""):find("\n", 1, true)
        end, "top runs")
        local old = s:process("worker", 1).pid
        s:kill("KILL", old)
        local new = until_(function()
            local p = s:process("worker", 1)
            return p.state == "ready" and p.pid ~= old and p.pid
        end, "the worker is replaced")
        until_(function()
            local last = (s:read("many") or ""):match("([^\n]*)\n$")
            local t = last and cjson.decode(last)
            return t and t.workers[2].pid == new and t.workers[2].state == "ready"
        end, "it is seen")
    end)

    it("shows a worker that does not answer without figures, and the others with theirs",
        function()
            local i = 1
            local pid = s:process("worker", i).pid
            local watching = server.shell(("{ exec %s; } > %s/stopped 2>&1 & echo $!"):format(
                s:command("top -n 0 -i 0.2 --json"), s.dir))
            local function seen(has_figures)
                until_(function()
                    local last = (s:read("stopped") or ""):match("([^\n]*)\n$")
                    local t = last and cjson.decode(last)
                    return t and (t.workers[i + 1].packets ~= nil) == has_figures
                        and t.workers[1].packets
                end, "figures of a worker: " .. tostring(has_figures))
            end
            seen(true)
            s:kill("STOP", pid)
            local out, code = s:run("top -i 0.2") -- the master does not know yet
            assert.equal(0, code)
            assert.matches("\n1 +" .. pid .. " +ready +[%d.]+%% +%d+ +%- +%- ", out)
            assert.matches("\n0 +%d+ +ready +[%d.]+%% +%d+ +%d+ +[%d.]+%u? ", out)
            seen(false)
            until_(function()
                return s:process("worker", i).blocked
            end, "the master knows")
            local t = look("-i 0.2")
            assert.is_nil(t.workers[i + 1].packets)
            assert.is_number(t.workers[1].packets)
            s:kill("CONT", pid)
            seen(true)
            server.shell("kill " .. watching)
        end)

    it("says what is wrong", function()
        for _, options in ipairs({ "-n x", "-n -1", "-i 0", "-i 1e9", "now" }) do
            assert.equal(2, select(2, s:run("top " .. options)), options)
        end
        local other = server.new()
        assert.equal(3, select(2, other:run("top")))
        other:stop()
    end)
end)
