local netserver = require("spec.support.netserver")
local socket = require("socket")

local packet, read_packet = netserver.packet, netserver.read_packet

describe("a TCP port", function()
    local server

    local function start(options)
        server = netserver.start(options or {})
        return server:connect()
    end

    after_each(function()
        if server then
            server:stop()
            server = nil
        end
    end)

    it("answers pipelined packets in order and in one write", function()
        local s = start()
        local all = {}
        for i = 1, 100 do
            all[i] = packet("number " .. i)
        end
        s:send(table.concat(all))
        for i = 1, 100 do
            assert.equal("number " .. i, read_packet(s))
        end
        s:close()
        local counters = server:stop()
        server = nil
        assert.equal(100, counters.packets_in)
        assert.is_true(counters.writes <= 3)
    end)

    it("gives the same packets however the bytes are cut", function()
        local s = start()
        local text = packet("a") .. packet("") .. packet(("b"):rep(300))
        for cut = 1, #text - 1 do
            s:send(text:sub(1, cut))
            if cut % 7 == 0 then
                socket.sleep(0.001)
            end
            s:send(text:sub(cut + 1))
            assert.equal("a", read_packet(s))
            assert.equal("", read_packet(s))
            assert.equal(("b"):rep(300), read_packet(s))
        end
        for i = 1, #text do
            s:send(text:sub(i, i))
        end
        assert.equal("a", read_packet(s))
        assert.equal("", read_packet(s))
        assert.equal(("b"):rep(300), read_packet(s))
    end)

    it("takes packets larger than its read buffer", function()
        local s = start({ max = 3000000 })
        local big = ("0123456789abcdef"):rep(125000)
        s:send(packet("before") .. packet(big) .. packet("after"))
        assert.equal("before", read_packet(s))
        assert.is_true(big == read_packet(s))
        assert.equal("after", read_packet(s))
    end)

    it("starts the next packet when the one before has ended", function()
        local s = start()
        s:send(packet("async one") .. packet("two") .. packet("async three")
            .. packet("four"))
        for _, want in ipairs({ "one", "two", "three", "four" }) do
            assert.equal(want, read_packet(s))
        end
    end)

    it("works on several at once when max_inflight allows", function()
        local s = start({ max_inflight = 2 })
        s:send(packet("async one") .. packet("two") .. packet("three"))
        for _, want in ipairs({ "two", "three", "one" }) do
            assert.equal(want, read_packet(s))
        end
    end)

    it("loses nothing when the backlog is full", function()
        local s = start({ backlog = 3 })
        local all = {}
        for i = 1, 50 do
            all[i] = packet((i % 10 == 1 and "async " or "") .. i)
        end
        s:send(table.concat(all))
        for i = 1, 50 do
            assert.equal(tostring(i), read_packet(s))
        end
    end)

    it("lets packets wait until the conn is opened", function()
        local s = start({ late_open = 1 })
        s:send(packet("one"))
        assert.equal("hello", read_packet(s))
        assert.equal("one", read_packet(s))
    end)

    it("offers answers at once, before packets that wait", function()
        local s = start()
        s:send(packet("ask"))
        assert.equal("ask?", read_packet(s))
        s:send(packet("later") .. packet("answer now"))
        assert.equal("now", read_packet(s))
        assert.equal("later", read_packet(s))
    end)

    it("writes what was queued before it closes", function()
        local s = start()
        s:send(packet("one") .. packet("close kicked") .. packet("lost"))
        assert.equal("one", read_packet(s))
        assert.equal("bye", read_packet(s))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close kicked")
    end)

    it("tells when the client has closed", function()
        local s = start()
        s:send(packet("silent"))
        s:close()
        server:wait_for("close client")
    end)

    it("tells when the client has reset, amid a packet's work", function()
        local s = start({ delay = 300 })
        s:send(packet("print begun") .. packet("async one")
            .. packet("print never"))
        server:wait_for("begun") -- a reset takes unread bytes with it
        s:setoption("linger", { on = true, timeout = 0 })
        s:close()
        server:wait_for("late")
        server:wait_for("close client")
        assert.is_false(server:said("never"))
    end)

    for key, rate in pairs({ rate = 20, rate_bytes = 2000 }) do
        it("lets packets over the port's " .. key .. " wait", function()
            local s = start({ [key] = rate })
            local body = ("x"):rep(100) .. "%d"
            local began = socket.gettime()
            for i = 1, 30 do
                s:send(packet(body:format(i)))
            end
            s:shutdown("send")
            for i = 1, 30 do
                assert.equal(body:format(i), read_packet(s))
            end
            assert.is_true(socket.gettime() - began > 0.3)
            assert.equal("", (netserver.read_all(s)))
        end)
    end

    for _, backlog in ipairs({ 2, 64 }) do
        it("answers all that came before the client shut its side, with a "
            .. "backlog of " .. backlog, function()
            local s = start({ backlog = backlog })
            local all = {}
            for i = 1, 50 do
                all[i] = packet((i % 3 == 1 and "async " or "") .. i)
            end
            s:send(table.concat(all) .. packet("half"):sub(1, 6))
            s:shutdown("send")
            for i = 1, 50 do
                assert.equal(tostring(i), read_packet(s))
            end
            assert.equal("", (netserver.read_all(s)))
            server:wait_for("close client")
        end)
    end

    it("writes much to a client that shut its side", function()
        local s = start({ slow_low = 100000, slow_high = 300000 })
        local count = 20
        for _ = 1, count do
            s:send(packet("big 900000"))
        end
        s:shutdown("send")
        for _ = 1, count do
            assert.equal(900000, #read_packet(s))
        end
        assert.equal("", (netserver.read_all(s)))
    end)

    it("opens for a client that has shut its side already", function()
        local s = start({ late_open = 1, delay = 50 })
        s:send(packet("one"))
        s:shutdown("send")
        assert.equal("hello", read_packet(s))
        assert.equal("one", read_packet(s))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close client")
    end)

    it("does not wait for an answer of a client that shut its side", function()
        local s = start()
        s:send(packet("async on") .. packet("ask"))
        s:shutdown("send")
        assert.equal("on", read_packet(s))
        assert.equal("ask?", read_packet(s))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close client")
    end)

    it("notices that a client which shut its side went for good", function()
        local s = start({ delay = 2500 })
        s:send(packet("async one"))
        s:shutdown("send")
        socket.sleep(0.05)
        s:setoption("linger", { on = true, timeout = 0 })
        s:close()
        server:wait_for("late")
        server:wait_for("close client")
    end)

    it("closes a conn that stays silent", function()
        local s = start({ idle_timeout = 60 })
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close idle")
    end)

    it("does not blame a client for bytes it did not read", function()
        local s = start({ idle_timeout = 150, delay = 100, backlog = 1 })
        s:send(packet("async one") .. packet("async two")
            .. packet("async three") .. packet("async four"))
        assert.equal("one", read_packet(s))
        assert.equal("two", read_packet(s))
    end)

    it("reads what came in time before it judges who was silent", function()
        local s = start({ idle_timeout = 100 })
        s:send(packet("here"))
        assert.equal("here", read_packet(s))
        os.execute("kill -STOP " .. server.pid)
        s:send(packet("meanwhile"))
        socket.sleep(0.25)
        os.execute("kill -CONT " .. server.pid)
        assert.equal("meanwhile", read_packet(s))
    end)

    it("closes a conn that binds no uid in time", function()
        local s = start({ auth_timeout = 60 })
        local other = server:connect()
        other:send(packet("uid ann"))
        assert.equal("ann", read_packet(other))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close auth")
        other:send(packet("still here"))
        assert.equal("still here", read_packet(other))
    end)

    it("keeps a conn that has unbound its uid again", function()
        local s = start({ auth_timeout = 60 })
        s:send(packet("uid ann") .. packet("uid "))
        assert.equal("ann", read_packet(s))
        assert.equal(packet(""), s:receive(4))
        socket.sleep(0.12)
        s:send(packet("still here"))
        assert.equal("still here", read_packet(s))
    end)

    it("closes conns over max_conns at once", function()
        local s = start({ max_conns = 1 })
        s:send(packet("in"))
        assert.equal("in", read_packet(s))
        local other = server:connect()
        assert.is_nil((other:receive(1)))
        s:send(packet("still in"))
        assert.equal("still in", read_packet(s))
        s:close()
        netserver.until_(function()
            local again = server:connect()
            again:send(packet("next"))
            return read_packet(again) == "next"
        end)
    end)

    it("closes conns over max_conns_per_address at once", function()
        local s = start({ per_address = 2 })
        local second = server:connect()
        for _, one in ipairs({ s, second }) do
            one:send(packet("in"))
            assert.equal("in", read_packet(one))
        end
        assert.is_nil((server:connect():receive(1)))
        local other = server:connect("127.0.0.2")
        other:send(packet("in"))
        assert.equal("in", read_packet(other))
        s:close()
        netserver.until_(function()
            local again = server:connect()
            again:send(packet("next"))
            return read_packet(again) == "next"
        end)
    end)

    it("closes a client that does not read, and no other", function()
        local s = start({ slow_low = 100000, slow_high = 300000,
            slow_timeout = 100 })
        local other = server:connect()
        for _ = 1, 60 do
            s:send(packet("big 1000000"))
        end
        server:wait_for("close slow")
        other:send(packet("fine"))
        assert.equal("fine", read_packet(other))
    end)

    it("delivers much to a client that reads slowly", function()
        local s = start({ slow_low = 100000, slow_high = 300000 })
        local count = 40
        for _ = 1, count do
            s:send(packet("big 900000"))
        end
        for _ = 1, count do
            assert.equal(900000, #read_packet(s))
        end
    end)

    it("keeps serving while descriptors run out", function()
        server = netserver.start({ quiet = 1, nofile = 40 })
        local first = server:connect()
        first:send(packet("one"))
        assert.equal("one", read_packet(first))
        local many = {}
        for i = 1, 60 do
            many[i] = server:connect()
        end
        first:send(packet("two"))
        assert.equal("two", read_packet(first))
        local before = server:cpu()
        socket.sleep(0.5)
        assert.is_true(server:cpu() - before < 0.25, "it spins")
        for i = 1, 50 do
            many[i]:close()
        end
        many[60]:send(packet("waited"))
        assert.equal("waited", read_packet(many[60]))
        server:stop()
        local _, lines = server.log:gsub("accepting pauses", "")
        assert.equal(1, lines)
        server = nil
    end)

    --- Those of `conns` that echo; none waits for long.
    local function answered(conns)
        local n = 0
        for i, s in ipairs(conns) do
            if not conns[s] then
                s:send(packet("n" .. i))
                conns[s] = true
            end
        end
        for i, s in ipairs(conns) do
            if conns[s] ~= "answered" then
                s:settimeout(0.05)
                local text = read_packet(s)
                s:settimeout(5)
                if text then
                    assert.equal("n" .. i, text)
                    conns[s] = "answered"
                end
            end
            n = n + (conns[s] == "answered" and 1 or 0)
        end
        return n
    end

    local function connect_many(n)
        local conns = {}
        for i = 1, n do
            conns[i] = server:connect()
        end
        return conns
    end

    it("serves a neighbour's clients while it is told to", function()
        server = netserver.start({ slots = 2, quiet = 1 })
        local conns = connect_many(20)
        local n = answered(conns)
        assert.is_true(n > 0 and n < 20, n .. " of 20 are ours")
        local first
        for _, s in ipairs(conns) do
            first = conns[s] == "answered" and s or first
        end
        first:send(packet("rule adopt 1"))
        assert.equal("ruled", read_packet(first))
        netserver.until_(function() return answered(conns) == 20 end)

        first:send(packet("rule adopt 1") .. packet("rule release 1"))
        assert.equal("ruled", read_packet(first))
        assert.equal("ruled", read_packet(first))
        local later = connect_many(20)
        n = answered(later)
        assert.is_true(n > 0 and n < 20, n .. " of 20 are ours")
        for _, s in ipairs(conns) do
            s:send(packet("kept"))
            assert.equal("kept", read_packet(s))
        end
    end)

    it("serves another upper layer from one packet to the next", function()
        local s = start()
        s:send(packet("one") .. packet("rule ops") .. packet("two"))
        for _, want in ipairs({ "one", "ruled", "other" }) do
            assert.equal(want, read_packet(s))
        end
    end)

    it("has the kernel ask whether a silent peer is still there", function()
        local s = start()
        s:send(packet("hello"))
        assert.equal("hello", read_packet(s))
        -- Of /proc/net/tcp: local port, state 01, timer 02 (keep-alive).
        local mine = ("^%%s*%%d+: %%x+:%04X %%x+:%%x+ 01 %%x+:%%x+ 02:"):format(
            server.port)
        netserver.until_(function()
            for line in io.lines("/proc/net/tcp") do
                if line:find(mine) then
                    return true
                end
            end
        end)
    end)

    it("listens on IPv6", function()
        server = netserver.start({ listen = "[::1]:0" })
        assert.equal("::1", server.host)
        local s = server:connect()
        s:send(packet("six"))
        assert.equal("six", read_packet(s))
    end)

    it("takes a message larger than all marks for an idle conn", function()
        local s = start({ slow_low = 1000, slow_high = 2000, max = 5000000 })
        for _ = 1, 3 do
            s:send(packet("big 4000000"))
            assert.equal(4000000, #read_packet(s))
        end
    end)

    it("notices that a port is taken, also by one like itself", function()
        start()
        local p = io.popen(("env -u LD_PRELOAD %s/spec/support/netserver"
            .. " listen=127.0.0.1:%d 2>&1"):format(
            os.getenv("SD_BUILD") or "build/dev", server.port))
        assert.equal(("127.0.0.1:%d is taken by another program\n"):format(
            server.port), p:read("*a"))
        p:close()
    end)

    it("logs a broken frame once, and floods of them rarely", function()
        start()
        for _ = 1, 30 do
            server:connect():send("\0\0\0\1")
        end
        netserver.until_(function()
            local s = server:connect()
            s:send(packet("on"))
            return read_packet(s) == "on"
        end)
        server:stop()
        local _, lines = server.log:gsub("closed 127%.0%.0%.1 port", "")
        assert.is_true(lines >= 1 and lines <= 20)
        assert.truthy(server.log:find("port test: closed", 1, true))
        server = nil
    end)

    local broken = {
        { "a number smaller than its head", "\0\0\0\1xx", "frame" },
        { "a number over max", "\127\255\255\255", "too_large" },
        { "a number just over max", "\0\30\132\129", "too_large" },
        { "a negative number", "\255\255\255\255xxxx", "too_large" },
    }
    for _, case in ipairs(broken) do
        it("closes on " .. case[1], function()
            local s = start()
            s:send(packet("ok") .. case[2])
            assert.equal("ok", read_packet(s))
            assert.equal("", (netserver.read_all(s)))
            server:wait_for("close " .. case[3])
        end)
    end

    it("speaks lines", function()
        local s = start({ frame = "line", max = 100 })
        s:send("one\r\ntw")
        s:send("o\r\nwrong \n ending\r\n")
        assert.equal("one", s:receive("*l"))
        assert.equal("two", s:receive("*l"))
        assert.equal("wrong ", s:receive("*l"))
        assert.equal(" ending", s:receive("*l"))
        s:send(("x"):rep(200))
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close too_large")
    end)

    it("speaks fixed sizes", function()
        local s = start({ frame = "fixed", size = 3 })
        s:send("abcde")
        assert.equal("abc", s:receive(3))
        s:send("f")
        assert.equal("def", s:receive(3))
    end)

    it("lets a script cut packets", function()
        local s = start({ frame = "pack", max = 100 })
        s:send("3:ab")
        s:send("c0:2:xy")
        assert.equal("3:abc0:2:xy", s:receive(11))
        s:send("nonsense")
        assert.equal("", (netserver.read_all(s)))
        server:wait_for("close frame")
    end)
end)
