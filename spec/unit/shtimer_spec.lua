-- The timers' block: one run per due time, whoever asks and whoever dies.
local ffi = require("ffi")
local c = require("spec.support.c")

jit.off(true, true) -- C calls back into Lua here

local lib = c.use("ipc/shtimer.h")

local RUN, SKIPPED = lib.SHTIMER_RUN, lib.SHTIMER_SKIPPED
local TAKEN = lib.SHTIMER_TAKEN

local function block()
    local size = tonumber(lib.shtimer_size())
    local raw = ffi.new("uint8_t[?]", size + 64)
    local at = tonumber(ffi.cast("uintptr_t", raw) % 64ULL)
    return ffi.cast("struct shtimer *", raw + (64 - at) % 64), raw
end

--- Processes as "slot:epoch" that live.
local live = {}
local alive = ffi.cast("shtimer_alive", function(_, slot, epoch)
    return live[slot .. ":" .. epoch] == true
end)

local function asker(slot, epoch, gen)
    live[slot .. ":" .. epoch] = true
    return ffi.new("struct shtimer_asker", {
        gen = gen or 1, slot = slot, epoch = epoch, alive = alive,
    })
end

local function due(t, gen)
    return tonumber(lib.shtimer_due(t, 0, gen or 1))
end

local function runs(t, gen)
    return tonumber(lib.shtimer_runs(t, 0, gen or 1))
end

describe("shtimer_plan", function()
    it("is done once per generation", function()
        local t, keep = block()
        assert.equal(0, due(t))
        assert.is_true(lib.shtimer_plan(t, 0, 1, 100))
        assert.is_false(lib.shtimer_plan(t, 0, 1, 500))
        assert.equal(100, due(t))
        assert.is_true(lib.shtimer_plan(t, 0, 2, 700))
        assert.is_false(lib.shtimer_plan(t, 0, 1, 900))
        assert.equal(0, due(t, 1))
        assert.equal(700, due(t, 2))
        assert.is_not_nil(keep)
    end)

    it("works over hundreds of generations", function()
        local t, keep = block()
        local me = asker(1, 1)
        for gen = 1, 700 do
            assert.is_true(lib.shtimer_plan(t, 0, gen, 10))
            assert.equal(0, runs(t, gen))
            me.gen = gen
            assert.equal(RUN, lib.shtimer_claim(t, 0, me, 10, 20, true))
            assert.equal(1, runs(t, gen))
        end
        assert.is_not_nil(keep)
    end)
end)

describe("shtimer_next", function()
    for _, case in ipairs({
        { due = 100, every = 10, now = 100, want = 110 },
        { due = 100, every = 10, now = 109, want = 110 },
        { due = 100, every = 10, now = 110, want = 120 },
        { due = 100, every = 10, now = 199, want = 200 },
        { due = 100, every = 10, now = 50, want = 110 },
        { due = 7, every = 1, now = 7, want = 8 },
    }) do
        it(("of %d every %d at %d is %d"):format(case.due, case.every,
            case.now, case.want), function()
            assert.equal(case.want, tonumber(
                lib.shtimer_next(case.due, case.every, case.now)))
        end)
    end
end)

describe("shtimer_claim", function()
    local t, keep

    before_each(function()
        live = {}
        t, keep = block()
        lib.shtimer_plan(t, 0, 1, 100)
    end)

    it("gives each due time to one asker", function()
        local a, b = asker(0, 1), asker(1, 1)
        assert.equal(RUN, lib.shtimer_claim(t, 0, a, 100, 110, false))
        assert.equal(TAKEN, lib.shtimer_claim(t, 0, b, 100, 110, false))
        lib.shtimer_done(t, 0, a)
        assert.equal(110, due(t))
        assert.equal(RUN, lib.shtimer_claim(t, 0, b, 110, 120, false))
        assert.equal(2, runs(t))
        assert.is_not_nil(keep)
    end)

    it("skips, uncounted, while the last run goes on", function()
        local a = asker(0, 1)
        lib.shtimer_claim(t, 0, a, 100, 110, false)
        assert.is_true(lib.shtimer_is_running(t, 0, a))
        assert.equal(SKIPPED, lib.shtimer_claim(t, 0, a, 110, 120, false))
        assert.equal(1, runs(t))
        lib.shtimer_done(t, 0, a)
        assert.is_false(lib.shtimer_is_running(t, 0, a))
        assert.equal(RUN, lib.shtimer_claim(t, 0, a, 120, 130, false))
    end)

    it("runs beside itself with overlap", function()
        local a = asker(0, 1)
        assert.equal(RUN, lib.shtimer_claim(t, 0, a, 100, 110, true))
        assert.equal(RUN, lib.shtimer_claim(t, 0, a, 110, 120, true))
    end)

    it("does not wait for a run whose process has died", function()
        local a, b = asker(0, 1), asker(0, 2)
        lib.shtimer_claim(t, 0, a, 100, 110, false)
        live["0:1"] = nil
        assert.equal(RUN, lib.shtimer_claim(t, 0, b, 110, 120, false))
        lib.shtimer_done(t, 0, a) -- of the dead: means nothing
        assert.is_true(lib.shtimer_is_running(t, 0, b))
    end)

    it("ends with a last run", function()
        local a = asker(0, 1)
        assert.equal(RUN, lib.shtimer_claim(t, 0, a, 100, 0, false))
        assert.equal(0, due(t))
        assert.equal(TAKEN, lib.shtimer_claim(t, 0, a, 0, 10, false))
    end)

    it("refuses a process of another generation", function()
        local old = asker(0, 1, 1)
        lib.shtimer_plan(t, 0, 2, 100)
        assert.equal(TAKEN, lib.shtimer_claim(t, 0, old, 100, 110, false))
    end)

    it("counts beyond 16 bits", function()
        local a = asker(0, 1)
        for i = 1, 70000 do
            lib.shtimer_claim(t, 0, a, 99 + i, 100 + i, true)
        end
        assert.equal(70000, runs(t))
    end)

    it("neither doubles nor misses over random deaths", function()
        local seed = os.time()
        math.randomseed(seed)
        local epochs, ran, now = { 1, 1, 1 }, {}, 100
        for _ = 1, 20000 do
            now = now + math.random(0, 7)
            local slot = math.random(3)
            local me = asker(slot, epochs[slot])
            local when = due(t)
            if when <= now then
                local after = lib.shtimer_next(when, 10, now)
                local got = lib.shtimer_claim(t, 0, me, when, after, false)
                assert.is_nil(ran[when], "seed " .. seed)
                ran[when] = true
                assert.equal(RUN, got)
                if math.random(3) == 1 then
                    live[slot .. ":" .. epochs[slot]] = nil
                    epochs[slot] = epochs[slot] + 1
                else
                    lib.shtimer_done(t, 0, me)
                end
            end
            assert.is_true(due(t) > now - 10, "seed " .. seed)
            assert.equal(0, (due(t) - 100) % 10)
        end
    end)
end)
