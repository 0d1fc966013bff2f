-- The handshake of a link: two sides, and everybody in between.
local bit = require("bit")
local ffi = require("ffi")
local bytes = require("spec.support.bytes")
local c = require("spec.support.c")
local links = require("spec.support.links")

local lib = c.use("cluster/hand.h")
c.use("base/err.h")

local HELLO, ENTROPY = lib.HAND_HELLO, lib.HAND_ENTROPY
local AT = { version = 4, flags = 5, zero = 6, key_id = 8, cluster = 12, public = 52 }

local hex = links.hex

local function sha256(s)
    local out = ffi.new("unsigned char[32]")
    local a, none = bytes.slice(s), bytes.slice("")
    lib.agree_hash(out, a, none)
    return ffi.string(out, 32)
end

--- A key with its id, made from one letter.
local function key(letter)
    local k = letter:rep(32)
    return { key = k, id = sha256(k):sub(1, 4) }
end

local KEYS = { key("a"), key("b"), key("c") }
local made = 0

--- One side: { h, out, said } and its methods.
local side = {}
side.__index = side

--- conf: role, keys, cluster, plain, identity, entropy; all have defaults.
local function new(conf)
    local keys = conf.keys or { KEYS[1] }
    local k = ffi.new("struct hand_key[?]", #keys)
    for i, one in ipairs(keys) do
        ffi.copy(k[i - 1].id, one.id, 4)
        ffi.copy(k[i - 1].key, one.key, 32)
    end
    local identity = conf.identity or conf.role
    local id = bytes.slice(identity)
    local cf = ffi.new("struct hand_conf", { keys = k, nkeys = #keys, identity = id })
    cf.plain = conf.plain or false
    cf.asked = conf.asked
    ffi.copy(cf.cluster, conf.cluster or "cluster1", 8)
    made = made + 1
    local entropy = conf.entropy or sha256("n" .. made) .. sha256("k" .. made)
    assert(#entropy == ENTROPY)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local role = conf.role == "relay" and lib.HAND_RELAY or lib.HAND_WORKER
    local h = lib.hand_create(role, cf, bytes.exact(entropy), out)
    return setmetatable({
        out = out,
        h = ffi.gc(h, function(p)
            lib.hand_free(ffi.new("struct hand *[1]", p))
        end),
    }, side)
end

local function worker(conf)
    conf = conf or {}
    conf.role = "worker"
    return new(conf)
end

local function relay(conf)
    conf = conf or {}
    conf.role = "relay"
    return new(conf)
end

--- What it wants to send, which is then gone.
function side:says()
    local s = ffi.string(self.out.p + self.out.head, self.out.len)
    lib.buf_consume(self.out, self.out.len)
    return s
end

--- Feed one piece; the number taken, or an error.
function side:hears(s)
    local piece = bytes.slice(s)
    return lib.hand_feed(self.h, piece, self.out)
end

function side:session()
    local s = lib.hand_session(self.h)
    if s == nil then
        return nil
    end
    return {
        send = ffi.string(s.send, 32),
        receive = ffi.string(s.receive, 32),
        key_id = ffi.string(s.key_id, 4),
        encrypted = s.encrypted,
        peer = ffi.string(s.peer.p, s.peer.len),
    }
end

--- It has ended, for this reason, saying nothing, and stays so.
function side:assert_refused(why)
    assert.is_nil(self:session())
    assert.equal(0, tonumber(self.out.len))
    local got = lib.hand_why(self.h)
    assert.not_equal(lib.HAND_FINE, got)
    if why then
        assert.equal(lib[why], got)
    end
    assert.equal(lib.SD_EPROTO, self:hears("sdlk\1"))
    assert.equal(0, tonumber(self.out.len))
end

--- Run to the end; the four messages.
local function converse(w, r)
    local m = { w:says() }
    assert.equal(#m[1], r:hears(m[1]))
    m[2] = r:says()
    assert.equal(#m[2], w:hears(m[2]))
    m[3] = w:says()
    assert.equal(#m[3], r:hears(m[3]))
    m[4] = r:says()
    assert.equal(#m[4], w:hears(m[4]))
    return m
end

--- Both sides as far as message `n` (1 to 4), which is not delivered; who
--- would get it, and the message.
local function before(n, wconf, rconf)
    local from, to = worker(wconf), relay(rconf)
    for _ = 1, n - 1 do
        local s = from:says()
        assert.equal(#s, to:hears(s))
        from, to = to, from
    end
    return to, from:says()
end

--- `s` with the bits of `mask` flipped at offset `at`.
local function flip(s, at, mask)
    return s:sub(1, at) .. string.char(bit.bxor(s:byte(at + 1), mask)) .. s:sub(at + 2)
end

local function put(s, at, what)
    return s:sub(1, at) .. what .. s:sub(at + #what + 1)
end

describe("links.py", function()
    it("agrees with published vectors", function()
        assert.same({}, links.run("check"))
    end)
end)

describe("agree", function()
    it("derives as RFC 5869 does (A.1)", function()
        local out = ffi.new("unsigned char[32]")
        local ikm = bytes.slice(("\x0b"):rep(22))
        local salt = bytes.slice(bytes.hex("000102030405060708090a0b0c"))
        lib.agree_extract(out, salt, ikm)
        assert.equal("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            hex(ffi.string(out, 32)))
        local info = bytes.slice(bytes.hex("f0f1f2f3f4f5f6f7f8f9"))
        local prk = ffi.string(out, 32)
        lib.agree_expand(out, bytes.exact(prk), "", info)
        assert.equal("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
            hex(ffi.string(out, 32)))
    end)

    it("exchanges as RFC 7748 does (5.2)", function()
        local out = ffi.new("unsigned char[32]")
        assert.is_true(lib.agree_shared(out,
            bytes.exact(bytes.hex(
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")),
            bytes.exact(bytes.hex(
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))))
        assert.equal("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            hex(ffi.string(out, 32)))
    end)

    it("makes no secret with a point of small order", function()
        local out = ffi.new("unsigned char[32]")
        for _, u in ipairs({ "00", "01", "ecffffffffffffffffffffffffffffff" ..
            "ffffffffffffffffffffffffffffff7f" }) do
            local public = bytes.hex(u .. ("00"):rep(32 - #u / 2))
            assert.is_false(lib.agree_shared(out, bytes.exact(("k"):rep(32)),
                bytes.exact(public)))
        end
        assert.equal(("\0"):rep(32), ffi.string(out, 32))
    end)
end)

describe("hand", function()
    it("lets both sides agree, on different keys each time", function()
        local seen = {}
        for _ = 1, 3 do
            local w, r = worker(), relay()
            converse(w, r)
            local a, b = w:session(), r:session()
            assert.equal(a.send, b.receive)
            assert.equal(a.receive, b.send)
            assert.not_equal(a.send, a.receive)
            assert.equal("relay", a.peer)
            assert.equal("worker", b.peer)
            assert.is_true(a.encrypted and b.encrypted)
            assert.is_nil(seen[a.send] or seen[a.receive])
            seen[a.send], seen[a.receive] = true, true
        end
    end)

    for i = 1, 3 do
        it("agrees on the key that the relay has in place " .. i, function()
            for j = 1, 3 do
                local k = { KEYS[1], KEYS[2], KEYS[3] }
                k[i], k[j] = k[j], k[i]
                local w, r = worker({ keys = { k[i], key("x") } }), relay({ keys = k })
                converse(w, r)
                assert.equal(k[i].id, w:session().key_id)
                assert.equal(k[i].id, r:session().key_id)
                assert.equal(w:session().send, r:session().receive)
            end
        end)
    end

    it("is plain only when both want that", function()
        for _, case in ipairs({ { false, false }, { false, true }, { true, false },
            { true, true } }) do
            local w, r = worker({ plain = case[1] }), relay({ plain = case[2] })
            converse(w, r)
            local expected = not (case[1] and case[2])
            assert.equal(expected, w:session().encrypted)
            assert.equal(expected, r:session().encrypted)
            assert.equal("relay", w:session().peer)
            assert.equal("worker", r:session().peer)
        end
    end)

    it("carries identities of every length, unseen unless plain", function()
        for _, n in ipairs({ 0, 1, 15, 16, 17, 399, 400 }) do
            for _, plain in ipairs({ false, true }) do
                local w = worker({ identity = ("w"):rep(n), plain = plain })
                local r = relay({ identity = ("r"):rep(400 - n), plain = plain })
                local m = converse(w, r)
                assert.equal(("r"):rep(400 - n), w:session().peer)
                assert.equal(("w"):rep(n), r:session().peer)
                assert.equal(34 + n, #m[3])
                assert.equal(434 - n, #m[4])
                if n > 8 then
                    assert.equal(plain, m[3]:find(("w"):rep(n), 1, true) ~= nil)
                end
            end
        end
    end)

    for plain = 0, 1 do
        it("says what a second implementation says, plain = " .. plain, function()
            local entropy = { sha256("1") .. sha256("2"), sha256("3") .. sha256("4") }
            local id = { "a worker's identity, over one block", "relay" }
            local w = worker({ entropy = entropy[1], identity = id[1], plain = plain == 1 })
            local r = relay({ entropy = entropy[2], identity = id[2], plain = plain == 1 })
            local m = converse(w, r)
            m[5], m[6] = w:session().send, w:session().receive
            local expected = links.run("handshake", hex(KEYS[1].key), hex("cluster1"),
                hex(entropy[1]), hex(entropy[2]), hex(id[1]), hex(id[2]), plain, plain)
            for i = 1, 6 do
                assert.equal(hex(expected[i]), hex(m[i]), "line " .. i)
            end
        end)
    end

    it("answers no more than it was asked, and nothing before", function()
        local w, r = worker(), relay()
        local question = w:says()
        assert.equal(HELLO, #question)
        assert.equal(HELLO - 1, r:hears(question:sub(1, HELLO - 1)))
        assert.equal("", r:says())
        assert.equal(1, r:hears(question:sub(HELLO)))
        assert.equal(HELLO, #r:says())
    end)

    it("knows who has shown the key, before he has proved it", function()
        local w, r = worker(), relay()
        local question = w:says()
        r:hears(question:sub(1, -2))
        assert.is_false(lib.hand_has_asked(r.h))
        r:hears(question:sub(-1))
        assert.is_true(lib.hand_has_asked(r.h))
        assert.is_nil(r:session())
        local forged = relay()
        forged:hears(question:sub(1, -2) .. "\255")
        assert.is_false(lib.hand_has_asked(forged.h))
    end)

    it("answers a question once, also beside many others", function()
        local asked = ffi.new("struct questions")
        local questions = {}
        for i = 1, 3 do
            local w = worker()
            questions[i] = w:says()
            relay({ asked = asked }):hears(questions[i])
        end
        for _, question in ipairs(questions) do
            local r = relay({ asked = asked })
            assert.equal(lib.SD_EPROTO, r:hears(question))
            r:assert_refused("HAND_REPEATED")
        end
        converse(worker(), relay({ asked = asked }))
        -- A relay that has been started since does not know it.
        local r = relay({ asked = ffi.new("struct questions") })
        assert.equal(HELLO, r:hears(questions[1]))
        -- One with a wrong check is not remembered.
        local w = worker()
        local question = w:says()
        relay({ asked = asked }):hears(question:sub(1, -2) .. "\255")
        assert.equal(HELLO, relay({ asked = asked }):hears(question))
    end)

    it("leaves what follows the handshake to others", function()
        local to, m = before(3)
        assert.equal(#m, to:hears(m .. "records"))
        assert.not_nil(to:session())
        assert.equal(0, to:hears("more"))
    end)

    it("does not care how the bytes arrive", function()
        local e = { sha256("5") .. sha256("6"), sha256("7") .. sha256("8") }
        local w, r = worker({ entropy = e[1] }), relay({ entropy = e[2] })
        local m = converse(w, r)
        for n = 1, 4 do
            for split in bytes.splits(m[n]) do
                local to = before(n, { entropy = e[1] }, { entropy = e[2] })
                for _, piece in ipairs(split) do
                    assert.equal(#piece, to:hears(piece))
                end
                assert.equal(m[n + 1] or "", to:says())
                assert.equal(n >= 3, to:session() ~= nil)
            end
        end
    end)

    it("waits for the rest of a message that was cut", function()
        for n = 1, 4 do
            local to, m = before(n)
            for i = 1, #m - 1 do
                assert.equal(1, to:hears(m:sub(i, i)))
                assert.equal("", to:says())
                assert.is_nil(to:session())
            end
            assert.equal(1, to:hears(m:sub(#m)))
        end
    end)

    for n = 1, 4 do
        it("ends when any bit of message " .. n .. " is another", function()
            local _, whole = before(n)
            for at = 0, #whole - 1 do
                for i = 0, 7 do
                    local to, m = before(n)
                    local sent = flip(m, at, bit.lshift(1, i))
                    -- A longer identity is waited for, then judged.
                    if to:hears(sent) >= 0 then
                        assert.is_true(n >= 3 and at < 2)
                        assert.is_nil(to:session())
                        to:hears(("\0"):rep(400))
                    end
                    to:assert_refused()
                end
            end
        end)
    end

    it("ends on another key under the same id", function()
        local forged = { id = KEYS[1].id, key = ("z"):rep(32) }
        local w, r = worker({ keys = { forged } }), relay()
        assert.equal(lib.SD_EPROTO, r:hears(w:says()))
        r:assert_refused("HAND_WRONG_PROOF")
    end)

    it("ends on a key that is not among the relay's", function()
        local w, r = worker({ keys = { key("x"), KEYS[1] } }), relay({ keys = KEYS })
        assert.equal(lib.SD_EPROTO, r:hears(w:says()))
        r:assert_refused("HAND_UNKNOWN_KEY")
    end)

    it("ends on an answer under another key than asked for", function()
        local w = worker({ keys = KEYS })
        local _, answer = before(2, { keys = { KEYS[2] } }, { keys = KEYS })
        assert.equal(lib.SD_EPROTO, w:hears(answer))
        w:says()
        w:assert_refused("HAND_UNKNOWN_KEY")
    end)

    local wrong = {
        { "another cluster", "HAND_OTHER_CLUSTER", AT.cluster, "cluster2" },
        { "another version", "HAND_OTHER_VERSION", AT.version, "\2" },
        { "an unknown key", "HAND_UNKNOWN_KEY", AT.key_id, "none" },
        { "an unknown flag", "HAND_MALFORMED", AT.flags, "\2" },
        { "what must be zero", "HAND_MALFORMED", AT.zero + 1, "\1" },
        { "another protocol", "HAND_STRANGER", 0, "GET " },
    }
    for _, case in ipairs(wrong) do
        it("says so when a hello names " .. case[1], function()
            for n = 1, 2 do
                local to, m = before(n)
                to:says()
                assert.equal(lib.SD_EPROTO, to:hears(put(m, case[3], case[4])))
                to:assert_refused(case[2])
            end
        end)
    end

    it("ends between clusters of different names with one key", function()
        local w, r = worker({ cluster = "cluster2" }), relay()
        assert.equal(lib.SD_EPROTO, r:hears(w:says()))
        r:assert_refused("HAND_OTHER_CLUSTER")
    end)

    it("knows a stranger by the first byte, another version by the fifth", function()
        local r = relay()
        assert.equal(lib.SD_EPROTO, r:hears("\x16"))
        r:assert_refused("HAND_STRANGER")
        r = relay()
        assert.equal(4, r:hears("sdlk"))
        assert.equal(lib.SD_EPROTO, r:hears("\9"))
        assert.equal(9, lib.hand_peer_version(r.h))
        r:assert_refused("HAND_OTHER_VERSION")
    end)

    it("takes no identity over the limit, and does not wait for it", function()
        for n = 3, 4 do
            local to = before(n)
            to:says()
            assert.equal(2, to:hears("\x90\1"))
            assert.equal(lib.HAND_FINE, lib.hand_why(to.h))
            to = before(n)
            to:says()
            assert.equal(lib.SD_EPROTO, to:hears("\x91\1"))
            to:assert_refused("HAND_MALFORMED")
        end
    end)

    it("refuses a proof that was recorded", function()
        local m = converse(worker(), relay())
        local r = relay()
        assert.equal(HELLO, r:hears(m[1]))
        assert.equal(HELLO, #r:says())
        assert.equal(lib.SD_EPROTO, r:hears(m[3]))
        r:assert_refused("HAND_WRONG_PROOF")

        local w = worker()
        w:says()
        assert.equal(lib.SD_EPROTO, w:hears(m[2]))
        w:assert_refused("HAND_WRONG_PROOF")
    end)

    it("refuses its own words and those of its kind", function()
        local w = worker()
        assert.equal(lib.SD_EPROTO, w:hears(w:says()))
        w:assert_refused("HAND_WRONG_PROOF")

        w = worker()
        local question = worker():says()
        w:says()
        assert.equal(lib.SD_EPROTO, w:hears(question))
        w:assert_refused("HAND_WRONG_PROOF")

        local _, answer = before(2)
        local r = relay()
        assert.equal(lib.SD_EPROTO, r:hears(answer))
        r:assert_refused("HAND_WRONG_PROOF")

        -- A worker's own proof, sent back as the relay's.
        w, r = worker(), relay()
        r:hears(w:says())
        w:hears(r:says())
        assert.equal(lib.SD_EPROTO, w:hears(w:says()))
        w:assert_refused("HAND_WRONG_PROOF")
    end)

    it("gives nothing to somebody in between who swaps the keys", function()
        local mine = ffi.new("unsigned char[32]")
        lib.agree_public(mine, bytes.exact(("m"):rep(32)))
        mine = ffi.string(mine, 32)

        -- Towards the relay: the question's check covers its key.
        local r, m = before(1)
        assert.equal(lib.SD_EPROTO, r:hears(put(m, AT.public, mine)))
        r:assert_refused("HAND_WRONG_PROOF")

        -- Towards the worker: so does the answer's proof.
        local w
        w, m = before(2)
        assert.equal(lib.SD_EPROTO, w:hears(put(m, AT.public, mine)))
        w:assert_refused("HAND_WRONG_PROOF")

        -- Knowing both private halves of the exchange is not enough, either.
        local e = { sha256("w") .. sha256("x"), sha256("y") .. sha256("z") }
        local honest = { worker({ entropy = e[1] }), relay({ entropy = e[2] }) }
        local forger = relay({ entropy = e[2], keys = { { id = KEYS[1].id,
            key = ("f"):rep(32) } } })
        local question = honest[1]:says()
        assert.equal(lib.SD_EPROTO, forger:hears(question))
        honest[2]:hears(question)
        local forged = links.run("handshake", hex(("f"):rep(32)), hex("cluster1"), hex(e[1]),
            hex(e[2]), "-", "-", 0, 0)[2]
        forged = put(forged, AT.key_id, KEYS[1].id)
        assert.equal(honest[2]:says():sub(1, 84), forged:sub(1, 84))
        assert.equal(lib.SD_EPROTO, honest[1]:hears(forged))
        honest[1]:assert_refused("HAND_WRONG_PROOF")
    end)

    it("refuses a key of small order from somebody who has the cluster's", function()
        local r, m = before(1)
        m = put(m, AT.public, ("\0"):rep(32))
        local check = ffi.new("unsigned char[32]")
        local head = bytes.slice(m:sub(1, 84))
        lib.terms_check(check, bytes.exact(KEYS[1].key), head)
        m = m:sub(1, 84) .. ffi.string(check, 32)
        assert.equal(lib.SD_EPROTO, r:hears(m))
        r:assert_refused("HAND_WRONG_PROOF")
    end)

    it("has one line for every reason", function()
        local seen = {}
        for why = lib.HAND_FINE, lib.HAND_REPEATED do
            local text = ffi.string(lib.hand_why_text(why))
            assert.is_nil(seen[text])
            seen[text] = true
        end
    end)
end)
