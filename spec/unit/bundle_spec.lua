local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("base/bundle.h")
c.use("base/err.h")
pcall(ffi.cdef, "int close(int fd);")
ffi.cdef("int memfd_create(const char *name, unsigned flags);")

local function slice(text)
    return ffi.new("struct slice", { text, #text })
end

local function write(entries)
    local b = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    lib.bundle_begin(b)
    for _, e in ipairs(entries) do
        lib.bundle_add(b, e[1], slice(e[2]))
    end
    lib.bundle_end(b)
    return ffi.string(b.p + b.head, b.len)
end

local out = ffi.new("struct bundle *[1]")

local function get(bundle, name)
    local data = ffi.new("struct slice[1]")
    if lib.bundle_get(bundle, name, data) == 1 then
        assert.equal(0, data[0].p[data[0].len])
        return ffi.string(data[0].p, data[0].len)
    end
end

local entries = {
    { "conf", "server.workers\0004\0" },
    { "scripts/app.lua", "return {}" },
    { "config", "" },
    { "scripts/app.lua", "return 2" },
}

describe("bundle", function()
    it("gives back what was written, from a sealed file", function()
        local fd = lib.bundle_seal(slice(write(entries)))
        assert.is_true(fd >= 0)
        assert.equal(0, lib.bundle_open(out, fd))
        ffi.C.close(fd)
        assert.equal("server.workers\0004\0", get(out[0], "conf"))
        assert.equal("return 2", get(out[0], "scripts/app.lua"))
        assert.equal("", get(out[0], "config"))
        assert.is_nil(get(out[0], "scripts"))
        assert.is_nil(get(out[0], "zzz"))
        assert.is_nil(get(out[0], ""))
        lib.bundle_close(out)
    end)

    it("iterates in the order written", function()
        local bytes = write(entries)
        assert.equal(0, lib.bundle_open_bytes(out, slice(bytes)))
        local name = ffi.new("struct slice[2]")
        assert.equal(4, lib.bundle_count(out[0]))
        for i, e in ipairs(entries) do
            lib.bundle_at(out[0], i - 1, name, name + 1)
            assert.equal(e[1], ffi.string(name[0].p, name[0].len))
            assert.equal(e[2], ffi.string(name[1].p, name[1].len))
        end
        lib.bundle_close(out)
    end)

    it("may be empty", function()
        local bytes = write({})
        assert.equal(0, lib.bundle_open_bytes(out, slice(bytes)))
        assert.equal(0, lib.bundle_count(out[0]))
        assert.is_nil(get(out[0], "conf"))
        lib.bundle_close(out)
    end)

    it("refuses every cut and every tail", function()
        local bytes = write(entries)
        for n = 0, #bytes - 1 do
            local part = bytes:sub(1, n)
            assert.equal(lib.SD_EPROTO, lib.bundle_open_bytes(out, slice(part)))
        end
        assert.equal(lib.SD_EPROTO, lib.bundle_open_bytes(out, slice(bytes .. "x")))
    end)

    it("refuses lengths and counts that lie", function()
        local bytes = write({ { "a", "b" } })
        for at = 13, 24 do
            local bad = bytes:sub(1, at - 1) .. "\255" .. bytes:sub(at + 1)
            assert.equal(lib.SD_EPROTO, lib.bundle_open_bytes(out, slice(bad)))
        end
        local hidden = bytes:sub(1, -5) .. "\0\0b\0"
        assert.equal(lib.SD_EPROTO, lib.bundle_open_bytes(out, slice(hidden)))
    end)

    it("refuses a file that could still change", function()
        local fd = ffi.C.memfd_create("open", 3)
        assert.equal(lib.SD_EREFUSED, lib.bundle_open(out, fd))
        ffi.C.close(fd)
        assert.is_true(lib.bundle_open(out, -1) < 0)
    end)
end)
