local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/chunked.h")
c.use("base/err.h")

--- Decode `bytes` given in portions that end at `cuts` and at the end.
--- Returns the verdict, the body, what was left over, and the declared total.
local function decode(bytes, cuts)
    local state = ffi.new("struct chunked")
    local body, from = {}, 0
    local verdict
    lib.chunked_init(state)
    local ends = { unpack(cuts or {}) }
    ends[#ends + 1] = #bytes
    for _, to in ipairs(ends) do
        local n = to - from
        local portion = ffi.new("char[?]", math.max(n, 1))
        ffi.copy(portion, bytes:sub(from + 1, to), n)
        local input = ffi.new("struct slice", { portion, n })
        local piece = ffi.new("struct slice")
        repeat
            verdict = lib.chunked_next(piece, state, input)
            if verdict == 1 then
                assert(piece.len > 0)
                body[#body + 1] = ffi.string(piece.p, piece.len)
            end
        until verdict ~= 1
        from = to
        if verdict ~= lib.SD_EAGAIN then
            local rest = ffi.string(input.p, input.len) .. bytes:sub(to + 1)
            return verdict, table.concat(body), rest, tonumber(state.total)
        end
    end
    return verdict, table.concat(body), "", tonumber(state.total)
end

local DONE, MORE, BAD, LARGE = 0, lib.SD_EAGAIN, lib.SD_EPROTO, lib.SD_ETOOLARGE
local long = ("x"):rep(256)

local cases = {
    { "an empty body", DONE, "0\r\n\r\n", "" },
    { "one chunk", DONE, "5\r\nhello\r\n0\r\n\r\n", "hello" },
    { "two chunks", DONE, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world" },
    { "hex of both cases", DONE,
        "a\r\n0123456789\r\nB\r\nhello world\r\n0\r\n\r\n", "0123456789hello world" },
    { "leading zeros", DONE, "0000000000000005\r\nhello\r\n000\r\n\r\n", "hello" },
    { "data that looks like framing", DONE, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n" },
    { "an extension", DONE, "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello" },
    { "a quoted extension", DONE, '5; a="b;c" \r\nhello\r\n0\r\n\r\n', "hello" },
    { "an extension of 256 bytes", DONE, "5;" .. long .. "\r\nhello\r\n0\r\n\r\n", "hello" },
    { "trailers", DONE, "0\r\nA: b\r\nC:\td\195\164\r\n\r\n", "" },
    { "a body with the next request behind", DONE, "1\r\na\r\n0\r\n\r\nGET /", "a", "GET /" },
    { "nothing", MORE, "", "" },
    { "half a size", MORE, "5", "" },
    { "half a chunk", MORE, "5\r\nhel", "hel" },
    { "a body without its end", MORE, "5\r\nhello\r\n0\r\n", "hello" },
    { "trailers without an end", MORE, "0\r\nA: b\r\n", "" },
    { "no size", BAD, "\r\nhello" },
    { "an empty size before an extension", BAD, ";a\r\n" },
    { "a sign", BAD, "+5\r\nhello\r\n" },
    { "a minus", BAD, "-5\r\nhello\r\n" },
    { "0x", BAD, "0x5\r\nhello\r\n" },
    { "an underscore", BAD, "1_0\r\n0123456789abcdef\r\n" },
    { "a letter past f", BAD, "5g\r\nhello\r\n" },
    { "a space in front", BAD, " 5\r\nhello\r\n" },
    { "a space behind", BAD, "5 \r\nhello\r\n" },
    { "a tab behind", BAD, "5\t\r\nhello\r\n" },
    { "a space before an extension", BAD, "5 ;a\r\nhello\r\n" },
    { "a comma", BAD, "5,5\r\nhello\r\n" },
    { "a fraction", BAD, "5.0\r\nhello\r\n" },
    { "17 digits", BAD, "00000000000000005\r\nhello\r\n" },
    { "a NUL", BAD, "5\0\r\nhello\r\n" },
    { "a size over 2^53", LARGE, "20000000000001\r\n" },
    { "a size of 2^64 - 1", LARGE, "ffffffffffffffff\r\n" },
    { "sizes that add up to over 2^53", LARGE, "1\r\na\r\n20000000000000\r\n", "a" },
    { "a bare LF behind the size", BAD, "5\nhello\r\n0\r\n\r\n" },
    { "a bare CR behind the size", BAD, "5\rhello\r\n0\r\n\r\n" },
    { "CR CR LF behind the size", BAD, "5\r\r\nhello\r\n" },
    { "a bare LF in an extension", BAD, "5;a\nhello\r\n0\r\n\r\n" },
    { "a bare CR in an extension", BAD, "5;a\rb\r\nhello\r\n" },
    { "a NUL in an extension", BAD, "5;a\0\r\nhello\r\n" },
    { "a tab in an extension", BAD, "5;\ta\r\nhello\r\n" },
    { "an extension of 257 bytes", BAD, "5;" .. long .. "x\r\nhello\r\n" },
    { "data longer than its size", BAD, "5\r\nhello!\r\n0\r\n\r\n", "hello" },
    { "data shorter than its size", BAD, "6\r\nhello\r\n0\r\n\r\n", "hello\r" },
    { "a bare LF behind the data", BAD, "5\r\nhello\n0\r\n\r\n", "hello" },
    { "a bare CR behind the data", BAD, "5\r\nhello\r0\r\n\r\n", "hello" },
    { "two bytes that are no CRLF", BAD, "5\r\nhelloXX0\r\n\r\n", "hello" },
    { "a bare LF at the end", BAD, "0\r\n\n" },
    { "a bare LF behind the last size", BAD, "0\n\r\n" },
    { "a trailer without a colon", BAD, "0\r\nA\r\n\r\n" },
    { "a trailer without a name", BAD, "0\r\n: a\r\n\r\n" },
    { "a space before a trailer's colon", BAD, "0\r\nA : b\r\n\r\n" },
    { "a folded trailer", BAD, "0\r\nA: b\r\n c\r\n\r\n" },
    { "a bare LF in a trailer", BAD, "0\r\nA: b\nC: d\r\n\r\n" },
    { "a bare CR in a trailer", BAD, "0\r\nA: b\rC: d\r\n\r\n" },
    { "a NUL in a trailer", BAD, "0\r\nA: \0\r\n\r\n" },
    { "8193 bytes of trailers", BAD, "0\r\nA:" .. ("x"):rep(8191) .. "\r\n\r\n" },
}

describe("chunked_next", function()
    for _, case in ipairs(cases) do
        local name, verdict, bytes, body, rest = unpack(case)

        it("knows " .. name, function()
            local got, data, over = decode(bytes)
            assert.equal(verdict, got)
            assert.equal(body or "", data)
            if verdict == DONE then
                assert.equal(rest or "", over)
            end
        end)

        it("answers the same to any split of " .. name, function()
            local whole = { decode(bytes) }
            local all = {}
            for cut = 0, math.min(#bytes, 600) do
                all[#all + 1] = cut
                assert.same(whole, { decode(bytes, { cut }) })
            end
            assert.same(whole, { decode(bytes, all) })
        end)
    end

    it("counts a chunk when its size line has ended", function()
        local _, _, _, total = decode("ffff")
        assert.equal(0, total)
        _, _, _, total = decode("ffff\r\n")
        assert.equal(65535, total)
    end)

    it("stays broken", function()
        local state = ffi.new("struct chunked")
        local piece, input = ffi.new("struct slice"), ffi.new("struct slice")
        input.p, input.len = "x5\r\n", 4
        assert.equal(BAD, lib.chunked_next(piece, state, input))
        assert.equal(BAD, lib.chunked_next(piece, state, input))
    end)
end)
