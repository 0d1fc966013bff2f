-- "Values" of the contract through a controller: what JSON and msgpack bytes
-- become in Lua, and what Lua values become on the wire.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0, dev = true }",
    ["config/ports.lua"] = [[
return {
    json = { listen = "127.0.0.1:0", protocol = "tcp" },
    msgpack = { listen = "127.0.0.1:0", protocol = "tcp",
        codec = "msgpack" },
}]],
    ["scripts/controllers/v.lua"] = [[
local sd = require("sd")
local V = {}
function V:echo(p) return p end
function V:describe(p)
    local function of(v)
        if v == sd.null then return "null" end
        if type(v) ~= "table" then return type(v) .. " " .. tostring(v) end
        local keys = {}
        for k, x in pairs(v) do
            keys[#keys + 1] = type(k):sub(1, 1) .. tostring(k) .. "=" .. of(x)
        end
        table.sort(keys)
        return "{" .. table.concat(keys, ",") .. "}"
    end
    return of(p)
end
local function leave_compiled_code(...)
    for _ = 1, 100 do end
    return ...
end
function V:walks(p)
    local inner, wrong = { 1, 2, 3, 4, 5 }, 0
    local outer = { a = inner, b = inner, c = inner, d = inner, e = inner }
    for _ = 1, p.n do
        local n = 0
        leave_compiled_code()
        for _, list in pairs(outer) do
            for _ in pairs(list) do end
            n = n + 1
        end
        if n ~= 5 then wrong = wrong + 1 end
    end
    return { wrong = wrong }
end
function V:emptied(p) for i = #p, 1, -1 do p[i] = nil end return p end
function V:made(p)
    local cyclic = {} cyclic.me = cyclic
    local deep = "x"
    for i = 1, p.n or 0 do deep = { deep } end
    local all = {
        empty = function() return {} end,
        array = function() return sd.array() end,
        null = function() return { sd.null, a = nil } end,
        nulls = function() return { 1, sd.null, 3 } end,
        null_in_map = function() return { a = sd.null } end,
        hole = function() return { [1] = "a", [3] = "c" } end,
        mixed = function() return { "a", x = 1 } end,
        integer_keys = function() return { [7] = "x" } end,
        negative_key = function() return { [-1] = "x" } end,
        float_key = function() return { [1.5] = "x" } end,
        boolean_key = function() return { [true] = "x" } end,
        whole = function() return 3.0 end,
        half = function() return 0.5 end,
        tenth = function() return 0.1 end,
        big = function() return 2 ^ 53 end,
        huge = function() return 1e300 end,
        small = function() return 5e-324 end,
        negative = function() return -12 end,
        minus_zero = function() return -0.0 end,
        nan = function() return 0 / 0 end,
        inf = function() return math.huge end,
        bad_utf8 = function() return "\255" end,
        bad_utf8_key = function() return { ["\255"] = 1 } end,
        surrogate = function() return "\237\160\128" end,
        nul = function() return "a\0b" end,
        control = function() return "\1\31\127\"\\/" end,
        fn = function() return { f = function() end } end,
        cyclic = function() return cyclic end,
        thread = function() return { coroutine.create(print) } end,
        cdata = function() return { require("ffi").new("int64_t", 7) } end,
        cdata_alone = function() return require("ffi").new("int64_t", 7) end,
        deep = function() return deep end,
        uid = function() return "7" end,
    }
    return all[p.what]()
end
function V:codec(p)
    local v, why = sd.json.decode(p.text)
    return { v = v, why = why }
end
return V]],
}

describe("values", function()
    local s, ports, json

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
        json = client.open(ports.json)
    end)

    teardown(function()
        json:close()
        s:stop()
    end)

    --- Call with params as they are written; the result as it is written.
    local function call(method, params)
        json:put(('{"controller_name":"v","method_name":"%s","params":%s}')
            :format(method, params))
        return json:get()
    end

    describe("of JSON", function()
        -- Sent; sent back; seen in Lua.
        local round = {
            { "[]", "[]", "{}" },
            { "{}", "{}", "{}" },
            { "[[],{}]", "[[],{}]" },
            { '{"a":[]}', '{"a":[]}' },
            { '[{"a":[]}]', '[{"a":[]}]' },
            { "[1,null,3]", "[1,null,3]", "{n1=number 1,n2=null,n3=number 3}" },
            { "[null]", "[null]", "{n1=null}" },
            { '{"a":null}', "{}", "{}" },
            { '{"a":null,"b":1}', '{"b":1}', "{sb=number 1}" },
            { '{"a":1,"a":2}', '{"a":2}' },
            { '{"a":1,"a":null}', "{}" },
            { '{"a":[1],"a":{"b":2}}', '{"a":{"b":2}}' },
            { '{"1":"a"}', '{"1":"a"}', "{s1=string a}" },
            { "9007199254740992", "9007199254740992",
                "number 9.007199254741e+15" },
            { "-9007199254740992", "-9007199254740992" },
            { "9007199254740993", '"9007199254740993"',
                "string 9007199254740993" },
            { "-9007199254740993", '"-9007199254740993"' },
            { "18446744073709551615", '"18446744073709551615"' },
            { "123456789012345678901234567890",
                '"123456789012345678901234567890"' },
            { "1.0", "1", "number 1" },
            { "1.5", "1.5" },
            { "0.1", "0.1" },
            { "1e3", "1000" },
            { "-0", nil },
            { "0.30000000000000004", "0.30000000000000004" },
            { "1e300", "1e300" },
            { "2.2250738585072014e-308", "2.2250738585072014e-308" },
            { "true", "true", "boolean true" },
            { "false", "false" },
            { '"\\u00e9"', '"é"' },
            { '"\\ud83d\\ude00"', '"😀"' },
            { '"\\u0000"', '"\\u0000"' },
            { '"a/b"', '"a/b"' },
            { '"\\"\\\\\\b\\f\\n\\r\\t"', '"\\"\\\\\\b\\f\\n\\r\\t"' },
            { ' { "a" : [ 1 , 2 ] } ', '{"a":[1,2]}' },
        }
        for _, case in ipairs(round) do
            it("keep " .. case[1], function()
                if case[2] then
                    assert.equal(case[2], call("echo", case[1]))
                end
                if case[3] then
                    assert.equal('"' .. case[3] .. '"',
                        call("describe", case[1]))
                end
            end)
        end

        it("keep null params away", function()
            assert.equal('"nil nil"', call("describe", "null"))
        end)

        -- The compiled pairs() of Debian 12's LuaJIT leaves some out.
        it("are walked whole in loops that are run often", function()
            assert.equal('{"wrong":0}', call("walks", '{"n":100000}'))
        end)

        it("stay a list when emptied", function()
            assert.equal("[]", call("emptied", "[1,2]"))
        end)

        local bad = {
            "[1,]", '{"a":}', "{'a':1}", "nul", "01", "1.", ".5", "+1", "0x1",
            "NaN", "Infinity", '"\\x"', '"\\ud800"', '"\\udc00x"', '"\1"',
            '"\255"', '"\192\128"', '"\237\160\128"', "1e999", '[1 2]', '{"a" 1}',
            '{1:2}', "/**/1", '"', "[", "1 1",
        }
        for _, text in ipairs(bad) do
            it("are refused when broken: " .. text:gsub("%c", "?"), function()
                assert.matches('"code":400', call("echo", text))
                assert.matches('invalid: ', call("codec",
                    '{"text":' .. require("cjson").encode(
                        (text:gsub("[\128-\255]", "\1"))) .. "}"))
            end)
        end

        it("nest 64 deep and no deeper", function()
            -- The packet itself is one level.
            local ok = ("["):rep(63) .. ("]"):rep(63)
            assert.equal(ok, call("echo", ok))
            local over = ("["):rep(64) .. ("]"):rep(64)
            assert.matches('"code":400', call("echo", over))
            local bomb = ("["):rep(100000)
            assert.matches('"code":400', call("echo", bomb))
            assert.matches('^%[%[', call("made", '{"what":"deep","n":64}'))
            assert.matches('"code":500', call("made", '{"what":"deep","n":65}'))
        end)

        -- Made in Lua; on the wire (a pattern when it begins with ^).
        local made = {
            { "empty", "{}" },
            { "array", "[]" },
            { "null", "[null]" },
            { "nulls", "[1,null,3]" },
            { "null_in_map", '{"a":null}' },
            { "integer_keys", '{"7":"x"}' },
            { "negative_key", '{"-1":"x"}' },
            { "whole", "3" },
            { "half", "0.5" },
            { "tenth", "0.1" },
            { "big", "9007199254740992" },
            { "huge", "1e300" },
            { "small", "5e-324" },
            { "negative", "-12" },
            { "nul", '"a\\u0000b"' },
            { "float_key", '^.*"code":500' },
            { "boolean_key", '^.*"code":500' },
            { "nan", '^.*"code":500' },
            { "inf", '^.*"code":500' },
            { "bad_utf8", '^.*"code":500' },
            { "bad_utf8_key", '^.*"code":500' },
            { "surrogate", '^.*"code":500' },
            { "fn", '^.*"code":500' },
            { "cyclic", '^.*"code":500' },
            { "thread", '^.*"code":500' },
            { "cdata", '^.*"code":500' },
            { "cdata_alone", '^.*"code":500' },
        }
        for _, case in ipairs(made) do
            it("write " .. case[1], function()
                local got = call("made", ('{"what":"%s"}'):format(case[1]))
                if case[2]:sub(1, 1) == "^" then
                    assert.matches(case[2], got)
                else
                    assert.equal(case[2], got)
                end
            end)
        end

        it("write a table with a hole as a map", function()
            local got = call("made", '{"what":"hole"}')
            assert.is_true(got == '{"1":"a","3":"c"}'
                or got == '{"3":"c","1":"a"}', got)
            got = call("made", '{"what":"mixed"}')
            assert.is_true(got == '{"1":"a","x":1}'
                or got == '{"x":1,"1":"a"}', got)
        end)

        it("say at which line a value cannot leave", function()
            local got = call("made", '{"what":"nan"}')
            assert.matches("NaN", got)
        end)
    end)

    describe("of msgpack", function()
        local packet

        setup(function()
            packet = client.open(ports.msgpack)
        end)

        teardown(function()
            packet:close()
        end)

        local function text(t)
            return (#t < 32 and string.char(0xa0 + #t)
                or "\217" .. string.char(#t)) .. t
        end

        local function map(method, params)
            packet:put("\131" .. text("controller_name") .. text("v")
                .. text("method_name") .. text(method) .. text("params")
                .. params)
            return packet:get()
        end

        local function hex(t)
            return (t:gsub(".", function(c)
                return ("%02x"):format(c:byte())
            end))
        end

        local round = {
            { "90", "90", "an empty list" },
            { "80", "80", "an empty map" },
            { "9301c003", "9301c003", "null in a list" },
            { "81a161c0", "80", "null in a map" },
            { "82a16101a16102", "81a16102", "a duplicate key" },
            { "7f", "7f", "127" },
            { "cc80", "cc80", "128" },
            { "ff", "ff", "-1" },
            { "d080", "d080", "-128" },
            { "cd0001", "01", "a wide 1" },
            { "cf0020000000000000", "cf0020000000000000", "2^53" },
            { "cf0020000000000001", hex(text("9007199254740993")), "2^53 + 1" },
            { "cfffffffffffffffff", hex(text("18446744073709551615")),
                "2^64 - 1" },
            { "d38000000000000000", hex(text("-9223372036854775808")),
                "-2^63" },
            { "ca3f000000", nil, "a float of 32 bits" },
            { "cb3ff8000000000000", "cb3ff8000000000000", "1.5" },
            { "cb3ff0000000000000", "01", "1.0" },
            { "c3", "c3", "true" },
            { "c2", "c2", "false" },
            { "a3ff00fe", "c403ff00fe", "binary in a string" },
            { "c403ff00fe", "c403ff00fe", "a bin" },
            { "81019101", nil, "an integer key" },
        }
        for _, case in ipairs(round) do
            it("keep " .. case[3], function()
                local bytes = case[1]:gsub("%x%x", function(x)
                    return string.char(tonumber(x, 16))
                end)
                local got = hex(map("echo", bytes))
                if case[2] then
                    assert.equal(case[2], got)
                else
                    assert.is_nil(got:find(hex("invalid"), 1, true))
                end
            end)
        end

        for name, bytes in pairs({
            ["a list of 2^32 - 1"] = "\221\255\255\255\255",
            ["a map of 2^32 - 1"] = "\223\255\255\255\255",
            ["a string longer than the packet"] = "\219\255\255\255\255x",
            ["deep lists"] = ("\145"):rep(10000),
            ["a reserved byte"] = "\193",
            ["nothing"] = "",
            ["two values"] = "\1\1",
            ["a list as key"] = "\129\144\1",
            ["NaN"] = "\203\127\248\0\0\0\0\0\0",
        }) do
            it("refuse " .. name, function()
                local got = map("echo", bytes)
                assert.is_truthy(got:find("error", 1, true), hex(got))
                assert.equal("7f", hex(map("echo", "\127")))
            end)
        end
    end)
end)
