local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/conn_image.h")
c.use("base/err.h")

local function slice(text)
    return ffi.new("struct slice", text, #text)
end

local function text_of(s)
    return ffi.string(s.p, s.len)
end

local function short(s)
    return string.char(0xa0 + #s) .. s
end

local function map(fields)
    local n, out = 0, ""
    for key, value in pairs(fields) do
        n, out = n + 1, out .. short(key) .. value
    end
    return "\222" .. string.char(0, n) .. out
end

--- The least that is an image, and `more` fields.
local function image(more)
    local fields = { v = "\1", port = short("game"), pack = short("tcp"),
        peer = short("\127\0\0\1") }
    for key, value in pairs(more or {}) do
        fields[key] = value or nil -- false: without it
    end
    return map(fields)
end

local function read(bytes)
    local out = ffi.new("struct conn_image")
    local rc = lib.conn_image_read(out, slice(bytes))
    return rc == 0 and out or nil, rc, bytes -- kept for the slices
end

describe("the image of a conn", function()
    it("is read with what is missing as zero", function()
        local got, _, keep = read(image())
        assert.equal("game", text_of(got.port))
        assert.equal(0, tonumber(got.idle))
        assert.is_false(got.has_eof)
        assert.equal(0, tonumber(got.out.len))
        assert.is_string(keep)
    end)

    it("passes over keys it does not know, whatever they hold", function()
        local got = read(image({
            later = "\147\1\129\161a\192\196\2\0\255",
            idle_ms = "\205\3\232",
        }))
        assert.equal(1000, tonumber(got.idle))
    end)

    it("is written as it was read", function()
        local got, _, keep = read(image({
            ["in"] = short("half a pac"), packets = "\146" .. short("a") .. short(""),
            out = "\147" .. short("reply") .. "\147" .. short("frame")
                .. short("value") .. "\207\255\255\255\255\255\255\255\255" .. short("x"),
            eof = "\195", uid = short("ann"), session = short("\129\161a\1"),
            paid_bytes = "\203\64\89\64\0\0\0\0\0", peer_port = "\205\255\255",
        }))
        local b = ffi.new("struct buf")
        lib.conn_image_write(b, got)
        local again = read(ffi.string(b.p + b.head, b.len))
        for _, name in ipairs({ "in", "packets", "out", "uid", "session", "pack" }) do
            assert.equal(text_of(got[name]), text_of(again[name]), name)
        end
        assert.equal(101, again.paid_bytes)
        assert.is_true(again.has_eof)
        lib.buf_fini(b)
        assert.is_string(keep)
    end)

    it("gives its output piece by piece", function()
        local got, _, keep = read(image({ out = "\146" .. short("reply")
            .. "\147" .. short("frame") .. short("value") .. "\7" }))
        local walk, piece = ffi.new("struct conn_walk"), ffi.new("struct conn_piece")
        lib.conn_walk_begin(walk, got.out)
        assert.is_true(lib.conn_walk_piece(walk, piece))
        assert.is_false(piece.is_push)
        assert.equal("reply", text_of(piece.bytes))
        assert.is_true(lib.conn_walk_piece(walk, piece))
        assert.is_true(piece.is_push)
        assert.equal("value", text_of(piece.value))
        assert.equal(7, tonumber(piece.key))
        assert.is_false(lib.conn_walk_piece(walk, piece))
        assert.is_string(keep)
    end)

    it("is refused with anything that is not sound", function()
        local bad = {
            empty = "", list = "\144", torn = image():sub(1, -2),
            behind = image() .. "\0",
        }
        for key, value in pairs({
            v = "\2", port = short(""), peer = short("\127\0\0"), idle_ms = "\255",
            peer_port = "\206\0\1\0\0", paid_bytes = "\203\127\240\0\0\0\0\0\0",
            auth_ms = "\207\255\255\255\255\255\255\255\255", eof = "\1",
            uid = short("a\0b"), session = short("\193"), packets = "\145\1",
            out = "\145\146" .. short("frame") .. short("value"), ["in"] = "\1",
        }) do
            bad[key] = image({ [key] = value })
        end
        bad.out_empty = image({ out = "\145" .. short("") })
        bad.uid_long = image({ uid = "\217\129" .. ("u"):rep(129) })
        bad.no_version = image({ v = false })
        for what, bytes in pairs(bad) do
            local got, rc = read(bytes)
            assert.is_nil(got, what)
            assert.equal(lib.SD_EINVALID, rc)
        end
    end)
end)
