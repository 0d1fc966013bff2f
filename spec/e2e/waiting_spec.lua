-- Where scripts may wait and where not, and what would stop a worker: each
-- error says why and where, and the worker lives on.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] =
        "return { workers = 1, tasks = 1, dev = true, max_run = '30s', "
            .. 'vm_memory = "256m" }',
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 4 },
    brief = { listen = "127.0.0.1:0", protocol = "tcp", timeout = "60ms" },
    packed = { listen = "127.0.0.1:0", protocol = "tcp", codec = "waits",
        frame = "line" },
}]],
    ["scripts/packs/waits.lua"] = [[
local sd = require("sd")
return {
    decode = function(bytes)
        return { controller_name = "w", method_name = "echo", params = bytes,
            id = 1 }
    end,
    encode = function(packet)
        if packet.error then return packet.error.message end
        if packet.result == "wait" then sd.sleep(0) end
        return packet.result
    end,
}]],
    ["scripts/late.lua"] = [[
local sd = require("sd")
sd.sleep(0)
return {}]],
    ["lib/leaky.lua"] = [[
leaked_by_file = 1
return {}]],
    ["scripts/sloppy.lua"] = [[
forgotten_here = 1
return {}]],
    ["scripts/tasks/t.lua"] = [[
local T = {}
function T:exit_type() return type(os.execute) end
function T:run() return os.execute("exit 3") ~= nil end
function T:shell() local p = io.popen("echo hi") local s = p:read("*a") p:close() return s end
return T]],
    ["scripts/controllers/w.lua"] = [[
local sd = require("sd")
local W = {}
local function sleep() local ok = sd.sleep(0) return ok end -- line 3
function W:echo(p) return p end
function W:plain() return sd.sleep(0) end
function W:in_pcall() return (pcall(sleep)) end
function W:in_xpcall() return (xpcall(sleep, debug.traceback)) end
function W:in_pairs()
    for _ in pairs({ 1, 2 }) do sleep() end
    for _ in (function() sleep() return nil end) do end
    return true
end
function W:in_metamethod()
    local t = setmetatable({}, { __index = function(_, k) sleep() return k end })
    return t.found
end
function W:in_gsub() return (("x"):gsub("x", sleep)) end           -- line 17
function W:in_sort() table.sort({ 2, 1 }, sleep) return 1 end      -- line 18
function W:in_coroutine()                                          -- line 19
    local co = coroutine.create(sleep)
    local ok, err = coroutine.resume(co)
    return { ok = ok, err = err }
end
function W:in_wrap() return coroutine.wrap(sleep)() end            -- line 24
function W:ask_in_wrap()
    return coroutine.wrap(function() local r = self:ask({ q = 1 }) return r end)() end
function W:all_in_wrap()
    return coroutine.wrap(function() local r = sd.all({ sleep }) return r end)() end
function W:channel_in_wrap()
    return coroutine.wrap(function() local r = sd.channel(0):receive() return r end)() end
function W:task_in_wrap()
    return coroutine.wrap(function() local r = sd.task("t"):run() return r end)() end
function W:handle_in_wrap()
    return coroutine.wrap(function() local r = sd.go(sleep):wait() return r end)() end
function W:at_file() return (require("late")) end
function W:yields() local x = coroutine.yield(1) return x end      -- line 36
function W:own_coroutine()
    local co = coroutine.wrap(function(a)
        local b = coroutine.yield(a + 1)
        return b * 2
    end)
    local x = co(1)
    sd.sleep(0)
    return { x, co(21) }
end
function W:undefined() local x = no_such_global return x end       -- line 46
function W:assigns() forgotten = 1 end                             -- line 47
function W:rawget() return rawget(_G, "no_such_global") == nil end
function W:sloppy() require("sloppy") end
function W:leaky() require("leaky") return leaked_by_file end
function W:exit() os.exit(1) end                                   -- line 51
function W:execute() os.execute("true") end
function W:popen() io.popen("true") end
function W:from_task()
    local t = sd.task("t")
    return { run = t:run(), shell = t:shell() }
end
function W:gsub_forever()
    local function f(s) return (s:gsub(".", f)) end
    return f("x")
end
function W:wrap_forever()
    local function f() return coroutine.wrap(f)() + 1 end
    return f()
end
function W:resume_forever()
    local function f()
        local ok, err = coroutine.resume(coroutine.create(f))
        if not ok then error(err, 0) end
        return 1 + 1
    end
    return f()
end
function W:sort_forever()
    local function f() table.sort({ 3, 2, 1 }, f) return false end
    return f()
end
function W:pcall_forever()
    local function f() return pcall(f) end
    f()
    return "back"
end
function W:lua_forever() local function f() return 1 + f() end return f() end
function W:tostring_forever()
    local mt = {}
    mt.__tostring = function(t) return tostring(setmetatable({}, mt)) .. "" end
    return tostring(setmetatable({}, mt))
end
function W:meta_forever()
    local mt = {}
    mt.__index = function(t, k) local v = t[k] return v end
    return setmetatable({}, mt).a
end
function W:memory()
    local t = {}
    for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end
end
function W:tables()
    local t = {}
    while true do t = { t } end
end
function W:error_nil() error(nil) end
function W:error_table() error({ code = 1 }) end
function W:error_object()
    error(setmetatable({}, { __tostring = function() error("again") end }))
end
function W:misuse(p)
    local calls = {
        function() sd.sleep("x") end, function() sd.sleep(-1) end,
        function() sd.sleep(0 / 0) end, function() sd.sleep() end,
        function() sd.go(7) end, function() sd.all(7) end,
        function() sd.model("none") end, function() sd.task("none") end,
        function() sd.task("t"):none() end, function() sd.fail("x") end,
        function() self:close({}) end, function() sd.after(1) end,
        function() sd.send_to_conn(7, 1) end, function() sd.fail() end,
        function() self:ask({}, { timeout = "x" }) end,
        function() self:ask(7) end, function() self:ask() end,
    }
    if not calls[p.i] then return "end" end
    return { pcall(calls[p.i]) }
end
return W]],
}

describe("scripts", function()
    local s, ports, c

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    before_each(function()
        c = client.open(ports.game)
    end)

    after_each(function()
        c:close()
    end)

    describe("may wait", function()
        for method, result in pairs({
            plain = true,
            in_pcall = true,
            in_xpcall = true,
            in_pairs = true,
            in_metamethod = "found",
            own_coroutine = { 2, 42 },
        }) do
            it(method, function()
                assert.same({ id = 1, result = result },
                    c:call("w/" .. method))
            end)
        end
    end)

    describe("may not wait", function()
        local cases = {
            { "in_gsub", 3, "cannot wait inside a C callback" },
            { "in_sort", 3, "cannot wait inside a C callback" },
            { "in_wrap", 3, "cannot wait in a coroutine not made by sd" },
            { "ask_in_wrap", 26, "cannot wait in a coroutine not made by sd" },
            { "all_in_wrap", 28, "cannot wait in a coroutine not made by sd" },
            { "channel_in_wrap", 30,
                "cannot wait in a coroutine not made by sd" },
            { "task_in_wrap", 32, "cannot wait in a coroutine not made by sd" },
            { "handle_in_wrap", 34,
                "cannot wait in a coroutine not made by sd" },
            { "yields", 36, "coroutine.yield outside" },
            { "undefined", 46, "undefined global 'no_such_global'" },
            { "assigns", 47, "assignment to undefined global 'forgotten'" },
            { "exit", 51, "os.exit" },
            { "execute", 52, "os.execute" },
            { "popen", 53, "io.popen" },
        }
        for _, case in ipairs(cases) do
            it(case[1] .. ", and hear why and where", function()
                local e = c:call("w/" .. case[1]).error
                assert.equal(500, e.code)
                assert.matches("w.lua:" .. case[2] .. ": ", e.message)
                assert.is_truthy(e.message:find(case[3], 1, true), e.message)
            end)
        end

        it("in a coroutine that they resume themselves", function()
            local r = c:call("w/in_coroutine").result
            assert.is_false(r.ok)
            assert.matches("w.lua:3: cannot wait in a coroutine not made by sd",
                r.err)
        end)

        it("at file scope", function()
            local e = c:call("w/at_file").error
            assert.equal(500, e.code)
            assert.matches("late.lua:2: cannot wait", e.message)
        end)

        it("in a pack", function()
            local sock = client.tcp(ports.packed)
            sock:send("hello\r\nwait\r\nagain\r\n")
            assert.matches("^hello\r?$", sock:receive("*l"))
            assert.matches("cannot wait", sock:receive("*l"))
            assert.matches("^again\r?$", sock:receive("*l"))
            sock:close()
        end)
    end)

    it("may make globals in libraries, and ask for absent ones", function()
        assert.equal(1, c:call("w/leaky").result)
        assert.matches("sloppy.lua:1: assignment to undefined global",
            c:call("w/sloppy").error.message)
        assert.is_true(c:call("w/rawget").result)
    end)

    it("may run programs in tasks", function()
        assert.same({ run = true, shell = "hi\n" },
            c:call("w/from_task").result)
    end)

    describe("that never end their recursion", function()
        for _, method in ipairs({ "gsub_forever", "wrap_forever",
            "resume_forever", "sort_forever", "lua_forever",
            "tostring_forever", "meta_forever" }) do
            it("get an error: " .. method, function()
                local pid = s:process("worker").pid
                local reply = c:call("w/" .. method)
                assert.is_table(reply.error, tostring(reply.result))
                assert.equal(500, reply.error.code)
                assert.matches("overflow", reply.error.message)
                assert.equal("x", c:call("w/echo", "x").result)
                assert.equal(pid, s:process("worker").pid)
            end)
        end

        it("may come back by pcall", function()
            assert.equal("back", c:call("w/pcall_forever").result)
            assert.equal("x", c:call("w/echo", "x").result)
        end)
    end)

    it("may use up their memory", function()
        local pid = s:process("worker").pid
        for _, method in ipairs({ "memory", "tables" }) do
            -- Where there is no memory for the answer either, the conn closes.
            local hungry = client.open(ports.game)
            local reply, why = hungry:call("w/" .. method)
            if reply then
                assert.same({ code = 500, message = "not enough memory" },
                    reply.error)
            else
                assert.equal("closed", why)
            end
            hungry:close()
            assert.equal("x", c:call("w/echo", "x").result)
        end
        assert.equal(pid, s:process("worker").pid)
    end)

    it("may raise whatever they like", function()
        for _, method in ipairs({ "error_nil", "error_table",
            "error_object" }) do
            assert.equal(500, c:call("w/" .. method).error.code)
        end
        assert.equal("x", c:call("w/echo", "x").result)
    end)

    it("raise at the line of the misuse", function()
        for i = 1, 100 do
            local r = c:call("w/misuse", { i = i }).result
            if r == "end" then
                assert.is_true(i > 10)
                return
            end
            assert.is_false(r[1], "case " .. i .. " does not raise")
            assert.matches("^[^\n]*w.lua:%d+: ", tostring(r[2]),
                "case " .. i)
        end
    end)
end)

describe("a start is refused for", function()
    local function refused(scripts)
        local s = server.new(scripts)
        local out, status = s:run("start")
        local left = s:has("run/sdlua.pid") or s:has("run/control.sock")
        s:stop()
        assert.equal(1, status, out)
        assert.is_false(left)
        return out
    end

    local cases = {
        { "a wait at file scope", "controllers/a",
            'local sd = require("sd")\nsd.sleep(0)\nreturn {}',
            "scripts/controllers/a.lua:2: cannot wait" },
        { "an undefined global", "models/a", "return { x = no_such }",
            "scripts/models/a.lua:1: undefined global 'no_such'" },
        { "a global made", "app", "App = {}\nreturn App",
            "scripts/app.lua:1: assignment to undefined global 'App'" },
        { "an error", "tasks/a", 'error("boom")', "scripts/tasks/a.lua:1: boom" },
        { "a syntax error", "app", "return {\n  x =\n}",
            "scripts/app.lua:3: " },
        { "a file that returns nothing", "controllers/a", "local x = 1",
            "scripts/controllers/a.lua" },
        { "a middleware that is no function", "middlewares/a", "return {}",
            "scripts/middlewares/a.lua" },
        { "a method that hides a word of self", "controllers/a",
            "local A = {}\nfunction A:send() end\nreturn A",
            "scripts/controllers/a.lua" },
        { "on_start that raises", "app",
            'return { on_start = function() error("not ready") end }',
            "scripts/app.lua:1: not ready" },
    }
    for _, case in ipairs(cases) do
        it(case[1] .. ", with file and line", function()
            local out = refused({ ["scripts/" .. case[2] .. ".lua"] = case[3] })
            assert.is_truthy(out:find(case[4], 1, true), out)
        end)
    end
end)
