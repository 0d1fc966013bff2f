-- Scripts that burn CPU without waiting are stopped, wherever they do it, with
-- an error that names the line; conns and worker live on.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")
local web = require("spec.support.web")

-- Each of these never ends by itself. "-- here" marks the line, or lines, on
-- which it may be stopped.
local loops = {
    empty = [[
while true do end -- here]],
    numeric = [[
for _ = 1, 1e15 do end -- here]],
    arithmetic = [[
local x = 0
for i = 1, 1e15 do -- here
    x = x + i % 3 -- here
end]],
    tables = [[
local t = {}
for i = 1, 1e15 do -- here
    t[i % 10 + 1] = i -- here
end]],
    strings = [[
local s
while true do -- here
    s = ("x"):rep(10):upper() .. "y" -- here
end]],
    calls = [[
local function f(n)
    if n > 0 then -- here
        f(n - 1) -- here
    end
end -- here
while true do -- here
    f(50) -- here
end]],
    tail_calls = [[
local function f()
    return f() -- here
end
f()]],
    caught = [[
while true do
    pcall(function()
        while true do end -- here
    end)
end]],
    caught_often = [[
local function f() error("again") end -- here
while true do -- here
    pcall(f) -- here
end]],
    handled = [[
while true do
    xpcall(function()
        while true do end -- here
    end, function()
        while true do end
    end)
end]],
    in_handler = [[
xpcall(error, function()
    while true do end -- here
end)]],
    wrapped = [[
local n = 0
while true do
    pcall(coroutine.wrap(function()
        while true do -- here
            n = n + 1 -- here
        end
    end))
end]],
    resumed = [[
local co = coroutine.create(function()
    while true do coroutine.yield() end -- here
end)
while true do -- here
    coroutine.resume(co) -- here
end]],
    called_back = [[
return (("x"):gsub("x", function()
    while true do end -- here
end))]],
    sorting = [[
table.sort({ 3, 2, 1 }, function()
    while true do end -- here
end)]],
    reading = [[
while true do
    load(function()
        while true do end -- here
    end)
end]],
    meta = [[
local t = setmetatable({}, { __index = function()
    while true do end -- here
end })
return t.x]],
}

--- A controller of one method for each loop, and the lines where they may be
--- stopped.
local function controller()
    local lines, here = { "local Loop = {}" }, {}
    for name, body in pairs(loops) do
        here[name] = {}
        lines[#lines + 1] = "function Loop:" .. name .. "()"
        for line in (body .. "\n"):gmatch("(.-)\n") do
            lines[#lines + 1] = line
            if line:find("-- here", 1, true) then
                here[name][#lines] = true
            end
        end
        lines[#lines + 1] = "end"
    end
    lines[#lines + 1] = "return Loop"
    return table.concat(lines, "\n"), here
end

local source, here = controller()

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n", max_run = "200ms", dev = true }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
    guarded = { listen = "127.0.0.1:0", controllers = { "fine" } },
    routed = { listen = "127.0.0.1:0", protocol = "http",
        middlewares = { "spin" } },
    packed = { listen = "127.0.0.1:0", frame = "line", codec = "spin" },
}]],
    ["scripts/controllers/loop.lua"] = source,
    ["scripts/controllers/fine.lua"] = [[
local sd = require("sd")
local Fine = {}
function Fine:hello() return { hello = true } end
function Fine:errors() return require("seen") end
function Fine:after()
    sd.after(0, function()
        while true do end
    end)
    return {}
end
function Fine:child()
    local _, err = sd.go(function()
        while true do end
    end):wait()
    return { err = err }
end
function Fine:many()
    local t = 0
    for i = 1, 20 do
        for j = 1, 3e6 do t = t + j % i end
        sd.sleep(0.001)
    end
    return { done = true }
end
function Fine:publish()
    sd.send_to_all("loop")
    return { sent = true }
end
function Fine:join() return self:bind_uid("u") end
return Fine]],
    ["scripts/app.lua"] = [[
local App = {}
local seen = require("seen")
function App.on_connect(self)
    if self.port == "guarded" then
        while true do end
    end
end
function App.on_close(self)
    if self.uid == "u" then
        seen.closed = true
        while true do end
    end
end
function App.on_error(_, err)
    seen.errors = seen.errors + 1
    seen.last = err
end
return App]],
    ["scripts/middlewares/spin.lua"] = [[
return function(_, call, next)
    if call.params.spin then
        while true do end
    end
    return next()
end]],
    ["scripts/packs/spin.lua"] = [[
local Spin = {}
function Spin.decode(bytes)
    while bytes == "loop" do end
    return { controller_name = "fine", method_name = "hello" }
end
function Spin.encode(packet)
    while packet == "loop" do end
    return "hello"
end
return Spin]],
    ["lib/seen.lua"] = "return { errors = 0 }",
}

--- The body of an answer.
local function call(port, path)
    local r = assert(web.ask(port, "/" .. path, { method = "POST" }))
    return cjson.decode(r.body)
end

--- The errors in the log that a stop has made, with their stacks.
local function stops(s)
    local _, n = s:output():gsub("error [^\n]*stopped: it ran", "")
    return n
end

describe("a script that does not wait", function()
    local s, web_port, pid
    setup(function()
        s = server.start(files)
        web_port = s:port("web")
        pid = s:process("worker").pid
    end)
    teardown(function()
        s:stop()
    end)

    local function assert_fine()
        assert.same({ hello = true }, call(web_port, "fine/hello"))
        assert.equal(pid, s:process("worker").pid)
    end

    for name in pairs(loops) do
        it("is stopped (" .. name .. "), and says where", function()
            local c = client.open(s:port("game"))
            local before = stops(s)
            local r = assert(web.ask(web_port, "/loop/" .. name,
                { method = "POST" }))
            assert.equal(500, r.status)
            local message = cjson.decode(r.body).error.message
            local line = message:match("^scripts/controllers/loop.lua:(%d+): stopped")
            assert.is_truthy(line, message)
            assert.is_true(here[name][tonumber(line)], message)
            assert.equal(before + 1, stops(s), s:output():sub(-1000))
            assert.same({ hello = true }, c:call("fine/hello").result)
            c:close()
            assert_fine()
        end)
    end

    it("is stopped over TCP, and its conn lives on", function()
        local c = client.open(s:port("game"))
        for _ = 1, 2 do
            local r = c:call("loop/caught")
            assert.equal(500, r.error.code)
            assert.matches("loop.lua:%d+: stopped", r.error.message)
        end
        assert.same({ hello = true }, c:call("fine/hello").result)
        c:close()
    end)

    it("is told to on_error, with the stack", function()
        local before = call(web_port, "fine/errors").errors
        web.ask(web_port, "/loop/sorting", { method = "POST" })
        local seen = call(web_port, "fine/errors")
        assert.equal(before + 1, seen.errors)
        assert.matches("stopped: it ran.*in function 'sort'", seen.last)
    end)

    it("ends with its conn when it is on_connect", function()
        local c = client.open(s:port("guarded"))
        assert.is_true(c:is_closed())
        assert_fine()
    end)

    it("ends with its conn when it is on_close", function()
        local before = stops(s)
        local c = client.open(s:port("game"))
        assert.is_true(c:call("fine/join").result)
        c:close()
        server.until_(function()
            return stops(s) == before + 1
        end, "on_close is stopped")
        server.until_(function()
            return s:process("worker").conns == 0
        end, "the conn is gone")
        assert_fine()
    end)

    it("is stopped in a timer", function()
        local before = stops(s)
        call(web_port, "fine/after")
        server.until_(function()
            return stops(s) == before + 1
        end, "the timer is stopped")
        assert_fine()
    end)

    it("is stopped in a child, whose parent hears of it", function()
        local r = call(web_port, "fine/child")
        assert.matches("^failed: .*fine.lua:%d+: stopped", r.err)
        assert_fine()
    end)

    it("is stopped in a middleware", function()
        local r = assert(web.ask(s:port("routed"), "/fine/hello?spin=1"))
        assert.equal(500, r.status)
        assert.matches("spin.lua:3: stopped", r.body)
        assert.same({ hello = true }, call(s:port("routed"), "fine/hello"))
    end)

    it("is stopped in decode of a pack", function()
        local before = stops(s)
        local c = client.lines(s:port("packed"))
        c:put("loop")
        server.until_(function()
            return stops(s) == before + 1
        end, "decode is stopped")
        c:close()
        assert_fine()
    end)

    it("is stopped in encode of a pack, for that pack alone", function()
        local before = stops(s)
        local c = client.lines(s:port("packed"))
        local game = client.open(s:port("game"))
        c:put("hello")
        assert.equal("hello", c:get())
        web.ask(web_port, "/fine/publish", { method = "POST" })
        assert.equal("loop", game:receive())
        assert.is_true(stops(s) > before)
        c:put("hello")
        assert.equal("hello", c:get())
        c:close()
        game:close()
        assert_fine()
    end)

    it("may run longer than that when it waits in between", function()
        local before = stops(s)
        assert.same({ done = true }, call(web_port, "fine/many"))
        assert.equal(before, stops(s))
    end)

    it("holds up its own worker only", function()
        local two = server.start({
            ["config/server.lua"] = [[
return { workers = 2, tasks = 0, name = "n", max_run = "2s" }]],
            ["scripts/controllers/loop.lua"] = source,
        })
        finally(function() two:stop() end)
        local port = two:port("web")
        local free = {}
        server.until_(function() -- a conn to each worker
            local c = web.open(port)
            c:ask("/probe/who")
            free[c:ask("/probe/who").body] = c
            return next(free, next(free)) ~= nil
        end, "both workers answer")
        local busy = table.remove({ next(free) })
        local slot = next(free)
        free[slot] = nil
        busy:send(web.text("/loop/empty", { method = "POST" }))
        local _, other = next(free)
        local answered = 0
        while not busy:has_more(0) do
            assert.equal(200, other:ask("/probe/who").status)
            answered = answered + 1
        end
        assert.is_true(answered > 10, answered)
        assert.equal(500, busy:reply().status)
        assert.equal(1, stops(two))
    end)
end)

describe("a script that never gets loaded", function()
    for name, where in pairs({
        ["scripts/controllers/bad.lua"] = "local x\nwhile true do x = 1 end\nreturn {}",
        ["scripts/app.lua"] = "return { on_start = function()\n    while true do end\nend }",
    }) do
        it("keeps the node from starting: " .. name, function()
            local s = server.new({ [name] = where,
                ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", max_run = "50ms" }]] })
            finally(function() s:stop() end)
            s:launch()
            server.until_(function()
                return s:exit_status()
            end, "the node gives up")
            assert.equal(1, s:exit_status())
            assert.matches(name .. ":2: stopped: it ran for", s:output(), 1, true)
        end)
    end
end)

describe("a reload that is refused", function()
    local SERVER = [[
return { workers = 2, tasks = 0, name = "n", max_run = "%s",
    hang_timeout = "2s" }]]
    local s

    after_each(function()
        s:stop()
    end)

    it("takes no worker with it, however long its scripts may load", function()
        s = server.start({ ["config/server.lua"] = SERVER:format("400ms") })
        s:write("scripts/models/bad.lua", "local M = {}\nwhile true do end\nreturn M")
        local out, code = s:run("reload")
        assert.equal(1, code)
        assert.matches("scripts/models/bad.lua:2: stopped", out, 1, true)
        for i = 0, 1 do
            assert.equal(0, s:process("worker", i).restarts)
        end
        assert.is_nil(s:output():find("killed", 1, true))
    end)

    it("leaves the limit of the code that serves", function()
        s = server.start({
            ["config/server.lua"] = SERVER:format("800ms"),
            ["scripts/controllers/long.lua"] = [[
local Long = {}
function Long:run()
    local began = os.clock()
    while os.clock() - began < 0.2 do end
    return { done = true }
end
return Long]],
        })
        s:write("config/server.lua", SERVER:format("50ms"))
        s:write("scripts/app.lua", 'return { on_start = function() error("no") end }')
        assert.equal(1, select(2, s:run("reload")))
        assert.same({ done = true }, call(s:port("web"), "long/run"))
    end)
end)

describe("with server.watchdog = false", function()
    it("a script may run as long as it likes", function()
        local s = server.start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", max_run = "50ms", watchdog = false }]],
            ["scripts/controllers/long.lua"] = [[
local Long = {}
function Long:run()
    local began = os.clock()
    while os.clock() - began < 0.5 do end
    return { done = true }
end
return Long]],
        })
        finally(function() s:stop() end)
        assert.same({ done = true }, call(s:port("web"), "long/run"))
    end)
end)
