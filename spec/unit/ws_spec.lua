local bit = require("bit")
local ffi = require("ffi")
local c = require("spec.support.c")
local bytes = require("spec.support.bytes")

local lib = c.use("codec/ws.h")
c.use("base/err.h")
local hex = bytes.hex

local KEY = hex("37fa213d")
local NAMES = {
    [0] = "nothing",
    [lib.WS_TEXT] = "text",
    [lib.WS_BINARY] = "binary",
    [lib.WS_CLOSE] = "close",
    [lib.WS_PING] = "ping",
    [lib.WS_PONG] = "pong",
}

--- XOR with the key by the definition, byte by byte.
local function mask(s, key, phase)
    return (s:gsub("()(.)", function(i, ch)
        local k = key:byte((i - 1 + (phase or 0)) % 4 + 1)
        return string.char(bit.bxor(ch:byte(), k))
    end))
end

local function big(n, width)
    local out = ""
    for _ = 1, width do
        out = string.char(n % 256) .. out
        n = math.floor(n / 256)
    end
    return out
end

--- A client's frame: first byte, payload; `width` forces a length form.
local function frame(first, payload, width)
    local n = #payload
    width = width or (n < 126 and 0 or n < 65536 and 2 or 8)
    local head = string.char(first)
    if width == 0 then
        head = head .. string.char(128 + n)
    else
        head = head .. string.char(width == 2 and 254 or 255) .. big(n, width)
    end
    return head .. KEY .. mask(payload, KEY)
end

--- The events of a stream that arrives in pieces, as text: "text hi",
--- "close 1000 bye", and "error 1002" as the last one.
local function read(pieces, max, keep)
    local r, out = ffi.new("struct ws_reader"), ffi.new("struct ws_event")
    local seen, tail = {}, ""

    lib.ws_reader_init(r, max or 0)
    for _, piece in ipairs(pieces) do
        tail = tail .. piece
        local p, left = bytes.exact(tail), #tail
        local base = p
        while left > 0 do
            local n = lib.ws_next(r, p, left, out)
            if n < 0 then
                seen[#seen + 1] = "error " .. out.code
                -- The conn drops what follows.
                assert.equal(1, lib.ws_next(r, p, left, out))
                assert.equal(0, out.type)
                assert.equal(left, tonumber(out.size))
                left = 0
                break
            elseif n == 0 then
                assert.is_true(out.need > left, "need moves on")
                break
            end
            local data = ffi.string(out.data.p, out.data.len)
            if out.type == lib.WS_CLOSE then
                data = out.code .. " " .. data
            end
            if out.type ~= 0 then
                seen[#seen + 1] = NAMES[out.type] .. " " .. data
            end
            p, left = p + out.size, left - tonumber(out.size)
            lib.ws_reader_rest(r)
        end
        tail = ffi.string(p, left)
        assert(base)
    end
    if keep then
        keep(r)
    end
    lib.ws_reader_fini(r)
    return seen
end

local function close(code, reason)
    return frame(0x88, big(code, 2) .. (reason or ""))
end

local X125, X126 = ("x"):rep(125), ("x"):rep(126)
local E_ACUTE = "\195\169"

-- what, bytes, events, max
local cases = {
    { "a text", frame(0x81, "Hello"), { "text Hello" } },
    { "the masked Hello of RFC 6455", hex("818537fa213d7f9f4d5158"), { "text Hello" } },
    { "an empty text", frame(0x81, ""), { "text " } },
    { "a binary", frame(0x82, "\0\255"), { "binary \0\255" } },
    { "bytes that are not UTF-8 in a binary", frame(0x82, "\255\254"), { "binary \255\254" } },
    { "two messages", frame(0x81, "a") .. frame(0x82, "b"), { "text a", "binary b" } },
    { "the longest short length", frame(0x81, X125), { "text " .. X125 } },
    { "the shortest 16-bit length", frame(0x81, X126), { "text " .. X126 } },
    { "fragments", frame(0x01, "Hel") .. frame(0x80, "lo"), { "text Hello" } },
    { "three fragments", frame(0x02, "a") .. frame(0, "b") .. frame(0x80, "c"), { "binary abc" } },
    { "empty fragments", frame(0x01, "") .. frame(0, "") .. frame(0x80, ""), { "text " } },
    { "a message after fragments",
        frame(0x01, "a") .. frame(0x80, "b") .. frame(0x81, "c"), { "text ab", "text c" } },
    { "fragments after fragments",
        frame(0x01, "a") .. frame(0x80, "b") .. frame(0x02, "c") .. frame(0x80, "d"),
        { "text ab", "binary cd" } },
    { "a character over two fragments",
        frame(0x01, "\195") .. frame(0x80, "\169"), { "text " .. E_ACUTE } },
    { "a ping", frame(0x89, "p"), { "ping p" } },
    { "an empty ping", frame(0x89, ""), { "ping " } },
    { "a ping of 125 bytes", frame(0x89, X125), { "ping " .. X125 } },
    { "a pong", frame(0x8a, "p"), { "pong p" } },
    { "a ping amid fragments",
        frame(0x01, "a") .. frame(0x89, "p") .. frame(0x80, "b"), { "ping p", "text ab" } },
    { "a ping amid a character", frame(0x01, "\195") .. frame(0x89, "\255") .. frame(0x80, "\169"),
        { "ping \255", "text " .. E_ACUTE } },
    { "a close", close(1000, "bye"), { "close 1000 bye" } },
    { "a close without code", frame(0x88, ""), { "close 1005 " } },
    { "a close amid fragments", frame(0x01, "a") .. close(1001), { "close 1001 " } },
    { "nothing behind a close", close(1000) .. frame(0x81, "x") .. "garbage", { "close 1000 " } },
    { "a close with the longest reason",
        close(1000, ("r"):rep(123)), { "close 1000 " .. ("r"):rep(123) } },
    { "a close reason in UTF-8", close(1000, E_ACUTE), { "close 1000 " .. E_ACUTE } },
    { "an unfinished frame", frame(0x81, "Hello"):sub(1, -2), {} },
    { "a message of max bytes", frame(0x81, "1234"), { "text 1234" }, 4 },
    { "fragments of max bytes", frame(0x01, "12") .. frame(0x80, "34"), { "text 1234" }, 4 },
    { "a second message of max bytes",
        frame(0x01, "12") .. frame(0x80, "34") .. frame(0x81, "1234"),
        { "text 1234", "text 1234" }, 4 },
    { "a ping over max", frame(0x89, "12345"), { "ping 12345" }, 4 },

    { "RSV1", frame(0xc1, "x"), { "error 1002" } },
    { "RSV2", frame(0xa1, "x"), { "error 1002" } },
    { "RSV3", frame(0x91, "x"), { "error 1002" } },
    { "RSV on a ping", frame(0xc9, ""), { "error 1002" } },
    { "an unmasked frame", hex("810548656c6c6f"), { "error 1002" } },
    { "an unmasked empty frame", hex("8100"), { "error 1002" } },
    { "an unmasked ping", hex("8900"), { "error 1002" } },
    { "a ping of 126 bytes", frame(0x89, X126), { "error 1002" } },
    { "a close of 126 bytes", frame(0x88, X126), { "error 1002" } },
    { "a ping with a 64-bit length", frame(0x89, "x", 8), { "error 1002" } },
    { "a fragmented ping", frame(0x09, "x"), { "error 1002" } },
    { "a fragmented pong", frame(0x0a, "x"), { "error 1002" } },
    { "a fragmented close", frame(0x08, ""), { "error 1002" } },
    { "a continuation of nothing", frame(0x80, "x"), { "error 1002" } },
    { "an unfinished continuation of nothing", frame(0x00, "x"), { "error 1002" } },
    { "a continuation after a whole message",
        frame(0x81, "a") .. frame(0x80, "x"), { "text a", "error 1002" } },
    { "a continuation after fragments",
        frame(0x01, "a") .. frame(0x80, "b") .. frame(0x80, "x"), { "text ab", "error 1002" } },
    { "a text amid a message", frame(0x01, "a") .. frame(0x81, "b"), { "error 1002" } },
    { "a binary amid a message", frame(0x01, "a") .. frame(0x02, "b"), { "error 1002" } },
    { "125 bytes in a 16-bit length", frame(0x81, X125, 2), { "error 1002" } },
    { "126 bytes in a 64-bit length", frame(0x81, X126, 8), { "error 1002" } },
    { "65535 in a 64-bit length", hex("82ff000000000000ffff"), { "error 1002" } },
    { "a length with the top bit", hex("82ff8000000000000000"), { "error 1002" } },
    { "the longest length", hex("82ff7fffffffffffffff"), { "error 1009" } },
    { "a message over max", frame(0x81, "12345"), { "error 1009" }, 4 },
    { "a message over max by its head alone",
        hex("82ff0000000100000000"), { "error 1009" }, 1000000 },
    { "fragments over max", frame(0x01, "123") .. frame(0x00, "45"), { "error 1009" }, 4 },
    { "close with one byte", frame(0x88, "\3"), { "error 1002" } },
    { "close reason that is not UTF-8", close(1000, "\255"), { "error 1007" } },
    { "close reason cut in a character", close(1000, "\195"), { "error 1007" } },
    { "a bad byte in a text", frame(0x81, "a\255b"), { "error 1007" } },
    { "a text cut in a character", frame(0x81, "a\195"), { "error 1007" } },
    { "fragments cut in a character", frame(0x01, "\195") .. frame(0x80, ""), { "error 1007" } },
    { "a bad byte over two fragments", frame(0x01, "\195") .. frame(0x00, "x"), { "error 1007" } },
    { "a surrogate", frame(0x81, "\237\160\128"), { "error 1007" } },
    { "an overlong slash", frame(0x81, "\192\175"), { "error 1007" } },
    { "a good message before a bad one",
        frame(0x81, "a") .. frame(0xc1, "b"), { "text a", "error 1002" } },
}

for _, opcode in ipairs({ 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 }) do
    for _, fin in ipairs({ 0, 0x80 }) do
        local first = fin + opcode
        cases[#cases + 1] = { ("opcode %02x"):format(first), frame(first, ""), { "error 1002" } }
    end
end

local good_codes = "1000 1001 1002 1003 1007 1008 1009 1010 1011 1012 1013 1014 "
    .. "3000 3001 3999 4000 4999"
for code in good_codes:gmatch("%d+") do
    local event = "close " .. code .. " "
    cases[#cases + 1] = { "close code " .. code, close(tonumber(code)), { event } }
end

local bad_codes = "0 1 999 1004 1005 1006 1015 1016 1100 2000 2999 5000 32768 65535"
for code in bad_codes:gmatch("%d+") do
    cases[#cases + 1] = { "close code " .. code, close(tonumber(code)), { "error 1002" } }
end

describe("ws reader", function()
    for _, case in ipairs(cases) do
        local what, input, expected, max = unpack(case, 1, 4)
        it("answers " .. what .. ", however it arrives", function()
            for pieces in bytes.splits(input) do
                assert.same(expected, read(pieces, max))
            end
        end)
    end

    it("takes the lengths around 64 KiB", function()
        for _, n in ipairs({ 65535, 65536, 65537 }) do
            local body = ("y"):rep(n)
            assert.same({ "text " .. body }, read({ frame(0x81, body) }))
        end
    end)

    it("takes 1024 fragments and no more", function()
        local first, more = frame(0x01, "a"), frame(0x00, "b"):rep(1022)
        local last = frame(0x80, "c")
        local whole = "text a" .. ("b"):rep(1022) .. "c"
        assert.same({ whole }, read({ first .. more .. last }))
        assert.same({ whole, whole }, read({ (first .. more .. last):rep(2) }))
        assert.same({ "error 1009" }, read({ first .. more .. frame(0, "b") .. last }))
    end)

    it("refuses the first bad byte before the frame is complete", function()
        local input = frame(0x81, "a\255" .. ("b"):rep(100)):sub(1, 8)
        assert.same({ "error 1007" }, read({ input }))
    end)

    it("leaves a message of one frame where it is", function()
        local r, out = ffi.new("struct ws_reader"), ffi.new("struct ws_event")
        local input = frame(0x81, "Hello")
        local p = bytes.exact(input)
        lib.ws_reader_init(r, 0)
        assert.equal(1, lib.ws_next(r, p, #input, out))
        assert.is_true(out.data.p == p + 6)
        assert.is_true(r.message.p == nil)
    end)

    it("owns memory only for fragments not yet given out", function()
        read({ frame(0x01, "a") }, 0, function(r)
            assert.is_true(lib.ws_reader_is_amid(r))
            assert.is_false(r.message.p == nil)
        end)
        read({ frame(0x01, "a") .. frame(0x80, "b") }, 0, function(r)
            assert.is_false(lib.ws_reader_is_amid(r))
            assert.is_true(r.message.p == nil)
        end)
        read({ frame(0x01, "a") .. close(1000) }, 0, function(r)
            assert.is_true(r.message.p == nil)
        end)
    end)

    it("begins each message anew, rested or not", function()
        local r, out = ffi.new("struct ws_reader"), ffi.new("struct ws_event")
        local input = frame(0x01, "a") .. frame(0x80, "b")
        lib.ws_reader_init(r, 2)
        for _ = 1, 3 do
            local p = bytes.exact(input)
            assert.equal(1, lib.ws_next(r, p, #input, out))
            assert.equal(0, out.type)
            assert.equal(1, lib.ws_next(r, p + out.size, 7, out))
            assert.equal("ab", ffi.string(out.data.p, out.data.len))
        end
        lib.ws_reader_fini(r)
    end)

    it("says how many bytes a frame needs", function()
        local r, out = ffi.new("struct ws_reader"), ffi.new("struct ws_event")
        lib.ws_reader_init(r, 0)
        local input = frame(0x82, ("x"):rep(300))
        local needs = {}
        for i = 0, 9 do
            local p = bytes.exact(input:sub(1, i))
            assert.equal(0, lib.ws_next(r, p, i, out))
            needs[#needs + 1] = tonumber(out.need)
        end
        assert.same({ 6, 6, 8, 8, 308, 308, 308, 308, 308, 308 }, needs)
    end)
end)

describe("ws_mask", function()
    it("agrees with the definition for any length, place and phase", function()
        local text = ("0123456789abcdefghijklmnopqrstuvwxyz"):rep(2)
        for n = 0, 40 do
            for phase = 0, 7 do
                local at = n % 8
                local p = bytes.exact(text:sub(1, at + n))
                lib.ws_mask(p + at, n, KEY, phase)
                local expected = mask(text:sub(at + 1, at + n), KEY, phase)
                assert.equal(expected, ffi.string(p + at, n))
                assert.equal(text:sub(1, at), ffi.string(p, at))
            end
        end
    end)
end)

describe("ws writer", function()
    --- What `f` appends to a buf where something waits already.
    local function written(f)
        local b = ffi.new("struct buf")
        lib.buf_append(b, "gone", 4)
        lib.buf_append(b, "old", 3)
        lib.buf_consume(b, 4)
        f(b)
        local text = ffi.string(b.p + b.head, b.len)
        lib.buf_fini(b)
        assert.equal("old", text:sub(1, 3))
        return text:sub(4)
    end

    local function put(opcode, body)
        return written(function(b)
            lib.ws_put(b, opcode, { body, #body })
        end)
    end

    local heads = {
        [0] = "8200",
        [1] = "8201",
        [125] = "827d",
        [126] = "827e007e",
        [127] = "827e007f",
        [65535] = "827effff",
        [65536] = "827f0000000000010000",
        [100000] = "827f00000000000186a0",
    }
    for n, head in pairs(heads) do
        it("gives " .. n .. " bytes the head " .. head, function()
            local body = ("0123456789"):rep(n / 10 + 1):sub(1, n)
            assert.equal(hex(head) .. body, put(lib.WS_BINARY, body))
        end)
    end

    it("writes the unmasked Hello of RFC 6455", function()
        assert.equal(hex("810548656c6c6f"), put(lib.WS_TEXT, "Hello"))
    end)

    it("seals what was written behind its head, frame after frame", function()
        local out = written(function(b)
            for _, body in ipairs({ "a", ("b"):rep(200), "" }) do
                local start = lib.ws_begin(b)
                lib.buf_append(b, body, #body)
                lib.ws_seal(b, start, lib.WS_TEXT)
            end
        end)
        local second = hex("817e00c8") .. ("b"):rep(200)
        assert.equal(hex("8101") .. "a" .. second .. hex("8100"), out)
    end)

    local function put_close(code, reason)
        return written(function(b)
            lib.ws_put_close(b, code, { reason, #reason })
        end)
    end

    it("writes a close with code and reason", function()
        assert.equal(hex("880503e8") .. "bye", put_close(1000, "bye"))
        assert.equal(hex("88020fa0"), put_close(4000, ""))
    end)

    it("writes a close without code", function()
        assert.equal(hex("8800"), put_close(lib.WS_NO_CODE, "ignored"))
    end)

    it("cuts a reason between characters", function()
        local long = ("r"):rep(122)
        assert.equal(hex("887c03e8") .. long, put_close(1000, long .. E_ACUTE .. "x"))
        local exact = ("r"):rep(121) .. E_ACUTE
        assert.equal(hex("887d03e8") .. exact, put_close(1000, exact .. "x"))
    end)

    it("leaves out a reason that is not UTF-8", function()
        assert.equal(hex("880203e8"), put_close(1000, "\255"))
    end)
end)

describe("a WebSocket reader that moves", function()
    --- Read `stream`, of which the first `cut` bytes come to one reader and
    --- what that has not used, with the rest, to another.
    local function moved(stream, cut)
        local seen = {}
        local function feed(r, bytes_)
            local out = ffi.new("struct ws_event")
            local base, left = bytes.exact(bytes_), #bytes_
            local p = base
            while left > 0 do
                local n = lib.ws_next(r, p, left, out)
                if n <= 0 then
                    seen[#seen + 1] = n < 0 and "error " .. out.code or nil
                    break
                end
                if out.type ~= 0 then
                    seen[#seen + 1] = NAMES[out.type] .. " "
                        .. ffi.string(out.data.p, out.data.len)
                end
                p, left = p + out.size, left - tonumber(out.size)
            end
            lib.ws_reader_raw(r, p, left)
            return ffi.string(p, left), base
        end
        local a, b = ffi.new("struct ws_reader"), ffi.new("struct ws_reader")
        lib.ws_reader_init(a, 0)
        lib.ws_reader_init(b, 0)
        local rest = feed(a, stream:sub(1, cut))
        local message = { "", 0 }
        if a.opcode ~= 0 then
            message = { a.message.p + a.message.head, a.message.len }
        end
        assert.equal(0, lib.ws_reader_restore(b, a.opcode, a.fragments, message))
        feed(b, rest .. stream:sub(cut + 1))
        lib.ws_reader_fini(a)
        lib.ws_reader_fini(b)
        return table.concat(seen, ", ")
    end

    it("goes on at every place of a stream", function()
        local text = "h\195\169llo \226\130\172 "
        local stream = frame(0x01, text:sub(1, 2)) .. frame(0x89, "ping")
            .. frame(0x00, text:sub(3, 9)) .. frame(0x80, text:sub(10))
            .. frame(0x82, ("b"):rep(200)) .. frame(0x81, text)
        local whole = moved(stream, #stream)
        assert.equal("ping ping, text " .. text .. ", binary " .. ("b"):rep(200)
            .. ", text " .. text, whole)
        for cut = 0, #stream do
            assert.equal(whole, moved(stream, cut), "cut at " .. cut)
        end
    end)

    it("refuses what no reader can have come to", function()
        local r = ffi.new("struct ws_reader")
        lib.ws_reader_init(r, 10)
        local function restore(opcode, fragments, message)
            return lib.ws_reader_restore(r, opcode, fragments, { message, #message })
        end
        assert.equal(lib.SD_EINVALID, restore(0, 1, ""))
        assert.equal(lib.SD_EINVALID, restore(0, 0, "a"))
        assert.equal(lib.SD_EINVALID, restore(8, 1, ""))
        assert.equal(lib.SD_EINVALID, restore(2, 0, "a"))
        assert.equal(lib.SD_EINVALID, restore(2, 1025, "a"))
        assert.equal(lib.SD_EINVALID, restore(1, 1, "\255"))
        assert.equal(lib.SD_ETOOLARGE, restore(2, 1, ("a"):rep(11)))
        assert.equal(0, restore(2, 1, ("a"):rep(10)))
        lib.ws_reader_fini(r)
    end)
end)
