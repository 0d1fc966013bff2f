local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("net/addresses.h")

describe("addresses", function()
    local a

    local function take(ip, max)
        local bytes = ffi.new("unsigned char[16]")
        ffi.copy(bytes, ip, #ip)
        local one = lib.addresses_take(a, bytes, #ip == 16, max or 2)
        return one ~= nil and one or nil
    end

    before_each(function()
        a = ffi.new("struct addresses")
        lib.addresses_init(a)
    end)

    it("counts the conns of each address", function()
        local one, two = take("\127\0\0\1"), take("\127\0\0\1")
        assert.is_nil(take("\127\0\0\1"))
        local other = take("\127\0\0\2")
        assert.truthy(other)
        lib.addresses_give(a, one)
        one = take("\127\0\0\1")
        assert.truthy(one)
        for _, it in ipairs({ one, two, other }) do
            lib.addresses_give(a, it)
        end
        lib.addresses_fini(a)
    end)

    it("counts a /64 of IPv6 as one", function()
        local net = "\32\1\13\184\0\0\0\1"
        local one = take(net .. "aaaaaaaa", 1)
        assert.is_nil(take(net .. "bbbbbbbb", 1))
        local other = take("\32\1\13\184\0\0\0\2aaaaaaaa", 1)
        assert.truthy(other)
        lib.addresses_give(a, one)
        lib.addresses_give(a, other)
        lib.addresses_fini(a)
    end)

    it("knows IPv4 inside IPv6, and takes neither for the other", function()
        local mapped = ("\0"):rep(10) .. "\255\255\10\0\0\1"
        local one = take("\10\0\0\1", 1)
        assert.is_nil(take(mapped, 1))
        local six = take("\10\0\0\1" .. ("\0"):rep(12), 1)
        assert.truthy(six)
        lib.addresses_give(a, one)
        lib.addresses_give(a, six)
        lib.addresses_fini(a)
    end)

    it("holds many and lets all go", function()
        local all = {}
        for i = 0, 4095 do
            all[i] = take(string.char(10, 0, math.floor(i / 256), i % 256), 1)
            assert.truthy(all[i])
        end
        for i = 0, 4095 do
            lib.addresses_give(a, all[i])
        end
        lib.addresses_fini(a)
    end)
end)
