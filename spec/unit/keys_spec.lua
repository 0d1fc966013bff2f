-- The ring of a cluster's keys: texts, order, and what stays over a change.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("cluster/keys.h")
c.use("base/err.h")

local why = ffi.new("const char *[1]")
local bytes = ffi.new("uint8_t[32]")

local function list(texts)
    local at = ffi.new("const char *[?]", #texts + 1, texts)
    return ffi.new("struct conf_list", { #texts, at }), at, texts
end

local function new(name)
    local k = lib.keys_new({ name, #name })
    return ffi.gc(k, function()
        lib.keys_free(ffi.new("struct keys *[1]", { k }))
    end)
end

local function set(k, ...)
    local l, at, texts = list({ ... })
    local err = lib.keys_set(k, l, why)
    assert(at and texts) -- borrowed until here
    return err, err < 0 and ffi.string(why[0]) or nil
end

local function write(secret)
    local text = ffi.new("char[45]")
    lib.keys_write(text, secret)
    return ffi.string(text)
end

--- A key of one letter.
local function key(letter)
    ffi.fill(bytes, 32, letter:byte())
    return write(bytes)
end

local function hex(p, n)
    return (ffi.string(p, n):gsub(".", function(b)
        return ("%02x"):format(b:byte())
    end))
end

local function output(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read("*a")
    pipe:close()
    return text
end

local A, B, C, D = key("a"), key("b"), key("c"), key("d")

describe("a key's text", function()
    local function read(text)
        return lib.keys_read(bytes, { text, #text })
    end

    it("is base64 of 32 bytes, there and back", function()
        for seed = 0, 255 do
            local secret = ffi.new("uint8_t[32]")
            for i = 0, 31 do
                secret[i] = (seed * 7 + i * 37) % 256
            end
            local text = write(secret)
            assert.equal(lib.KEYS_TEXT, #text)
            assert.equal(0, read(text))
            assert.equal(hex(secret, 32), hex(bytes, 32))
        end
    end)

    it("has one form only", function()
        local bad = {
            "", "=", A:sub(1, 43), A .. "=", " " .. A:sub(1, 43), A .. "\n",
            A:sub(1, 42) .. "\n=", A:sub(1, 42) .. "==", (A:gsub("^.", "-")),
            (A:gsub("^.", "=")), (A:gsub("^.", "\0")), ("="):rep(44), ("A"):rep(44),
            A:sub(1, 42) .. "F=", -- with bits left over
        }
        for _, text in ipairs(bad) do
            assert.equal(lib.SD_EINVALID, read(text), text)
        end
    end)

    it("leaves the secret alone when it is refused", function()
        ffi.fill(bytes, 32, 7)
        read("nonsense")
        assert.equal(("07"):rep(32), hex(bytes, 32))
    end)
end)

describe("a ring of keys", function()
    it("is open without a key, and no two clusters share that one", function()
        local one, two, same = new("one"), new("two"), new("one")
        assert.is_true(lib.keys_is_open(one))
        assert.equal(hex(lib.keys_at(one, 0).id, 4),
            hex(lib.keys_at(same, 0).id, 4))
        assert.not_equal(hex(lib.keys_at(one, 0).id, 4),
            hex(lib.keys_at(two, 0).id, 4))
        assert.is_true(lib.keys_find(two, lib.keys_at(one, 0).id) == nil)
        assert.is_true(lib.keys_at(one, 1) == nil)
    end)

    it("takes ids and names from SHA-256", function()
        local k = new("chat")
        set(k, A)
        local sum = output(("printf %s | base64 -d | sha256sum"):format(A))
        assert.equal(sum:sub(1, 8), hex(lib.keys_at(k, 0).id, 4))
        sum = output("printf chat | sha256sum")
        assert.equal(sum:sub(1, 16), hex(lib.keys_name(k), 8))
    end)

    it("sends with the first and finds all", function()
        local k = new("chat")
        assert.equal(0, set(k, A, B, C))
        assert.is_false(lib.keys_is_open(k))
        for i, text in ipairs({ A, B, C }) do
            local one = lib.keys_at(k, i - 1)
            assert.equal(text, write(one.secret))
            assert.equal(one, lib.keys_find(k, one.id))
        end
        assert.is_true(lib.keys_at(k, 3) == nil)
    end)

    it("keeps the numbers of keys that stay, and gives none twice", function()
        local k = new("chat")
        local seen = { [tonumber(lib.keys_at(k, 0).number)] = true }
        local function numbers()
            local n = {}
            for i = 0, 2 do
                local one = lib.keys_at(k, i)
                if one ~= nil then
                    n[write(one.secret)] = tonumber(one.number)
                end
            end
            return n
        end
        local before = {}
        for _, step in ipairs({ { A }, { A, B }, { B, A }, { B }, { B, C, D },
            { A, B }, {}, { B } }) do
            local version = lib.keys_version(k)
            assert.equal(0, set(k, unpack(step)))
            assert.is_true(lib.keys_version(k) > version)
            local now = numbers()
            for text, number in pairs(now) do
                if before[text] then
                    assert.equal(before[text], number)
                else
                    assert.is_nil(seen[number])
                    seen[number] = true
                end
            end
            before = now
        end
    end)

    it("stays as it was when the list is refused", function()
        local k = new("chat")
        set(k, A, B)
        local version = lib.keys_version(k)
        local function refused(text, ...)
            local err, said = set(k, ...)
            assert.equal(lib.SD_EINVALID, err)
            assert.equal(text, said)
            assert.equal(version, lib.keys_version(k))
            assert.equal(A, write(lib.keys_at(k, 0).secret))
            assert.equal(B, write(lib.keys_at(k, 1).secret))
        end
        refused("more than 3 keys", A, B, C, D)
        refused("no base64 of 32 bytes", C, "secret")
        refused("no base64 of 32 bytes", "")
        refused("two keys with the same id", C, D, C)
    end)

    it("can be freed twice", function()
        local k = ffi.new("struct keys *[1]", { lib.keys_new({ "x", 1 }) })
        lib.keys_free(k)
        assert.is_true(k[0] == nil)
        lib.keys_free(k)
    end)
end)
