-- The table of uids against a model: who is bound where, whoever dies.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/uidmap.h")
c.use("base/err.h")

local WORKERS, CONNS = 3, 64

--- Zeroed memory at a multiple of 64; keep the second value.
local function memory(size)
    local raw = ffi.new("uint8_t[?]", size + 64)
    local at = tonumber(ffi.cast("uintptr_t", raw) % 64ULL)
    return raw + (64 - at) % 64, raw
end

local node -- slots, block, maps by slot, what must not be collected
local keep

local function slice(text)
    return ffi.new("struct slice", { p = text, len = #text })
end

--- What `call(fn, arg)` shows, as a list.
local seen
local show = ffi.cast("uidmap_fn", function(_, b)
    seen[#seen + 1] = {
        uid = ffi.string(b.uid.p, b.uid.len), conn = tonumber(b.conn),
        number = tonumber(b.number), slot = b.slot, epoch = b.epoch,
        more = b.more,
    }
    return true
end)
jit.off(true, true)

local function find(map, uid)
    seen = {}
    local n = lib.uidmap_find(map, slice(uid), show, nil)
    assert.equal(#seen, n)
    table.sort(seen, function(a, b) return a.number < b.number end)
    return seen
end

local function scan(map, page)
    local cursor = ffi.new("uint64_t[1]")
    seen = {}
    repeat
        lib.uidmap_scan(map, cursor, page or 7, show, nil)
    until cursor[0] == 0
    return seen
end

local function tell(map, dead, page)
    local cursor = ffi.new("uint64_t[1]")
    seen = {}
    repeat
        local err = lib.uidmap_tell(map, dead, cursor, page or 3, show, nil)
        if err ~= 0 then
            return nil, err
        end
    until cursor[0] == 0
    return seen
end

local function attach(slot)
    lib.slots_fill(node.slots, slot, 1000 + slot, 1)
    local map = lib.uidmap_attach(node.mem, node.slots, slot,
        lib.slots_epoch(node.slots, slot))
    return ffi.gc(map, function(m)
        lib.uidmap_close(ffi.new("struct uidmap *[1]", m))
    end)
end

--- Tell what the process before the last left, if nobody has.
local function own(map)
    local dead, told = ffi.new("struct uidmap_dead"), {}
    while not lib.uidmap_own(map, dead) do
        for _, b in ipairs(tell(map, dead)) do
            told[#told + 1] = b
        end
        lib.uidmap_told(map, dead)
    end
    return told
end

local function start(slot)
    local map = attach(slot)
    node.map[slot] = map
    return map, own(map)
end

local function die(slot)
    lib.slots_end(node.slots, slot)
    node.map[slot] = nil
end

local function setup(workers, conns)
    local mem, raw = memory(tonumber(lib.uidmap_size(workers, conns)))
    local smem, sraw = memory(tonumber(lib.slots_size(workers + 1)))
    keep = { raw, sraw }
    lib.uidmap_init(mem, workers, conns)
    node = { mem = mem, map = {}, slots = lib.slots_init(smem, workers + 1) }
    for slot = 0, workers do
        lib.slots_assign(node.slots, slot, lib.SLOT_WORKER, slot)
    end
    node.reader = attach(workers) -- a task, say
end

--- An id as net/conns makes it, small enough for a double.
local function conn(index, generation)
    return index * 2 ^ 20 + (generation or 1)
end

local function bind(slot, uid, id, number)
    return lib.uidmap_bind(node.map[slot], slice(uid), id, number)
end

local function unbind(slot, uid, id)
    local last = ffi.new("bool[1]")
    local ended = lib.uidmap_unbind(node.map[slot], slice(uid), id, last)
    return ended, last[0]
end

--- End the binding; the debt to settle.
local function finish(slot, uid, id)
    return lib.uidmap_end(node.map[slot], slice(uid), id,
        ffi.new("bool[1]"))
end

describe("uidmap", function()
    before_each(function()
        setup(WORKERS, CONNS)
        for slot = 0, WORKERS - 1 do
            start(slot)
        end
    end)

    it("shows a binding to every process", function()
        assert.equal(0, bind(1, "ann", conn(5), 77))
        for _, map in ipairs({ node.map[0], node.map[1], node.reader }) do
            assert.same({ { uid = "ann", conn = conn(5), number = 77,
                slot = 1, epoch = 1, more = false } }, find(map, "ann"))
            assert.is_true(lib.uidmap_is_online(map, slice("ann")))
            assert.is_false(lib.uidmap_is_online(map, slice("an")))
            assert.equal(1, lib.uidmap_count(map))
        end
        assert.equal(1, lib.uidmap_bindings(node.reader, 1))
        assert.equal(0, lib.uidmap_bindings(node.reader, 0))
    end)

    for _, len in ipairs({ 1, 7, 8, 9, 23, 24, 25, 31, 32, 33, 127, 128 }) do
        it(("tells uids of %d bytes apart"):format(len), function()
            local uid = ("x"):rep(len)
            local other = ("x"):rep(len - 1) .. "y"
            bind(0, uid, conn(1), 1)
            assert.equal(uid, find(node.reader, uid)[1].uid)
            assert.equal(0, #find(node.reader, other))
            bind(0, other, conn(2), 2)
            assert.equal(conn(2), find(node.reader, other)[1].conn)
            assert.is_true(unbind(0, uid, conn(1)))
            assert.equal(0, #find(node.reader, uid))
            assert.equal(other, find(node.reader, other)[1].uid)
        end)
    end

    it("takes bytes of any kind", function()
        bind(0, "a\0b", conn(1), 1)
        assert.equal(0, #find(node.reader, "a"))
        assert.equal(0, #find(node.reader, "a\0"))
        assert.equal("a\0b", find(node.reader, "a\0b")[1].uid)
        assert.equal(0, #find(node.reader, ""))
        assert.equal(0, #find(node.reader, ("z"):rep(129)))
    end)

    it("keeps the higher number of one binding", function()
        bind(0, "ann", conn(1), 10)
        bind(0, "ann", conn(1), 30)
        bind(0, "ann", conn(1), 20)
        local all = find(node.reader, "ann")
        assert.equal(1, #all)
        assert.equal(30, all[1].number)
    end)

    it("replaces the uid of a conn", function()
        bind(0, "ann", conn(1), 1)
        bind(0, "bob", conn(1), 2)
        assert.equal(0, #find(node.reader, "ann"))
        assert.equal(1, #find(node.reader, "bob"))
        assert.equal(1, lib.uidmap_count(node.reader))
    end)

    it("ends exactly the binding that is meant", function()
        bind(0, "ann", conn(1), 1)
        bind(0, "ann", conn(2), 2)
        assert.is_true(unbind(0, "ann", conn(1)))
        assert.is_false(unbind(0, "ann", conn(1)))
        assert.is_false(unbind(0, "bob", conn(2)))
        assert.equal(conn(2), find(node.reader, "ann")[1].conn)
        -- The index of a conn that has ended comes back in another one.
        assert.is_true(unbind(0, "ann", conn(2)))
        bind(0, "ann", conn(2, 9), 3)
        assert.is_false(unbind(0, "ann", conn(2)))
        assert.equal(conn(2, 9), find(node.reader, "ann")[1].conn)
    end)

    it("counts a uid on several workers once", function()
        bind(0, "ann", conn(1), 1)
        bind(1, "ann", conn(1), 2)
        bind(1, "ann", conn(2), 3)
        bind(2, "ann", conn(1), 4)
        bind(2, "bob", conn(2), 5)
        assert.equal(2, lib.uidmap_count(node.reader))
        unbind(0, "ann", conn(1))
        assert.equal(2, lib.uidmap_count(node.reader))
        die(2)
        assert.equal(1, lib.uidmap_count(node.reader))
    end)

    it("is full at max_conns and goes on when one goes", function()
        for i = 1, CONNS do
            assert.equal(0, bind(0, "u" .. i, conn(i), i))
        end
        assert.equal(lib.SD_EFULL, bind(0, "more", conn(CONNS + 1), 1))
        assert.equal(0, bind(0, "other", conn(3), 1))
        unbind(0, "u9", conn(9))
        assert.equal(0, bind(0, "more", conn(CONNS + 1), 1))
        assert.equal(CONNS, lib.uidmap_count(node.reader))
    end)

    it("does not find who has ended, whatever is owed for it", function()
        bind(0, "ann", conn(1), 1)
        bind(0, "bob", conn(2), 2)
        assert.equal(0, finish(0, "ann", conn(2)))
        local debt = finish(0, "ann", conn(1))
        assert.is_true(debt > 0)
        assert.equal(0, finish(0, "ann", conn(1)))
        assert.equal(0, #find(node.reader, "ann"))
        assert.equal(1, lib.uidmap_count(node.reader))
        assert.equal(1, lib.uidmap_bindings(node.reader, 0))
        assert.equal(1, #scan(node.reader))
        bind(0, "ann", conn(1), 3)
        assert.equal(3, find(node.reader, "ann")[1].number)
        lib.uidmap_settle(node.map[0], debt)
        assert.equal(3, find(node.reader, "ann")[1].number)
    end)

    it("has as much room as ever, however much is owed", function()
        local debts = {}
        for round = 1, 100 do
            for i = 1, CONNS do
                assert.equal(0, bind(0, "u" .. i, conn(i), round))
            end
            assert.equal(lib.SD_EFULL, bind(0, "more", conn(CONNS + 1), 1))
            for i = 1, CONNS do
                debts[#debts + 1] = finish(0, "u" .. i, conn(i))
            end
        end
        assert.equal(0, debts[#debts]) -- too many: these are forgotten
        for _, debt in ipairs(debts) do
            lib.uidmap_settle(node.map[0], debt)
        end
        assert.equal(0, lib.uidmap_bindings(node.reader, 0))
        bind(0, "ann", conn(1), 1)
        assert.is_true(finish(0, "ann", conn(1)) > 0)
    end)

    it("stops when it is told to", function()
        for i = 1, 5 do
            bind(0, "ann", conn(i), i)
        end
        local once = ffi.cast("uidmap_fn", function() return false end)
        assert.equal(1, lib.uidmap_find(node.reader, slice("ann"), once, nil))
        once:free()
    end)

    it("gives numbers that only rise", function()
        local last = 0
        for _, ms in ipairs({ 100, 100, 50, 102, 103, 200 }) do
            local n = tonumber(lib.uidmap_number(node.map[0], ms))
            assert.is_true(n > last and n >= ms)
            last = n
        end
        assert.equal(200, last)
    end)
end)

describe("the last binding of a uid", function()
    before_each(function()
        setup(3, 64) -- so few that uids share masks
        start(0)
        start(1)
    end)

    it("is that after which nobody has it", function()
        bind(0, "ann", conn(1), 1)
        bind(0, "ann", conn(2), 2)
        bind(1, "ann", conn(3), 3)
        assert.is_false((select(2, unbind(0, "ann", conn(1)))))
        assert.is_false((select(2, unbind(1, "ann", conn(3)))))
        assert.is_true((select(2, unbind(0, "ann", conn(2)))))
    end)

    it("is said also beside a dead worker's bindings", function()
        for i = 1, 60 do
            bind(0, "a" .. i, conn(i), i)
            bind(1, "b" .. i, conn(i), i)
        end
        die(1)
        for i = 1, 60 do
            assert.is_true((select(2, unbind(0, "a" .. i, conn(i)))))
        end
    end)
end)

describe("a dead worker's table", function()
    before_each(function()
        setup(WORKERS, CONNS)
        for slot = 0, WORKERS - 1 do
            start(slot)
        end
        bind(1, "ann", conn(1), 1)
        bind(1, "ann", conn(2), 2)
        bind(1, "bob", conn(3), 3)
    end)

    local dead = ffi.new("struct uidmap_dead")

    it("is void at once", function()
        die(1)
        assert.equal(0, #find(node.reader, "ann"))
        assert.equal(0, lib.uidmap_count(node.reader))
        assert.equal(0, #scan(node.reader))
        start(1)
        assert.equal(0, #find(node.reader, "ann"))
        bind(1, "ann", conn(7), 9)
        assert.equal(2, find(node.reader, "ann")[1].epoch)
    end)

    it("is told by one of those who ask", function()
        assert.is_false(lib.uidmap_claim(node.map[0], dead))
        die(1)
        assert.is_true(lib.uidmap_claim(node.map[0], dead))
        assert.equal(1, dead.slot)
        assert.equal(1, dead.epoch)
        assert.is_false(lib.uidmap_claim(node.map[2],
            ffi.new("struct uidmap_dead")))
        local all = tell(node.map[0], dead, 1)
        assert.equal(3, #all)
        assert.same({ "ann", "ann", "bob" },
            { all[1].uid, all[2].uid, all[3].uid })
        assert.same({ true, false, false },
            { all[1].more, all[2].more, all[3].more })
        lib.uidmap_told(node.map[0], dead)
        assert.is_false(lib.uidmap_claim(node.map[2], dead))
    end)

    it("is told with what had ended and was not told yet", function()
        finish(1, "bob", conn(3))
        lib.uidmap_settle(node.map[1], finish(1, "ann", conn(1)))
        die(1)
        assert.is_true(lib.uidmap_claim(node.map[0], dead))
        local all = tell(node.map[0], dead)
        assert.equal(2, #all)
        assert.same({ "ann", "bob" }, { all[1].uid, all[2].uid })
    end)

    it("stays while the next process of the slot lives", function()
        die(1)
        start(1)
        bind(1, "eve", conn(1), 4)
        assert.is_true(lib.uidmap_claim(node.map[2], dead))
        assert.equal(3, #tell(node.map[2], dead))
    end)

    it("is told by another when its teller dies", function()
        die(1)
        assert.is_true(lib.uidmap_claim(node.map[0], dead))
        die(0)
        local told = {}
        while lib.uidmap_claim(node.map[2], dead) do
            for _, b in ipairs(tell(node.map[2], dead)) do
                told[#told + 1] = b.uid
            end
            lib.uidmap_told(node.map[2], dead)
        end
        assert.same({ "ann", "ann", "bob" }, told)
    end)

    it("is taken over and told by who needs its place", function()
        die(1)
        assert.is_true(lib.uidmap_claim(node.map[0], dead))
        start(1)
        die(1)
        local _, told = start(1)
        assert.equal(3, #told)
        local all, err = tell(node.map[0], dead)
        assert.is_nil(all)
        assert.equal(lib.SD_EGONE, err)
        lib.uidmap_told(node.map[0], dead) -- means nothing
        assert.equal(0, #find(node.reader, "ann"))
    end)

    it("is not told again by who needs its place", function()
        die(1)
        assert.is_true(lib.uidmap_claim(node.map[0], dead))
        tell(node.map[0], dead)
        lib.uidmap_told(node.map[0], dead)
        start(1)
        die(1)
        local _, told = start(1)
        assert.equal(0, #told)
    end)
end)

--- The bindings there should be: uid -> { [slot .. ":" .. conn] = number }.
local model

local function model_count()
    local n = 0
    for _, conns in pairs(model) do
        n = n + (next(conns) and 1 or 0)
    end
    return n
end

local function check_uid(uid, why)
    local want, got = model[uid] or {}, {}
    for _, b in ipairs(find(node.reader, uid)) do
        local key = b.slot .. ":" .. b.conn
        assert.is_nil(got[key], why)
        got[key] = b.number
    end
    assert.same(want, got, why)
end

local function check_all(why)
    local count = model_count()
    assert.equal(count, lib.uidmap_count(node.reader), why)
    local shown = {}
    for _, b in ipairs(scan(node.reader, math.random(20))) do
        assert.is_nil(shown[b.uid], why)
        assert.is_not_nil(next(model[b.uid] or {}), why)
        shown[b.uid] = true
        count = count - 1
    end
    assert.equal(0, count, why)
    for uid in pairs(model) do
        check_uid(uid, why)
    end
end

describe("uidmap over random operations", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    local uids = {}
    for i = 1, 40 do
        uids[i] = ("u"):rep(i % 5 * 9 + 1) .. i
    end

    local function forget(slot, uid, id)
        if model[uid] then
            model[uid][slot .. ":" .. id] = nil
        end
    end

    --- A worker dies, one neighbour tells, another process fills the slot.
    local function kill(slot, held, why)
        local dead, want = ffi.new("struct uidmap_dead"), {}
        for index, uid in pairs(held[slot]) do
            want[#want + 1] = uid .. "@" .. conn(index)
            forget(slot, uid, conn(index))
        end
        held[slot] = {}
        die(slot)
        check_all(why)
        local got = {}
        local teller = node.map[(slot + 1) % WORKERS]
        while lib.uidmap_claim(teller, dead) do
            for _, b in ipairs(tell(teller, dead, math.random(9))) do
                got[#got + 1] = b.uid .. "@" .. b.conn
            end
            lib.uidmap_told(teller, dead)
        end
        table.sort(want)
        table.sort(got)
        assert.same(want, got, why)
        start(slot)
    end

    it("agrees with a model", function()
        math.randomseed(seed)
        setup(WORKERS, CONNS)
        model = {}
        local held = {}
        for slot = 0, WORKERS - 1 do
            start(slot)
            held[slot] = {}
        end
        for step = 1, 6000 do
            local why = ("seed %d step %d"):format(seed, step)
            local slot = math.random(0, WORKERS - 1)
            local index = math.random(CONNS)
            local uid = uids[math.random(#uids)]
            local dice = math.random(100)
            if dice <= 55 then
                local old = held[slot][index]
                if old and old ~= uid then
                    forget(slot, old, conn(index))
                end
                assert.equal(0, bind(slot, uid, conn(index), step), why)
                held[slot][index] = uid
                model[uid] = model[uid] or {}
                model[uid][slot .. ":" .. conn(index)] = step
            elseif dice <= 99 then
                local was = held[slot][index]
                assert.equal(was == uid, unbind(slot, uid, conn(index)), why)
                if was then
                    unbind(slot, was, conn(index))
                    forget(slot, was, conn(index))
                    held[slot][index] = nil
                end
            elseif math.random(4) == 1 then
                kill(slot, held, why)
            end
            check_uid(uid, why)
            if step % 100 == 0 then
                check_all(why)
            end
        end
        assert.is_not_nil(keep)
    end)

    it("works with more workers than a word has bits", function()
        setup(130, 4)
        for slot = 0, 129 do
            start(slot)
        end
        for _, slot in ipairs({ 0, 63, 64, 127, 128, 129 }) do
            bind(slot, "ann", conn(1), slot + 1)
            bind(slot, "only " .. slot, conn(2), 1)
        end
        assert.equal(6, #find(node.reader, "ann"))
        assert.equal(7, lib.uidmap_count(node.reader))
        assert.equal(7, #scan(node.reader, 2))
        unbind(64, "ann", conn(1))
        die(128)
        assert.equal(4, #find(node.reader, "ann"))
        assert.equal(6, lib.uidmap_count(node.reader))
    end)
end)
