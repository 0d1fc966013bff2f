-- The admin port: health, metrics, who may use it; the agent behind it.
local cjson = require("cjson")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

--- A free port of the loopback address.
local function free_port()
    local other = assert(socket.bind("127.0.0.1", 0))
    local _, port = other:getsockname()
    other:close()
    return port
end

describe("the admin port", function()
    local s, base

    after_each(function()
        if s then
            s:stop()
        end
        s = nil
    end)

    local function start(files)
        local admin = files and files["config/admin.lua"]
        files = files or {}
        if not admin then
            files["config/admin.lua"] = [[return { listen = "127.0.0.1:0" }]]
        end
        s = server.start(files)
        base = "http://" .. tostring(s:status().admin)
    end

    --- curl: body and status.
    local function curl(path, more)
        local out, code = server.shell(("env -u LD_PRELOAD curl -sS -m 20 -w ' %%{http_code}' "
            .. "%s '%s%s'"):format(more or "", base, path))
        assert.equal(0, code, out)
        local body, status = out:match("^(.*) (%d+)$")
        return body, tonumber(status)
    end

    local function get(path, more)
        local body, status = curl(path, more)
        return cjson.decode(body), status
    end

    local function metrics()
        local text, status = curl("/metrics")
        assert.equal(200, status)
        return text
    end

    --- The sum of all samples whose name and labels match.
    local function sum(text, pattern)
        local n = 0
        for value in text:gmatch("\n" .. pattern .. " ([%d.e+-]+)") do
            n = n + tonumber(value)
        end
        return n
    end

    it("says that the node lives and is ready", function()
        start()
        assert.same({ { ok = true }, 200 }, { get("/healthz") })
        assert.same({ { ready = true }, 200 }, { get("/readyz") })
        assert.equal("agent", s:process("agent").role)
    end)

    it("tells who is not ready", function()
        start({ ["config/server.lua"] = [[return {
            workers = 2, tasks = 1, name = "n", hang_timeout = "1s" }]] })
        local worker = s:process("worker", 1)
        s:kill("STOP", worker.pid)
        until_(function()
            local body, status = get("/readyz")
            return status == 503 and body.reasons[1] == "worker 1 is stuck"
        end, "worker 1 is missed")
        s:kill("CONT", worker.pid)
        until_(function()
            return select(2, get("/readyz")) == 200
        end, "it is back")
    end)

    it("serves metrics as Prometheus reads them", function()
        start()
        local out = server.shell("env -u LD_PRELOAD curl -sSi " .. base .. "/metrics")
        assert.matches("\nContent%-Type: text/plain; version=0%.0%.4;", out)
        local text, types = metrics(), {}
        for line in text:gmatch("[^\n]+") do
            local name, kind = line:match("^# TYPE (sdlua_[%l_]+) (%l+)$")
            if name then
                assert.is_nil(types[name], "twice: " .. name)
                types[name] = kind
            elseif not line:find("^# HELP sdlua_[%l_]+ %u") then
                name = line:match('^(sdlua_[%l_]+){node="n"[^{}]*} [%d.e+-]+$')
                assert.is_string(types[name], line)
            end
        end
        for _, name in ipairs({ "connections", "messages_received_total",
            "bytes_sent_total", "connections_closed_total",
            "sends_dropped_total", "send_queue_bytes",
            "pushes_dropped_total", "worker_loop_lag_seconds",
            "lua_memory_bytes", "slow_consumers_total",
            "restarts_total", "build_info", "generation" }) do
            assert.is_string(types["sdlua_" .. name], name)
        end
    end)

    it("says what the node was built of", function()
        start()
        local built = cjson.decode((s:run("version --json")))
        local line = ('sdlua_build_info{node="n",version="%s",luajit="%s",'
            .. 'libuv="%s",gen="1"} 1\n'):format(built.version,
                built.luajit, built.libuv)
        assert.is_truthy(metrics():find(line, 1, true))
    end)

    it("counts what clients do", function()
        start()
        local tcp = s:connect("game")
        for i = 1, 10 do
            tcp:send(('{"id":%d,"controller_name":"probe",'
                .. '"method_name":"who"}\r\n'):format(i))
            assert(tcp:receive("*l"))
        end
        until_(function()
            local text = metrics()
            return sum(text, "sdlua_messages_received_total{[^\n]*}") == 10
                and sum(text, "sdlua_connections{[^\n]*}") == 1
                and sum(text, "sdlua_connections_accepted_total{[^\n]*}") == 1
        end, "ten packets of one conn")
        local text = metrics()
        assert.equal(1, sum(text, 'sdlua_connections{[^\n]*port="game",proto="tcp"}'))
        assert.equal(0, sum(text, 'sdlua_connections{[^\n]*port="web",proto="http"}'))
        assert.matches('\nsdlua_pushes_dropped_total{[^\n]*port="game",'
            .. 'policy="close",reason="slow"} 0\n', text)
        tcp:close()
        until_(function()
            return sum(metrics(), "sdlua_connections_closed_total"
                .. '{[^\n]*reason="client"}') == 1
        end, "one close")
    end)

    it("never counts backwards when processes die", function()
        start()
        local seen = 0
        for round = 1, 3 do
            for _ = 1, 8 do
                assert.equal(200, select(2, s:get("/probe/who")))
            end
            local before = until_(function()
                local n = sum(metrics(), "sdlua_requests_total{[^\n]*}")
                return n >= seen + 8 and n
            end, "the requests are counted")
            s:kill("KILL", s:process("worker", round % 2).pid)
            until_(function()
                local n = sum(metrics(), "sdlua_requests_total{[^\n]*}")
                assert.is_true(n >= before, n .. " < " .. before)
                return select(2, get("/readyz")) == 200
            end, "the worker is back")
            seen = before
        end
    end)

    it("comes back when the agent is killed, and clients stay", function()
        start()
        local tcp = s:connect("game")
        local old = s:process("agent").pid
        s:kill("KILL", old)
        until_(function()
            local p = s:process("agent")
            return p.pid ~= old and p.state == "ready"
        end, "a new agent")
        assert.equal(200, select(2, get("/healthz")))
        tcp:send('{"id":1,"controller_name":"probe","method_name":"who"}\r\n')
        assert.matches('"id":1', (assert(tcp:receive("*l"))))
        tcp:close()
    end)

    it("answers what it does not know", function()
        start()
        assert.equal(404, select(2, get("/secrets")))
        assert.equal(405, select(2, get("/metrics", "-X POST")))
        assert.equal(403, select(2, get("/healthz",
            "-H 'Origin: http://evil.example'")))
    end)

    it("answers by address only, as a name may be anybody's", function()
        start()
        local function as(host, path)
            return select(2, get(path, ("-H 'Host: %s'"):format(host)))
        end
        for _, host in ipairs({ "127.0.0.1", "127.0.0.1:9180", "[::1]",
            "[::1]:80", "localhost", "LocalHost:9180" }) do
            assert.equal(200, as(host, "/api/online"), host)
        end
        for _, host in ipairs({ "evil.example", "evil.example:9180", "",
            "localhost.evil.example", "127.0.0.1.evil.example", "1", "::1",
            "2130706433", "xn--localhost", ("a"):rep(60) }) do
            local status = as(host, "/api/online")
            assert.is_true(status == 403 or status == 400, host)
            status = select(2, curl("/metrics", ("-H 'Host: %s'"):format(host)))
            assert.is_true(status == 403 or status == 400, host)
        end
        assert.equal(403, as("evil.example", "/api/online"))
        assert.equal(200, as("evil.example", "/healthz"))
        assert.equal(200, as("evil.example", "/readyz"))
    end)

    it("wants the token where one is set, and limits guesses", function()
        start({ ["config/admin.lua"] =
            [[return { listen = "0.0.0.0:0", token = "hush" }]] })
        base = base:gsub("0%.0%.0%.0", "127.0.0.1")
        local right = "-H 'Authorization: Bearer hush'"
        assert.equal(200, select(2, get("/healthz", right)))
        assert.equal(200, select(2, get("/api/online",
            right .. " -H 'Host: node.example'")))
        for _, wrong in ipairs({ "", "-H 'Authorization: Bearer hus'",
            "-H 'Authorization: Bearer hushh'", "-H 'Authorization: Bearer '",
            "-H 'Authorization: Basic hush'" }) do
            local body, status = get("/metrics", wrong)
            assert.same({ 401, 401 }, { status, body.error.code })
        end
        assert.matches("admin port: 127%.0%.0%.1 has no valid token",
            s:output())
        until_(function()
            return select(2, get("/metrics")) == 429
        end, "guesses are limited")
        until_(function()
            return select(2, get("/healthz", right)) == 200
        end, "the limit ends")
    end)

    it("listens at a unix socket that is the user's alone", function()
        start({ ["config/admin.lua"] =
            [[return { listen = "unix:run/admin.sock" }]] })
        local path = s.dir .. "/run/admin.sock"
        assert.equal("600\n", (server.shell("stat -c %a " .. path)))
        base = "http://x"
        assert.equal(200, select(2, get("/api/online", "--unix-socket " .. path)))
        s:kill("KILL")
        until_(function()
            return s:exit_status()
        end)
        s:launch()
        s:wait_ready()
        assert.equal(200, select(2, get("/readyz", "--unix-socket " .. path)))
        s:run("stop")
        assert.is_false(s:has("run/admin.sock"))
    end)

    it("is no reason not to start unless its address was chosen", function()
        local other = socket.bind("127.0.0.1", 9180)
            or assert(socket.connect("127.0.0.1", 9180))
        s = server.start({ ["config/admin.lua"] = false })
        assert.is_nil(s:status().admin)
        assert.matches("warn [^\n]* no admin port: 127%.0%.0%.1:9180 is taken",
            s:output())
        other:close()
        s:stop()
        local port = free_port()
        other = assert(socket.bind("127.0.0.1", port))
        s = server.new({ ["config/admin.lua"] =
            ([[return { listen = "127.0.0.1:%d" }]]):format(port) })
        local out, code = s:run("start")
        assert.equal(1, code)
        assert.matches("sdlua: admin.listen: 127%.0%.0%.1:" .. port
            .. " is taken by another program\n$", out)
        other:close()
    end)

    it("can be off", function()
        s = server.start()
        assert.is_nil(s:status().admin)
        assert.equal("ready", s:process("agent").state)
    end)
end)
