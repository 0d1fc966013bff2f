local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("proc/backoff.h")

--- Crash every `gap` ms after the wait; the waits, until the breaker opens.
local function waits(b, gap, n)
    local now, list = 1000, {}
    for i = 1, n do
        local wait = tonumber(lib.backoff_on_crash(b, now, 0))
        list[i] = wait
        now = now + wait + gap
    end
    return list, now
end

describe("backoff", function()
    local b

    before_each(function()
        b = ffi.new("struct backoff")
    end)

    it("starts at once, then waits twice as long each time", function()
        assert.same({ 0, 100, 200, 400, 800 }, (waits(b, 10, 5)))
        assert.is_false(b.open)
    end)

    it("opens the breaker at the sixth crash within a minute", function()
        local list = waits(b, 10, 6)
        assert.equal(60000, list[6])
        assert.is_true(b.open)
    end)

    it("keeps the breaker open while a try a minute fails", function()
        local list = waits(b, 10, 9)
        assert.same({ 60000, 60000, 60000, 60000 }, { unpack(list, 6) })
        assert.is_true(b.open)
    end)

    it("waits at most thirty seconds while crashes are rare", function()
        local list = waits(b, 20000, 14)
        assert.is_false(b.open)
        assert.equal(25600, list[10])
        assert.same({ 30000, 30000, 30000, 30000 }, { unpack(list, 11) })
    end)

    it("forgets all of it after a minute of health", function()
        local _, now = waits(b, 10, 7)
        lib.backoff_on_ready(b, now)
        assert.equal(0, tonumber(lib.backoff_on_crash(b, now + 60000, 0)))
        assert.is_false(b.open)
    end)

    it("forgets nothing before that", function()
        local _, now = waits(b, 10, 7)
        lib.backoff_on_ready(b, now)
        assert.equal(60000, tonumber(lib.backoff_on_crash(b, now + 59999, 0)))
    end)

    it("spreads waits by up to a fifth", function()
        lib.backoff_on_crash(b, 1000, 7)
        assert.equal(107, tonumber(lib.backoff_on_crash(b, 1001, 7)))
        assert.equal(200 + 4294967295 % 40,
            tonumber(lib.backoff_on_crash(b, 1002, 4294967295)))
    end)
end)
