local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/cookie.h")
c.use("base/err.h")

local function slice(s)
    return ffi.new("struct slice", { ffi.cast("const char *", s), #s })
end

describe("cookie_next", function()
    local function cookies(text)
        local rest = slice(text)
        local name, value = ffi.new("struct slice"), ffi.new("struct slice")
        local out = {}
        while lib.cookie_next(name, value, rest) do
            out[#out + 1] = ffi.string(name.p, name.len) .. "|" .. ffi.string(value.p, value.len)
        end
        return table.concat(out, " ")
    end

    it("walks through a header", function()
        assert.equal("a|1 b|2", cookies("a=1; b=2"))
        assert.equal("a|1 b|2", cookies("a=1;b=2;"))
        assert.equal("a|b=c", cookies("a=b=c"))
        assert.equal("a|b c", cookies(' a = "b c" '))
        assert.equal("a| b|\"", cookies('a=;b="'))
        assert.equal("", cookies(""))
        assert.equal("", cookies(";; ;=x;novalue; "))
    end)
end)

describe("cookie_write", function()
    local function write(fields)
        local cookie = ffi.new("struct cookie")
        for name, value in pairs(fields) do
            cookie[name] = type(value) == "string" and slice(value) or value
        end
        local buf = ffi.new("struct buf")
        local err = lib.cookie_write(buf, cookie)
        local text = ffi.string(buf.p, buf.len)
        lib.buf_fini(buf)
        assert.equal(err < 0, text == "")
        return err < 0 and err or text
    end

    it("writes a plain one", function()
        assert.equal("a=b; Path=/", write({ name = "a", value = "b" }))
        assert.equal("a=; Path=/", write({ name = "a", value = "" }))
    end)

    it("writes every attribute", function()
        assert.equal(
            "a=b; Path=/x; Domain=example.org; Max-Age=60; SameSite=Strict; HttpOnly; Secure",
            write({
                name = "a",
                value = "b",
                path = "/x",
                domain = "example.org",
                has_max_age = true,
                max_age = 60,
                same_site = lib.COOKIE_SAME_SITE_STRICT,
                http_only = true,
                secure = true,
            })
        )
        assert.equal(
            "a=; Path=/; Max-Age=0; SameSite=Lax",
            write({
                name = "a",
                value = "",
                has_max_age = true,
                same_site = lib.COOKIE_SAME_SITE_LAX,
            })
        )
    end)

    it("refuses bytes that could add an attribute or a header", function()
        for _, bad in ipairs({ ";", ",", " ", '"', "\\", "\r", "\n", "\0", "\127", "\195" }) do
            assert.equal(lib.SD_EINVALID, write({ name = "a", value = "b" .. bad }))
            assert.equal(lib.SD_EINVALID, write({ name = "a" .. bad, value = "b" }))
        end
        for _, bad in ipairs({ ";", "\r", "\n", "\0" }) do
            assert.equal(lib.SD_EINVALID, write({ name = "a", value = "b", path = "/" .. bad }))
            assert.equal(lib.SD_EINVALID, write({ name = "a", value = "b", domain = "x" .. bad }))
        end
        assert.equal(lib.SD_EINVALID, write({ name = "", value = "b" }))
        assert.equal(lib.SD_EINVALID, write({ name = "a=b", value = "b" }))
    end)
end)
