-- Large bodies as sealed memfds, beside the ring.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/body.h")
c.use("base/err.h")
ffi.cdef([[
int close(int fd);
int fcntl(int fd, int command, ...);
int memfd_create(const char *name, unsigned flags);
long write(int fd, const void *p, size_t n);
]])

local F_GETFD = 1
local ME = 5 -- the receiver's epoch

local function pair()
    local fds = ffi.new("int[2]")
    assert.equal(0, lib.body_pair(fds))
    return fds
end

local function named(number, slot, to_epoch)
    return ffi.new("struct body_name",
        { number = number, slot = slot or 1, epoch = 3,
            to_epoch = to_epoch or ME })
end

local function send(fds, name, ...)
    local parts = { ... }
    local v = ffi.new("struct slice[?]", #parts + 1)
    for i, part in ipairs(parts) do
        v[i - 1].p, v[i - 1].len = part, #part
    end
    return lib.body_send(fds[1], name, v, #parts)
end

--- The claimed bytes, or the error.
local function claim(box, name)
    local out = ffi.new("struct slice")
    local err = lib.body_claim(box, name, out)
    if err ~= 0 then
        return nil, err
    end
    local text = ffi.string(out.p, out.len)
    lib.body_unmap(out)
    return text
end

--- Asks for each number: a program that looked into /proc could still find
--- the end of the pipe that it was started with.
local function count_fds()
    local n = 0
    for fd = 0, 1023 do
        if ffi.C.fcntl(fd, F_GETFD) >= 0 then
            n = n + 1
        end
    end
    return n
end

describe("body", function()
    local fds, box, box_ref, before

    before_each(function()
        -- Files that other specs dropped must not be closed in between;
        -- a second round ends what the finalizers of the first let go.
        collectgarbage()
        collectgarbage()
        before = count_fds()
        fds = pair()
        box_ref = ffi.new("struct body_box *[1]", lib.body_box_new())
        box = box_ref[0]
    end)

    after_each(function()
        lib.body_box_free(box_ref)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
        assert.equal(before, count_fds())
    end)

    it("arrives whole, once, from several slices", function()
        local name = named(1)
        assert.equal(0, send(fds, name, "head ", "", ("x"):rep(100000)))
        assert.equal(100005, name.size)
        assert.equal(1, lib.body_receive(box, fds[0], ME))
        assert.equal("head " .. ("x"):rep(100000), (claim(box, name)))
        assert.same({ nil, lib.SD_ECRASHED }, { claim(box, name) })
    end)

    it("is found by name in any order", function()
        local names = {}
        for i = 1, 8 do
            names[i] = named(i, i % 3)
            assert.equal(0, send(fds, names[i], "body " .. i))
        end
        assert.equal(8, lib.body_receive(box, fds[0], ME))
        for _, i in ipairs({ 3, 1, 8, 2, 7, 4, 6, 5 }) do
            assert.equal("body " .. i, (claim(box, names[i])))
        end
        assert.equal(0, lib.body_box_count(box))
    end)

    it("is refused over its limit, before anything is sent", function()
        local half = ("x"):rep(lib.BODY_MAX / 2)
        assert.equal(lib.SD_ETOOLARGE, send(fds, named(1), half, half, "x"))
        assert.equal(0, lib.body_receive(box, fds[0], ME))
        assert.equal(0, send(fds, named(2), half, half))
    end)

    it("is busy when the socket is full, and fits again later", function()
        local sent = 0
        while send(fds, named(sent), "b") == 0 do
            sent = sent + 1
            assert.is_true(sent < 10000)
        end
        assert.equal(lib.SD_EBUSY, send(fds, named(sent), "b"))
        lib.body_receive(box, fds[0], ME)
        assert.equal(0, send(fds, named(sent), "b"))
    end)

    it("waits in the socket while the box is full", function()
        local sent, got = 0, 0
        while got ~= lib.SD_EFULL do
            assert.equal(0, send(fds, named(sent), "b" .. sent))
            sent = sent + 1
            got = lib.body_receive(box, fds[0], ME)
        end
        assert.equal(lib.BODY_QUEUE, lib.body_box_count(box))
        assert.equal(0, send(fds, named(sent), "late"))
        local late = named(sent)
        late.size = 4
        assert.is_nil((claim(box, late)))
        local first = named(0)
        first.size = 2
        assert.equal("b0", (claim(box, first)))
        assert.equal(lib.SD_EFULL, lib.body_receive(box, fds[0], ME))
        assert.equal("late", (claim(box, late)))
    end)

    it("to an earlier process of the slot is dropped", function()
        send(fds, named(1, 1, ME - 1), "old")
        send(fds, named(2), "new")
        assert.equal(1, lib.body_receive(box, fds[0], ME))
        assert.equal(1, lib.body_box_count(box))
    end)

    it("of a dead sender is forgotten, others stay", function()
        local keep = named(3, 2)
        send(fds, named(1, 1), "a")
        send(fds, keep, "stays")
        send(fds, named(2, 1), "b")
        lib.body_receive(box, fds[0], ME)
        lib.body_forget(box, 1, 3)
        assert.equal(1, lib.body_box_count(box))
        assert.equal("stays", (claim(box, keep)))
    end)

    it("of a dead sender is dropped when it comes late, too", function()
        lib.body_forget(box, 1, 4)
        local function sent(slot, epoch)
            local name = named(1, slot)
            name.epoch = epoch
            send(fds, name, "a")
            return lib.body_receive(box, fds[0], ME)
        end
        assert.equal(0, sent(1, 4))
        assert.equal(0, sent(1, 3))
        assert.equal(1, sent(1, 5))
        assert.equal(1, sent(2, 3))
        lib.body_forget(box, 1, 65535) -- epochs wrap around
        assert.equal(0, sent(1, 65534))
        assert.equal(1, sent(1, 1))
        assert.equal(3, lib.body_box_count(box))
    end)

    it("of another size than its record says is crashed", function()
        local name = named(1)
        send(fds, name, "four")
        lib.body_receive(box, fds[0], ME)
        name.size = 4096
        assert.same({ nil, lib.SD_ECRASHED }, { claim(box, name) })
    end)

    it("may be a descriptor itself", function()
        local pipe = ffi.new("int[2]")
        assert.equal(0, lib.body_pair(pipe)) -- any pair will do
        local name = named(9)
        assert.equal(0, lib.body_send_fd(fds[1], name, pipe[1]))
        assert.equal(1, lib.body_receive(box, fds[0], ME))
        local fd = lib.body_claim_fd(box, name)
        assert.is_true(fd >= 0 and fd ~= pipe[1])
        assert.equal(lib.SD_ECRASHED, lib.body_claim_fd(box, name))
        assert.equal(0, send({ [0] = pipe[0], [1] = fd }, named(1), "by it"))
        assert.equal(1, lib.body_receive(box, pipe[0], ME))
        ffi.C.close(fd)
        ffi.C.close(pipe[0])
        ffi.C.close(pipe[1])
    end)
end)
