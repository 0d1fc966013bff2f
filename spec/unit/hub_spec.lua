local bytes = require("spec.support.bytes")
local delivery = require("spec.support.delivery")
local ffi = require("ffi")
local lib = delivery.lib
local place = delivery.place

describe("cluster/hub", function()
    local h, s, d, e

    --- Links 1 (the sender, of node 1), 2 and 3.
    local function set_up(limits)
        h = delivery.hub(limits)
        s, d, e = h:open(1, place(1)), h:open(2, place(2)), h:open(3, place(3))
        delivery.drain(h.frames)
    end

    before_each(set_up)

    local function uid(name, body, counter, more)
        local t = { name = name, body = body, counter = counter or 1 }
        for k, v in pairs(more or {}) do
            t[k] = v
        end
        return h:data(s, t)
    end

    it("hands on to a uid's place, and the answer back", function()
        h:locate(d, "anna", 5)
        assert.equal(0, uid("anna", "a", 1))
        assert.equal(0, uid("anna", "b", 2, { prev = 1, base = 1 }))
        assert.equal("2<a 2<b", h:turn())
        assert.equal(2, h:figures().transits)
        h:ack(d, 1, 2)
        assert.equal("1<1+2", h:turn())
        assert.equal(0, h:figures().transits)
    end)

    it("takes from a life what its message waited on the link", function()
        h:locate(d, "anna", 5)
        h:interest(d, lib.FRAMES_ADD, "t")
        h:interest(d, lib.FRAMES_COMPLETE)
        h:interest(e, lib.FRAMES_COMPLETE)
        local more = { life = 1000 }
        local topic = { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC }
        for i, waited in ipairs({ 0, 999, 1000, 4000000000 }) do
            more.waited, more.prev = waited, i - 1
            uid("anna", "to anna", i, more)
        end
        for k, v in pairs(more) do
            topic[k] = v
        end
        topic.waited = 300
        uid("t", "to all", 5, topic)
        topic.waited = 1000
        uid("t", "too late", 6, topic)
        lib.hub_turn(h.hub[0])
        local lives, answers = {}, nil
        for _, f in ipairs(delivery.drain(h.frames)) do
            lives[#lives + 1] = f.to == 2 and f.life .. " " .. f.body or nil
            answers = f.to == 1 and f.text or answers
        end
        assert.same({ "1000 to anna", "1 to anna", "700 to all" }, lives)
        assert.equal(("3:%d/0 4:%d/0 6:%d/0"):gsub("%%d", lib.FRAMES_EXPIRED), answers)
    end)

    it("keeps the places that came with what is over", function()
        local late = { waited = 600, life = 500, spots = { place(2) },
            flags = lib.FRAMES_SOLE }
        uid("anna", "late", 1, late)
        uid("anna", "b", 2, { prev = 1, base = 1, waited = 600 })
        assert.equal(("2<b 1<1:%d/0"):format(lib.FRAMES_EXPIRED), h:turn())
        assert.equal(1, h:figures().expired)
    end)

    it("says of a publish that it came too late to some", function()
        h:interest(d, lib.FRAMES_COMPLETE)
        h:interest(e, lib.FRAMES_COMPLETE)
        h:interest(d, lib.FRAMES_ADD, "t")
        h:interest(e, lib.FRAMES_ADD, "t")
        local topic = { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC }
        uid("t", "a", 1, topic)
        h:turn()
        h:ack(d, 1)
        h:nack(e, 1, lib.FRAMES_EXPIRED)
        assert.equal(("1<1:%d/%d"):format(lib.FRAMES_EXPIRED,
            lib.FRAMES_TOOK + lib.FRAMES_MAYBE + lib.FRAMES_KNOWN), h:turn())
    end)

    it("finds one of many uids, expected or not", function()
        local many = 5000
        for i = 1, many do
            h:locate(i % 2 == 0 and d or e, "u" .. i, 5)
        end
        delivery.drain(h.frames)
        local coming = ffi.new("struct stream_frame[?]", lib.HUB_EXPECT)
        local kept, n = {}, 0
        for i = 1, lib.HUB_EXPECT do
            local name = i == 3 and "nobody" or "u" .. i * 100
            kept[i] = delivery.data({ type = lib.FRAMES_UID, name = name, body = name,
                counter = i })
            coming[i - 1].type = i == 5 and lib.FRAMES_ACK or lib.FRAMES_UID
            coming[i - 1].payload = i == 7 and bytes.slice("x") or kept[i]
            n = n + 1
        end
        lib.hub_expect(h.hub[0], coming, n)
        assert.equal("", h:turn()) -- nothing was done
        assert.equal(0, uid("u100", "a", 1))
        assert.equal(0, uid("u4999", "b", 2))
        assert.equal("2<a 3<b", h:turn())
    end)

    it("does not know a uid that nobody has told of", function()
        uid("anna", "a", 1)
        assert.equal("1<1:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
        uid("anna", "a", 1, { spots = { place(3) }, flags = lib.FRAMES_SOLE })
        uid("anna", "b", 2)
        assert.equal("3<a 3<b", h:turn())
    end)

    it("does not pass places on", function()
        uid("anna", "a", 1, { spots = { place(3) } })
        assert.equal(0, h.frames[1].spots)
    end)

    it("says unknown again after a place had nobody of the uid", function()
        h:locate(d, "anna", 5)
        uid("anna", "a", 1)
        h:nack(d, 1, lib.FRAMES_NOT_HERE)
        uid("anna", "b", 2)
        assert.equal("2<a 1<1:1/0 2:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
    end)

    it("follows a uid to where it is bound later", function()
        h:locate(d, "anna", 5)
        h:locate(e, "anna", 7)
        uid("anna", "a", 1)
        h:locate(d, "anna", 6) -- late
        uid("anna", "b", 2)
        h:locate(d, "anna", 5, false)
        uid("anna", "c", 3)
        h:locate(e, "anna", 7, false)
        uid("anna", "d", 4)
        assert.equal("3<a 3<b 3<c 1<4:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
    end)

    it("keeps a newer place when a sender tells an older list", function()
        h:locate(e, "anna", 7)
        uid("anna", "a", 1, { spots = { { place(2), 5 } }, flags = lib.FRAMES_SOLE })
        assert.equal("3<a", h:turn())
    end)

    it("sends to all places of a uid; one of them is enough", function()
        uid("anna", "a", 1, { spots = { place(2), place(3) } })
        assert.equal("2<a 3<a", h:turn())
        h:ack(d, 1)
        assert.equal("", h:turn())
        h:nack(e, 1, lib.FRAMES_BUSY)
        assert.equal("1<1+1", h:turn())
        uid("anna", "b", 2)
        h:nack(d, 2, lib.FRAMES_BUSY)
        h:nack(e, 2, lib.FRAMES_NOT_HERE)
        assert.equal("2<b 3<b 1<2:1/" .. lib.FRAMES_KNOWN, h:turn())
    end)

    it("asks for another go when one of several has not seen enough", function()
        uid("anna", "a", 1, { spots = { place(2), place(3) } })
        h:turn()
        h:ack(d, 1)
        h:nack(e, 1, lib.FRAMES_GAP)
        assert.equal(("1<1:%d/%d"):format(lib.FRAMES_GAP, lib.FRAMES_TOOK), h:turn())
    end)

    it("waits for all places before it trusts one of several", function()
        h:locate(d, "anna", 5, true, false)
        uid("anna", "a", 1)
        assert.equal("1<1:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
        uid("anna", "a", 1, { spots = { { place(3), 4 } } })
        assert.equal("2<a 3<a", h:turn())
        h:open(4, place(4)) -- who knows what it has bound meanwhile
        delivery.drain(h.frames)
        uid("anna", "b", 2)
        assert.equal("1<3:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
    end)

    it("says lost of what was under way when a link ends", function()
        h:locate(d, "anna", 5)
        uid("anna", "a", 1)
        h:turn()
        lib.hub_close(h.hub[0], d)
        assert.equal(("1<1:%d/%d"):format(lib.FRAMES_LOST, lib.FRAMES_MAYBE), h:turn())
        uid("anna", "b", 2)
        assert.equal("1<2:" .. lib.FRAMES_NO_WAY .. "/0", h:turn())
        assert.equal(0, h:figures().transits)
    end)

    it("drops answers for a sender whose link has ended", function()
        h:locate(d, "anna", 5)
        uid("anna", "a", 1)
        h:turn()
        lib.hub_close(h.hub[0], s)
        s = h:open(9, place(1)) -- takes the same index
        delivery.drain(h.frames)
        h:ack(d, 1)
        assert.equal("", h:turn())
    end)

    it("sends to the newest link of a place only", function()
        h:locate(d, "anna", 5)
        h:open(4, place(2))
        delivery.drain(h.frames)
        uid("anna", "a", 1)
        h:data(s, { type = lib.FRAMES_PLACE, place = place(2), body = "b", counter = 2 })
        assert.equal("4<a 4<b", h:turn())
        lib.hub_close(h.hub[0], d)
        assert.equal("", h:turn()) -- the place is covered still
    end)

    it("bounds what a process may owe, with busy", function()
        set_up({ window_count = 2 })
        h:locate(d, "anna", 5)
        for n = 1, 3 do
            uid("anna", "m" .. n, n)
        end
        assert.equal("2<m1 2<m2 1<3:" .. lib.FRAMES_BUSY .. "/0", h:turn())
        h:ack(d, 1)
        uid("anna", "m4", 4)
        assert.equal("2<m4 1<1+1", h:turn())
    end)

    it("keeps the places of so many uids, preferring those in use", function()
        set_up({ uids = 3 })
        for i = 1, 3 do
            h:locate(d, "u" .. i, 1)
        end
        uid("u1", "a", 1)
        h:locate(d, "u4", 1)
        uid("u1", "b", 2)
        uid("u2", "c", 3)
        assert.equal("2<a 2<b 1<3:" .. lib.FRAMES_UNKNOWN .. "/0", h:turn())
        assert.equal(3, h:figures().uids)
        assert.equal(1, tonumber(h:figures().evicted))
    end)

    it("asks everybody but the sender's own node when nobody can tell", function()
        h:open(4, place(1, 1, 1))
        delivery.drain(h.frames)
        uid("anna", "a", 1, { flags = lib.FRAMES_FLOOD })
        assert.equal("2<a 3<a", h:turn())
        h:nack(d, 1, lib.FRAMES_NOT_HERE)
        h:ack(e, 1)
        assert.equal("1<1+1", h:turn())
    end)

    describe("publishes", function()
        local function publish(body, counter, more)
            local t = { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC, name = "a/b",
                body = body, counter = counter }
            for k, v in pairs(more or {}) do
                t[k] = v
            end
            return h:data(s, t)
        end

        it("go to everybody until interest is told, then where it is", function()
            publish("a", 1)
            assert.equal("2<a 3<a", h:turn())
            h:interest(d, lib.FRAMES_ADD, "a/+")
            h:interest(d, lib.FRAMES_COMPLETE)
            h:interest(e, lib.FRAMES_ADD, "x")
            publish("b", 2)
            assert.equal("3<b 2<b", h:turn())
            h:interest(e, lib.FRAMES_COMPLETE)
            publish("c", 3)
            assert.equal("2<c", h:turn())
            h:interest(d, lib.FRAMES_REMOVE, "a/+")
            publish("d", 4)
            assert.equal("1<4+1", h:turn()) -- nobody wants it
            h:interest(e, lib.FRAMES_RESET)
            publish("e", 5)
            assert.equal("3<e", h:turn())
        end)

        it("to groups, to all and events have their own rules", function()
            for _, link in ipairs({ d, e }) do
                h:interest(link, lib.FRAMES_COMPLETE)
            end
            h:interest(d, lib.FRAMES_ADD, "a/b", lib.FRAMES_GROUP)
            publish("topic", 1)
            publish("group", 2, { kind = lib.FRAMES_GROUP })
            publish("odd", 3, { kind = lib.FRAMES_GROUP, name = "a#" })
            publish("all", 4, { kind = lib.FRAMES_ALL, name = "" })
            publish("event", 5, { kind = lib.FRAMES_EVENT, name = "e" })
            assert.equal("2<group 2<odd 3<odd 2<all 3<all 2<event 3<event 1<1+1", h:turn())
        end)

        it("cross a link once, and never go to the publisher's own node", function()
            local own = h:open(4, place(1, 1, 1))
            delivery.drain(h.frames)
            h:interest(own, lib.FRAMES_ADD, "#")
            h:interest(d, lib.FRAMES_ADD, "#")
            h:interest(d, lib.FRAMES_ADD, "a/b")
            h:interest(d, lib.FRAMES_COMPLETE)
            h:interest(e, lib.FRAMES_COMPLETE)
            publish("a", 1)
            assert.equal("2<a", h:turn())
        end)

        it("go to nobody when one is too far behind", function()
            set_up({ window_count = 1 })
            h:locate(d, "anna", 1)
            uid("anna", "x", 1)
            publish("a", 2)
            assert.equal("2<x 1<2:" .. lib.FRAMES_BUSY .. "/0", h:turn())
        end)

        it("are refused when the sender relies on a place that was lost", function()
            lib.hub_close(h.hub[0], e)
            local f = h.frames[1]
            assert.equal(lib.FRAMES_COVER, f.type)
            delivery.drain(h.frames)
            publish("a", 1, { losses = 1 })
            publish("b", 2, { losses = 2 })
            assert.equal("2<b 1<1:" .. lib.FRAMES_MOVED .. "/0", h:turn())
        end)

        it("go to a link with too many filters whatever they are", function()
            set_up({ filters = 2 })
            for i = 1, 3 do
                h:interest(d, lib.FRAMES_ADD, "t/" .. i)
            end
            h:interest(d, lib.FRAMES_COMPLETE)
            h:interest(e, lib.FRAMES_COMPLETE)
            publish("a", 1)
            assert.equal("2<a", h:turn())
        end)
    end)

    it("tells each link which places it covers", function()
        h = delivery.hub()
        h:open(1, place(1))
        h:open(2, place(2))
        local seen = {}
        for _, f in ipairs(delivery.drain(h.frames)) do
            seen[#seen + 1] = f.to .. ":" .. (#f.payload - lib.FRAMES_COVER_HEAD)
                / lib.FRAMES_PLACE_SIZE
        end
        assert.same({ "1:1", "2:2", "1:1" }, seen)
    end)

    it("lets a process speak for itself only", function()
        h:locate(d, "anna", 5)
        assert.equal(lib.SD_EPROTO, uid("anna", "a", 1, { from = place(2) }))
        assert.equal("", h:turn())
    end)

    it("ends links that break the rules", function()
        h:locate(d, "anna", 5)
        uid("anna", "a", 1)
        assert.equal(lib.SD_EPROTO, h:ack(d, 2))
        assert.equal(lib.SD_EPROTO, h:ack(e, 1))
        assert.equal(0, h:ack(d, 1))
        assert.equal(lib.SD_EPROTO, h:ack(d, 1))
        assert.equal(lib.SD_EPROTO, h:interest(d, lib.FRAMES_ADD, "a/#/b"))
        for _, type in ipairs({ 0, 4, lib.FRAMES_COVER, lib.FRAMES_HEARTBEAT, 200 }) do
            assert.equal(lib.SD_EPROTO, h:take(s, type, delivery.slice("x")))
        end
    end)
end)
