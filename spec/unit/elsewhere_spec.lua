-- Uids with conns on several nodes: none is missed, few are there by chance.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/elsewhere.h")

describe("the map of uids that are elsewhere", function()
    local map, keep

    before_each(function()
        keep = ffi.new("uint8_t[?]", tonumber(lib.elsewhere_size()) + 64)
        local at = tonumber(ffi.cast("uintptr_t", keep) % 64ULL)
        map = ffi.cast("struct elsewhere *", keep + (64 - at) % 64)
    end)

    local function slice(text)
        return ffi.new("struct slice", { text, #text })
    end

    it("is empty at first", function()
        assert.is_true(lib.elsewhere_is_empty(map))
        assert.is_false(lib.elsewhere_has(map, slice("ann")))
    end)

    it("has whoever was set, and hardly anybody else", function()
        for i = 1, 1000 do
            lib.elsewhere_set(map, slice("u" .. i))
        end
        assert.is_false(lib.elsewhere_is_empty(map))
        local others = 0
        for i = 1, 1000 do
            assert.is_true(lib.elsewhere_has(map, slice("u" .. i)))
            others = others + (lib.elsewhere_has(map, slice("v" .. i)) and 1 or 0)
        end
        assert.is_true(others < 20) -- about one is
    end)

    it("forgets who is not set again between two turns", function()
        lib.elsewhere_set(map, slice("ann"))
        lib.elsewhere_set(map, slice("ben"))
        for _ = 1, 5 do
            lib.elsewhere_turn(map)
            assert.is_true(lib.elsewhere_has(map, slice("ann")))
            assert.is_false(lib.elsewhere_set(map, slice("ann")))
        end
        assert.is_false(lib.elsewhere_has(map, slice("ben")))
        lib.elsewhere_turn(map)
        assert.is_true(lib.elsewhere_has(map, slice("ann")))
        lib.elsewhere_turn(map)
        assert.is_false(lib.elsewhere_has(map, slice("ann")))
        assert.is_true(lib.elsewhere_is_empty(map))
    end)

    it("says whether it is new", function()
        assert.is_true(lib.elsewhere_set(map, slice("ann")))
        assert.is_false(lib.elsewhere_set(map, slice("ann")))
    end)
end)
