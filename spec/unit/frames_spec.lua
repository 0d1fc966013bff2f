local bytes = require("spec.support.bytes")
local delivery = require("spec.support.delivery")
local ffi = require("ffi")
local lib = delivery.lib

local function bytes_of(payload)
    return ffi.string(payload.p, payload.len)
end

local samples = {
    uid = { type = lib.FRAMES_UID, name = "anna", body = "hello", counter = 77, prev = 3,
        base = 70, term = 9, flags = lib.FRAMES_AGAIN },
    places = { type = lib.FRAMES_UID, name = ("u"):rep(128), body = "", counter = 1,
        flags = lib.FRAMES_SOLE,
        spots = { { delivery.place(2 ^ 40, 65535, 255), 2 ^ 41 }, delivery.place(3) } },
    place = { type = lib.FRAMES_PLACE, place = delivery.place(5, 6, 7), body = "x",
        counter = 2 },
    topic = { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC, name = "a/b", losses = 12,
        counter = 3, body = "y" },
    all = { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_ALL, name = "", counter = 4 },
}

describe("cluster/frames", function()
    for what, t in pairs(samples) do
        it("reads what it has written: " .. what, function()
            local payload = bytes_of(delivery.data(t))
            local f = delivery.read(t.type, payload)
            assert.equal(0, f.rc)
            assert.equal(t.body or "x", f.body)
            assert.same({ t.counter, t.prev or 0, t.base or 0, t.term or 0, t.flags or 0 },
                { f.counter, f.prev, f.base, f.term, f.flags })
            assert.equal(t.name or "", ffi.string(f.data.name.p, f.data.name.len))
            assert.equal(t.spots and #t.spots or 0, f.spots)
            local out = ffi.new("char[?]", lib.FRAMES_HEAD_MAX)
            local n = lib.frames_write_head(out, f.data)
            assert.equal(payload, ffi.string(out, n)
                .. ffi.string(f.data.mail.p, f.data.mail.len))
        end)

        it("reads nothing that is cut or has more: " .. what, function()
            local payload = bytes_of(delivery.data(t))
            for len = 0, #payload - 1 do
                assert.equal(lib.SD_EPROTO, delivery.read(t.type, payload:sub(1, len)).rc)
            end
            assert.equal(lib.SD_EPROTO, delivery.read(t.type, payload .. "x").rc)
        end)
    end

    it("finds a uid before the rest is read", function()
        local function peek(text)
            local p = bytes.slice(text)
            local uid = lib.frames_peek_uid(p)
            return ffi.string(uid.p, uid.len)
        end
        for _, t in ipairs({ samples.uid, samples.places }) do
            local payload = bytes_of(delivery.data(t))
            local _, at = payload:find(t.name, 1, true)
            for len = 0, #payload do
                assert.equal(len < at and "" or t.name, peek(payload:sub(1, len)))
            end
        end
    end)

    it("reads places of a uid", function()
        local f = delivery.read(lib.FRAMES_UID, bytes_of(delivery.data(samples.places)))
        local rest = ffi.new("struct slice[1]", f.data.spots)
        local s = ffi.new("struct frames_spot[1]")
        assert.is_true(lib.frames_next_spot(s, rest))
        assert.same({ 2 ^ 40, 65535, 255, 2 ^ 41 }, { tonumber(s[0].place.boot),
            s[0].place.epoch, s[0].place.slot, tonumber(s[0].bind) })
        assert.is_true(lib.frames_next_spot(s, rest))
        assert.is_false(lib.frames_next_spot(s, rest))
    end)

    it("refuses fields that cannot be", function()
        local bad = {
            { type = lib.FRAMES_UID, name = "a", flags = 16 },
            { type = lib.FRAMES_UID, name = "a", counter = 1, prev = 2 },
            { type = lib.FRAMES_UID, name = "a", counter = 1, base = 2 },
            { type = lib.FRAMES_PUBLISH, kind = 0, name = "a" },
            { type = lib.FRAMES_PUBLISH, kind = 5, name = "a" },
            { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_ALL, name = "a" },
            { type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC, name = "" },
        }
        for i, t in ipairs(bad) do
            local f = delivery.read(t.type, bytes_of(delivery.data(t)))
            assert.equal(lib.SD_EPROTO, f.rc, "case " .. i)
        end
    end)

    it("reads lists of answers to their end", function()
        local ack = bytes_of(delivery.ack(1, 3)) .. bytes_of(delivery.ack(7, 1))
        assert.equal("1+3 7+1", delivery.read(lib.FRAMES_ACK, ack).text)
        local nack = bytes_of(delivery.nack(9, lib.FRAMES_BUSY, 5))
        assert.equal("9:" .. lib.FRAMES_BUSY .. "/5",
            delivery.read(lib.FRAMES_NACK, nack).text)
    end)

    it("refuses answers that cannot be", function()
        local r, n = ffi.new("struct frames_range[1]"), ffi.new("struct frames_nack[1]")
        local function next_ack(payload)
            return lib.frames_next_ack(r, ffi.new("struct slice[1]", payload))
        end
        local function next_nack(payload)
            return lib.frames_next_nack(n, ffi.new("struct slice[1]", payload))
        end
        assert.equal(0, next_ack(delivery.slice("")))
        assert.equal(lib.SD_EPROTO, next_ack(delivery.slice("x")))
        assert.equal(lib.SD_EPROTO, next_ack(delivery.ack(0, 1)))
        assert.equal(lib.SD_EPROTO, next_ack(delivery.slice(("\255"):rep(12))))
        for _, reason in ipairs({ 0, lib.FRAMES_RETRY_END, 31, lib.FRAMES_REASON_END, 255 }) do
            assert.equal(lib.SD_EPROTO, next_nack(delivery.nack(1, reason)))
        end
        assert.equal(lib.SD_EPROTO, next_nack(delivery.nack(1, lib.FRAMES_BUSY, 8)))
        assert.equal(lib.SD_EPROTO, next_nack(delivery.nack(0, lib.FRAMES_BUSY)))
    end)

    it("gives each reason its word and back", function()
        local words = {}
        for reason = lib.FRAMES_FORGOTTEN, lib.FRAMES_REASON_END - 1 do
            local err = lib.frames_error(reason)
            words[#words + 1] = ffi.string(lib.err_word(err))
            if reason ~= lib.FRAMES_FAILED then
                assert.equal(reason, tonumber(lib.frames_reason_of(err)))
            end
        end
        assert.same({ "closed", "timeout", "failed", "refused", "too_large", "gone", "slow",
            "busy" }, words)
    end)
end)
