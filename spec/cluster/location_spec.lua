-- Where uids are, in Redis: what is written there, what happens without it, and
-- what it is told afterwards.
local calls = require("spec.support.cluster_calls")
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")

describe("the location of uids", function()
    local t = calls.new({ "a", "b", "c" })
    local own, open, login, call = t.own, t.open, t.login, t.call
    local push = t.push

    setup(function()
        t.start({
            ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    shy = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line", uid_policy = "refuse" },
    polite = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line", route = "polite" },
}]],
            ["scripts/routes/polite.lua"] = [[
return { bye = function(reason) return { bye = reason } end }]],
            ["scripts/controllers/move.lua"] = [[
local sd, core = require("sd"), require("sd.core")
local Move = {}
function Move:away()
    for _, slot in ipairs(core.worker_slots({})) do
        if slot ~= sd.slot then sd.after(0.01, function() core.move_conns(slot, 1) end) end
    end
    return true
end
return Move]],
            ["scripts/app.lua"] = [[
local sd = require("sd")
return {
    on_uid_closed = function(uid, last, reason)
        sd.redis():rpush("ended:" .. uid, reason .. (last and " last" or ""))
    end,
}]],
        }, "SD_SPEC_MOVE=1")
    end)
    teardown(t.stop)
    before_each(t.before)
    after_each(t.after)

    local function redis(words)
        return t.nodes.redis:cli(words)
    end

    local function key(uid)
        return ("'sd:{u:%s}:conns'"):format(own(uid))
    end

    --- How many conns of it Redis knows.
    local function known(uid)
        return tonumber(redis("hlen " .. key(uid)):match("%d+"))
    end

    local function until_known(uid, n)
        server.until_(function()
            return known(uid) == n
        end, ("Redis knows %d conns of %s"):format(n, uid))
    end

    it("obeys the policy of a port, on all nodes", function()
        local x, y = login("a", "ann", "refuse"), open("b", "shy")
        local reply = y:call("c/login", { uid = own("ann") }).result
        assert.equal("refused", reply["2"])
        x:call("c/me")
        assert.same({ true }, open("b"):call("c/login", { uid = own("ann") }).result)
        assert.is_true(x:is_closed())
    end)

    --- Why its bindings have ended, in order, when there were so many.
    local function ends(uid, n)
        local list
        server.until_(function()
            list = {}
            for line in redis("lrange ended:" .. own(uid) .. " 0 -1"):gmatch("%l[%l ]*") do
                list[#list + 1] = line
            end
            return #list >= n
        end, ("%d bindings of %s have ended"):format(n, uid))
        return list
    end

    it("does not end with a conn that one of another node replaces", function()
        local x, y = login("a", "ann"), login("b", "ann")
        assert.is_true(x:is_closed())
        assert.same({ "replaced" }, ends("ann", 1))
        y:close()
        assert.same({ "replaced", "client last" }, ends("ann", 2))
    end)

    it("is not touched by who is refused, who keeps what he had", function()
        local x, y, c = login("a", "ann"), login("b", "bob"), open("b")
        local bind = { uid = own("ann"), policy = "refuse" }
        assert.equal("refused", y:call("c/login", bind).result["2"])
        assert.same({ true }, { call(c, "worker", "deliver_to_uid", own("ann"), { n = 0 }) })
        assert.equal(0, push(x).n)
        y.sock:settimeout(60)
        t.nodes.redis:signal(19) -- while it is asked ...
        y:send(client.packet("c/login", bind, 7))
        for n = 1, 20 do -- ... the other one is sent to
            assert.is_true(call(c, "worker", "send_to_uid", own("ann"), { n = n }))
        end
        local heard = {}
        for n = 1, 20 do
            heard[n] = push(x).n
        end
        t.nodes.redis:signal(18)
        for n = 1, 20 do
            assert.equal(n, heard[n])
        end
        assert.is_string(y:receive().result["2"])
        t.nodes:join()
        assert.is_true(call(c, "worker", "send_to_uid", own("bob"), { n = 1 }))
        assert.equal(1, push(y).n)
        x:close()
        assert.same({ "client last" }, ends("ann", 1))
        server.until_(function()
            return y:call("c/login", bind).result[1] == true
        end, "the uid is free")
        assert.same({ "unbound last" }, ends("bob", 1))
    end)

    it("stays when a conn takes its uid again at once", function()
        local x = login("a", "ann")
        for _ = 1, 20 do
            assert.is_true(x:call("c/again", { uid = own("ann") }).result)
            assert.equal(1, known("ann"))
        end
        assert.is_true(call(open("b"), "worker", "uid_is_online", own("ann")))
    end)

    --- Two conns of a uid on one worker, the older one first.
    local function pair(name, uid)
        local at = {}
        while true do
            local x = login(name, uid, "allow")
            local slot = x:call("c/me").result.slot
            if at[slot] then
                return at[slot], x
            end
            at[slot] = x
        end
    end

    it("is not given up with one of two conns on a worker", function()
        local far = login("a", "ann", "allow")
        local older, newer = pair("b", "ann")
        local c = open("c")
        server.until_(function() -- a relay knows all its places
            assert.is_true(call(c, "worker", "send_to_uid", own("ann"), { n = 1 }))
            far:call("c/me")
            older:call("c/me")
            return #far.pushes > 0 and #older.pushes > 0
        end, "all have it")
        older.pushes, far.pushes = {}, {}
        local before = known("ann")
        newer:close()
        until_known("ann", before - 1)
        assert.is_true(call(c, "worker", "deliver_to_uid", own("ann"), { n = 2 }))
        server.until_(function()
            older:call("c/me")
            local last = older.pushes[#older.pushes]
            return last and last.n == 2
        end, "the other one is found")
    end)

    it("forgets conns that nobody has spoken of for long", function()
        local x = login("a", "ann", "allow")
        local id = x:call("c/me").result.id
        local ghost = id:sub(1, 16) .. ("f"):rep(16)
        local both = redis(([[eval "
            redis.call('hset', KEYS[1], ARGV[1], ARGV[2])
            return redis.call('hlen', KEYS[1])" 1 %s %s '5 beside 1000000000']])
            :format(key("ann"), ghost)) -- at once: an assertion takes it out
        assert.equal("2", both:match("%d+"))
        login("b", "ann", "allow")
        assert.equal(2, known("ann"))
        assert.equal("0", redis(("hexists %s %s"):format(key("ann"), ghost)):match("%d"))
    end)

    it("says goodbye to a conn that has lost to a newer one", function()
        local x = open("a", "polite")
        assert.same({ true }, x:call("c/login", { uid = own("ann") }).result)
        local ghost = ("f"):rep(32)
        redis(("hset %s %s '%d alone %d'"):format(key("ann"), ghost, 2 ^ 52, 2 ^ 33))
        assert.same({ bye = "replaced" }, push(x))
        assert.is_true(x:is_closed())
    end)

    it("does not hold up a conn of our own for those of other nodes", function()
        local x, y = login("a", "ann", "allow"), login("b", "ann", "allow")
        local slot, c = x:call("c/me").result.slot, nil
        server.until_(function() -- on its worker: what is sent is there at once
            c = open("a")
            return c:call("c/me").result.slot == slot
        end, "a conn of the same worker")
        server.until_(function() -- its node knows of the other
            assert.is_true(call(c, "worker", "send_to_uid", own("ann"), { n = 0 }))
            y:call("c/me")
            return #y.pushes > 0
        end, "both have it")
        local relays = t.nodes:dispatch_pids("relay")
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("STOP", pid)
        end
        for n = 1, 20 do
            assert.is_true(call(c, "worker", "send_to_uid", own("ann"), { n = n }))
        end
        x:call("c/me")
        local last = x.pushes[#x.pushes]
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("CONT", pid)
        end
        assert.equal(20, last.n)
        local n = 0
        repeat
            local m = push(y)
            assert.is_true(m.n == n or m.n == n + 1)
            n = m.n
        until n == 20
        t.nodes:join()
    end)

    it("changes, and what a task has sent before does not come later", function()
        local x, c = login("b", "ann"), open("a")
        local function send(n)
            assert.is_true(call(c, "task", "send_to_uid", own("ann"), { n = n }))
        end
        send(1)
        assert.equal(1, push(x).n)
        local relays = t.nodes:dispatch_pids("relay")
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("STOP", pid)
        end
        send(2)
        x:close()
        until_known("ann", 0)
        local y = login("a", "ann")
        for n = 3, 6 do
            send(n)
        end
        for _, pid in ipairs(relays) do
            t.nodes.dispatch:kill("CONT", pid)
        end
        for n = 2, 6 do
            assert.equal(n, push(y).n)
        end
        -- None is under way any more: a worker sends what follows itself.
        for n = 7, 9 do
            send(n)
            assert.equal(n, push(y).n)
        end
        t.nodes:join()
    end)

    for _, policy in ipairs({ "kick", "allow" }) do
        it("goes along when its conn moves to another worker: " .. policy, function()
            local x, c = login("b", "ann", policy), open("c")
            local far = policy == "allow" and login("a", "ann", policy)
            for n = 1, 8 do
                local was = x:call("c/me").result
                server.until_(function()
                    x:call("move/away")
                    return x:call("c/me").result.slot ~= was.slot
                end, "it has moved")
                if not far then -- else the other one may have it alone
                    local args = { c, "worker", "deliver_to_uid", own("ann"), { n = n } }
                    assert.same({ true }, { call(unpack(args)) })
                    assert.equal(n, push(x).n)
                end
                server.until_(function()
                    local id = x:call("c/me").result.id
                    return known("ann") == (far and 2 or 1)
                        and redis(("hexists %s %s"):format(key("ann"), id)):match("1")
                end, "Redis knows where it is now, and nothing else")
            end
            assert.is_true(not far or not far:call("c/me").error)
        end)
    end

    -- So many of each node that one after the other would take a minute.
    local CROWD = 150

    --- Redis forgets everybody by `fn`, which is true if it has seen that; how
    --- long until all are known again.
    local function until_told(fn)
        for i = 1, CROWD do
            login("a", "a" .. i)
            login("b", "b" .. i)
        end
        local mine = "'sd:{u:*." .. t.run .. "}:conns'"
        local function count()
            return select(2, redis("--scan --pattern " .. mine):gsub("\n", ""))
        end
        assert.equal(2 * CROWD, count())
        if not fn(mine) then
            assert.is_true(count() < 2 * CROWD)
        end
        local start = socket.gettime()
        server.until_(function()
            return count() == 2 * CROWD
        end, "all are known again")
        for _, name in ipairs({ "a", "b", "c" }) do
            local n, _, silent = call(open(name), "worker", "count_online")
            assert.same({ 2 * CROWD }, { n, silent })
        end
        return socket.gettime() - start
    end

    it("is told to a Redis that was away and has lost it", function()
        local seconds = until_told(function()
            t.nodes.redis:kill()
            t.nodes.redis:start()
        end)
        print(("%d uids known again after %.1f s"):format(2 * CROWD, seconds))
    end)

    local function forget(keys)
        return tonumber(redis([[eval "
            local n = 0
            for _, key in ipairs(redis.call('keys', ARGV[1])) do
                n = n + redis.call('del', key)
            end
            return n" 0 ]] .. keys):match("%d+"))
    end

    it("is told by a node that stood still until it was taken for dead", function()
        local seconds = until_told(function()
            local pids = t.nodes.b:pids()
            for _, pid in ipairs(pids) do
                t.nodes.b:kill("STOP", pid)
            end
            server.until_(function()
                return t.nodes.a:run("status --cluster"):match("\nb +node +dead ")
            end, "it is taken for dead")
            local n = forget(("'sd:{u:b*.%d}:conns'"):format(t.run)) -- as who reaps it
            assert.equal(CROWD, n)
            for _, pid in ipairs(pids) do
                t.nodes.b:kill("CONT", pid)
            end
            t.nodes:join()
            return true
        end)
        print(("%d uids known again after %.1f s"):format(2 * CROWD, seconds))
    end)

    it("is told after a reconnect, also when nothing seems lost", function()
        local seconds = until_told(function(mine)
            forget(mine)
            redis("client kill type normal")
        end)
        print(("%d uids known again after %.1f s"):format(2 * CROWD, seconds))
    end)

    -- Beyond reload_timeout, when the old code has given it up, or shorter.
    local AWAY = tonumber(os.getenv("SPEC_SECONDS") or 20) > 20 and 34 or 3

    it("has its groups when Redis is back, also in the code of a reload", function()
        local c, x = open("b"), open("a")
        assert.is_true(call(c, "worker", "add_to_group", own("ann"), own("g")))
        x.sock:settimeout(60)
        t.nodes.redis:signal(19)
        local bound = x:call("c/login", { uid = own("ann") })
        local out, status = t.nodes.a:run("reload")
        socket.sleep(AWAY)
        t.nodes.redis:signal(18)
        assert.same({ true }, bound.result)
        assert.equal(0, status, out)
        server.until_(function()
            call(c, "worker", "send_to_group", own("g"), { n = 1 })
            x:call("c/me")
            return #x.pushes > 0
        end, "its group is sent to it")
        t.nodes:join()
    end)

    describe("when Redis refuses some commands", function()
        after_each(function()
            redis("acl setuser default +@all")
        end)

        local function refused(name)
            local stats = redis("info commandstats")
            return tonumber(stats:match("cmdstat_" .. name .. ":.-rejected_calls=(%d+)") or 0)
        end

        it("is taken out of it later", function()
            local x = login("a", "ann")
            redis("acl setuser default -hdel")
            local before = refused("hdel")
            x:close()
            server.until_(function()
                return refused("hdel") > before
            end, "its end is refused")
            assert.equal(1, known("ann"))
            redis("acl setuser default +hdel")
            until_known("ann", 0)
        end)

        it("is not known, and nobody counts as offline", function()
            local x, c = login("a", "ann"), open("b")
            assert.is_true(call(c, "worker", "add_to_group", own("ann"), own("g")))
            redis("acl setuser default -hkeys")
            assert.same({ nil, "unavailable" },
                { call(c, "worker", "uid_is_online", own("ann")) })
            assert.same({ nil, "unavailable" },
                { call(c, "worker", "group_uids", own("g"), { online = true }) })
            redis("acl setuser default +hkeys")
            assert.is_true(call(c, "worker", "uid_is_online", own("ann")))
            x:call("c/me")
        end)
    end)

    describe("when Redis takes nothing", function()
        before_each(function()
            redis("config set min-replicas-to-write 1")
        end)
        after_each(function()
            redis("config set min-replicas-to-write 0")
        end)

        it("is written as soon as it does", function()
            local x = login("a", "ann")
            assert.equal(0, known("ann"))
            assert.is_true(call(open("a"), "worker", "deliver_to_uid", own("ann"), { n = 1 }))
            assert.equal(1, push(x).n)
            redis("config set min-replicas-to-write 0")
            until_known("ann", 1)
        end)

        it("is refused as unavailable where it may not be doubted", function()
            local x = open("a", "shy")
            assert.equal("unavailable", x:call("c/login", { uid = own("ann") }).result["2"])
            redis("config set min-replicas-to-write 0")
            assert.is_true(login("b", "ann", "refuse") ~= nil)
        end)

        it("is decided for one of two, who alone is kicked", function()
            local x = login("a", "ann")
            local y = login("b", "ann")
            redis("config set min-replicas-to-write 0")
            server.until_(function()
                return x:is_closed()
            end, "the older one is put out")
            y:call("c/me")
            until_known("ann", 1)
        end)
    end)
end)
