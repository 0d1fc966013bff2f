local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/etag.h")

local function slice(s)
    return ffi.new("struct slice", { ffi.cast("const char *", s), #s })
end

local function tag(mtime, size)
    local out = ffi.new("char[?]", lib.ETAG_MAX)
    return ffi.string(out, lib.etag_write(out, mtime, size))
end

describe("etag_write", function()
    it("makes a quoted tag of time and size", function()
        assert.equal('"ff-10"', tag(255, 16))
        assert.equal('"ffffffffffffffff-ffffffffffffffff"', tag(-1LL, -1ULL))
    end)
end)

describe("etag_match", function()
    local cases = {
        { '"a"', true },
        { 'W/"a"', true },
        { '"b", "a"', true },
        { '"b","c" , W/"a"', true },
        { ',, "a"', true },
        { "*", true },
        { " *", true },
        { '"x,y", "a"', true },
        { "", false },
        { '"b"', false },
        { '"aa"', false },
        { "a", false },
        { '"a', false },
        { 'w/"a"', false },
        { 'x, "a"', false },
        { '*, "b"', false },
    }
    for _, case in ipairs(cases) do
        it(("of %s is %s"):format(case[1], case[2]), function()
            assert.equal(case[2], lib.etag_match(slice(case[1]), slice('"a"')))
            assert.equal(case[2], lib.etag_match(slice(case[1]), slice('W/"a"')))
        end)
    end
end)
