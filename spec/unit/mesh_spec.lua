-- A whole node in one process: each "process" is a mesh attached by itself.
local ffi = require("ffi")
local c = require("spec.support.c")

jit.off(true, true) -- C calls back into Lua here

local lib = c.use("ipc/mesh.h")
c.use("base/err.h")
c.use("ipc/body.h")
c.use("ipc/msg.h")
ffi.cdef([[
int dup(int fd);
int close(int fd);
int poll(struct spec_pollfd { int fd; short events, revents; } *fds,
         unsigned long n, int timeout);
]])

local SEND, CALL, REPLY = 4, 1, 2

--- Hooks that note everything in plain tables; verdicts come from `on_msg`.
local function listen(process)
    local log = { msgs = {}, back = {}, gone = {} }
    local hooks = ffi.new("struct mesh_hooks")
    local function note(list, m)
        list[#list + 1] = {
            from = m.from, epoch = m.epoch, type = m.type, dead = m.dead,
            answer = m.answer, err = m.err,
            body = ffi.string(m.body.p, m.body.len),
        }
        return list[#list]
    end
    hooks.on_msg = function(_, m)
        if log.hold and log.hold(m) then
            return lib.MESH_HOLD
        end
        local msg = note(log.msgs, m)
        if log.on_msg then
            log.on_msg(msg)
        end
        return lib.MESH_DONE
    end
    hooks.on_back = function(_, m)
        note(log.back, m)
    end
    hooks.on_gone = function(_, slot, epoch)
        log.gone[#log.gone + 1] = slot .. ":" .. epoch
    end
    process.log, process.hooks = log, hooks
    lib.mesh_set_hooks(process.mesh, hooks)
end

local function unhook(process)
    if process.hooks then
        for _, name in ipairs({ "on_msg", "on_back", "on_gone" }) do
            process.hooks[name]:free()
        end
        process.hooks = nil
    end
end

local node = {}
node.__index = node

local function close(process)
    local p = ffi.new("struct mesh *[1]", process.mesh)
    lib.mesh_close(p)
    assert.equal(nil, p[0])
    unhook(process)
end

--- Attach slot `slot` as a new process would, and make it ready.
function node:fill(slot)
    lib.mesh_slot_filled(self.master.mesh, slot, 1000 + slot)
    local fds = ffi.new("int[?]", lib.MESH_FDS_MAX)
    local n = lib.mesh_fds(self.master.mesh, slot, fds)
    for i = 0, n - 1 do
        fds[i] = ffi.C.dup(fds[i])
    end
    local out = ffi.new("struct mesh *[1]")
    assert.equal(0, lib.mesh_attach(out, fds, n, slot))
    local process = { mesh = out[0], slot = slot }
    self[slot] = process
    listen(process)
    lib.slots_set_state(lib.mesh_slots(out[0]), slot, lib.SLOT_READY)
    return process
end

--- The process of `slot` vanishes without a word, and is reaped.
function node:kill(slot)
    close(self[slot])
    self[slot] = nil
    lib.mesh_slot_died(self.master.mesh, slot)
end

function node:poll(rounds)
    local done = 0
    for _ = 1, rounds or 3 do
        for slot = 0, self.n - 1 do
            if self[slot] then
                done = done + lib.mesh_poll(self[slot].mesh, 1000)
            end
        end
    end
    return done
end

function node:close()
    for slot = 0, self.n - 1 do
        if self[slot] then
            close(self[slot])
        end
    end
end

local function start(workers, tasks, relays)
    local shape = ffi.new("struct mesh_shape", { workers = workers,
        tasks = tasks, relays = relays or 0, extra = 8192 })
    local out = ffi.new("struct mesh *[1]")
    assert.equal(0, lib.mesh_create(out, shape))
    local n = workers + 2 * tasks + (relays or 0) + 2
    local self = setmetatable({ n = n }, node)
    self.master = { mesh = out[0], slot = n - 1 }
    self[n - 1] = self.master
    listen(self.master)
    for slot = 0, n - 2 do
        self:fill(slot)
    end
    self:poll()
    return self
end

local function send(process, to, type, kind, ...)
    local parts = { ... }
    local v = ffi.new("struct slice[?]", #parts)
    for i, part in ipairs(parts) do
        v[i - 1].p, v[i - 1].len = part, #part
    end
    return lib.mesh_send(process.mesh, to, type, kind, v, #parts)
end

local function plain(process, to, text)
    return send(process, to, SEND, lib.MESH_PLAIN, "head", text)
end

local function readable(fd)
    local p = ffi.new("struct spec_pollfd", { fd = fd, events = 1 })
    return ffi.C.poll(p, 1, 0) == 1
end

local function bodies(list)
    local out = {}
    for i, m in ipairs(list) do
        out[i] = m.body
    end
    return out
end

describe("mesh", function()
    local n

    after_each(function()
        if n then
            n:close()
            n = nil
        end
    end)

    it("refuses shapes it has no slots for", function()
        local out = ffi.new("struct mesh *[1]")
        for _, s in ipairs({ { 0, 1, 0 }, { 255, 0, 0 }, { 200, 100, 0 }, { 1, 300, 0 },
            { 0, 0, 255 }, { 1, 0, 300 }, { 100, 50, 60 } }) do
            local shape = ffi.new("struct mesh_shape",
                { workers = s[1], tasks = s[2], relays = s[3] })
            assert.equal(lib.SD_EINVALID, lib.mesh_create(out, shape))
            assert.equal(nil, out[0])
        end
    end)

    --- All send to all; those from slot `first` up to agent and master do
    --- not talk among themselves.
    local function all_to_all(first)
        local function is_aside(slot)
            return slot >= first and slot < n.n - 2
        end
        local aside = n.n - 2 - first
        for from = 0, n.n - 1 do
            for to = 0, n.n - 1 do
                local mute = from == to or (is_aside(from) and is_aside(to))
                assert.equal(mute and lib.SD_EGONE or 0, plain(n[from], to, from .. ">" .. to))
            end
        end
        n:poll()
        for to = 0, n.n - 1 do
            for _, m in ipairs(n[to].log.msgs) do
                assert.equal("head" .. m.from .. ">" .. to, m.body)
                assert.equal(SEND, m.type)
                assert.equal(1, m.epoch)
            end
            local count = n.n - (is_aside(to) and aside or 1)
            assert.equal(count, #n[to].log.msgs)
        end
    end

    it("carries messages between every pair that talks", function()
        n = start(3, 2)
        all_to_all(3)
    end)

    it("has relays beside workers and tasks, or alone", function()
        n = start(2, 1, 3)
        all_to_all(2)
        n:close()
        n = start(0, 0, 2)
        all_to_all(0)
    end)

    it("shares the extra bytes, zeroed", function()
        n = start(1, 1)
        local a = ffi.cast("uint8_t *", lib.mesh_extra(n[0].mesh))
        local b = ffi.cast("uint8_t *", lib.mesh_extra(n[1].mesh))
        assert.equal(0, b[8191])
        a[8191] = 7
        assert.equal(7, b[8191])
    end)

    it("answers busy when a ring is full, and loses nothing", function()
        n = start(2, 0)
        local sent = 0
        local text = ("b"):rep(1000)
        local err
        repeat
            err = plain(n[0], 1, sent .. text)
            if err == 0 then
                sent = sent + 1
            end
        until err ~= 0
        assert.equal(lib.SD_EBUSY, err)
        n:poll()
        assert.equal(sent, #n[1].log.msgs)
        for i, m in ipairs(n[1].log.msgs) do
            assert.equal("head" .. (i - 1) .. text, m.body)
        end
        assert.equal(0, plain(n[0], 1, "again"))
    end)

    it("gives every sender its turn", function()
        n = start(4, 0)
        for i = 1, 200 do
            plain(n[0], 3, tostring(i))
        end
        plain(n[1], 3, "short")
        plain(n[2], 3, "short")
        lib.mesh_poll(n[3].mesh, 100)
        local from = {}
        for _, m in ipairs(n[3].log.msgs) do
            from[m.from] = (from[m.from] or 0) + 1
        end
        assert.equal(1, from[1])
        assert.equal(1, from[2])
    end)

    it("pops after the handler, or inside it when told to", function()
        n = start(1, 1)
        send(n[0], 1, CALL, lib.MESH_CALL, "head", "one")
        send(n[0], 1, CALL, lib.MESH_CALL, "head", "two")
        n[1].log.on_msg = function()
            lib.mesh_pop_now(n[1].mesh)
        end
        n:poll()
        assert.same({ "headone", "headtwo" }, bodies(n[1].log.msgs))
    end)

    it("knows when all is read that was written up to a mark", function()
        n = start(2, 1)
        local marks = ffi.new("struct mesh_marks")
        for i = 1, 10 do
            assert.equal(0, plain(n[1], 0, "early " .. i))
        end
        assert.equal(0, plain(n[2], 0, "early"))
        lib.mesh_mark(n[0].mesh, marks)
        assert.equal(0, plain(n[1], 0, "late"))
        n[0].log.hold = function(m)
            return m.from == 2 or #n[0].log.msgs == 10
        end
        for _ = 1, 9 do
            lib.mesh_poll(n[0].mesh, 1)
        end
        assert.equal(9, #n[0].log.msgs)
        assert.is_false(lib.mesh_is_read(n[0].mesh, marks))
        lib.mesh_poll(n[0].mesh, 1)
        assert.is_false(lib.mesh_is_read(n[0].mesh, marks)) -- that of 2
        n:kill(2)
        lib.mesh_poll(n[0].mesh, 0)
        assert.is_true(lib.mesh_is_read(n[0].mesh, marks))
    end)

    it("holds what a reader does not want yet, and shows it", function()
        n = start(1, 1)
        local take = 1
        n[1].log.hold = function()
            take = take - 1
            return take < 0
        end
        for i = 1, 3 do
            send(n[0], 1, CALL, lib.MESH_CALL, "h", tostring(i))
        end
        n:poll()
        assert.same({ "h1" }, bodies(n[1].log.msgs))
        assert.is_true(lib.mesh_before_sleep(n[1].mesh))
        lib.mesh_after_wake(n[1].mesh)
        local seen = {}
        local fn = ffi.cast("int (*)(void *, const struct mesh_msg *)",
            function(_, m)
                seen[#seen + 1] = ffi.string(m.body.p, m.body.len)
                return 0
            end)
        lib.mesh_walk(n[1].mesh, 0, fn, nil)
        fn:free()
        assert.same({ "h2", "h3" }, seen)
        take = 10
        lib.mesh_resume(n[1].mesh)
        n:poll()
        assert.same({ "h1", "h2", "h3" }, bodies(n[1].log.msgs))
    end)

    describe("calls", function()
        it("are bounded by the answers still to come", function()
            n = start(1, 1)
            n[1].log.hold = function()
                return true
            end
            for _ = 1, lib.MESH_CALLS_MAX do
                assert.equal(0, send(n[0], 1, CALL, lib.MESH_CALL, "h", "c"))
            end
            assert.equal(lib.SD_EBUSY,
                send(n[0], 1, CALL, lib.MESH_CALL, "h", "c"))
            assert.equal(lib.MESH_CALLS_MAX, lib.mesh_calls(n[0].mesh, 1))
        end)

        it("always get their answers into the ring", function()
            n = start(1, 1)
            for _ = 1, lib.MESH_CALLS_MAX do
                send(n[0], 1, CALL, lib.MESH_CALL, "h", "c")
            end
            n:poll()
            while plain(n[1], 0, ("s"):rep(500)) == 0 do end
            for i = 1, lib.MESH_CALLS_MAX do
                local answer = ("a"):rep(i % 8 == 0 and 240 or i)
                assert.equal(0,
                    send(n[1], 0, REPLY, lib.MESH_ANSWER, answer))
            end
            n:poll()
            assert.equal(0, lib.mesh_calls(n[0].mesh, 1))
        end)

        it("get a long answer beside a full ring", function()
            n = start(1, 1)
            send(n[0], 1, CALL, lib.MESH_CALL, "h", "c")
            n:poll()
            while plain(n[1], 0, ("s"):rep(500)) == 0 do end
            local long = ("L"):rep(5000)
            assert.equal(0, send(n[1], 0, REPLY, lib.MESH_ANSWER, "h", long))
            n:poll()
            local last = n[0].log.msgs[#n[0].log.msgs]
            assert.same({ true, "h" .. long, 0 },
                { last.answer, last.body, last.err })
        end)
    end)

    describe("descriptors", function()
        --- One from slot `from` to slot 0: its number.
        local function send_fd(from)
            local number = ffi.new("uint64_t[1]")
            assert.equal(0, lib.mesh_send_fd(n[from].mesh, 0, 1, number))
            return number[0]
        end

        --- As many from slot 1 as the box of slot 0 takes.
        local function fill_box()
            local numbers = {}
            for i = 1, lib.BODY_QUEUE do
                numbers[i] = send_fd(1)
                lib.mesh_claim_fd(n[0].mesh, 1, 0)
            end
            return numbers
        end

        local function claim(from, number)
            local fd = lib.mesh_claim_fd(n[0].mesh, from, number)
            if fd >= 0 then
                ffi.C.close(fd)
            end
            return fd
        end

        it("that are claimed make room for large bodies", function()
            n = start(3, 0)
            local numbers = fill_box()
            assert.equal(0, plain(n[2], 0, ("B"):rep(70000)))
            n:poll()
            assert.same({}, n[0].log.msgs)
            assert.is_true(claim(1, numbers[1]) >= 0)
            n:poll()
            assert.equal(70004, #n[0].log.msgs[1].body)
        end)

        it("of the dead make room, too", function()
            n = start(3, 0)
            fill_box()
            assert.equal(0, plain(n[2], 0, ("B"):rep(70000)))
            n:poll()
            n:kill(1)
            n:poll()
            assert.equal(70004, #n[0].log.msgs[1].body)
        end)

        it("that find no room are asked for again", function()
            n = start(3, 0)
            local numbers = fill_box()
            local last = send_fd(2)
            local got
            n[0].log.hold = function(m)
                got = m.from == 2 and claim(2, last) or nil
                return got == lib.SD_EBUSY
            end
            assert.equal(0, plain(n[2], 0, "move"))
            n:poll()
            assert.equal(lib.SD_EBUSY, got)
            assert.same({}, n[0].log.msgs)
            assert.is_true(claim(1, numbers[5]) >= 0)
            n:poll()
            assert.is_true(got >= 0)
            assert.same({ "headmove" }, bodies(n[0].log.msgs))
        end)
    end)

    describe("large bodies", function()
        it("travel beside the ring, up to 8 MiB", function()
            n = start(2, 0)
            for _, size in ipairs({ 65536, 65537, 1000000, 8 * 1024 * 1024 }) do
                local body = ("0123456789abcdef"):rep(math.ceil(size / 16))
                body = body:sub(1, size)
                assert.equal(0, plain(n[0], 1, body))
                n:poll()
                local got = table.remove(n[1].log.msgs)
                assert.equal(0, got.err)
                assert.is_true("head" .. body == got.body)
            end
            assert.equal(lib.SD_ETOOLARGE, plain(n[0], 1,
                ("x"):rep(9 * 1024 * 1024)))
        end)

        it("keep their place among the short ones", function()
            n = start(2, 0)
            local big = ("B"):rep(70000)
            for i = 1, 5 do
                plain(n[0], 1, tostring(i))
                plain(n[0], 1, big .. i)
            end
            n:poll()
            for i = 1, 5 do
                assert.equal("head" .. i, n[1].log.msgs[2 * i - 1].body)
                assert.is_true("head" .. big .. i == n[1].log.msgs[2 * i].body)
            end
        end)

        it("are refused as busy when too many are on the way", function()
            n = start(2, 0)
            local big = ("B"):rep(70000)
            local sent = 0
            while plain(n[0], 1, big) == 0 do
                sent = sent + 1
                assert.is_true(sent < 2000)
            end
            n:poll()
            assert.equal(sent, #n[1].log.msgs)
            assert.equal(0, plain(n[0], 1, big))
        end)

        it("that do not arrive are crashed, with the head", function()
            n = start(2, 0)
            local fds = ffi.new("int[?]", lib.MESH_FDS_MAX)
            lib.mesh_fds(n.master.mesh, 1, fds)
            assert.equal(0, plain(n[0], 1, ("B"):rep(70000)))
            local box = ffi.new("struct body_box *[1]", lib.body_box_new())
            assert.equal(1, lib.body_receive(box[0], fds[1], 1))
            lib.body_box_free(box)
            plain(n[0], 1, "next")
            n:poll()
            local lost, short = n[1].log.msgs[1], n[1].log.msgs[2]
            assert.same({ lib.SD_ECRASHED, "head" }, { lost.err, lost.body })
            assert.equal("headnext", short.body)
        end)
    end)

    describe("sleep", function()
        it("is refused while something waits", function()
            n = start(2, 0)
            assert.is_true(lib.mesh_before_sleep(n[1].mesh))
            lib.mesh_after_wake(n[1].mesh)
            plain(n[0], 1, "wait")
            assert.is_false(lib.mesh_before_sleep(n[1].mesh))
        end)

        it("ends with one write to the eventfd", function()
            n = start(2, 0)
            local fd = lib.mesh_fd(n[1].mesh)
            plain(n[0], 1, "awake")
            assert.is_false(readable(fd))
            n:poll()
            assert.is_true(lib.mesh_before_sleep(n[1].mesh))
            plain(n[0], 1, "asleep")
            assert.is_true(readable(fd))
            lib.mesh_on_wake(n[1].mesh)
            assert.is_false(readable(fd))
            plain(n[0], 1, "still awake")
            assert.is_false(readable(fd))
            n:poll()
            assert.equal(3, #n[1].log.msgs)
        end)

        it("ends when somebody dies", function()
            n = start(2, 0)
            assert.is_true(lib.mesh_before_sleep(n[0].mesh))
            n:kill(1)
            assert.is_true(readable(lib.mesh_fd(n[0].mesh)))
        end)
    end)
end)

describe("the death of a process", function()
    local n

    after_each(function()
        n:close()
    end)

    it("gives back what it had not popped, then says so", function()
        n = start(2, 1)
        n[2].log.hold = function(m)
            return ffi.string(m.body.p, m.body.len) == "hsecond"
        end
        for _, text in ipairs({ "first", "second", "third" }) do
            send(n[0], 2, CALL, lib.MESH_CALL, "h", text)
        end
        n:poll()
        n:kill(2)
        assert.equal(lib.SD_EGONE,
            send(n[0], 2, CALL, lib.MESH_CALL, "h", "late"))
        n:poll()
        assert.same({ "hsecond", "hthird" }, bodies(n[0].log.back))
        assert.same({ "2:1" }, n[0].log.gone)
        assert.same({ "2:1" }, n[1].log.gone)
        assert.equal(0, lib.mesh_calls(n[0].mesh, 2))
    end)

    it("does not lose the answers it gave", function()
        n = start(1, 1)
        send(n[0], 1, CALL, lib.MESH_CALL, "h", "q")
        lib.mesh_poll(n[1].mesh, 10)
        send(n[1], 0, REPLY, lib.MESH_ANSWER, "h", "done")
        n:kill(1)
        n[0].log.on_msg = function()
            assert.same({}, n[0].log.gone)
        end
        n:poll()
        assert.same({ "hdone" }, bodies(n[0].log.msgs))
        assert.is_true(n[0].log.msgs[1].dead)
        assert.same({ "1:1" }, n[0].log.gone)
    end)

    it("is followed by a process that talks with everyone", function()
        n = start(2, 1)
        for epoch = 2, 5 do
            plain(n[0], 1, "never read")
            n:kill(1)
            local fresh = n:fill(1)
            n:poll()
            assert.equal(0, plain(n[0], 1, "to " .. epoch))
            assert.equal(0, plain(fresh, 2, "from " .. epoch))
            n:poll()
            assert.same({ "headto " .. epoch }, bodies(fresh.log.msgs))
            local got = n[2].log.msgs[#n[2].log.msgs]
            assert.same({ "headfrom " .. epoch, epoch },
                { got.body, got.epoch })
        end
    end)

    it("waits for readers that are busy elsewhere", function()
        n = start(2, 1)
        plain(n[0], 2, "old")
        n:kill(0)
        local fresh = n:fill(0)
        lib.mesh_poll(fresh.mesh, 10)
        assert.equal(lib.SD_EBUSY, plain(fresh, 2, "new"))
        n:poll()
        assert.equal(0, plain(fresh, 2, "new"))
        n:poll()
        assert.same({ "headold", "headnew" }, bodies(n[2].log.msgs))
    end)

    it("drops large bodies it was sent, and those it sent unnamed", function()
        n = start(2, 0)
        local big = ("B"):rep(70000)
        assert.equal(0, plain(n[0], 1, big))
        n:kill(1)
        local fresh = n:fill(1)
        n:poll()
        assert.equal(1, #n[0].log.back)
        assert.same({ "head", lib.SD_ECRASHED },
            { n[0].log.back[1].body, n[0].log.back[1].err })
        assert.equal(0, plain(n[0], 1, big .. "2"))
        n:poll()
        assert.is_true("head" .. big .. "2" == fresh.log.msgs[1].body)
    end)
end)

--- A node of random sends, polls and deaths.  Each message carries pair and
--- number: a pair's must arrive in order, and each at most once, be it read or
--- given back.  When everyone polls between two deaths, none may be missing.
local life = {}
life.__index = life

function life:settle(process)
    for _, list in ipairs({ process.log.msgs, process.log.back }) do
        for _, m in ipairs(list) do
            local pair, text = m.body:match("^(%S+) (%d+)")
            local id = tonumber(text)
            assert.is_nil(self.fate[id], self.label)
            self.fate[id] = true
            if list == process.log.msgs then
                assert.is_true(id > (self.last[pair] or 0), self.label)
                self.last[pair] = id
            end
        end
    end
    process.log.msgs, process.log.back = {}, {}
end

function life:replace(slot)
    self:settle(self.node[slot])
    self.node:kill(slot)
    if self.is_calm then
        self.node:poll(1)
    end
    self.node:fill(slot)
end

function life:send(from, to)
    local id = self.sent + 1
    local size = math.random(50) == 1 and 70000 or math.random(0, 300)
    local text = ("%d>%d %d %s"):format(from, to, id, (" "):rep(size))
    local err = send(self.node[from], to, SEND, lib.MESH_PLAIN,
        text:sub(1, 30), text:sub(31))
    if err == 0 then
        self.sent = id
    end
end

function life:step()
    local n = self.node
    local a, b = math.random(0, n.n - 1), math.random(0, n.n - 1)
    local roll = math.random(300)
    if roll == 1 and a ~= n.n - 1 then
        self:replace(a)
    elseif roll < 60 then
        lib.mesh_poll(n[a].mesh, math.random(20))
        self:settle(n[a])
    else
        self:send(a, b)
    end
end

function life:finish()
    local n = self.node
    n:poll(5)
    for slot = 0, n.n - 1 do
        self:settle(n[slot])
        assert.equal(0, tonumber(lib.mesh_garbage(n[slot].mesh)))
    end
    n:close()
    for id = 1, self.sent do
        assert.is_true(self.fate[id] or not self.is_calm, self.label)
    end
    assert.is_true(self.sent > 100)
end

describe("a random life of a node", function()
    local base = os.time()
    for i = 1, 6 do
        local is_calm = i % 2 == 0
        local label = ("%s deaths, seed %d"):format(
            is_calm and "single" or "any", base + i)

        it("delivers or gives back (" .. label .. ")", function()
            math.randomseed(base + i)
            local run = setmetatable({
                node = start(3, 1), sent = 0, fate = {}, last = {},
                is_calm = is_calm, label = label,
            }, life)
            for _ = 1, 4000 do
                run:step()
            end
            run:finish()
        end)
    end
end)
