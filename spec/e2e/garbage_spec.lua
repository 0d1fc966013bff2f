-- Memory that nobody needs any more is found before a call is refused some:
-- garbage, what compiled code holds on to, what a caught error leaves behind.
local cjson = require("cjson")
local server = require("spec.support.server")
local socket = require("socket")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n", vm_memory = "24m", dev = true,
    max_run = "20s", hang_timeout = "60s" }]], -- sanitizers make it slow
    ["scripts/controllers/heap.lua"] = [[
local sd = require("sd")
local Heap = {}

--- So many tables, of about 100 bytes each.
local function fill(n)
    local all = {}
    for i = 1, n do
        all[i] = { i }
    end
    return all
end

local function decodes(coder, value)
    local text = coder.encode(value)
    for _ = 1, 10 do
        collectgarbage("stop") -- as if Lua were late
        assert(#coder.decode(text) == #value)
    end
    collectgarbage("restart")
    return { fine = true }
end

function Heap:json()
    return decodes(sd.json, fill(90000))
end
function Heap:msgpack()
    return decodes(sd.msgpack, fill(90000))
end

--- A loop is compiled for the function it calls, with all that refers to.
function Heap:compiled()
    local big = fill(90000)
    local function get(i)
        return big[i]
    end
    for i = 1, 300 do
        get(i)
    end
    return { fine = true }
end

--- As much as is left in the middle of returns that are compiled.
function Heap:returns()
    local all = {}
    local function dive(n)
        if n > 0 then
            dive(n - 1)
        end
        all[#all + 1] = { n }
    end
    while true do
        dive(40)
    end
end
function Heap:tail()
    local all = {}
    local function dive(n)
        all[#all + 1] = { n }
        if n > 0 then
            dive(n - 1)
        end
    end
    while true do
        dive(40)
    end
end

--- Deep in the stack, where nothing of it is left behind in a place that might
--- be in use.
local function try(depth)
    if depth > 0 then
        return (try(depth - 1))
    end
    return (pcall(fill, 1e9))
end

--- The error is caught, and what it was about is garbage.
function Heap:caught()
    local failed = 0
    for _ = 1, 12 do
        if not try(10) then
            failed = failed + 1
        end
        fill(1000)
    end
    return { failed = failed, kept = #fill(100000) }
end

--- It is caught, but nothing becomes free.
function Heap:stubborn()
    local all, failed = {}, 0
    for _ = 1, 300 do
        if not pcall(function()
            while true do
                all[#all + 1] = { all }
            end
        end) then
            failed = failed + 1
        end
    end
    all = nil
    return { failed = failed }
end

--- What is finalized needs memory itself.
function Heap:finalized()
    for _ = 1, 100 do
        getmetatable(newproxy(true)).__gc = function() fill(1000) end
    end
    return decodes(sd.json, fill(90000))
end

local kept, pad

--- More than half for ever.
function Heap:keep()
    kept = fill(120000)
    return { fine = true }
end

--- More than all there is, for ever: it grows by 1 MB when 0.3 are left.
function Heap:brim()
    kept, pad = fill(131072), {}
    collectgarbage()
    while collectgarbage("count") < 24 * 1024 - 300 do
        pad[#pad + 1] = ("x"):rep(1000) .. #pad
    end
    return { ok = pcall(function()
        for _ = 1, 1000 do
            kept[#kept + 1] = false
        end
    end) }
end

function Heap:fine()
    return { fine = true }
end
return Heap]],
}

describe("memory", function()
    local s, pid

    before_each(function()
        s = server.start(files)
        pid = s:process("worker").pid
    end)

    after_each(function()
        s:stop()
    end)

    --- The answer of that method; the worker lives on.
    local function ask(name)
        local body, code = s:get("/heap/" .. name)
        assert.equal(pid, s:process("worker").pid, s:output():sub(-1500))
        return cjson.decode(body), code
    end

    local function assert_fine()
        local answer, code = ask("fine")
        assert.same({ { fine = true }, 200 }, { answer, code })
    end

    for _, name in ipairs({ "json", "msgpack", "compiled", "finalized" }) do
        it("is found for a call: " .. name, function()
            for _ = 1, 6 do
                local answer, code = ask(name)
                assert.same({ { fine = true }, 200 }, { answer, code })
            end
            assert_fine()
        end)
    end

    for _, name in ipairs({ "returns", "tail" }) do
        it("is refused in a recursion that is compiled: " .. name, function()
            for _ = 1, 20 do
                local answer, code = ask(name)
                assert.equal(500, code)
                assert.matches("not enough memory", answer.error.message)
            end
            assert_fine()
        end)
    end

    it("is found as often as it becomes free", function()
        for _ = 1, 3 do
            local answer, code = ask("caught")
            assert.same({ { failed = 12, kept = 100000 }, 200 }, { answer, code })
        end
    end)

    it("is not looked for at each request of who keeps all of it", function()
        local _, code = ask("stubborn")
        assert.is_true(code == 200 or code == 500)
        assert_fine()
    end)

    it("is not taken for used up by what compiled code holds on to", function()
        ask("keep")
        for _ = 1, 8 do
            local answer, code = ask("compiled")
            assert.same({ { fine = true }, 200 }, { answer, code })
        end
        for _ = 1, 100 do -- over some heartbeats
            assert_fine()
        end
        assert.is_nil(s:output():find("a fresh vm takes over", 1, true), s:output())
    end)

    it("costs nothing when it is used up and nobody wants any", function()
        ask("brim")
        server.until_(function()
            return s:output():find("a fresh vm takes over", 1, true)
        end, "another vm begins")
        server.until_(function()
            return ask("brim").ok == false
        end, "it is full, and there is none another for a minute")
        local before, begun = server.cpu(pid), socket.gettime()
        socket.sleep(1)
        local used, took = server.cpu(pid) - before, socket.gettime() - begun
        assert.is_true(used < took / 4, ("%.2f s of CPU in %.1f s"):format(used, took))
    end)
end)
