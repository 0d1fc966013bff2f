local ffi = require("ffi")
local c = require("spec.support.c")
local slice = require("spec.support.bytes").slice

local lib = c.use("codec/json.h")
c.use("base/err.h")

local NAMES = {
    [lib.JSON_NULL] = "null",
    [lib.JSON_FALSE] = "false",
    [lib.JSON_TRUE] = "true",
    [lib.JSON_LIST] = "[",
    [lib.JSON_LIST_END] = "]",
    [lib.JSON_MAP] = "{",
    [lib.JSON_MAP_END] = "}",
}

local scratch = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
local reader = ffi.new("struct json")

local function token_text(token)
    local text = ffi.string(reader.text.p, reader.text.len)
    if token == lib.JSON_NUMBER then
        return ("%.17g"):format(reader.number)
    elseif token == lib.JSON_BIGINT then
        return "big " .. text
    elseif token == lib.JSON_STRING then
        return "'" .. text .. "'"
    elseif token == lib.JSON_KEY then
        return text .. ":"
    end
    return NAMES[token]
end

--- All tokens as one line, or nil and the reason.
local function read(text)
    local s = slice(text)
    local seen = {}
    lib.json_init(reader, s, scratch)
    while true do
        local token = lib.json_next(reader)
        if token == lib.JSON_END then
            assert.equal(lib.SD_EINVALID, lib.json_next(reader))
            return table.concat(seen, " ")
        elseif token < 0 then
            assert.equal(lib.SD_EINVALID, token)
            assert.equal(lib.SD_EINVALID, lib.json_next(reader))
            return nil, ffi.string(reader.why)
        end
        seen[#seen + 1] = token_text(token)
    end
end

local function write_string(text)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local s = slice(text)
    local err = lib.json_write_string(out, s)
    if err < 0 then
        assert.equal(0, tonumber(out.len))
        return nil, err
    end
    return ffi.string(out.p + out.head, out.len)
end

local function write_number(n)
    local out = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
    local err = lib.json_write_number(out, n)
    if err < 0 then
        return nil, err
    end
    return ffi.string(out.p + out.head, out.len)
end

local deep = ("["):rep(64) .. ("]"):rep(64)
local deep_map = ('{"a":'):rep(64) .. "1" .. ("}"):rep(64)

local accepted = {
    { "null", "null" },
    { " \t\r\ntrue \t\r\n", "true" },
    { "false", "false" },
    { "0", "0" },
    { "-0", "-0" },
    { "-1", "-1" },
    { "10", "10" },
    { "1.5", "1.5" },
    { "1e2", "100" },
    { "1E+2", "100" },
    { "1.25e-2", "0.012500000000000001" },
    { "1e-999", "0" },
    { "0e99999999999999999999", "0" },
    { "0." .. ("0"):rep(400) .. "1e401", "1" },
    { "1" .. ("0"):rep(400) .. "e-400", "1" },
    { "9007199254740992", "9007199254740992" },
    { "-9007199254740992", "-9007199254740992" },
    { "9007199254740993", "big 9007199254740993" },
    { "-9007199254740993", "big -9007199254740993" },
    { "12345678901234567890123", "big 12345678901234567890123" },
    { "9007199254740993.0", "9007199254740992" },
    { "1.7976931348623157e308", "1.7976931348623157e+308" },
    { "5e-324", "4.9406564584124654e-324" },
    { '""', "''" },
    { '"abc"', "'abc'" },
    { '"\127"', "'\127'" },
    { '"a\\"\\\\\\/\\b\\f\\n\\r\\tz"', "'a\"\\/\b\f\n\r\tz'" },
    { '"\\u0041\\u00e9\\u20ac"', "'A\195\169\226\130\172'" },
    { '"\\ud83d\\uDE00"', "'\240\159\152\128'" },
    { '"\\udbff\\udfff"', "'\244\143\191\191'" },
    { '"\\u0000"', "'\0'" },
    { '"\\uFFFF"', "'\239\191\191'" },
    { '"\195\169"', "'\195\169'" },
    { '"\195\169\\n\240\159\152\128"', "'\195\169\n\240\159\152\128'" },
    { '"\226\128\168"', "'\226\128\168'" },
    { "[]", "[ ]" },
    { " [ ] ", "[ ]" },
    { "[1,[2,[]],3]", "[ 1 [ 2 [ ] ] 3 ]" },
    { "{}", "{ }" },
    { '{"":0}', "{ : 0 }" },
    { '{"a":1,"a":2}', "{ a: 1 a: 2 }" },
    { ' { "a" : [ 1 , { } ] , "\\u0062" : null } ', "{ a: [ 1 { } ] b: null }" },
    { deep, (("["):rep(64) .. ("]"):rep(64)):gsub(".", "%0 "):sub(1, -2) },
    { '[{"a":[{}]},[[{}]]]', "[ { a: [ { } ] } [ [ { } ] ] ]" },
}

local refused = {
    "", " ", "nul", "nulll", "True", "tru", "NaN", "Infinity", "-Infinity",
    "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1e", "1e+", "1.e1",
    "1.5.2", "0x10", "1_000", "1e999", "-1e999", "1" .. ("0"):rep(400) .. ".0",
    "1 2", "1,", ",1", "null null", "[1]]", "[]x", "{}{}",
    "[", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1:2]", "[1}", "]",
    "{", "{,}", "{1:2}", "{a:1}", "{'a':1}", '{"a"}', '{"a":}', '{"a":1,}',
    '{"a":1 "b":2}', '{"a" 1}', '{"a"::1}', '{"a":1]', '{null:1}', "}",
    '"', '"a', "'a'", '"\n"', '"\t"', '"\0"', '"\31"', '"a\0b', "\0", "[\0]",
    '"\\', '"\\"', '"\\x41"', '"\\a"', '"\\\0"', '"\\u"', '"\\u12"',
    '"\\u12g4"', '"\\U0041"', '"\\u 041"', '"\\u00', '"\\n', "1\0", "\\u0031",
    '"\\ud800"', '"\\ud800x"', '"\\ud800\\n"', '"\\ud800\\u0041"', '"\\udc00"',
    '"\\ud800\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude0"', '"\\ud83d\\u',
    '"\255"', '"\192\128"', '"\237\160\128"', '"\244\144\128\128"', '"\226\130"',
    '"\195\\n\169"', '"\128"', '{"\255":1}', "\239\187\191{}", "\255", "/**/1",
    "1//", "[1,/*x*/2]", "\v1", "\f1", "\194\1601", "(1)",
    "[" .. deep .. "]", '{"a":' .. deep_map .. "}", ("["):rep(100000),
}

describe("json", function()
    it("reads what RFC 8259 allows", function()
        for _, case in ipairs(accepted) do
            local got, why = read(case[1])
            assert.equal(case[2], got, case[1] .. ": " .. tostring(why))
        end
        assert.is_string((read(deep_map)))
    end)

    it("refuses everything else", function()
        for _, text in ipairs(refused) do
            local got, why = read(text)
            assert.is_nil(got, ("%q"):format(text:sub(1, 60)))
            assert.is_true(#why > 0)
        end
    end)

    it("refuses every proper start of a text", function()
        local text = '{"k\\u00e9y":[1,-2.5e3,true,false,null,'
            .. '"\195\169\\ud83d\\ude00"],"b":{"c":[]}} '
        assert.is_string((read(text)))
        for i = 0, #text - 2 do
            assert.is_nil((read(text:sub(1, i))), text:sub(1, i))
        end
    end)

    it("finds the end of a string at any length and place", function()
        for len = 0, 40 do
            local plain = ("x"):rep(len)
            assert.equal("'" .. plain .. "'", (read('"' .. plain .. '"')))
            for at = 0, len do
                local before, after = ("x"):rep(at), ("y"):rep(len - at)
                local text = '"' .. before .. "\\n" .. after .. '"'
                assert.equal("'" .. before .. "\n" .. after .. "'", (read(text)))
                assert.is_nil((read('"' .. before .. "\1" .. after .. '"')))
                assert.is_nil((read('"' .. before .. "\200" .. after .. '"')))
                assert.equal(text, write_string(before .. "\n" .. after))
                assert.is_nil(write_string(before .. "\200" .. after))
            end
        end
    end)

    it("says what is wrong", function()
        local cases = {
            { "[1", "text ends too soon" },
            { "[1}", "expected ',' or ']'" },
            { '{"a":1]', "expected ',' or '}'" },
            { "{1}", "expected a key" },
            { '{"a"=1}', "expected ':'" },
            { "1 1", "text goes on behind the value" },
            { '"\255"', "string is not UTF-8" },
            { "[" .. deep .. "]", "nested deeper than 64" },
            { "[1e999]", "number out of range" },
            { "[01]", "malformed number" },
        }
        for _, case in ipairs(cases) do
            local _, why = read(case[1])
            assert.equal(case[2], why)
        end
    end)
end)

describe("json_write_string", function()
    it("escapes what must be escaped and nothing else", function()
        local cases = {
            { "", '""' },
            { "abc", '"abc"' },
            { 'a"b\\c/d', '"a\\"b\\\\c/d"' },
            { "\b\t\n\f\r\v\0\31\127", '"\\b\\t\\n\\f\\r\\u000b\\u0000\\u001f\127"' },
            { "\226\128\168\226\128\169", '"\226\128\168\226\128\169"' },
            { "\195\169\240\159\152\128", '"\195\169\240\159\152\128"' },
            { ('"'):rep(100), '"' .. ('\\"'):rep(100) .. '"' },
            { ("\1"):rep(1000), '"' .. ("\\u0001"):rep(1000) .. '"' },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], write_string(case[1]))
        end
    end)

    it("refuses bytes that are not UTF-8", function()
        for _, text in ipairs({ "\255", "abc\128", "\192\128", "\n\237\160\128" }) do
            local got, err = write_string(text)
            assert.is_nil(got)
            assert.equal(lib.SD_EINVALID, err)
        end
    end)
end)

describe("json_write_number", function()
    it("writes the shortest text, whole numbers without a point", function()
        local cases = {
            { 0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1, "-1" }, { 1e15, "1000000000000000" },
            { 2 ^ 53, "9007199254740992" }, { -2 ^ 53, "-9007199254740992" },
            { 0.1, "0.1" }, { 0.5, "0.5" }, { -1.25, "-1.25" }, { 3.14159, "3.14159" },
            { 123456.789, "123456.789" }, { 0.1 + 0.2, "0.30000000000000004" },
            { 1 / 3, "0.3333333333333333" }, { 100.01, "100.01" }, { 1e-5, "0.00001" },
            { 1e-7, "1e-7" }, { 1.5e-10, "1.5e-10" }, { 5e-324, "5e-324" },
            { 2.2250738585072014e-308, "2.2250738585072014e-308" },
            { 1e20, "1e20" }, { 1e300, "1e300" }, { 1.5e300, "15e299" },
            { 2 ^ 60, "1152921504606847e3" }, { 2 ^ 53 + 2, "9007199254740994e0" },
            { 2251799813685248.5, "2251799813685248.5" }, { 0.1 * 3, "0.30000000000000004" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], write_number(case[1]))
        end
    end)

    it("refuses NaN and infinity", function()
        for _, n in ipairs({ 0 / 0, 1 / 0, -1 / 0 }) do
            local got, err = write_number(n)
            assert.is_nil(got)
            assert.equal(lib.SD_EINVALID, err)
        end
    end)

    it("writes what reads back as the same number", function()
        local seed = os.time()
        math.randomseed(seed)
        local box = ffi.new("union { double n; uint32_t half[2]; }")
        local function check(n)
            local text = write_number(n)
            assert.is_true(#text <= 40)
            assert.equal(("%.17g"):format(n), (read(text)), text .. " seed " .. seed)
        end
        for _ = 1, 3000 do
            box.half[0] = math.random(0, 2 ^ 31)
            box.half[1] = math.random(0, 2 ^ 31)
            local n = tonumber(box.n)
            if n - n == 0 then
                check(n)
                check(-n)
            end
            check(math.random(-1e9, 1e9) / 10 ^ math.random(0, 9))
            check(math.random() * 10 ^ math.random(-20, 20))
            check(math.random(-2 ^ 31, 2 ^ 31))
        end
    end)

    it("reads as strtod does", function()
        local seed = os.time()
        math.randomseed(seed)
        for _ = 1, 3000 do
            local digits = {}
            for i = 1, math.random(1, 30) do
                digits[i] = math.random(0, 9)
            end
            local text = ("%d.%se%d"):format(
                math.random(0, 1e6),
                table.concat(digits),
                math.random(-330, 300)
            )
            assert.equal(("%.17g"):format(tonumber(text)), (read(text)), "seed " .. seed)
        end
    end)

    it("minds no locale #slow", function()
        pcall(ffi.cdef, "char *setlocale(int category, const char *name);")
        pcall(ffi.cdef, "double strtod(const char *text, char **end);")
        pcall(ffi.cdef, "int setenv(const char *name, const char *value, int over);")
        local f = assert(io.popen("mktemp -d"))
        local dir = f:read("*l")
        f:close()
        os.execute("localedef -i de_DE -f UTF-8 " .. dir .. "/de_DE.UTF-8 >/dev/null 2>&1")
        ffi.C.setenv("LOCPATH", dir, 1)
        local found = ffi.C.setlocale(1, "de_DE.UTF-8") ~= nil
        local comma = ffi.C.strtod("0,5", nil)
        local text, back = write_number(1 / 3), (read("1.2345678901234567890123"))
        ffi.C.setlocale(1, "C")
        os.execute("rm -r " .. dir)
        assert.is_true(found, "localedef makes no locale here")
        assert.equal(0.5, comma)
        assert.equal("0.3333333333333333", text)
        assert.equal(("%.17g"):format(1.2345678901234567), back)
    end)
end)
