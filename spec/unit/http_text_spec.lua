local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/http_text.h")

--- A slice in memory of exactly its size, and that memory.
local function slice(s)
    local p = ffi.new("char[?]", math.max(#s, 1))
    ffi.copy(p, s, #s)
    return ffi.new("struct slice", { p, #s }), p
end

local function ask(fn, s, ...)
    local input, keep = slice(s)
    local answer = lib[fn](input, ...)
    assert(keep)
    return answer
end

describe("http_text_is_token", function()
    it("judges each byte as the RFC does", function()
        for i = 0, 255 do
            local byte = string.char(i)
            local expected = byte:find("^[%w!#$%%&'*+.^_`|~-]$") ~= nil and i < 128
            assert.equal(expected, ask("http_text_is_token", byte), i)
            assert.equal(expected, ask("http_text_is_token", "a" .. byte), i)
        end
        assert.is_false(ask("http_text_is_token", ""))
    end)
end)

describe("http_text_is_value", function()
    it("judges each byte at each place of values of each length", function()
        for length = 1, 20 do
            for at = 1, length do
                for i = 0, 255 do
                    local s = ("\255"):rep(at - 1) .. string.char(i) .. ("x"):rep(length - at)
                    local expected = (i >= 32 or i == 9) and i ~= 127
                    assert(expected == ask("http_text_is_value", s), s)
                end
            end
        end
        assert.is_true(ask("http_text_is_value", ""))
    end)
end)

describe("http_text_eq", function()
    it("forgives letter case and nothing else", function()
        assert.is_true(ask("http_text_eq", "ChUnKed", "chunked"))
        assert.is_true(ask("http_text_eq", "", ""))
        assert.is_false(ask("http_text_eq", "chunke", "chunked"))
        assert.is_false(ask("http_text_eq", "chunkedx", "chunked"))
        assert.is_false(ask("http_text_eq", "c\8unked", "chunked"))
        assert.is_false(ask("http_text_eq", "@", "`"))
        assert.is_false(ask("http_text_eq", "[", "{"))
        assert.is_false(ask("http_text_eq", "\0", ""))
    end)
end)

describe("http_text_next", function()
    local function elements(s)
        local rest, keep = slice(s)
        local element, out = ffi.new("struct slice"), {}
        while lib.http_text_next(element, rest) do
            out[#out + 1] = "<" .. ffi.string(element.p, element.len) .. ">"
        end
        assert(keep)
        return table.concat(out)
    end

    it("walks through a list", function()
        assert.equal("<a><b c><><>", elements("a,\tb c ,, "))
        assert.equal("<a>", elements("a,"))
        assert.equal("<><a>", elements(",a"))
        assert.equal("", elements(""))
    end)
end)
