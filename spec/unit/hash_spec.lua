local ffi = require("ffi")
local bit = require("bit")
local c = require("spec.support.c")
local lib = c.use("base/hash.h")

local function hash(key, text)
    local bytes = ffi.new("struct slice", text, #text)
    return bit.tohex(lib.hash_bytes(key, bytes), 16)
end

describe("base/hash", function()
    -- The vectors published with SipHash-2-4: key 00..0f, input 00, 01, ...
    it("is SipHash-2-4", function()
        local key = ffi.new("struct hash_key", {
            0x0706050403020100ULL,
            0x0f0e0d0c0b0a0908ULL,
        })
        local text = ""
        for i = 0, 14 do
            text = text .. string.char(i)
        end
        assert.equal("726fdb47dd0e0e31", hash(key, ""))
        assert.equal("a129ca6149be45e5", hash(key, text))
    end)

    it("has another key each time", function()
        local a, b = lib.hash_key_random(), lib.hash_key_random()
        assert.not_equal(hash(a, "x"), hash(b, "x"))
        assert.equal(hash(a, "x"), hash(a, "x"))
    end)
end)
