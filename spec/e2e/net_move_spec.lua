-- Conns that move between two nets, through a socket, while clients use them.
local netserver = require("spec.support.netserver")

local packet, read_packet = netserver.packet, netserver.read_packet

describe("a conn that moves", function()
    local server

    local function start(options)
        options.move = options.move or 1
        server = netserver.start(options)
    end

    local function clients(kind, conns, messages)
        local f = assert(io.popen((
            "env -u LD_PRELOAD /usr/bin/python3 spec/support/move_client.py "
            .. "%s raw %s %d %d %d 2>&1"
        ):format(kind, server.host, server.port, conns, messages)))
        local said = f:read("*a")
        f:close()
        return said
    end

    --- All is told once; conns and places are counted right in the end.
    local function stop()
        local counters = server:stop()
        server = nil
        assert.equal(counters.moved_out, counters.moved_in)
        assert.equal(0, counters.conns)
        assert.equal(0, counters.places)
        return counters
    end

    after_each(function()
        if server then
            server:stop()
            server = nil
        end
    end)

    for kind, options in pairs({
        length = { frame = "length" },
        line = { frame = "line" },
        ws = { protocol = "http", max_inflight = 1 },
        websockets = { protocol = "http" },
    }) do
        it("echoes all once and in order: " .. kind, function()
            options.slow_timeout = 120000
            start(options)
            assert.equal("ok 300\n", clients(kind, 5, 60))
            local counters = stop()
            assert.is_true(counters.moved_in > 20, -- usually hundreds
                "moved " .. counters.moved_in .. " times")
        end)
    end

    --- How often a conn has moved that was sent much.
    local function send_much()
        start({ slow_timeout = 120000 })
        local s = server:connect()
        s:setoption("recv-buffer-size", 65536)
        local parts = {}
        for i = 1, 8 do
            s:send(packet("big 1000000"))
            parts[i] = 1000000
        end
        s:send(packet("done"))
        for _, size in ipairs(parts) do
            assert.equal(("x"):rep(size), read_packet(s))
        end
        assert.equal("done", read_packet(s))
        return stop().moved_in
    end

    it("takes half-written output along", function()
        local moved, tries = 0, 0
        while moved == 0 and tries < 20 do -- a busy machine may do it in one turn
            moved, tries = send_much(), tries + 1
        end
        assert.is_true(moved > 0)
    end)

    it("takes waiting pushes along, which stay conflated", function()
        start({ slow_timeout = 120000, slow_high = 100000000 })
        local sender, s = server:connect(), server:connect()
        s:setoption("recv-buffer-size", 65536)
        s:send(packet("here"))
        assert.equal("here", read_packet(s))
        sender:send(packet("push 100 50000"))
        assert.equal("pushed 0", read_packet(sender))
        for i = 1, 5 do
            for key = 0, 9 do
                sender:send(packet(("keyed %d %d"):format(key, i)))
                assert.equal("pushed 1", read_packet(sender))
            end
        end
        for i = 1, 100 do
            assert.equal(i, tonumber(read_packet(s):match("^(%d+) x*$")))
        end
        for _ = 0, 9 do
            assert.equal("5", read_packet(s))
        end
        s:send(packet("end"))
        assert.equal("end", read_packet(s))
        assert.is_true(stop().dropped_replaced == 40)
    end)

    it("keeps its uid, its deadlines and its rate", function()
        start({ auth_timeout = 400, rate = 50, move = 5 })
        local s, unknown = server:connect(), server:connect()
        s:send(packet("uid ann"))
        assert.equal("ann", read_packet(s))
        assert.is_nil(read_packet(unknown)) -- however often it moved
        assert.is_true(server:said("close auth"))
        local from = require("socket").gettime()
        for i = 1, 100 do
            s:send(packet("n" .. i))
        end
        for i = 1, 100 do
            assert.equal("n" .. i, read_packet(s))
        end
        assert.is_true(require("socket").gettime() - from > 0.8)
        stop()
    end)

    it("is answered after it has shut its side", function()
        start({ max_inflight = 1, delay = 20 })
        for _ = 1, 20 do
            local s = server:connect()
            for i = 1, 3 do
                s:send(packet("async " .. i))
            end
            s:shutdown("send")
            for i = 1, 3 do
                assert.equal(tostring(i), read_packet(s))
            end
            assert.is_nil(read_packet(s))
        end
        stop()
    end)

    it("stays where it is when the port's format has changed", function()
        start({ move = 1 })
        local conns = {}
        local function all_answer(rounds)
            for i = 1, rounds do
                for _, s in ipairs(conns) do
                    s:send(packet("n" .. i))
                    assert.equal("n" .. i, read_packet(s))
                end
            end
        end
        for i = 1, 8 do
            conns[i] = server:connect()
        end
        all_answer(20)
        conns[1]:send(packet("rule reload line"))
        assert.equal("ruled", read_packet(conns[1]))
        all_answer(20)
        server:wait_for("refused")
        all_answer(20)
        stop()
    end)

    it("is idle as long as if it had stayed", function()
        start({ idle_timeout = 300, move = 7 })
        local s = server:connect()
        s:send(packet("hello"))
        assert.equal("hello", read_packet(s))
        assert.is_nil(read_packet(s))
        assert.is_true(server:said("close idle"))
        stop()
    end)
end)
