-- The life of a node, seen from outside: what starts, what dies, what comes
-- back and what is left behind.
local cjson = require("cjson")
local socket = require("socket")
local server = require("spec.support.server")

local until_ = server.until_

--- The slots that answer `n` requests on connections of their own.
local function who_answers(s, n, port)
    local slots = {}
    for _ = 1, n do
        local body, code = s:get("/probe/who", port)
        assert.equal(200, code, body)
        slots[cjson.decode(body).slot] = true
    end
    return slots
end

--- The slot that serves this conn.
local function slot_of(tcp)
    tcp:send('{"controller_name":"probe","method_name":"who"}\r\n')
    local line = assert(tcp:receive("*l"))
    return cjson.decode(line).slot
end

--- Nothing of the node is left: no process, socket or pid file.
local function assert_nothing_left(s)
    until_(function()
        return #s:pids() == 0
    end, "all processes end")
    for _, name in ipairs({ "sdlua.pid", "control.sock", "redis.sock" }) do
        assert.is_false(s:has("run/" .. name), name .. " is left")
    end
end

describe("a node", function()
    local s

    after_each(function()
        if s then
            s:stop()
        end
        s = nil
    end)

    describe("that starts", function()
        it("prints its ports and processes and names them in ps", function()
            s = server.start()
            local out = s:output()
            assert.matches("game%s+tcp%s+127%.0%.0%.1:%d+", out)
            assert.matches("worker 1%s+%d+", out)
            for _, p in ipairs(s:status().processes) do
                local f = assert(io.open("/proc/" .. p.pid .. "/cmdline"))
                local title = f:read("*a"):gsub("%z.*", "")
                f:close()
                local name = p.role .. " " .. p.index
                if p.role == "master" or p.role == "agent" then
                    name = p.role
                end
                assert.equal("sdlua: " .. name, title)
            end
        end)

        it("tells what status --json promises", function()
            s = server.start()
            local st = s:status()
            assert.equal("n", st.node)
            assert.equal(1, st.generation)
            assert.matches("^%d+%.%d+", st.version)
            assert.is_true(st.uptime >= 0)
            assert.equal(s.pid, st.pid)
            assert.equal(2, #st.ports)
            for _, p in ipairs(st.ports) do
                assert.equal("127.0.0.1", p.address)
                assert.is_true(p.port > 0)
            end
            assert.equal(5, #st.processes)
            for _, p in ipairs(st.processes) do
                assert.equal("ready", p.state)
                assert.equal(0, p.restarts)
                assert.equal(1, p.generation)
                assert.is_true(p.memory > 100000)
                for _, key in ipairs({ "slot", "epoch", "uptime", "conns",
                    "vm_memory", "loop_lag" }) do
                    assert.is_number(p[key], key)
                end
            end
            local text, code = s:run("status")
            assert.equal(0, code)
            assert.matches("worker 0 +%d+ ready", text)
        end)

        it("runs in the background with -d when it serves", function()
            s = server.new()
            local out, code = s:run("start -d")
            assert.equal(0, code, out)
            assert.equal(200, select(2, s:get("/probe/who")))
            assert.matches("serving", s:read("run/sdlua.log"))
        end)

        it("refuses a second start in the same folder", function()
            s = server.start()
            local out, code = s:run("start")
            assert.equal(1, code)
            assert.equal(
                ("sdlua: already running (pid %d)\n"):format(s.pid), out)
            assert.is_table(s:status())
        end)

        it("refuses a taken port and leaves nothing behind", function()
            s = server.start()
            local taken = s:port("game")
            local other = server.new({ ["config/ports.lua"] = ([[
return { a = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    b = { listen = "127.0.0.1:%d", protocol = "tcp", frame = "line" } }
            ]]):format(taken) })
            for _, verb in ipairs({ "start", "start -d" }) do
                local out, code = other:run(verb)
                assert.equal(1, code)
                local line = out:gsub("[^\n]* warn [^\n]*\n", "")
                assert.matches('^sdlua: port "b": [^\n]*' .. taken
                    .. "[^\n]*\n$", line)
                assert_nothing_left(other)
                assert.is_false(other:has("run/control.sock"))
            end
            other:stop()
        end)

        it("refuses a bad configuration, all errors at once", function()
            s = server.new({ ["config/server.lua"] = "return {\n"
                .. "    workers = -1,\n    taskss = 2,\n}" })
            local out, code = s:run("start")
            assert.equal(1, code)
            assert.matches("config/server%.lua:2: ", out)
            assert.matches("config/server%.lua:3: [^\n]*tasks", out)
            assert.is_false(s:has("run"))
        end)

        it("refuses a script that does not compile", function()
            s = server.new({ ["scripts/controllers/probe.lua"] = "return {\n\n(" })
            local out, code = s:run("start")
            assert.equal(1, code)
            assert.matches("scripts/controllers/probe%.lua:3: ", out)
            assert_nothing_left(s)
        end)

        it("refuses when on_start raises, and stops what had started", function()
            s = server.new({ ["scripts/app.lua"] = [[
return { on_start = function() error("no licence") end }]] })
            for _, verb in ipairs({ "start", "start -d" }) do
                local out, code = s:run(verb)
                assert.equal(1, code)
                assert.matches("scripts/app%.lua:1: no licence", out)
                assert_nothing_left(s)
            end
        end)

        it("gives up on a configuration that never ends", function()
            s = server.new({ ["config/server.lua"] = "while true do end" })
            s.env = "SD_CONFIG_SECONDS=2"
            local out, code = s:run("start")
            assert.equal(1, code)
            assert.matches("config/server%.lua: [^\n]*second", out)
            assert_nothing_left(s)
        end)
    end)

    describe("that stops", function()
        it("ends every process and removes its files", function()
            s = server.start()
            local out, code = s:run("stop")
            assert.equal(0, code, out)
            assert_nothing_left(s)
            assert.equal(0, s:exit_status())
        end)

        it("ends at TERM, INT and QUIT", function()
            s = server.new()
            for _, signal in ipairs({ "TERM", "INT", "QUIT" }) do
                s:launch()
                s:wait_ready()
                s:kill(signal)
                until_(function()
                    return s:exit_status()
                end, "ends at " .. signal)
                assert.equal(0, s:exit_status())
                assert_nothing_left(s)
            end
        end)

        it("answers requests in flight first", function()
            s = server.start({ ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { nap = function(self, p) sd.sleep(0.5) return { done = true } end }]] })
            local tcp = s:connect("web")
            tcp:send("GET /probe/nap HTTP/1.1\r\nHost: a\r\n\r\n")
            until_(function()
                return s:process("worker", 0).conns
                    + s:process("worker", 1).conns > 0
            end)
            s:kill("TERM")
            local head = tcp:receive("*l")
            assert.equal("HTTP/1.1 200 OK", head)
            until_(function()
                return s:exit_status()
            end)
            assert.equal(0, s:exit_status())
        end)

        it("answers packets in flight, then closes the conn", function()
            s = server.start({ ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { nap = function(self, p) sd.sleep(0.5) return { done = true } end }]] })
            local tcp = s:connect("game")
            tcp:send('{"controller_name":"probe","method_name":"nap"}\r\n')
            until_(function()
                return s:process("worker", 0).conns
                    + s:process("worker", 1).conns > 0
            end)
            s:kill("TERM")
            assert.equal('{"done":true}', tcp:receive("*l"))
            assert.equal("closed", select(2, tcp:receive("*l")))
        end)

        it("does not wait with --now", function()
            s = server.start({ ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { nap = function() sd.sleep(40) end }]],
                ["config/server.lua"] = [[
return { workers = 1, tasks = 0, stop_timeout = "50s" }]] })
            local tcp = s:connect("game")
            tcp:send('{"controller_name":"probe","method_name":"nap"}\r\n')
            local begin = socket.gettime()
            assert.equal(0, select(2, s:run("stop --now")))
            assert.is_true(socket.gettime() - begin < 30)
            assert_nothing_left(s)
        end)

        it("cuts off what is not done within stop_timeout", function()
            s = server.start({
                ["config/server.lua"] = [[
return { workers = 1, tasks = 0, stop_timeout = "500ms" }]],
                ["scripts/controllers/probe.lua"] = [[
return { hang = function() while true do end end }]],
            })
            local tcp = s:connect("game")
            tcp:send('{"controller_name":"probe","method_name":"hang"}\r\n')
            assert.equal(0, select(2, s:run("stop")))
            assert_nothing_left(s)
        end)

        it("stops at once at the second signal, not at a second stop", function()
            s = server.start({
                ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
                ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { nap = function() sd.sleep(4.5) return 1 end }]],
            })
            local tcp = s:connect("game")
            tcp:send('{"controller_name":"probe","method_name":"nap"}\r\n')
            until_(function()
                return s:process("worker").conns == 1
            end)
            s:kill("TERM")
            until_(function()
                return s:process("worker").state == "draining"
            end)
            server.shell(s:command("stop") .. " > /dev/null 2>&1 &")
            assert.equal("draining", s:process("worker").state)
            assert.is_nil(s:exit_status())
            s:kill("TERM")
            until_(function()
                return s:exit_status()
            end)
            assert.is_nil((tcp:receive("*l")))
        end)

        it("says 3 when nothing runs", function()
            s = server.new()
            for _, verb in ipairs({ "stop", "status", "status --json" }) do
                local out, code = s:run(verb)
                assert.equal(3, code)
                assert.equal("sdlua: not running\n", out)
            end
        end)

        it("serves again after restart", function()
            s = server.start()
            s:run("restart -d")
            assert.not_equal(s.pid, s:status().pid)
            assert.equal(200, select(2, s:get("/probe/who")))
        end)
    end)

    describe("whose worker is killed", function()
        it("fills the slot anew and keeps the other conns", function()
            s = server.start()
            local tcp = s:connect("game")
            local mine = slot_of(tcp)
            local other = s:process("worker", 1 - mine)
            s:kill("KILL", other.pid)
            local again = until_(function()
                local p = s:process("worker", 1 - mine)
                return p.state == "ready" and p.pid ~= other.pid and p
            end, "the worker is replaced")
            assert.equal(1, again.restarts)
            assert.equal(other.epoch + 1, again.epoch)
            assert.equal(mine, slot_of(tcp))
            assert.matches("worker %d %(pid %d+%) ended: signal 9",
                s:output())
        end)

        it("answers every new conn, also while the breaker is open", function()
            s = server.start({ ["scripts/app.lua"] = [[
local sd = require("sd")
return { on_start = function(why)
    if why == "respawn" and sd.slot == 0 then error("broken") end
end }]] })
            local port = s:port("web")
            s:kill("KILL", s:process("worker", 0).pid)
            who_answers(s, 20, port)
            until_(function()
                return s:process("worker", 0).state == "broken"
            end, "the breaker opens")
            assert.same({ [1] = true }, who_answers(s, 20, port))
            local out = s:output()
            assert.matches("broken after 6 crashes in 60 s", out)
            assert.matches("worker 1 serves the listeners of worker 0", out)
            assert.matches("scripts/app%.lua:3: broken", out)
        end)

        it("gives the listeners back when the worker is well", function()
            s = server.start({ ["scripts/app.lua"] = [[
local sd = require("sd")
return { on_start = function(why)
    local f = why == "respawn" and sd.slot == 0 and io.open("ill")
    if f then f:close() error("ill") end
end }]] })
            local port = s:port("web")
            s:write("ill", "")
            s:kill("KILL", s:process("worker", 0).pid)
            until_(function()
                return s:output():find("serves the listeners", 1, true)
            end, "a neighbour serves")
            os.remove(s.dir .. "/ill")
            until_(function()
                return s:process("worker", 0).state == "ready"
            end, "the worker is ready again")
            until_(function()
                return who_answers(s, 10, port)[0]
            end, "worker 0 answers")
        end)

        it("ends with status 1 when every breaker is open", function()
            s = server.start({
                ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
                ["scripts/app.lua"] = [[
return { on_start = function(why)
    if why == "respawn" then error("broken") end
end }]],
            })
            s:kill("KILL", s:process("worker", 0).pid)
            until_(function()
                return s:exit_status()
            end, "the master gives up")
            assert.equal(1, s:exit_status())
            assert_nothing_left(s)
        end)
    end)

    it("fills the slot of a killed task anew", function()
        s = server.start()
        local old = s:process("task")
        s:kill("KILL", old.pid)
        local new = until_(function()
            local p = s:process("task")
            return p.state == "ready" and p.pid ~= old.pid and p
        end, "the task is replaced")
        assert.equal(1, new.restarts)
    end)

    it("ends as a whole when the master is killed, and starts again", function()
        s = server.start({
            ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
        })
        for _ = 1, 2 do
            s:kill("KILL")
            until_(function()
                return s:exit_status()
            end)
            s:launch()
            s:wait_ready()
            assert.equal(200, select(2, s:get("/probe/who")))
        end
        local live = s:pids()
        assert.equal(6, #live, table.concat(live, " "))
    end)

    it("reopens its log at USR2", function()
        s = server.start({
            ["config/log.lua"] = [[return { file = "run/log" }]],
        })
        assert(os.rename(s.dir .. "/run/log", s.dir .. "/run/log.1"))
        s:kill("USR2")
        until_(function()
            return s:has("run/log")
        end, "the log is opened anew")
        s:kill("KILL", s:process("worker", 0).pid)
        until_(function()
            return s:read("run/log"):find("worker 0 .- is ready")
        end, "lines go to the new file")
    end)

    describe("with an embedded redis", function()
        local function redis_pid()
            for _, pid in ipairs(s:pids()) do
                local f = io.open("/proc/" .. pid .. "/comm")
                local comm = f and f:read("*l")
                if f then
                    f:close()
                end
                if comm == "redis-server" then
                    return pid
                end
            end
        end

        local function cli(command)
            local out = server.shell(("redis-cli -s %s/run/redis.sock %s")
                :format(s.dir, command))
            return out:gsub("%s+$", "")
        end

        before_each(function()
            s = server.start({ ["config/redis.lua"] =
                [[return { default = { url = "embedded" } }]] })
        end)

        it("keeps it private, durable and without eviction", function()
            assert.equal("PONG", cli("ping"))
            assert.equal("600", (server.shell("stat -c %a " .. s.dir
                .. "/run/redis.sock"):gsub("%s", "")))
            assert.matches("\n0$", cli("config get port"))
            assert.matches("\nyes$", cli("config get appendonly"))
            assert.matches("\nnoeviction$", cli("config get maxmemory-policy"))
        end)

        it("starts it again when it dies, with its data", function()
            assert.equal("OK", cli("set k v"))
            local old = redis_pid()
            s:kill("KILL", old)
            until_(function()
                return cli("get k") == "v"
            end, "redis serves again")
            assert.not_equal(old, redis_pid())
            assert.matches("redis%-server ended: signal 9", s:output())
        end)

        it("keeps the data over stop and start", function()
            assert.equal("OK", cli("set k v"))
            assert.equal(0, select(2, s:run("stop")))
            assert_nothing_left(s)
            s:launch()
            s:wait_ready()
            assert.equal("v", cli("get k"))
        end)
    end)

    for jit, is_on in pairs({ on = true, off = false }) do
        it("runs scripts with SD_JIT=" .. jit, function()
            s = server.new({
                ["scripts/controllers/compiler.lua"] = [[
return { is_on = function() return { is_on = (jit.status()) } end }]],
            })
            s.env = "SD_JIT=" .. jit
            s:launch()
            s:wait_ready()
            assert.equal(('{"is_on":%s}'):format(is_on),
                (s:get("/compiler/is_on")))
        end)
    end

    if server.shell("id -u"):match("^0") then
        it("drops its children's rights to those of server.user", function()
            s = server.new({
                ["config/server.lua"] =
                    [[return { workers = 1, tasks = 1, user = "nobody" }]],
                ["config/redis.lua"] =
                    [[return { default = { url = "embedded" } }]],
            })
            server.shell("chmod 755 " .. s.dir)
            s:launch()
            s:wait_ready()
            for _, pid in ipairs(s:pids()) do
                local uid = server.shell("stat -c %U /proc/" .. pid)
                local want = pid == s.pid and "root" or "nobody"
                assert.equal(want, (uid:gsub("%s", "")))
            end
            assert.equal("nobody", (server.shell("stat -c %U " .. s.dir
                .. "/run"):gsub("%s", "")))
        end)
    end
end)
