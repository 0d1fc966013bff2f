local delivery = require("spec.support.delivery")
local ffi = require("ffi")
local lib = delivery.lib

jit.off(true, true) -- C calls back into Lua here

describe("cluster/inbox", function()
    local i, link, other

    before_each(function()
        i = delivery.inbox()
        link, other = i:open(1), i:open(2)
        i.here.anna = true
    end)

    local function take(t, now, on)
        t.name = t.name or "anna"
        t.body = t.body or "m" .. t.counter
        assert.equal(0, i:data(on or link, t, now))
    end

    local function assert_turn(got, answers)
        local g, a = i:turn()
        assert.same({ got, answers }, { g, a })
    end

    it("hands over in order and answers with ranges, once a turn", function()
        for n = 1, 5 do
            take({ counter = n, prev = n > 1 and 1 or 0, base = n - 1 })
        end
        assert_turn("m1 m2 m3 m4 m5", "1<1+5")
        assert_turn("", "")
    end)

    it("numbers the frames of each link by itself", function()
        take({ counter = 1 })
        take({ counter = 2 }, 0, other)
        take({ counter = 3 })
        assert_turn("m1 m2 m3", "1<1+2 2<1+1")
    end)

    it("refuses what does not follow, and takes it behind the missing one", function()
        take({ counter = 2, prev = 1, base = 1 })
        assert_turn("", "1<1:" .. lib.FRAMES_GAP .. "/0")
        take({ counter = 1 })
        take({ counter = 2, prev = 1, base = 1 })
        assert_turn("m1 m2", "1<2+2")
    end)

    it("takes what follows a settled one that it never saw", function()
        take({ counter = 9, prev = 2, base = 0 })
        assert_turn("m9", "1<1+1")
    end)

    it("says when no conn has the uid, and remembers nothing", function()
        take({ counter = 1, name = "ben" })
        take({ counter = 2, prev = 1, base = 1, name = "ben" })
        i.here.ben = true
        take({ counter = 2, prev = 1, base = 1, name = "ben" })
        take({ counter = 1, name = "ben" })
        assert_turn("m1", "1<4+1 1<1:1/0 2:1/0 3:" .. lib.FRAMES_GAP .. "/0")
    end)

    it("drops doubles and answers as the first time", function()
        take({ counter = 1 })
        i.outcome = lib.SD_ESLOW
        take({ counter = 2, prev = 1, base = 1 })
        i:turn()
        take({ counter = 1, flags = lib.FRAMES_AGAIN }, 0, other)
        take({ counter = 2, prev = 1, base = 1, flags = lib.FRAMES_AGAIN }, 0, other)
        assert_turn("", "2<1+1 2<2:" .. lib.FRAMES_SLOW .. "/0")
        assert.equal(2, tonumber(i:figures().doubles))
    end)

    it("lets later ones follow one that was refused for good", function()
        i.outcome = lib.SD_EBUSY
        take({ counter = 1 })
        i.outcome = 0
        take({ counter = 2, prev = 1, base = 1 })
        assert_turn("m1 m2", "1<2+1 1<1:" .. lib.FRAMES_BUSY .. "/0")
    end)

    it("drops copies of an older term", function()
        take({ counter = 5, term = 2 })
        take({ counter = 6, term = 1, base = 1 }, 0, other)
        take({ counter = 6, term = 2, base = 1 })
        assert_turn("m5 m6", "1<1+2 2<1:" .. lib.FRAMES_STALE .. "/0")
    end)

    it("drops copies of what its sender has settled", function()
        take({ counter = 5 })
        take({ counter = 4 }, 0, other)
        assert_turn("m5", "1<1+1 2<1:" .. lib.FRAMES_STALE .. "/0")
    end)

    it("answers later, to everybody who has sent it meanwhile", function()
        i.outcome = lib.INBOX_LATER
        take({ counter = 1 })
        take({ counter = 1, flags = lib.FRAMES_AGAIN }, 0, other)
        i.outcome = 0
        take({ counter = 2, prev = 1, base = 1 })
        assert_turn("m1 m2", "1<2+1")
        assert.equal(1, i:figures().pending)
        lib.inbox_settle(i.box[0], i.tokens[1], 0)
        assert_turn("", "1<1+1 2<1+1")
        assert.equal(0, i:figures().pending)
    end)

    it("does not answer to a link that has ended meanwhile", function()
        i.outcome = lib.INBOX_LATER
        take({ counter = 1 })
        lib.inbox_close(i.box[0], link)
        link = i:open(3) -- takes the same index
        lib.inbox_settle(i.box[0], i.tokens[1], 0)
        assert_turn("m1", "")
    end)

    it("forgets what is settled, and all after 30 seconds", function()
        for n = 1, 100 do
            take({ counter = n, base = 0 }, n)
        end
        assert.is_true(i:figures().seen < 10)
        for n = 101, 200 do
            take({ counter = n, base = n - 101 }, n)
        end
        assert.is_true(i:figures().seen >= 100)
        lib.inbox_tick(i.box[0], 200 + lib.INBOX_SEEN_MS)
        assert.equal(0, i:figures().seen)
        assert.equal(1, i:figures().sources)
        lib.inbox_tick(i.box[0], 200 + lib.INBOX_SOURCE_MS)
        assert.equal(0, i:figures().sources)
    end)

    it("knows copies that come late, from a relay that stood still", function()
        take({ counter = 1, term = 1, flags = lib.FRAMES_AGAIN })
        for now = 1000, 600000, 1000 do
            lib.inbox_tick(i.box[0], now)
        end
        take({ counter = 1 }, 600000, other)
        assert_turn("m1", "1<1+1 2<1:" .. lib.FRAMES_STALE .. "/0")
    end)

    it("ends a link that waits for more answers than any relay may", function()
        i.outcome = lib.INBOX_LATER
        take({ counter = 1 })
        for _ = 2, lib.INBOX_OWED do
            assert.equal(0, i:data(link, { counter = 1, name = "anna",
                flags = lib.FRAMES_AGAIN }))
        end
        assert.equal(lib.SD_EPROTO, i:data(link, { counter = 1, name = "anna",
            flags = lib.FRAMES_AGAIN }))
        lib.inbox_settle(i.box[0], i.tokens[1], 0)
        assert.equal(0, i:data(link, { counter = 2, name = "anna" }))
    end)

    it("cannot tell doubles of what it forgot too early, and says so", function()
        i = delivery.inbox({ seen = 4 })
        link = i:open(1)
        i.here.anna = true
        for n = 1, 6 do
            take({ counter = n, base = n - 1 })
        end
        i:turn()
        assert.equal(2, tonumber(i:figures().evicted))
        take({ counter = 1, flags = lib.FRAMES_AGAIN })
        take({ counter = 6, base = 5, flags = lib.FRAMES_AGAIN })
        assert_turn("", "1<8+1 1<7:" .. lib.FRAMES_FORGOTTEN .. "/0")
    end)

    it("has no room for more processes than it was told", function()
        i = delivery.inbox({ sources = 2 })
        link = i:open(1)
        i.here.anna = true
        for boot = 1, 3 do
            take({ counter = 1, from = delivery.place(boot), body = "m" .. boot })
        end
        assert_turn("m1 m2", "1<1+2 1<3:" .. lib.FRAMES_BUSY .. "/0")
        lib.inbox_tick(i.box[0], lib.INBOX_SEEN_MS)
        take({ counter = 1, from = delivery.place(4), body = "m4" }, lib.INBOX_SOURCE_MS)
        assert_turn("m4", "1<4+1")
    end)

    it("says gone when nobody of a place takes a message", function()
        i.outcome = lib.SD_EOFFLINE
        take({ counter = 1 })
        take({ counter = 2, type = lib.FRAMES_PLACE })
        local _, answers = i:turn()
        assert.equal(("1<1:%d/0 2:%d/0"):format(lib.FRAMES_NOT_HERE, lib.FRAMES_GONE),
            answers)
    end)

    it("takes publishes without order, each once", function()
        local function publish(n, flags)
            take({ counter = n, type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC,
                name = "t", base = n - 1, flags = flags })
        end
        publish(2)
        publish(1, lib.FRAMES_AGAIN)
        publish(2, lib.FRAMES_AGAIN)
        assert_turn("m2 m1", "1<1+3")
    end)

    it("tells what a conn has got that goes to another process", function()
        i.here.ben = true
        take({ counter = 3, term = 2 })
        take({ counter = 4, term = 2, base = 1 })
        take({ counter = 5, term = 2, base = 2, name = "ben" })
        take({ counter = 1, from = delivery.place(7) })
        local notes = {}
        local show = ffi.cast("void (*)(void *, const struct inbox_note *)", function(_, n)
            notes[#notes + 1] = ffi.new("struct inbox_note", n[0])
        end)
        lib.inbox_show(i.box[0], delivery.slice("anna"), show, nil)
        lib.inbox_show(i.box[0], delivery.slice("ben"), show, nil)
        show:free()
        local texts = {}
        for k, n in ipairs(notes) do
            texts[k] = ("%d:%d/%d"):format(tonumber(n.from.boot), tonumber(n.last), n.term)
        end
        table.sort(texts)
        assert.same({ "1:4/2", "1:5/2", "7:0/0", "7:1/0" }, texts)
        local next = delivery.inbox()
        link = next:open(1)
        next.here.anna = true
        lib.inbox_note(next.box[0], notes[1], 0)
        assert.equal(0, next:data(link, { counter = 3, term = 1, name = "anna" }))
        local _, answers = next:turn()
        assert.equal("1<1:" .. lib.FRAMES_STALE .. "/0", answers)
    end)

    it("takes from a life what its message waited on the link", function()
        take({ counter = 1, life = 1000, waited = 0 })
        assert.equal(1000, i.life)
        take({ counter = 2, life = 1000, waited = 999 })
        assert.equal(1, i.life)
        take({ counter = 3, life = 1000, waited = 1000 })
        take({ counter = 4, life = 1000, waited = 4000000000 })
        assert_turn("m1 m2", ("1<1+2 1<3:%d/0 4:%d/0"):format(lib.FRAMES_EXPIRED,
            lib.FRAMES_EXPIRED))
    end)

    it("remembers what it took, however late it comes again", function()
        take({ counter = 1, life = 10 })
        take({ counter = 1, life = 10, waited = 20, flags = lib.FRAMES_AGAIN })
        assert_turn("m1", "1<1+2")
    end)

    it("ends the link for a frame that is none", function()
        for _, payload in ipairs({ "", "x", ("\0"):rep(13), ("\255"):rep(200) }) do
            assert.equal(lib.SD_EPROTO, lib.inbox_take(i.box[0], link, lib.FRAMES_UID,
                delivery.slice(payload), 0, 0))
        end
        assert.equal(lib.SD_EPROTO, lib.inbox_take(i.box[0], link, lib.FRAMES_ACK,
            delivery.ack(1), 0, 0))
        assert.equal(0, tonumber(i:figures().taken))
    end)
end)
