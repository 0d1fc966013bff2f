-- sd.go and its kin, sd.check, sd.log and the constants, in a live worker: each
-- case is a piece of Lua that the one controller runs.
local cjson = require("cjson")
local server = require("spec.support.server")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "knot", call_timeout = "300ms" }]],
    ["config/ports.lua"] = [[
return {
    web = { listen = "127.0.0.1:0", protocol = "http" },
    brief = { listen = "127.0.0.1:0", protocol = "http", timeout = "200ms" },
    asks = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
}]],
    ["config/log.lua"] = [[return { level = "debug" }]],
    ["config/shop.lua"] = [[return { price = 5, list = { 1, 2 } }]],
    ["scripts/tasks/lua.lua"] = [[
local sd = require("sd")
local Task = {}
function Task:run(code) return assert(loadstring(code, "=case"))(sd, self) end
return Task]],
    ["scripts/controllers/lua.lua"] = [[
local sd = require("sd")
local Lua = {}
function Lua:run()
    local fn = assert(loadstring(self.request.body, "=case"))
    return fn(sd, self)
end
return Lua]],
}

local HEAD = [[local sd, self = ...
local function pack(...) return { n = select("#", ...), ... } end
]]

describe("a script", function()
    local s, port

    setup(function()
        s = server.start(files)
        port = {}
        for _, p in ipairs(s:status().ports) do
            port[p.name] = p.port
        end
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    local function run(code, name)
        local r = assert(web.ask(port[name or "web"], "/lua/run",
            { method = "POST", body = HEAD .. code }))
        local value = r.body
        if r.headers["content-type"] == "application/json" then
            value = cjson.decode(value)
        end
        return value, r.status
    end

    local function assert_case(case, name)
        local value, status = run(case[2], name)
        if case.status then
            assert.equal(case.status, status, cjson.encode(value))
        end
        if type(case[3]) == "string" and type(value) == "table"
            and value.error then
            assert.matches(case[3], value.error.message)
        else
            assert.same(case[3], value)
        end
    end

    local cases = {
        go = {
            { "gives results", [[
                local h = sd.go(function(a, b) return a + b, "x", nil, 4 end, 1, 2)
                local r = pack(h:wait())
                return { r.n, r[1], r[2], r[4] }]], { 4, 3, "x", 4 } },
            { "gives results again", [[
                local h = sd.go(function() return 7 end)
                h:wait()
                return { (h:wait()), (h:wait(0.1)) }]], { 7, 7 } },
            { "gives them to all who wait", [[
                local h = sd.go(function() sd.sleep(0.02) return 7 end)
                local a = sd.go(function() return h:wait() end)
                local b = sd.go(function() return h:wait() end)
                return { (a:wait()), (b:wait()) }]], { 7, 7 } },
            { "takes thousands of arguments", [[
                local list = {}
                for i = 1, 7000 do list[i] = i end
                local h = sd.go(function(...)
                    return select("#", ...), (select(7000, ...))
                end, unpack(list))
                return pack(h:wait())]], { ["1"] = 7000, ["2"] = 7000, n = 2 } },
            { "gives nil and its error", [[
                return pack(sd.go(function() return nil, "busy: x" end):wait())]],
                { n = 2, ["2"] = "busy: x" } },
            { "gives failed when it raises", [[
                local r = pack(sd.go(function() error("inside") end):wait())
                return { r[2]:match("^failed"), r[2]:match("inside") }]],
                { "failed", "inside" } },
            { "gives failed with the code of sd.fail", [[
                local r = pack(sd.go(function() sd.fail(418, "tea") end):wait())
                return { r[2], r[3] }]], { "failed: tea", 418 } },
            { "is timeout when it is not waited for long enough", [[
                local h = sd.go(function() sd.sleep(0.05) return 7 end)
                local _, err = h:wait(0.01)
                return { err, (h:wait()) }]], { "timeout", 7 } },
            { "can be asked without waiting", [[
                local h = sd.go(function() sd.sleep(0.05) return 7 end)
                local _, err = h:wait(0)
                return { err }]], { "timeout" } },
            { "is cancelled in its wait and in each later one", [[
                local seen = {}
                local h = sd.go(function()
                    for i = 1, 3 do
                        local ok, err = pcall(sd.sleep, 5)
                        seen[i] = { ok, tostring(err) }
                    end
                    return "end"
                end)
                sd.sleep(0.01)
                h:cancel()
                h:wait()
                return seen]], { { false, "cancelled" }, { false, "cancelled" },
                { false, "cancelled" } } },
            { "says cancelled to who waits", [[
                local h = sd.go(function() sd.sleep(5) end)
                sd.go(function() sd.sleep(0.01) h:cancel() end)
                return pack(h:wait())]], { n = 2, ["2"] = "cancelled" } },
            { "that never began is cancelled too", [[
                local ran = false
                local h = sd.go(function() sd.sleep(0.01) ran = true end)
                h:cancel()
                h:wait(0.1)
                return { ran }]], { false } },
            { "is not harmed by a late cancel", [[
                local h = sd.go(function() return 1 end)
                h:wait()
                h:cancel()
                return { (h:wait()) }]], { 1 } },
            { "shares the context", [[
                self.context.mark = 1
                local h = sd.go(function()
                    local before = self.context.mark
                    self.context.mark = 2
                    return before
                end)
                return { h:wait(), self.context.mark }]], { 1, 2 } },
            { "raises without a function", [[
                local ok, err = pcall(sd.go, 7)
                return { ok, err:match("^case:%d+:") ~= nil
                    or err:match("function") ~= nil }]], { false, true } },
        },
        all = {
            { "gives a list for a list", [[
                return sd.all({ function() sd.sleep(0.02) return 1 end,
                    function() return 2, 9 end })]], { 1, 2 } },
            { "gives a map for a map", [[
                return sd.all({ a = function() return 1 end,
                    b = function() return { x = 1 } end })]],
                { a = 1, b = { x = 1 } } },
            { "gives nothing for nothing", [[
                local t = sd.all({})
                return { next(t) == nil }]], { true } },
            { "gives the first failure and its key, cancels the rest", [[
                local ended
                local r = pack(sd.all({
                    a = function() sd.sleep(0.01) return nil, "busy" end,
                    b = function()
                        local ok, err = pcall(sd.sleep, 5)
                        ended = tostring(err)
                        return 1
                    end,
                }))
                sd.sleep(0.01)
                return { r[2], r[3], ended }]], { "busy", "a", "cancelled" } },
            { "takes false for a result", [[
                local t = sd.all({ function() return false end })
                return { t[1] }]], { false } },
            { "takes a raise for a failure", [[
                local r = pack(sd.all({ function() error("inside") end }))
                return { r[2]:match("^failed"), r[3] }]], { "failed", 1 } },
            { "works with hundreds", [[
                local fns = {}
                for i = 1, 500 do
                    fns[i] = function() sd.sleep(0.001) return i end
                end
                local sum = 0
                for _, v in ipairs(sd.all(fns)) do sum = sum + v end
                return { sum }]], { 125250 } },
        },
        any = {
            { "gives the first success and its key", [[
                local lost
                local r = pack(sd.any({
                    a = function()
                        local ok, err = pcall(sd.sleep, 5)
                        lost = tostring(err)
                    end,
                    b = function() sd.sleep(0.01) return 7 end,
                    c = function() return nil, "busy" end,
                }))
                sd.sleep(0.01)
                return { r[1], r[2], lost }]], { 7, "b", "cancelled" } },
            { "gives nil and an error when all fail", [[
                local v, err = sd.any({ function() return nil, "busy" end,
                    function() return nil, "busy" end })
                return { v == nil, err }]], { true, "busy" } },
            { "gives nil and an error for nothing", [[
                local v, err = sd.any({})
                return { v == nil, err ~= nil }]], { true, true } },
        },
        timeout = {
            { "gives the results", [[
                return pack(sd.timeout(1, function(a) return a, 2 end, 1))]],
                { n = 2, ["1"] = 1, ["2"] = 2 } },
            { "gives nil and timeout, and cancels", [[
                local ended
                local r = pack(sd.timeout(0.01, function()
                    local ok, err = pcall(sd.sleep, 5)
                    ended = tostring(err)
                end))
                sd.sleep(0.01)
                return { r[2], ended }]], { "timeout", "cancelled" } },
            { "passes an error on", [[
                return pack(sd.timeout(1, function() return nil, "busy" end))]],
                { n = 2, ["2"] = "busy" } },
            { "nests", [[
                return pack(sd.timeout(1, function()
                    return sd.timeout(0.01, function() sd.sleep(5) end)
                end))]], { n = 2, ["2"] = "timeout" } },
        },
        sleep = {
            { "waits at least so long", [[
                local start = sd.now()
                sd.sleep(0.05)
                return { sd.now() - start >= 0.049 }]], { true } },
            { "waits as long late in a turn", [[
                local cpu = os.clock()
                while os.clock() - cpu < 0.08 do end
                local start = sd.now()
                sd.sleep(0.05)
                return { sd.now() - start >= 0.049 }]], { true } },
            { "of 0 lets others run", [[
                local ran = false
                sd.go(function() ran = true end)
                sd.sleep(0)
                return { ran }]], { true } },
            { "raises for what is no time", [[
                local out = {}
                for i, v in ipairs({ -1, "x", {}, 0 / 0 }) do
                    out[i] = { pcall(sd.sleep, v) }
                    out[i] = { out[i][1] }
                end
                out[5] = { (pcall(sd.sleep)) }
                return out]],
                { { false }, { false }, { false }, { false }, { false } } },
            { "raises with the reason where it cannot wait", [[
                local _, a = pcall(string.gsub, "x", "x",
                    function() sd.sleep(0.01) end)
                local _, b = pcall(table.sort, { 2, 1 },
                    function() sd.sleep(0.01) end)
                local co = coroutine.create(function() sd.sleep(0.01) end)
                local _, c = coroutine.resume(co)
                return { a:match("^case:%d+: cannot wait") ~= nil,
                    b:match("^case:%d+: cannot wait") ~= nil,
                    c:match("^case:%d+: cannot wait") ~= nil }]],
                { true, true, true } },
        },
        channel = {
            { "of 0 hands over", [[
                local ch = sd.channel()
                local log = {}
                local h = sd.go(function()
                    for i = 1, 3 do
                        ch:send(i)
                        log[#log + 1] = "sent " .. i
                    end
                end)
                sd.sleep(0.01)
                log[#log + 1] = "waited"
                for _ = 1, 3 do
                    local v = ch:receive()
                    log[#log + 1] = v
                end
                h:wait()
                return { log[1], #log, log[2] ~= "sent 1" }]],
                { "waited", 7, true } },
            { "of n takes n before it waits", [[
                local ch = sd.channel(2)
                local ok1, ok2 = ch:send("a", 0.01), ch:send("b", 0.01)
                local ok3, err = ch:send("c", 0.01)
                return { ok1, ok2, ok3 == nil, err, ch:receive(), ch:receive(),
                    (select(2, ch:receive(0.01))) }]],
                { true, true, true, "timeout", "a", "b", "timeout" } },
            { "keeps order and values, nil and false too", [[
                local ch = sd.channel(3)
                ch:send(false) ch:send(nil) ch:send({ 1 })
                local a = ch:receive()
                local b = pack(ch:receive())
                return { a, b[1] == nil, b[2] == nil, ch:receive()[1] }]],
                { false, true, true, 1 } },
            { "of full 1 lets the next sender in", [[
                local ch = sd.channel(1)
                local h = sd.go(function()
                    for i = 1, 5 do ch:send(i) end
                    ch:close()
                end)
                local out = {}
                while true do
                    local v, err = ch:receive()
                    if err then break end
                    out[#out + 1] = v
                end
                return out]], { 1, 2, 3, 4, 5 } },
            { "forgets who timed out", [[
                local ch = sd.channel()
                ch:send("lost", 0.01)
                ch:receive(0)
                local h = sd.go(function() return ch:receive(0.2) end)
                sd.sleep(0.01)
                ch:send("kept", 0.1)
                return { (h:wait()) }]], { "kept" } },
            { "says closed to senders and receivers", [[
                local ch = sd.channel()
                local a = sd.go(function() return ch:receive() end)
                sd.sleep(0.01)
                ch:close()
                local full = sd.channel(0)
                local b = sd.go(function() return full:send(1) end)
                sd.sleep(0.01)
                full:close()
                return { (select(2, a:wait())), (select(2, b:wait())),
                    (select(2, ch:send(1))), (select(2, ch:receive())) }]],
                { "closed", "closed", "closed", "closed" } },
            { "gives what it holds after close", [[
                local ch = sd.channel(2)
                ch:send(1) ch:send(2) ch:close() ch:close()
                return { ch:receive(), ch:receive(),
                    (select(2, ch:receive())) }]], { 1, 2, "closed" } },
            { "loses nothing when its receiver is cancelled", [[
                local ch = sd.channel()
                local h = sd.go(function() ch:receive() end)
                sd.sleep(0.01)
                h:cancel()
                local w = sd.go(function() return ch:send("v", 0.2) end)
                local v = ch:receive(0.2)
                return { v, (w:wait()) }]], { "v", true } },
            { "has many of each", [[
                local ch, out, sum = sd.channel(3), sd.channel(100), 0
                local fns = {}
                for w = 1, 4 do
                    fns[#fns + 1] = function()
                        for i = 1, 50 do ch:send(i) end
                        return true
                    end
                    fns[#fns + 1] = function()
                        for _ = 1, 50 do
                            local v = ch:receive()
                            sum = sum + v
                        end
                        return true
                    end
                end
                assert(sd.all(fns))
                return { sum }]], { 4 * 1275 } },
            { "raises for a bad size", [[
                return { (pcall(sd.channel, -1)), (pcall(sd.channel, "x")),
                    (pcall(sd.channel, 1.5)) }]], { false, false, false } },
        },
        after = {
            { "runs once, later", [[
                local n, ch = 0, sd.channel(10)
                local t = sd.after(0.01, function() n = n + 1 ch:send(n) end)
                local before = n
                ch:receive(1)
                sd.sleep(0.05)
                return { before, n }]], { 0, 1 } },
            { "does not run when cancelled", [[
                local n = 0
                local t = sd.after(0.01, function() n = n + 1 end)
                t:cancel()
                t:cancel()
                sd.sleep(0.04)
                return { n }]], { 0 } },
            { "outlives an error of its function", [[
                local ch = sd.channel(5)
                sd.after(0, function() error("in after") end)
                sd.after(0.01, function() ch:send("next") end)
                return { (ch:receive(1)) }]], { "next" } },
            { "may wait and has children", [[
                local ch = sd.channel(5)
                sd.after(0, function()
                    local t = sd.all({ function() sd.sleep(0.01) return 1 end })
                    ch:send(t[1])
                end)
                return { (ch:receive(1)) }]], { 1 } },
        },
        every = {
            { "runs until cancelled, also by itself", [[
                local n, t = 0, nil
                local ch = sd.channel(5)
                t = sd.every(0.005, function()
                    n = n + 1
                    if n == 3 then t:cancel() ch:send(n) end
                end)
                ch:receive(1)
                sd.sleep(0.03)
                return { n }]], { 3 } },
            { "goes on after an error", [[
                local n, ch = 0, sd.channel(5)
                local t = sd.every(0.005, function()
                    n = n + 1
                    if n == 2 then ch:send(n) end
                    error("in every")
                end)
                local got = ch:receive(1)
                t:cancel()
                return { got }]], { 2 } },
            { "does not overlap itself", [[
                local now, most, ch = 0, 0, sd.channel(9)
                local t = sd.every(0.002, function()
                    now = now + 1
                    most = math.max(most, now)
                    sd.sleep(0.01)
                    now = now - 1
                    ch:send(1, 0)
                end)
                for _ = 1, 3 do ch:receive(1) end
                t:cancel()
                return { most }]], { 1 } },
            { "and after raise for bad arguments", [[
                return { (pcall(sd.every, "x", print)), (pcall(sd.after, -1,
                    print)), (pcall(sd.after, 1)), (pcall(sd.every, 1, 7)) }]],
                { false, false, false, false } },
        },
        constants = {
            { "are there", [[
                return { sd.node, sd.role, sd.slot, sd.generation,
                    type(sd.now()), sd.config.shop.price,
                    #sd.config.shop.list, sd.config.server.workers,
                    math.abs(sd.now() - os.time()) < 5 }]],
                { "knot", "worker", 0, 1, "number", 5, 2, 1, true } },
            { "make lists and nulls", [[
                return { a = sd.array(), b = sd.array({ 1 }), n = sd.null,
                    m = {}, l = { 1, sd.null } }]],
                { a = {}, b = { 1 }, n = cjson.null, m = {},
                    l = { 1, cjson.null } } },
        },
        json = {
            { "round trips", [[
                local v = sd.json.decode(
                    '{"a":[1,2.5,true,false,"\\u00fc\\n"],"n":null}')
                return { sd.json.encode(v.a), v.n == nil, #v.a }]],
                { '[1,2.5,true,false,"ü\\n"]', true, 5 } },
            { "says what is invalid", [[
                local out = {}
                for i, text in ipairs({ "", "{", "[1,]", "nul", '"\255"', "1 2",
                    "01", "[" .. ("["):rep(200) }) do
                    local v, err = sd.json.decode(text)
                    out[i] = v == nil and err:match("^invalid: .") ~= nil
                end
                return out]], { true, true, true, true, true, true, true, true } },
            { "raises for what it cannot carry", [[
                local cycle = {}
                cycle.c = cycle
                local out = {}
                for i, v in ipairs({ print, { print }, 0 / 0, 1 / 0, "\255",
                    cycle, coroutine.create(print), { [{}] = 1 } }) do
                    local ok, err = pcall(sd.json.encode, v)
                    out[i] = ok
                end
                return out]],
                { false, false, false, false, false, false, false, false } },
            { "keeps empty lists and large integers", [[
                local v = sd.json.decode('{"l":[],"m":{},"i":9007199254740993}')
                return { sd.json.encode(v.l), sd.json.encode(v.m), v.i }]],
                { "[]", "{}", "9007199254740993" } },
        },
        msgpack = {
            { "round trips, binary too", [[
                local v = sd.msgpack.decode(sd.msgpack.encode(
                    { a = { 1, -1, 2.5, "\0\255", true }, [7] = "seven" }))
                return { v.a[1], v.a[2], v.a[3], v.a[4] == "\0\255", v.a[5],
                    v[7] }]], { 1, -1, 2.5, true, true, "seven" } },
            { "says what is invalid", [[
                local out = {}
                for i, text in ipairs({ "", "\145", "\193", "\1\1",
                    "\221\255\255\255\255", ("\145"):rep(200) }) do
                    local v, err = sd.msgpack.decode(text)
                    out[i] = v == nil and err:match("^invalid: .") ~= nil
                end
                return out]], { true, true, true, true, true, true } },
            { "raises for what it cannot carry", [[
                local cycle = {}
                cycle.c = cycle
                return { (pcall(sd.msgpack.encode, print)),
                    (pcall(sd.msgpack.encode, cycle)) }]], { false, false } },
        },
        coroutines = {
            { "of a script's own work", [[
                local co = coroutine.create(function(a)
                    local b = coroutine.yield(a + 1)
                    return b * 2
                end)
                local out = {}
                for v in coroutine.wrap(function()
                    for i = 1, 3 do coroutine.yield(i) end
                end) do out[#out + 1] = v end
                local _, x = coroutine.resume(co, 1)
                local _, y = coroutine.resume(co, 5)
                return { x, y, coroutine.status(co), #out,
                    (coroutine.resume(co)) }]], { 2, 10, "dead", 3, false } },
            { "of sd cannot be resumed or yielded by hand", [[
                local co, out = coroutine.running(), {}
                sd.go(function() out[1] = { pcall(coroutine.resume, co) } end)
                sd.sleep(0.01)
                out[2] = { pcall(coroutine.yield) }
                return { out[1][1], out[1][2]:match("made by sd"), out[2][1] }]],
                { false, "made by sd", false } },
        },
        globals = {
            { "that are undefined raise", [[
                local a = pack(pcall(function() return no_such_name end))
                local b = pack(pcall(function() no_such_name = 1 end))
                return { a[1], a[2]:match("no_such_name"), b[1] }]],
                { false, "no_such_name", false } },
        },
    }

    for _, group in ipairs({ "go", "all", "any", "timeout", "sleep", "channel",
        "after", "every", "constants", "json", "msgpack", "coroutines",
        "globals" }) do
        describe("by " .. group, function()
            for _, case in ipairs(cases[group]) do
                it(case[1], function()
                    assert_case(case)
                end)
            end
        end)
    end

    describe("whose call ends", function()
        it("ends its children", function()
            run([[
                package.loaded.ended = {}
                sd.go(function()
                    local ok, err = pcall(sd.sleep, 5)
                    package.loaded.ended[1] = tostring(err)
                    sd.go(function() end)
                end)
                sd.go(function()
                    sd.go(function()
                        local ok, err = pcall(sd.sleep, 5)
                        package.loaded.ended[2] = tostring(err)
                    end)
                    sd.sleep(5)
                end)
                sd.sleep(0.01)
                return {}]])
            server.until_(function()
                local r = run([[
                    local e = package.loaded.ended
                    return { e[1] or "", e[2] or "" }]])
                return r[1] == "cancelled" and r[2] == "cancelled"
            end, "the children have ended")
        end)

        it("leaves its timers alone", function()
            run([[
                package.loaded.later = {}
                sd.after(0.05, function() package.loaded.later[1] = true end)
                return {}]])
            server.until_(function()
                return run("return { package.loaded.later[1] or false }")[1]
            end, "the timer runs")
        end)
    end)

    describe("past the deadline of its request", function()
        for name, code in pairs({
            sleep = "sd.sleep(5)",
            channel = "sd.channel():receive()",
            ["channel's own time"] = "sd.channel():receive(5)",
            wait = "sd.go(function() sd.sleep(5) end):wait()",
            all = "sd.all({ function() sd.sleep(5) return 1 end })",
            any = "sd.any({ function() sd.sleep(5) end })",
            timeout = "sd.timeout(5, function() sd.sleep(5) end)",
            task = "sd.task('lua'):run('local sd = ... sd.sleep(5)')",
            nested = "sd.go(function() return sd.all({ function()"
                .. " sd.sleep(9) end }) end):wait(7)",
        }) do
            it("ends in " .. name .. " with 504", function()
                local value, status = run(code .. " return { 'late' }", "brief")
                assert.equal(504, status, cjson.encode(value))
                assert.equal(504, value.error.code)
            end)
        end

        it("has timers that are not bound by it", function()
            run([[
                package.loaded.free = {}
                sd.after(0, function()
                    local ok, err = sd.sleep(0.5)
                    package.loaded.free[1] = tostring(ok) .. tostring(err)
                end)
                return {}]], "brief")
            server.until_(function()
                return run("return { package.loaded.free[1] or '' }")[1]
                    == "truenil"
            end, "it sleeps on")
        end)
    end)

    describe("by check", function()
        local function check(value, shape)
            local text = ("return { v = sd.check(sd.json.decode(%q), %s) }")
                :format(value, shape)
            local r, status = run(text)
            if status == 200 then
                return r.v
            end
            assert.equal(400, status, cjson.encode(r))
            assert.equal(400, r.error.code)
            return nil, r.error.message
        end

        for _, case in ipairs({
            { '"abc"', '"string"', "abc" },
            { '"abc"', '"string 3"', nil },
            { '"abc"', '"string 1..3"', "abc" },
            { '"abcd"', '"string 1..3"', false, "3" },
            { '""', '"string 1..3"', false },
            { '"ü"', '"string 2..2"', "ü" },
            { '"abc"', '"string 2.."', "abc" },
            { '"abc"', '"string ..2"', false },
            { "7", '"string"', false, "string" },
            { "7", '"integer"', 7 }, { '"7"', '"integer"', 7 },
            { '"-7"', '"integer -9..9"', -7 },
            { '"07"', '"integer"', 7 },
            { "7.5", '"integer"', false }, { '"x"', '"integer"', false },
            { '"0x10"', '"integer"', false }, { '" 7"', '"integer"', false },
            { '"7 "', '"integer"', false }, { '""', '"integer"', false },
            { '"1e3"', '"integer"', false },
            { '"nan"', '"number"', false }, { '"inf"', '"number"', false },
            { "10", '"integer 0..9"', false, "0..9" },
            { "0", '"integer 0..9"', 0 }, { "9", '"integer 0..9"', 9 },
            { "-1", '"integer 0..9"', false },
            { "7.5", '"number"', 7.5 }, { '"7.5"', '"number"', 7.5 },
            { '"-0.5"', '"number -1..1"', -0.5 },
            { "1.1", '"number 0..1"', false },
            { "true", '"boolean"', true }, { "false", '"boolean"', false, true },
            { '"true"', '"boolean"', false }, { "1", '"boolean"', false },
            { '"red"', '"red|green"', "red" },
            { '"blue"', '"red|green"', false, "red" },
            { "7", '"red|green"', false },
            { '"x"', '"any"', "x" }, { '{"a":1}', '"any"', { a = 1 } },
            { "[1,2]", '{ "integer" }', { 1, 2 } },
            { "[]", '{ "integer" }', {} },
            { '[1,"x"]', '{ "integer" }', false, "2" },
            { '{"a":1}', '{ "integer" }', false, "list" },
            { '"x"', '{ "integer" }', false },
            { '{"a":1,"b":2}', '{ a = "integer" }', { a = 1 } },
            { '{"b":2}', '{ a = "integer" }', false, "a" },
            { '{"b":2}', '{ a = "integer?", b = "integer" }', { b = 2 } },
            { '{"a":"x"}', '{ a = "integer?" }', false, "a" },
            { '{"a":null}', '{ a = "integer?" }', {} },
            { '{"a":null}', '{ a = "integer" }', false, "a" },
            { "{}", '{ ["a?"] = { "integer" } }', {} },
            { '{"a":[1,"x"]}', '{ ["a?"] = { "integer" } }', false,
                "a%[2%]" },
            { '{"a":{"b":{"c":"x"}}}', '{ a = { b = { c = "integer" } } }',
                false, "a%.b%.c" },
            { '{"a":[{"b":1},{"b":"x"}]}', '{ a = { { b = "integer" } } }',
                false, "a%[2%]%.b" },
            { '{"a":[{"b":1,"x":2}]}', '{ a = { { b = "integer" } } }',
                { a = { { b = 1 } } } },
            { "null", '"string?"', nil }, { "null", '"string"', false },
            { "null", '{ a = "string" }', false },
            { "[1]", '{ a = "string" }', false, "a" },
            { '"x"', '{ a = "string" }', false },
        }) do
            if case[2] ~= '"string 3"' then
                it("judges " .. case[1] .. " by " .. case[2], function()
                    local value, err = check(case[1], case[2])
                    if case[3] == false and case[4] ~= true then
                        assert.is_string(err)
                        assert.matches(case[4] or "", err)
                    else
                        assert.is_nil(err)
                        assert.same(case[3], value)
                    end
                end)
            end
        end

        it("raises for a bad shape", function()
            for _, shape in ipairs({ '"strin"', '""', "7", '"string x..y"',
                "nil", '"string 3"' }) do
                local r = run("return { pcall(sd.check, 'abc', " .. shape
                    .. ") }")
                if r[1] ~= false then
                    error(shape .. " is taken for a shape")
                end
                assert.is_string(r[2], shape)
            end
        end)
    end)

    describe("by log", function()
        local function line_with(text)
            return server.until_(function()
                return s:output():match("([^\n]*" .. text .. "[^\n]*)\n")
            end, text)
        end

        it("writes one line with its level, process and fields", function()
            for _, level in ipairs({ "debug", "info", "warn", "error" }) do
                run(("sd.log.%s('level %s', { a = 1, b = 'x' }) return {}")
                    :format(level, level))
                local line = line_with("level " .. level)
                assert.matches("^%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z " .. level
                    .. " worker 0#%d+ g1 ", line)
                assert.matches('"a":1', line)
            end
        end)

        it("escapes control characters", function()
            run("sd.log.info('forged\\n2026 error\\27[31m\\0end\\r') return {}")
            local line = line_with("forged")
            assert.not_matches("[%z\1-\31\127]", line)
            assert.matches("end", line)
        end)

        it("cuts what is long and takes what is no text", function()
            run("sd.log.info(('long'):rep(5000)) sd.log.info(nil) "
                .. "sd.log.info({}) sd.log.info(7) return {}")
            assert.is_true(#line_with("longlong") <= 4096)
        end)

        it("writes fields that cannot be written, or raises", function()
            local r = run("return { pcall(sd.log.info, 'f', { f = print }) }")
            assert.is_false(r[1])
            assert.matches("case:%d+:", r[2])
        end)

        it("limits lines that repeat", function()
            run("for i = 1, 1000 do sd.log.info('again and again') end return {}")
            line_with("again and again")
            local _, n = s:output():gsub("again and again", "")
            assert.is_true(n <= 20, n)
        end)

        it("names the call a Lua error was in", function()
            run("self.context.x = 1 error('named error')")
            assert.matches("%[[%w%-]+%]", line_with("named error"))
        end)
    end)

    it("has the same words in tasks", function()
        local r = run([==[return sd.task("lua"):run([[
            local sd = ...
            local t = sd.all({ a = function() sd.sleep(0.01) return 1 end })
            local ch = sd.channel(1)
            ch:send(2)
            return { sd.role, t.a, (ch:receive()), sd.config.shop.price,
                (select(2, sd.timeout(0.01, sd.sleep, 5))) }]])]==])
        assert.same({ "task", 1, 2, 5, "timeout" }, r)
    end)

    it("leaves no coroutine behind", function()
        local code = [[
            collectgarbage()
            collectgarbage()
            return { collectgarbage("count") }]]
        local work = [[
            for i = 1, 200 do
                sd.go(function() sd.sleep(0.001) end)
                sd.after(0, function() end)
                sd.timeout(0.001, sd.sleep, 1)
            end
            return {}]]
        run(work)
        local before = run(code)[1]
        for _ = 1, 5 do
            run(work)
        end
        local after = run(code)[1]
        assert.is_true(after - before < 1024, after - before)
    end)
end)

describe("a JSON log", function()
    it("has the fields of the page", function()
        local s = server.start({
            ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["config/log.lua"] =
                [[return { level = "info", format = "json" }]],
            ["scripts/controllers/lua.lua"] = files["scripts/controllers/lua.lua"],
        })
        finally(function()
            s:stop()
        end)
        web.ask(s:port("web"), "/lua/run", { method = "POST", body = HEAD
            .. "self.context.x = 1 "
            .. "sd.log.warn('odd \"\\n\\1\\255 text', { a = { 1 } }) "
            .. "error('with\\nlines')" })
        local found = server.until_(function()
            local seen = {}
            for line in s:output():gmatch("([^\n]+)\n") do
                if line:sub(1, 1) == "{" then
                    local e = cjson.decode(line)
                    if e.text:find("odd") then
                        seen.odd = e
                    elseif e.text:find("with") then
                        seen.error = e
                    end
                end
            end
            return seen.odd and seen.error and seen
        end, "both lines")
        assert.equal("warn", found.odd.level)
        assert.equal("worker 0", found.odd.process)
        assert.is_number(found.odd.pid)
        assert.equal(1, found.odd.generation)
        assert.same({ a = { 1 } }, found.odd.fields)
        assert.matches("^%d+%-%d+%-%d+T", found.odd.time)
        assert.equal("error", found.error.level)
        assert.is_string(found.error.request_id)
    end)
end)
