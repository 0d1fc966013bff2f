local ffi = require("ffi")
local c = require("spec.support.c")
local bytes = require("spec.support.bytes")

local lib = c.use("codec/handshake.h")

local function slice(s)
    return ffi.new("struct slice", { bytes.exact(s), #s })
end

describe("handshake", function()
    local keys = {
        ["dGhlIHNhbXBsZSBub25jZQ=="] = true,
        ["AAAAAAAAAAAAAAAAAAAAAA=="] = true,
        ["+/+/+/+/+/+/+/+/+/+/+w=="] = true,
        [""] = false,
        ["dGhlIHNhbXBsZSBub25jZQ="] = false,
        ["dGhlIHNhbXBsZSBub25jZQ==="] = false,
        ["dGhlIHNhbXBsZSBub25jZQA="] = false,
        ["dGhlIHNhbXBsZSBub25jZQAA"] = false,
        ["dGhlIHNhbXBsZSBub25j-Q=="] = false,
        ["dGhlIHNhbXBsZSBub25j Q=="] = false,
        ["dGhlIHNhbXBsZSBub25j\0Q=="] = false,
        ["========================"] = false,
    }
    for key, expected in pairs(keys) do
        it(("judges the key %q"):format(key), function()
            local key_slice = slice(key)
            assert.equal(expected, lib.handshake_is_key(key_slice))
        end)
    end

    local tokens = {
        { "Upgrade", true },
        { "upgrade", true },
        { "keep-alive, Upgrade", true },
        { "keep-alive,UPGRADE\t ,x", true },
        { ",,upgrade", true },
        { "", false },
        { "keep-alive", false },
        { "upgraded", false },
        { "up grade", false },
        { "xupgrade", false },
    }
    for _, case in ipairs(tokens) do
        it(("looks for upgrade in %q"):format(case[1]), function()
            local list = slice(case[1])
            assert.equal(case[2], lib.handshake_has_token(list, "upgrade"))
        end)
    end

    local protocols = {
        { "chat", 0 },
        { "game, chat", 1 },
        { "chat, game", 0 },
        { "none,\tgame ", 1 },
        { "CHAT", -1 },
        { "cha", -1 },
        { "chat2", -1 },
        { "", -1 },
        { ",", -1 },
    }
    for _, case in ipairs(protocols) do
        it(("picks a sub-protocol from %q"):format(case[1]), function()
            local ours = ffi.new("struct slice[2]", { { "chat", 4 }, { "game", 4 } })
            local list = slice(case[1])
            assert.equal(case[2], lib.handshake_protocol(list, ours, 2))
            assert.equal(-1, lib.handshake_protocol(list, ours, 0))
        end)
    end

    local same = {
        { "http://example.com", "example.com", true },
        { "http://EXAMPLE.com", "example.COM", true },
        { "http://example.com:80", "example.com", true },
        { "http://example.com", "example.com:80", true },
        { "https://example.com", "example.com", true },
        { "https://example.com", "example.com:443", true },
        { "http://127.0.0.1:8081", "127.0.0.1:8081", true },
        { "http://[::1]:8081", "[::1]:8081", true },
        { "http://[::1]", "[::1]", true },
        { "http://example.com:8081", "example.com", false },
        { "http://example.com", "example.com:8081", false },
        { "https://example.com", "example.com:80", false },
        { "http://example.com.evil.org", "example.com", false },
        { "http://evilexample.com", "example.com", false },
        { "http://example.com@evil.org", "example.com", false },
        { "http://example.com:80@evil.org", "example.com", false },
        { "http://evil.org#example.com", "example.com", false },
        { "http://example.com/", "example.com", false },
        { "http://example.com:", "example.com", false },
        { "http://example.com:0", "example.com:0", false },
        { "http://example.com:65536", "example.com:65536", false },
        { "http://example.com:8o", "example.com:80", false },
        { "http://[::1", "[::1", false },
        { "http://[]", "[]", false },
        { "http://[::1]x", "[::1]", false },
        { "http://example.com\0", "example.com\0", false },
        { "http://", "", false },
        { "://example.com", "example.com", false },
        { "example.com", "example.com", false },
        { "null", "null", false },
        { "", "", false },
        { "http://example.com", "", false },
    }
    for _, case in ipairs(same) do
        it(("compares origin %q with host %q"):format(case[1], case[2]), function()
            local origin, host = slice(case[1]), slice(case[2])
            assert.equal(case[3], lib.handshake_is_same_origin(origin, host))
        end)
    end

    local allowed = {
        { "https://a.org", "https://a.org", true },
        { "https://a.org:443", "https://A.org", true },
        { "http://a.org", "https://a.org", false },
        { "https://a.org:444", "https://a.org", false },
        { "https://b.a.org", "https://a.org", false },
        { "app://a", "app://a", true },
        { "app://a:1", "app://a", false },
        { "null", "null", false },
    }
    for _, case in ipairs(allowed) do
        it(("compares origin %q with %q"):format(case[1], case[2]), function()
            local origin, entry = slice(case[1]), slice(case[2])
            assert.equal(case[3], lib.handshake_is_origin(origin, entry))
        end)
    end
end)
