-- The ring against a plain queue: sessions, answers' room, hostile bytes.
local bit = require("bit")
local ffi = require("ffi")
local c = require("spec.support.c")

jit.off(true, true) -- C calls back into Lua here

local lib = c.use("ipc/ring.h")
c.use("base/err.h")

local CAP, KEEP = 4096, 1024

--- Zeroed memory, aligned as a mapping is.
local function memory(size)
    local raw = ffi.new("uint8_t[?]", size + 128)
    local at = ffi.cast("uintptr_t", raw)
    local skip = tonumber((128ULL - at % 128ULL) % 128ULL)
    return ffi.cast("uint8_t *", raw) + skip, raw
end

--- Both ends of one ring, as two processes would hold them.
local function pair(keep)
    local p = { keep = keep or 0 }
    p.ctl, p.ctl_raw = memory(lib.RING_CTL_SIZE)
    p.data, p.data_raw = memory(CAP)
    function p.open()
        local r = ffi.new("struct ring")
        lib.ring_open(r, p.ctl, p.data, CAP, p.keep)
        return r
    end
    p.w, p.r = p.open(), p.open()
    return p
end

local function joined(keep)
    local p = pair(keep)
    local s = lib.ring_session(1, 1)
    assert.equal(0, lib.ring_read_enter(p.r, s))
    assert.equal(0, lib.ring_write_enter(p.w, s, nil, nil))
    return p
end

local function push(w, text, type)
    return lib.ring_push(w, type or 1, text, #text)
end

local m = ffi.new("struct ring_msg")

local function pop(r)
    local got = lib.ring_peek(r, m)
    if got ~= 1 then
        return nil, got
    end
    local text = ffi.string(m.data, m.len)
    local type = m.type
    lib.ring_pop(r)
    return text, type
end

--- Enter as writer; returns the code and what was taken back.
local function write_enter(w, session)
    local back = {}
    local fn = ffi.cast("ring_fn", function(_, msg)
        back[#back + 1] = ffi.string(msg.data, msg.len)
        return 0
    end)
    local err = lib.ring_write_enter(w, session, fn, nil)
    fn:free()
    return err, back
end

describe("ring", function()
    it("carries messages in order, with type and length", function()
        local p = joined()
        for i = 0, 100 do
            assert.equal(0, push(p.w, ("x"):rep(i), i))
            assert.same({ ("x"):rep(i), i }, { pop(p.r) })
        end
        assert.is_nil((pop(p.r)))
    end)

    it("shows nothing of a reservation before it is committed", function()
        local p = joined()
        local room = ffi.new("void *[1]")
        assert.equal(0, lib.ring_reserve(p.w, room, 100, false))
        ffi.copy(room[0], "half a message")
        assert.is_nil((pop(p.r)))
        assert.equal(0, lib.ring_reserve(p.w, room, 100, false))
        ffi.copy(room[0], "whole")
        lib.ring_commit(p.w, 7, 5)
        assert.same({ "whole", 7 }, { pop(p.r) })
        assert.is_nil((pop(p.r)))
    end)

    it("refuses when full and takes again after a pop", function()
        local p = joined()
        local n = 0
        while push(p.w, ("y"):rep(56)) == 0 do
            n = n + 1
        end
        assert.equal(CAP / 64, n)
        assert.equal(lib.SD_EFULL, push(p.w, "z"))
        pop(p.r)
        assert.equal(0, push(p.w, ("y"):rep(56)))
    end)

    it("takes its longest message wherever the counter stands", function()
        local p = joined(KEEP)
        local max = lib.ring_max(CAP, KEEP)
        local long = ("l"):rep(max)
        assert.equal(lib.SD_ETOOLARGE, push(p.w, long .. "!"))
        for i = 1, 600 do
            assert.equal(0, push(p.w, ("s"):rep(i % 97)))
            assert.equal(i % 97, #pop(p.r))
            assert.equal(0, push(p.w, long))
            assert.equal(max, #pop(p.r))
        end
    end)

    it("keeps room for answers whatever else is sent", function()
        local p = joined(KEEP)
        local room = ffi.new("void *[1]")
        for round = 1, 50 do
            push(p.w, ("o"):rep(round * 13 % 300))
            pop(p.r)
            while push(p.w, ("o"):rep(round % 50)) == 0 do end
            for _ = 1, KEEP / 64 - 1 do
                assert.equal(0, lib.ring_reserve(p.w, room, 56, true))
                lib.ring_commit(p.w, 2, 56)
            end
            repeat
                local text = pop(p.r)
            until not text
        end
    end)

    it("touches only its first pages while it is never full", function()
        local size = 65536
        local data, keep = memory(size)
        local p = pair()
        for _, r in ipairs({ p.w, p.r }) do
            lib.ring_open(r, p.ctl, data, size, 4096)
        end
        local s = lib.ring_session(1, 1)
        lib.ring_read_enter(p.r, s)
        lib.ring_write_enter(p.w, s, nil, nil)
        for _ = 1, 5000 do
            push(p.w, ("p"):rep(90))
            assert.equal(90, #pop(p.r))
        end
        for i = size / 2, size - 1 do
            assert.equal(0, data[i])
        end
        assert.is_not_nil(keep)
    end)

    it("counts what was committed, popped, and waits", function()
        local p = joined()
        local function count()
            local n = ffi.new("struct ring_count")
            lib.ring_count(p.w, n)
            return { tonumber(n.committed), tonumber(n.popped),
                tonumber(n.waiting) }
        end
        assert.same({ 0, 0, 0 }, count())
        for i = 1, 5 do
            push(p.w, ("x"):rep(i * 10))
        end
        assert.same({ 5, 0, 5 }, count())
        pop(p.r)
        pop(p.r)
        assert.same({ 5, 2, 3 }, count())
        local s = lib.ring_session(1, 2) -- the reader has died
        p.r = p.open()
        lib.ring_write_enter(p.w, s, nil, nil)
        assert.equal(0, lib.ring_read_enter(p.r, s))
        assert.equal(0, (write_enter(p.w, s)))
        assert.same({ 0, 0, 0 }, count())
        push(p.w, "x")
        pop(p.r)
        assert.same({ 1, 1, 0 }, count())
    end)

    it("walks what waits without taking it", function()
        local p = joined()
        for i = 1, 5 do
            push(p.w, "m" .. i)
        end
        pop(p.r)
        local seen = {}
        local fn = ffi.cast("ring_fn", function(_, msg)
            seen[#seen + 1] = ffi.string(msg.data, msg.len)
            return #seen == 3 and 42 or 0
        end)
        assert.equal(42, lib.ring_walk(p.r, fn, nil))
        fn:free()
        assert.same({ "m2", "m3", "m4" }, seen)
        assert.equal("m2", (pop(p.r)))
    end)
end)

describe("a ring's session", function()
    it("opens in either order, and refuses before", function()
        local p = pair()
        local s = lib.ring_session(3, 4)
        assert.equal(lib.SD_EGONE, push(p.w, "early"))
        assert.equal(lib.SD_EBUSY, lib.ring_write_enter(p.w, s, nil, nil))
        assert.equal(0, lib.ring_read_enter(p.r, s))
        assert.equal(0, lib.ring_write_enter(p.w, s, nil, nil))
        assert.equal(0, push(p.w, "hello"))
        assert.equal("hello", (pop(p.r)))
    end)

    it("gives a dead reader's messages back to the writer", function()
        local p = joined()
        for i = 1, 6 do
            push(p.w, "call " .. i)
        end
        pop(p.r)
        pop(p.r)
        lib.ring_peek(p.r, m) -- died before it popped this one
        local new = p.open()
        local s = lib.ring_session(1, 2)
        assert.equal(lib.SD_EBUSY, lib.ring_read_enter(new, s))
        local err, back = write_enter(p.w, s)
        assert.equal(lib.SD_EBUSY, err)
        assert.same({ "call 3", "call 4", "call 5", "call 6" }, back)
        assert.equal(0, lib.ring_read_enter(new, s))
        assert.is_nil((pop(new)))
        err, back = write_enter(p.w, s)
        assert.equal(0, err)
        assert.same({}, back)
        push(p.w, "call 7")
        assert.equal("call 7", (pop(new)))
    end)

    it("lets a reader finish what a dead writer committed", function()
        local p = joined()
        push(p.w, "one")
        push(p.w, "two")
        local new = p.open()
        local s = lib.ring_session(2, 1)
        assert.equal(lib.SD_EBUSY, lib.ring_write_enter(new, s, nil, nil))
        assert.equal("one", (pop(p.r)))
        assert.equal("two", (pop(p.r)))
        assert.equal(0, lib.ring_read_enter(p.r, s))
        assert.is_nil((pop(p.r)))
        assert.equal(0, lib.ring_write_enter(new, s, nil, nil))
        push(new, "three")
        assert.equal("three", (pop(p.r)))
    end)

    it("begins clean when both have died", function()
        local p = joined()
        push(p.w, "lost")
        local w, r = p.open(), p.open()
        local s = lib.ring_session(2, 2)
        assert.equal(lib.SD_EBUSY, lib.ring_write_enter(w, s, nil, nil))
        assert.equal(0, lib.ring_read_enter(r, s))
        assert.is_nil((pop(r)))
        assert.equal(0, lib.ring_write_enter(w, s, nil, nil))
        push(w, "new")
        assert.equal("new", (pop(r)))
    end)
end)

--- One random life of a ring with deaths of both ends, against a queue.
local function random_life(seed, steps)
    math.randomseed(seed)
    local random = math.random
    local p = pair(KEEP)
    local we, re, queue, n = 1, 1, {}, 0
    local open = false

    local function settle()
        local s = lib.ring_session(we, re)
        for _ = 1, 3 do
            lib.ring_read_enter(p.r, s)
            open = lib.ring_write_enter(p.w, s, nil, nil) == 0
        end
        assert.is_true(open)
    end

    local ops = {
        push = function()
            n = n + 1
            local len = random(4) == 1 and random(0, 1528) or random(0, 60)
            local text = (n .. ":"):rep(len):sub(1, len)
            if push(p.w, text) == 0 then
                queue[#queue + 1] = text
            end
        end,
        pop = function()
            assert.equal(table.remove(queue, 1), (pop(p.r)))
        end,
        reader_dies = function()
            p.r, re = p.open(), re + 1
            local _, back = write_enter(p.w, lib.ring_session(we, re))
            assert.same(queue, back)
            queue = {}
            settle()
        end,
        writer_dies = function()
            p.w, we = p.open(), we + 1
            while #queue > 0 do
                assert.equal(table.remove(queue, 1), (pop(p.r)))
            end
            settle()
        end,
    }

    settle()
    for _ = 1, steps do
        local roll = random(200)
        if roll == 1 then
            ops.reader_dies()
        elseif roll == 2 then
            ops.writer_dies()
        elseif roll < 110 then
            ops.push()
        else
            ops.pop()
        end
    end
end

describe("a random life of a ring", function()
    local base = os.time()
    for i = 1, 10 do
        it("agrees with a queue (seed " .. base + i .. ")", function()
            random_life(base + i, 3000)
        end)
    end
end)

describe("a ring full of hostile bytes", function()
    it("gives errors or messages within its data, never more", function()
        local seed = os.time()
        math.randomseed(seed)
        for round = 1, 3000 do
            local p = joined()
            for _ = 1, math.random(20) do
                push(p.w, ("h"):rep(math.random(0, 200)))
            end
            for _ = 1, math.random(8) do
                p.data[math.random(0, 800)] = math.random(0, 255)
            end
            if round % 3 == 0 then
                local tail = ffi.cast("uint32_t *", p.ctl + 64)
                tail[0] = bit.tobit(math.random(0, 2 ^ 31))
            end
            local first = ffi.cast("uintptr_t", p.data)
            local n = 0
            while lib.ring_peek(p.r, m) == 1 do
                local at = ffi.cast("uintptr_t", m.data)
                assert.is_true(at >= first, "seed " .. seed)
                assert.is_true(at + m.len <= first + CAP, "seed " .. seed)
                lib.ring_pop(p.r)
                n = n + 1
                assert.is_true(n < 1000)
            end
            lib.ring_drop(p.r)
            assert.equal(0, lib.ring_peek(p.r, m))
        end
    end)

    for name, case in pairs({
        ["a length beyond the data"] = { 1, 0xfffffff0 },
        ["a length beyond what was committed"] = { 1, 200 },
        ["a pad that nothing follows"] = { 0xffffffff, 0 },
    }) do
        it("reports " .. name, function()
            local p = joined()
            push(p.w, ("a"):rep(100))
            local head = ffi.cast("uint32_t *", p.data)
            head[0], head[1] = case[1], case[2]
            assert.equal(lib.SD_EPROTO, lib.ring_peek(p.r, m))
            lib.ring_drop(p.r)
            assert.equal(0, push(p.w, "fine"))
            assert.equal("fine", (pop(p.r)))
        end)
    end
end)
