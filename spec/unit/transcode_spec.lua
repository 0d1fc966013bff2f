local ffi = require("ffi")
local c = require("spec.support.c")
local slice = require("spec.support.bytes").slice

local lib = c.use("codec/transcode.h")
c.use("base/err.h")

local function from_hex(hex)
    return (hex:gsub("%s+", ""):gsub("%x%x", function(x)
        return string.char(tonumber(x, 16))
    end))
end

--- The JSON text, or nil and the reason.
local function json(bytes)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local why = ffi.new("const char *[1]")
    lib.buf_append_str(out, "before")
    local err = lib.transcode_json(out, slice(bytes), why)
    local text = ffi.string(out.p + out.head, out.len)
    assert.equal("before", text:sub(1, 6))
    if err < 0 then
        assert.equal(lib.SD_EINVALID, err)
        assert.equal("before", text)
        return nil, ffi.string(why[0])
    end
    return text:sub(7)
end

local told = {
    { "c0", "null" }, { "c2", "false" }, { "c3", "true" }, { "2a", "42" },
    { "d3ffe0000000000000", "-9007199254740992" },
    { "cf0020000000000001", "9007199254740993" }, { "cfffffffffffffffff", "18446744073709551615" },
    { "cb3ff8000000000000", "1.5" }, { "cb3ff0000000000000", "1" }, { "ca3fc00000", "1.5" },
    { "a0", '""' }, { "a3610a22", '"a\\n\\""' }, { "c40161", '"a"' },
    { "90", "[]" }, { "80", "{}" }, { "93 01 c0 91 90", "[1,null,[[]]]" },
    { "82 a161 01 a162 81 a163 c3", '{"a":1,"b":{"c":true}}' },
    { "83 01 02 ff 03 cfffffffffffffffff 04", '{"1":2,"-1":3,"18446744073709551615":4}' },
    { ("91"):rep(63) .. "90", ("["):rep(64) .. ("]"):rep(64) },
}

local refused = {
    { "", "value ends too soon" },
    { "92 01", "more values declared than bytes left" },
    { "01 01", "bytes behind the value" },
    { "a1ff", "text is not UTF-8" },
    { "c401ff", "text is not UTF-8" },
    { "81 a1ff 01", "text is not UTF-8" },
    { "cb7ff0000000000000", "a number is NaN or infinite" },
    { "91 cb7ff8000000000000", "a number is NaN or infinite" },
    { "81 c3 01", "a key is no string and no integer" },
    { "81 c0 01", "a key is no string and no integer" },
    { "81 90 01", "a key is no string and no integer" },
    { "81 cb3ff8000000000000 01", "a key is no string and no integer" },
    { "d40001", "extension types are not supported" },
    { ("91"):rep(64) .. "90", "nested deeper than 64" },
}

describe("transcode_json", function()
    it("tells every kind of value", function()
        for _, case in ipairs(told) do
            assert.equal(case[2], json(from_hex(case[1])))
        end
    end)

    it("leaves the buffer as it was when it cannot", function()
        for _, case in ipairs(refused) do
            local got, why = json(from_hex(case[1]))
            assert.is_nil(got, case[1])
            assert.equal(case[2], why)
        end
    end)
end)
