-- Beats of a link: two clocks that know nothing of each other.
local ffi = require("ffi")
local bytes = require("spec.support.bytes")
local c = require("spec.support.c")

local lib = c.use("cluster/beats.h")
c.use("base/err.h")

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

    for name, starts in pairs({
        ["near"] = { 0ULL, 500ULL },
        ["far apart"] = { 12345ULL, 2 ^ 50 + 0ULL },
        ["that come round"] = { 2 ^ 32 - 1500ULL, 2 ^ 33 - 70000ULL },
    }) do
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
    end)
end)
