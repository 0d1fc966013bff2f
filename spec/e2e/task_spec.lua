-- Calls of tasks: what comes back, from whom, and what does when nothing can.
local cjson = require("cjson")
local server = require("spec.support.server")
local socket = require("socket")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 3, task_grace = "200ms",
    task_timeout = "700ms" }]],
    ["config/ports.lua"] = [[
return {
    web = { listen = "127.0.0.1:0", protocol = "http" },
    brief = { listen = "127.0.0.1:0", protocol = "http", timeout = "300ms" },
}]],
    ["scripts/models/counter.lua"] = [[
local Counter = {}
function Counter:next()
    self.n = (self.n or 0) + 1
    return self.n
end
function Counter:seen() return self.context.mark end
return Counter]],
    ["scripts/tasks/sub/deep.lua"] = [[
return { hello = function(self, name) return "hello " .. name end }]],
    ["scripts/tasks/t.lua"] = [[
local sd = require("sd")
local T = { field = 7 }
setmetatable(T, { __index = { inherited = function() return 1 end } })
function T:echo(...) return { n = select("#", ...), ... } end
function T:first(v) return v end
function T:none() end
function T:err(text, code) return nil, text, code end
function T:fail(code, text) sd.fail(code, text) end
function T:raise() error("broken inside") end
function T:raise_table() error({}) end
function T:fn() return print end
function T:pid() return require("ffi").C.getpid() end
function T:nap(s, path)
    if path then self:touch(path) end
    local ok, err = sd.sleep(s)
    return { ok = ok, err = err, pid = T.pid() }
end
function T:spin() while true do end end
function T:_private() return 1 end
function T:shell() return os.execute("true") == 0 or os.execute("true") end
function T:popen()
    local f = io.popen("echo hi")
    local text = f:read("*a")
    f:close()
    return text
end
function T:whoami()
    return { role = sd.role, slot = sd.slot, node = sd.node,
        generation = sd.generation }
end
function T:context()
    local c = self.context
    local out = { mark = c.mark, id = c.request_id, deadline = c.deadline }
    c.mark = "changed"
    c.new = 1
    return out
end
function T:model()
    local a, b = sd.model("counter"), sd.model("counter")
    a:next()
    return { n = b:next(), mark = b:seen(), same = a == b }
end
function T:self_model()
    return self:model("counter"):next()
end
function T:inside(v)
    return sd.task("t"):first({ got = v })
end
function T:inside_err()
    return sd.task("t"):fail(418, "deep")
end
function T:wait_cancelled(path)
    local limit = sd.now() + 20
    while not self.cancelled() and sd.now() < limit do end
    local f = io.open(path, "w")
    f:write(tostring(self:cancelled()))
    f:close()
    return 1
end
function T:sleep_cancelled(path)
    local limit = sd.now() + 20
    while not self.cancelled() and sd.now() < limit do sd.sleep(0.01) end
    local f = io.open(path, "w")
    f:write(tostring(self.cancelled()))
    f:close()
end
function T:touch_busy(path, word)
    self:touch(path)
    return nil, word
end
function T:until_file(path, v)
    self:touch(path .. ".begun")
    local f
    repeat
        sd.sleep(0.01)
        f = io.open(path)
    until f
    f:close()
    return v
end
function T:touch(path)
    local f = io.open(path, "a")
    f:write("x")
    f:close()
end
function T:big(n) return ("x"):rep(n) end
function T:size(s) return #s end
function T:parallel()
    local r = sd.all({ a = function() sd.sleep(0.05) return 1 end,
        b = function() return 2 end })
    return r
end
function T:exit() os.exit(3) end
require("ffi").cdef("int getpid(void);")
return T]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C = {}
local function result(...)
    return { n = select("#", ...), r = (...), err = (select(2, ...)),
        code = (select(3, ...)) }
end
-- calls p.method of task p.task with p.args
function C:call(p)
    local task = sd.task(p.task or "t", { timeout = p.timeout, wait = p.wait })
    return result(task[p.method](task, unpack(p.args or {}, 1, p.n or 10)))
end
function C:whole(p) return sd.task("t")[p.method](sd.task("t"), unpack(p.args)) end
function C:misuse(p)
    local ok, why = pcall(function()
        if p.what == "task" then sd.task("nope") end
        if p.what == "method" then sd.task("t"):nope() end
        if p.what == "private" then sd.task("t"):_private() end
        if p.what == "inherited" then sd.task("t"):inherited() end
        if p.what == "function" then sd.task("t"):first(print) end
        if p.what == "cycle" then
            local t = {}
            t.t = t
            sd.task("t"):first(t)
        end
        if p.what == "timeout" then sd.task("t", { timeout = "x" }):none() end
    end)
    return { ok = ok, why = why }
end
function C:nils()
    local task = sd.task("t")
    return task:echo(nil, 1, nil, "x", nil)
end
function C:share()
    self.context.mark = "mine"
    local seen = sd.task("t"):context()
    return { seen = seen, mark = self.context.mark, new = self.context.new,
        id = self.context.request_id, model = sd.task("t"):model() }
end
function C:parallel(p)
    local fns = {}
    for i = 1, p.n do
        fns[i] = function() return sd.task("t"):nap(p.s) end
    end
    local list, err = sd.all(fns)
    return { list = list, err = err }
end
function C:fan(p)
    local done, errs, waits = 0, {}, {}
    for i = 1, p.n do
        waits[i] = sd.go(function()
            local v, err = sd.task("t"):first(i)
            if v == i then
                done = done + 1
            else
                err = tostring(err)
                errs[err] = (errs[err] or 0) + 1
            end
        end)
    end
    for i = 1, p.n do waits[i]:wait() end
    return { done = done, errs = errs }
end
function C:in_vain(p)
    local naps, errs = {}, {}
    for i = 1, 6 do -- two for each process
        naps[i] = sd.go(function()
            return sd.task("t", { timeout = 20 }):nap(1)
        end)
    end
    sd.sleep(0.02)
    errs[1] = select(2, sd.task("t", { timeout = 0.02 }):touch(p.path))
    local h = sd.go(function() return sd.task("t"):touch(p.path) end)
    sd.sleep(0.02)
    h:cancel()
    errs[2] = select(2, h:wait())
    for i = 1, 6 do naps[i]:wait() end
    sd.task("t"):first(1)
    return { errs = errs }
end
function C:casts(p)
    local taken, errs = 0, {}
    for _ = 1, p.n do
        local ok, err = sd.task("t", { wait = false }):touch(p.path)
        if ok then
            taken = taken + 1
        else
            errs[err] = (errs[err] or 0) + 1
        end
    end
    return { taken = taken, errs = errs }
end
function C:big(p)
    local s = ("y"):rep(p.n)
    local n, err = sd.task("t"):size(s)
    return { n = n, err = err }
end
function C:big_back(p)
    local s, err = sd.task("t"):big(p.n)
    return { n = s and #s, err = err, right = s == ("x"):rep(p.n) }
end
function C:forbidden()
    local out = {}
    for _, name in ipairs({ "execute", "exit" }) do
        out[name] = { pcall(os[name], "true") }
    end
    out.popen = { pcall(io.popen, "true") }
    return out
end
return C]],
}

describe("a task", function()
    local s, port, worker

    setup(function()
        s = server.start(files)
        port = {}
        for _, p in ipairs(s:status().ports) do
            port[p.name] = p.port
        end
        worker = s:process("worker").pid
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    local function ask(method, params, name)
        return web.call(port[name or "web"], "/c/" .. method, params)
    end

    local function call(method, args, more)
        local p = more or {}
        p.method, p.args, p.n = method, args or {}, args and #args or 0
        local status, r = ask("call", p)
        assert.equal(200, status, cjson.encode(r))
        return r
    end

    local function resident()
        return server.memory(worker) / 1024
    end

    --- Wait until every task process is ready.
    local function all_ready()
        return server.until_(function()
            local pids = {}
            for _, p in ipairs(s:status().processes) do
                if p.role == "task" and p.state == "ready" then
                    pids[#pids + 1] = p.pid
                end
            end
            return #pids == 3 and pids
        end, "all tasks are ready")
    end

    --- A call that runs beside the spec: its answer later.
    local function begin(method, params, name)
        local c = web.open(port[name or "web"])
        c:send(web.text("/c/" .. method, { json = params }))
        return function()
            local r = assert(c:reply())
            c:close()
            return cjson.decode(r.body), r.status
        end
    end

    describe("answers", function()
        it("with its result", function()
            for _, v in ipairs({ 7, "x", true, false, { a = 1 }, { 1, 2 } }) do
                assert.same(v, call("first", { v }).r)
            end
            assert.is_nil(call("none").r)
            assert.is_nil(call("none").err)
        end)

        it("in folders", function()
            assert.equal("hello x",
                call("hello", { "x" }, { task = "sub/deep" }).r)
        end)

        it("with nils in their places", function()
            local _, r = ask("nils", {})
            assert.equal(5, r.n)
            assert.equal(1, r["2"] or r[2])
            assert.equal("x", r["4"] or r[4])
        end)

        it("with nil and its error", function()
            local r = call("err", { "no money", 5 })
            assert.same({ "no money", 5 }, { r.err, r.code })
            r = call("err", { "busy: now" })
            assert.equal("busy: now", r.err)
        end)

        it("with the code of sd.fail", function()
            local r = call("fail", { 418, "tea" })
            assert.same({ "failed: tea", 418 }, { r.err, r.code })
            local status, e = ask("whole", { method = "fail",
                args = { 418, "tea" } })
            assert.equal(418, status)
            assert.same({ error = { code = 418, message = "tea" } }, e)
        end)

        it("with failed when it raises", function()
            local r = call("raise")
            assert.matches("^failed", r.err)
            assert.equal(500, r.code)
            assert.equal(500, (ask("whole", { method = "raise", args = {} })))
            assert.matches("tasks/t%.lua:%d+: broken inside[^\n]*stack",
                s:output())
            assert.matches("^failed", call("raise_table").err)
            assert.matches("^failed", call("fn").err)
        end)

        it("from a process of its own", function()
            local r = call("whoami").r
            assert.equal("task", r.role)
            assert.is_number(r.slot)
            assert.equal(1, r.generation)
            assert.not_equal(worker, call("pid").r)
        end)

        it("with waits, children and models inside", function()
            assert.same({ a = 1, b = 2 }, call("parallel").r)
            assert.equal(1, call("self_model").r)
            assert.equal(1, call("self_model").r)
        end)

        it("once, also with a word that says it was not done", function()
            for _, word in ipairs({ "unavailable", "busy" }) do
                local r = call("touch_busy", { s.dir .. "/" .. word, word })
                assert.equal(word, r.err)
                assert.equal("x", s:read(word))
            end
        end)

        it("with what a task inside it answered", function()
            assert.same({ got = { 1 } }, call("inside", { { 1 } }).r)
            local r = call("inside_err")
            assert.same({ "failed: deep", 418 }, { r.err, r.code })
        end)
    end)

    for _, what in ipairs({ "task", "method", "private", "inherited",
        "function", "cycle", "timeout" }) do
        it("raises at the caller's line for a wrong " .. what, function()
            local _, r = ask("misuse", { what = what })
            assert.is_false(r.ok)
            assert.matches("controllers/c%.lua:%d+: ", r.why)
        end)
    end

    it("gets a copy of the context", function()
        local _, r = ask("share", {})
        assert.equal("mine", r.seen.mark)
        assert.equal(r.id, r.seen.id)
        assert.is_number(r.seen.deadline)
        assert.equal("mine", r.mark)
        assert.is_nil(r.new)
        assert.same({ n = 2, mark = "mine", same = true }, r.model)
    end)

    it("may run programs, a worker may not", function()
        assert.is_true(call("shell").r)
        assert.equal("hi\n", call("popen").r)
        local _, r = ask("forbidden", {})
        for _, name in ipairs({ "execute", "exit", "popen" }) do
            assert.is_false(r[name][1], name)
            assert.matches("this worker", r[name][2], name)
        end
    end)

    it("counts from 0 in status, as workers do", function()
        all_ready()
        for i = 0, 2 do
            assert.equal("ready", s:process("task", i).state)
        end
        assert.matches("task 2 +%d+ ready", (s:run("status")))
    end)

    describe("without waiting", function()
        it("runs once", function()
            local path = s.dir .. "/touched"
            local _, r = ask("casts", { n = 5, path = path })
            assert.equal(5, r.taken)
            server.until_(function()
                return s:read("touched") == "xxxxx"
            end)
        end)

        it("logs its error", function()
            local _, r = ask("call", { method = "raise", wait = false })
            assert.is_true(r.r)
            server.until_(function()
                return s:output():find("broken inside", 1, true)
            end)
        end)

        it("ends with its task_timeout", function()
            all_ready()
            local _, r = ask("call", { method = "spin", wait = false, args = {} })
            assert.is_true(r.r)
            server.until_(function()
                return s:output():find("task_grace", 1, true)
            end, "it is ended")
            all_ready()
        end)
    end)

    describe("run beside others", function()
        it("has a process of its own", function()
            all_ready()
            local _, r = ask("parallel", { n = 3, s = 0.2 })
            local pids = {}
            for _, one in ipairs(r.list) do
                pids[one.pid] = true
            end
            local n = 0
            for _ in pairs(pids) do
                n = n + 1
            end
            assert.equal(3, n)
        end)

        it("does not keep others waiting while one is free", function()
            all_ready()
            local slow = web.open(port.web)
            slow:send(web.text("/c/call",
                { json = { method = "nap", args = { 1 }, n = 1 } }))
            for i = 1, 30 do
                assert.equal(i, call("first", { i }).r)
            end
            assert.is_true(slow:is_idle(), "all were done before it")
            assert.is_true(web.json(slow:reply()).r.ok)
            slow:close()
        end)

        it("is one of a thousand", function()
            all_ready()
            ask("fan", { n = 1000 })
            local before = resident()
            for _ = 1, 3 do
                local _, r = ask("fan", { n = 1000 })
                assert.same({}, r.errs)
                assert.equal(1000, r.done)
            end
            assert.is_true(resident() - before < 8192)
        end)
    end)

    describe("too late", function()
        it("is timeout for the caller, by its own time", function()
            all_ready()
            local start = socket.gettime()
            local r = call("nap", { 5 }, { timeout = 0.15 })
            assert.equal("timeout", r.err)
            assert.is_true(socket.gettime() - start < 4.5)
            all_ready()
            assert.equal(1, call("first", { 1 }).r)
        end)

        it("is timeout for the caller, by the request's", function()
            local status, r = ask("call",
                { method = "nap", args = { 5 }, n = 1 }, "brief")
            assert.equal(504, status, cjson.encode(r))
        end)

        it("is killed when it spins, and replaced", function()
            local before = all_ready()
            local r = call("spin", {}, { timeout = 1 })
            assert.equal("timeout", r.err)
            local after = server.until_(function()
                local pids = all_ready()
                local old = 0
                for _, pid in ipairs(pids) do
                    for _, other in ipairs(before) do
                        old = old + (pid == other and 1 or 0)
                    end
                end
                return old == 2 and pids
            end, "one is replaced")
            assert.equal(3, #after)
            for i = 1, 10 do
                assert.equal(i, call("first", { i }).r)
            end
        end)

        it("does not run when nobody waits any more", function()
            all_ready()
            local path = s.dir .. "/in_vain"
            local _, r = ask("in_vain", { path = path })
            assert.same({ "timeout", "cancelled" }, r.errs)
            all_ready()
            assert.is_nil(s:read("in_vain"))
        end)

        it("learns that the caller has gone", function()
            all_ready()
            local path = s.dir .. "/cancelled"
            local r = call("wait_cancelled", { path }, { timeout = 2 })
            assert.equal("timeout", r.err)
            server.until_(function()
                return s:read("cancelled") == "true"
            end)
            all_ready()
        end)

        it("learns it also after it has waited itself", function()
            all_ready()
            local r = call("sleep_cancelled", { s.dir .. "/napped" },
                { timeout = 2 })
            assert.equal("timeout", r.err)
            server.until_(function()
                return s:read("napped") == "true"
            end)
            all_ready()
        end)
    end)

    describe("whose process dies", function()
        it("is crashed for its caller alone", function()
            local victim = all_ready()[1]
            local waits = {}
            for i = 1, 3 do
                waits[i] = begin("call", { method = "nap",
                    args = { 0.6, s.dir .. "/napping" }, n = 2 })
            end
            server.until_(function()
                return s:read("napping") == "xxx"
            end, "all have begun")
            s:kill("KILL", victim)
            local crashed, fine = 0, 0
            for i = 1, 3 do
                local r = waits[i]()
                if r.err == "crashed" then
                    crashed = crashed + 1
                elseif r.r and r.r.ok then
                    fine = fine + 1
                end
            end
            assert.same({ 1, 2 }, { crashed, fine })
            all_ready()
            assert.equal(1, call("first", { 1 }).r)
        end)

        it("by its own hand is crashed too", function()
            all_ready()
            local r = call("exit")
            assert.is_true(r.err == "crashed" or r.err:find("^failed") ~= nil,
                r.err)
            all_ready()
        end)

        it("is made up for while calls go on", function()
            local pids = all_ready()
            local list = {}
            for i = 1, 30 do
                list[i] = begin("call", { method = "nap", args = { 0.02 },
                    n = 1 })
                if i % 10 == 5 then
                    s:kill("KILL", table.remove(pids))
                end
            end
            local outcomes = {}
            for i = 1, 30 do
                local r = list[i]()
                local word = r.err or "fine"
                outcomes[word] = (outcomes[word] or 0) + 1
            end
            assert.is_true(outcomes.fine >= 24, cjson.encode(outcomes))
            assert.equal(30, outcomes.fine + (outcomes.crashed or 0),
                cjson.encode(outcomes))
            all_ready()
        end)
    end)

    describe("with much to carry", function()
        local MAX = 8 * 1024 * 1024

        it("takes and gives nearly 8 MiB", function()
            for _, n in ipairs({ 65536, 1048576, MAX - 1024 }) do
                local _, r = ask("big", { n = n })
                assert.same({ n = n }, r)
                _, r = ask("big_back", { n = n })
                assert.equal(n, r.n, r.err)
                assert.is_true(r.right)
            end
        end)

        it("is too_large beyond, there and back", function()
            local _, r = ask("big", { n = MAX + 1 })
            assert.equal("too_large", r.err)
            _, r = ask("big_back", { n = MAX + 1 })
            assert.equal("too_large", r.err)
            assert.equal(1, call("first", { 1 }).r)
        end)

        it("keeps memory flat", function()
            for _ = 1, 5 do
                ask("big_back", { n = MAX - 1024 })
            end
            local before = resident()
            for _ = 1, 15 do
                ask("big_back", { n = MAX - 1024 })
            end
            assert.is_true(resident() - before < 65536, resident() - before)
        end)
    end)
end)

describe("on_start", function()
    it("may call tasks, wait, and have timers and children", function()
        local s = server.start({
            ["config/server.lua"] = "return { workers = 2, tasks = 1 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["scripts/tasks/t.lua"] = files["scripts/tasks/t.lua"],
            ["scripts/controllers/c.lua"] = [[
return { seen = function() return { seen = require("seen") } end }]],
            ["scripts/seen.lua"] = "return {}",
            ["scripts/app.lua"] = [[
local sd = require("sd")
local seen = require("seen")
local App = {}
sd.after(0, function() seen.after_of_file = true end)
function App.on_start(why)
    if sd.role == "task" then return end
    seen.why = why
    seen.task = sd.task("t"):first("answered")
    seen.big = #sd.task("t"):big(200000)
    sd.sleep(0.01)
    seen.all = sd.all({ a = function() sd.sleep(0.01) return 1 end })
    sd.every(0.01, function() seen.every = (seen.every or 0) + 1 end)
end
return App]],
        })
        finally(function()
            s:stop()
        end)
        local port = s:port("web")
        local function look(why)
            return server.until_(function()
                local _, r = web.call(port, "/c/seen")
                local seen = r.seen
                return seen.why == why and (seen.every or 0) > 2 and seen
            end, why)
        end
        for _, why in ipairs({ "start", "respawn" }) do
            local seen = look(why)
            assert.equal("answered", seen.task)
            assert.equal(200000, seen.big)
            assert.same({ a = 1 }, seen.all)
            assert.is_true(seen.after_of_file)
            s:kill("KILL", s:process("worker", 0).pid)
        end
    end)
end)

describe("a task whose caller's process dies", function()
    it("does not answer its successor", function()
        local s = server.start({
            ["config/server.lua"] = "return { workers = 1, tasks = 2 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["scripts/tasks/t.lua"] = files["scripts/tasks/t.lua"],
            ["scripts/controllers/c.lua"] = files["scripts/controllers/c.lua"],
        })
        finally(function()
            s:stop()
        end)
        local port = s:port("web")
        local function ask(name, v)
            local c = web.open(port)
            c:send(web.text("/c/call", { json = { method = "until_file",
                args = { s.dir .. "/" .. name, v }, n = 2 } }))
            return c
        end
        local function has_begun(name)
            server.until_(function()
                return s:has(name .. ".begun")
            end, name .. " has begun")
        end

        ask("first", "first")
        has_begun("first")
        local old = s:process("worker").pid
        s:kill("KILL", old)
        server.until_(function()
            local p = s:process("worker")
            return p.pid ~= old and p.state == "ready"
        end)
        local c = ask("second", "second")
        has_begun("second")
        s:write("first", "")
        -- Runs where the first has ended: the other process is busier.
        local _, r = web.call(port, "/c/call", { method = "first",
            args = { 3 }, n = 1 })
        assert.equal(3, r.r)
        s:write("second", "")
        assert.equal("second", cjson.decode(assert(c:reply()).body).r)
    end)
end)

describe("without task processes", function()
    it("a call says unavailable", function()
        local s = server.start({
            ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["scripts/tasks/t.lua"] = files["scripts/tasks/t.lua"],
            ["scripts/controllers/c.lua"] = files["scripts/controllers/c.lua"],
        })
        finally(function()
            s:stop()
        end)
        local _, r = web.call(s:port("web"), "/c/call",
            { method = "none", args = {} })
        assert.equal("unavailable", r.err)
    end)
end)
