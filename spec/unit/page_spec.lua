-- Numbers that are handed over as a whole.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/page.h")
c.use("ipc/port_counters.h")

--- Zeroed memory on a line of the cache.
local function memory(size)
    local raw = ffi.new("uint8_t[?]", size + 64)
    local at = tonumber(ffi.cast("uintptr_t", raw) % 64ULL)
    return raw + (64 - at) % 64, raw
end

describe("a page", function()
    it("is read as it was written last", function()
        local at, keep = memory(tonumber(lib.page_size(3)))
        local page = ffi.cast("struct page *", at)
        local v, out = ffi.new("uint64_t[3]"), ffi.new("uint64_t[3]", 7)
        lib.page_read(page, out, 3)
        assert.equal(0, tonumber(out[0] + out[1] + out[2]))
        for round = 1, 5 do
            for i = 0, 2 do
                v[i] = round * 10 + i
            end
            lib.page_write(page, v, 3)
            lib.page_read(page, out, 3)
            for i = 0, 2 do
                assert.equal(round * 10 + i, tonumber(out[i]))
            end
        end
        assert.is_not_nil(keep)
    end)
end)

describe("counters of ports", function()
    local PORTS, N = 2, tonumber(lib.PORT_COUNTERS)
    local page, keep, v, out

    before_each(function()
        page, keep = memory(tonumber(lib.port_counters_size(PORTS)))
        page = ffi.cast("struct port_counters *", page)
        v = ffi.new("uint64_t[?]", PORTS * N)
        out = ffi.new("uint64_t[?]", PORTS * N)
    end)

    local function read(port, i)
        lib.port_counters_read(page, out, PORTS)
        return tonumber(out[port * N + i])
    end

    it("go on where the last process has ended", function()
        for _ = 1, 2 do
            local w = ffi.new("struct port_counters_writer")
            lib.port_counters_begin(w, page, PORTS)
            v[N + lib.PORT_CONNS] = 3
            v[N + lib.PORT_PUSHES_ACCEPTED] = 9
            v[N + lib.PORT_PUSHES_DELIVERED] = 5
            v[N + lib.PORT_PUSHES_IN_FLIGHT] = 4
            v[N + lib.PORT_SLOW_CONNS] = 2
            lib.port_counters_publish(w, v)
            lib.port_counters_end(w)
        end
        assert.same({ 3, 18, 10, 4, 4, 4 }, {
            read(1, lib.PORT_CONNS), read(1, lib.PORT_PUSHES_ACCEPTED),
            read(1, lib.PORT_PUSHES_DELIVERED),
            read(1, lib.PORT_PUSHES_IN_FLIGHT),
            read(1, lib.PORT_PUSHES_CRASHED),
            read(1, lib.PORT_SLOW_CONNS) })
        assert.equal(0, read(0, lib.PORT_PUSHES_ACCEPTED))
        assert.is_not_nil(keep)
    end)
end)
