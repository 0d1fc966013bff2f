local ffi = require("ffi")
local bytes = require("spec.support.bytes")
local c = require("spec.support.c")
local lib = c.use("net/reason.h")

describe("net/reason", function()
    local codes = {
        client = 1000, error = 1011, drain = 1012, stop = 1001, idle = 4001,
        slow = 4002, frame = 1002, too_large = 1009, auth = 4003,
        kicked = 4004, replaced = 4005,
    }

    for word, code in pairs(codes) do
        it("tells " .. word .. " by " .. code, function()
            local reason = lib.reason_of(word)
            assert.equal(word, ffi.string(lib.reason_word(reason)))
            assert.equal(code, lib.reason_code(reason))
        end)
    end

    it("takes any other text as the application's own", function()
        assert.equal(lib.REASON_OWN, lib.reason_of("bye"))
        assert.equal(lib.REASON_OWN, lib.reason_of(nil))
        assert.equal(4000, lib.reason_code(lib.REASON_OWN))
    end)

    local function fit(text)
        local s = lib.reason_fit(bytes.slice(text))
        return ffi.string(s.p, s.len)
    end

    it("cuts a text that is too long behind a character", function()
        assert.equal("", fit(""))
        assert.equal("grüße", fit("grüße"))
        assert.equal(("x"):rep(123), fit(("x"):rep(200)))
        assert.equal(("ü"):rep(61), fit(("ü"):rep(100)))
        assert.equal("x" .. ("ü"):rep(61), fit("x" .. ("ü"):rep(100)))
        assert.equal(("€"):rep(41), fit(("€"):rep(42)))
    end)

    it("mends a text that was cut inside a character", function()
        assert.equal("gr", fit("gr\195"))
        assert.equal("gr", fit("gr\240\159\152"))
        assert.equal("", fit("\226\130"))
        assert.equal("\128", fit("\128"))
    end)
end)
