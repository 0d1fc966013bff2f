local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/outq.h")

local function seeded()
    local seed = os.time() % 100000
    math.randomseed(seed)
    return "seed " .. seed
end

local function slice(text)
    return ffi.new("struct slice", text, #text)
end

local function text_of(s)
    return ffi.string(s.p, s.len)
end

describe("a queue of pushes", function()
    local q, meter, pool

    --- A frame that only the queue will hold.
    local function add(text, at, key)
        local frame = lib.shared_new(slice(text), slice("value"), meter)
        lib.outq_add(q, frame, at or 0, key or 0)
        lib.shared_unref(frame)
    end

    local function replace(text, key)
        local frame = lib.shared_new(slice(text), slice("value"), meter)
        local old = lib.outq_replace(q, frame, key)
        lib.shared_unref(frame)
        if old == nil then
            return nil
        end
        local was = text_of(lib.shared_frame(old))
        lib.shared_unref(old)
        return was
    end

    local function take()
        local frame = lib.outq_take(q)
        local text = text_of(lib.shared_frame(frame))
        assert.equal("value", text_of(lib.shared_value(frame)))
        lib.shared_unref(frame)
        return text
    end

    before_each(function()
        meter = ffi.new("uint64_t[1]")
        pool = ffi.new("struct outq_pool")
        q = lib.outq_new(pool)
    end)

    after_each(function()
        local holder = ffi.new("struct outq *[1]", q)
        lib.outq_free(pool, holder)
        assert.is_true(holder[0] == nil)
        assert.equal(0, tonumber(meter[0]))
        lib.outq_pool_fini(pool)
    end)

    it("is used again, empty", function()
        local old = q
        add("a", 0, 7)
        q = lib.outq_new(pool)
        for i = 1, 9 do
            add("b" .. i)
        end
        lib.outq_free(pool, ffi.new("struct outq *[1]", old))
        local again = lib.outq_new(pool)
        assert.is_true(again == old)
        assert.equal(0, lib.outq_count(again))
        assert.is_true(lib.outq_find(again, 7) == nil)
        lib.outq_free(pool, ffi.new("struct outq *[1]", again))
    end)

    it("gives them in order, with their places", function()
        for i = 1, 100 do
            add("push " .. i, i * 7)
        end
        assert.equal(100, lib.outq_count(q))
        for i = 1, 60 do
            assert.equal(i * 7, tonumber(lib.outq_at(q, 0).at))
            assert.equal("push " .. i, take())
        end
        assert.equal(67 * 7, tonumber(lib.outq_at(q, 6).at))
    end)

    it("shares a frame until the last has left", function()
        local frame = lib.shared_new(slice("one"), slice("value"), meter)
        local alone = tonumber(meter[0])
        for _ = 1, 50 do
            lib.outq_add(q, frame, 0, 0)
        end
        lib.shared_unref(frame)
        assert.equal(alone, tonumber(meter[0]))
        assert.equal(150, tonumber(lib.outq_bytes(q)))
        for _ = 1, 50 do
            assert.equal("one", take())
        end
        assert.equal(0, tonumber(meter[0]))
    end)

    it("counts no memory that only those who leave hold", function()
        local frame = lib.shared_new(slice("one"), slice("value"), meter)
        local alone = tonumber(meter[0])
        lib.shared_ref(lib.shared_ref(frame))
        lib.shared_leave(frame)
        lib.shared_leave(frame)
        assert.equal(alone, tonumber(meter[0]))
        lib.shared_left(frame)
        assert.equal(alone, tonumber(meter[0]))
        lib.shared_unref(frame)
        assert.equal(0, tonumber(meter[0]))
        assert.equal("one", text_of(lib.shared_frame(frame)))
        lib.shared_left(frame)
        assert.equal(0, tonumber(meter[0]))
    end)

    it("weighs its frames, and tells how much it takes itself", function()
        local empty = tonumber(lib.outq_memory(q))
        for i = 1, 1000 do
            add("12345", 0, i)
        end
        local weight = tonumber(lib.outq_weight(q))
        assert.equal(1000 * (5 + lib.OUTQ_COST), weight)
        local memory = tonumber(lib.outq_memory(q))
        assert.is_true(memory > empty and memory < weight)
        for _ = 1, 1000 do
            take()
        end
        assert.equal(0, tonumber(lib.outq_weight(q)))
        assert.equal(memory, tonumber(lib.outq_memory(q)))
    end)

    it("holds no more than it is judged by", function()
        for i = 1, 5000 do
            add("", 0, i)
            assert.is_true(lib.outq_memory(q) + meter[0]
                <= lib.outq_weight(q) + 1024)
        end
    end)

    it("replaces in place, and only what waits", function()
        add("a", 1, 5)
        add("b", 2, 6)
        add("c", 3)
        assert.is_nil(replace("x", 7))
        assert.is_true(lib.outq_find(q, 7) == nil)
        assert.equal("b", text_of(lib.shared_frame(lib.outq_find(q, 6))))
        assert.equal("a", replace("long", 5))
        assert.equal(6, tonumber(lib.outq_bytes(q)))
        assert.equal("long", take())
        assert.is_nil(replace("x", 5))
        assert.equal("b", replace("y", 6))
        assert.equal("y", take())
        assert.equal("c", take())
    end)

    --- Replace in a list as the queue does: the newest with the key.
    local function replace_in(model, text, key)
        for k = #model, 1, -1 do
            if model[k][2] == key then
                local was = model[k][1]
                model[k][1] = text
                return was
            end
        end
    end

    it("behaves as a list does, whatever is done", function()
        local seed = seeded()
        local model = {}
        for i = 1, 20000 do
            local dice, key = math.random(10), math.random(1, 12)
            if dice <= 4 then
                add(tostring(i), i, key)
                model[#model + 1] = { tostring(i), key }
            elseif dice <= 7 then
                assert.equal(replace_in(model, tostring(i), key),
                    replace(tostring(i), key), seed)
            elseif #model > 0 and (dice < 10 or #model > 300) then
                assert.equal(table.remove(model, 1)[1], take(), seed)
            end
            assert.equal(#model, lib.outq_count(q), seed)
        end
    end)
end)
