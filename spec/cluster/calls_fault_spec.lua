-- Calls to other nodes whose processes die, stop or have too much to do: each
-- ends in time, with a word that is true.
local calls = require("spec.support.cluster_calls")
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local server = require("spec.support.server")

local plain = calls.plain

describe("calls between nodes whose processes fail", function()
    local t = calls.new()
    local own, open, login, call = t.own, t.open, t.login, t.call
    local begin, finish, push, hears_nothing = t.begin, t.finish, t.push, t.hears_nothing
    local hears_up_to, count_lost, answer = t.hears_up_to, t.count_lost, t.answer

    setup(t.start)
    teardown(t.stop)
    before_each(t.before)
    after_each(t.after)

    it("tells a task that too much waits, and loses nothing of the rest", function()
        local c, x = open("a"), login("b", "ben")
        local relays = t.nodes:dispatch_pids("relay")
        assert.is_true(call(c, "task", "deliver_to_uid", own("ben"), { n = 0 }))
        assert.equal(0, push(x).n)
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("STOP", pid)
        end
        local r = c:call("c/fill", { uid = own("ben"), most = 1000000 })
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("CONT", pid)
        end
        assert.is_nil(r.error)
        assert.equal("busy", r.result.err)
        server.until_(function()
            return call(c, "task", "deliver_to_uid", own("ben"), { n = 1e9 })
        end, "all that went before has gone")
        -- A relay may have had too much for one receiver: that is reported, as
        -- far as the hook's queue goes.
        local received = hears_up_to(x, 1e9) - 1
        server.until_(function()
            local reported = count_lost(c, own("ben"))
            assert.is_true(received + reported <= r.result.n)
            return received + reported == r.result.n or reported >= 1000
        end, "each was delivered or reported")
        t.nodes:join()
    end)

    it("reports what a task gave to a worker that died", function()
        local c, nobody = open("a"), own("nobody")
        assert.is_true(c:call("c/burst", { uid = nobody, n = 50 }).result[1])
        local workers = {}
        for i = 0, 1 do
            workers[i + 1] = t.nodes.a:process("worker", i).pid
            t.nodes.a:kill("STOP", workers[i + 1])
        end
        t.nodes.redis:cli("set go " .. nobody)
        server.until_(function()
            return t.nodes.redis:cli("get sent"):match("50")
        end, "the task has sent")
        t.nodes.redis:cli("del sent")
        for _, pid in ipairs(workers) do
            t.nodes.a:kill("KILL", pid)
        end
        t.nodes:join()
        local found = {}
        server.until_(function()
            found = {}
            for _, lost in ipairs(open("b"):call("c/lost").result) do
                if lost[1] == nobody then
                    assert.equal("offline", lost[3])
                    found[#found + 1] = lost[2].n
                end
            end
            return #found >= 50
        end, "the task is told")
        table.sort(found)
        for i = 1, 50 do
            assert.equal(i, found[i])
        end
    end)

    it("knows that those of a dead worker are offline", function()
        local c, x = open("a"), login("b", "ben")
        local slot = x:call("c/me").result.slot
        assert.is_true(call(c, "worker", "uid_is_online", own("ben")))
        t.nodes.b:kill("KILL", t.nodes.b:process("worker", slot).pid)
        t.nodes:join()
        server.until_(function()
            return call(c, "worker", "uid_is_online", own("ben")) == false
        end, "it is offline")
        assert.same({ nil, "offline" },
            { call(c, "worker", "deliver_to_uid", own("ben"), {}) })
    end)

    it("works through a reload and after it", function()
        local c, d, x = open("a"), open("b"), login("b", "ben")
        begin(c, "worker", "ask_uid", own("ben"), { q = 1 }, { timeout = 20 })
        local q = push(x)
        for _, name in ipairs({ "a", "b" }) do
            local out, status = t.nodes[name]:run("reload")
            assert.equal(0, status, out)
        end
        answer(x, q, "asked before")
        assert.equal("asked before", (finish(c)))
        begin(d, "task", "ask_uid", own("ben"), { q = 2 })
        answer(x, push(x), "asked after")
        assert.equal("asked after", (finish(d)))
        assert.is_true(call(c, "worker", "deliver_to_uid", own("ben"), { n = 1 }))
        assert.same({ n = 1 }, push(x))
    end)

    it("ends an ask when the worker that asks its client dies", function()
        local c, x = open("a"), login("b", "ben")
        begin(c, "worker", "ask_uid", own("ben"), { q = 1 }, { timeout = 25 })
        push(x)
        local slot = x:call("c/me").result.slot
        t.nodes.b:kill("KILL", t.nodes.b:process("worker", slot).pid)
        -- At its deadline it would be "timeout".
        assert.same({ nil, "closed" }, { finish(c) })
        t.nodes:join()
    end)

    -- Of those that the only task asks, one is open at a time.
    local function open_asks(asks)
        local list = {}
        for i, pair in ipairs(asks) do
            if i % 3 ~= 0 then
                list[i] = push(pair[2])
            end
        end
        return list
    end

    it("brings answers though relays are killed", function()
        local asks = {}
        for i = 1, 20 do
            local from, to = i % 2 == 0 and "a" or "b", i % 2 == 0 and "b" or "a"
            asks[i] = { open(from), login(to, "k" .. i) }
            begin(asks[i][1], i % 3 == 0 and "task" or "worker", "ask_uid", own("k" .. i),
                { q = i }, { timeout = 15 })
        end
        local open_now = open_asks(asks)
        local relays = t.nodes:dispatch_pids("relay")
        assert.equal(2, #relays)
        t.nodes.dispatch:kill("KILL", relays[1])
        for i in pairs(open_now) do
            answer(asks[i][2], open_now[i], i)
        end
        for i in pairs(open_now) do
            assert.equal(i, (finish(asks[i][1])))
        end
        for i = 3, 20, 3 do
            answer(asks[i][2], push(asks[i][2]), i)
            assert.equal(i, (finish(asks[i][1])))
        end
        for _, pair in ipairs(asks) do
            hears_nothing(pair[2]) -- nobody was asked twice
        end
        server.until_(function()
            local now = t.nodes:dispatch_pids("relay")
            return #now == 2 and now[1] ~= relays[1]
        end, "the relay is back")
        t.nodes:join()
    end)
end)

describe("calls to a node that fails", function()
    local nodes

    before_each(function()
        nodes = cluster_local.start({ "a", "b" }, calls.files)
    end)

    after_each(function()
        for _, pid in ipairs(nodes.b:pids()) do
            nodes.b:kill("KILL", pid)
        end
        nodes:stop()
    end)

    local function results(c, fn, ...)
        local r = assert(c:call("c/worker", { fn = fn, args = { ... } })).result.r
        return plain(r[1]), plain(r[2]), plain(r[3])
    end

    it("end in time when it is killed", function()
        local c = client.lines(nodes.a:port("game"))
        local x = client.lines(nodes.b:port("game"))
        x:call("c/login", { uid = "ben" })
        c.last = 1
        c:send(client.packet("c/worker",
            { fn = "ask_uid", args = { "ben", { q = 1 }, { timeout = 25 } } }, 1))
        assert.equal(1, assert(x:receive()).q)
        for _, pid in ipairs(nodes.b:pids()) do
            nodes.b:kill("KILL", pid)
        end
        local r = assert(c:receive()).result.r
        assert.same({ cjson.null, "closed", cjson.null }, r)
        -- Whoever was there is offline once that is known.
        server.until_(function()
            return select(2, results(c, "deliver_to_uid", "ben", {}, { timeout = 2 })) == "offline"
        end, "it is known to be offline")
        server.until_(function()
            local n, _, silent = results(c, "count_online")
            return n == 0 and silent == nil
        end, "nobody waits for its answer")
    end)

    it("are answered in part, with the name of who is silent", function()
        local c = client.lines(nodes.a:port("game"))
        local x = client.lines(nodes.b:port("game"))
        local y = client.lines(nodes.a:port("game"))
        x:call("c/login", { uid = "ben" })
        y:call("c/login", { uid = "ann" })
        assert.same({ 2 }, { results(c, "count_online") })
        y:call("c/listen", { filter = "f" })
        for _, pid in ipairs(nodes.b:pids()) do
            nodes.b:kill("STOP", pid)
        end
        local n, err, silent = results(c, "count_online")
        assert.same({ 1, nil, { "b" } }, { n, err, silent })
        n, err, silent = results(c, "topic_count", "f")
        assert.same({ 1, nil, { "b" } }, { n, err, silent })
    end)
end)
