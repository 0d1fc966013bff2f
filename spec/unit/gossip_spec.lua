-- Finding each other, telling, leaving and coming back.
local ffi = require("ffi")
local gossip = require("spec.support.gossip")
local lib = gossip.lib
local news, sent = gossip.news, gossip.sent
local ALIVE, SUSPECT, DEAD, LEFT = gossip.ALIVE, gossip.SUSPECT, gossip.DEAD, gossip.LEFT

jit.off(true, true) -- C calls back into Lua here

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

    it("asks a seed that it hears of after it was found by another", function()
        local cluster = gossip.cluster()
        local a, b = cluster:start(1), cluster:start(2)
        local d = cluster:start(3, { seeds = { 2 } })
        assert.truthy(cluster:until_(100, function()
            return b:living() == 1
        end))
        cluster:run(3000)
        b:seeds({ 1 })
        assert.truthy(cluster:until_(1000, function()
            return a:living() == 2 and b:living() == 2 and d:living() == 2
        end))
    end)

    it("asks all seeds, also when the first ones are nobody", function()
        local cluster = gossip.cluster()
        local a = cluster:start(1)
        local _, b = cluster:start(2), cluster:start(3, { seeds = { 2 } })
        cluster:run(3000)
        b:seeds({ 21, 22, 23, 24, 1 })
        assert.truthy(cluster:until_(10000, function()
            return a:living() == 2
        end))
    end)

    it("does not begin anew with seeds that are told again", function()
        local cluster = gossip.cluster()
        local _, b = cluster:grow(2)
        for _ = 1, 20 do
            b:seeds({ 1, 9 }) -- 9 is nobody
            cluster:run(10000)
        end
        local asked = 0
        for _, p in ipairs(sent(cluster, b, "ask")) do
            asked = asked + (p.to == 9 and 1 or 0)
        end
        assert.is_true(asked > 8 and asked < 40, asked)
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
