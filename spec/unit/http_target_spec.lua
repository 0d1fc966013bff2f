local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/http_target.h")
c.use("base/err.h")

local function slice(s)
    local p = ffi.new("char[?]", math.max(#s, 1))
    ffi.copy(p, s, #s)
    return ffi.new("struct slice", { p, #s }), p
end

describe("http_target_parse", function()
    local function parse(s)
        local out = ffi.new("struct http_target")
        local text, keep = slice(s)
        local err = lib.http_target_parse(out, text)
        if err < 0 then
            assert.equal(lib.SD_EINVALID, err)
            return nil
        end
        local parts = {}
        for i, part in ipairs({ "host", "path", "query" }) do
            parts[i] = ffi.string(out[part].p, out[part].len)
        end
        assert(keep)
        return table.concat(parts, " ")
    end

    local good = {
        ["/"] = " / ",
        ["/a%2fb?c=%20?d"] = " /a%2fb c=%20?d",
        ["/?"] = " / ",
        ["//a"] = " //a ",
        ["http://a"] = "a / ",
        ["HTTP://a/"] = "a / ",
        ["https://a:1/b?c"] = "a:1 /b c",
        ["http://a?c"] = "a / c",
        ["http://[::1]/"] = "[::1] / ",
    }
    for text, expected in pairs(good) do
        it("takes " .. text .. " apart", function()
            assert.equal(expected, parse(text))
        end)
    end

    for _, text in ipairs({
        "",
        "a",
        "?",
        "*",
        ":",
        "http",
        "http:",
        "http:/",
        "http://",
        "http:///",
        "http://?",
        "http:a/",
        "http//a/",
        "xhttp://a/",
        "ftp://a/",
        "http://u@a/",
        "http://a b/",
        "http://a:b/",
        "/a b",
        "/a#b",
        "/\127",
        "/\128",
        "/\0",
    }) do
        it(("refuses '%s'"):format(text:gsub("%c", "^")), function()
            assert.is_nil(parse(text))
        end)
    end
end)

describe("http_target_is_host", function()
    it("judges each byte of a name", function()
        for i = 0, 255 do
            local byte = string.char(i)
            local name, keep = slice("a" .. byte .. "b")
            local expected = byte:find("^[%w._-]$") ~= nil and i < 128
            assert.equal(expected, lib.http_target_is_host(name), i)
            assert(keep)
        end
    end)
end)
