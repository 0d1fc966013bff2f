local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/url.h")
c.use("base/err.h")

--- The input in memory of exactly its size, so that ASan sees a step too far.
local function slice(s)
    local p = ffi.new("char[?]", math.max(#s, 1))
    ffi.copy(p, s, #s)
    return ffi.new("struct slice", { p, #s }), p
end

local function call(fn, text, ...)
    local buf = ffi.new("struct buf")
    lib.buf_append_str(buf, "<")
    local input, keep = slice(text)
    local err = lib[fn](buf, input, ...)
    local out = ffi.string(buf.p + buf.head, buf.len):sub(2)
    lib.buf_fini(buf)
    assert(keep)
    if err and err < 0 then
        assert(out == "", "appended in spite of an error")
        return nil, err
    end
    return out
end

describe("url_decode", function()
    it("decodes percent signs", function()
        assert.equal("a b/\0\255+", call("url_decode", "a%20b%2F%00%fF+", false))
        assert.equal("", call("url_decode", "", false))
    end)

    it("takes a plus for a space only in forms", function()
        assert.equal("a b+", call("url_decode", "a+b%2b", true))
        assert.equal("a+b", call("url_decode", "a+b", false))
    end)

    it("refuses half and wrong sequences", function()
        for _, bad in ipairs({ "%", "%1", "a%", "%g0", "%0g", "%%41", "%u0041", "% 1", "%+1" }) do
            local out, err = call("url_decode", bad, true)
            assert.is_nil(out)
            assert.equal(lib.SD_EINVALID, err)
        end
    end)
end)

describe("url_encode", function()
    it("keeps only what never means anything", function()
        assert.equal("aZ09-._~%20%2F%00%FF%25", call("url_encode", "aZ09-._~ /\0\255%"))
    end)

    it("is undone by url_decode", function()
        local all = {}
        for i = 0, 255 do
            all[#all + 1] = string.char(i)
        end
        all = table.concat(all)
        assert.equal(all, call("url_decode", call("url_encode", all), true))
    end)
end)

describe("url_next_pair", function()
    local function pairs_of(text)
        local rest, keep = slice(text)
        local name, value = ffi.new("struct slice"), ffi.new("struct slice")
        local out = {}
        while lib.url_next_pair(name, value, rest) do
            out[#out + 1] = ffi.string(name.p, name.len) .. "|" .. ffi.string(value.p, value.len)
        end
        assert(keep)
        return table.concat(out, " ")
    end

    it("walks through a query", function()
        assert.equal("a|1 b|2", pairs_of("a=1&b=2"))
        assert.equal("a|b=c", pairs_of("a=b=c"))
        assert.equal("a| b| |c", pairs_of("a&b=&=c"))
        assert.equal("a|1 b|2", pairs_of("&&a=1&&&b=2&"))
        assert.equal("", pairs_of(""))
        assert.equal("", pairs_of("&&&"))
        assert.equal("a;b|%26", pairs_of("a;b=%26"))
    end)
end)

describe("url_path", function()
    local good = {
        ["/"] = "",
        ["/index.html"] = "index.html",
        ["/a/b/c.js"] = "a/b/c.js",
        ["/a/"] = "a/",
        ["/a%20b"] = "a b",
        ["/%61%2e%62"] = "a.b",
        ["/a..b"] = "a..b",
        ["/a...."] = "a....",
        ["/%c3%a4"] = "\195\164",
        ["/%25%32%65"] = "%2e",
        ["/a+b"] = "a+b",
        ["/.well-known/x"] = ".well-known/x",
        ["/c:"] = "c:",
        ["/" .. ("a"):rep(255)] = ("a"):rep(255),
    }
    for path, expected in pairs(good) do
        it("takes " .. path:sub(1, 40), function()
            assert.equal(expected, call("url_path", path))
        end)
    end

    local bad = {
        "",
        "*",
        "a",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/../a",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/./a",
        "/...",
        "/%2e",
        "/%2e%2e",
        "/%2E./a",
        "/.%2e/a",
        "/a/%2e%2e/b",
        "/%2e%2e%2fetc",
        "/..%2f..%2fetc",
        "/..%5c..%5cetc",
        "/..\\..\\etc",
        "/a\\b",
        "/a%5cb",
        "/a%2fb",
        "/a%2Fb",
        "/%2f",
        "/%2f%2e%2e",
        "/%00",
        "/a%00.html",
        "/a\0b",
        "/a%0ab",
        "/a%0d",
        "/a%7f",
        "/a%1f",
        "/.git/config",
        "/%2egit/config",
        "/a/.htaccess",
        "/a/.well-known/x",
        "/.well-knownx/x",
        "/%",
        "/%2",
        "/%zz",
        "/a/%",
        "/%c0%ae%c0%ae/%2e",
        "/" .. ("a"):rep(256),
        "/" .. ("a/"):rep(600),
    }
    for i, path in ipairs(bad) do
        it(("refuses %s (%d)"):format(path:sub(1, 40):gsub("%z", "NUL"), i), function()
            local out, err = call("url_path", path)
            assert.is_nil(out)
            assert.equal(lib.SD_EINVALID, err)
        end)
    end

    it("leaves overlong UTF-8 as the bytes it is, never as a dot", function()
        assert.equal("\192\174\192\174", call("url_path", "/%c0%ae%c0%ae"))
    end)
end)
