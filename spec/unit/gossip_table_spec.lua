-- Boots of one name, and a table that is full.
local ffi = require("ffi")
local gossip = require("spec.support.gossip")
local lib = gossip.lib
local news = gossip.news
local DEAD = gossip.DEAD

jit.off(true, true) -- C calls back into Lua here

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

    it("is in doubt until the other one has answered or is dead", function()
        for _, answers in ipairs({ true, false }) do
            local cluster = gossip.cluster()
            local a = cluster:grow(3)
            cluster.is_cut = function(from, to)
                return from + to == 1 + 4 -- the two of one name
            end
            local d = cluster:start(4, { name = "m1", boot = 44, seeds = { 2 } })
            assert.is_false(lib.gossip_has_rival(d.g[0]))
            assert.truthy(cluster:until_(1000, function()
                return lib.gossip_has_rival(d.g[0])
            end))
            if answers then
                cluster.is_cut = function()
                    return false
                end
            else
                a:stop()
            end
            assert.truthy(cluster:until_(12000, function()
                return not lib.gossip_has_rival(d.g[0])
            end))
            assert.equal(answers and "joined conflict" or "joined suspected died", d:told(1))
        end
    end)

    it("does not doubt its name for a former boot at its own address", function()
        local cluster = gossip.cluster()
        local a = cluster:grow(3)
        a:stop()
        cluster.is_cut = function(_, to)
            return to == 1 -- but what it asks is answered
        end
        local again = cluster:start(1, { boot = 11, seeds = { 2 } })
        again:receive(gossip.packet("news", 2, nil, { { boot = 1, name = "m1" } }))
        assert.equal("alive", again:state_of(1))
        assert.is_false(lib.gossip_has_rival(again.g[0]))
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
