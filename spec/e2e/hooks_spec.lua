-- The hooks of scripts/app.lua: when they run, what they may do, and the
-- reasons and codes a conn ends with.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 0, session_max = "1k" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "length", max = 1000 } },
    slow = { listen = "127.0.0.1:0", protocol = "tcp" },
    picky = { listen = "127.0.0.1:0", protocol = "tcp" },
    waits = { listen = "127.0.0.1:0", protocol = "tcp", timeout = "50ms" },
    idle = { listen = "127.0.0.1:0", protocol = "tcp",
        idle_timeout = "80ms" },
    auth = { listen = "127.0.0.1:0", protocol = "tcp",
        auth_timeout = "60ms" },
    wide = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 4 },
    web = { listen = "127.0.0.1:0", protocol = "http", origins = { "*" },
        websocket = { path = "/ws", max = 1000 } },
    webidle = { listen = "127.0.0.1:0", protocol = "http",
        idle_timeout = "120ms", websocket = { path = "/ws" } },
    webauth = { listen = "127.0.0.1:0", protocol = "http",
        auth_timeout = "60ms", websocket = { path = "/ws" } },
}]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local events = require("events")
local App = {}

function App.on_start(why) events.started = why end

function App.on_handshake(self)
    local query = self.request.query
    events.handshakes = (events.handshakes or 0) + 1
    if query.fail then
        sd.fail(tonumber(query.fail), "not you")
    elseif query.err then
        return nil, query.err
    elseif query.raise then
        error("handshake broke")
    elseif query.wait then
        sd.sleep(0.01)
    elseif query.hold then
        self:bind_uid(query.hold)
        events.held = {
            conn_id = self.conn_id,
            send = { pcall(self.send, self, "early") },
            push = { pcall(self.send, self, "early", { volatile = true }) },
            ask = { pcall(self.ask, self, { q = 1 }) },
        }
        while events.held do sd.sleep(0.005) end
    end
    self.response:header("X-Hello", query.name or "nobody")
    self.session.name = query.name
    self.session.path = self.request.path
end

function App.on_connect(self)
    if self.port == "picky" then
        error("not today")
    elseif self.port == "waits" then
        sd.sleep(5)
    elseif self.port == "slow" then
        sd.sleep(0.05)
        self:send("welcome")
    end
    self.session.connected = (self.session.connected or 0) + 1
    self.session.has_request = self.request ~= nil
    events.open(self.conn_id)
end

function App.on_close(self, reason)
    local sent, err = self:send("x")
    local session = self.session
    sd.sleep(0.001)
    events.close(self.conn_id, {
        reason = reason, sent = sent, err = err, session = session,
        port = self.port, peer = self.peer.port,
    })
end

function App.on_error(self, err)
    events.error = { err = err, conn_id = self.conn_id }
    if err:find("twice") then error("on_error too") end
end

return App]],
    ["scripts/events.lua"] = [[
local events = { opened = {}, closed = {}, times = {} }
function events.open(id) events.opened[id] = true end
function events.close(id, what)
    events.times[id] = (events.times[id] or 0) + 1
    events.closed[id] = what
end
return events]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
local events = require("events")
local Probe = {}
function Probe:id() return self.conn_id end
function Probe:its_session() return self.session end
function Probe:opened(p) return events.opened[p.id] or false end
function Probe:closed(p)
    local c = events.closed[p.id]
    return c and { close = c, times = events.times[p.id] } or false
end
function Probe:of_port(p)
    for id, c in pairs(events.closed) do
        if c.port == p.port and c.peer == p.peer then
            return { close = c, times = events.times[id] }
        end
    end
    return false
end
function Probe:held() return events.held or false end
function Probe:speak_to(p)
    local outcomes = {
        { sd.ask_uid(p.uid, { q = 1 }) },
        { sd.deliver_to_uid(p.uid, "early") },
        { sd.send_to_conn(p.conn_id, "early") },
    }
    for i, r in ipairs(outcomes) do outcomes[i] = { ok = r[1], err = r[2] } end
    events.held = nil
    return outcomes
end
function Probe:started() return events.started end
function Probe:last_error() return events.error end
function Probe:raise() error("boom") end
function Probe:raise_twice() error("twice") end
function Probe:refuse() return nil, "refused" end
function Probe:fails() sd.fail(403, "no") end
function Probe:login() return self:bind_uid("ann", { policy = "allow" }) end
function Probe:counts()
    local n = 0
    for _ in pairs(events.opened) do n = n + 1 end
    return { opened = n }
end
function Probe:bad_close(p)
    local args = { { {} }, { "x", "code" }, { "x", {} }, { 7 } }
    return { pcall(self.close, self, unpack(args[p.i])) }
end
function Probe:leave_bytes() self:close("bad \255 bytes") end
function Probe:leave(p) self:close(p.reason, p.code) end
function Probe:linger(p)
    local ok, err
    for _ = 1, 1000 do
        ok, err = self:send("still here")
        if not ok then break end
        sd.sleep(0.005)
    end
    self.session.lingered = true
    events.lingered = { ok = ok, err = err, uid = self.uid,
        closed = events.closed[self.conn_id] ~= nil }
end
function Probe:lingered() return events.lingered end
function Probe:step(p)
    sd.sleep(p.s)
    return p.n
end
return Probe]],
}

describe("hooks", function()
    local s, ports, probe
    local open = {}

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
        probe = client.open(ports.game)
    end)

    teardown(function()
        probe:close()
        s:stop()
    end)

    after_each(function()
        for _, c in ipairs(open) do
            c:close()
        end
        open = {}
    end)

    local function game(port)
        local c = client.open(ports[port or "game"])
        open[#open + 1] = c
        return c
    end

    local function web(opts, port)
        local c, status, head, body = client.ws(ports[port or "web"], opts)
        open[#open + 1] = c
        return c, status, head, body
    end

    --- What on_close was told about a conn, once it was.
    local function closed(id)
        return server.until_(function()
            local r = probe:call("probe/closed", { id = id }).result
            return r and r.close and r
        end, "on_close of " .. id)
    end

    it("start with the reason", function()
        assert.equal("start", probe:call("probe/started").result)
    end)

    describe("on_connect", function()
        it("ends before the first packet is served", function()
            local c = game("slow")
            for i = 1, 5 do
                c:send(client.packet("probe/step", { n = i, s = 0 }))
            end
            assert.equal("welcome", c:receive())
            for i = 1, 5 do
                assert.equal(i, c:receive())
            end
            assert.equal(1, c:call("probe/its_session").result.connected)
        end)

        it("closes the conn when it raises", function()
            local c = game("picky")
            local _, port = c.sock:getsockname()
            assert.is_true(c:is_closed())
            local r = server.until_(function()
                local got = probe:call("probe/of_port",
                    { port = "picky", peer = tonumber(port) }).result
                return got and got.close and got
            end)
            assert.equal("error", r.close.reason)
            assert.equal(1, r.times)
        end)

        it("is bound by the port's timeout", function()
            local c = game("waits")
            c:send(client.packet("probe/id", nil, 1))
            assert.is_true(c:is_closed())
        end)

        it("runs for a client that is gone already, and on_close after it",
            function()
                local c = game("slow")
                local _, port = c.sock:getsockname()
                c:close()
                local r = server.until_(function()
                    local got = probe:call("probe/of_port",
                        { port = "slow", peer = tonumber(port) }).result
                    return got and got.close and got
                end)
                assert.equal("client", r.close.reason)
                assert.equal(1, r.times)
                assert.equal(1, r.close.session.connected)
            end)
    end)

    describe("on_close", function()
        -- How the conn ends; what on_close is told.
        local reasons = {
            { "the client closes", "client", function(c)
                c:close()
            end },
            { "the client resets", "client", function(c)
                c.sock:setoption("linger", { on = true, timeout = 0 })
                c:close()
            end },
            { "a broken frame comes", "frame", function(c)
                c.sock:send("\0\0\0\1")
            end },
            { "a frame over max comes", "too_large", function(c)
                c.sock:send(client.number(5000, 4))
            end },
            { "the script says so", "my own text", function(c)
                c:cast("probe/leave", { reason = "my own text" })
            end },
            { "the script says a known word", "kicked", function(c)
                c:cast("probe/leave", { reason = "kicked" })
            end },
        }

        for _, case in ipairs(reasons) do
            it("hears '" .. case[2] .. "' when " .. case[1], function()
                local c = game()
                local id = c:call("probe/id").result
                assert.is_true(probe:call("probe/opened", { id = id }).result)
                case[3](c)
                local r = closed(id)
                assert.equal(case[2], r.close.reason)
                assert.equal(1, r.times)
                assert.equal("gone", r.close.err)
                assert.is_nil(r.close.sent)
                assert.equal("game", r.close.port)
                assert.equal(1, r.close.session.connected)
            end)
        end

        it("hears 'idle' when no byte comes", function()
            local c = game("idle")
            local id = c:call("probe/id").result
            assert.is_true(c:is_closed())
            assert.equal("idle", closed(id).close.reason)
        end)

        it("hears 'auth' when no uid was bound in time", function()
            local c = game("auth")
            local id = c:call("probe/id").result
            assert.is_true(c:is_closed())
            assert.equal("auth", closed(id).close.reason)
        end)

        it("hears nothing of who has bound a uid in time", function()
            local c, w = game("auth"), web(nil, "webauth")
            assert.is_true(c:call("probe/login").result)
            assert.is_true(w:call("probe/login").result)
            local late = game("auth")
            assert.is_true(late:is_closed())
            assert.is_string(c:call("probe/id").result)
            assert.is_string(w:call("probe/id").result)
        end)

        it("is not run for plain HTTP, nor is on_connect", function()
            local before = probe:call("probe/counts").result
            assert.equal(200, select(2, s:get("/probe/started", ports.web)))
            local n = before.opened
            local c = game()
            c:call("probe/id")
            assert.equal(n + 1, c:call("probe/counts").result.opened)
        end)

        it("waits for requests in flight, which go on", function()
            local c = game()
            local id = c:call("probe/id").result
            c:cast("probe/linger")
            c:close()
            local r = closed(id)
            assert.is_true(r.close.session.lingered)
            assert.equal(1, r.times)
            assert.same({ err = "gone", closed = false },
                probe:call("probe/lingered").result)
        end)
    end)

    describe("on_error", function()
        it("gets self and the error with its stack", function()
            local c = game()
            local id = c:call("probe/id").result
            assert.equal(500, c:call("probe/raise").error.code)
            local e = probe:call("probe/last_error").result
            assert.equal(id, e.conn_id)
            assert.matches("controllers/probe.lua:%d+: boom", e.err)
            assert.matches("stack traceback", e.err)
        end)

        it("may raise itself", function()
            local c = game()
            assert.equal(500, c:call("probe/raise_twice").error.code)
            assert.is_string(c:call("probe/id").result)
        end)

        it("does not hear of failures that are no bugs", function()
            local c = game()
            c:call("probe/raise")
            local before = probe:call("probe/last_error").result.conn_id
            local other = game()
            assert.equal(409, other:call("probe/refuse").error.code)
            assert.equal(403, other:call("probe/fails").error.code)
            assert.equal(before,
                probe:call("probe/last_error").result.conn_id)
        end)
    end)

    describe("on_handshake", function()
        local refusals = {
            { "fail=401", 401, "not you" },
            { "fail=403", 403, "not you" },
            { "fail=1234", 400, "not you" },
            { "err=refused", 409, "refused" },
            { "err=busy", 503, "busy" },
            { "err=own", 400, "own" },
            { "raise=1", 500, "internal error" },
        }
        for _, case in ipairs(refusals) do
            it("answers " .. case[1] .. " as " .. case[2], function()
                local w, status, _, body = web({ path = "/ws?" .. case[1] })
                assert.is_nil(w)
                assert.equal(case[2], status)
                assert.matches(case[3], body, 1, true)
            end)
        end

        it("may set headers and the session", function()
            local w = web({ path = "/ws?name=ann&wait=1" })
            assert.matches("X%-Hello: ann", w.head)
            local session = w:call("probe/its_session").result
            assert.same({ name = "ann", path = "/ws", connected = 1,
                has_request = false }, session)
        end)

        it("has no conn yet that anybody could speak to", function()
            local sock = client.tcp(ports.web)
            sock:send("GET /ws?hold=early HTTP/1.1\r\nHost: x\r\n"
                .. "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                .. "Sec-WebSocket-Version: 13\r\n"
                .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            local held = server.until_(function()
                return probe:call("probe/held").result
            end, "the handshake waits")
            for _, said in ipairs({ held.send, held.push, held.ask }) do
                assert.is_false(said[1])
                assert.matches("^scripts/app.lua:%d+: the WebSocket is not open", said[2])
            end
            local got = probe:call("probe/speak_to",
                { uid = "early", conn_id = held.conn_id }).result
            assert.same({ err = "gone" }, got[1])
            assert.is_nil(got[2].ok)
            assert.same({ err = "gone" }, got[3])
            assert.matches(" 101 ", (sock:receive("*l")))
            sock:close()
        end)

        it("is not run for plain requests", function()
            local body, status = s:get("/probe/started", ports.web)
            assert.equal(200, status, body)
            assert.equal("start", body)
        end)
    end)

    describe("a WebSocket's close", function()
        local codes = {
            { nil, nil, 4000 },
            { "own words", nil, 4000, "own words" },
            { "own words", 4321, 4321, "own words" },
            { "own words", 3000, 3000, "own words" },
            { "kicked", nil, 4004 },
            { "replaced", nil, 4005 },
            { "auth", nil, 4003 },
            { "idle", nil, 4001 },
            { "slow", nil, 4002 },
            { "drain", nil, 1012 },
            { "stop", nil, 1001 },
            { "client", nil, 1000 },
            { "error", nil, 1011 },
            { "own words", 1000, 1000, "own words" },
            { "own words", 1008, 1008, "own words" },
            { "own words", 1014, 1014, "own words" },
            { "own words", 4999, 4999, "own words" },
            { ("x"):rep(500), nil, 4000 },
        }
        for _, case in ipairs(codes) do
            local reason = case[1]
            it(("says %d for close(%s, %s)"):format(case[3],
                reason and reason:sub(1, 10) or "", tostring(case[2])),
                function()
                    local w = web()
                    local id = w:call("probe/id").result
                    w:cast("probe/leave", { reason = reason, code = case[2] })
                    local code, words = w:close_code()
                    assert.equal(case[3], code)
                    if case[4] then
                        assert.equal(case[4], words)
                    end
                    if reason then
                        assert.equal(reason, closed(id).close.reason)
                    end
                end)
        end

        it("has a text that is UTF-8, whatever the script says", function()
            local w = web()
            w:cast("probe/leave_bytes")
            local code, words = w:close_code()
            assert.equal(4000, code)
            assert.is_nil(words:find("\255", 1, true))
        end)

        it("needs a text and a number", function()
            local c = game()
            for i = 1, 4 do
                local r = c:call("probe/bad_close", { i = i }).result
                assert.is_false(r[1], "case " .. i)
                assert.matches("probe.lua:%d+: bad argument #%d to 'close'",
                    r[2])
            end
        end)

        it("says 4001 when idle, after a ping at half of it", function()
            local w = web(nil, "webidle")
            local id = w:call("probe/id").result
            assert.equal(9, w:read().op)
            assert.equal(4001, (w:close_code()))
            assert.equal("idle", closed(id).close.reason)
        end)

        it("says 4003 when nobody logged in", function()
            local w = web(nil, "webauth")
            local id = w:call("probe/id").result
            assert.equal(4003, (w:close_code()))
            assert.equal("auth", closed(id).close.reason)
        end)

        -- What a client does; code; reason.
        local rude = {
            { "an unmasked frame", 1002, "frame", function(w)
                w:frame("{}", { mask = false })
            end },
            { "a reserved bit", 1002, "frame", function(w)
                w:frame("{}", { rsv = 64 })
            end },
            { "an unknown opcode", 1002, "frame", function(w)
                w:frame("{}", { op = 3 })
            end },
            { "a stray continuation", 1002, "frame", function(w)
                w:frame("{}", { op = 0 })
            end },
            { "a fragmented ping", 1002, "frame", function(w)
                w:frame("x", { op = 9, fin = false })
            end },
            { "a long ping", 1002, "frame", function(w)
                w:frame(("x"):rep(126), { op = 9 })
            end },
            { "bad UTF-8", 1007, "frame", function(w)
                w:frame('"\255"')
            end },
            { "a message over max", 1009, "too_large", function(w)
                w:frame(("x"):rep(1001))
            end },
            { "fragments over max", 1009, "too_large", function(w)
                w:frame(("x"):rep(600), { fin = false })
                w:frame(("x"):rep(600), { op = 0, fin = false })
            end },
            { "a close with code 1005", 1002, "frame", function(w)
                w:frame(client.number(1005, 2), { op = 8 })
            end },
            { "a close of one byte", 1002, "frame", function(w)
                w:frame("x", { op = 8 })
            end },
            { "a close of its own", 1000, "client", function(w)
                w:frame(client.number(1000, 2) .. "bye", { op = 8 })
            end },
            { "a close with code 3999", 3999, "client", function(w)
                w:frame(client.number(3999, 2), { op = 8 })
            end },
        }
        for _, case in ipairs(rude) do
            it(("answers %s with %d, %s"):format(case[1], case[2], case[3]),
                function()
                    local w = web()
                    local id = w:call("probe/id").result
                    case[4](w)
                    assert.equal(case[2], (w:close_code()))
                    assert.equal(case[3], closed(id).close.reason)
                end)
        end

        it("is 'client' when the socket just goes", function()
            local w = web()
            local id = w:call("probe/id").result
            w:close()
            assert.equal("client", closed(id).close.reason)
        end)
    end)

    describe("packets of one conn", function()
        it("are served one after the other", function()
            local c = game()
            for i = 1, 10 do
                c:cast("probe/step", { n = i, s = i % 2 == 1 and 0.005 or 0 })
            end
            for i = 1, 10 do
                assert.equal(i, c:receive())
            end
        end)

        it("are served together up to max_inflight", function()
            local c = game("wide")
            for i, wait in ipairs({ 0.3, 0.2, 0.1, 0, 0 }) do
                c:cast("probe/step", { n = i, s = wait })
            end
            for _, n in ipairs({ 4, 5, 3, 2, 1 }) do
                assert.equal(n, c:receive())
            end
        end)
    end)
end)

describe("a node that stops", function()
    it("ends calls, says why and runs every hook", function()
        local s = server.start({
            ["config/server.lua"] =
                "return { workers = 1, tasks = 0, session_max = 0 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["scripts/app.lua"] = [[
local App = {}
local function note(text)
    local f = io.open("notes", "a")
    f:write(text, "\n")
    f:close()
end
function App.on_close(self, reason)
    note(self.port .. " " .. reason .. " " .. (self.session.big and #self.session.big or 0))
end
function App.on_stop() note("on_stop") end
return App]],
            ["scripts/controllers/p.lua"] = [[
local sd = require("sd")
local P = {}
function P:slow() self:send("begun") sd.sleep(0.2) return "done" end
function P:big() self.session.big = ("x"):rep(100000) return "kept" end
return P]],
        })
        finally(function()
            s:stop()
        end)
        local ports = client.ports(s)
        local c, w = client.open(ports.game), client.ws(ports.web)
        assert.equal("kept", w:call("p/big").result)
        c:send(client.packet("p/slow", nil, 1))
        assert.equal("begun", c:receive())
        s:kill("TERM")
        assert.equal(1001, (w:close_code()))
        assert.same({ id = 1, result = "done" }, c:receive())
        assert.is_true(c:is_closed())
        c:close()
        w:close()
        server.until_(function()
            return s:exit_status()
        end, "the end")
        local lines = {}
        for line in s:read("notes"):gmatch("[^\n]+") do
            lines[#lines + 1] = line
        end
        assert.equal("on_stop", table.remove(lines))
        table.sort(lines)
        assert.same({ "game stop 0", "web stop 100000" }, lines)
    end)
end)
