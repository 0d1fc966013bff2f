-- Beats of a link: two clocks that know nothing of each other.
local ffi = require("ffi")
local bytes = require("spec.support.bytes")
local c = require("spec.support.c")

local lib = c.use("cluster/beats.h")
c.use("base/err.h")

-- Where those of two sides stand at time 0.
local CLOCKS = {
    ["near"] = { 0ULL, 500ULL },
    ["far apart"] = { 12345ULL, 2 ^ 50 + 0ULL },
    ["that come round"] = { 2 ^ 32 - 1500ULL, 2 ^ 33 - 70000ULL },
}

describe("beats", function()
    --- A side whose clock stood at `start` at time 0.
    local function side(start)
        return { b = ffi.new("struct beats"), start = start }
    end

    local function beat(from, now)
        local out = ffi.new("char[?]", lib.BEATS_SIZE)
        lib.beats_write(from.b, out, from.start + now)
        return ffi.string(out, lib.BEATS_SIZE)
    end

    local function hear(to, text, now)
        local payload = bytes.slice(text)
        return lib.beats_take(to.b, payload, to.start + now)
    end

    for name, starts in pairs(CLOCKS) do
        it("measure the way between clocks " .. name, function()
            local a, b = side(starts[1]), side(starts[2])
            assert.equal(0, hear(b, beat(a, 0), 300))
            assert.equal(0, b.b.round_trip) -- nothing was echoed yet
            -- Held for a second, which does not count.
            assert.equal(0, hear(a, beat(b, 1000300), 1000700))
            assert.is_true(math.abs(a.b.round_trip - 700) <= 2, a.b.round_trip)
            assert.equal(0, hear(b, beat(a, 1500000), 1500250))
            assert.is_true(math.abs(b.b.round_trip - 650) <= 2, b.b.round_trip)
        end)
    end

    local function stamp(from, now)
        local out = ffi.new("char[?]", lib.BEATS_STAMP_SIZE)
        lib.beats_write_stamp(out, from.start + now)
        return ffi.string(out, lib.BEATS_STAMP_SIZE)
    end

    local function read(to, text, now)
        assert.equal(0, lib.beats_take_stamp(to.b, bytes.slice(text), to.start + now))
        return lib.beats_waited(to.b, to.start + now)
    end

    local function assert_near(us, n)
        assert.is_true(math.abs(us - n) <= 4, n .. " is not " .. us)
    end

    for name, starts in pairs(CLOCKS) do
        it("tell how long something waited between clocks " .. name, function()
            local a, b = side(starts[1]), side(starts[2])
            assert.equal(0, lib.beats_waited(b.b, b.start)) -- nobody has said
            assert.equal(0, read(b, stamp(a, 1000), 1300)) -- the quickest way yet
            assert_near(1700, read(b, stamp(a, 2000), 4000))
            assert_near(0, read(b, stamp(a, 5000), 5200)) -- a quicker one
            assert_near(1800, read(b, stamp(a, 6000), 8000))
            -- What comes later behind the same stamp has waited longer.
            assert_near(61800, lib.beats_waited(b.b, b.start + 68000))
            hear(b, beat(a, 70000), 70200) -- is no stamp
            assert_near(163800, lib.beats_waited(b.b, b.start + 170000))
        end)
    end

    it("know no wait longer than the way there and back", function()
        local a, b = side(0ULL), side(77777ULL)
        hear(a, beat(b, 0), 200)
        hear(b, beat(a, 300), 500)
        assert_near(0, lib.beats_waited(b.b, b.start + 500))
        -- a's clock stood still for two seconds: all it stamps seems old ...
        a.start = a.start - 2000000
        assert_near(2000000, read(b, stamp(a, 2000600), 2000800))
        -- ... until a beat has gone there and come back that was made since.
        hear(b, beat(a, 2000700), 2000900)
        assert_near(2000000, read(b, stamp(a, 2000950), 2001150))
        hear(a, beat(b, 2001000), 2001200)
        hear(b, beat(a, 2001300), 2001500)
        assert.is_true(read(b, stamp(a, 2002000), 2002200) <= 400)
        -- b's did: what seems to have been quick was.
        b.start = b.start - 2000000
        assert.equal(0, read(b, stamp(a, 4002600), 4002800))
        assert_near(1000000, read(b, stamp(a, 4003000), 5003200))
    end)

    it("follow clocks that drift", function()
        local a, b = side(0ULL), side(0ULL)
        for i = 1, 600 do -- a's loses a millisecond a second, for ten minutes
            a.start = a.start - 1000
            hear(a, beat(b, i * 1e6), i * 1e6 + 100)
            hear(b, beat(a, i * 1e6 + 200), i * 1e6 + 300)
            assert.is_true(read(b, stamp(a, i * 1e6 + 1000), i * 1e6 + 1100) <= 200)
        end
        local waited = read(b, stamp(a, 601e6), 601e6 + 5100)
        assert.is_true(waited >= 5000 and waited <= 5200, waited)
    end)

    it("are never faster than a microsecond", function()
        local a, b = side(10ULL), side(20ULL)
        hear(b, beat(a, 0), 0)
        hear(a, beat(b, 0), 0)
        assert.equal(1, a.b.round_trip)
    end)

    it("say nothing of a way that no packet takes", function()
        local a, b = side(0ULL), side(0ULL)
        hear(b, beat(a, 0), 0)
        hear(a, beat(b, 0), lib.BEATS_WAY_MAX + 2)
        assert.equal(0, a.b.round_trip)
    end)

    it("are of one length", function()
        local a, b = side(0ULL), side(0ULL)
        local text = beat(a, 5)
        for _, other in ipairs({ "", text:sub(1, -2), text .. "\0" }) do
            assert.equal(lib.SD_EPROTO, hear(b, other, 9))
        end
        assert.equal(0, b.b.made)
        for _, other in ipairs({ "", "123", "12345" }) do
            assert.equal(lib.SD_EPROTO, lib.beats_take_stamp(b.b, bytes.slice(other), 9))
        end
        assert.equal(0, lib.beats_waited(b.b, 1000))
    end)
end)
