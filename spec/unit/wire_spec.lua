local ffi = require("ffi")
local c = require("spec.support.c")
local slice = require("spec.support.bytes").slice

local lib = c.use("codec/wire.h")
c.use("base/err.h")

local FIELDS = { "boot", "counter", "life_ms", "len", "type", "flags", "epoch", "slot" }
local TICKET = { "vm", "index", "generation" }

local function head(t)
    local h = ffi.new("struct wire_head")
    for k, v in pairs(t) do
        h[k] = v
    end
    return h
end

local full = head({
    boot = 0x0102030405060708ULL,
    counter = 0xf1f2f3f4f5f6f7f8ULL,
    ticket = { vm = 0xa1a2a3a4, index = 0xb1b2b3b4, generation = 0xc1c2c3c4 },
    life_ms = 0xd1d2d3d4,
    type = 0xe1e2,
    flags = 3,
    epoch = 0x1112,
    slot = 0x21,
})

local function write(h, body)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local err = lib.wire_write(out, h, ffi.new("struct slice", { body, #body }))
    if err < 0 then
        assert.equal(0, tonumber(out.len))
        return nil, err
    end
    return ffi.string(out.p + out.head, out.len)
end

local function read(bytes)
    local h, body = ffi.new("struct wire_head"), ffi.new("struct slice")
    local s = slice(bytes)
    local n = lib.wire_read(h, body, s)
    if n < 0 then
        return n, h
    end
    assert.equal(s.p + lib.WIRE_HEAD, body.p)
    return n, h, ffi.string(s.p + lib.WIRE_HEAD, body.len)
end

local function assert_same(want, got)
    for _, name in ipairs(FIELDS) do
        assert.equal(want[name], got[name], name)
    end
    for _, name in ipairs(TICKET) do
        assert.equal(want.ticket[name], got.ticket[name], name)
    end
end

describe("wire", function()
    it("lays a head out byte by byte", function()
        local hex = write(full, "xyz"):gsub(".", function(x)
            return ("%02x"):format(x:byte())
        end)
        assert.equal("01" .. "21" .. "e2e1" .. "0300" .. "1211" .. "0807060504030201"
            .. "f8f7f6f5f4f3f2f1" .. "a4a3a2a1" .. "b4b3b2b1" .. "c4c3c2c1" .. "d4d3d2d1"
            .. "03000000" .. "78797a", hex)
    end)

    it("reads back what it wrote, and how long it is", function()
        for _, body in ipairs({ "", "x", ("\0\255"):rep(5000) }) do
            local bytes = write(full, body)
            local n, h, got = read(bytes .. "next")
            assert.equal(#bytes, n)
            assert.equal(body, got)
            full.len = #body
            assert_same(full, h)
        end
    end)

    it("asks for more until a message is whole", function()
        local bytes = write(full, "body")
        for i = 0, #bytes - 1 do
            assert.equal(lib.SD_EAGAIN, (read(bytes:sub(1, i))))
        end
    end)

    it("knows a body that travels beside", function()
        local h = head({ flags = lib.WIRE_FD })
        local bytes = write(h, ("x"):rep(100))
        assert.equal(tonumber(lib.WIRE_HEAD), #bytes)
        local n, got, body = read(bytes)
        assert.equal(#bytes, n)
        assert.equal(100, got.len)
        assert.equal("", body)
    end)

    it("refuses another version, unknown flags and too large a body", function()
        local bytes = write(full, "")
        local function with(at, text)
            return (read(bytes:sub(1, at) .. text .. bytes:sub(at + #text + 1)))
        end
        assert.equal(#bytes, with(0, "\1"))
        assert.equal(lib.SD_EPROTO, with(0, "\2"))
        assert.equal(lib.SD_EPROTO, (read("\0")))
        assert.equal(lib.SD_EPROTO, with(4, "\8"))
        assert.equal(lib.SD_EPROTO, with(5, "\1"))
        assert.equal(lib.SD_EPROTO, with(40, "\255\255\255\255"))
        assert.equal(lib.SD_EAGAIN, with(40, "\0\0\129\0"))
        assert.equal(lib.SD_EPROTO, with(40, "\1\0\129\0"))
        local got, err = write(full, ("x"):rep(lib.WIRE_BODY_MAX + 1))
        assert.is_nil(got)
        assert.equal(lib.SD_ETOOLARGE, err)
    end)

    it("counts a message's life down", function()
        local h = head({ life_ms = 100 })
        assert.is_true(lib.wire_age(h, 40))
        assert.equal(60, h.life_ms)
        assert.is_true(lib.wire_age(h, 0))
        assert.is_true(lib.wire_age(h, 59))
        assert.is_false(lib.wire_age(h, 1))
        assert.is_false(lib.wire_age(h, 0))
        h.life_ms = 5
        assert.is_false(lib.wire_age(h, 2 ^ 40))
        h.life_ms = 0xffffffff
        assert.is_true(lib.wire_age(h, 2 ^ 40))
        assert.equal(0xffffffff, h.life_ms)
    end)

    it("changes the life of a written head, and nothing else", function()
        local before = ffi.new("char[?]", lib.WIRE_HEAD)
        local after = ffi.new("char[?]", lib.WIRE_HEAD)
        lib.wire_encode(before, head({ life_ms = 100 }))
        lib.wire_encode(after, head({ life_ms = 0x01020304 }))
        lib.wire_set_life(before, 0x01020304)
        assert.equal(ffi.string(after, lib.WIRE_HEAD), ffi.string(before, lib.WIRE_HEAD))
    end)
end)
