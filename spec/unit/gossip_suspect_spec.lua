-- Who is silent, who says so, and what keeps the living alive.
local gossip = require("spec.support.gossip")
local lib = gossip.lib
local news, sent = gossip.news, gossip.sent
local SUSPECT, DEAD = gossip.SUSPECT, gossip.DEAD

jit.off(true, true) -- C calls back into Lua here

describe("suspicion in gossip", function()
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
end)
