local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("loop/wheel.h")

local function new_wheel(now)
    local w = ffi.new("struct wheel")
    lib.wheel_init(w, now)
    return w
end

local function index_of(timers, t)
    return tonumber(t - timers)
end

local NEVER = 0xffffffffffffffffULL

describe("loop/wheel", function()
    it("gives timers in order of due, then of starting", function()
        local w = new_wheel(1000)
        local t = ffi.new("struct timer[5]")
        for i, due in ipairs({ 1300, 1001, 90000, 1300, 1299 }) do
            lib.wheel_start(w, t + i - 1, due)
        end
        assert.is_true(lib.wheel_pop(w, 1000) == nil)
        local order = {}
        local popped = lib.wheel_pop(w, 100000)
        while popped ~= nil do
            order[#order + 1] = index_of(t, popped)
            popped = lib.wheel_pop(w, 100000)
        end
        assert.same({ 1, 4, 0, 3, 2 }, order)
        assert.is_true(lib.wheel_next(w) == NEVER)
    end)

    it("lets a timer restarted for now wait for the next tick", function()
        local w = new_wheel(5)
        local t = ffi.new("struct timer[1]")
        lib.wheel_start(w, t, 0)
        assert.is_true(lib.wheel_pop(w, 5) == nil)
        assert.is_true(lib.wheel_pop(w, 6) == t)
        lib.wheel_start(w, t, 6)
        assert.is_true(lib.wheel_pop(w, 6) == nil)
        assert.is_true(lib.wheel_pop(w, 7) == t)
    end)

    it("never gives a stopped timer", function()
        local w = new_wheel(0)
        local t = ffi.new("struct timer[2]")
        lib.wheel_start(w, t, 500)
        lib.wheel_start(w, t + 1, 500)
        lib.wheel_stop(w, t)
        lib.wheel_stop(w, t)
        assert.is_true(lib.wheel_pop(w, 500) == t + 1)
        assert.is_true(lib.wheel_pop(w, 5000) == nil)
        assert.equal(0, tonumber(w.count))
    end)

    it("takes any due as far as its span", function()
        local w = new_wheel(7)
        local t = ffi.new("struct timer[1]")
        lib.wheel_start(w, t, NEVER)
        assert.equal(2 ^ 42 - 1, tonumber(t[0].due))
        assert.is_true(lib.wheel_pop(w, 2 ^ 42 - 2) == nil)
        assert.is_true(lib.wheel_pop(w, 2 ^ 42 - 1) == t)
    end)

    -- A thousand random starts, stops and steps against a plain table.
    local function model_run(seed)
        local n, now = 60, math.random(0, 2 ^ 30)
        local w, t = new_wheel(now), ffi.new("struct timer[60]")
        local due = {}
        local spans = { 3, 70, 5000, 300000, 2 ^ 33 }
        math.randomseed(seed)
        for _ = 1, 1000 do
            local what, i = math.random(10), math.random(n) - 1
            if what <= 5 then
                local at = now + math.random(0, spans[math.random(#spans)])
                lib.wheel_start(w, t + i, at)
                due[i] = math.max(at, now + 1)
            elseif what == 6 then
                lib.wheel_stop(w, t + i)
                due[i] = nil
            else
                now = now + math.random(0, spans[math.random(#spans)])
                local last, popped = 0, lib.wheel_pop(w, now)
                while popped ~= nil do
                    i = index_of(t, popped)
                    assert.equal(due[i], tonumber(popped.due))
                    assert.is_true(due[i] <= now and due[i] >= last)
                    last, due[i] = due[i], nil
                    popped = lib.wheel_pop(w, now)
                end
                for _, at in pairs(due) do
                    assert.is_true(at > now)
                end
            end
            local next_due = lib.wheel_next(w)
            for _, at in pairs(due) do
                assert.is_true(next_due <= at)
                assert.is_true(next_due > now)
            end
        end
    end

    for seed = 1, 20 do
        it("agrees with a model, seed " .. seed, function()
            model_run(seed)
        end)
    end
end)
