-- What a script does to its own process: out of memory, out of C stack, too
-- many coroutines. One call fails; the worker and the others go on.
local cjson = require("cjson")
local server = require("spec.support.server")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n", vm_memory = "24m", dev = true,
    max_run = "20s", hang_timeout = "60s" }]], -- sanitizers make it slow
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
function Hog:coroutines()
    local all = {}
    for i = 1, 1e9 do
        all[i] = coroutine.create(function() return all end)
    end
end
function Hog:texts()
    local all = {}
    for i = 1, 1e9 do
        all[i] = tostring(i)
    end
end
function Hog:pcalls() -- the compiled loop that is refused is in a pcall
    local all = {}
    for _ = 1, 1000 do
        pcall(function()
            for i = 1, 1e9 do
                all[#all + 1] = { i }
            end
        end)
    end
    all[#all + 1] = ("x"):rep(2e7)
    return {}
end
function Hog:garbage() -- so much is kept that Lua would collect too late
    local keep = {}
    for i = 1, 7 do
        keep[i] = ("x"):rep(2e6 + i)
    end
    collectgarbage()
    for i = 1, 200 do
        keep[8] = ("x"):rep(1e6 + i)
    end
    return { fine = true }
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
function Hog:chain()
    local head
    while true do
        head = { head }
    end
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

    for _, name in ipairs({ "tables", "string", "strings", "closures",
        "coroutines", "texts", "pcalls" }) do
        it("of memory (" .. name .. ") fails alone", function()
            for _ = 1, 3 do
                local body, code = s:get("/hog/" .. name)
                assert.equal(500, code, body)
                assert.matches("memory", body)
                assert_fine()
            end
        end)
    end

    it("of memory names the line", function()
        local body = s:get("/hog/chain")
        assert.matches("hog.lua:%d+: not enough memory", body)
    end)

    it("of memory with garbage gets it all the same", function()
        local body, code = s:get("/hog/garbage")
        assert.equal(200, code, body)
    end)

    it("of memory gives back what it took", function()
        local function resident()
            return s:process("worker").memory / 1048576
        end
        for _, name in ipairs({ "tables", "closures", "texts", "coroutines",
            "strings", "tables" }) do
            local body, code = s:get("/hog/" .. name)
            assert.equal(500, code, body)
        end
        if (os.getenv("SD_BUILD") or ""):find("release") then
            server.until_(function()
                return resident() < 24 + 32
            end, "the memory is given back")
        end
        assert_fine()
    end)

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
            assert.same({ 200, { n = 1501 } }, { r.status, cjson.decode(r.body) },
                s:output():sub(-1500))
        end
        assert_fine()
    end)
end)
