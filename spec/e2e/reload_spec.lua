-- A reload: new code and configuration, and nobody who is connected notices.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local CONTROLLER = [[
local sd = require("sd")
local C = {}
function C:version() return { v = "%s", gen = sd.generation } end
function C:echo(p) return p end
function C:bind(p) return self:bind_uid(p.uid) end
function C:group(p) return self:join_group(p.group) end
function C:topic(p) return self:subscribe(p.topic) end
function C:keep(p) self.session.x = p.x return true end
function C:kept() return { x = self.session.x, uid = self.uid } end
function C:slow(p)
    self.session.slow = "%s"
    sd.sleep(p.s)
    return { v = "%s", gen = sd.generation, n = p.n }
end
function C:nap(p) sd.sleep(60) end
function C:stubborn()
    local ok, err = pcall(sd.sleep, 60)
    return { ok = ok, err = err, again = pcall(sd.sleep, 60) }
end
function C:asks(p)
    local answer, err = self:ask({ question = "%s" }, { timeout = 20 })
    return { v = "%s", answer = answer, err = err }
end
function C:asks_uid(p)
    local answer, err = sd.ask_uid(p.uid, { question = "uid" }, { timeout = 20 })
    return { answer = answer, err = err }
end
function C:task(p) return sd.task("t"):run(p) end
function C:publish(p) sd.publish(p.topic, { news = "%s" }) return true end
function C:to_group(p) sd.send_to_group(p.group, { all = "%s" }) return true end
return C]]

local TASK = [[
local sd = require("sd")
local T = {}
function T:run(p)
    if p.s then sd.sleep(p.s) end
    if p.file then
        local f = io.open(p.file, "w") f:write("begun") f:close()
        while not io.open(p.file .. ".end") do
            os.execute("sleep 0.02")
        end
    end
    return { v = "%s", gen = sd.generation }
end
return T]]

local PORTS = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    wide = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 4 },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]]

local function fill(text, version)
    return (text:gsub("%%s", version))
end

local function files(more)
    local all = {
        ["config/server.lua"] = "return { workers = 2, tasks = 1, name = 'n' }",
        ["config/redis.lua"] = 'return { default = { url = "embedded" } }',
        ["config/ports.lua"] = PORTS,
        ["scripts/controllers/c.lua"] = fill(CONTROLLER, "one"),
        ["scripts/tasks/t.lua"] = fill(TASK, "one"),
    }
    for path, text in pairs(more or {}) do
        all[path] = text
    end
    return all
end

local function result(c, path, params)
    local reply = c:call(path, params)
    assert.is_nil(reply.error)
    return reply.result
end

--- Write version `v` of the scripts and reload.
local function reload_to(s, v)
    s:write("scripts/controllers/c.lua", fill(CONTROLLER, v))
    s:write("scripts/tasks/t.lua", fill(TASK, v))
    local out, code = s:run("reload")
    assert.equal(0, code, out)
    return out
end

--- All processes with code run generation `gen`.
local function all_run(s, gen)
    until_(function()
        local ok = true
        for _, p in ipairs(s:status().processes) do
            ok = ok and (p.role == "redis" or p.generation == gen)
        end
        return ok
    end, "everybody runs generation " .. gen)
end

describe("a reload", function()
    local s

    local function start(more)
        s = server.start(files(more))
        return client.ports(s)
    end

    after_each(function()
        if s then
            s:stop()
            s = nil
        end
    end)

    it("serves new code to conns that live on", function()
        local ports = start()
        local tcp, ws = client.open(ports.game), client.ws(ports.web)
        assert.equal("one", result(tcp, "c/version").v)
        result(tcp, "c/keep", { x = 42 })
        result(tcp, "c/bind", { uid = "ann" })
        result(tcp, "c/group", { group = "g" })
        result(ws, "c/topic", { topic = "news/+" })
        result(ws, "c/bind", { uid = "ben" })

        assert.equal("generation 2: 2 workers, 1 tasks\n", reload_to(s, "two"))
        assert.same({ v = "two", gen = 2 }, result(tcp, "c/version"))
        assert.same({ v = "two", gen = 2 }, result(ws, "c/version"))
        assert.same({ x = 42, uid = "ann" }, result(tcp, "c/kept"))
        assert.equal("ben", result(ws, "c/kept").uid)
        result(tcp, "c/publish", { topic = "news/x" })
        assert.same({ news = "two" }, ws:receive())
        result(ws, "c/to_group", { group = "g" })
        assert.same({ all = "two" }, tcp:receive())
        assert.same({ v = "two", gen = 2 }, result(tcp, "c/task", {}))
        assert.equal("two", cjson.decode((s:get("/c/version"))).v)
        all_run(s, 2)
    end)

    it("comes with HUP and USR1 too, and says so in status", function()
        start()
        for gen, signal in ipairs({ "HUP", "USR1" }) do
            s:kill(signal)
            until_(function()
                return s:status().generation == gen + 1
            end, "generation " .. gen + 1)
        end
    end)

    it("lets a call finish in old code, and what follows wait", function()
        local ports = start()
        local c = client.open(ports.game)
        c:send(client.packet("c/slow", { s = 4, n = 1 }, 1))
        c:send(client.packet("c/version", {}, 2))
        result(client.open(ports.game), "c/version")
        reload_to(s, "two")
        assert.equal("two", result(client.open(ports.game), "c/version").v)
        local first, second = c:receive(), c:receive()
        assert.equal(1, first.id)
        assert.same({ v = "one", gen = 1, n = 1 }, first.result)
        assert.equal(2, second.id)
        assert.same({ v = "two", gen = 2 }, second.result)
    end)

    it("keeps several calls of one conn together", function()
        local ports = start()
        local c = client.open(ports.wide)
        for i = 1, 3 do
            c:send(client.packet("c/slow", { s = 3 + 0.3 * i, n = i }, i))
        end
        result(client.open(ports.wide), "c/version")
        reload_to(s, "two")
        c:send(client.packet("c/version", {}, 4))
        for i = 1, 4 do
            local reply = c:receive()
            assert.equal(i, reply.id)
            assert.equal(i < 4 and "one" or "two", reply.result.v)
        end
    end)

    it("keeps questions to clients open", function()
        local ports = start({ ["config/server.lua"] = "return { workers = 1, name = 'n' }" })
        local c, d = client.open(ports.game), client.open(ports.game)
        local asker = client.open(ports.game)
        result(d, "c/bind", { uid = "dora" })
        c:send(client.packet("c/asks", {}, 1))
        assert.equal("one", c:receive().question)
        asker:send(client.packet("c/asks_uid", { uid = "dora" }, 1))
        local question = d:receive()
        assert.equal("uid", question.question)

        reload_to(s, "two")
        -- Dora's conn has moved; the question to it waits in the old vm.
        assert.equal("two", result(d, "c/version").v)
        d:send(client.packet("c/asks", {}, 7))
        local newer = d:receive()
        assert.equal("two", newer.question)
        assert.not_equal(question.id, newer.id)
        d:send({ id = question.id, result = "old answer" })
        assert.same({ answer = "old answer" }, asker:receive().result)
        d:send({ id = newer.id, result = "new answer" })
        assert.same({ v = "two", answer = "new answer" }, d:receive().result)
        c:send({ id = 1, result = "late" })
        assert.same({ v = "one", answer = "late" }, c:receive().result)
        assert.equal("two", result(c, "c/version").v)
    end)

    it("hands state over and ends what runs in the background", function()
        start({
            ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
            ["scripts/app.lua"] = [[
local sd = require("sd")
local App, n, v = {}, 0, "one"
local function note(what) sd.log.info("note " .. v .. " " .. what) end
function App.on_start(why)
    note("start " .. why)
    sd.every(0.02, function() n = n + 1 end)
    sd.after(8, function() note("soon") end) -- when the reload is over
    sd.after(100, function() note("late") end)
    sd.every(1000, function() end)
end
function App.save() note("save") return { n = n, why = "because" } end
function App.restore(data)
    assert(data.n > 0 and data.why == "because")
    n = 1000
    note("restore")
    assert(not pcall(error))
end
function App.on_stop() note("stop " .. (n >= 1000 and "newer" or "older")) end
return App]],
        })
        until_(function() return s:output():find("note one start start") end)
        until_(function() return s:run("status") end)
        s:write("scripts/app.lua",
            (s:read("scripts/app.lua"):gsub('v = {}, 0, "one"', 'v = {}, 0, "two"')))
        require("socket").sleep(0.1) -- so that the timer has run
        assert.equal(0, select(2, s:run("reload")))
        until_(function() return s:output():find("note one stop older") end,
            "the old code's last timer has run")
        local log = s:output()
        local order = {}
        for what in log:gmatch("note (%w+ %w+)") do
            order[#order + 1] = what
        end
        assert.same({ "one start", "two start", "one save", "two restore",
            "one soon" }, { unpack(order, 1, 5) })
        assert.matches("generation 1: 1 calls finish, 3 in the background", log)
        assert.not_matches("note one late", log)
    end)

    it("neither doubles nor misses a run of a configured timer", function()
        start({
            ["config/timers.lua"] = [[
return {
    { name = "tick", model = "m", method = "tick", every = "20ms" },
    { name = "slow", model = "m", method = "slow", every = "50ms" },
    { name = "three", model = "m", method = "three", every = "10ms",
        max_runs = 3 },
}]],
            ["scripts/models/m.lua"] = [[
local sd = require("sd")
local M = {}
local function note(name, info)
    local f = io.open(name .. ".runs", "a")
    f:write(info.run, " ", sd.generation, "\n")
    f:close()
end
function M:tick(_, info) note("tick", info) end
function M:three(_, info) note("three", info) end
function M:slow(_, info)
    note("slow", info)
    local f = assert(io.open("lock", "r") == nil and io.open("lock", "w"),
        "two runs at once")
    f:close()
    sd.sleep(0.12)
    os.remove("lock")
end
return M]],
        })
        for i = 1, 12 do
            local out, code = s:run("reload")
            assert.equal(0, code, out)
            until_(function()
                return (s:read("tick.runs") or ""):find(" " .. i + 1 .. "\n")
            end, "a run in generation " .. i + 1)
        end
        for _, name in ipairs({ "tick", "slow", "three" }) do
            local expected, last = 1, 0
            for run, gen in s:read(name .. ".runs"):gmatch("(%d+) (%d+)\n") do
                assert.equal(expected, tonumber(run), name)
                assert.is_true(tonumber(gen) >= last)
                expected, last = expected + 1, tonumber(gen)
            end
            assert.is_true(name ~= "three" or expected == 4)
        end
        assert.not_matches("two runs at once", s:output())
    end)

    it("lets a busy task end in old code and calls the new one", function()
        local ports = start()
        local busy, c = client.open(ports.game), client.open(ports.game)
        local mark = s.dir .. "/mark"
        busy:send(client.packet("c/task", { file = mark }, 1))
        until_(function() return s:has("mark") end, "the task runs")
        reload_to(s, "two")
        assert.same({ v = "two", gen = 2 }, result(c, "c/task", {}))
        reload_to(s, "three")
        assert.same({ v = "three", gen = 3 }, result(c, "c/task", {}))
        s:write("mark.end", "")
        assert.same({ v = "one", gen = 1 }, busy:receive().result)
        all_run(s, 3)
    end)

    it("waits for no call for longer than reload_timeout", function()
        local ports = start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, reload_timeout = "500ms" }]],
        })
        local c, d = client.open(ports.game), client.open(ports.game)
        c:send(client.packet("c/slow", { s = 60 }, 1))
        d:send(client.packet("c/stubborn", {}, 1))
        local web = client.tcp(ports.web)
        web:send("GET /c/nap HTTP/1.1\r\nHost: x\r\n\r\n")
        result(client.open(ports.game), "c/version")
        reload_to(s, "two")
        assert.equal(503, c:receive().error.code)
        assert.equal("two", result(c, "c/version").v)
        assert.matches("^HTTP/1.1 503", (web:receive("*l")))
        assert.same({ ok = false, err = "cancelled", again = false },
            d:receive().result)
    end)

    it("lets what `after` has begun or is given late run", function()
        local ports = start({
            ["config/server.lua"] =
                'return { workers = 1, tasks = 0, name = "n" }',
            ["scripts/controllers/a.lua"] = [[
local sd = require("sd")
local A = {}
function A:outlive()
    sd.after(0, function()
        sd.log.info("note begun")
        sd.sleep(5)
        sd.log.info("note done")
    end)
end
function A:late()
    sd.log.info("note waits")
    sd.sleep(5)
    sd.after(0.1, function() sd.log.info("note late") end)
    sd.after(1000, function() sd.log.info("note never") end)
end
return A]],
        })
        local c, d = client.open(ports.game), client.open(ports.game)
        c:send(client.packet("a/outlive", {}, 1))
        d:send(client.packet("a/late", {}, 1))
        until_(function()
            return s:output():find("note begun") and s:output():find("note waits")
        end)
        reload_to(s, "two")
        for _, what in ipairs({ "note done", "note late", "will not run" }) do
            until_(function() return s:output():find(what) end, what)
        end
    end)

    it("gives on_stop its own time, and save too", function()
        start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", reload_timeout = "300ms" }]],
            ["scripts/app.lua"] = [[
local sd = require("sd")
return {
    save = function()
        sd.sleep(0.6)
        sd.log.info("note saved")
        return { x = 1 }
    end,
    restore = function(data) sd.log.info("note restored " .. data.x) end,
    on_stop = function() sd.sleep(0.6) sd.log.info("note stopped") end,
}]],
        })
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        for _, what in ipairs({ "note saved", "note restored 1", "note stopped" }) do
            until_(function() return s:output():find(what) end, what)
        end
        assert.not_matches("were not over", s:output())
    end)

    it("is finished when the node is stopped meanwhile", function()
        start({
            ["scripts/app.lua"] = [[
local sd = require("sd")
local function note(what)
    sd.log.info(("note %s %d %s"):format(sd.role, sd.generation, what))
end
return {
    save = function()
        note("saves")
        sd.sleep(1)
        note("saved")
        return { x = 1 }
    end,
    restore = function() note("restored") end,
    on_stop = function() note("stopped") end,
}]],
            ["config/server.lua"] =
                'return { workers = 1, tasks = 1, name = "n" }',
        })
        assert.equal(0, select(2, s:run("reload")))
        until_(function()
            return select(2, s:output():gsub("note %a+ 1 saves", "")) == 2
        end, "both are amid it")
        s:kill("TERM")
        until_(function() return s:exit_status() end, "it has stopped")
        assert.equal(0, s:exit_status())
        local notes = {}
        for role, what in s:output():gmatch("note (%a+) (%d %a+)") do
            notes[role] = (notes[role] or "") .. what .. ", "
        end
        local all = "1 saves, 1 saved, 2 restored, 1 stopped, 2 stopped, "
        assert.same({ worker = all, task = all }, notes)
    end)

    it("outlives tasks that end with calls of the old code queued", function()
        local ports = start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 2, name = "n", task_grace = "1s" }]],
            ["scripts/tasks/block.lua"] = [[
local B = {}
function B:run() os.execute("sleep 2.6") return { v = "one" } end
return B]],
            ["scripts/controllers/b.lua"] = [[
local sd = require("sd")
local B = {}
function B:run() return sd.task("block", { timeout = 0.5 }):run() end
return B]],
        })
        local pid = s:process("worker").pid
        local tasks = { [0] = s:process("task", 0).pid,
            [1] = s:process("task", 1).pid }
        local list = {}
        for i = 1, 4 do
            list[i] = client.open(ports.game)
            list[i]:send(client.packet("b/run", {}, 1))
        end
        for i = 1, 4 do
            assert.equal(504, list[i]:receive().error.code)
        end
        reload_to(s, "two")
        until_(function()
            return not server.is_alive(tasks[0]) and not server.is_alive(tasks[1])
        end, "the tasks were ended")
        assert.same({ v = "two", gen = 2 }, result(list[1], "c/task", {}))
        assert.equal(pid, s:process("worker").pid)
    end)

    it("takes the watchdog along, and leaves some of it", function()
        local ports = start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, max_run = "200ms", name = "n" }]],
            ["scripts/controllers/loop.lua"] = [[
local sd = require("sd")
local L = {}
local function spin(n) while n > 0 do n = n + 1 end end
function L:later(p)
    sd.sleep(p.s)
    spin(1)
end
function L:now() spin(1) end
return L]],
        })
        local old, new = client.open(ports.game), client.open(ports.game)
        old:send(client.packet("loop/later", { s = 4 }, 1))
        result(new, "c/version")
        reload_to(s, "two")
        assert.equal(500, old:receive().error.code)
        assert.equal(500, new:call("loop/now", {}).error.code)
        local _, n = s:output():gsub("loop.lua:3: stopped", "")
        assert.is_true(n >= 2)
        assert.matches(" g1 [^\n]*loop.lua:3: stopped", s:output())
        assert.matches(" g2 [^\n]*loop.lua:3: stopped", s:output())
        assert.equal("two", result(old, "c/version").v)
    end)

    it("is refused while another one is under way", function()
        start({ ["scripts/app.lua"] = [[
local sd = require("sd")
return { on_start = function(why)
    if why == "reload" then sd.sleep(5) end
end }]] })
        s:kill("HUP")
        until_(function() return s:output():find(" reload\n") end)
        local out, code = s:run("reload")
        assert.equal(1, code)
        assert.equal("sdlua: a reload is under way\n", out)
        until_(function() return s:status().generation == 2 end)
    end)

    describe("while calls of the last two generations go on", function()
        --- Two generations with a call each that ends in their code.
        local function two_calls(seconds)
            local conns, ports = {}, start({
                ["config/server.lua"] =
                    "return { workers = 1, tasks = 1, name = 'n', stop_timeout = '1s' }",
            })
            for i = 1, 2 do
                conns[i] = client.open(ports.wide)
                conns[i]:send(client.packet("c/slow", { s = seconds, n = i }, 10 + i))
                result(conns[i], "c/version") -- behind it
                reload_to(s, "v" .. i)
            end
            return conns
        end

        it("waits a moment for one of them", function()
            local conns = two_calls(1)
            reload_to(s, "v3")
            for i = 1, 2 do
                assert.equal(i, conns[i]:receive().result.n)
            end
            all_run(s, 4)
        end)

        it("gives up soon, and says why", function()
            local conns = two_calls(60)
            local out, code = s:run("reload")
            assert.equal(1, code)
            assert.truthy(out:find("calls of two earlier generations have not ended", 1, true),
                out)
            assert.equal("v2", result(client.open(client.ports(s).game), "c/version").v)
            for i = 1, 2 do
                conns[i]:close()
            end
        end)
    end)

    it("tells --json what came of it", function()
        start()
        local out, code = s:run("reload --json 2> /dev/null")
        assert.equal(0, code)
        assert.same({ ok = true, generation = 2, workers = 2, tasks = 1,
            notes = {} }, cjson.decode(out))
        s:write("config/server.lua", "return { workers = 3, tasks = 1, name = 'n' }")
        out = s:run("reload --json 2> /dev/null")
        assert.matches("server.workers stays as it was",
            cjson.decode(out).notes[1])
        s:write("scripts/controllers/c.lua", "return nonsense nonsense")
        out, code = s:run("reload --json 2> /dev/null")
        assert.equal(1, code)
        local answer = cjson.decode(out)
        assert.is_false(answer.ok)
        assert.matches("^scripts/controllers/c.lua:1: ", answer.errors[1])
    end)

    it("is counted, and so is one that failed", function()
        start({ ["config/admin.lua"] =
            'return { listen = "unix:run/admin.sock" }' })
        assert.equal(0, select(2, s:run("reload")))
        s:write("scripts/controllers/c.lua", "return nonsense nonsense")
        assert.equal(1, select(2, s:run("reload")))
        local text = server.shell("env -u LD_PRELOAD curl -s --unix-socket "
            .. s.dir .. "/run/admin.sock http://x/metrics")
        assert.matches('sdlua_generation{node="n"} 2', text, 1, true)
        assert.matches(',gen="2"}', text, 1, true)
        assert.matches('reloads_total{node="n",outcome="committed"} 1', text, 1, true)
        assert.matches('reloads_total{node="n",outcome="failed"} 1', text, 1, true)
    end)

    it("needs a node that runs", function()
        s = server.new()
        local out, code = s:run("reload")
        assert.equal(3, code)
        assert.equal("sdlua: not running\n", out)
    end)
end)

describe("a reload of what is broken", function()
    local s, ports

    setup(function()
        s = server.start(files({
            ["config/server.lua"] = [[
return { workers = 2, tasks = 1, name = "n", max_run = "100ms" }]],
        }))
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    local cases = {
        { "a syntax error", "scripts/controllers/c.lua",
            "return {\n}}", "scripts/controllers/c.lua:2: " },
        { "an error at load", "scripts/models/m.lua",
            'local x = nil\nreturn x.y', "scripts/models/m.lua:2: " },
        { "what is no table", "scripts/models/m.lua", "return 5",
            "scripts/models/m.lua: must return a table" },
        { "an on_start that raises", "scripts/app.lua",
            'return { on_start = function()\nerror("no way") end }',
            "scripts/app.lua:2: no way" },
        { "a self_check that raises", "scripts/app.lua",
            'return { self_check = function()\nerror("ill") end }',
            "scripts/app.lua:2: ill" },
        { "a self_check that says no", "scripts/app.lua",
            'return { self_check = function() return nil, "ill" end }',
            "self_check: ill" },
        { "a self_check that is false", "scripts/app.lua",
            "return { self_check = function() return false end }",
            "self_check: false" },
        { "an endless loop at load", "scripts/models/m.lua",
            "local M = {}\nwhile true do end\nreturn M",
            "scripts/models/m.lua:2: stopped" },
        { "an endless loop in on_start", "scripts/app.lua",
            "return { on_start = function()\nwhile true do end end }",
            "scripts/app.lua:2: stopped" },
        { "a wrong key", "config/server.lua", "return { workerz = 2 }",
            "config/server.lua:1: .*workerz" },
        { "a wrong value", "config/ports.lua",
            (PORTS:gsub("max_inflight = 4", 'max_inflight = "many"')),
            "config/ports.lua:3: .*max_inflight" },
        { "a frame that cannot be", "config/ports.lua",
            (PORTS:gsub("max_inflight = 4",
                'frame = { type = "line", delimiter = "123456789012345678" }')),
            "ports.wide: frame.delimiter: longer than 16 bytes" },
        { "a missing route", "config/ports.lua",
            (PORTS:gsub("max_inflight = 4", 'route = "nowhere"')),
            "config/ports.lua:3: .*nowhere" },
        { "an unreadable file", "scripts/models/m.lua", false, "m.lua" },
    }
    for _, case in ipairs(cases) do
        it("stays with the old code: " .. case[1], function()
            local path = case[2]
            local before = s:read(path)
            local c = client.open(ports.game)
            local gen = s:status().generation
            if case[3] then
                s:write(path, case[3])
            else
                server.shell("ln -s /nowhere " .. s.dir .. "/" .. path)
            end
            local out, code = s:run("reload")
            server.shell("rm -f " .. s.dir .. "/" .. path)
            if before then
                s:write(path, before)
            end
            assert.equal(1, code, out)
            assert.matches(case[4], out)
            assert.equal(gen, s:status().generation)
            assert.same({ v = "one", gen = gen }, result(c, "c/version"))
            assert.same({ v = "one", gen = gen }, result(c, "c/task", {}))
        end)
    end

    it("works again when it is mended", function()
        local gen = s:status().generation
        assert.equal(0, select(2, s:run("reload")))
        assert.equal(gen + 1, s:status().generation)
        all_run(s, gen + 1)
    end)
end)

describe("a reload of the configuration", function()
    local s
    after_each(function()
        s:stop()
    end)

    it("applies limits to conns that live, codecs to new ones", function()
        s = server.start(files({
            ["scripts/packs/p.lua"] = [[
local P = {}
function P.decode(b) return { controller_name = "c", method_name = b, id = 1 } end
function P.encode(p) return p.result and p.result.v or "push" end
return P]],
            ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    pack = { listen = "127.0.0.1:0", protocol = "tcp", codec = "p" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
        }))
        local ports = client.ports(s)
        local old = client.lines(ports.game)
        local ws, packed = client.ws(ports.web), client.open(ports.pack)
        assert.equal("one", result(old, "c/version").v)
        s:write("config/ports.lua", [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", codec = "msgpack",
        max_subscriptions = 1 },
    pack = { listen = "127.0.0.1:0", protocol = "tcp" },
    web = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { codec = "msgpack" } },
}]])
        reload_to(s, "two")
        assert.equal("two", result(old, "c/version").v)
        assert.equal("two", result(ws, "c/version").v)
        packed:put("version")
        assert.equal("two", packed:get())
        result(old, "c/topic", { topic = "a" })
        assert.equal(413, old:call("c/topic", { topic = "b" }).error.code)

        local pack = { encode = require("MessagePack").pack,
            decode = require("MessagePack").unpack }
        local new = client.open(ports.game, pack)
        assert.equal("two", result(new, "c/version").v)
        -- One publish, four formats.
        for _, c in ipairs({ ws, new, client.open(ports.pack) }) do
            result(c, "c/topic", { topic = "news" })
        end
        result(old, "c/topic", { topic = "a" })
        result(old, "c/publish", { topic = "news" })
        assert.equal("two", ws:receive().news)
        assert.equal("two", new:receive().news)
    end)

    it("names what needs a restart and keeps it", function()
        s = server.start(files())
        s:write("config/server.lua",
            "return { workers = 1, tasks = 4, max_conns = 7, name = 'n' }")
        s:write("config/ports.lua", [[
return {
    game = { listen = "127.0.0.1:1", protocol = "tcp" },
    wide = { listen = "127.0.0.1:0", protocol = "http" },
    more = { listen = "127.0.0.1:0" },
}]])
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        for _, what in ipairs({ "server.workers stays", "server.tasks stays",
            "server.max_conns stays", "ports.game.listen stays",
            "ports.wide.protocol stays", "ports.more is new",
            "ports.web goes on" }) do
            assert.matches(what, out)
        end
        assert.matches("generation 2: 2 workers, 1 tasks\n$", out)
        assert.equal(200, select(2, s:get("/c/version")))
        assert.equal("one",
            result(client.open(client.ports(s).wide), "c/version").v)
    end)

    it("sets the log's level and format", function()
        s = server.start(files())
        s:write("config/log.lua", 'return { format = "json", level = "debug" }')
        assert.equal(0, select(2, s:run("reload")))
        until_(function()
            return s:output():find('"generation":2', 1, true)
        end, "a line in JSON")
    end)
end)
