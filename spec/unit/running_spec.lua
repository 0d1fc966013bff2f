-- What a worker is at, as everybody reads it.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/running.h")

describe("what a worker is at", function()
    local r, keep, info, out

    before_each(function()
        keep = ffi.new("uint8_t[?]", tonumber(lib.running_size()) + 64)
        local at = tonumber(ffi.cast("uintptr_t", keep) % 64ULL)
        r = ffi.cast("struct running *", keep + (64 - at) % 64)
        info = ffi.new("struct running_info")
        out = ffi.new("struct running_info")
    end)

    local function tell(uid, route)
        info.told = 1234
        info.kind = lib.RUNNING_PACKET
        info.port = 3
        ffi.copy(info.uid, uid)
        ffi.copy(info.route, route)
        lib.running_tell(r, 7, info)
    end

    local function text(port)
        local s = ffi.new("char[400]")
        lib.running_text(s, 400, out, port)
        return ffi.string(s)
    end

    it("is unknown until it was told", function()
        assert.is_false(lib.running_read(r, 7, 1, out))
    end)

    it("is read as it was told", function()
        tell("ann", "chat/say")
        assert.is_true(lib.running_read(r, 7, 1234, out))
        assert.equal(3, out.port)
        assert.equal("packet chat/say of port game, uid ann", text("game"))
    end)

    it("is said without what is not known", function()
        tell("", "")
        assert.is_true(lib.running_read(r, 7, 0, out))
        assert.equal("packet", text(nil))
    end)

    it("is not read when it was told too long ago", function()
        tell("ann", "chat/say")
        assert.is_false(lib.running_read(r, 7, 1235, out))
    end)

    it("is not read of another epoch", function()
        tell("ann", "chat/say")
        assert.is_false(lib.running_read(r, 8, 0, out))
    end)
end)
