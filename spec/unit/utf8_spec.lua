local ffi = require("ffi")
local c = require("spec.support.c")
local bytes = require("spec.support.bytes")

local lib = c.use("codec/utf8.h")

local function is_valid(s)
    return lib.utf8_is_valid({ bytes.exact(s), #s })
end

local function is_valid_in(pieces)
    local u = ffi.new("struct utf8")
    for _, piece in ipairs(pieces) do
        if not lib.utf8_feed(u, { bytes.exact(piece), #piece }) then
            return false
        end
    end
    return u.left == 0
end

--- By the definition: as many bytes as the number needs, no range left out.
local function encode(n)
    local function tail(k)
        return 0x80 + math.floor(n / 64 ^ k) % 64
    end
    if n < 0x80 then
        return string.char(n)
    elseif n < 0x800 then
        return string.char(0xc0 + math.floor(n / 64), tail(0))
    elseif n < 0x10000 then
        return string.char(0xe0 + math.floor(n / 64 ^ 2), tail(1), tail(0))
    end
    local lead = 0xf0 + math.floor(n / 64 ^ 3)
    return string.char(lead, tail(2), tail(1), tail(0))
end

local good = {
    "",
    "ascii only, and long enough for two words",
    "00",
    "c3a9",
    "c280",
    "dfbf",
    "e0a080",
    "ed9fbf",
    "ee8080",
    "efbfbf",
    "f0908080",
    "f09f9880",
    "f48fbfbf",
}

local bad = {
    "80",
    "bf",
    "c0",
    "c080",
    "c1bf",
    "c3",
    "c328",
    "c3c3",
    "e0",
    "e080",
    "e08080",
    "e09fbf",
    "e2",
    "e282",
    "e28228",
    "eda080",
    "edadbf",
    "edbfbf",
    "f0",
    "f0808080",
    "f08fbfbf",
    "f09f98",
    "f4908080",
    "f5808080",
    "f8888080",
    "fc84808080",
    "fe",
    "ff",
}

local function subject(text)
    return text:match("^[%x]*$") and bytes.hex(text) or text
end

describe("utf8", function()
    for _, text in ipairs(good) do
        it("takes '" .. text .. "'", function()
            local s = subject(text)
            assert.is_true(is_valid(s))
            assert.is_true(is_valid("0123456789" .. s .. "abcdefgh"))
            for pieces in bytes.splits(s) do
                assert.is_true(is_valid_in(pieces))
            end
        end)
    end

    for _, text in ipairs(bad) do
        it("refuses " .. text, function()
            local s = subject(text)
            assert.is_false(is_valid(s))
            assert.is_false(is_valid("0123456789" .. s))
            assert.is_false(is_valid(s .. "01234567"))
            for pieces in bytes.splits(s) do
                assert.is_false(is_valid_in(pieces))
            end
        end)
    end

    it("takes every code point but the surrogates", function()
        for n = 0, 0x110fff do
            local s = encode(n)
            local expected = (n < 0xd800 or n > 0xdfff) and n <= 0x10ffff
            if lib.utf8_is_valid({ s, #s }) ~= expected then
                error(("U+%04X"):format(n))
            end
        end
    end)

    it("agrees with the table of the standard for all two bytes", function()
        for a = 0, 255 do
            for b = 0, 255 do
                local s = string.char(a, b)
                local two = a >= 0xc2 and a <= 0xdf and b >= 0x80 and b <= 0xbf
                local expected = (a < 0x80 and b < 0x80) or two
                assert.equal(expected, lib.utf8_is_valid({ s, 2 }))
            end
        end
    end)

    it("finds a bad byte at any place in a long text", function()
        for i = 0, 40 do
            local s = ("x"):rep(i) .. "\255" .. ("y"):rep(40 - i)
            assert.is_false(is_valid(s))
        end
    end)

    it("cuts only between characters", function()
        local s = "a\195\169\240\159\152\128b"
        local cuts = {}
        for max = 0, #s + 1 do
            cuts[#cuts + 1] = tonumber(lib.utf8_cut({ s, #s }, max))
        end
        assert.same({ 0, 1, 1, 3, 3, 3, 3, 7, 8, 8 }, cuts)
    end)

    it("writes every character as the definition says", function()
        local out = ffi.new("char[4]")
        local edges = { 0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff }
        for _, n in ipairs(edges) do
            assert.equal(encode(n), ffi.string(out, lib.utf8_put(out, n)))
        end
    end)
end)
