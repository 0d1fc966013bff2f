-- Uids of all workers of a node: who is online, sends, kicks, and what becomes
-- of those whose worker died.
local client = require("spec.support.client")
local server = require("spec.support.server")

local WORKERS = 4

local files = {
    ["config/server.lua"] = [[
return { workers = 4, tasks = 1, name = "n", call_timeout = "2m" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp",
        max_subscriptions = 3 },
    small = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "length", max = 1000 } },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local app = {}
function app.on_uid_closed(uid, last, reason)
    if uid:find("^slow") and sd.redis():setnx("slow", uid) == 1 then
        sd.sleep(100)
    end
    sd.redis():rpush("ends", sd.json.encode({ uid, last, reason }))
    sd.redis():incr("told")
end
function app.on_undeliverable(uid, data, reason)
    if data == nil then data = "unknown" end
    sd.redis():rpush("lost", sd.json.encode({ uid, data, reason }))
end
return app]],
    ["scripts/tasks/desk.lua"] = [[
local sd = require("sd")
return { run = function(self, fn, args)
    local a, b = sd[fn](unpack(args, 1, 4))
    return { a = a, b = b }
end }]],
    ["scripts/controllers/u.lua"] = [[
local sd = require("sd")
local U = {}
function U:login(p)
    local ok, err = self:bind_uid(p.uid, { policy = p.policy })
    if ok then sd.redis():incr("bound") end
    return { ok = ok, err = err, slot = sd.slot }
end
function U:logout() return self:unbind_uid() end
function U:me() return { uid = self.uid, slot = sd.slot } end
function U:sd(p)
    local a, b = sd[p.fn](unpack(p.args, 1, 4))
    return { a = a, b = b }
end
function U:task(p) return sd.task("desk"):run(p.fn, p.args) end
function U:count(p)
    for i = 1, p.n do
        local ok, err
        repeat
            ok, err = sd.send_to_uid(p.uid, { n = i, pad = p.pad })
            if not ok then sd.sleep(0.01) end
        until ok
    end
    return true
end
function U:flood(p)
    for i = 1, p.n do
        local ok, err
        repeat
            ok, err = sd.send_to_uids(p.uids, { n = i, pad = p.pad })
            if not ok then sd.sleep(0.01) end
        until ok
    end
    return true
end
function U:list(p)
    local list = sd.redis():lrange(p.key, 0, -1)
    for i, text in ipairs(list) do list[i] = sd.json.decode(text) end
    return list
end
function U:slow() return { uid = sd.redis():get("slow") } end
function U:settled()
    local redis = sd.redis()
    local bound, told = redis:get("bound") or 0, redis:get("told") or 0
    return sd.count_online() == 0 and tonumber(told) >= tonumber(bound)
end
function U:reset()
    sd.redis():del("ends", "lost", "slow", "bound", "told")
    return true
end
return U]],
}

describe("uids of " .. WORKERS .. " workers", function()
    local s, port, conns, admin
    local run = 0

    setup(function()
        s = server.start(files)
        port = s:port("game")
    end)

    teardown(function()
        s:stop()
    end)

    local function open()
        local c = client.open(port)
        conns[#conns + 1] = c
        return c
    end

    local function are_ready()
        local n = 0
        for _, p in ipairs(s:status().processes) do
            local is_ready = p.role == "worker" and p.state == "ready"
            n = n + (is_ready and server.is_alive(p.pid) and 1 or 0)
        end
        return n == WORKERS
    end

    --- Wait for the successors of those that were killed. The dice may kill one
    --- worker six times: then its next process comes after a minute.
    local function all_ready()
        for _ = 1, 4 do
            if pcall(server.until_, are_ready) then
                return
            end
        end
        error("not all workers are ready")
    end

    --- Call on a conn of its own; nil when its worker has just died.
    local function ask_anyone(path)
        local c = client.open(port)
        local ok, reply = pcall(c.call, c, path)
        c:close()
        return ok and reply and reply.result
    end

    before_each(function()
        conns = {}
        run = run + 1
        admin = open()
    end)

    -- What a test leaves behind ends later than its conns: a hook runs, or the
    -- one who tells what a dead worker had.
    after_each(function()
        for _, c in ipairs(conns) do
            c:close()
        end
        server.until_(function()
            return ask_anyone("u/settled")
        end, "nobody is online, and all ends are told")
        all_ready()
        server.until_(function()
            return ask_anyone("u/reset")
        end, "what was written is gone")
    end)

    --- A uid of this test alone: an end may be told twice when a worker is
    --- killed, and then the second comes when it likes.
    local function own(name)
        return name .. "." .. run
    end

    --- A conn of that worker.
    local function open_at(slot, name)
        for _ = 1, 300 do
            local c = client.open(s:port(name or "game"))
            conns[#conns + 1] = c
            if c:call("u/me").result.slot == slot then
                return c
            end
        end
        error("the worker gets no conn")
    end

    --- A conn of each worker, by slot.
    local function spread()
        all_ready()
        local by_slot, n = {}, 0
        for _ = 1, 300 do
            local c = open()
            local slot = c:call("u/me").result.slot
            if not by_slot[slot] then
                by_slot[slot] = c
                n = n + 1
            end
            if n == WORKERS then
                return by_slot
            end
        end
        error("a worker gets no conn")
    end

    local function login(c, name, policy)
        return c:call("u/login", { uid = own(name), policy = policy }).result
    end

    local function sd(c, fn, ...)
        local r = c:call("u/sd", { fn = fn, args = { ... } })
        assert.is_nil(r.error and r.error.message)
        return r.result.a, r.result.b
    end

    local function task(fn, ...)
        local r = admin:call("u/task", { fn = fn, args = { ... } }).result
        return r.a, r.b
    end

    --- What the hooks have written of uids of this test, once there are `n`.
    local function told(key, n)
        local list
        server.until_(function()
            list = {}
            for _, e in ipairs(admin:call("u/list", { key = key }).result) do
                local name, of = e[1]:match("^(.*)%.(%d+)$")
                if tonumber(of) == run then
                    e[1] = name
                    list[#list + 1] = e
                end
            end
            return #list >= n
        end, n .. " " .. key)
        table.sort(list, function(a, b)
            return a[1] < b[1]
        end)
        return list
    end

    it("are online for each of them and for tasks", function()
        local by_slot = spread()
        local names = {}
        for slot, c in pairs(by_slot) do
            login(c, "u" .. slot)
            names[#names + 1] = own("u" .. slot)
        end
        table.sort(names)
        for _, c in pairs(by_slot) do
            for _, uid in ipairs(names) do
                assert.is_true(sd(c, "uid_is_online", uid))
            end
            assert.equal(WORKERS, sd(c, "count_online"))
            local uids = sd(c, "online_uids")
            table.sort(uids)
            assert.same(names, uids)
        end
        assert.is_true(task("uid_is_online", own("u2")))
        assert.is_false(task("uid_is_online", own("u9")))
        assert.equal(WORKERS, task("count_online"))
        sd(admin, "add_to_group", own("u1"), "team")
        sd(admin, "add_to_group", own("away"), "team")
        assert.same({ own("u1") }, sd(by_slot[2], "group_uids", "team", { online = true }))
        assert.equal(1, task("group_count", "team", { online = true }))
    end)

    it("have a last conn on the node", function()
        local by_slot = spread()
        login(by_slot[0], "ann", "allow")
        login(by_slot[1], "ann", "allow")
        by_slot[0]:call("u/logout")
        assert.same({ { "ann", false, "unbound" } }, told("ends", 1))
        by_slot[1]:call("u/logout")
        assert.same({ "ann", true, "unbound" }, told("ends", 2)[2])
    end)

    it("receive what is sent to them, once and in order", function()
        local by_slot = spread()
        for slot, c in pairs(by_slot) do
            login(c, "u" .. slot)
        end
        for slot, c in pairs(by_slot) do
            by_slot[0]:call("u/count", { uid = own("u" .. slot), n = 100 })
            for n = 1, 100 do
                local got = #c.pushes > 0 and table.remove(c.pushes, 1) or c:receive()
                assert.equal(n, got.n)
            end
        end
        local uids = { own("u0"), own("u1"), own("u2"), own("u3"), own("u1") }
        local big = { big = ("x"):rep(100000) }
        assert.is_true(sd(admin, "send_to_uids", uids, big, { except = own("u2") }))
        for slot, c in pairs(by_slot) do
            if slot ~= 2 then
                assert.equal(100000, #c:receive().big)
            end
        end
        assert.is_true(task("send_to_uids", uids, { n = "task" }))
        for _, c in pairs(by_slot) do
            assert.equal("task", c:receive().n)
        end
    end)

    it("reach all conns of a uid wherever they are", function()
        local by_slot = spread()
        for _, c in pairs(by_slot) do
            login(c, "ann", "allow")
        end
        local ann = own("ann")
        assert.is_true(sd(admin, "send_to_uid", ann, { n = 1 }))
        assert.is_true(sd(admin, "subscribe_uid", ann, "news"))
        assert.is_true(sd(admin, "publish", "news", { n = 2 }))
        assert.is_true(sd(admin, "unsubscribe_uid", ann, "news"))
        assert.is_true(sd(admin, "publish", "news", { n = 3 }))
        assert.is_true(sd(admin, "send_to_uid", ann, { n = 4 }))
        for n = 5, 30 do
            assert.is_true(sd(admin, "deliver_to_uid", ann, { n = n }))
        end
        for _, c in pairs(by_slot) do
            assert.equal(1, c:receive().n)
            assert.equal(2, c:receive().n)
            for n = 4, 30 do
                assert.equal(n, c:receive().n)
            end
        end
        local _, err = sd(admin, "subscribe_uid", "nobody", "news")
        assert.equal("offline", err)
    end)

    it("listen to as much as a conn may, on any worker", function()
        local by_slot = spread()
        for slot, c in pairs(by_slot) do
            login(c, "u" .. slot)
            for i = 1, 3 do
                local uid, filter = own("u" .. slot), "f" .. i
                assert.is_true(sd(admin, "subscribe_uid", uid, filter))
            end
            assert.equal("too_large",
                select(2, sd(admin, "subscribe_uid", own("u" .. slot), "f4")))
            assert.is_true(sd(admin, "unsubscribe_uid", own("u" .. slot), "f3"))
        end
        assert.equal(WORKERS, sd(admin, "topic_count", "f1"))
        assert.equal(WORKERS, task("topic_count", "f2"))
        assert.equal(0, sd(admin, "topic_count", "f3"))
        assert.equal("offline",
            select(2, sd(admin, "unsubscribe_uid", "nobody", "f1")))
        by_slot[0]:close()
        server.until_(function()
            return sd(admin, "topic_count", "f1") == WORKERS - 1
        end, "the subscription of a conn that has left is gone")
    end)

    it("are reported when they are nowhere", function()
        assert.is_true(sd(admin, "send_to_uids", { own("a"), own("b") }, { n = 1 }))
        local lost = told("lost", 2)
        assert.same({ "a", { n = 1 }, "offline" }, lost[1])
        assert.same({ "b", { n = 1 }, "offline" }, lost[2])
    end)

    it("are reported once when all of their conns miss it", function()
        --- A conn of that worker that takes nothing large.
        local function small(slot)
            return open_at(slot, "small")
        end
        local mine = admin:call("u/me").result.slot
        local a, b = small((mine + 1) % WORKERS), small((mine + 2) % WORKERS)
        login(a, "ann", "allow")
        login(b, "ann", "allow")
        local ann = own("ann")
        local pad = ("x"):rep(5000)
        sd(admin, "send_to_uid", ann, { n = 1, pad = pad })
        task("send_to_uid", ann, { n = 2, pad = pad })
        sd(a, "send_to_uid", ann, { n = 3 })
        local here = small(mine)
        login(here, "ann", "allow")
        sd(admin, "send_to_uid", ann, { n = 4, pad = pad })
        local lost = told("lost", 3)
        table.sort(lost, function(x, y)
            return x[2].n < y[2].n
        end)
        for i, n in ipairs({ 1, 2, 4 }) do
            assert.same({ "ann", { n = n, pad = pad } },
                { lost[i][1], lost[i][2] })
        end
        assert.equal(3, a.pushes[1].n) -- before the reply
        assert.equal(3, b:receive().n)
        here:close()
        login(admin, "ann", "allow")
        task("send_to_uid", ann, { n = 5, pad = pad }) -- admin takes it
        server.until_(function()
            admin:call("u/me")
            return admin.pushes[1] and admin.pushes[1].n == 5
        end, "the fifth")
        assert.equal(3, #told("lost", 3))
    end)

    it("are not reported where another of their conns takes it", function()
        local mine = admin:call("u/me").result.slot
        local uids, readers = {}, {}
        for i = 1, 10 do
            uids[i] = own("v" .. i)
        end
        local function bind_all(name, slot, list)
            for i = 1, #uids do
                list[i] = open_at(slot, name)
                login(list[i], "v" .. i, "allow")
            end
        end
        bind_all("small", (mine + 1) % WORKERS, {}) -- these miss all
        bind_all("game", (mine + 2) % WORKERS, readers)
        local times = 100
        admin:send(client.packet("u/flood",
            { n = times, uids = uids, pad = ("x"):rep(5000) }, 9))
        for _, c in ipairs(readers) do
            for n = 1, times do
                assert.equal(n, c:receive().n)
            end
        end
        assert.is_true(admin:receive().result)
        sd(admin, "send_to_uid", own("nobody"), { n = 1 })
        spread() -- each worker has turned since
        assert.same({ { "nobody", { n = 1 }, "offline" } }, told("lost", 1))
    end)

    it("are kicked by a newer conn of another worker", function()
        local by_slot = spread()
        login(by_slot[0], "ann")
        for slot = 1, WORKERS - 1 do
            assert.is_true(login(by_slot[slot], "ann").ok)
            assert.is_true(by_slot[slot - 1]:is_closed())
        end
        assert.is_true(sd(admin, "uid_is_online", own("ann")))
        assert.equal(1, sd(admin, "count_online"))
        for _, e in ipairs(told("ends", WORKERS - 1)) do
            assert.same({ "ann", false, "replaced" }, e)
        end
    end)

    it("are refused while another worker has them", function()
        local by_slot = spread()
        assert.is_true(login(by_slot[0], "ann").ok)
        assert.is_true(login(by_slot[1], "bob").ok)
        assert.equal("refused", login(by_slot[1], "ann", "refuse").err)
        assert.equal(own("bob"), by_slot[1]:call("u/me").result.uid)
        assert.is_true(sd(admin, "uid_is_online", own("bob")))
        by_slot[0]:call("u/logout")
        assert.is_true(login(by_slot[1], "ann", "refuse").ok)
    end)

    --- All conns bind at once, again and again; `policy` leaves one.
    local function race(policy, check)
        for round = 1, 20 do
            local uid = own(policy .. round)
            local by_slot = spread()
            for _, c in pairs(by_slot) do
                c:cast("u/login", { uid = uid, policy = policy })
            end
            check(by_slot, uid)
            for _, c in pairs(by_slot) do
                c:close()
            end
        end
    end

    it("have one conn of those that bind at the same time", function()
        race("kick", function(by_slot, uid)
            server.until_(function()
                local alive = 0
                for slot, c in pairs(by_slot) do
                    local ok, r = pcall(c.call, c, "u/me")
                    if ok and r and r.result and r.result.uid == uid then
                        alive = alive + 1
                    else
                        by_slot[slot] = nil
                    end
                end
                assert.is_true(alive > 0, "nobody has it")
                return alive == 1
            end, "one has it")
        end)
        race("refuse", function(by_slot, uid)
            local n = 0
            for _, c in pairs(by_slot) do
                if c:call("u/me").result.uid == uid then
                    n = n + 1
                end
            end
            assert.equal(1, n)
        end)
    end)

    it("are kicked everywhere", function()
        local by_slot = spread()
        for _, c in pairs(by_slot) do
            login(c, "ann", "allow")
        end
        assert.is_true(task("kick_uid", own("ann"), "enough"))
        for _, c in pairs(by_slot) do
            assert.is_true(c:is_closed())
        end
        local ends = told("ends", WORKERS)
        local last = 0
        for _, e in ipairs(ends) do
            assert.equal("enough", e[3])
            last = last + (e[2] and 1 or 0)
        end
        assert.equal(1, last)
        local _, err = sd(admin, "kick_uid", own("ann"))
        assert.equal("offline", err)
    end)

    --- Let `asker` call `path`; the client of `c` answers with `answer(ask)`.
    local function asked(asker, path, params, c, answer)
        asker:send(client.packet(path, params, 77))
        local ask = c:receive()
        local reply = answer(ask)
        reply.id = ask.id
        c:send(reply)
        local got = asker:receive()
        assert.equal(77, got.id)
        return got.result, got.error
    end

    it("are asked wherever they are, the newest conn of several", function()
        local by_slot = spread()
        local ask = { fn = "ask_uid", args = { own("ann"), { n = 1 } } }
        for slot = 0, WORKERS - 1 do
            login(by_slot[slot], "ann", "allow")
            for _, path in ipairs({ "u/sd", "u/task" }) do
                local r = asked(admin, path, ask, by_slot[slot], function(packet)
                    assert.equal(1, packet.n)
                    return { result = { slot = slot } }
                end)
                assert.equal(slot, r.a.slot)
            end
        end
        local r = asked(admin, "u/sd", ask, by_slot[WORKERS - 1], function()
            return { error = { code = 409, message = "not now" } }
        end)
        assert.is_nil(r.a)
        assert.equal("failed: not now", r.b)
        local _, err = sd(admin, "ask_uid", "nobody", { n = 1 })
        assert.equal("offline", err)
        local far = by_slot[WORKERS - 1]
        _, err = sd(admin, "ask_uid", own("ann"), { n = 1 }, { timeout = 0.05 })
        assert.equal("timeout", err)
        far:receive()
        admin:send(client.packet("u/sd", ask, 5))
        far:receive()
        far:close()
        assert.equal("closed", admin:receive().result.b)
    end)

    it("answer a task while other calls wait for it", function()
        local by_slot = spread()
        local mine = admin:call("u/me").result.slot
        local there = (mine + 1) % WORKERS
        login(by_slot[there], "ann")
        local second = open_at(there)
        local ask = { fn = "ask_uid", args = { own("ann"), { n = 1 } } }
        admin:send(client.packet("u/task", ask, 5))
        local packet = by_slot[there]:receive()
        local other = { fn = "count_online", args = {} }
        second:send(client.packet("u/task", other, 6))
        login(by_slot[mine], "ben")
        by_slot[there]:send({ id = packet.id, result = { n = 2 } })
        assert.equal(2, admin:receive().result.a.n)
        assert.equal(2, second:receive().result.a)
    end)

    it("say what became of a delivery", function()
        local by_slot = spread()
        for slot, c in pairs(by_slot) do
            login(c, "u" .. slot)
            assert.is_true(sd(admin, "deliver_to_uid", own("u" .. slot), { n = 1 }))
            assert.is_true(task("deliver_to_uid", own("u" .. slot), { n = 2 }))
            assert.equal(1, c:receive().n)
            assert.equal(2, c:receive().n)
        end
        local ok, err = sd(admin, "deliver_to_uid", "nobody", { n = 1 })
        assert.is_nil(ok)
        assert.equal("offline", err)
    end)

    it("are sent to as a whole or not at all", function()
        local by_slot = spread()
        local there = (admin:call("u/me").result.slot + 1) % WORKERS
        login(by_slot[there], "ann")
        local pid = s:process("worker", there).pid
        s:kill("STOP", pid)
        local sent, ok, err = 0
        local pad = ("x"):rep(20000)
        repeat
            local data = { n = sent + 1, pad = pad }
            ok, err = sd(admin, "send_to_uid", own("ann"), data)
            sent = sent + (ok and 1 or 0)
        until not ok or sent > 100
        s:kill("CONT", pid)
        assert.equal("busy", err)
        for n = 1, sent do
            assert.equal(n, by_slot[there]:receive().n)
        end
        assert.is_true(sd(admin, "uid_is_online", own("ann")))
    end)

    it("are reported when their worker dies unread", function()
        local by_slot = spread()
        local mine = admin:call("u/me").result.slot
        local there, third = (mine + 1) % WORKERS, (mine + 2) % WORKERS
        local second = open_at(mine)
        login(by_slot[there], "ann")
        login(open_at(there), "ben")
        local ann = own("ann")
        local pid = s:process("worker", there).pid
        s:kill("STOP", pid)
        for n = 1, 3 do
            assert.is_true(sd(admin, "send_to_uid", ann, { n = n }))
        end
        local large = { n = 4, pad = ("x"):rep(100000) }
        assert.is_true(sd(admin, "send_to_uid", own("ben"), large))
        second:send(client.packet("u/sd",
            { fn = "deliver_to_uid", args = { ann, { n = 5 } } }, 7))
        login(by_slot[third], "ann")
        s:kill("KILL", pid)
        assert.is_true(second:receive().result.a)
        local early = by_slot[third].pushes[1] -- amid the login's wait
        assert.equal(5, (early or assert(by_slot[third]:receive())).n)
        local lost = told("lost", 4)
        assert.same({ "ben", "unknown", "offline" }, table.remove(lost))
        table.sort(lost, function(a, b)
            return a[2].n < b[2].n
        end)
        for n = 1, 3 do
            assert.same({ "ann", { n = n }, "offline" }, lost[n])
        end
        assert.is_true(sd(admin, "send_to_uid", ann, { n = 6 }))
        assert.equal(6, by_slot[third]:receive().n)
    end)

    it("are all told of when many die with a worker", function()
        local mine = admin:call("u/me").result.slot
        local victim = (mine + 1) % WORKERS
        local names, count = {}, 0
        while count < 150 do
            local c = open()
            local uid = "m" .. #conns
            if login(c, uid).slot == victim then
                names[uid] = true
                count = count + 1
            end
            assert.is_true(#conns < 2000)
        end
        s:kill("KILL", s:process("worker", victim).pid)
        for _, e in ipairs(told("ends", count)) do
            assert.same({ true, "error" }, { e[2], e[3] })
            names[e[1]] = nil
        end
        assert.is_nil(next(names))
    end)

    it("are told of by another when a worker dies before it has", function()
        local by_slot = spread()
        local victim = (admin:call("u/me").result.slot + 1) % WORKERS
        login(by_slot[victim], "slow1")
        by_slot[victim]:close()
        server.until_(function()
            return admin:call("u/slow").result.uid == own("slow1")
        end, "the hook begins")
        s:kill("KILL", s:process("worker", victim).pid)
        assert.same({ { "slow1", true, "error" } }, told("ends", 1))
    end)

    it("end the asks of those whose worker dies", function()
        local by_slot = spread()
        local mine = admin:call("u/me").result.slot
        local victim = (mine + 1) % WORKERS
        login(by_slot[victim], "ann")
        local ask = { fn = "ask_uid", args = { own("ann"), { n = 1 } } }
        admin:send(client.packet("u/sd", ask, 5))
        assert.equal(1, by_slot[victim]:receive().n)
        s:kill("KILL", s:process("worker", victim).pid)
        assert.equal("crashed", admin:receive().result.b)
        told("ends", 1)
    end)

    it("give no answer to whoever follows a worker that asked", function()
        local by_slot = spread()
        local mine = admin:call("u/me").result.slot
        local asking, there = (mine + 1) % WORKERS, (mine + 2) % WORKERS
        login(by_slot[there], "ann")
        local ben = open_at(there)
        login(ben, "ben")
        local function ask(name)
            return { fn = "ask_uid", args = { own(name), { n = 1 } } }
        end
        --- A conn of a worker whose first call comes from it.
        local function fresh()
            local pid = s:process("worker", asking).pid
            s:kill("KILL", pid)
            server.until_(function()
                local p = s:process("worker", asking)
                return p.pid ~= pid and p.state == "ready"
            end, "the worker is replaced")
            local caller
            repeat
                caller = open()
                local me = caller:call("u/me")
            until me and me.result.slot == asking
            return caller
        end
        fresh():send(client.packet("u/sd", ask("ann"), 5))
        local first = by_slot[there]:receive()
        local caller = fresh()
        caller:send(client.packet("u/sd", ask("ben"), 5))
        local second = ben:receive()
        by_slot[there]:send({ id = first.id, result = "ann" })
        by_slot[there]:call("u/me") -- it was handled
        ben:send({ id = second.id, result = "ben" })
        assert.equal("ben", caller:receive().result.a)
    end)

    it("are told of when their worker dies", function()
        local by_slot = spread()
        local victim
        for slot, c in pairs(by_slot) do
            if slot ~= admin:call("u/me").result.slot then
                victim = victim or slot
                login(c, slot == victim and "gone" or "both" .. slot)
            end
        end
        local other
        for slot in pairs(by_slot) do
            if slot ~= victim then
                other = other or slot
            end
        end
        login(open_at(victim), "twice", "allow")
        login(open_at(other), "twice", "allow")
        s:kill("KILL", s:process("worker", victim).pid)
        local ends = told("ends", 2)
        assert.same({ "gone", true, "error" }, ends[1])
        assert.same({ "twice", false, "error" }, ends[2])
        assert.is_false(sd(admin, "uid_is_online", own("gone")))
        assert.is_true(sd(admin, "uid_is_online", own("twice")))
    end)
end)
