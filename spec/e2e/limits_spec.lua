-- What a script does to its own process: out of memory, out of C stack, too
-- many coroutines. One call fails; the worker and the others go on.
local cjson = require("cjson")
local server = require("spec.support.server")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n", vm_memory = "24m", dev = true }]],
    ["scripts/controllers/hog.lua"] = [[
local sd = require("sd")
local Hog = {}
function Hog:tables()
    local all = {}
    for i = 1, 1e9 do
        all[i] = { i }
    end
end
function Hog:string()
    return #("x"):rep(1e9)
end
function Hog:strings()
    local s = "x"
    while true do
        s = s .. s
    end
end
function Hog:closures()
    local all = {}
    while true do
        all[#all + 1] = function() return all end
    end
end
function Hog:caught()
    return { ok = pcall(function()
        local all = {}
        for i = 1, 1e9 do
            all[i] = { i }
        end
    end) }
end
function Hog:gsub()
    local function f()
        return (string.gsub("a", "a", f))
    end
    f()
end
function Hog:wrap()
    local function f()
        coroutine.wrap(f)()
    end
    f()
end
function Hog:sort()
    local function f()
        table.sort({ 1, 2, 3 }, function() f() end)
    end
    f()
end
function Hog:recursion()
    local function f()
        return 1 + f()
    end
    f()
end
function Hog:children()
    local n = 0
    for _ = 1, 3000 do
        sd.go(function() sd.sleep(0.01) n = n + 1 end)
    end
    while n < 3000 do sd.sleep(0.01) end
    return { n = n }
end
function Hog:count(params)
    return { n = #params.list }
end
function Hog:fine()
    return { fine = true }
end
return Hog]],
}

describe("a script that takes too much", function()
    local s, pid

    setup(function()
        s = server.start(files)
        pid = s:process("worker").pid
    end)

    teardown(function()
        s:stop()
    end)

    local function assert_fine()
        server.until_(function()
            local body, code = s:get("/hog/fine")
            return code == 200 and cjson.decode(body).fine
        end, "the worker answers as before")
        assert.equal(pid, s:process("worker").pid)
    end

    for _, name in ipairs({ "tables", "string", "strings", "closures" }) do
        it("of memory (" .. name .. ") fails alone", function()
            for _ = 1, 3 do
                local body, code = s:get("/hog/" .. name)
                assert.equal(500, code, body)
                assert.matches("memory", body)
                assert_fine()
            end
        end)
    end

    it("of memory and catches it goes on", function()
        local body, code = s:get("/hog/caught")
        assert.equal(200, code, body)
        assert.is_false(cjson.decode(body).ok)
        assert_fine()
    end)

    for _, name in ipairs({ "gsub", "wrap", "sort", "recursion" }) do
        it("of the stack (" .. name .. ") fails alone", function()
            local body, code = s:get("/hog/" .. name)
            assert.equal(500, code, body)
            assert.is_truthy(body:find("overflow") or body:find("memory"),
                body .. s:output():sub(-1500))
            assert_fine()
        end)
    end

    it("of coroutines gets them all", function()
        for _ = 1, 3 do
            local body, code = s:get("/hog/children")
            assert.equal(200, code, body)
            assert.equal(3000, cjson.decode(body).n)
        end
        assert_fine()
    end)

    it("of memory in one packet after the other leaves none behind", function()
        local deep = ("["):rep(60) .. ("]"):rep(60)
        local list = "[" .. (deep .. ","):rep(1500) .. "0]" -- makes 9 MB
        for _ = 1, 30 do
            local r = assert(web.ask(s:port("web"), "/hog/count",
                { method = "POST", body = '{"list":' .. list .. "}",
                    headers = { ["Content-Type"] = "application/json" } }))
            assert.same({ 200, { n = 1501 } }, { r.status, cjson.decode(r.body) })
        end
        assert_fine()
    end)
end)
