local ffi = require("ffi")
local c = require("spec.support.c")
local bytes = require("spec.support.bytes")

local lib = c.use("codec/frame.h")
c.use("base/err.h")
local hex = bytes.hex

--- A spec with the defaults of its type and `fields` over them.
local function spec_of(kind, fields)
    local s = ffi.new("struct frame_spec")
    lib.frame_spec_init(s, lib["FRAME_" .. kind:upper()])
    for k, v in pairs(fields or {}) do
        if k == "delimiter" then
            ffi.copy(s.delimiter, v, #v)
            s.delimiter_len = #v
        elseif k == "endian" then
            s.little = v == "little"
        else
            s[k] = v
        end
    end
    return s
end

local function check(s)
    local why = ffi.new("const char *[1]")
    local err = lib.frame_spec_check(s, why)
    return err == 0 and "ok" or ffi.string(why[0])
end

--- What a conn sees when these pieces arrive: the bodies, then the error.
local function read(s, pieces)
    local seen, tail = {}, ""
    local out = ffi.new("struct frame")

    for _, piece in ipairs(pieces) do
        tail = tail .. piece
        while #tail > 0 do
            local p = bytes.exact(tail)
            local n = lib.frame_next(s, { p, #tail }, out)
            if n < 0 then
                seen[#seen + 1] = n
                return seen
            elseif n == 0 then
                assert.is_true(out.need > #tail, "need moves on")
                break
            end
            seen[#seen + 1] = ffi.string(out.body.p, out.body.len)
            tail = tail:sub(tonumber(out.size) + 1)
        end
    end
    return seen
end

--- `body` framed behind something already waiting, or the error.
local function write(s, body)
    local b = ffi.new("struct buf")
    lib.buf_append(b, "old", 3)
    local start = lib.frame_begin(s, b)
    lib.buf_append(b, body, #body)
    local err = lib.frame_seal(s, b, start)
    local text = ffi.string(b.p + b.head, b.len)
    lib.buf_fini(b)
    assert.equal("old", text:sub(1, 3))
    if err < 0 then
        assert.equal("old", text)
        return err
    end
    return text:sub(4)
end

local PROTO, INVALID, LARGE = lib.SD_EPROTO, lib.SD_EINVALID, lib.SD_ETOOLARGE

-- kind, fields, bytes, what the codec sees
local reads = {
    { "length", {}, hex("00000006") .. "hi", { "hi" } },
    { "length", {}, hex("00000004"), { "" } },
    { "length", {}, hex("00000005") .. "a" .. hex("00000006") .. "bc", { "a", "bc" } },
    { "length", {}, hex("00000006") .. "h", {} },
    { "length", {}, hex("000000"), {} },
    { "length", {}, hex("00000003"), { PROTO } },
    { "length", {}, hex("00000000"), { PROTO } },
    { "length", {}, hex("00000005") .. "a" .. hex("00000001"), { "a", PROTO } },
    { "length", {}, hex("ffffffff"), { LARGE } },
    { "length", {}, hex("80000000"), { LARGE } },
    { "length", { max = 6 }, hex("00000006") .. "hi", { "hi" } },
    { "length", { max = 6 }, hex("00000007"), { LARGE } },
    { "length", { max = 0 }, hex("7fffffff"), {} },
    { "length", { max = 0 }, hex("80000000"), { LARGE } },
    { "length", { endian = "little" }, hex("06000000") .. "hi", { "hi" } },
    { "length", { bytes = 1 }, hex("03") .. "hi", { "hi" } },
    { "length", { bytes = 2 }, hex("0004") .. "hi", { "hi" } },
    { "length", { bytes = 2, endian = "little" }, hex("0400") .. "hi", { "hi" } },
    { "length", { bytes = 3 }, hex("000005") .. "hi", { "hi" } },
    { "length", { bytes = 3, endian = "little" }, hex("050000") .. "hi", { "hi" } },
    { "length", { bytes = 8 }, hex("000000000000000a") .. "hi", { "hi" } },
    { "length", { bytes = 8, endian = "little" }, hex("0a00000000000000") .. "hi", { "hi" } },
    { "length", { bytes = 8 }, hex("7fffffffffffffff"), { LARGE } },
    { "length", { bytes = 8 }, hex("8000000000000000"), { PROTO } },
    { "length", { bytes = 8 }, hex("ffffffffffffffff"), { PROTO } },
    { "length", { bytes = 8 }, hex("0000000100000006") .. "hi", { LARGE } },
    { "length", { includes_header = false }, hex("00000002") .. "hi", { "hi" } },
    { "length", { includes_header = false }, hex("00000000"), { "" } },
    { "length", { includes_header = false, max = 6 }, hex("00000003"), { LARGE } },
    { "length", { add = 2 }, hex("00000006") .. "hi##", { "hi##" } },
    { "length", { add = 2 }, hex("00000002"), { "" } },
    { "length", { add = 2, max = 7 }, hex("00000006"), { LARGE } },
    { "length", { add = -4, includes_header = false }, hex("00000006") .. "hi", { "hi" } },
    { "length", { add = -4, includes_header = false }, hex("00000003"), { PROTO } },
    { "length", { offset = 2 },
        "AB" .. hex("00000008") .. "hi", { "AB" .. hex("00000008") .. "hi" } },
    { "length", { offset = 2 }, "AB" .. hex("00000005"), { PROTO } },
    { "length", { offset = 2, bytes = 1, includes_header = false, add = 1 },
        "AB" .. hex("02") .. "hi#", { "AB" .. hex("02") .. "hi#" } },
    { "length", { whole = true }, hex("00000006") .. "hi", { hex("00000006") .. "hi" } },
    { "length", { bytes = "varint" }, hex("02") .. "hi", { "hi" } },
    { "length", { bytes = "varint" }, hex("00"), { "" } },
    { "length", { bytes = "varint" }, hex("8200") .. "hi", { "hi" } },
    { "length", { bytes = "varint" }, hex("8280808000") .. "hi", { "hi" } },
    { "length", { bytes = "varint" }, hex("ac02") .. ("x"):rep(300), { ("x"):rep(300) } },
    { "length", { bytes = "varint" }, hex("808080808001"), { PROTO } },
    { "length", { bytes = "varint" }, hex("ffffffffff"), { PROTO } },
    { "length", { bytes = "varint" }, hex("ffffffff0f"), { LARGE } },
    { "length", { bytes = "varint" }, hex("ffffffff7f"), { LARGE } },
    { "length", { bytes = "varint" }, hex("80808080"), {} },
    { "length", { bytes = "varint", add = -3 }, hex("02") .. "hi", { PROTO } },
    { "length", { bytes = "varint", offset = 1 },
        "A" .. hex("02") .. "hi", { "A" .. hex("02") .. "hi" } },
    { "line", {}, "one\r\ntwo\r\n\r\nrest", { "one", "two", "" } },
    { "line", {}, "a\rb\nc\r\n", { "a\rb\nc" } },
    { "line", {}, "a\r\r\n", { "a\r" } },
    { "line", { delimiter = "\n" }, "a\nb\n", { "a", "b" } },
    { "line", { delimiter = "\0" }, "a\0b\0", { "a", "b" } },
    { "line", { delimiter = "0123456789abcdef" },
        "x0123456789abcde0123456789abcdef", { "x0123456789abcde" } },
    { "line", { delimiter = "aa" }, "aaaxaa", { "", "ax" } },
    { "line", { max = 5 }, "abc\r\nabcd\r\n", { "abc", LARGE } },
    { "line", { max = 5 }, "abcd", {} },
    { "line", { max = 5 }, "abcde", { LARGE } },
    { "fixed", { size = 3 }, "abcdefgh", { "abc", "def" } },
    { "fixed", { size = 1 }, "ab", { "a", "b" } },
}

-- kind, fields, body, bytes on the wire or error
local writes = {
    { "length", {}, "hi", hex("00000006") .. "hi" },
    { "length", {}, "", hex("00000004") },
    { "length", { max = 6 }, "hi", hex("00000006") .. "hi" },
    { "length", { max = 6 }, "hey", LARGE },
    { "length", { endian = "little" }, "hi", hex("06000000") .. "hi" },
    { "length", { bytes = 1 }, ("x"):rep(254), hex("ff") .. ("x"):rep(254) },
    { "length", { bytes = 1 }, ("x"):rep(255), LARGE },
    { "length", { bytes = 1, includes_header = false },
        ("x"):rep(255), hex("ff") .. ("x"):rep(255) },
    { "length", { bytes = 2 }, ("x"):rep(0xfffd), hex("ffff") .. ("x"):rep(0xfffd) },
    { "length", { bytes = 2 }, ("x"):rep(0xfffe), LARGE },
    { "length", { bytes = 3 }, "hi", hex("000005") .. "hi" },
    { "length", { bytes = 3, endian = "little" }, "hi", hex("050000") .. "hi" },
    { "length", { bytes = 8 }, "hi", hex("000000000000000a") .. "hi" },
    { "length", { bytes = 8, endian = "little" }, "hi", hex("0a00000000000000") .. "hi" },
    { "length", { add = 2 }, "hi##", hex("00000006") .. "hi##" },
    { "length", { add = 2, includes_header = false }, "#", INVALID },
    { "length", { offset = 2 }, "AB????hi", "AB" .. hex("00000008") .. "hi" },
    { "length", { offset = 2 }, "AB???", INVALID },
    { "length", { offset = 2, bytes = 1, includes_header = false, add = 1 },
        "AB?hi#", "AB" .. hex("02") .. "hi#" },
    { "length", { whole = true }, "????hi", hex("00000006") .. "hi" },
    { "length", { whole = true }, "???", INVALID },
    { "length", { bytes = "varint" }, "hi", hex("02") .. "hi" },
    { "length", { bytes = "varint" }, "", hex("00") },
    { "length", { bytes = "varint" }, ("x"):rep(127), hex("7f") .. ("x"):rep(127) },
    { "length", { bytes = "varint" }, ("x"):rep(128), hex("8001") .. ("x"):rep(128) },
    { "length", { bytes = "varint" }, ("x"):rep(16384), hex("808001") .. ("x"):rep(16384) },
    { "length", { bytes = "varint", max = 5 }, "abcd", hex("04") .. "abcd" },
    { "length", { bytes = "varint", max = 5 }, "abcde", LARGE },
    { "length", { bytes = "varint", add = 3 }, "hi", INVALID },
    { "length", { bytes = "varint", whole = true }, hex("00") .. "hi", hex("02") .. "hi" },
    { "length", { bytes = "varint", whole = true }, hex("8000") .. "hi", hex("8200") .. "hi" },
    { "length", { bytes = "varint", whole = true }, hex("00") .. ("x"):rep(128), LARGE },
    { "length", { bytes = "varint", whole = true }, hex("80"), INVALID },
    { "length", { bytes = "varint", whole = true }, "", INVALID },
    { "length", { bytes = "varint", offset = 1 },
        "A" .. hex("00") .. "hi", "A" .. hex("02") .. "hi" },
    { "line", {}, "hi", "hi\r\n" },
    { "line", {}, "", "\r\n" },
    { "line", {}, "a\r", "a\r\r\n" },
    { "line", {}, "a\r\nb", INVALID },
    { "line", {}, "a\r\n", INVALID },
    { "line", { delimiter = "\n\n" }, "a\n", INVALID },
    { "line", { delimiter = "\n" }, "a\n", INVALID },
    { "line", { max = 5 }, "abc", "abc\r\n" },
    { "line", { max = 5 }, "abcd", LARGE },
    { "fixed", { size = 3 }, "abc", "abc" },
    { "fixed", { size = 3 }, "ab", INVALID },
    { "fixed", { size = 3 }, "abcd", INVALID },
    { "fixed", { size = 3 }, "", INVALID },
    { "raw", {}, "abc", "abc" },
    { "raw", {}, "", "" },
    { "pack", {}, "abc", "abc" },
    { "pack", { max = 2 }, "abc", LARGE },
}

-- kind, fields, what the check says
local checks = {
    { "length", {}, "ok" },
    { "length", { bytes = 5, includes_header = false }, "ok" },
    { "length", { bytes = 5 }, 'includes_header: must be false with bytes = "varint"' },
    { "length", { bytes = 0 }, 'bytes: must be 1, 2, 3, 4, 8 or "varint"' },
    { "length", { bytes = 6 }, 'bytes: must be 1, 2, 3, 4, 8 or "varint"' },
    { "length", { bytes = 9 }, 'bytes: must be 1, 2, 3, 4, 8 or "varint"' },
    { "length", { max = 0 }, "ok" },
    { "length", { max = 4 }, "ok" },
    { "length", { max = 3 }, "max: smaller than the head of a packet" },
    { "length", { max = 0x80000000 }, "max: must be less than 2g" },
    { "length", { offset = 2000000 }, "max: smaller than the head of a packet" },
    { "length", { max = 0, offset = 0x80000000 }, "offset: too large" },
    { "length", { max = 10, add = 11 }, "add: larger than max" },
    { "length", { add = -0x80000000 }, "add: too small" },
    { "line", {}, "ok" },
    { "line", { delimiter = "" }, "delimiter: must have 1 to 16 bytes" },
    { "line", { delimiter_len = 17 }, "delimiter: must have 1 to 16 bytes" },
    { "line", { max = 1 }, "max: smaller than the delimiter" },
    { "fixed", {}, "ok" },
    { "fixed", { size = 0 }, "size: must be at least 1 and at most max" },
    { "fixed", { size = 9, max = 8 }, "size: must be at least 1 and at most max" },
    { "raw", {}, "ok" },
    { "pack", {}, "ok" },
    { "raw", { type = 9 }, "type: unknown" },
}

local function with_varint(fields)
    if fields.bytes == "varint" then
        fields.bytes = lib.FRAME_VARINT
        fields.includes_header = false
    end
    return fields
end

local function title(kind, fields)
    local parts = { kind }
    for k, v in pairs(fields) do
        parts[#parts + 1] = k .. "=" .. string.format("%q", tostring(v))
    end
    table.sort(parts, function(a, b)
        return a == kind or (b ~= kind and a < b)
    end)
    return table.concat(parts, " ")
end

describe("frame", function()
    for i, case in ipairs(reads) do
        local kind, fields, input, expected = unpack(case, 1, 4)
        local name = title(kind, fields)

        it(("reads %d: %s, however it arrives"):format(i, name), function()
            local s = spec_of(kind, with_varint(fields))
            assert.equal("ok", check(s))
            for pieces in bytes.splits(input) do
                assert.same(expected, read(s, pieces))
            end
        end)
    end

    for i, case in ipairs(writes) do
        local kind, fields, body, expected = unpack(case, 1, 4)
        local name = title(kind, fields)

        it(("writes %d: %s"):format(i, name), function()
            local s = spec_of(kind, with_varint(fields))
            assert.equal("ok", check(s))
            assert.equal(expected, write(s, body))
        end)
    end

    for i, case in ipairs(checks) do
        local kind, fields, expected = unpack(case, 1, 3)
        it(("checks %d: %s"):format(i, title(kind, fields)), function()
            assert.equal(expected, check(spec_of(kind, fields)))
        end)
    end

    it("reads back what it wrote, for every width and order", function()
        local body = ("the quick brown fox "):rep(5)
        for _, n in ipairs({ 1, 2, 3, 4, 8, "varint" }) do
            for _, endian in ipairs({ "big", "little" }) do
                for _, counted in ipairs({ true, false }) do
                    local s = spec_of(
                        "length",
                        with_varint({
                            bytes = n,
                            endian = endian,
                            includes_header = counted,
                        })
                    )
                    local wire = write(s, body) .. write(s, "")
                    assert.same({ body, "" }, read(s, { wire }))
                end
            end
        end
    end)

    it("says how many bytes a length packet needs", function()
        local s, out = spec_of("length"), ffi.new("struct frame")
        assert.equal(0, lib.frame_next(s, { "\0\0", 2 }, out))
        assert.equal(4, tonumber(out.need))
        assert.equal(0, lib.frame_next(s, { "\0\0\1\0x", 5 }, out))
        assert.equal(256, tonumber(out.need))
    end)

    it("does not search a line's bytes twice", function()
        local s, out = spec_of("line"), ffi.new("struct frame")
        assert.equal(0, lib.frame_next(s, { "abc\r", 4 }, out))
        assert.equal(4, tonumber(out.scanned))
        -- What was searched may not be looked at again: hide a delimiter.
        assert.equal(1, lib.frame_next(s, { "\r\nc\r\n", 5 }, out))
        assert.equal(3, tonumber(out.body.len))
        assert.equal(0, tonumber(out.scanned))
    end)

    it("gives what one read brought, raw", function()
        local s, out = spec_of("raw"), ffi.new("struct frame")
        assert.equal(0, lib.frame_next(s, { "", 0 }, out))
        assert.equal(1, lib.frame_next(s, { "abc", 3 }, out))
        assert.equal(3, tonumber(out.size))
    end)

    it("refuses a whole packet of nothing in an empty buf", function()
        local s, b = spec_of("length", { whole = true }), ffi.new("struct buf")
        assert.equal(0, tonumber(lib.frame_begin(s, b)))
        assert.equal(INVALID, lib.frame_seal(s, b, 0))
    end)

    it("cuts where a script says", function()
        local s = spec_of("pack", { max = 8 })
        local function cut(input, known, total)
            local out = ffi.new("struct frame")
            local n = lib.frame_cut(s, { input, #input }, known, total, out)
            if n == 1 then
                assert.equal(total, tonumber(out.size))
                return ffi.string(out.body.p, out.body.len)
            elseif n == 0 then
                assert.is_true(out.need > #input)
            end
            return n
        end
        assert.equal("abc", cut("abcde", true, 3))
        assert.equal("abcde", cut("abcde", true, 5))
        assert.equal(0, cut("abcde", true, 6))
        assert.equal(0, cut("abcdefg", false, 0))
        assert.equal(LARGE, cut("abcdefgh", false, 0))
        assert.equal("abcdefgh", cut("abcdefgh", true, 8))
        assert.equal(LARGE, cut("abc", true, 9))
        assert.equal(LARGE, cut("abc", true, 2 ^ 53))
        assert.equal(PROTO, cut("abc", true, 0))
        assert.equal(PROTO, cut("abc", true, -1))
    end)
end)
