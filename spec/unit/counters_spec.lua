-- Counters of a slot: published whole, never going backwards.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/counters.h")

local N = tonumber(lib.COUNTERS)

local function page_of()
    local size = tonumber(lib.counters_size())
    local raw = ffi.new("uint8_t[?]", size + 64)
    local at = tonumber(ffi.cast("uintptr_t", raw) % 64ULL)
    return ffi.cast("struct counters *", raw + (64 - at) % 64), raw
end

describe("counters", function()
    local page, keep, writer, numbers

    before_each(function()
        page, keep = page_of()
        writer = ffi.new("struct counters_writer")
        numbers = ffi.new("uint64_t[?]", N)
        lib.counters_begin(writer, page)
        assert.is_not_nil(keep)
    end)

    local function read(i)
        local out = ffi.new("uint64_t[?]", N)
        lib.counters_read(page, out)
        return tonumber(out[i])
    end

    it("begin at zero", function()
        for i = 0, N - 1 do
            assert.equal(0, read(i))
        end
    end)

    it("show what was published last", function()
        for round = 1, 5 do
            numbers[lib.COUNT_REQUESTS] = round * 10
            lib.counters_publish(writer, numbers)
            numbers[lib.COUNT_REQUESTS] = 999 -- not handed over
            assert.equal(round * 10, read(lib.COUNT_REQUESTS))
        end
    end)

    it("go on where the last process ended", function()
        numbers[lib.COUNT_ACCEPTED] = 7
        lib.counters_publish(writer, numbers)
        local successor = ffi.new("struct counters_writer")
        lib.counters_begin(successor, page)
        assert.equal(7, read(lib.COUNT_ACCEPTED))
        numbers[lib.COUNT_ACCEPTED] = 3
        lib.counters_publish(successor, numbers)
        assert.equal(10, read(lib.COUNT_ACCEPTED))
    end)

    it("call crashed what a dead process had in flight", function()
        numbers[lib.COUNT_PUSHES_ACCEPTED] = 9
        numbers[lib.COUNT_PUSHES_DELIVERED] = 5
        numbers[lib.COUNT_PUSHES_IN_FLIGHT] = 4
        lib.counters_publish(writer, numbers)
        lib.counters_begin(ffi.new("struct counters_writer"), page)
        assert.same({ 9, 5, 4, 0 }, {
            read(lib.COUNT_PUSHES_ACCEPTED), read(lib.COUNT_PUSHES_DELIVERED),
            read(lib.COUNT_PUSHES_CRASHED), read(lib.COUNT_PUSHES_IN_FLIGHT) })
    end)
end)
