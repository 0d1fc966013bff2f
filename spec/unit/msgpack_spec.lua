local ffi = require("ffi")
local c = require("spec.support.c")
local slice = require("spec.support.bytes").slice

local lib = c.use("codec/msgpack.h")
c.use("base/err.h")

local reader = ffi.new("struct msgpack")

local function from_hex(hex)
    return (hex:gsub("%s+", ""):gsub("%x%x", function(x)
        return string.char(tonumber(x, 16))
    end))
end

local function to_hex(bytes)
    return (bytes:gsub(".", function(x)
        return ("%02x"):format(x:byte())
    end))
end

local function token_text(token)
    local text = token >= lib.MSGPACK_STR and ffi.string(reader.text.p, reader.text.len)
    local texts = {
        [lib.MSGPACK_NIL] = "nil",
        [lib.MSGPACK_FALSE] = "false",
        [lib.MSGPACK_TRUE] = "true",
        [lib.MSGPACK_INT] = "i" .. tostring(reader.i):gsub("LL", ""),
        [lib.MSGPACK_UINT] = "u" .. tostring(reader.u):gsub("ULL", ""),
        [lib.MSGPACK_DOUBLE] = "d" .. ("%.17g"):format(reader.n),
        [lib.MSGPACK_STR] = text and "'" .. text .. "'",
        [lib.MSGPACK_BIN] = text and "b'" .. text .. "'",
        [lib.MSGPACK_ARRAY] = "[" .. reader.count,
        [lib.MSGPACK_MAP] = "{" .. reader.count,
    }
    return texts[token]
end

--- All tokens as one line, or nil and the reason.
local function read(bytes)
    local s = slice(bytes)
    local seen = {}
    reader.text.p, reader.text.len = nil, 0
    lib.msgpack_init(reader, s)
    while true do
        local token = lib.msgpack_next(reader)
        if token == lib.MSGPACK_END then
            return table.concat(seen, " ")
        elseif token < 0 then
            assert.equal(lib.SD_EINVALID, token)
            assert.equal(lib.SD_EINVALID, lib.msgpack_next(reader))
            return nil, ffi.string(reader.why)
        end
        seen[#seen + 1] = token_text(token)
    end
end

local function check(bytes)
    local s = slice(bytes)
    return tonumber(lib.msgpack_check(s))
end

--- What `write(out)` appends, in hex.
local function written(write)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local err = write(out)
    if err and err < 0 then
        return nil, err
    end
    return to_hex(ffi.string(out.p + out.head, out.len))
end

local accepted = {
    { "c0", "nil" }, { "c2", "false" }, { "c3", "true" },
    { "00", "i0" }, { "7f", "i127" }, { "ff", "i-1" }, { "e0", "i-32" },
    { "cc80", "i128" }, { "cc05", "i5" }, { "cdffff", "i65535" }, { "ceffffffff", "i4294967295" },
    { "cf0020000000000001", "i9007199254740993" }, { "cf7fffffffffffffff", "i9223372036854775807" },
    { "cf8000000000000000", "u9223372036854775808" },
    { "cfffffffffffffffff", "u18446744073709551615" },
    { "d080", "i-128" }, { "d07f", "i127" }, { "d18000", "i-32768" }, { "d2ffffffff", "i-1" },
    { "d38000000000000000", "i-9223372036854775808" },
    { "ca3fc00000", "d1.5" }, { "cb3ff8000000000000", "d1.5" },
    { "cb7ff0000000000000", "dinf" },
    { "a0", "''" }, { "a3616263", "'abc'" }, { "d903616263", "'abc'" },
    { "da0003616263", "'abc'" }, { "db00000003616263", "'abc'" }, { "a1ff", "'\255'" },
    { "c403616263", "b'abc'" }, { "c50003616263", "b'abc'" }, { "c600000003616263", "b'abc'" },
    { "90", "[0" }, { "80", "{0" }, { "9301a16102", "[3 i1 'a' i2" }, { "dc000101", "[1 i1" },
    { "dd0000000101", "[1 i1" }, { "81a16101", "{1 'a' i1" }, { "de0001a16101", "{1 'a' i1" },
    { "df00000001a16101", "{1 'a' i1" },
    { "9390 9180 81 01 92 c0c0", "[3 [0 [1 {0 {1 i1 [2 nil nil" },
    { ("91"):rep(63) .. "90", ("[1 "):rep(63) .. "[0" },
}

local refused = {
    "", "c1", "c7", "c70001", "c8000001", "c90000000001", "d401ff", "d50100", "d6", "d7", "d8",
    "cc", "cd00", "ce000000", "cf00000000000000", "d0", "d100", "d2000000", "d300000000000000",
    "ca000000", "cb00000000000000", "a1", "a26a", "d9", "d901", "da00", "da000161"
        .. "61", "db0000000261", "dbffffffff", "c4", "c401", "c5ffff", "c6ffffffff",
    "91", "9201", "dcffff", "ddffffffff", "dd04000000", "dfffffffff", "df80000000", "81", "8101",
    "82010203", "c0c0", "0100", "90c0", "8000", "9191919391", "93 dd00000003 00", "92 93 0000 00",
    ("91"):rep(64) .. "90", ("dd00000010"):rep(31), ("81a161"):rep(64) .. "80",
}

describe("msgpack", function()
    it("reads every kind of value", function()
        for _, case in ipairs(accepted) do
            local bytes = from_hex(case[1])
            assert.equal(case[2], (read(bytes)), case[1])
            assert.equal(#bytes, (check(bytes)), case[1])
            assert.equal(#bytes, (check(bytes .. "\193rest")), case[1])
        end
    end)

    it("refuses what is cut off, unknown, too deep or followed by more", function()
        for _, hex in ipairs(refused) do
            local got, why = read(from_hex(hex))
            assert.is_nil(got, hex)
            assert.is_true(#why > 0)
        end
    end)

    it("refuses a count that the bytes left cannot hold", function()
        for _, hex in ipairs({ "ddffffffff00", "dcffff00", "df00000002000000", "9f00" }) do
            local got, why = read(from_hex(hex))
            assert.is_nil(got, hex)
            assert.equal("more values declared than bytes left", why)
        end
        -- Each head alone would fit; together they owe more than is there.
        local got, why = read(from_hex("94 93 93 00 00 00 00 00"))
        assert.is_nil(got)
        assert.equal("more values declared than bytes left", why)
    end)

    it("refuses every proper start of a value", function()
        local bytes = from_hex("84 a161 93 01 c403000102 cb3ff8000000000000"
            .. "d90162 da000163 cd0100 d38000000000000000 00 81 01 90")
        assert.is_string((read(bytes)))
        for i = 0, #bytes - 1 do
            assert.is_nil((read(bytes:sub(1, i))), i)
            assert.equal(lib.SD_EINVALID, (check(bytes:sub(1, i))))
        end
    end)

    it("writes integers in their shortest form", function()
        local cases = {
            { 0, "00" }, { 127, "7f" }, { 128, "cc80" }, { 255, "ccff" }, { 256, "cd0100" },
            { 65535, "cdffff" }, { 65536, "ce00010000" }, { 4294967295, "ceffffffff" },
            { 4294967296, "cf0000000100000000" }, { -1, "ff" }, { -32, "e0" }, { -33, "d0df" },
            { -128, "d080" }, { -129, "d1ff7f" }, { -32768, "d18000" }, { -32769, "d2ffff7fff" },
            { -2147483648, "d280000000" }, { -2147483649, "d3ffffffff7fffffff" },
            { 2 ^ 53, "cf0020000000000000" }, { -2 ^ 53, "d3ffe0000000000000" },
            { 2 ^ 53 + 2, "cb4340000000000001" }, { 1.5, "cb3ff8000000000000" },
            { -0.0, "cb8000000000000000" }, { 1e300, "cb7e37e43c8800759c" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], written(function(out)
                return lib.msgpack_write_number(out, case[1])
            end))
        end
        assert.equal("cfffffffffffffffff", written(function(out)
            lib.msgpack_write_uint(out, 0xffffffffffffffffULL)
        end))
    end)

    it("refuses to write NaN and infinity", function()
        for _, n in ipairs({ 0 / 0, 1 / 0, -1 / 0 }) do
            local got, err = written(function(out)
                return lib.msgpack_write_number(out, n)
            end)
            assert.is_nil(got)
            assert.equal(lib.SD_EINVALID, err)
        end
    end)

    it("writes text as str and other bytes as bin, at every size", function()
        local heads = {
            { 0, "a0", "a0" }, { 1, "a1", "c401" }, { 31, "bf", "c41f" }, { 32, "d920", "c420" },
            { 255, "d9ff", "c4ff" }, { 256, "da0100", "c50100" }, { 65535, "daffff", "c5ffff" },
            { 65536, "db00010000", "c600010000" },
        }
        for _, case in ipairs(heads) do
            for i, byte in ipairs({ "a", "\255" }) do
                local text = byte:rep(case[1])
                local got = written(function(out)
                    return lib.msgpack_write_string(out, slice(text))
                end)
                assert.equal(case[i + 1] .. to_hex(text), got)
                assert.equal(#got / 2, (check(from_hex(got))))
            end
        end
    end)

    it("writes heads of containers in their shortest form", function()
        local cases = {
            { 0, "90", "80" }, { 15, "9f", "8f" }, { 16, "dc0010", "de0010" },
            { 65535, "dcffff", "deffff" }, { 65536, "dd00010000", "df00010000" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], written(function(out)
                lib.msgpack_write_array(out, case[1])
            end))
            assert.equal(case[3], written(function(out)
                lib.msgpack_write_map(out, case[1])
            end))
        end
    end)
end)
