local netserver = require("spec.support.netserver")
local socket = require("socket")

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="

--- A masked client frame; the mask is zero, which unmasks to the same bytes.
local function frame(opcode, payload, options)
    options = options or {}
    local n, head = #payload
    local first = opcode + (options.more and 0 or 128) + (options.rsv or 0)
    local mask = options.unmasked and 0 or 128
    if n < 126 then
        head = string.char(first, mask + n)
    elseif n < 65536 then
        head = string.char(first, mask + 126, math.floor(n / 256), n % 256)
    else
        head = string.char(first, mask + 127, 0, 0, 0, 0,
            math.floor(n / 2 ^ 24), math.floor(n / 65536) % 256,
            math.floor(n / 256) % 256, n % 256)
    end
    return head .. (options.unmasked and "" or "\0\0\0\0") .. payload
end

local function read_frame(s)
    local a, b = assert(s:receive(2)):byte(1, 2)
    assert(b < 128, "the server masked a frame")
    if b == 126 then
        local c, d = s:receive(2):byte(1, 2)
        b = c * 256 + d
    elseif b == 127 then
        local bytes = { s:receive(8):byte(1, 8) }
        b = 0
        for _, byte in ipairs(bytes) do
            b = b * 256 + byte
        end
    end
    return a % 16, b > 0 and s:receive(b) or ""
end

local function close_code(s)
    local opcode, payload = read_frame(s)
    assert.equal(8, opcode)
    local a, b = payload:byte(1, 2)
    return a * 256 + b
end

describe("a WebSocket", function()
    local server

    local function upgrade(s, more, target, version, behind)
        s:send("GET " .. (target or "/ws") .. " HTTP/1.1\r\nHost: a.example\r\n"
            .. "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            .. "Sec-WebSocket-Key: " .. KEY .. "\r\nSec-WebSocket-Version: "
            .. (version or "13") .. "\r\n" .. (more or "") .. "\r\n"
            .. (behind or ""))
    end

    local function read_head(s)
        local status = s:receive("*l"):match("^HTTP/1.1 (%d+)")
        local headers = {}
        for line in function() return s:receive("*l") end do
            if line == "" then
                break
            end
            local name, value = line:match("^([^:]+): (.*)$")
            headers[name:lower()] = value
        end
        return tonumber(status), headers
    end

    local function start(options)
        options = options or {}
        options.protocol = "http"
        server = netserver.start(options)
        return server:connect()
    end

    local function open(options)
        local s = start(options)
        upgrade(s)
        local status, headers = read_head(s)
        assert.equal(101, status)
        assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            headers["sec-websocket-accept"])
        return s
    end

    after_each(function()
        if server then
            server:stop()
            server = nil
        end
    end)

    it("echoes texts, also those sent right behind the request", function()
        local s = start()
        upgrade(s, "", "/ws", "13", frame(1, "early"))
        assert.equal(101, (read_head(s)))
        local opcode, text = read_frame(s)
        assert.equal(1, opcode)
        assert.equal("early", text)
    end)

    it("gives the same messages however the bytes are cut", function()
        local s = open()
        local text = frame(1, "one") .. frame(1, "t", { more = true })
            .. frame(9, "?") .. frame(0, "wö") .. frame(2, ("x"):rep(200))
        for cut = 1, #text - 1 do
            s:send(text:sub(1, cut))
            if cut % 9 == 0 then
                require("socket").sleep(0.001)
            end
            s:send(text:sub(cut + 1))
            assert.same({ 1, "one" }, { read_frame(s) })
            assert.same({ 10, "?" }, { read_frame(s) })
            assert.same({ 1, "twö" }, { read_frame(s) })
            assert.same({ 1, ("x"):rep(200) }, { read_frame(s) })
        end
    end)

    it("sends binary frames for msgpack", function()
        local s = open({ ws_codec = "msgpack" })
        s:send(frame(2, "\255\254"))
        assert.same({ 2, "\255\254" }, { read_frame(s) })
    end)

    it("refuses to send what is no text", function()
        local s = open({ ws_codec = "raw" })
        s:send(frame(2, "\255\254") .. frame(1, "fine"))
        assert.same({ 1, "fine" }, { read_frame(s) })
    end)

    it("takes large messages, whole or in fragments", function()
        local s = open()
        local big = ("0123456789"):rep(100000)
        s:send(frame(1, big))
        assert.is_true(select(2, read_frame(s)) == big)
        for i = 0, 9 do
            s:send(frame(i == 0 and 1 or 0, big:sub(i * 100000 + 1,
                i * 100000 + 100000), { more = i < 9 }))
        end
        assert.is_true(select(2, read_frame(s)) == big)
    end)

    it("answers a close with its code and tells it as the client's", function()
        local s = open()
        s:send(frame(8, "\3\233gone away"))
        assert.equal(1001, close_code(s))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close client")
    end)

    it("has auth_timeout from its opening, on an old conn too", function()
        server = netserver.start({ protocol = "http", auth_timeout = 300 })
        local s = server:connect()
        socket.sleep(0.35)
        upgrade(s)
        read_head(s)
        s:send(frame(1, "uid ann"))
        assert.same({ 1, "ann" }, { read_frame(s) })
        local other = server:connect()
        upgrade(other)
        read_head(other)
        assert.equal(4003, close_code(other))
        server:wait_for("close auth")
    end)

    it("has auth_timeout, whatever was bound and undone before", function()
        local s = start({ auth_timeout = 60 })
        upgrade(s, "", "/ws?undo")
        assert.equal(101, (read_head(s)))
        assert.equal(4003, close_code(s))
    end)

    it("handles what came before a close, then answers it", function()
        local s = open()
        s:send(frame(1, "async one") .. frame(1, "print two")
            .. frame(1, "print three") .. frame(8, "\3\232"))
        assert.same({ 1, "one" }, { read_frame(s) })
        server:wait_for("two")
        server:wait_for("three")
        server:wait_for("close client")
    end)

    it("handles what came before the client went", function()
        local s = open({ delay = 50 })
        s:send(frame(1, "async one") .. frame(1, "print two")
            .. frame(1, "print three"))
        s:close()
        server:wait_for("three")
        server:wait_for("close client")
    end)

    it("does not wait for a call when the client closes", function()
        local s = open({ delay = 100 })
        s:send(frame(1, "async one") .. frame(8, "\3\232"))
        assert.equal(1000, close_code(s))
        server:wait_for("close client")
        server:wait_for("late")
    end)

    local closes = { kicked = 4004, replaced = 4005, idle = 4001,
        stop = 1001, ["my own"] = 4000 }
    for reason, code in pairs(closes) do
        it("closes as " .. reason .. " with " .. code, function()
            local s = open()
            s:send(frame(1, "close " .. reason))
            assert.same({ 1, "bye" }, { read_frame(s) })
            assert.equal(code, close_code(s))
            s:send(frame(8, ""))
            assert.equal("", (netserver.read_all(s)))
            server:wait_for("close " .. reason)
        end)
    end

    for _, text in ipairs({ ("x"):rep(59), ("ü"):rep(29) .. "x" }) do
        it("tells as much of a long reason as fits: " .. text, function()
            local s = open()
            local reason = text .. text .. text
            s:send(frame(1, "bye " .. reason))
            local opcode, payload = read_frame(s)
            assert.equal(8, opcode)
            local told = payload:sub(3)
            assert.is_true(#told >= 122 and #told <= 123)
            assert.equal(told, reason:sub(1, #told))
            assert.is_nil(reason:find("^[\128-\191]", #told + 1))
            server:wait_for("close " .. reason)
        end)
    end

    it("closes as slow with 4002 when its worker has no memory", function()
        local s = open({ policy = 0, slow_high = 1e9, queue_memory = 4e6 })
        local slow = server:connect()
        slow:setoption("recv-buffer-size", 65536)
        upgrade(slow)
        assert.equal(101, (read_head(slow)))
        slow:send(frame(1, "here"))
        assert.same({ 1, "here" }, { read_frame(slow) })
        repeat
            s:send(frame(1, "push 500 1000"))
            assert.same({ 1, "pushed 0" }, { read_frame(s) })
        until server:said("close slow")
        local opcode, payload
        repeat
            opcode, payload = read_frame(slow)
        until opcode == 8
        assert.equal("\15\162", payload:sub(1, 2))
    end)

    it("tells what a reason cut inside a character begins with", function()
        local s = open()
        s:send(frame(2, "bye so l\195"))
        assert.same({ 8, "\15\160so l" }, { read_frame(s) })
    end)

    local broken = {
        { "an unmasked frame", frame(1, "x", { unmasked = true }), 1002 },
        { "a reserved bit", frame(1, "x", { rsv = 64 }), 1002 },
        { "an unknown opcode", frame(3, "x"), 1002 },
        { "a long ping", frame(9, ("x"):rep(126)), 1002 },
        { "a fragmented ping", frame(9, "x", { more = true }), 1002 },
        { "a continuation of nothing", frame(0, "x"), 1002 },
        { "a text inside a text", frame(1, "x", { more = true })
            .. frame(1, "y"), 1002 },
        { "bad UTF-8", frame(1, "\255"), 1007 },
        { "bad UTF-8 over fragments", frame(1, "\195", { more = true })
            .. frame(0, "x"), 1007 },
        { "a large message", "\129\255\0\0\0\0\0\16\0\1abcd", 1009 },
        { "large fragments", frame(1, ("x"):rep(1048576), { more = true })
            .. frame(0, "y"), 1009 },
        { "a flood of fragments", frame(1, "", { more = true })
            .. frame(0, "", { more = true }):rep(5000), 1009 },
        { "a reserved close code", frame(8, "\3\237"), 1002 },
    }
    for _, case in ipairs(broken) do
        it("closes with " .. case[3] .. " on " .. case[1], function()
            local s = open()
            s:send(case[2])
            assert.is_true(({ [case[3]] = true, [1008] = true })[close_code(s)])
            assert.equal("", (netserver.read_all(s)))
            server:wait_for(case[3] == 1009 and "close too_large"
                or "close frame")
        end)
    end

    it("bounds what a flood of pings makes it hold", function()
        local s = open({ slow_low = 10000 })
        local pings = frame(9, ("p"):rep(100)):rep(2000)
        s:settimeout(0.2)
        for _ = 1, 200 do
            local _, err = s:send(pings)
            if err == "timeout" then
                return -- it does not read on, so it holds no more
            end
        end
        error("it took 20 MB of pings without one being read")
    end)

    local floods = {
        pings = frame(9, ("p"):rep(100)):rep(30),
        fragments = frame(1, "x", { more = true })
            .. frame(0, ("x"):rep(100), { more = true }):rep(30),
    }
    for name, flood in pairs(floods) do
        it("lets " .. name .. " over the port's rate_bytes wait", function()
            local s = open({ rate_bytes = 2000 })
            local began = socket.gettime()
            s:send(flood .. frame(9, "end"))
            repeat
                local _, text = read_frame(s)
            until text == "end"
            assert.is_true(socket.gettime() - began > 0.3)
        end)
    end

    it("takes no more pings than the port's rate allows", function()
        local s = open({ rate = 20 })
        local began = socket.gettime()
        s:send(frame(9, ""):rep(30))
        for _ = 1, 30 do
            assert.same({ 10, "" }, { read_frame(s) })
        end
        assert.is_true(socket.gettime() - began > 0.3)
    end)

    it("pings at half of the idle time", function()
        local s = open({ idle_timeout = 200 })
        assert.same({ 9, "" }, { read_frame(s) })
        s:send(frame(10, ""))
        assert.same({ 9, "" }, { read_frame(s) })
        assert.equal(4001, close_code(s))
        server:wait_for("close idle")
    end)

    it("chooses a sub-protocol that both know", function()
        local s = start({ ws_protocols = "chat,game" })
        upgrade(s, "Sec-WebSocket-Protocol: other, game\r\n")
        local status, headers = read_head(s)
        assert.equal(101, status)
        assert.equal("game", headers["sec-websocket-protocol"])
    end)

    local origins = {
        { "same", "http://a.example", 101 }, { "same", "http://b.example", 403 },
        { "same", "null", 403 }, { "*", "http://b.example", 101 },
        { "http://b.example", "http://b.example", 101 },
        { "http://b.example", "http://a.example", 403 },
    }
    for _, case in ipairs(origins) do
        it(("answers %d to %s when %s may"):format(case[3], case[2], case[1]),
            function()
                local s = start({ origins = case[1] })
                upgrade(s, "Origin: " .. case[2] .. "\r\n")
                assert.equal(case[3], (read_head(s)))
            end)
    end

    it("asks others to upgrade", function()
        local s = start()
        upgrade(s, "", "/ws", "8")
        local status, headers = netserver.read_response(s)
        assert.equal(426, status)
        assert.equal("13", headers["sec-websocket-version"])
        s:send("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        assert.equal(426, (netserver.read_response(s)))
        s:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n")
        assert.equal(200, (netserver.read_response(s)))
    end)

    it("can be refused, and goes on as HTTP", function()
        local s = start()
        upgrade(s, "", "/ws?refuse")
        assert.equal(401, (netserver.read_response(s)))
        s:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n")
        assert.equal(200, (netserver.read_response(s)))
    end)

    it("can be accepted later, and the client may go before", function()
        local s = start()
        upgrade(s, "", "/ws?later")
        local status, headers = read_head(s)
        assert.equal(101, status)
        assert.equal("yes", headers["x-late"])
        s:send(frame(1, "on"))
        assert.same({ 1, "on" }, { read_frame(s) })
        local other = server:connect()
        other:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n")
        upgrade(other, "", "/ws?gone")
        netserver.read_response(other)
        server:wait_for("asked")
        other:setoption("linger", { on = true, timeout = 0 })
        other:close()
        server:wait_for("gone")
    end)

    it("speaks with a client of Python", function()
        start()
        local script = os.tmpname()
        local f = assert(io.open(script, "w"))
        f:write(([[
import asyncio, websockets
async def main():
    async with websockets.connect("ws://127.0.0.1:%d/ws") as ws:
        for text in ("hello", "", "x" * 70000, "gr\u00fc\u00df"):
            await ws.send(text)
            assert await ws.recv() == text
        await ws.send(["in ", "pieces"])
        assert await ws.recv() == "in pieces"
        await asyncio.wait_for(await ws.ping(), 5)
    assert ws.close_code == 1000
    print("all well")
asyncio.run(main())
]]):format(server.port))
        f:close()
        local p = io.popen("env -u LD_PRELOAD /usr/bin/python3 " .. script
            .. " 2>&1")
        assert.equal("all well\n", p:read("*a"))
        p:close()
        os.remove(script)
        server:wait_for("close client")
    end)
end)
