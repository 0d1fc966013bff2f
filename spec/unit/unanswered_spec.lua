local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("cluster/unanswered.h")

local function new()
    return ffi.gc(ffi.new("struct unanswered"), lib.unanswered_fini)
end

local function frame(n)
    return ffi.cast("void *", n)
end

local function number_of(p)
    return tonumber(ffi.cast("intptr_t", p))
end

describe("cluster/unanswered", function()
    it("numbers from 1, and gives each frame back once, in any order", function()
        local u, left = new(), {}
        for n = 1, 5000 do
            assert.equal(n, tonumber(lib.unanswered_add(u, frame(n))))
            left[n] = n
        end
        for n = #left, 2, -1 do
            local other = math.random(n)
            left[n], left[other] = left[other], left[n]
        end
        for i, n in ipairs(left) do
            assert.equal(n, number_of(lib.unanswered_take(u, n)))
            assert.is_true(lib.unanswered_take(u, n) == nil)
            assert.equal(5000 - i, u.count)
        end
    end)

    it("knows no number that it has not given, or that is answered", function()
        local u = new()
        assert.is_true(lib.unanswered_take(u, 0) == nil)
        assert.is_true(lib.unanswered_take(u, 1) == nil)
        lib.unanswered_add(u, frame(1))
        for _, n in ipairs({ 0ULL, 2ULL, 257ULL, 0ULL - 1 }) do
            assert.is_true(lib.unanswered_take(u, n) == nil)
        end
        assert.equal(1, number_of(lib.unanswered_oldest(u)))
        assert.is_true(lib.unanswered_oldest(u) == nil)
    end)

    it("stays small while answers keep up, and grows behind one that waits", function()
        local u = new()
        for n = 1, 100000 do
            lib.unanswered_add(u, frame(n))
            assert.equal(n, number_of(lib.unanswered_oldest(u)))
        end
        assert.equal(256, u.room)
        for n = 1, 3000 do
            lib.unanswered_add(u, frame(n))
            if n > 1 then
                assert.equal(n, number_of(lib.unanswered_take(u, 100000 + n)))
            end
        end
        assert.equal(1, u.count)
        assert.equal(4096, u.room)
        assert.equal(1, number_of(lib.unanswered_oldest(u)))
    end)

    it("has an end to how far others may pass one that waits", function()
        local u = new()
        lib.unanswered_add(u, frame(1))
        for n = 2, lib.UNANSWERED_SPAN do
            lib.unanswered_add(u, frame(n))
            lib.unanswered_take(u, n)
        end
        assert.is_false(lib.unanswered_has_room(u))
        lib.unanswered_take(u, 1)
        assert.is_true(lib.unanswered_has_room(u))
    end)
end)
