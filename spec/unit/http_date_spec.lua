local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/http_date.h")
c.use("base/err.h")

local function write(seconds)
    local out = ffi.new("char[29]")
    lib.http_date_write(out, seconds)
    return ffi.string(out, 29)
end

local function parse(text)
    local out = ffi.new("int64_t[1]", -7)
    local s = ffi.new("struct slice", { ffi.cast("const char *", text), #text })
    local err = lib.http_date_parse(out, s)
    if err < 0 then
        assert.equal(-7, tonumber(out[0]))
        return nil, err
    end
    return tonumber(out[0])
end

describe("http_date", function()
    it("knows the RFC's example", function()
        assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", write(784111777))
        assert.equal(784111777, parse("Sun, 06 Nov 1994 08:49:37 GMT"))
    end)

    it("agrees with the C library", function()
        local t = 0
        while t < 8e9 do
            assert.equal(os.date("!%a, %d %b %Y %H:%M:%S GMT", t), write(t))
            assert.equal(t, parse(write(t)))
            t = t + 12345678
        end
    end)

    it("knows leap days", function()
        assert.equal("Tue, 29 Feb 2000 00:00:00 GMT", write(951782400))
        assert.equal("Thu, 29 Feb 2024 23:59:59 GMT", write(1709251199))
        assert.equal("Mon, 01 Mar 2100 00:00:00 GMT", write(4107542400))
    end)

    it("clamps to 1970..9999", function()
        assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", write(-1))
        assert.equal("Fri, 31 Dec 9999 23:59:59 GMT", write(253402300800))
    end)

    for _, bad in ipairs({
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Wed, 30 Feb 1994 08:49:37 GMT",
        "Wed, 00 Mar 1994 08:49:37 GMT",
        "Wed, 00 Jan 1970 08:49:37 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    }) do
        it("refuses '" .. bad .. "'", function()
            local t, err = parse(bad)
            assert.is_nil(t)
            assert.equal(lib.SD_EINVALID, err)
        end)
    end
end)
