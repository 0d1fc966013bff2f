local c = require("spec.support.c")
local ffi = require("ffi")

c.use("ipc/slots.h")
local lib = c.use("ipc/tally.h")

local WORKERS, NUMBERS, KEYS = 3, 2, 100

describe("a tally", function()
    local keep, mem, slots, open

    --- Zeroed memory on a line of the cache.
    local function memory(size)
        local raw = ffi.new("char[?]", size + lib.TALLY_ALIGN)
        keep[#keep + 1] = raw
        local at = ffi.cast("uintptr_t", raw)
        return raw + tonumber(-at % lib.TALLY_ALIGN)
    end

    local function start(slot)
        lib.slots_fill(slots, slot, 1000 + slot, 1)
        local t = lib.tally_open(mem, slots, slot,
            lib.slots_epoch(slots, slot))
        open[slot] = ffi.gc(t, function(one)
            lib.tally_close(ffi.new("struct tally *[1]", one))
        end)
        return open[slot]
    end

    local function key(t, name)
        return lib.tally_key(t, ffi.new("struct slice", name, #name))
    end

    before_each(function()
        local shape = ffi.new("struct tally_shape", WORKERS, NUMBERS, KEYS)
        keep, open = {}, {}
        mem = memory(tonumber(lib.tally_size(shape)))
        lib.tally_init(mem, shape)
        slots = lib.slots_init(memory(tonumber(lib.slots_size(WORKERS))),
            WORKERS)
        for slot = 0, WORKERS - 1 do
            lib.slots_assign(slots, slot, lib.SLOT_WORKER, slot)
            start(slot)
        end
    end)

    it("judges a limit by what all workers have", function()
        assert.is_true(lib.tally_take(open[0], 1, 3))
        assert.is_true(lib.tally_take(open[1], 1, 3))
        assert.is_true(lib.tally_take(open[2], 1, 3))
        assert.is_false(lib.tally_take(open[0], 1, 3))
        assert.equal(3, lib.tally_sum(open[1], 1))
        assert.equal(0, lib.tally_sum(open[1], 0))
        lib.tally_give(open[2], 1)
        assert.is_true(lib.tally_take(open[0], 1, 3))
    end)

    it("has no limit at 0", function()
        for _ = 1, 1000 do
            assert.is_true(lib.tally_take(open[0], 0, 0))
        end
        assert.equal(1000, lib.tally_sum(open[1], 0))
    end)

    it("counts each key by itself", function()
        local a, b = key(open[0], "a"), key(open[0], "b")
        assert.is_true(a == key(open[2], "a"))
        assert.is_true(lib.tally_take_key(open[0], a, 2))
        assert.is_true(lib.tally_take_key(open[1], a, 2))
        assert.is_false(lib.tally_take_key(open[2], a, 2))
        assert.is_true(lib.tally_take_key(open[2], b, 2))
        lib.tally_give_key(open[0], a)
        assert.equal(1, lib.tally_sum_key(open[2], a))
        assert.is_true(lib.tally_take_key(open[2], a, 2))
        assert.equal(1, lib.tally_sum_key(open[0], b))
    end)

    it("forgets a worker with its epoch", function()
        local a = key(open[0], "a")
        lib.tally_take(open[0], 0, 0)
        lib.tally_take(open[1], 0, 0)
        lib.tally_take_key(open[1], a, 0)
        lib.slots_end(slots, 1)
        assert.equal(1, lib.tally_sum(open[0], 0))
        assert.equal(0, lib.tally_sum_key(open[0], a))
        start(1)
        assert.equal(1, lib.tally_sum(open[0], 0))
        assert.equal(0, lib.tally_sum_key(open[1], a))
        assert.is_true(lib.tally_take_key(open[1], a, 1))
    end)

    it("refuses a key when it has no room for more", function()
        local n = 0
        while lib.tally_take_key(open[0], n + 1, 0) do
            n = n + 1
            assert.is_true(n < 1000)
        end
        assert.is_true(n >= KEYS)
        lib.tally_give_key(open[0], 1)
        assert.is_true(lib.tally_take_key(open[0], 5000, 0))
    end)

    it("agrees with a table of Lua, whatever comes and goes", function()
        local model, seed = {}, os.time()
        math.randomseed(seed)
        for step = 1, 20000 do
            -- Few homes, so that runs are long and wrap around.
            local k = math.random(0, 3) * 256 + math.random(250, 280)
            local has = model[k] or 0
            if has > 0 and math.random(2) == 1 then
                lib.tally_give_key(open[0], k)
                model[k] = has - 1
            else
                assert.is_true(lib.tally_take_key(open[0], k, 0))
                model[k] = has + 1
            end
            if step % 500 == 0 then
                for each, n in pairs(model) do
                    assert(n == lib.tally_sum_key(open[1], each),
                        ("key %d, step %d, seed %d"):format(each, step, seed))
                end
            end
        end
    end)
end)
