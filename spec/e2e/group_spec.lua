-- Groups: named sets of uids in Redis, heard on all workers of the node.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 3, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", uid_policy = "allow" },
    web = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { codec = "msgpack" } },
}]],
    ["scripts/controllers/g.lua"] = [[
local sd = require("sd")
local G = {}
function G:login(p)
    return { ok = self:bind_uid(p.uid), slot = sd.slot }
end
function G:join(p)
    local ok, err = self:join_group(p.group)
    return { ok = ok, err = err }
end
function G:leave(p) return { ok = self:leave_group(p.group) } end
function G:say(p)
    return { ok = sd.send_to_group(p.group, { text = p.text }, p.opts) }
end
function G:sd(p)
    local results = { sd[p.fn](unpack(p.args, 1, 3)) }
    return { a = results[1], b = results[2] }
end
--- Bind, and be too busy to look at the answer of Redis for a while.
function G:login_busy(p)
    self:send("busy")
    local bound = sd.go(function() self:bind_uid(p.uid) end)
    sd.sleep(0)
    local till = os.clock() + 0.03
    repeat until os.clock() > till
    bound:wait()
    return true
end
--- Bind, and end before Redis has answered.
function G:login_cut(p)
    sd.go(function() self:bind_uid(p.uid) end)
    sd.sleep(0)
    return true
end
--- Put a uid into a group and send to it; the answer is about putting.
function G:put_and_say(p)
    local ok = sd.add_to_group(p.uid, p.group)
    return ok and sd.send_to_group(p.group, p.group)
end
--- Say its name in each of the groups, and what `last` says to the uid.
function G:say_all(p)
    for _, group in ipairs(p.groups) do sd.send_to_group(group, group) end
    return sd.send_to_uid(p.uid, p.last)
end
function G:misuse(p)
    local ok, err = pcall(sd.add_to_group, "ann", p.group)
    return { ok = ok, err = err }
end
return G]],
}

describe("groups", function()
    local s, conns, admin

    setup(function()
        s = server.start(files)
        admin = client.open(s:port("game"))
    end)

    teardown(function()
        admin:close()
        s:stop()
    end)

    before_each(function()
        conns = {}
    end)

    after_each(function()
        for _, c in ipairs(conns) do
            c:close()
        end
    end)

    local function login(uid)
        local c = client.open(s:port("game"))
        conns[#conns + 1] = c
        assert.is_true(c:call("g/login", { uid = uid }).result.ok)
        return c
    end

    local function sd(fn, ...)
        return admin:call("g/sd", { fn = fn, args = { ... } }).result
    end

    local function redis(words)
        return (server.shell("redis-cli -s " .. s.dir .. "/run/redis.sock " .. words))
    end

    local function sorted(list)
        table.sort(list)
        return list
    end

    it("reach their members on every worker, and nobody else", function()
        login("other")
        for i = 1, 12 do
            local c = login("m" .. i)
            assert.is_true(c:call("g/join", { group = "red" }).result.ok)
        end
        admin:call("g/say", { group = "red", text = "hi" })
        for i = 1, 12 do
            assert.equal("hi", conns[i + 1]:receive().text)
        end
        -- The next packet is the answer of its call, not the message.
        assert.is_true(conns[1]:call("g/login", { uid = "other" }).result.ok)
    end)

    it("hold a uid, not a conn: they are there after a reconnect", function()
        login("eve"):call("g/join", { group = "blue" })
        conns[1]:close()
        for _ = 1, 4 do
            local again = login("eve")
            admin:call("g/say", { group = "blue", text = "back" })
            assert.equal("back", again:receive().text)
            again:close()
        end
    end)

    it("take in and let go who is elsewhere", function()
        local c = login("ann")
        assert.is_true(sd("add_to_group", "ann", "a/+#$ b").a)
        admin:call("g/say", { group = "a/+#$ b", text = "1" })
        assert.equal("1", c:receive().text)
        assert.is_true(sd("remove_from_group", "ann", "a/+#$ b").a)
        admin:call("g/say", { group = "a/+#$ b", text = "2" })
        assert.is_true(sd("add_to_group", "ann", "a/+#$ b").a)
        admin:call("g/say", { group = "a/+#$ b", text = "3" })
        assert.equal("3", c:receive().text)
    end)

    it("take in who is about to be bound", function()
        for i = 1, 40 do
            local c = client.open(s:port("game"))
            conns[#conns + 1] = c
            c:cast("g/login_busy", { uid = "late" .. i })
            assert.equal("busy", c:receive())
            assert.is_true(sd("add_to_group", "late" .. i, "late").a)
            assert.equal(true, c:receive())
        end
        admin:call("g/say", { group = "late", text = "all" })
        for _, c in ipairs(conns) do
            assert.equal("all", c:receive().text)
        end
    end)

    it("leave out whom opts.except names", function()
        local ann, bob = login("ann"), login("bob")
        ann:call("g/join", { group = "two" })
        bob:call("g/join", { group = "two" })
        admin:call("g/say", { group = "two", text = "1", opts = { except = "ann" } })
        admin:call("g/say", { group = "two", text = "2" })
        assert.equal("2", ann:receive().text)
        assert.equal("1", bob:receive().text)
        assert.equal("2", bob:receive().text)
    end)

    it("say who is in them, and repair their lists", function()
        for _, uid in ipairs({ "x", "y", "z" }) do
            sd("add_to_group", uid, "list")
        end
        assert.same({ "x", "y", "z" }, sorted(sd("group_uids", "list").a))
        assert.equal(3, sd("group_count", "list").a)
        assert.is_true(sd("in_group", "y", "list").a)
        sd("remove_from_group", "y", "list")
        assert.is_false(sd("in_group", "y", "list").a)
        redis("sadd 'sd:{g:list}:uids' ghost")
        assert.same({ "x", "z" }, sorted(sd("group_uids", "list").a))
        assert.is_nil(redis("smembers 'sd:{g:list}:uids'"):find("ghost"))
        assert.same({ "list" }, sd("uid_groups", "x").a)
        assert.same({}, sd("group_uids", "nobody").a)
    end)

    --- Conns of two workers.
    local function two()
        local by_slot, seen = {}, 0
        for i = 1, 200 do
            local c = client.open(s:port("game"))
            conns[#conns + 1] = c
            local slot = c:call("g/login", { uid = "two" .. i }).result.slot
            if not by_slot[slot] then
                by_slot[slot], seen = c, seen + 1
            end
            if seen == 2 then
                local slots = {}
                for at in pairs(by_slot) do
                    slots[#slots + 1] = at
                end
                return by_slot, slots[1], slots[2]
            end
        end
        error("all conns went to one worker")
    end

    it("are heard by who enters while a worker reads his groups", function()
        -- Names no group can have: the reply is long, and comes in parts.
        redis([[eval "for i = 1, 50 do redis.call('sadd', KEYS[1], ]]
            .. [[i .. string.rep('x', 100000)) end" 1 'sd:{u:late}:groups']])
        local by_slot, binds, other = two()
        local c = by_slot[binds]
        local worker = s:process("worker", binds).pid
        local store = tonumber(redis("info server"):match("process_id:(%d+)"))
        s:kill("STOP", store)
        c:send(client.packet("g/login", { uid = "late" }, 7))
        server.until_(function()
            return by_slot[other]:call("g/sd",
                { fn = "uid_is_online", args = { "late" } }).result.a
        end, "it is bound")
        s:kill("STOP", worker)
        s:kill("CONT", store)
        redis("ping") -- what the worker has asked is answered
        local put = { fn = "add_to_group", args = { "late", "tea" } }
        assert.is_true(by_slot[other]:call("g/sd", put).result.a)
        s:kill("CONT", worker)
        assert.is_true(c:receive().result.ok)
        by_slot[other]:call("g/say", { group = "tea", text = "heard" })
        assert.equal("heard", assert(c:receive()).text)
    end)

    it("are listed while somebody is in them", function()
        local function listed(name)
            for _, group in ipairs(sd("groups").a) do
                if group == name then
                    return true
                end
            end
            return false
        end
        sd("add_to_group", "fay", "brief")
        sd("add_to_group", "gil", "brief")
        assert.is_true(listed("brief"))
        sd("remove_from_group", "fay", "brief")
        assert.is_true(listed("brief"))
        sd("remove_from_group", "gil", "brief")
        assert.is_false(listed("brief"))
        sd("add_to_group", "fay", "brief")
        assert.is_true(listed("brief"))
        assert.is_true(sd("delete_group", "brief").a)
        assert.is_false(listed("brief"))
        redis("sadd sd:groups ghosts")
        redis("sadd 'sd:{g:ghosts}:uids' casper")
        assert.is_true(listed("ghosts"))
        assert.same({}, sd("group_uids", "ghosts").a)
        assert.is_false(listed("ghosts"))
    end)

    it("end as a whole", function()
        local c = login("dan")
        c:call("g/join", { group = "gone" })
        assert.is_true(sd("delete_group", "gone").a)
        admin:call("g/say", { group = "gone", text = "unheard" })
        assert.same({}, sd("uid_groups", "dan").a)
        c:call("g/join", { group = "gone" })
        admin:call("g/say", { group = "gone", text = "heard" })
        assert.equal("heard", c:receive().text)
    end)

    it("are read later when the call that binds has ended", function()
        sd("add_to_group", "cut", "later")
        local c = client.open(s:port("game"))
        conns[1] = c
        local store = tonumber(redis("info server"):match("process_id:(%d+)"))
        s:kill("STOP", store)
        assert.is_true(c:call("g/login_cut", { uid = "cut" }).result)
        s:kill("CONT", store)
        server.until_(function()
            admin:call("g/say", { group = "later", text = "heard" })
            c:call("g/say", { group = "nobody", text = "" })
            return c.pushes[1]
        end, "the groups are read")
    end)

    --- Three conns of one uid, each on another worker.
    local function three(uid)
        local list, seen = {}, {}
        for _ = 1, 200 do
            local c = client.open(s:port("game"))
            conns[#conns + 1] = c
            local slot = c:call("g/login", { uid = uid }).result.slot
            if not seen[slot] then
                list[#list + 1], seen[slot] = c, true
            else
                c:close()
            end
            if #list == 3 then
                return list
            end
        end
        error("a worker gets no conns")
    end

    --- What each worker thinks `uid` is in becomes what Redis says.
    local function agree(uid, list, groups)
        local round, wrong = 0, nil
        local function differ()
            round, wrong = round + 1, nil
            local last = "end " .. round
            list[1]:call("g/say_all", { uid = uid, groups = groups, last = last })
            local is = table.concat(sorted(sd("uid_groups", uid).a), " ")
            for i, c in ipairs(list) do
                local heard = {}
                repeat
                    local word = table.remove(c.pushes, 1) or c:receive()
                    heard[#heard + 1] = word
                until word == last
                table.remove(heard)
                local hears = table.concat(sorted(heard), " ")
                if hears ~= is then
                    wrong = ("conn %d hears %s; in Redis: %s"):format(i, hears, is)
                end
            end
            return wrong
        end
        for _ = 1, 50 do
            if not differ() then
                return
            end
            require("socket").sleep(0.01)
        end
        error(wrong)
    end

    --- Two do something about each group at the same time.
    local function at_once(list, rounds, first, second)
        local groups = {}
        for i = 1, rounds do
            local group = "g" .. i
            groups[i] = group
            local a, b = list[1 + i % 2], list[2 - i % 2]
            a:send(client.packet(first[1], first[2](group), 7))
            b:send(client.packet(second[1], second[2](group), 7))
            assert.is_table(a:receive())
            assert.is_table(b:receive())
        end
        return groups
    end

    local function just(group)
        return { group = group }
    end

    it("are the same on all workers after joins and leaves at once", function()
        local list = three("both")
        local groups = at_once(list, 150, { "g/join", just }, { "g/leave", just })
        agree("both", list, groups)
    end)

    it("keep on all workers who enters while they are deleted", function()
        local list = three("kept")
        for i = 1, 80 do
            sd("add_to_group", "kept", "g" .. i)
        end
        local groups = at_once(list, 80, { "g/sd", function(group)
            return { fn = "delete_group", args = { group } }
        end }, { "g/join", just })
        agree("kept", list, groups)
    end)

    it("are heard at once by who enters several at the same time", function()
        local list = three("many")
        for i = 1, 100 do
            for k = 1, 2 do
                list[k]:send(client.packet("g/put_and_say",
                    { uid = "many", group = ("%d of %d"):format(k, i) }))
            end
            local heard = { list[3]:receive(), list[3]:receive() }
            assert.same({ "1 of " .. i, "2 of " .. i }, sorted(heard))
        end
    end)

    it("are known by who missed a change as soon as there is another", function()
        local list = three("missed")
        list[1]:call("g/join", { group = "a" })
        -- As of a worker that died before it could tell anybody.
        redis("sadd 'sd:{u:missed}:groups' b")
        redis("incr 'sd:{u:missed}:changes'")
        list[1]:call("g/join", { group = "c" })
        agree("missed", list, { "a", "b", "c" })
        redis("del 'sd:{u:missed}:changes'") -- as after a day
        list[2]:call("g/leave", { group = "a" })
        list[2]:call("g/join", { group = "d" })
        agree("missed", list, { "a", "b", "c", "d" })
    end)

    it("need a uid, and a proper name", function()
        local c = client.open(s:port("game"))
        conns[1] = c
        assert.matches("^refused", c:call("g/join", { group = "x" }).result.err)
        local r = c:call("g/misuse", { group = ("x"):rep(129) }).result
        assert.is_false(r.ok)
        assert.matches("controllers/g.lua:%d+: bad group", r.err)
    end)
end)
