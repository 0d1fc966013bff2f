-- Events: to the handlers of all workers, and of all nodes.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local server = require("spec.support.server")

-- Handlers keep what they got; the controller of each worker shows it.
local files = {
    ["config/server.lua"] = [[
return { workers = 3, tasks = 1, name = "n" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["lib/heard.lua"] = [[
local sd = require("sd")
local heard = { list = {}, slow = 0, generation = sd.generation }
function heard.note(name)
    return function(data, from)
        heard.list[#heard.list + 1] = { name = name, data = data, from = from,
            generation = sd.generation }
    end
end
sd.event.on("loaded", heard.note("loaded"))
sd.event.on("old", heard.note("old"))
sd.event.on("twice", function(data) data.n = data.n + 1; heard.note("t1")(data) end)
sd.event.on("twice", function(data) heard.note("t2")(data) end)
sd.event.on("bad", function() error("handler went wrong") end)
sd.event.on("bad", heard.note("after bad"))
for _, name in ipairs({ "next_event", "spawn", "msgpack_decode" }) do
    sd.event.on(name, heard.note(name))
end
sd.event.on("waits", function(data)
    sd.sleep(0.05)
    heard.note("waited")(data)
end)
-- Large ones are counted only; each emitter's are numbered from 1.
heard.counted, heard.in_order = 0, true
sd.event.on("counted", function(data)
    heard.in_order = heard.in_order and data.i > (heard.last or 0)
    heard.last, heard.counted = data.i, heard.counted + 1
end)
return heard]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local heard = require("heard")
return { on_start = function()
    for _, name in ipairs({ "started", "mark", "tasked", "again" }) do
        sd.event.on(name, heard.note(name))
    end
end }]],
    ["scripts/controllers/e.lua"] = [[
local sd = require("sd")
local heard = require("heard")
local E = {}
local handle
function E:emit(p)
    local ok, err = sd.event.emit(p.name, p.data, p.opts)
    return { ok = ok, err = err, slot = sd.slot }
end
function E:many(p)
    for i = 1, p.n do
        if not sd.event.emit(p.name, { i = i, by = p.by }, p.opts) then
            return i - 1
        end
    end
    return p.n
end
function E:flood(p)
    local n = 0
    local data = ("x"):rep(60000)
    for i = 1, p.n do
        local ok, err = sd.event.emit("nobody", data)
        if not ok then return { n = n, err = err } end
        n = n + 1
    end
    return { n = n }
end
function E:task(p) return { sd.task("t"):emit(p) } end
function E:heard() return { slot = sd.slot, list = heard.list } end
function E:pour(p) return sd.task("t"):pour(p) end
function E:counted() return { n = heard.counted, in_order = heard.in_order } end
function E:on()
    handle = sd.event.on("late", heard.note("late"))
    return true
end
function E:off() handle:cancel() return true end
--- The next n calls of it raise, as they do when there is no memory.
function E:starve(p)
    local core = require("sd.core")
    local real, n = core[p.fn], p.n
    core[p.fn] = function(...)
        n = n - 1
        core[p.fn] = n > 0 and core[p.fn] or real
        error("not enough memory")
    end
    return true
end
function E:misuse(p)
    local ok, err = pcall(sd.event[p.fn], p.a, p.b)
    return { ok = ok, err = tostring(err) }
end
return E]],
    ["scripts/tasks/t.lua"] = [[
local sd = require("sd")
local T = {}
if sd.role == "task" then
    sd.event.on("tasked", function() error("a task handles nothing") end)
end
function T:emit(p)
    for i = 1, p.n or 1 do
        local ok, err = sd.event.emit(p.name, { i = i }, p.opts)
        if not ok then return nil, err end
    end
    return true
end
--- Until somebody has no room.
function T:pour(p)
    local data = { pad = ("x"):rep(60000) }
    for i = 1, p.n do
        data.i = i
        local ok, err = sd.event.emit("counted", data, { cluster = true })
        if not ok then return { n = i - 1, err = err } end
    end
    return { n = p.n }
end
return T]],
}

--- A client on each worker of the node, by slot.
local function clients(s, workers)
    local by_slot, n, all = {}, 0, {} -- all stay open
    server.until_(function()
        local c = client.open(s:port("game"))
        local slot = c:call("e/heard").result.slot
        all[#all + 1] = c
        if not by_slot[slot] then
            by_slot[slot], n = c, n + 1
        end
        return n == workers
    end, "a client on each worker")
    return by_slot
end

--- What the workers have heard under a name, in order, by slot.
local function heard(by_slot, name)
    local found = {}
    for slot, c in pairs(by_slot) do
        found[slot] = {}
        for _, item in ipairs(c:call("e/heard").result.list or {}) do
            if item.name == name then
                table.insert(found[slot], item)
            end
        end
    end
    return found
end

--- Wait until each of them has heard it so many times.
local function all_hear(by_slot, name, n)
    local found
    server.until_(function()
        found = heard(by_slot, name)
        for _, list in pairs(found) do
            if #list < n then
                return false
            end
        end
        return true
    end, "all workers hear " .. name)
    for _, list in pairs(found) do
        assert.equal(n, #list)
    end
    return found
end

describe("events on a node", function()
    local s, by_slot, some

    setup(function()
        s = server.start(files)
        by_slot = clients(s, 3)
        some = select(2, next(by_slot))
    end)

    teardown(function()
        s:stop()
    end)

    it("reach each worker once, with the node that emitted", function()
        assert.is_true(some:call("e/emit", { name = "loaded", data = { x = 1 } }).result.ok)
        for _, list in pairs(all_hear(by_slot, "loaded", 1)) do
            assert.same({ x = 1 }, list[1].data)
            assert.equal("n", list[1].from)
        end
    end)

    it("reach handlers made in on_start", function()
        some:call("e/emit", { name = "started", data = 7 })
        for _, list in pairs(all_hear(by_slot, "started", 1)) do
            assert.equal(7, list[1].data)
        end
    end)

    it("give each handler a copy of its own", function()
        some:call("e/emit", { name = "twice", data = { n = 1 } })
        for _, list in pairs(all_hear(by_slot, "t1", 1)) do
            assert.equal(2, list[1].data.n)
        end
        for _, list in pairs(all_hear(by_slot, "t2", 1)) do
            assert.equal(1, list[1].data.n)
        end
    end)

    it("of one emitter stay in order", function()
        local n, by = 500, 0
        for _, c in pairs(by_slot) do
            c:call("e/on")
        end
        for _, c in pairs(by_slot) do
            by = by + 1
            assert.equal(n, c:call("e/many", { name = "late", n = n, by = by }).result)
        end
        for _, list in pairs(all_hear(by_slot, "late", n * by)) do
            local last = {}
            for _, item in ipairs(list) do
                local d = item.data
                assert.equal((last[d.by] or 0) + 1, d.i)
                last[d.by] = d.i
            end
        end
        for _, c in pairs(by_slot) do
            c:call("e/off")
        end
        some:call("e/emit", { name = "late" })
        some:call("e/emit", { name = "mark" })
        all_hear(by_slot, "mark", 1)
        all_hear(by_slot, "late", n * by) -- none more
    end)

    it("may be waited in, and go on when one goes wrong", function()
        some:call("e/emit", { name = "bad" })
        some:call("e/emit", { name = "waits", data = 1 })
        all_hear(by_slot, "after bad", 1)
        all_hear(by_slot, "waited", 1)
        server.until_(function()
            return s:output():find("handler went wrong.*lib/heard%.lua")
        end, "the error and its stack")
    end)

    it("come from tasks, too", function()
        assert.same({ true }, some:call("e/task", { name = "tasked", n = 1 }).result)
        all_hear(by_slot, "tasked", 1)
        assert.is_nil(s:output():find("a task handles nothing"))
    end)

    -- So many that too few handlers would be left if one each were lost.
    for fn, n in pairs({ next_event = 3, spawn = 3, msgpack_decode = 1100 }) do
        it("go on after want of memory in " .. fn, function()
            some:call("e/starve", { fn = fn, n = n })
            local is_lost = fn == "msgpack_decode"
            assert.equal(n, some:call("e/many", { name = fn, n = n }).result)
            if is_lost then -- each by itself, when it was begun
                some:call("e/emit", { name = fn, data = { i = n + 1 } })
            end
            local slot = some:call("e/heard").result.slot
            local list = all_hear({ [slot] = some }, fn, is_lost and 1 or n)[slot]
            for i, item in ipairs(list) do
                assert.equal(is_lost and n + 1 or i, item.data.i)
            end
        end)
    end

    it("are refused when somebody has no room, never lost", function()
        local r = some:call("e/flood", { n = 20000 }).result
        assert.equal("busy", r.err)
        assert.is_true(r.n > 0)
        assert.is_nil(s:output():find("events were lost"))
    end)

    it("refuse misuse", function()
        local function misuse(fn, a, b)
            local r = some:call("e/misuse", { fn = fn, a = a, b = b }).result
            assert.is_false(r.ok)
            return r.err
        end
        assert.matches("a string expected", misuse("on", 7, 7))
        assert.matches("a function expected", misuse("on", "x", 7))
        assert.matches("1 to 256 bytes", misuse("emit", ""))
    end)

    it("have the handlers of the new code after a reload", function()
        local text, code = s:run("reload")
        assert.equal(0, code, text)
        some:call("e/emit", { name = "old", data = { x = 2 } })
        some:call("e/emit", { name = "again", data = 9 })
        for _, list in pairs(all_hear(by_slot, "old", 1)) do
            assert.equal(2, list[1].generation)
        end
        all_hear(by_slot, "again", 1)
        assert.matches("event handlers end", s:output())
    end)
end)

describe("events while code is reloaded", function()
    local s

    before_each(function()
        s = server.start({
            ["config/server.lua"] = [[
return { workers = 2, tasks = 1, name = "n" }]],
            ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp" } }]],
            ["scripts/app.lua"] = [[
local sd = require("sd")
sd.event.on("n", function(i)
    local f = io.open("heard." .. sd.slot, "a")
    f:write(i, " ", sd.generation, "\n")
    f:close()
end)
return {}]],
            ["scripts/controllers/e.lua"] = [[
local sd = require("sd")
local E = {}
--- Until there is a file "stop"; says how many.
function E:emit()
    local i = 0
    repeat
        for _ = 1, 5 do
            i = i + 1
            while not sd.event.emit("n", i) do sd.sleep(0.01) end
        end
        sd.sleep(0.005)
        local f = io.open("stop")
    until f
    return i
end
return E]],
        })
    end)

    after_each(function()
        s:stop()
    end)

    local function heard_by(slot)
        local list = {}
        for i, generation in (s:read("heard." .. slot) or ""):gmatch("(%d+) (%d+)\n") do
            list[#list + 1] = { tonumber(i), tonumber(generation) }
        end
        return list
    end

    it("are handled once by each worker, in order", function()
        local reloads = 2
        local c = client.open(s:port("game"))
        c:send(client.packet("e/emit", {}, 1))
        server.until_(function()
            return #heard_by(0) > 0
        end, "the first")
        for _ = 1, reloads do
            local text, code = s:run("reload")
            assert.equal(0, code, text)
        end
        local before = #heard_by(0)
        server.until_(function()
            return #heard_by(0) > before
        end, "the new code's first")
        s:write("stop", "")
        local n = c:receive().result
        server.until_(function()
            return #heard_by(0) >= n and #heard_by(1) >= n
        end, "all of them")
        for slot = 0, 1 do
            local generations = {}
            for i, item in ipairs(heard_by(slot)) do
                assert.equal(i, item[1])
                generations[item[2]] = true
            end
            assert.equal(n, #heard_by(slot))
            assert.is_true(generations[1] and generations[reloads + 1])
        end
    end)
end)

describe("events in a cluster #cluster", function()
    local p, a, b

    setup(function()
        local theirs = {}
        for path, text in pairs(files) do
            theirs[path] = path ~= "config/server.lua" and text or nil
        end
        p = cluster_local.launch({ "a", "b" }, theirs)
        a, b = clients(p.a, 2), clients(p.b, 2)
        local _, some = next(a)
        local n = 0
        server.until_(function() -- the nodes have found each other
            n = n + 1
            some:call("e/emit", { name = "started", data = n, opts = { cluster = true } })
            for _, list in pairs(heard(b, "started")) do
                if #list == 0 then
                    return false
                end
            end
            return true
        end, "the nodes hear each other")
    end)

    teardown(function()
        p:stop()
    end)

    it("reach all nodes, in order, and name the emitter's", function()
        local _, some = next(a)
        local n = 300
        assert.equal(n, some:call("e/many",
            { name = "loaded", n = n, by = 1, opts = { cluster = true } }).result)
        for _, side in ipairs({ a, b }) do
            for _, list in pairs(all_hear(side, "loaded", n)) do
                for i, item in ipairs(list) do
                    assert.equal(i, item.data.i)
                    assert.equal("a", item.from)
                end
            end
        end
    end)

    it("stay on their node when nobody said cluster", function()
        local _, some = next(a)
        some:call("e/emit", { name = "waits", data = 1 })
        all_hear(a, "waited", 1)
        some:call("e/emit", { name = "twice", data = { n = 1 }, opts = { cluster = true } })
        all_hear(b, "t2", 1)
        all_hear(b, "waited", 0)
    end)

    it("come from tasks of other nodes", function()
        local _, some = next(b)
        assert.same({ true }, some:call("e/task",
            { name = "bad", n = 20, opts = { cluster = true } }).result)
        for _, side in ipairs({ a, b }) do
            for _, list in pairs(all_hear(side, "after bad", 20)) do
                for i, item in ipairs(list) do
                    assert.equal(i, item.data.i)
                    assert.equal("b", item.from)
                end
            end
        end
    end)

    it("of a task are with the others, or counted, or busy", function()
        local relays = p:dispatch_pids("relay")
        local function all_relays(signal)
            for _, pid in ipairs(relays) do
                p.dispatch:kill(signal, pid)
            end
        end
        all_relays("STOP") -- so that much has to wait
        local _, some = next(a)
        local poured = some:call("e/pour", { n = 4000 }).result
        all_relays("CONT")
        assert.is_true(poured.n > 0)
        assert.truthy(poured.err == nil or poured.err == "busy", poured.err)
        --- What a's workers have not got through, of all they ever sent.
        local function left()
            local dropped, waits = 0, 0
            for _, q in ipairs(cjson.decode((p.a:run("status --cluster --json"))).queues) do
                dropped, waits = dropped + q.dropped, waits + q.in_flight
            end
            return dropped, waits
        end
        local function counted(side)
            local least = math.huge
            for _, c in pairs(side) do
                local result = c:call("e/counted").result
                assert.is_true(result.in_order)
                least = math.min(least, result.n)
            end
            return least
        end
        server.until_(function()
            local dropped, waits = left()
            return waits == 0 and counted(b) + dropped >= poured.n
        end, poured.n .. " are with b or counted")
        assert.equal(poured.n, counted(a))
        assert.is_true(counted(b) <= poured.n)
    end)
end)
