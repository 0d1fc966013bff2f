-- on_uid_closed for people of a node that died, and who is the last of several
-- nodes.
local calls = require("spec.support.cluster_calls")
local server = require("spec.support.server")

describe("on_uid_closed in a cluster", function()
    local t = calls.new({ "a", "b", "c" })
    local own, open, login, call = t.own, t.open, t.login, t.call

    -- Its hook waits while there is a key of the uid.
    local APP = [[
local sd = require("sd")
return {
    on_uid_closed = function(uid, last, reason)
        sd.redis():incr("begun:" .. uid)
        while sd.redis():exists("hold:" .. uid) == 1 do sd.sleep(0.05) end
        sd.redis():rpush("ended:" .. uid, reason .. (last and " last" or ""))
    end,
}]]

    setup(function()
        t.start({ ["scripts/app.lua"] = APP }, "SD_SPEC_ROUND=4 SD_SERVER_CALL_TIMEOUT=5s")
    end)
    teardown(t.stop)
    before_each(t.before)
    after_each(t.after)

    local function redis(words)
        return t.nodes.redis:cli(words)
    end

    local function ends_now(uid)
        local list = {}
        for line in redis("lrange ended:" .. own(uid) .. " 0 -1"):gmatch("%l[%l ]*") do
            list[#list + 1] = line
        end
        return list
    end

    --- Why its bindings have ended, in order, when there were so many.
    local function ends(uid, n)
        return server.until_(function()
            local list = ends_now(uid)
            return #list >= n and list
        end, ("%d bindings of %s have ended"):format(n, uid))
    end

    local function boot_of(conn)
        return conn:call("c/me").result.id:sub(1, 16)
    end

    local function kill(name)
        local s = t.nodes[name]
        for _, pid in ipairs(s:pids()) do
            s:kill("KILL", pid)
        end
    end

    local function start(name)
        t.nodes[name]:launch()
        t.nodes[name]:wait_ready()
        t.nodes:join()
    end

    --- Nothing of that boot is left in Redis.
    local function until_reaped(boot)
        local function what_is_left()
            return redis("hgetall sd:nodes") .. redis("keys 'sd:{n:*'")
                .. redis("zrange sd:{n:" .. boot .. "}:uids 0 -1")
        end
        server.until_(function()
            return redis("hexists sd:nodes " .. boot):match("0")
                and redis("exists sd:{n:" .. boot .. "}:uids"):match("0"), what_is_left
        end, "node " .. boot .. " is reaped")
    end

    it("is the last when no other node has the uid any more", function()
        local x, y, z = login("a", "ann", "allow"), login("b", "ann", "allow"),
            login("c", "ann", "allow")
        y:close()
        assert.same({ "client" }, ends("ann", 1))
        x:close()
        assert.same({ "client", "client" }, ends("ann", 2))
        z:close()
        assert.same({ "client", "client", "client last" }, ends("ann", 3))
    end)

    it("is not told of who was refused, and is not to be", function()
        local x, y = login("a", "ann", "refuse"), open("b")
        local list = "sd:{n:" .. boot_of(y) .. "}:uids"
        local bound = y:call("c/login", { uid = own("ann"), policy = "refuse" }).result
        assert.equal("refused", bound["2"])
        login("b", "bob")
        server.until_(function()
            return redis("zcard " .. list):match("%d+") == "1"
        end, "bob alone is listed")
        x:close()
        assert.same({ "client last" }, ends("ann", 1))
    end)

    it("is the last of one at least when all leave at once", function()
        for n = 1, 10 do
            local x, y = login("a", "ann" .. n, "allow"), login("b", "ann" .. n, "allow")
            x:close()
            y:close()
            local list = table.concat(ends("ann" .. n, 2), ",")
            assert.truthy(list:find("last"), list)
        end
    end)

    it("is told by the next boot of a node that was killed", function()
        local x = login("b", "ann")
        login("b", "bob", "allow")
        login("a", "bob", "allow")
        login("b", "cid", "allow")
        login("b", "cid", "allow")
        local boot = boot_of(x)
        login("b", "dan"):close()
        ends("dan", 1)
        assert.equal("4", redis("zcard sd:{n:" .. boot .. "}:uids"):match("%d+"))
        kill("b")
        local y = login("a", "eve")
        server.until_(function()
            return call(y, "worker", "uid_is_online", own("ann")) == false
        end, "the node is dead to others")
        assert.same({}, ends_now("ann"))
        start("b")
        until_reaped(boot)
        assert.same({ "error last" }, ends("ann", 1))
        assert.same({ "error" }, ends("bob", 1))
        assert.same({ "error", "error last" }, ends("cid", 2))
        assert.same({ "client last" }, ends("dan", 1))
        assert.same({}, ends_now("eve"))
        local from = t.nodes.b:read("out." .. t.nodes.b.launches)
        assert.truthy(from:find("node b is dead: 4 bindings of it have ended", 1, true))
        y:call("c/me")
    end)

    it("is not the last of who has come back on another node", function()
        local boot = boot_of(login("b", "ann"))
        kill("b")
        login("a", "ann")
        start("b")
        until_reaped(boot)
        assert.same({ "error" }, ends("ann", 1))
    end)

    it("is told by others when a node is silent for long", function()
        local boot = boot_of(login("c", "ann"))
        local beat = "sd:{n:" .. boot .. "}:beat"
        server.until_(function()
            return tonumber(redis("ttl " .. beat):match("%-?%d+")) > 500
        end, "it beats")
        kill("c")
        local y = open("a")
        server.until_(function()
            return call(y, "worker", "uid_is_online", own("ann")) == false
        end, "the node is dead to others")
        redis("del " .. beat) -- as if it had expired
        until_reaped(boot)
        assert.same({ "error last" }, ends("ann", 1))
        start("c")
        assert.same({ "error last" }, ends_now("ann"))
    end)

    local function list_of(boot)
        return "sd:{n:" .. boot .. "}:uids"
    end

    local function hold(uid)
        redis("set hold:" .. own(uid) .. " 1")
    end

    local function release(uid)
        redis("del hold:" .. own(uid))
    end

    local function until_begun(uid)
        server.until_(function()
            return tonumber(redis("get begun:" .. own(uid)):match("%d+") or 0) > 0
        end, "the hook runs")
    end

    local function until_dead(conn, uid)
        server.until_(function()
            return call(conn, "worker", "uid_is_online", own(uid)) == false
        end, "the node is dead to others")
    end

    it("is told again of who had left when the node died in the hook", function()
        local x = login("b", "ann")
        local boot = boot_of(x)
        hold("ann")
        x:close()
        until_begun("ann")
        assert.equal("1", redis("zcard " .. list_of(boot)):match("%d+"))
        kill("b")
        release("ann")
        start("b")
        until_reaped(boot)
        assert.same({ "error last" }, ends("ann", 1))
    end)

    it("does not wait for ever for a hook, and tells of many", function()
        local boot = boot_of(login("b", "stuck"))
        for i = 1, 80 do
            login("b", "ann" .. i)
        end
        hold("stuck")
        kill("b")
        start("b")
        until_reaped(boot)
        for i = 1, 80 do
            assert.same({ "error last" }, ends("ann" .. i, 1))
        end
        assert.same({}, ends_now("stuck"))
        release("stuck")
    end)

    it("does not hold up a stop", function()
        local boot = boot_of(login("b", "stuck"))
        hold("stuck")
        kill("b")
        start("b")
        until_begun("stuck")
        assert.equal(0, (select(2, t.nodes.b:run("stop"))))
        local text = t.nodes.b:read("out." .. t.nodes.b.launches)
        assert.is_nil(text:find("in time", 1, true), text)
        release("stuck")
        start("b")
        until_reaped(boot)
        assert.same({ "error last" }, ends("stuck", 1))
    end)

    it("ends when the node is back amid it", function()
        local x = login("c", "slow")
        local boot = boot_of(x)
        for i = 1, 80 do
            login("c", "ann" .. i)
        end
        hold("slow")
        local y = open("a")
        local pids = t.nodes.c:pids()
        for _, pid in ipairs(pids) do
            t.nodes.c:kill("STOP", pid)
        end
        until_dead(y, "slow")
        redis("del sd:{n:" .. boot .. "}:beat")
        until_begun("slow")
        for _, pid in ipairs(pids) do
            t.nodes.c:kill("CONT", pid)
        end
        t.nodes:join()
        release("slow")
        local function told()
            local n = 0
            for i = 1, 80 do
                n = n + #ends_now("ann" .. i)
            end
            return n
        end
        server.until_(function() -- all are listed again
            return redis("zcard " .. list_of(boot)):match("%d+") == "81"
        end, "the node asserts its bindings")
        assert.is_true(told() <= 80, told())
        local before = told()
        for _ = 1, 3 do -- beats
            redis("del sd:{n:" .. boot .. "}:beat")
            server.until_(function()
                return redis("exists sd:{n:" .. boot .. "}:beat"):match("1")
            end, "it beats")
        end
        assert.equal(before, told())
        x:call("c/me")
    end)

    it("is listed by code that wants to hear, and only by that", function()
        local x = login("c", "ann")
        local list = list_of(boot_of(x))
        local function reload(app)
            t.nodes.c:write("scripts/app.lua", app)
            local out, status = t.nodes.c:run("reload")
            assert.equal(0, status, out)
        end
        reload("return {}")
        server.until_(function()
            return redis("exists " .. list):match("0")
        end, "the list is given up")
        login("c", "bob")
        assert.equal("0", redis("zcard " .. list):match("%d+"))
        reload(APP)
        server.until_(function()
            return redis("zcard " .. list):match("%d+") == "2"
        end, "both are listed")
    end)

    it("is not told of a node that lives, whatever Redis says", function()
        local x = login("b", "ann")
        local boot = boot_of(x)
        for _ = 1, 20 do -- over some looks of all nodes
            redis("del sd:{n:" .. boot .. "}:beat")
            call(x, "worker", "count_online")
        end
        server.until_(function()
            return redis("exists sd:{n:" .. boot .. "}:beat"):match("1")
        end, "it beats again")
        assert.same({}, ends_now("ann"))
        assert.equal("1", redis("hexists sd:nodes " .. boot):match("%d"))
    end)
end)
