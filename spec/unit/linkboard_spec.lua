-- The links of a process, as the agent reads them.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/linkboard.h")

describe("a board of links", function()
    local b, keep, list, out

    before_each(function()
        keep = ffi.new("uint8_t[?]", tonumber(lib.linkboard_size()) + 64)
        local at = tonumber(ffi.cast("uintptr_t", keep) % 64ULL)
        b = ffi.cast("struct linkboard *", keep + (64 - at) % 64)
        list = ffi.new("struct linkboard_list")
        out = ffi.new("struct linkboard_list")
    end)

    it("is empty before its process has written", function()
        assert.is_false(lib.linkboard_read(b, 1, out))
    end)

    it("is read as it was written last", function()
        list.n = 1
        list.link[0].boot, list.link[0].round_trip = 7, 300
        lib.linkboard_write(b, 3, list)
        assert.is_true(lib.linkboard_read(b, 3, out))
        assert.equal(1, tonumber(out.n))
        assert.equal(300, out.link[0].round_trip)
    end)

    it("is not read of another epoch, nor beyond its end", function()
        lib.linkboard_write(b, 3, list)
        assert.is_false(lib.linkboard_read(b, 4, out))
        list.n = 1000
        lib.linkboard_write(b, 3, list)
        assert.is_false(lib.linkboard_read(b, 3, out))
    end)
end)
