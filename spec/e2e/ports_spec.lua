-- What a port promises its conns, with Lua behind it: limits, deadlines,
-- WebSocket codecs, and calls at the edges of a conn's life.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    few = { listen = "127.0.0.1:0", protocol = "tcp", max_conns = 2 },
    narrow = { listen = "127.0.0.1:0", protocol = "tcp", backlog = 4 },
    free = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 65535,
        backlog = 65535 },
    brief = { listen = "127.0.0.1:0", protocol = "tcp", timeout = 0.08 },
    slow = { listen = "127.0.0.1:0", protocol = "tcp",
        slow_client = { low = "16k", high = "64k", timeout = "200ms" } },
    greet = { listen = "127.0.0.1:0", protocol = "tcp" },
    json = { listen = "127.0.0.1:0", protocol = "http", origins = { "*" },
        websocket = { path = "/ws", protocols = { "v2", "v1" } } },
    msgpack = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { path = "/ws", codec = "msgpack" } },
    raw = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { path = "/ws", codec = "raw", route = "echo" } },
}]],
    ["scripts/routes/echo.lua"] = [[
return {
    request = function(_, packet)
        return { controller = "p", method = "echo", params = packet, id = 1 }
    end,
    reply = function(_, result) return result end,
    fail = function(_, code) return "E" .. code end,
}]],
    ["scripts/app.lua"] = [[
local App = {}
local state = require("state")
function App.on_connect(self)
    if self.port ~= "greet" then return end
    self:send({ hello = self.conn_id })
    local answer, err = self:ask({ q = "who" }, { timeout = 5 })
    if answer == "bad" then self:close("go away") return end
    self.session.who = answer or err
end
function App.on_close(self, reason)
    state.closed[self.conn_id] = { reason = reason,
        ask = { self:ask({ q = "late" }) }, who = self.session.who }
end
return App]],
    ["scripts/state.lua"] = "return { closed = {}, ran = {} }",
    ["scripts/controllers/p.lua"] = [[
local sd = require("sd")
local state = require("state")
local P = {}
function P:echo(p) return p end
function P:id() return self.conn_id end
function P:who() return self.session.who end
function P:closed(p) return state.closed[p.id] or false end
function P:big(p) return ("x"):rep(p.n) end
function P:flood(p)
    for i = 1, p.n do
        local ok, err = self:send({ i = i, x = ("x"):rep(1000) })
        if not ok then return { at = i, err = err } end
        if i % 100 == 0 then sd.sleep(0) end
    end
    return "all"
end
function P:sleep(p) sd.sleep(p.s) return p.n end
function P:asks_long() return self:ask({ q = 1 }, { timeout = 10 }) end
function P:then_close(p)
    sd.sleep(0.02)
    self:close("enough")
end
function P:mark(p) state.ran[p.key] = (state.ran[p.key] or 0) + 1 end
function P:ran(p) return state.ran[p.key] or 0 end
function P:child_lives(p)
    sd.go(function() sd.sleep(0.01) state.ran[p.key] = 1 end)
    return "parent"
end
function P:later(p)
    sd.after(0.01, function() self:send({ later = p.n, uid = self.uid }) end)
    return "now"
end
function P:child_session()
    local h = sd.go(function() self.session.by_child = 1 return self.conn_id end)
    return { h:wait(), self.session.by_child }
end
function P:ask_twice()
    local a = self:ask({ q = "a" })
    local b = self:ask({ q = "b" })
    return { a, b }
end
return P]],
    ["client.py"] = [[
import asyncio, json, sys, websockets
async def main(url):
    async with websockets.connect(url, subprotocols=["v1", "v2"]) as ws:
        print(ws.subprotocol)
        for i in range(20):
            await ws.send(json.dumps({"controller_name": "p",
                "method_name": "echo", "params": {"i": i, "t": "\u00e9" * i},
                "id": i}))
        for i in range(20):
            reply = json.loads(await ws.recv())
            assert reply == {"id": i, "result": {"i": i, "t": "\u00e9" * i}}
        text = "x" * 200000
        await ws.send(iter([json.dumps({"controller_name": "p",
            "method_name": "echo", "params": text, "id": 1})[i:i + 9000]
            for i in range(0, 200100, 9000)]))
        assert json.loads(await ws.recv())["result"] == text
        await asyncio.wait_for(await ws.ping(), 5)
        await ws.send(json.dumps({"controller_name": "p",
            "method_name": "then_close"}))
        try:
            await ws.recv()
        except websockets.ConnectionClosed as e:
            print(e.code, e.reason)
asyncio.run(main(sys.argv[1]))
]],
}

--- The packets at the beginning of `bytes`, appended to `list`; the rest.
local function cut(bytes, list)
    while #bytes >= 4 do
        local n = client.value(bytes:sub(1, 4))
        if #bytes < n then
            break
        end
        list[#list + 1] = cjson.decode(bytes:sub(5, n)).result
        bytes = bytes:sub(n + 1)
    end
    return bytes
end

--- Results of `n` replies to what is written, reading meanwhile: a server
--- whose replies nobody reads stops reading.
local function read_while_writing(sock, text, n)
    local list, rest, from = {}, "", 1
    local limit = socket.gettime() + 15
    sock:settimeout(0)
    while #list < n and socket.gettime() < limit do
        local last, _, part = sock:send(text, from)
        from = (last or part) + 1
        socket.select({ sock }, from <= #text and { sock } or nil, 1)
        local bytes, _, some = sock:receive(65536)
        rest = cut(rest .. (bytes or some), list)
    end
    return list
end

describe("a port", function()
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

    local function tcp(port)
        local c = client.open(ports[port or "game"])
        open[#open + 1] = c
        return c
    end

    local function web(port, opts)
        local w, status = client.ws(ports[port], opts)
        open[#open + 1] = w
        return w, status
    end

    local function closed(id)
        return server.until_(function()
            return probe:call("p/closed", { id = id }).result or nil
        end, "on_close")
    end

    describe("limits", function()
        it("its conns, and takes new ones when some have left", function()
            local a = tcp("few")
            local b = tcp("few")
            assert.equal(1, a:call("p/echo", 1).result)
            assert.equal(1, b:call("p/echo", 1).result)
            assert.is_true(tcp("few"):is_closed())
            a:close()
            server.until_(function()
                local c = client.open(ports.few)
                local ok = pcall(c.send, c, client.packet("p/echo", 1, 1))
                local reply = ok and c:receive()
                c:close()
                return reply
            end, "a place")
            assert.equal(1, b:call("p/echo", 1).result)
        end)

        it("the packets that wait, and loses none", function()
            local c = tcp("narrow")
            local all = {}
            for i = 1, 500 do
                local text = cjson.encode(client.packet("p/sleep",
                    { n = i, s = i == 1 and 0.05 or 0 }))
                all[i] = client.number(#text + 4, 4) .. text
            end
            c.sock:send(table.concat(all))
            for i = 1, 500 do
                assert.equal(i, c:receive())
            end
        end)

        it("nothing when it is told so, but in numbers", function()
            local c = tcp("free")
            for i = 1, 100 do
                c:cast("p/sleep", { n = i, s = 0.02 })
            end
            local seen = {}
            for _ = 1, 100 do
                seen[c:receive()] = true
            end
            assert.equal(100, #seen)
        end)

        it("what waits for a client that does not read", function()
            local c = tcp("slow")
            local id = c:call("p/id").result
            c.sock:setoption("recv-buffer-size", 4096)
            c:cast("p/flood", { n = 100000 })
            assert.equal("slow", closed(id).reason)
            assert.equal("x", probe:call("p/echo", "x").result)
        end)

        it("the time of a call, an ask in it too", function()
            local c = tcp("brief")
            c:send(client.packet("p/asks_long", nil, 9))
            assert.equal(1, c:receive().q)
            assert.same({ id = 9,
                error = { code = 504, message = "timeout" } }, c:receive())
            c:send(client.packet("p/sleep", { s = 5, n = 1 }, 10))
            assert.equal(504, c:receive().error.code)
            assert.equal("x", c:call("p/echo", "x").result)
        end)

        it("the size of a reply", function()
            local c = tcp()
            assert.equal(1900000, #c:call("p/big", { n = 1900000 }).result)
            assert.equal(413, c:call("p/big", { n = 2000000 }).error.code)
            assert.equal("x", c:call("p/echo", "x").result)
        end)
    end)

    describe("that greets", function()
        it("may ask in on_connect, packets wait", function()
            local c = tcp("greet")
            c:send(client.packet("p/who", nil, 7))
            assert.is_string(c:receive().hello)
            local ask = c:receive()
            assert.equal("who", ask.q)
            c:send({ id = ask.id, result = "ann" })
            assert.same({ id = 7, result = "ann" }, c:receive())
        end)

        it("may close in on_connect, packets are dropped", function()
            local c = tcp("greet")
            local id = c:receive().hello
            c:send(client.packet("p/mark", { key = "greet" }))
            c:send({ id = c:receive().id, result = "bad" })
            assert.is_true(c:is_closed())
            local r = closed(id)
            assert.equal("go away", r.reason)
            assert.same({ ["2"] = "gone" }, r.ask)
            assert.equal(0, probe:call("p/ran", { key = "greet" }).result)
        end)

        it("hears that the client left amid on_connect", function()
            local c = tcp("greet")
            local id = c:receive().hello
            c:close()
            local r = closed(id)
            assert.equal("client", r.reason)
            assert.equal("closed", r.who)
        end)
    end)

    describe("serves calls", function()
        it("no more once the script has closed", function()
            local c = tcp()
            c:cast("p/then_close")
            for _ = 1, 10 do
                c:cast("p/mark", { key = "after" })
            end
            assert.is_true(c:is_closed())
            assert.equal(0, probe:call("p/ran", { key = "after" }).result)
        end)

        it("whose children end with them", function()
            local c = tcp()
            assert.equal("parent",
                c:call("p/child_lives", { key = "child" }).result)
            c:call("p/sleep", { s = 0.03 })
            assert.equal(0, c:call("p/ran", { key = "child" }).result)
        end)

        it("that send later, when the method has returned", function()
            local c = tcp()
            assert.equal("now", c:call("p/later", { n = 5 }).result)
            assert.same({ later = 5 }, c:receive())
        end)

        it("whose children share self and session", function()
            local c = tcp()
            local r = c:call("p/child_session").result
            assert.equal(c:call("p/id").result, r[1])
            assert.equal(1, r[2])
        end)

        it("of a client that shuts its side at once", function()
            local c = tcp()
            c:send(client.packet("p/echo", "last", 1))
            c.sock:shutdown("send")
            assert.same({ id = 1, result = "last" }, c:receive())
            assert.is_true(c:is_closed())
        end)

        it("thousands in one write", function()
            local c = tcp()
            local all = {}
            for i = 1, 3000 do
                local text = ('{"controller_name":"p","method_name":"echo",'
                    .. '"params":%d,"id":%d}'):format(i, i)
                all[i] = client.number(#text + 4, 4) .. text
            end
            local got = read_while_writing(c.sock, table.concat(all), 3000)
            assert.equal(3000, #got)
            for i = 1, 3000 do
                assert.equal(i, got[i])
            end
        end)
    end)

    describe("speaks WebSocket", function()
        it("in JSON texts", function()
            local w = web("json")
            w:send(client.packet("p/echo", { "é", 1 }, 3))
            local f = w:read()
            assert.same({ 1, true }, { f.op, f.fin })
            assert.same({ id = 3, result = { "é", 1 } },
                cjson.decode(f.data))
            assert.equal(404, w:call("p/none").error.code)
        end)

        it("in msgpack binaries, also to texts", function()
            local w = web("msgpack")
            local packet = "\132\175controller_name\161p\171method_name"
                .. "\164echo\166params\147\1\192\195\162id\7"
            for _, op in ipairs({ 2, 1 }) do
                if op == 1 then
                    packet = packet:gsub("\147\1\192\195", "\1")
                        :gsub("\132", "\222\0\4")
                end
                w:frame(packet, { op = op })
                local f = w:read()
                if op == 1 then
                    -- A text must be UTF-8, which this is not.
                    assert.equal(8, f.op)
                    assert.equal(1007, client.value(f.data:sub(1, 2)))
                else
                    assert.equal(2, f.op)
                    assert.is_truthy(f.data:find("\147\1\192\195", 1, true))
                end
            end
        end)

        it("in raw texts", function()
            local w = web("raw")
            for _, text in ipairs({ "hello", "", ("é"):rep(40000) }) do
                w:frame(text)
                local f = w:read()
                assert.equal(1, f.op)
                assert.equal(text, f.data)
            end
            w:frame("\255\254", { op = 2 })
            assert.equal("E500", w:read().data)
        end)

        it("with asks, also two in a row", function()
            local w = web("json")
            w:send(client.packet("p/ask_twice", nil, 1))
            for _, q in ipairs({ "a", "b" }) do
                local ask = w:receive()
                assert.equal(q, ask.q)
                w:send({ id = ask.id, result = q:upper() })
            end
            assert.same({ id = 1, result = { "A", "B" } }, w:receive())
        end)

        it("in fragments with pings between", function()
            local w = web("json")
            local text = cjson.encode(client.packet("p/echo", "whole", 1))
            for i = 1, #text do
                w:frame(text:sub(i, i), { op = i == 1 and 1 or 0,
                    fin = i == #text })
                if i % 20 == 0 then
                    w:frame("p" .. i, { op = 9 })
                    local f = w:read()
                    assert.same({ 10, "p" .. i }, { f.op, f.data })
                end
            end
            assert.equal("whole", w:receive().result)
        end)

        it("on its path only", function()
            assert.equal(404, select(2, web("json", { path = "/other" })))
            local _, code = s:get("/ws", ports.json)
            assert.equal(426, code)
        end)

        it("from its own origin only, if not told otherwise", function()
            local headers = { Origin = "http://evil.example" }
            assert.equal(403, select(2, web("raw", { headers = headers })))
            assert.is_table(web("json", { headers = headers }))
            headers.Origin = "http://127.0.0.1:" .. ports.raw
            assert.is_table(web("raw", { headers = headers }))
        end)

        it("with messages that came behind the request", function()
            local w = web("raw", { rest = "\129\133\0\0\0\0hello" })
            assert.equal("hello", w:read().data)
        end)

        it("with a client of Python", function()
            local out, status = server.shell(("env -u LD_PRELOAD timeout 20 "
                .. "/usr/bin/python3 %s/client.py ws://127.0.0.1:%d/ws")
                :format(s.dir, ports.json))
            assert.equal(0, status, out)
            assert.equal("v1\n4000 enough\n", out)
        end)

        it("beside plain requests of curl", function()
            local out, status = server.shell(("env -u LD_PRELOAD curl -sS "
                .. "-m 10 -H 'Content-Type: application/json' "
                .. "-d '{\"a\":[]}' http://127.0.0.1:%d/p/echo")
                :format(ports.json))
            assert.equal(0, status, out)
            assert.equal('{"a":[]}', out)
        end)
    end)
end)
