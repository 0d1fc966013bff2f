local delivery = require("spec.support.delivery")
local ffi = require("ffi")
local lib = delivery.lib
local place = delivery.place

local function settled(o)
    return table.concat(delivery.drain(o.settled), " ")
end

local function tick(o, now)
    lib.outbox_tick(o.box[0], now)
end

--- An outbox with links to `n` relays, all of which cover `places`.
local function linked(n, places, limits)
    local o, links = delivery.outbox(limits), {}
    for i = 1, n do
        links[i] = o:open(i, i, 0)
        o:cover(links[i], places or { place(2), place(3) }, 0)
    end
    return o, links
end

describe("cluster/outbox", function()
    it("sends, keeps, and settles each message once", function()
        local o, links = linked(1)
        assert.equal("ok", o:uid("anna", "a", 1))
        assert.equal("ok", o:uid("anna", "b", 1))
        assert.equal("a b", (o:sent()))
        assert.equal("", settled(o))
        assert.equal(2, o:figures().count)
        assert.equal(0, o:ack(links[1], 1, 2, 2))
        assert.equal("1:ok 2:ok", settled(o))
        assert.equal(0, o:figures().count)
        assert.equal(0, o:figures().lanes)
        assert.equal(lib.SD_EPROTO, o:ack(links[1], 1, 1, 3))
        assert.equal(lib.SD_EPROTO, o:ack(links[1], 3, 1, 3))
    end)

    it("says which message went before, and which is the oldest", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:uid("ben", "b", 1)
        o:uid("anna", "c", 1)
        local _, f = o:sent()
        assert.same({ 0, 0, 2 }, { f[1].prev, f[2].prev, f[3].prev })
        assert.same({ 0, 1, 2 }, { f[1].base, f[2].base, f[3].base })
        o:ack(links[1], 1, 1, 2)
        o:uid("anna", "d", 2)
        o:ack(links[1], 3, 2, 2)
        o:uid("anna", "e", 2)
        _, f = o:sent()
        assert.same({ 1, 2 }, { f[1].prev, f[1].base })
        assert.same({ 0, 3 }, { f[2].prev, f[2].base }) -- b is open still
    end)

    it("asks where an unknown uid is, and goes on in order", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:uid("anna", "b", 1)
        o:sent()
        o:nack(links[1], 1, lib.FRAMES_UNKNOWN, 2)
        assert.equal("ok", o:uid("anna", "c", 2))
        assert.same({}, o.asked) -- the answer to b is missing
        o:nack(links[1], 2, lib.FRAMES_UNKNOWN, 2)
        assert.same({ "anna" }, o.asked)
        assert.equal("", (o:sent()))
        o:resolved("anna", { place(2) }, 3)
        local bodies, f = o:sent()
        assert.equal("a b c", bodies)
        assert.same({ 0, 1, 1 }, { f[1].prev, f[2].prev, f[3].prev })
        assert.same({ 1, 0, 0 }, { f[1].spots, f[2].spots, f[3].spots })
        assert.equal(4998, f[1].life)
        o:ack(links[1], 3, 3, 4)
        assert.equal("1:ok 2:ok 3:ok", settled(o))
    end)

    it("reports all that waits for a uid which is offline", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:nack(links[1], 1, lib.FRAMES_UNKNOWN, 2)
        o:uid("anna", "b", 2)
        o:resolved("anna", {}, 3)
        assert.equal("1:offline 2:offline", settled(o))
        o:resolved("anna", { place(2) }, 4) -- nobody waits
        assert.equal("a", (o:sent()))
    end)

    it("asks again later when nobody could be asked, or floods", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:nack(links[1], 1, lib.FRAMES_UNKNOWN, 2)
        o:resolved("anna", {}, 3, lib.OUTBOX_UNAVAILABLE)
        assert.equal(1, #o.asked)
        tick(o, 300)
        assert.equal(2, #o.asked)
        o:sent()
        o:resolved("anna", {}, 301, lib.OUTBOX_FLOOD)
        local _, f = o:sent()
        assert.equal(lib.FRAMES_FLOOD, f[1].flags)
    end)

    it("asks nobody, where all would be asked instead of the newest", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:uid("anna", "q", 1, nil, "newest")
        o:sent()
        o:nack(links[1], 1, lib.FRAMES_UNKNOWN, 2)
        o:nack(links[1], 2, lib.FRAMES_UNKNOWN, 2)
        o:resolved("anna", {}, 3, lib.OUTBOX_FLOOD)
        assert.equal("a", (o:sent()))
        assert.equal("2:unavailable", settled(o))
        assert.equal("unavailable", o:uid("anna", "r", 3, nil, "newest"))
        assert.equal(0, o:ack(links[1], 3, 1, 4))
        assert.equal("1:ok", settled(o))
        assert.equal("ok", o:uid("anna", "s", 5, nil, "newest"))
    end)

    it("is not waited for with what went beside", function()
        local o, links = linked(1)
        local function owes()
            return lib.outbox_owes(o.box[0], delivery.slice("anna"))
        end
        assert.is_false(owes())
        o:uid("anna", "a", 1, nil, "beside")
        assert.is_false(owes())
        o:uid("anna", "b", 1)
        assert.is_true(owes())
        o:uid("anna", "c", 1, nil, "beside")
        assert.equal(0, o:ack(links[1], 1, 1, 2))
        assert.is_true(owes())
        assert.equal(0, o:ack(links[1], 2, 1, 2))
        assert.is_false(owes())
        assert.equal(1, o:figures().count)
    end)

    it("gives a uid up that is elsewhere time and again", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1, 30000)
        for n = 1, lib.OUTBOX_TRIES do
            assert.equal("", settled(o))
            o:nack(links[1], n, lib.FRAMES_NOT_HERE, n * 1000)
            tick(o, n * 1000 + 500)
            o:resolved("anna", { place(2) }, n * 1000 + 501)
        end
        assert.equal("1:offline", settled(o))
        assert.equal(lib.OUTBOX_TRIES, tonumber(o:figures().frames))
    end)

    it("does not give up because relays do not know a uid", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1, 30000)
        for n = 1, 2 * lib.OUTBOX_TRIES do
            o:nack(links[1], n, lib.FRAMES_UNKNOWN, n * 1000)
            tick(o, n * 1000 + 500)
            o:resolved("anna", { place(2) }, n * 1000 + 501)
        end
        assert.equal("", settled(o))
        o:ack(links[1], 2 * lib.OUTBOX_TRIES + 1, 1, 20000)
        assert.equal("1:ok", settled(o))
    end)

    it("sends again over another relay when a link breaks", function()
        local o, links = linked(2)
        o:uid("anna", "a", 1)
        o:uid("anna", "b", 1)
        local _, f = o:sent()
        local first = f[1].to
        lib.outbox_close(o.box[0], links[first], 2)
        local bodies
        bodies, f = o:sent()
        assert.equal("a b", bodies)
        assert.equal(3 - first, f[1].to)
        assert.equal(lib.FRAMES_AGAIN, f[1].flags)
        assert.same({ 1, 2 }, { f[1].counter, f[2].counter })
        assert.equal(1, f[1].term) -- copies may be under way still
        o:ack(links[3 - first], 1, 2, 3)
        assert.equal("1:ok 2:ok", settled(o))
    end)

    it("keeps a uid on its relay while anything is open", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        for i = 2, 20 do
            o:cover(o:open(i, i, 1), { place(2), place(3) }, 1)
        end
        local owner = tonumber(ffi.cast("intptr_t",
            lib.outbox_owner(o.box[0], delivery.slice("anna"))))
        assert.is_true(owner > 1)
        o:uid("anna", "b", 2)
        local _, f = o:sent()
        assert.equal(1, f[2].to)
        o:ack(links[1], 1, 2, 3)
        o:uid("anna", "c", 3)
        _, f = o:sent()
        assert.equal(owner, f[1].to)
    end)

    it("does not claim that what a broken link had was not delivered", function()
        local o, links = linked(2)
        o:uid("anna", "a", 1)
        local _, f = o:sent()
        local first = f[1].to
        lib.outbox_close(o.box[0], links[first], 2)
        o:uid("anna", "b", 2)
        local other = links[3 - first]
        o:nack(other, 1, lib.FRAMES_UNKNOWN, 3)
        o:nack(other, 2, lib.FRAMES_UNKNOWN, 3)
        o:resolved("anna", {}, 4)
        assert.equal("1:closed 2:offline", settled(o))
    end)

    it("reports what ends for good at once", function()
        local words = {
            [lib.FRAMES_BUSY] = "busy", [lib.FRAMES_SLOW] = "slow",
            [lib.FRAMES_REFUSED] = "refused", [lib.FRAMES_GONE] = "gone",
            [lib.FRAMES_TOO_LARGE] = "too_large", [lib.FRAMES_FORGOTTEN] = "closed",
            [lib.FRAMES_EXPIRED] = "timeout", [lib.FRAMES_FAILED] = "failed",
        }
        local o, links = linked(1)
        local n = 0
        for reason, word in pairs(words) do
            n = n + 1
            o:uid("anna", "a", 1)
            o:nack(links[1], n, reason, 2)
            assert.equal(n .. ":" .. word, settled(o))
        end
    end)

    it("takes it as delivered when somebody has taken it", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        o:nack(links[1], 1, lib.FRAMES_LOST, 2, lib.FRAMES_TOOK)
        assert.same({ "anna" }, o.asked)
        o:resolved("anna", {}, 3)
        assert.equal("1:ok", settled(o))
    end)

    it("says busy beyond the window, and keeps nothing of it", function()
        local o, links = linked(1, nil, { window_count = 2 })
        assert.equal("ok", o:uid("anna", "a", 1))
        assert.equal("ok", o:uid("ben", "b", 1))
        assert.equal("busy", o:uid("anna", "c", 1))
        assert.equal("busy", o:uid("carl", "d", 1))
        assert.equal(2, o:figures().count)
        assert.equal(2, o:figures().lanes)
        o:ack(links[1], 1, 1, 2)
        assert.equal("ok", o:uid("anna", "e", 2))
        assert.equal("a b e", (o:sent()))
    end)

    it("bounds bytes, but lets one message of any size through", function()
        local o = linked(1, nil, { window_bytes = 1000 })
        assert.equal("ok", o:uid("anna", ("x"):rep(5000), 1))
        assert.equal("busy", o:uid("ben", "b", 1))
    end)

    it("sends again within the window, as answers make room", function()
        local o, links = linked(2, nil, { window_count = 2 })
        o:uid("anna", "a", 1)
        o:uid("anna", "b", 1)
        local _, f = o:sent()
        local first = f[1].to
        local other = links[3 - first]
        for i = 1, 50 do -- fill the other's window
            if o:uid("u" .. i, "x", 1) == "ok" and o:figures().count == 4 then
                break
            end
        end
        o:sent()
        lib.outbox_close(o.box[0], links[first], 2)
        assert.equal("", (o:sent()))
        o:ack(other, 1, 1, 3)
        assert.equal("a", (o:sent()))
        o:ack(other, 2, 1, 3)
        assert.equal("b", (o:sent()))
    end)

    it("ends lives: unknown, once, and late answers do no harm", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1, 100)
        local next_at = tonumber(lib.outbox_next(o.box[0]))
        assert.is_true(next_at > 1 and next_at <= 101)
        tick(o, 100)
        assert.equal("", settled(o))
        tick(o, 101)
        assert.equal("1:timeout", settled(o))
        o:uid("anna", "b", 102)
        local _, f = o:sent()
        assert.equal(1, f[2].term) -- a must not arrive behind b
        assert.equal(0, f[2].prev)
        o:ack(links[1], 1, 2, 103)
        assert.equal("2:ok", settled(o))
        assert.equal(0, o:figures().count)
        assert.equal("timeout", o:uid("anna", "c", 104, 0))
    end)

    it("sends nothing again whose life is over, and what is behind it", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1, 100)
        o:uid("anna", "b", 1, 5000)
        assert.equal("a b", (o:sent()))
        o:nack(links[1], 1, lib.FRAMES_GAP, 150) -- stood still meanwhile
        o:nack(links[1], 2, lib.FRAMES_GAP, 150)
        assert.equal("", (o:sent()))
        tick(o, 150)
        assert.equal("1:timeout", settled(o))
        local bodies, f = o:sent()
        assert.equal("b", bodies)
        assert.equal(0, f[1].prev)
        assert.equal(4851, f[1].life)
        o:ack(links[1], 3, 1, 160)
        assert.equal("2:ok", settled(o))
    end)

    it("does not call a publish delivered that came too late to some", function()
        local o, links = linked(1)
        o:cover(links[1], { place(2), place(3) }, 1)
        o:topic("t", "a", 1)
        assert.equal("a", (o:sent()))
        o:nack(links[1], 1, lib.FRAMES_EXPIRED, 2, lib.FRAMES_TOOK + lib.FRAMES_MAYBE)
        assert.equal("1:timeout", settled(o))
    end)

    it("waits without relays until there is one, or life is over", function()
        local o = delivery.outbox()
        assert.equal("ok", o:uid("anna", "a", 1, 1000))
        assert.equal("ok", o:uid("ben", "b", 1, 100))
        tick(o, 200)
        assert.equal("2:timeout", settled(o))
        local link = o:open(1, 1, 300)
        tick(o, 301)
        assert.equal("", (o:sent())) -- it has not told what it covers
        o:cover(link, {}, 302)
        tick(o, 303)
        assert.equal("a", (o:sent()))
    end)

    it("goes to a place over a relay that covers it, or reports its end", function()
        local o = delivery.outbox()
        local links = { o:open(1, 1, 0), o:open(2, 2, 0) }
        o:cover(links[1], { place(2) }, 0)
        o:cover(links[2], { place(3) }, 0)
        o:to_place(place(2), "a", 1)
        o:to_place(place(3), "b", 1)
        local bodies, f = o:sent()
        assert.equal("a b", bodies)
        assert.same({ 1, 2 }, { f[1].to, f[2].to })
        assert.equal(lib.OUTBOX_LINKS, 64)
    end)

    it("waits for a place that lives, and reports one that does not", function()
        local o, links = linked(1)
        o:to_place(place(3), "a", 1, 20000)
        o:to_place(place(4), "b", 1, 20000)
        o:cover(links[1], { place(3) }, 2, lib.FRAMES_REMOVE, 2)
        o:nack(links[1], 1, lib.FRAMES_LOST, 2)
        for now = 3, 10000 do
            tick(o, now)
        end
        assert.equal("", settled(o))
        o.dead[3], o.dead[4] = true, true
        tick(o, 10500)
        assert.equal("1:closed 2:gone", settled(o))
        o:to_place(place(4), "c", 10501)
        for now = 10502, 10600 do
            tick(o, now)
        end
        assert.equal("", settled(o)) -- members may be late
        o:cover(links[1], { place(4) }, 10600)
        tick(o, 11000)
        assert.equal("a c", (o:sent()))
        o:ack(links[1], 2, 1, 11000)
        assert.equal("3:ok", settled(o))
    end)

    it("knows that a process has ended whose slot is filled anew", function()
        local o, links = linked(1, { place(3, 65535) })
        o:cover(links[1], { place(3, 65535) }, 1, lib.FRAMES_REMOVE, 2)
        o:cover(links[1], { place(3, 2) }, 2, lib.FRAMES_ADD, 2)
        o:to_place(place(3, 65535), "a", 3)
        tick(o, 10)
        assert.equal("1:gone", settled(o))
        o:to_place(place(3, 3), "b", 11) -- but not one that is yet to come
        tick(o, 20)
        assert.equal("", settled(o))
    end)

    it("does not take a predecessor's place for its successor's end", function()
        local o, links = linked(2, { place(2) })
        o:cover(links[1], { place(3, 5) }, 1)
        lib.outbox_close(o.box[0], links[1], 2)
        o:cover(links[2], { place(3, 4) }, 3) -- its link has not ended there
        o:topic("t", "a", 4, 20000)
        o:ack(links[2], 1, 1, 5)
        assert.equal("", settled(o))
        o:cover(links[2], { place(3, 5) }, 6)
        tick(o, 100)
        assert.equal("a a", (o:sent()))
    end)

    it("misses places for as long as it has no link itself", function()
        local o, links = linked(1)
        lib.outbox_close(o.box[0], links[1], 1)
        tick(o, 60000)
        links[1] = o:open(1, 1, 60001)
        o:cover(links[1], { place(2) }, 60001)
        o:topic("t", "a", 60002, 20000)
        o:ack(links[1], 1, 1, 60003)
        assert.equal("", settled(o))
        o:cover(links[1], { place(3) }, 60004)
        tick(o, 60100)
        assert.equal("a a", (o:sent()))
        o:ack(links[1], 2, 1, 60101)
        assert.equal("1:ok", settled(o))
    end)

    it("does not go on at once for ever when nothing gets through", function()
        local o, links = linked(1)
        o:uid("anna", "a", 1)
        local n = 0
        repeat
            n = n + 1
            o:nack(links[1], n, lib.FRAMES_STALE, 1)
        until (o:sent()) == "" or n > 100
        assert.is_true(n < 30)
        tick(o, 10)
        assert.equal("a", (o:sent()))
    end)

    it("wakes nobody while there is no relay", function()
        local o = delivery.outbox()
        o:uid("anna", "a", 1, 20000)
        tick(o, 100)
        assert.is_true(tonumber(lib.outbox_next(o.box[0])) > 10000)
        local link = o:open(1, 1, 200)
        o:cover(link, { place(2) }, 200)
        tick(o, 210)
        assert.equal("a", (o:sent()))
    end)

    it("publishes over one relay that covers all, else over several", function()
        local o = delivery.outbox()
        local links = { o:open(1, 1, 0), o:open(2, 2, 0), o:open(3, 3, 0) }
        o:cover(links[1], { place(2) }, 0)
        o:cover(links[2], { place(2), place(3) }, 0)
        o:cover(links[3], { place(3) }, 0)
        for i = 1, 20 do
            o:topic("t/" .. i, "a", 1)
        end
        local _, f = o:sent()
        assert.equal(20, #f)
        for i = 1, 20 do
            assert.equal(2, f[i].to)
        end
        o:cover(links[2], { place(3) }, 2, lib.FRAMES_REMOVE, 2)
        o:cover(links[2], { place(2) }, 2, lib.FRAMES_REMOVE, 3)
        o:topic("u", "b", 3)
        _, f = o:sent()
        assert.equal(2, #f)
        table.sort(f, function(x, y) return x.to < y.to end)
        assert.same({ 1, 3 }, { f[1].to, f[2].to })
        assert.equal(lib.FRAMES_AGAIN, f[1].flags) -- nobody takes both
        o:ack(links[1], 1, 1, 4)
        assert.equal("", settled(o))
        o:ack(links[3], 1, 1, 4)
        assert.equal("21:ok", settled(o))
    end)

    it("holds publishes for a place without links, and sends them again", function()
        local o, links = linked(2)
        lib.outbox_close(o.box[0], links[1], 1)
        o:cover(links[2], { place(3) }, 2, lib.FRAMES_REMOVE, 2)
        o:topic("t", "a", 3, 20000)
        o:ack(links[2], 1, 1, 4)
        assert.equal("", settled(o))
        o:topic("t", "b", 4, 20000) -- is not held up
        assert.equal("a b", (o:sent()))
        o:ack(links[2], 2, 1, 5)
        o:cover(links[2], { place(3) }, 6, lib.FRAMES_ADD, 2)
        tick(o, 100)
        local bodies, f = o:sent()
        assert.equal("a b", bodies)
        assert.equal(lib.FRAMES_AGAIN, f[1].flags)
        o:ack(links[2], 3, 2, 101)
        assert.equal("1:ok 2:ok", settled(o))
    end)

    it("holds them for who is back while another is given up", function()
        local o, links = linked(1)
        o:cover(links[1], { place(2), place(3) }, 2, lib.FRAMES_REMOVE, 3)
        o:topic("t", "a", 3, 20000)
        o:ack(links[1], 1, 1, 4)
        o:cover(links[1], { place(3) }, 5, lib.FRAMES_ADD, 3)
        o:cover(links[1], { place(2, 2) }, 6, lib.FRAMES_ADD, 3) -- its successor
        assert.equal("", settled(o))
        tick(o, 100)
        assert.equal("a a", (o:sent()))
        o:ack(links[1], 2, 1, 102)
        assert.equal("1:ok", settled(o))
    end)

    it("holds them no longer than it waits for the place", function()
        local o, links = linked(1)
        o:cover(links[1], { place(3) }, 2, lib.FRAMES_REMOVE, 2)
        o:topic("t", "a", 3, 20000)
        o:ack(links[1], 1, 1, 4)
        for now = 100, 5000, 100 do
            tick(o, now)
        end
        assert.equal("", settled(o))
        tick(o, 9000) -- it stood still, and cannot have heard who is back
        assert.equal("", settled(o))
        for now = 9100, 14000, 100 do
            tick(o, now)
        end
        assert.equal("1:ok", settled(o))
        assert.equal(1, tonumber(o:figures().missed))
        o:cover(links[1], { place(2) }, 14000, lib.FRAMES_REMOVE, 3)
        o:topic("t", "b", 14001, 20000)
        o:ack(links[1], 2, 1, 14002)
        o:cover(links[1], { place(2, 2) }, 14003, lib.FRAMES_ADD, 3) -- its successor
        tick(o, 14100)
        o:ack(links[1], 3, 1, 14101)
        assert.equal("2:ok", settled(o))
    end)

    it("accepts nothing that is larger than a body may be", function()
        local o = linked(1)
        local head = ffi.new("struct wire_head", { counter = 1, life_ms = 1 })
        local v = ffi.new("struct slice[1]", { { ffi.cast("char *", 0), lib.WIRE_BODY_MAX + 1 } })
        local to = ffi.new("struct outbox_to",
            { type = lib.FRAMES_UID, name = delivery.slice("anna") })
        local mail = ffi.new("struct outbox_mail", { head, v, 1, 1 })
        assert.equal(lib.SD_ETOOLARGE, lib.outbox_send(o.box[0], to, mail, 1))
    end)

    it("ends the link for frames that relays do not send", function()
        local o, links = linked(1)
        for type = 0, 30 do
            if type ~= lib.FRAMES_ACK and type ~= lib.FRAMES_NACK then
                assert.equal(lib.SD_EPROTO, lib.outbox_take(o.box[0], links[1], type,
                    delivery.slice("x"), 1))
            end
        end
    end)

    it("has at most 64 links", function()
        local o = linked(64)
        assert.is_true(o:open(65, 65, 1) == nil)
    end)
end)
