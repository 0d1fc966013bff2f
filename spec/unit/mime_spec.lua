local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/mime.h")

local function slice(s)
    return ffi.new("struct slice", { ffi.cast("const char *", s), #s })
end

describe("mime_type", function()
    local cases = {
        ["index.html"] = "text/html; charset=utf-8",
        ["a/b.min.JS"] = "text/javascript; charset=utf-8",
        ["x.svg"] = "image/svg+xml",
        ["x"] = "application/octet-stream",
        ["x."] = "application/octet-stream",
        [""] = "application/octet-stream",
        ["a.html/x"] = "application/octet-stream",
        ["x.htmlx"] = "application/octet-stream",
        ["x.frob"] = "application/octet-stream",
    }
    for name, expected in pairs(cases) do
        it(("of '%s' is %s"):format(name, expected), function()
            assert.equal(expected, ffi.string(lib.mime_type(slice(name))))
        end)
    end
end)

describe("mime_is", function()
    local cases = {
        { "application/json", true },
        { "Application/JSON", true },
        { " application/json ; charset=utf-8", true },
        { "application/json;", true },
        { "application/jsonp", false },
        { "application/jso", false },
        { "text/json", false },
        { "", false },
        { ";", false },
    }
    for _, case in ipairs(cases) do
        it(("of '%s' is %s"):format(case[1], case[2]), function()
            assert.equal(case[2], lib.mime_is(slice(case[1]), "application/json"))
        end)
    end
end)
