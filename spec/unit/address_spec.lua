local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("net/address.h")

describe("address_name", function()
    local function name(ip, port)
        local bytes = ffi.new("unsigned char[16]")
        local out = ffi.new("char[?]", lib.ADDRESS_NAME)
        ffi.copy(bytes, ip, #ip)
        lib.address_name(out, port or 0, bytes, #ip == 16)
        return ffi.string(out, lib.ADDRESS_NAME)
    end

    it("is that of the address and the port", function()
        assert.equal(name("\127\0\0\1"), name("\127\0\0\1"))
        assert.not_equal(name("\127\0\0\1"), name("\127\0\0\2"))
        assert.not_equal(name("\127\0\0\1", 1), name("\127\0\0\1", 2))
        assert.not_equal(name("\127\0\0\1", 1), name("\127\0\0\1", 257))
    end)

    it("is one for a /64 of IPv6", function()
        local net = "\32\1\13\184\0\0\0\1"
        assert.equal(name(net .. "aaaaaaaa"), name(net .. "bbbbbbbb"))
        assert.not_equal(name(net .. "aaaaaaaa"),
            name("\32\1\13\184\0\0\0\2aaaaaaaa"))
    end)

    it("knows IPv4 inside IPv6, and takes neither for the other", function()
        local mapped = ("\0"):rep(10) .. "\255\255\10\0\0\1"
        assert.equal(name("\10\0\0\1"), name(mapped))
        assert.not_equal(name("\10\0\0\1"),
            name("\10\0\0\1" .. ("\0"):rep(12)))
    end)
end)
