-- The table of processes: epochs, states, and the choice of the least busy.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/slots.h")

local function table_of(n)
    local raw = ffi.new("uint8_t[?]", tonumber(lib.slots_size(n)) + 64)
    local at = tonumber(ffi.cast("uintptr_t", raw) % 64ULL)
    return lib.slots_init(raw + (64 - at) % 64, n), raw
end

describe("slots", function()
    local s, keep

    before_each(function()
        s, keep = table_of(6)
        lib.slots_assign(s, 0, lib.SLOT_WORKER, 0)
        lib.slots_assign(s, 1, lib.SLOT_WORKER, 1)
        for i = 2, 5 do
            lib.slots_assign(s, i, lib.SLOT_TASK, i - 2)
        end
    end)

    local function read(i)
        local info = ffi.new("struct slot_info")
        lib.slots_read(s, i, info)
        return info
    end

    it("begins empty, at epoch 1", function()
        local info = read(3)
        assert.same({ lib.SLOT_TASK, 1, lib.SLOT_EMPTY, 1, 0 },
            { info.role, info.index, info.state, info.epoch, info.pid })
        assert.is_not_nil(keep)
    end)

    it("raises the epoch at each end, and never to 0", function()
        for i = 1, 65535 do
            assert.equal(i, lib.slots_end(s, 0))
        end
        assert.equal(1, lib.slots_epoch(s, 0))
    end)

    it("counts restarts and zeroes the figures of the dead", function()
        lib.slots_fill(s, 1, 77, 1000)
        lib.slots_set(s, 1, lib.SLOT_CONNS, 12)
        assert.equal(0ULL, lib.slots_get(s, 1, lib.SLOT_RESTARTS))
        lib.slots_end(s, 1)
        lib.slots_fill(s, 1, 78, 2000)
        local info = read(1)
        assert.same({ lib.SLOT_STARTING, 2, 78 },
            { info.state, info.epoch, info.pid })
        assert.equal(1ULL, info.figure[lib.SLOT_RESTARTS])
        assert.equal(0ULL, info.figure[lib.SLOT_CONNS])
        assert.equal(2000ULL, info.figure[lib.SLOT_STARTED])
    end)

    it("knows who is alive", function()
        for _, case in ipairs({
            { lib.SLOT_EMPTY, 0 }, { lib.SLOT_STARTING, 1 },
            { lib.SLOT_READY, 1 }, { lib.SLOT_DRAINING, 1 },
            { lib.SLOT_DEAD, 0 }, { lib.SLOT_BROKEN, 0 },
        }) do
            lib.slots_set_state(s, 2, case[1])
            assert.equal(case[2], lib.slots_is_alive(s, 2, 1))
            assert.equal(0, lib.slots_is_alive(s, 2, 2))
        end
    end)

    it("names roles and states", function()
        assert.equal("worker", ffi.string(lib.slot_role_name(lib.SLOT_WORKER)))
        assert.equal("broken", ffi.string(lib.slot_state_name(lib.SLOT_BROKEN)))
        assert.equal("unknown", ffi.string(lib.slot_state_name(99)))
    end)
end)
