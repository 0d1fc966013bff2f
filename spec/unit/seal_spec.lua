-- Sealed datagrams: made and opened, damaged, replayed, while keys change.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("cluster/seal.h")
c.use("cluster/window.h")
c.use("base/err.h")

local WORDS = {}
for v = 0, lib.SEAL_VERDICTS - 1 do
    WORDS[v] = ffi.string(lib.seal_word(v))
end

local function text_of(letter)
    local secret = ffi.new("uint8_t[32]")
    ffi.fill(secret, 32, letter:byte())
    local text = ffi.new("char[45]")
    lib.keys_write(text, secret)
    return ffi.string(text)
end

local A, B, C = text_of("a"), text_of("b"), text_of("c")

--- One process: its ring and its seal.
local Agent = {}
Agent.__index = Agent

local function agent(salt, keys, opts)
    opts = opts or {}
    local name = opts.name or "chat"
    local self = setmetatable({ now = 1000000 }, Agent)
    self.ring = ffi.new("struct keys *[1]", { lib.keys_new({ name, #name }) })
    self:keys(unpack(keys or { A }))
    local raw = ffi.new("uint8_t[16]", 0)
    ffi.copy(raw, salt, math.min(#salt, 16))
    self.seal = ffi.new("struct seal *[1]",
        { lib.seal_new(self.ring[0], raw, opts.senders or 16) })
    self.proxy = ffi.gc(ffi.new("char[1]"), function()
        lib.seal_free(self.seal)
        lib.keys_free(self.ring)
    end)
    return self
end

function Agent:keys(...)
    local texts, why = { ... }, ffi.new("const char *[1]")
    local at = ffi.new("const char *[?]", #texts + 1, texts)
    local list = ffi.new("struct conf_list", { #texts, at })
    assert(lib.keys_set(self.ring[0], list, why) == 0)
end

local function take(b)
    local s = ffi.string(b.p + b.head, b.len)
    lib.buf_fini(b)
    return s
end

function Agent:wrap(plain)
    local b = ffi.new("struct buf")
    local err = lib.seal_wrap(self.seal[0], { plain, #plain }, b)
    if err < 0 then
        assert(b.len == 0)
        return nil, err
    end
    return take(b)
end

--- What was said, or nil and why it was dropped.
function Agent:open(datagram)
    local b = ffi.new("struct buf")
    local v = tonumber(lib.seal_unwrap(self.seal[0], self.now,
        { datagram, #datagram }, b))
    if v ~= lib.SEAL_OPENED then
        assert(b.len == 0, "something was written")
        lib.buf_fini(b)
        return nil, WORDS[v]
    end
    return b.p ~= nil and take(b) or ""
end

function Agent:dropped(datagram)
    return select(2, self:open(datagram))
end

function Agent:count(word)
    for v, w in pairs(WORDS) do
        if w == word then
            return tonumber(lib.seal_count(self.seal[0], v))
        end
    end
end

function Agent:senders()
    return lib.seal_senders(self.seal[0])
end

local function flip(s, bit)
    local at = math.floor(bit / 8) + 1
    local b = s:byte(at)
    local mask = 2 ^ (bit % 8)
    b = math.floor(b / mask) % 2 == 1 and b - mask or b + mask
    return s:sub(1, at - 1) .. string.char(b) .. s:sub(at + 1)
end

local function hex(s)
    return (s:gsub(".", function(b)
        return ("%02x"):format(b:byte())
    end))
end

describe("a sealed datagram", function()
    it("says on the other side what was sealed, at any length", function()
        local a, b = agent("a"), agent("b")
        for n = 0, 200 do
            local plain = ("x"):rep(n)
            local d = a:wrap(plain)
            assert.equal(n + lib.SEAL_OVERHEAD, #d)
            assert.is_true(n == 0 or not d:find(plain, 1, true) or n < 4)
            assert.equal(plain, b:open(d))
        end
        local most = ("y"):rep(lib.SEAL_DATAGRAM_MAX - lib.SEAL_OVERHEAD)
        assert.equal(most, b:open(a:wrap(most)))
        assert.equal(202, b:count("opened"))
        assert.same({ nil, lib.SD_ETOOLARGE }, { a:wrap(most .. "y") })
    end)

    it("is what another program makes of the same", function()
        local cases = {
            { A, "chat", "0123456789abcdef", { "" } },
            { A, "chat", "0123456789abcdef", { "x", "hello, world" } },
            { C, "a longer name of a cluster", ("\0"):rep(15) .. "\255",
                { ("z"):rep(16), ("\0"):rep(33), ("long "):rep(60) } },
            { nil, "sdlua", "fedcba9876543210", { "nobody has a key" } },
        }
        for _, case in ipairs(cases) do
            local key, name, salt, said = unpack(case, 1, 4)
            local a = agent(salt, { key }, { name = name })
            local b = agent("b", { key }, { name = name })
            for i, plain in ipairs(said) do
                local pipe = assert(io.popen(
                    ("python3 spec/support/seal.py %s '%s' %s %d '%s'"):format(
                        key or "-", name, hex(salt), i, hex(plain))))
                local made = pipe:read("*l")
                pipe:close()
                local ours = a:wrap(plain)
                assert.equal(made, hex(ours))
                assert.equal(plain, b:open(ours))
            end
        end
    end)

    it("is refused with any bit flipped, and good afterwards", function()
        local a = agent("a")
        for _, known in ipairs({ false, true }) do
            local b = agent("b")
            if known then
                b:open(a:wrap("first"))
            end
            local d = a:wrap("something")
            for bit = 0, #d * 8 - 1 do
                assert.is_nil((b:open(flip(d, bit))), bit)
            end
            assert.equal(known and 1 or 0, b:count("opened"))
            assert.equal("something", b:open(d))
        end
    end)

    it("is refused at any other length", function()
        local a, b = agent("a"), agent("b")
        local d = a:wrap("something")
        for n = 0, #d - 1 do
            assert.is_nil((b:open(d:sub(1, n))), n)
        end
        assert.equal(lib.SEAL_OVERHEAD, b:count("size"))
        assert.is_nil((b:open(d .. "\0")))
        assert.equal("size", b:dropped(("x"):rep(lib.SEAL_DATAGRAM_MAX + 1)))
        assert.equal("something", b:open(d))
    end)

    it("tells by one word why it was dropped, and counts", function()
        local a, b = agent("a"), agent("b")
        local d = a:wrap("1")
        assert.equal("size", b:dropped(d:sub(1, 45)))
        assert.equal("magic", b:dropped("\0" .. d:sub(2)))
        assert.equal("version", b:dropped("\213\2" .. d:sub(3)))
        assert.equal("unknown_key", b:dropped(agent("c", { B }):wrap("x")))
        assert.equal("own", b:dropped(b:wrap("x")))
        assert.equal("bad_tag", b:dropped(flip(d, 30 * 8)))
        assert.equal("old", b:dropped(d:sub(1, 22) .. ("\0"):rep(8) .. d:sub(31)))
        assert.equal("1", b:open(d))
        assert.equal("replayed", b:dropped(d))
        for v = 0, lib.SEAL_VERDICTS - 1 do
            local expected = WORDS[v] == "crowded" and 0 or 1
            assert.equal(expected, b:count(WORDS[v]), WORDS[v])
        end
    end)

    it("does not pass between clusters that share a key", function()
        local a = agent("a", { A }, { name = "one" })
        local b = agent("b", { A }, { name = "two" })
        assert.equal("bad_tag", b:dropped(a:wrap("x")))
    end)
end)

describe("the window of a sender", function()
    local a, b, d

    before_each(function()
        a, b, d = agent("a"), agent("b"), {}
        for i = 1, 3000 do
            d[i] = a:wrap(tostring(i))
        end
    end)

    it("takes any order within 1,024, each once", function()
        local order = {}
        for i = 1, 1024 do
            order[i] = i
        end
        local seed = 12345
        for i = 1024, 2, -1 do
            seed = (seed * 1103515245 + 12345) % 2147483648
            local j = seed % i + 1
            order[i], order[j] = order[j], order[i]
        end
        for _, i in ipairs(order) do
            assert.equal(tostring(i), b:open(d[i]))
        end
        for _, i in ipairs(order) do
            assert.equal("replayed", b:dropped(d[i]))
        end
    end)

    it("refuses what is behind it", function()
        assert.equal("2000", b:open(d[2000]))
        assert.equal("old", b:dropped(d[2000 - 1024]))
        assert.equal("977", b:open(d[2000 - 1023]))
        assert.equal("old", b:dropped(d[1]))
        assert.equal("2001", b:open(d[2001]))
        assert.equal("replayed", b:dropped(d[977 + 1023]))
        assert.equal("old", b:dropped(d[977]))
    end)

    it("is not moved by a bad tag", function()
        assert.equal("1", b:open(d[1]))
        -- A counter far ahead, and one within the window.
        local far = d[2]:sub(1, 22) .. ("\255"):rep(8) .. d[2]:sub(31)
        assert.equal("bad_tag", b:dropped(far))
        assert.equal("bad_tag", b:dropped(flip(d[3], 300)))
        assert.equal("2", b:open(d[2]))
        assert.equal("3", b:open(d[3]))
    end)

    it("agrees with a list of all that was seen", function()
        local w = ffi.new("struct window")
        local seen, top, seed = {}, 0, 99
        local names = { [0] = "fresh", "seen", "old" }
        local counts = { fresh = 0, seen = 0, old = 0 }
        for _ = 1, 200000 do
            seed = (seed * 1103515245 + 12345) % 2147483648
            local kind = math.floor(seed / 65536)
            local n = top - kind % 1200 + 40
            if kind % 997 == 0 then
                n = top + 64 * (kind % 40)
            end
            n = math.max(n, 0)
            local want = (n == 0 or top - n >= 1024) and "old"
                or seen[n] and "seen" or "fresh"
            local got = names[tonumber(lib.window_judge(w, n))]
            if want ~= got then
                assert.equal(want, got, n)
            end
            counts[got] = counts[got] + 1
            if got == "fresh" and kind % 3 > 0 then
                lib.window_note(w, n)
                seen[n] = true
                top = math.max(top, n)
            end
        end
        for name, n in pairs(counts) do
            assert.is_true(n > 1000, name)
        end
    end)

    it("has no trouble at the end of numbers", function()
        local w, last = ffi.new("struct window"), 0xffffffffffffffffULL
        lib.window_note(w, 5)
        lib.window_note(w, last)
        assert.equal(lib.WINDOW_SEEN, tonumber(lib.window_judge(w, last)))
        assert.equal(lib.WINDOW_OLD, tonumber(lib.window_judge(w, 5)))
        for i = 1, 1023 do
            assert.equal(lib.WINDOW_FRESH, tonumber(lib.window_judge(w, last - i)))
        end
        assert.equal(lib.WINDOW_OLD, tonumber(lib.window_judge(w, last - 1024)))
    end)
end)

describe("strangers", function()
    --- A datagram under a known key that nobody with the key has made.
    local function forged(like, i)
        local salt = ("%016d"):format(i)
        return like:sub(1, 6) .. salt .. like:sub(23)
    end

    it("push out nobody and enter nothing", function()
        local a, b = agent("a"), agent("b", { A }, { senders = 4 })
        local d = a:wrap("x")
        b:open(d)
        for i = 1, 100 do
            assert.equal("bad_tag", b:dropped(forged(d, i)))
        end
        assert.equal(1, b:senders())
        assert.equal("replayed", b:dropped(d))
    end)

    it("are tried only so often, and others do not notice", function()
        local a, b = agent("a"), agent("b")
        b:open(a:wrap("known"))
        local d = a:wrap("x")
        for i = 1, lib.SEAL_STRANGERS do
            assert.equal("bad_tag", b:dropped(forged(d, i)))
        end
        local late = agent("late")
        assert.equal("crowded", b:dropped(forged(d, 0)))
        assert.equal("crowded", b:dropped(late:wrap("in vain")))
        assert.equal("x", b:open(d))
        b.now = b.now + 999
        assert.equal("crowded", b:dropped(late:wrap("in vain")))
        b.now = b.now + 1
        assert.equal("in time", b:open(late:wrap("in time")))
    end)

    it("that are believed cost no turn", function()
        local b = agent("b", { A }, { senders = 4096 })
        for i = 1, 2 * lib.SEAL_STRANGERS do
            assert.equal("x", b:open(agent(("%016d"):format(i)):wrap("x")))
        end
        assert.equal(0, b:count("crowded"))
        assert.equal(2 * lib.SEAL_STRANGERS, b:senders())
    end)
end)

describe("the table of senders", function()
    it("forgets who was silent for longest", function()
        local b = agent("b", { A }, { senders = 3 })
        local s = {}
        for i = 1, 4 do
            s[i] = agent("salt " .. i)
        end
        local first = { s[1]:wrap("1"), s[2]:wrap("2"), s[3]:wrap("3") }
        for _, d in ipairs(first) do
            b:open(d)
        end
        b:open(s[1]:wrap("again"))
        b:open(s[4]:wrap("4"))
        assert.equal(3, b:senders())
        assert.equal("replayed", b:dropped(first[1]))
        assert.equal("replayed", b:dropped(first[3]))
        -- Its window went with it: what it said may be heard again.
        assert.equal("2", b:open(first[2]))
        assert.equal(3, b:senders())
    end)
end)

describe("a change of keys", function()
    --- Everybody hears everybody else.
    local function all_hear(agents, what)
        for i, from in ipairs(agents) do
            for j, to in ipairs(agents) do
                if i ~= j then
                    assert.equal(what, to:open(from:wrap(what)))
                end
            end
        end
    end

    it("loses nothing at any moment of its three steps", function()
        local agents = {}
        for i = 1, 5 do
            agents[i] = agent("agent " .. i)
        end
        all_hear(agents, "before")
        for n, step in ipairs({ { A, B }, { B, A }, { B } }) do
            for _, one in ipairs(agents) do
                one:keys(unpack(step))
                all_hear(agents, "step " .. n)
            end
        end
        for _, one in ipairs(agents) do
            assert.equal(one:count("opened"),
                4 * (1 + 3 * #agents))
            assert.equal(4, one:senders()) -- those of the old key are gone
        end
    end)

    it("takes what is under way in the old key until that goes", function()
        local a, b = agent("a"), agent("b")
        local early, late = a:wrap("early"), a:wrap("late")
        a:keys(B, A)
        b:keys(B, A)
        assert.equal("new", b:open(a:wrap("new")))
        assert.equal("early", b:open(early))
        b:keys(B)
        assert.equal(2, b:senders()) -- until it is called again
        assert.equal("unknown_key", b:dropped(late))
        assert.equal(1, b:senders())
        assert.equal("still", b:open(a:wrap("still")))
    end)

    it("keeps the windows of keys that stay", function()
        local a, b = agent("a"), agent("b")
        local d = a:wrap("once")
        b:open(d)
        for _, ring in ipairs({ { A, B }, { B, A }, { C, B, A }, { A } }) do
            b:keys(unpack(ring))
            assert.equal("replayed", b:dropped(d))
        end
    end)

    it("never seals twice with one number", function()
        local a, seen = agent("a"), {}
        for _, ring in ipairs({ { A }, { B, A }, { A, B }, { A }, { B }, { A } }) do
            a:keys(unpack(ring))
            for _ = 1, 3 do
                local name = a:wrap("x"):sub(3, 30)
                assert.is_nil(seen[name])
                seen[name] = true
            end
        end
    end)

    it("from no key to one parts those who have it from the others", function()
        local a, b = agent("a", {}), agent("b", {})
        assert.equal("x", b:open(a:wrap("x")))
        b:keys(A)
        assert.equal("unknown_key", b:dropped(a:wrap("x")))
        a:keys(A)
        assert.equal("x", b:open(a:wrap("x")))
    end)
end)
