-- How a node leaves: conns are closed at a pace, with the words for it, and
-- nothing that is under way is cut.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

--- What ps says; it does not start with what sanitized specs preload.
local function ps(options)
    return (server.shell("env -u LD_PRELOAD ps " .. options))
end

local FILES = {
    ["config/server.lua"] = [[return { workers = 2, tasks = 1, name = "n" }]],
    ["config/admin.lua"] = [[return { listen = "127.0.0.1:0" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        route = "polite" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["config/timers.lua"] = [[
return { { name = "tick", model = "world", method = "step", every = "50ms" } }]],
    ["scripts/models/world.lua"] = [[
return { step = function() io.open("ticks", "a"):write("."):close() return true end }]],
    ["scripts/routes/polite.lua"] = [[
return { bye = function(reason) return { bye = reason } end }]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return {
    who = function() return { slot = sd.slot } end,
    nap = function(_, p) sd.sleep(tonumber(p.seconds)) return { done = true } end,
}]],
}

describe("a node that is told to drain", function()
    local s, open

    before_each(function()
        open = {}
        s = server.start(FILES)
    end)

    after_each(function()
        for _, c in ipairs(open) do
            c:close()
        end
        s:stop()
    end)

    --- So many WebSockets that the node has.
    local function crowd(n)
        local list, port = {}, s:port("web")
        for i = 1, n do
            list[i] = assert(client.ws(port, { path = "/ws" }))
            open[#open + 1] = list[i]
        end
        until_(function()
            return s:conns() >= n
        end, "the node has all conns")
        return list
    end

    --- Begin, and let the verb wait in the background.
    local function begin(verb)
        server.shell(("{ %s; echo $? > %s/code; } > %s/words 2>&1 &"):format(
            s:command(verb), s.dir, s.dir))
        until_(function()
            return (s:status() or {}).state == "draining"
        end, "it drains")
    end

    local function assert_drained()
        until_(function()
            return s:exit_status()
        end, "the master ends")
        assert.equal(0, s:exit_status())
        assert.same({}, s:pids())
        assert.is_false(s:has("run/control.sock"))
    end

    it("closes its conns evenly, and says why", function()
        local list = crowd(40)
        local tcp = s:connect("game")
        local began = socket.gettime()
        begin("drain --rate 20")
        local times = {}
        while #times < #list do
            local sockets, of = {}, {}
            for _, w in ipairs(list) do
                if not w.closed_at then
                    sockets[#sockets + 1] = w.sock
                    of[w.sock] = w
                end
            end
            local readable = socket.select(sockets, nil, 20)
            assert.is_true(#readable > 0, "a conn is never closed")
            for _, sock in ipairs(readable) do
                local code = of[sock]:close_code()
                assert.equal(1012, code)
                sock:close()
                of[sock].closed_at = socket.gettime() - began
                times[#times + 1] = of[sock].closed_at
            end
        end
        -- 41 conns at 20 a second: half of them take a second, whatever else.
        assert.is_true(times[20] > 0.7, "half after " .. times[20])
        assert.is_true(times[40] > 1.6, "all after " .. times[40])
        assert.is_true(times[10] < times[30] - 0.7, "in one heap")
        assert.equal('{"bye":"drain"}', tcp:receive("*l"))
        assert.equal("closed", select(2, tcp:receive("*l")))
        tcp:close()
        assert_drained()
        assert.equal("0", (until_(function()
            return s:read("code")
        end):gsub("%s", "")))
        assert.matches("^4[01] conns left, 20 a second\n.*drained\n$", s:read("words"))
    end)

    it("is not ready, refuses clients, and runs its timers", function()
        crowd(1)
        local web = s:port("web")
        local admin = tonumber(s:status().admin:match(":(%d+)$"))
        assert.equal(200, select(2, s:get("/readyz", admin)))
        local kept = client.tcp(web)
        kept:send("GET /probe/who HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.matches("200", kept:receive("*l"))
        repeat until kept:receive("*l") == ""
        kept:receive(10)
        server.shell(s:command("drain --rate 1") .. " > /dev/null 2>&1 &")
        local body
        until_(function()
            local status
            body, status = s:get("/readyz", admin)
            return status == 503
        end, "it is not ready")
        assert.matches("draining", body)
        until_(function()
            local tcp = socket.tcp()
            local ok, why = tcp:connect("127.0.0.1", web)
            tcp:close()
            return not ok and why == "connection refused"
        end, "clients are refused")
        local before = #(s:read("ticks") or "")
        until_(function()
            return #(s:read("ticks") or "") > before
        end, "timers run")
        kept:close()
    end)

    it("answers over HTTP with the end of the connection", function()
        crowd(4)
        local kept = client.tcp(s:port("web"))
        open[#open + 1] = kept
        kept:send("GET /probe/nap?seconds=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        until_(function()
            return s:conns() == 5
        end)
        begin("drain --rate 1")
        assert.matches("200", kept:receive("*l"))
        local head = ""
        repeat
            local line = kept:receive("*l")
            head = head .. line .. "\n"
        until line == ""
        assert.matches("Connection: close", head)
        assert.equal('{"done":true}', kept:receive(13))
        assert.equal("closed", select(2, kept:receive(1)))
    end)

    it("finishes calls before it closes their conns", function()
        local w = crowd(1)[1]
        w:send(client.packet("probe/nap", { seconds = 1.5 }, 7))
        begin("drain --rate 1000")
        local reply = w:receive()
        assert.same({ id = 7, result = { done = true } }, reply)
        assert.equal(1012, (w:close_code()))
        w:close()
        assert_drained()
    end)

    it("goes at another pace after a second drain", function()
        local list = crowd(40)
        begin("drain --rate 1")
        local out, code = s:run("drain --rate 1000 --json")
        assert.equal(0, code, out)
        local result = cjson.decode(out)
        assert.is_true(result.ok)
        assert.is_true(result.conns > 20)
        for _, w in ipairs(list) do
            assert.equal(1012, (w:close_code()))
        end
        assert_drained()
    end)

    it("ends soon when it is told to stop", function()
        local list = crowd(40)
        begin("drain --rate 1")
        assert.equal(0, select(2, s:run("stop")))
        local codes = {}
        for _, w in ipairs(list) do
            codes[w:close_code()] = true
        end
        assert.is_true(codes[1001])
        assert_drained()
    end)

    it("goes on without the verb", function()
        crowd(10)
        begin("drain --rate 5")
        local verb
        until_(function()
            for pid, args in ps("-eo pid,args"):gmatch("(%d+) ([^\n]*)") do
                if args:find("^%S*sdlua %-C " .. s.dir:gsub("%p", "%%%0") .. " drain") then
                    verb = tonumber(pid)
                end
            end
            return verb
        end, "the verb runs")
        s:kill("INT", verb)
        assert_drained()
        assert.matches("drained", s:output())
    end)

    it("does not fill the place of a worker that dies", function()
        crowd(20)
        begin("drain --rate 10")
        s:kill("KILL", s:process("worker", 0).pid)
        until_(function()
            return s:output():find("worker 0 ended while it drained", 1, true)
        end, "its end is noticed")
        assert_drained()
        assert.is_nil(s:output():find("worker 0 [^\n]*next start"))
    end)

    it("ends at once when it has no conns", function()
        assert.equal(0, select(2, s:run("drain")))
        assert_drained()
    end)
end)

describe("the verb drain", function()
    it("says what is wrong", function()
        local s = server.new()
        assert.equal(3, select(2, s:run("drain")))
        for _, rate in ipairs({ "0", "-1", "x", "1.5", "''" }) do
            assert.equal(2, select(2, s:run("drain --rate " .. rate)))
        end
        assert.equal(2, select(2, s:run("drain now")))
        s:stop()
    end)
end)
