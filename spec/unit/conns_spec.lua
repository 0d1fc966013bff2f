local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/conns.h")

local function new_table(slot, epoch)
    local t = ffi.new("struct conns *[1]", lib.conns_new(slot, epoch))
    return ffi.gc(t, lib.conns_free)
end

local function pointer(n)
    return ffi.cast("void *", n)
end

describe("net/conns", function()
    it("finds what was added, by its id only", function()
        local t = new_table(3, 700)
        local a = lib.conns_add(t[0], pointer(16))
        local b = lib.conns_add(t[0], pointer(32))
        assert.is_true(lib.conns_find(t[0], a) == pointer(16))
        assert.is_true(lib.conns_find(t[0], b) == pointer(32))
        assert.equal(3, lib.conns_slot(a))
        assert.equal(700, lib.conns_epoch(a))
        for bit = 0, 63 do
            local other = require("bit").bxor(a, ffi.cast("uint64_t", 1)
                * ffi.cast("uint64_t", 2) ^ bit)
            if other ~= b then
                assert.is_true(lib.conns_find(t[0], other) == nil)
            end
        end
        assert.is_true(lib.conns_find(t[0], 0) == nil)
    end)

    it("keeps the index of a withdrawn id until it is returned", function()
        local t = new_table(0, 1)
        local a = lib.conns_add(t[0], pointer(8))
        lib.conns_withdraw(t[0], a)
        assert.is_true(lib.conns_find(t[0], a) == nil)
        local b = lib.conns_add(t[0], pointer(16))
        lib.conns_return(t[0], a)
        local again = lib.conns_add(t[0], pointer(24))
        local function index(id)
            return tonumber(id / 2 ^ 20 % 2 ^ 20)
        end
        assert.are_not.equal(index(a), index(b))
        assert.equal(index(a), index(again))
        assert.is_true(lib.conns_find(t[0], a) == nil)
    end)

    it("reuses free indexes oldest first, under new ids", function()
        local t = new_table(0, 1)
        local ids = {}
        for i = 1, 3 do
            ids[i] = lib.conns_add(t[0], pointer(i * 8))
        end
        lib.conns_remove(t[0], ids[2])
        lib.conns_remove(t[0], ids[1])
        assert.is_true(lib.conns_find(t[0], ids[2]) == nil)
        local again = lib.conns_add(t[0], pointer(64))
        assert.is_true(again == ids[2] + 1)
        assert.is_true(lib.conns_add(t[0], pointer(72)) == ids[1] + 1)
        assert.is_true(lib.conns_find(t[0], ids[2]) == nil)
    end)

    it("retires an index at its last generation", function()
        local t = new_table(0, 1)
        lib.conns_set_first_generation(t[0], 2 ^ 20 - 2)
        local a = lib.conns_add(t[0], pointer(8))
        lib.conns_remove(t[0], a)
        local b = lib.conns_add(t[0], pointer(8))
        assert.is_true(b == a + 1)
        lib.conns_remove(t[0], b)
        local other = lib.conns_add(t[0], pointer(8))
        assert.is_true(other - a == 2 ^ 20)
    end)

    it("walks over all conns while some go", function()
        local t = new_table(0, 1)
        local ids, seen = {}, 0
        for i = 1, 100 do
            ids[i] = lib.conns_add(t[0], pointer(i))
        end
        local cursor = ffi.new("uint32_t[1]")
        local p = lib.conns_next(t[0], cursor)
        while p ~= nil do
            seen = seen + 1
            lib.conns_remove(t[0], ids[tonumber(ffi.cast("uintptr_t", p))])
            p = lib.conns_next(t[0], cursor)
        end
        assert.equal(100, seen)
        cursor[0] = 0
        assert.is_true(lib.conns_next(t[0], cursor) == nil)
    end)

    it("gives up when every index is used", function()
        local t = new_table(0, 1)
        for _ = 1, 2 ^ 20 do
            lib.conns_add(t[0], pointer(8))
        end
        assert.is_true(lib.conns_add(t[0], pointer(8)) == 0)
    end)
end)
