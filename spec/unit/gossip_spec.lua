local ffi = require("ffi")
local gossip = require("spec.support.gossip")
local lib = gossip.lib

jit.off(true, true) -- C calls back into Lua here

local ALIVE, SUSPECT, DEAD, LEFT = 0, 1, 2, 3

--- A packet with updates, from somebody.
local function news(...)
    return gossip.packet("news", 9, nil, { ... })
end

--- What a member sent since `from`, by type.
local function sent(cluster, m, type)
    local list = {}
    for _, packet in ipairs(cluster.log) do
        local p = gossip.read(packet.bytes)
        if packet.from == m and p.type == type then
            p.to = packet.to
            list[#list + 1] = p
        end
    end
    return list
end

describe("cluster/gossip_msg", function()
    it("writes what docs/protocol.md says", function()
        local bytes = gossip.packet("ping", 0x0102, { nonce = 5, subject = 6, age_ms = 7 }, {
            { boot = 9, incarnation = 300, state = SUSPECT, accusers = { 1 } },
        })
        local hex = bytes:gsub(".", function(ch)
            return ("%02x"):format(ch:byte())
        end)
        assert.equal(table.concat({
            "0101", "0201000000000000", -- version, type, boot
            "00000000000000000000ffff0a000002", "0a1f", "07000000", -- address, age
            "0500000000000000", "0600000000000000", -- nonce, subject
            "11", "0900000000000000", "ac02", "01000000", -- suspect, by one
        }), hex)
    end)

    it("reads back what it wrote", function()
        local p = gossip.read(gossip.packet("state", 9, { wants = true }, {
            { boot = 10, name = "ten", meta = ("m"):rep(400), incarnation = 2 ^ 47 },
            { boot = 11, state = DEAD, incarnation = 127 },
            { boot = 12, state = LEFT, incarnation = 128 },
        }))
        assert.equal("state", p.type)
        assert.same(
            { state = "alive", boot = 10, incarnation = 2 ^ 47, is_full = true, name = "ten" },
            p[1]
        )
        assert.same({ state = "dead", boot = 11, incarnation = 127, is_full = false }, p[2])
        assert.same({ state = "left", boot = 12, incarnation = 128, is_full = false }, p[3])
    end)

    it("refuses every packet that is cut short", function()
        for _, type in ipairs({ "ping", "ack", "nack", "proxy", "ask", "hello", "state" }) do
            local bytes = gossip.packet(type, 9)
            assert.truthy(gossip.read(bytes), type)
            for len = 0, #bytes - 1 do
                assert.is_nil(gossip.read(bytes:sub(1, len)), type .. " " .. len)
            end
        end
        local head = #gossip.packet("news", 9)
        local bytes = news({ boot = 10, name = "ten", meta = "m" })
        for len = head + 1, #bytes - 1 do
            assert.is_nil(gossip.read(bytes:sub(1, len)), len)
        end
    end)

    it("refuses what is out of bounds", function()
        local bare = gossip.packet("news", 9)
        local full = news({ boot = 10, name = "ab", meta = "m" })
        local bad = {
            version = "\2" .. bare:sub(2),
            type = "\1\9" .. bare:sub(3),
            type0 = "\1\0" .. bare:sub(3),
            boot = bare:sub(1, 2) .. ("\0"):rep(8) .. bare:sub(11),
            port = bare:sub(1, 26) .. "\0\0" .. bare:sub(29),
            address = bare:sub(1, 22) .. ("\0"):rep(4) .. bare:sub(27),
            control = full:gsub("ab", "a\n"),
            kind = full:gsub("\1\10\0\0\10", "\16\10\0\0\10"),
            meta = full:gsub("ab\1\0m", "ab\x91\1" .. ("m"):rep(401)),
            long = bare .. ("\0"):rep(1354),
            nack = gossip.packet("nack", 9) .. "\0",
            -- an incarnation in more groups than it needs, and one too high
            groups = bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. "\x81\0",
            high = bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. ("\xff"):rep(6) .. "\x7f",
            flags = bare .. "\x42" .. "\9\0\0\0\0\0\0\0" .. "\1",
            accused = bare .. "\x12" .. "\9\0\0\0\0\0\0\0" .. "\1" .. "\1\0\0\0",
        }
        assert.truthy(gossip.read(bare) and gossip.read(full))
        assert.truthy(gossip.read(bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. "\1"))
        for name, bytes in pairs(bad) do
            assert.is_nil(gossip.read(bytes), name)
        end
    end)
end)

describe("cluster/gossip", function()
    it("finds the first member through a seed", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1, { meta = "first" })
        local b = cluster:start(2, { seeds = { 1 }, kind = 2, meta = "second" })
        assert.truthy(cluster:until_(100, function()
            return a:living() == 1 and b:living() == 1
        end))
        local m = lib.gossip_find(a.g[0], 2)
        assert.same({ "m2", "second", 2, 2 }, {
            ffi.string(m.name.p, m.name.len), ffi.string(m.meta.p, m.meta.len), m.kind,
            m.address.ip[15],
        })
        assert.equal("joined", a:told(2))
        assert.equal("joined", b:told(1))
        assert.is_true(lib.gossip_is_joined(b.g[0]))
    end)

    it("asks its seeds until one answers, less often each time", function()
        local cluster = gossip.cluster()
        local b = cluster:start(2, { seeds = { 1 } })
        cluster:run(60000)
        local asked = #sent(cluster, b, "ask")
        assert.is_true(asked > 10 and asked < 60, asked)
        for _, p in ipairs(sent(cluster, b, "ask")) do
            assert.equal(1, p.to)
        end
        assert.equal(asked, #cluster.log)
        cluster:start(1)
        assert.truthy(cluster:until_(13000, function()
            return b:living() == 1
        end))
    end)

    it("sends nothing long before its question was answered", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        local ask = gossip.packet("ask", 77)
        lib.gossip_set_meta(a.g[0], cluster.now, gossip.slice(("m"):rep(400))) -- news
        a:receive(ask)
        a:receive(gossip.packet("ping", 77))
        a:receive(gossip.packet("state", 77, { wants = true, mask = 0xffffffff, nonce = 5 }))
        local n = 0
        for _, packet in ipairs(cluster.log) do
            if packet.to == 77 then
                n = n + 1
                assert.is_true(#packet.bytes <= #ask, gossip.read(packet.bytes).type)
            end
        end
        assert.is_true(n >= 2)
        assert.equal(0, #sent(cluster, a, "state"))
        assert.is_nil(a:state_of(77))
        assert.equal(1, b:living())
    end)

    it("says nothing more when tables are the same", function()
        local cluster = gossip.cluster()
        cluster:grow(4)
        cluster:run(60000)
        local asks, states = 0, 0
        for _, packet in ipairs(cluster.log) do
            local p = gossip.read(packet.bytes)
            asks = asks + (p.type == "ask" and 1 or 0)
            states = states + (p.type == "state" and 1 or 0)
        end
        assert.is_true(asks > 4)
        assert.equal(0, states)
    end)

    it("makes tables equal whatever got lost", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        -- all about a third is lost but full exchange
        a:receive(news({ boot = 3, name = "m3", address = gossip.address(3) }))
        cluster.is_cut = function(from, to)
            local p = gossip.read(cluster.log[#cluster.log].bytes)
            local tells = p.type ~= "state" and #p > 0
            return to == 3 or (from == 1 and tells)
        end
        assert.is_nil(b:state_of(3))
        assert.truthy(cluster:until_(35000, function()
            return b:state_of(3) ~= nil
        end))
    end)

    it("tells what a member says of itself, once", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        assert.equal(0, lib.gossip_set_meta(a.g[0], cluster.now, gossip.slice("new")))
        cluster:run(1000)
        for _, m in ipairs({ b, d }) do
            assert.equal("updated", m:told(1))
            assert.equal("new", m.events[1].meta)
        end
        assert.equal(-5015, lib.gossip_set_meta(a.g[0], cluster.now, gossip.slice(("x"):rep(401))))
        assert.equal(0, lib.gossip_set_meta(a.g[0], cluster.now, gossip.slice("new")))
        cluster:run(5000)
        assert.equal("updated", b:told(1))
    end)

    it("suspects and then buries who does not answer", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        d:stop()
        local from = cluster.now
        assert.truthy(cluster:until_(5000, function()
            return a:state_of(3) == "suspect"
        end))
        -- they heard from each other that it is not they who are deaf
        assert.equal(0, lib.gossip_awareness(a.g[0]))
        cluster:run(25000)
        for _, m in ipairs({ a, b }) do
            assert.equal("suspected died", m:told(3))
            assert.equal(1, m:living())
            -- four seconds, less the way that the accusation took
            local suspicion, death = m.events[1].at - from, m.events[2].at - from
            assert.is_true(death - suspicion >= 3500 and death < 8000, death)
        end
        assert.equal("dead", a:state_of(3))
    end)

    it("forgets the dead after a day", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        a:receive(news({ boot = 3, name = "m3" }))
        a:receive(news({ boot = 3, state = DEAD }))
        assert.equal("dead", a:state_of(3))
        local function tick_until(time) -- never late
            while cluster.now < time do
                cluster.now = a.due
                a:tick()
            end
        end
        local day = cluster.now + 24 * 3600 * 1000
        tick_until(day - 10000)
        assert.equal("dead", a:state_of(3))
        tick_until(day + 10000)
        assert.is_nil(a:state_of(3))
        assert.equal(0, lib.gossip_count(a.g[0]))
    end)

    it("hears of a death only once, and not of one that is older", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        local function hear(state, incarnation)
            a:receive(news({
                boot = 3,
                state = state,
                incarnation = incarnation,
                accusers = state == SUSPECT and { 9 } or nil,
            }))
            return a:state_of(3)
        end
        a:receive(news({ boot = 3, name = "m3", incarnation = 5, edition = 1 }))
        assert.equal("alive", hear(SUSPECT, 4))
        assert.equal("suspect", hear(SUSPECT, 5))
        assert.equal("suspect", hear(ALIVE, 5))
        assert.equal("alive", hear(ALIVE, 6))
        assert.equal("alive", hear(DEAD, 5))
        assert.equal("dead", hear(DEAD, 6))
        assert.equal("dead", hear(SUSPECT, 7))
        assert.equal("dead", hear(ALIVE, 6))
        assert.equal("alive", hear(ALIVE, 7))
        assert.equal("left", hear(LEFT, 7))
        assert.equal("joined suspected returned died returned departed", a:told(3))
    end)

    it("ends a suspicion the sooner the more confirm it", function()
        local deaths = {}
        for n = 1, 3 do
            local cluster = gossip.cluster()
            local a = cluster:start(1)
            local updates = {}
            for i = 2, 10 do -- all that a knows of are silent, but vouched for
                updates[#updates + 1] = { boot = i, name = "m" .. i }
            end
            a:receive(gossip.packet("news", 99, nil, updates))
            local accusers = { 21, 22, 23 }
            a:receive(gossip.packet("news", 99, nil, {
                { boot = 10, state = SUSPECT, accusers = { unpack(accusers, 1, n) } },
            }))
            local from = cluster.now
            cluster.is_cut = function()
                return true
            end
            cluster:until_(40000, function()
                for i = 2, 9 do
                    lib.gossip_vouch(a.g[0], cluster.now, i, 0)
                end
                -- our own accusation would be one more
                lib.gossip_vouch(a.g[0], cluster.now, cluster.now - from < 10 and 10 or 2, 0)
                return a:state_of(10) == "dead"
            end)
            deaths[n] = cluster.now - from
        end
        assert.is_true(deaths[3] >= 4000 and deaths[3] < 5000, deaths[3])
        assert.is_true(deaths[1] > deaths[3], deaths[1])
        assert.is_true(deaths[2] <= deaths[1] and deaths[2] >= deaths[3], deaths[2])
    end)

    it("refutes what is said of itself", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        local was = tonumber(lib.gossip_self(a.g[0]).incarnation)
        a:receive(news({ boot = 1, state = DEAD, incarnation = was + 40 }))
        assert.equal(was + 41, tonumber(lib.gossip_self(a.g[0]).incarnation))
        assert.equal(1, tonumber(a:counters().refutations))
        a:receive(news({ boot = 1, state = DEAD, incarnation = was + 40 }))
        assert.equal(1, tonumber(a:counters().refutations))
        cluster:run(1000)
        assert.equal(was + 41, tonumber(lib.gossip_find(b.g[0], 1).incarnation))
        assert.equal("alive", b:state_of(1))
    end)

    it("refutes again to who has missed it", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        local doubt = { boot = 1, state = SUSPECT, incarnation = 20, accusers = { 2 } }
        a:receive(news(doubt))
        cluster:run(20000) -- it is no news any more
        assert.equal(21, tonumber(lib.gossip_find(b.g[0], 1).incarnation))
        cluster.log = {}
        a:receive(gossip.packet("ping", 2, nil, { doubt }))
        local ack = sent(cluster, a, "ack")[1]
        assert.same({ 1, 21, "alive" }, { ack[1].boot, ack[1].incarnation, ack[1].state })
        cluster:run(20000)
        cluster.log = {}
        a:receive(news({ boot = 1, state = DEAD, incarnation = 20 }))
        cluster:run(300)
        assert.equal(21, sent(cluster, a, "news")[1][1].incarnation)
        assert.equal(1, tonumber(a:counters().refutations))
    end)

    it("reminds whom it suspects until that answers", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        local cut = true
        cluster.is_cut = function(from, to)
            return cut and (from == 1) ~= (to == 1)
        end
        cluster:run(4500) -- all that 1 had to say is said
        assert.equal("suspect", a:state_of(2))
        cut = false
        assert.truthy(cluster:until_(3000, function()
            return a:state_of(2) == "alive" and a:state_of(3) == "alive"
        end))
        cluster:run(60000)
        assert.is_nil((a:told(2) .. b:told(1) .. d:told(1)):find("died"))
    end)

    it("sends its refutation first", function()
        local cluster = gossip.cluster()
        local a = cluster:grow(2)
        local updates = {}
        for i = 100, 140 do
            updates[#updates + 1] = { boot = i, name = "x" .. i }
        end
        a:receive(news(unpack(updates)))
        cluster.log = {}
        local accusation = { boot = 1, state = SUSPECT, incarnation = 50, accusers = { 2 } }
        a:receive(gossip.packet("ping", 2, nil, { accusation }))
        local ack = sent(cluster, a, "ack")[1]
        assert.same({ 1, 51, "alive" }, { ack[1].boot, ack[1].incarnation, ack[1].state })
        assert.is_true(#ack > 10)
    end)

    it("believes a data link more than silence", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        cluster.is_cut = function(from, to)
            return from == 3 or to == 3
        end
        local function vouch(ms)
            for _ = 1, ms / 1000 do
                cluster:run(1000)
                lib.gossip_vouch(a.g[0], cluster.now, 3, 0)
                lib.gossip_vouch(b.g[0], cluster.now, 3, 0)
            end
        end
        vouch(60000)
        assert.equal("", a:told(3) .. b:told(3))
        a:receive(news({ boot = 3, state = DEAD, incarnation = 1000 }))
        assert.equal("suspect", a:state_of(3))
        vouch(60000)
        assert.equal("suspect", a:state_of(3))
        assert.is_true(tonumber(a:counters().vetoes) > 1)
        cluster:run(20000)
        assert.equal("dead", a:state_of(3))
        assert.equal("dead", b:state_of(3))
        assert.equal("", d:told(4))
    end)

    it("takes no frame for an answer that is older than the question", function()
        local cluster = gossip.cluster()
        local a, _, d = cluster:grow(3)
        d:stop()
        local from = cluster.now
        local took = cluster:until_(7500, function()
            lib.gossip_vouch(a.g[0], cluster.now, 3, cluster.now - from)
            lib.gossip_vouch_end(a.g[0], cluster.now)
            return a:state_of(3) == "dead"
        end)
        -- not in the three seconds that its last frame is good for
        assert.is_true(took and took > 3000, took)
    end)

    it("vouches no longer for whom all links have broken", function()
        for _, is_broken in ipairs({ true, false }) do
            local cluster = gossip.cluster("fast")
            local a, _, d = cluster:grow(3)
            lib.gossip_vouch(a.g[0], cluster.now, 3, 0)
            lib.gossip_vouch_end(a.g[0], cluster.now)
            d:stop()
            if is_broken then
                lib.gossip_vouch_end(a.g[0], cluster.now)
            end
            local took = cluster:until_(5000, function()
                return a:state_of(3) == "dead"
            end)
            assert.equal(is_broken, took < 2500, took)
        end
    end)

    it("asks others to look before it suspects", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        cluster.is_cut = function(from, to)
            return from + to == 4 and from ~= to -- between 1 and 3
        end
        cluster:run(30000)
        assert.is_true(#sent(cluster, a, "proxy") > 5)
        assert.equal("", a:told(3) .. b:told(3) .. d:told(1))
        assert.equal(0, lib.gossip_awareness(a.g[0]))
    end)

    it("takes its time when it hears nothing itself", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(4)
        cluster.is_cut = function(_, to)
            return to == 1
        end
        cluster:run(8000)
        assert.is_true(lib.gossip_awareness(a.g[0]) >= 3)
        assert.equal(0, lib.gossip_awareness(b.g[0]))
        cluster.is_cut = function()
            return false
        end
        cluster.log = {}
        cluster:run(4000)
        assert.is_true(#sent(cluster, a, "ping") < #sent(cluster, b, "ping"))
        cluster:run(60000)
        assert.equal(0, lib.gossip_awareness(a.g[0]))
    end)

    it("pings several times before the timeout", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        cluster.is_cut = function(from)
            return from == 2
        end
        cluster:run(1100)
        local pings = 0
        for _, p in ipairs(sent(cluster, a, "ping")) do
            pings = pings + (p.to == 2 and 1 or 0)
        end
        assert.is_true(pings >= 4, pings)
        assert.equal("", b:told(1))
    end)

    it("judges nobody after it stood still", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        cluster:run(1000)
        -- a stops within a probe; what b answers waits in its socket
        a.is_stopped = true
        for _ = 1, 20 do
            cluster:run(1000)
            cluster.wire = {}
        end
        a.is_stopped = false
        a:tick()
        cluster:run(1500)
        assert.equal("", a:told(2))
        assert.equal(1, tonumber(a:counters().late))
        assert.equal("alive", a:state_of(2))
        assert.truthy(cluster:until_(3000, function()
            return b:state_of(1) == "alive"
        end))
    end)

    it("nor after it stood still twice in a row", function()
        local function silent()
            local cluster = gossip.cluster()
            local a, b = cluster:grow(2)
            b:stop()
            cluster:until_(4000, function()
                return a:state_of(2) == "suspect"
            end)
            return cluster, a
        end
        local cluster, a = silent()
        local length = cluster:until_(10000, function()
            return a:state_of(2) == "dead"
        end)
        cluster, a = silent()
        cluster:run(length - 50)
        for _ = 1, 2 do
            cluster.now = cluster.now + 20000
            cluster:run(100)
        end
        assert.equal("suspect", a:state_of(2))
        -- what waited in the socket
        a:receive(news({ boot = 2, incarnation = 100 }))
        cluster:run(1000)
        assert.equal("suspected returned", a:told(2))
        assert.equal(1, tonumber(a:counters().late))
    end)

    it("does not mind a clock that goes back", function()
        local cluster = gossip.cluster()
        local a = cluster:grow(2)
        cluster.now = cluster.now - 500000
        cluster:run(20)
        for _, m in ipairs(cluster.members) do
            m.due = cluster.now
        end
        cluster:run(10000)
        assert.equal("", a:told(2))
        assert.equal(0, tonumber(a:counters().late))
    end)

    it("says goodbye", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        lib.gossip_leave(a.g[0], cluster.now)
        assert.is_false(lib.gossip_has_left(a.g[0]))
        assert.truthy(cluster:until_(2000, function()
            return lib.gossip_has_left(a.g[0])
        end))
        a:stop()
        cluster:run(20000)
        for _, m in ipairs({ b, d }) do
            assert.equal("departed", m:told(1))
            assert.equal("left", m:state_of(1))
        end
    end)

    it("comes back when it was thought to be dead", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        cluster.is_cut = function(from, to)
            return (from == 3) ~= (to == 3)
        end
        cluster:run(120000)
        assert.equal("dead", a:state_of(3))
        assert.equal(0, d:living())
        cluster.is_cut = function()
            return false
        end
        assert.truthy(cluster:until_(10000, function()
            return a:state_of(3) == "alive" and b:state_of(3) == "alive" and d:living() == 2
        end))
        assert.equal("suspected died returned", b:told(3))
    end)

    it("calls whom it lost, however many have left or were replaced", function()
        local cluster = gossip.cluster()
        local a, b = cluster:grow(2)
        for _, m in ipairs({ a, b }) do
            lib.gossip_seeds(m.g[0], nil, 0)
            for i = 100, 199 do
                local name = "m" .. i % 50
                m:receive(news({ boot = i, name = name }))
                m:receive(news({ boot = i, state = i < 150 and DEAD or LEFT }))
            end
            m:receive(news({ boot = 200, name = "gone" }))
            m:receive(news({ boot = 200, state = DEAD }))
        end
        cluster.is_cut = function()
            return true
        end
        cluster:run(120000)
        assert.same({ 0, 0 }, { a:living(), b:living() })
        cluster.is_cut = function()
            return false
        end
        assert.truthy(cluster:until_(15000, function()
            return a:living() == 1 and b:living() == 1
        end))
    end)

    it("heeds an announcement", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        local b = cluster:start(2)
        cluster:run(1000)
        assert.equal(0, a:living())
        lib.gossip_heard(a.g[0], cluster.now, 2, gossip.address(2))
        assert.truthy(cluster:until_(100, function()
            return a:living() == 1 and b:living() == 1
        end))
        cluster.log = {}
        lib.gossip_heard(a.g[0], cluster.now, 2, gossip.address(2))
        assert.equal(0, #cluster.log)
    end)
end)

describe("a name in gossip", function()
    it("passes to a new boot at once when that has the address", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        d:stop()
        local again = cluster:start(3, { boot = 33, seeds = { 1 } })
        assert.truthy(cluster:until_(4000, function()
            return a:state_of(3) == "dead" and b:state_of(3) == "dead" and a:state_of(33) == "alive"
        end))
        cluster:run(5000)
        assert.equal("alive", b:state_of(33))
        assert.equal("", again:told(33))
        assert.is_nil(again:told(3):find("conflict"))
    end)

    it("passes to a new boot elsewhere when the old one is silent", function()
        local cluster = gossip.cluster()
        local a, _, d = cluster:grow(3)
        d:stop()
        local again = cluster:start(4, { boot = 33, name = "m3", seeds = { 1 } })
        cluster:run(12000)
        assert.equal("dead", a:state_of(3))
        assert.equal("alive", a:state_of(33))
        assert.is_nil(again:told(3):find("conflict"))
    end)

    it("stays with the first of two that live", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        local late = cluster:start(4, { name = "m3", seeds = { 1 } })
        assert.truthy(cluster:until_(500, function()
            return late:told(3):find("conflict")
        end))
        local event = late.events[#late.events]
        assert.same({ "m3", 3, 7946 }, { event.name, event.host, event.port })
        cluster:run(20000)
        assert.equal("joined conflict", late:told(3)) -- once
        assert.equal("joined", d:told(4))
        assert.equal("joined", a:told(4))
        assert.equal("", b:told(3))
    end)

    it("is refused to at least one of two that came together", function()
        for lead = 0, 2000, 50 do
            for _, boots in ipairs({ { 1, 2 }, { 2, 1 } }) do
                local cluster = gossip.cluster()
                local a = cluster:start(1, { name = "x", boot = boots[1], age = lead })
                local b = cluster:start(2, { name = "x", boot = boots[2], seeds = { 1 } })
                cluster:run(600)
                local first = a:told(boots[2]):find("conflict")
                assert.truthy(first or b:told(boots[1]):find("conflict"), lead)
                if lead >= 1500 then
                    assert.is_nil(first)
                end
            end
        end
    end)

    it("follows an agent that was restarted within its boot", function()
        local cluster = gossip.cluster()
        local a, b, d = cluster:grow(3)
        for i = 1, 30 do
            lib.gossip_set_meta(d.g[0], cluster.now, gossip.slice("old " .. i))
        end
        cluster:run(2000)
        d:stop()
        table.remove(cluster.members, 3)
        -- its age is lower than its incarnation was: it has to hear of that
        cluster:start(5, { boot = 3, name = "m3", meta = "new", age = 3, seeds = { 1 } })
        assert.truthy(cluster:until_(2000, function()
            local x, y = lib.gossip_find(a.g[0], 3), lib.gossip_find(b.g[0], 3)
            local meta = ffi.string(y.meta.p, y.meta.len)
            return x.address.ip[15] == 5 and y.address.ip[15] == 5 and meta == "new"
        end))
        cluster:run(10000)
        assert.equal("alive", a:state_of(3))
    end)
end)

describe("the table of gossip", function()
    it("has room for so many, and counts the others", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        cluster.is_cut = function()
            return true
        end
        for i = 100, 4999, 20 do
            local updates = {}
            for boot = i, i + 19 do
                updates[#updates + 1] = { boot = boot, name = "x" .. boot }
            end
            a:receive(news(unpack(updates)))
        end
        assert.equal(4095, a:living())
        assert.equal(4900 - 4095, tonumber(a:counters().refused))
        -- a tombstone makes room
        a:receive(news({ boot = 100, state = DEAD }))
        a:receive(news({ boot = 9999, name = "late" }))
        assert.equal("alive", a:state_of(9999))
        assert.is_nil(a:state_of(100))
    end)

    it("remembers a few boots of a name", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        for boot = 100, 150 do
            a:receive(news({ boot = boot, name = "looping" }))
            a:receive(news({ boot = boot, state = DEAD }))
            cluster:run(10)
        end
        assert.equal(4, lib.gossip_count(a.g[0]))
        assert.equal("dead", a:state_of(150))
    end)

    it("keeps the name of a boot", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        a:receive(news({ boot = 3, name = "one" }))
        a:receive(news({ boot = 3, name = "two", incarnation = 2, edition = 2 }))
        assert.equal("joined", a:told(3))
        assert.equal(1, tonumber(a:counters().bad))
        assert.equal(1, tonumber(lib.gossip_find(a.g[0], 3).incarnation))
    end)

    it("says that it did not understand a packet", function()
        local a = gossip.cluster():start(1)
        local function hear(bytes)
            return lib.gossip_receive(a.g[0], a.cluster.now, bytes, #bytes)
        end
        local packet = news({ boot = 3, name = "m3" })
        assert.is_true(hear("\2" .. packet:sub(2)) < 0) -- of another version
        assert.is_true(hear(packet .. "x") < 0)
        assert.equal(0, hear(packet))
        assert.equal(2, tonumber(a:counters().bad))
    end)
end)
