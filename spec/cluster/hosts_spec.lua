-- The test bed itself: what specs of the cluster rely on. Here nothing of the
-- server takes part but one node, in the end.
local client = require("spec.support.client")
local hosts = require("spec.support.hosts")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

local PORT = 7000
local PATIENCE = 60 -- seconds; waited for in vain only

--- A UDP socket of the port on a host, that may broadcast.
local function datagrams(host)
    return host:inside(function()
        local u = assert(socket.udp4())
        assert(u:setoption("reuseaddr", true))
        assert(u:setoption("broadcast", true))
        assert(u:setsockname("*", PORT))
        u:settimeout(PATIENCE)
        return u
    end)
end

--- A TCP listener of the port on a host.
local function listener(host, address)
    return host:inside(function()
        local l = assert(address and socket.tcp6() or socket.tcp4())
        assert(l:setoption("reuseaddr", true))
        assert(l:bind(address or "*", PORT))
        assert(l:listen())
        l:settimeout(PATIENCE)
        return l
    end)
end

--- Both ends of a TCP connection from `a` to a listener of `b`.
local function connection(a, b, address)
    local l = listener(b, address)
    local one = a:inside(function()
        local t = assert(address and socket.tcp6() or socket.tcp4())
        t:settimeout(PATIENCE)
        assert(t:connect(address or b.address, PORT))
        return t
    end)
    local other = assert(l:accept())
    other:settimeout(PATIENCE)
    l:close()
    return one, other
end

local function state_of(pid)
    local f = io.open("/proc/" .. pid .. "/stat")
    local text = f and f:read("*a") or ""
    if f then
        f:close()
    end
    return text:match("%) (%u)")
end

describe("a bed of hosts", function()
    local bed, h1, h2, h3, u1, u2, u3

    lazy_setup(function()
        bed = hosts.start(3)
        h1, h2, h3 = bed[1], bed[2], bed[3]
    end)

    lazy_teardown(function()
        bed:stop()
    end)

    before_each(function()
        u1, u2, u3 = datagrams(h1), datagrams(h2), datagrams(h3)
    end)

    after_each(function()
        for _, u in ipairs({ u1, u2, u3 }) do
            u:close()
        end
        bed:heal()
    end)

    --- Nothing of what was said before arrives any more: what is said now is
    --- the next that `to` hears from `from`.
    local function assert_next(from, to, address, text)
        from:sendto(text, address, PORT)
        assert.equal(text, (to:receive()))
    end

    it("has names and addresses", function()
        for i = 1, 3 do
            assert.equal("h" .. i .. "\n", (bed[i]:run("hostname")))
            assert.truthy(bed[i]:run("ip addr"):find(bed[i].address .. "/24", 1, true))
        end
        local out, status = h1:run("sh -c 'exit 7'")
        assert.same({ "", 7 }, { out, status })
    end)

    it("carries TCP and UDP, IPv4 and IPv6", function()
        assert_next(u1, u2, h2.address, "hello")
        for _, address in ipairs({ false, h2.address6 }) do
            local one, other = connection(h1, h2, address or nil)
            one:send("ping\n")
            assert.equal("ping", other:receive("*l"))
            assert.equal(address and h1.address6 or h1.address, (other:getpeername()))
            one:close()
            other:close()
        end
    end)

    it("carries broadcast and multicast", function()
        for _, address in ipairs({ "255.255.255.255", "10.77.0.255" }) do
            assert(u1:sendto(address, address, PORT))
            assert.equal(address, (u2:receive()))
            assert.equal(address, (u3:receive()))
        end
        for _, member in ipairs({ u2, u3 }) do
            assert(member:setoption("ip-add-membership",
                { multiaddr = "239.7.7.7", interface = "*" }))
        end
        assert(u1:sendto("all of you", "239.7.7.7", PORT))
        assert.equal("all of you", (u2:receive()))
        assert.equal("all of you", (u3:receive()))
    end)

    it("cuts both ways, and heals", function()
        bed:cut(h1, h2)
        u1:sendto("lost", h2.address, PORT)
        u1:sendto("lost, too", "255.255.255.255", PORT)
        u2:sendto("lost as well", h1.address, PORT)
        for _, u in ipairs({ u1, u3 }) do
            assert.equal("lost, too", (u:receive()))
        end
        assert_next(u1, u3, h3.address, "not cut")
        bed:heal(h1, h2)
        assert_next(u1, u2, h2.address, "healed")
        assert_next(u2, u1, h1.address, "healed back")
    end)

    it("cuts one way", function()
        bed:cut(h1, h2, true)
        u1:sendto("lost", h2.address, PORT)
        u2:sendto("found", h1.address, PORT)
        assert.equal("found", (u1:receive()))
        bed:heal()
        assert_next(u1, u2, h2.address, "healed")
    end)

    it("isolates a host", function()
        bed:isolate(h2)
        for _, u in ipairs({ u1, u3 }) do
            u:sendto("lost", h2.address, PORT)
        end
        u2:sendto("own", "255.255.255.255", PORT)
        assert.equal("own", (u2:receive()))
        assert_next(u1, u3, h3.address, "others talk")
        bed:heal()
        assert_next(u3, u2, h2.address, "healed")
        assert_next(u2, u1, h1.address, "healed")
    end)

    it("tells nobody of a cut: connections wait, and go on", function()
        local one, other = connection(h1, h2)
        bed:cut(h1, h2)
        assert(one:send("late\n"))
        other:settimeout(0.3)
        assert.equal("timeout", select(2, other:receive("*l")))
        bed:heal()
        other:settimeout(PATIENCE)
        assert.equal("late", other:receive("*l"))
        one:close()
        other:close()
    end)

    it("resets connections of two hosts, and no others", function()
        local one, other = connection(h1, h2)
        local far, near = connection(h3, h2)
        bed:reset(h1, h2)
        for _, t in ipairs({ one, other }) do
            local text, why = t:receive("*l")
            assert.is_nil(text)
            assert.not_equal("timeout", why)
        end
        far:send("still here\n")
        assert.equal("still here", near:receive("*l"))
        for _, t in ipairs({ one, other, far, near }) do
            t:close()
        end
    end)

    it("resets both ends of a connection that is cut", function()
        local one, other = connection(h1, h2)
        bed:cut(h1, h2)
        bed:reset(h1, h2)
        for _, t in ipairs({ one, other }) do
            local _, why = t:receive("*l")
            assert.not_equal("timeout", why)
            t:close()
        end
    end)

    local floods = 0

    --- What `to` got of `count` numbers that `from` sent to `address`: until
    --- `least` have come and, behind them, a word that says so.
    local function flood(from, to, address, count, least)
        local got, ended = {}, false
        floods = floods + 1
        local last = "end " .. floods
        local function drain(patience)
            to:settimeout(patience)
            local text = to:receive()
            while text and text ~= last do
                got[#got + 1] = tonumber(text) -- or an old end
                text = to:receive()
            end
            ended = ended or text == last
        end
        for i = 1, count do
            from:sendto(tostring(i), address, PORT)
            if i % 50 == 0 then
                drain(0.02) -- a socket holds less than 300
            end
        end
        until_(function()
            if #got >= (least or 0) then
                from:sendto(last, address, PORT)
            end
            drain(0.1)
            return ended
        end, "the flood has passed")
        to:settimeout(PATIENCE)
        return got
    end

    it("loses about as much as was asked, and only there", function()
        bed:lose(30, h1, h2)
        -- Six times the standard deviation on either side.
        local got = #flood(u1, u2, h2.address, 1000)
        assert.is_true(got > 610 and got < 790, "got " .. got .. " of 1000")
        assert.equal(100, #flood(u1, u3, h3.address, 100))
        bed:lose(0, h1, h2)
        assert.equal(100, #flood(u1, u2, h2.address, 100))
    end)

    --- Seconds for a word from `a` to `b` and one back, the best of three.
    local function round_trip(a, b, here, there)
        local best = math.huge
        for i = 1, 3 do
            local start = socket.gettime()
            assert_next(a, b, there.address, "there " .. i)
            assert_next(b, a, here.address, "back " .. i)
            best = math.min(best, socket.gettime() - start)
        end
        return best
    end

    --- One takes less than that, as soon as the machine lets it.
    local function wait_fast(seconds, ...)
        local args = { ... }
        until_(function()
            return round_trip(unpack(args)) < seconds
        end, "a word is not delayed")
    end

    it("delays, by direction, only there, and heals", function()
        bed:delay({ delay = 300 }, h1, h2, true)
        assert.is_true(round_trip(u1, u2, h1, h2) >= 0.3)
        wait_fast(0.3, u1, u3, h1, h3)
        bed:delay({ delay = 150 }, h1, h2)
        assert.is_true(round_trip(u1, u2, h1, h2) >= 0.3)
        bed:heal(h1, h2)
        wait_fast(0.3, u1, u2, h1, h2)
    end)

    it("delays broadcasts, connections and IPv6, too", function()
        bed:delay({ delay = 200 }, h1, h2, true)
        local start = socket.gettime()
        u1:sendto("all", "255.255.255.255", PORT)
        assert.equal("all", (u2:receive()))
        assert.is_true(socket.gettime() - start >= 0.2)
        local one, other = connection(h1, h2, h2.address6)
        start = socket.gettime()
        -- Large: as one packet of 64 KiB that a card would cut.
        local text = ("x"):rep(300000)
        one:send(text .. "\n")
        assert.equal(text, other:receive("*l"))
        assert.is_true(socket.gettime() - start >= 0.2)
        one:close()
        other:close()
    end)

    it("keeps the order however unsteady it is", function()
        bed:delay({ delay = 30, jitter = 30 }, h1, h2)
        local got = flood(u1, u2, h2.address, 200)
        assert.equal(200, #got)
        for i = 1, 200 do
            assert.equal(i, got[i])
        end
    end)

    it("reorders some, losing none", function()
        bed:delay({ delay = 1, reorder = 20 }, h1, h2)
        local got = flood(u1, u2, h2.address, 200, 200)
        local overtaken = 0
        for i = 2, #got do
            overtaken = overtaken + (got[i] < got[i - 1] and 1 or 0)
        end
        assert.equal(200, #got)
        assert.is_true(overtaken > 0)
        table.sort(got)
        assert.equal(200, got[200])
    end)

    it("duplicates some", function()
        bed:delay({ duplicate = 100 }, h1, h2)
        assert.equal(100, #flood(u1, u2, h2.address, 50, 100))
        bed:delay({ duplicate = 50 }, h1, h2)
        -- As many as a socket holds, should the wire be slow.
        local got = #flood(u1, u2, h2.address, 150)
        assert.is_true(got > 188 and got < 262, "got " .. got)
    end)

    it("cuts and loses on a wire that delays as on any other", function()
        bed:delay({ delay = 10 }, h1, h2)
        bed:cut(h1, h2)
        u1:sendto("lost", h2.address, PORT)
        assert_next(u1, u3, h3.address, "so the wire has sent the other, too")
        bed:heal()
        assert_next(u1, u2, h2.address, "healed")
    end)

    it("limits the rate, each way", function()
        bed:rate(h1, "1mbit")
        for _, pair in ipairs({ { h1, h2 }, { h2, h1 } }) do
            local one, other = connection(pair[1], pair[2])
            local start = socket.gettime()
            local text = ("x"):rep(100000)
            one:send(text .. "\n")
            assert.equal(text, other:receive("*l"))
            -- 32 KiB may go at once.
            assert.is_true(socket.gettime() - start >= 67000 * 8 / 1e6)
            one:close()
            other:close()
        end
    end)

    it("freezes and thaws processes", function()
        local pid = h1:spawn("sleep 1000")
        bed:freeze(pid)
        until_(function()
            return state_of(pid) == "T"
        end)
        bed:thaw(pid)
        until_(function()
            return state_of(pid) == "S"
        end)
        bed:freeze(pid)
        bed:heal()
        until_(function()
            return state_of(pid) == "S"
        end)
        server.shell("kill " .. pid)
    end)

    it("runs programs and keeps what they write", function()
        local pid, path = h2:spawn("sh -c 'hostname; exec sleep 1000'")
        until_(function()
            return redis.read(path) == "h2\n"
        end)
        assert.is_true(server.is_alive(pid))
        server.shell("kill " .. pid)
    end)

    it("comes back from a host when the function there fails", function()
        local before = server.shell("hostname")
        assert.has_error(function()
            h1:inside(error, "no luck")
        end, "no luck")
        assert.equal(before, (server.shell("hostname")))
        h1:inside(function()
            assert.equal("h2\n", (h2:run("hostname")))
            assert.equal("h1\n", (server.shell("hostname")))
        end)
    end)

    it("does not hear another bed with the same addresses", function()
        local other = hosts.start(2)
        local v1, v2 = datagrams(other[1]), datagrams(other[2])
        local l = listener(h2)
        assert.is_nil(other[1]:inside(socket.connect, h2.address, PORT))
        u1:sendto("for this bed", "255.255.255.255", PORT)
        assert.equal("for this bed", (u2:receive()))
        v1:sendto("for that bed", "255.255.255.255", PORT)
        assert.equal("for that bed", (v2:receive()))
        assert_next(u1, u2, h2.address, "the next")
        for _, s in ipairs({ v1, v2, l }) do
            s:close()
        end
        other:stop()
        assert_next(u1, u2, h2.address, "this one stays")
    end)

    it("has a Redis that stops, comes back, and forgets", function()
        local r = redis.start("", 6379, h3)
        local function ask(words)
            return (h1:run("redis-cli -h " .. h3.address .. " " .. words))
        end
        assert.equal("OK\n", ask("set key value"))
        assert.equal("value\n", ask("get key"))
        r:kill()
        assert.truthy(ask("get key"):find("refused"))
        r:start()
        assert.equal("\n", ask("get key"))
        assert.equal("redis://10.77.0.3:6379", r.url)
        r:stop()
    end)

    it("loses a host without a word", function()
        local r = redis.start("", 6379, h3)
        local pid = h3:spawn("sleep 1000")
        local t = h1:inside(client.tcp, h3.address .. ":6379")
        t:send("PING\r\n")
        assert.equal("+PONG", t:receive("*l"))
        bed:crash(h3)
        server.until_(function()
            return not (server.is_alive(r.pid) or server.is_alive(pid))
        end, "its processes have ended")
        assert.same({}, h3:pids())
        t:send("PING\r\n")
        t:settimeout(0.3)
        assert.equal("timeout", select(2, t:receive("*l")))
        -- Back again, it knows nothing of old connections.
        bed:heal()
        t:settimeout(PATIENCE)
        assert.not_equal("timeout", select(2, t:receive("*l")))
        t:close()
    end)

    it("holds a node that answers wherever the client is", function()
        local files = {
            ["config/ports.lua"] = [[
return {
    game = { listen = "0.0.0.0:0", protocol = "tcp" },
    web = { listen = "[::]:8081", protocol = "http" },
}]],
        }
        local s = server.start(files, h1)
        finally(function()
            s:stop()
        end)
        local at = s:at("game")
        assert.equal("n", s:status().node)
        for _, place in ipairs({ h1, h2, bed.switch }) do
            local c = place:inside(client.open, at)
            assert.is_number(c:call("probe/who").result.slot)
            c:close()
            local w = place:inside(client.ws, h1.address .. ":8081")
            assert.is_number(w:call("probe/who").result.slot)
            w:close()
        end
        assert.truthy(s:get("/probe/who"):find("slot"))
        -- Out here nobody listens there.
        assert.is_false(pcall(client.tcp, at))
        local c = h2:inside(client.open, at)
        bed:cut(h1, h2)
        c:send(client.packet("probe/who", nil, 1))
        c.sock:settimeout(0.3)
        assert.equal("timeout", select(2, c:receive()))
        bed:heal()
        c.sock:settimeout(PATIENCE)
        assert.equal(1, c:receive().id)
        c:close()
    end)
end)
