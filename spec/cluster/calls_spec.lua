-- Every call that reaches conns reaches those of other nodes, from workers,
-- tasks and timers alike, and says what has become of it.
local calls = require("spec.support.cluster_calls")
local client = require("spec.support.client")
local server = require("spec.support.server")

describe("calls between nodes", function()
    local t = calls.new({ "a", "b", "c" })
    local own, open, login, call = t.own, t.open, t.login, t.call
    local begin, finish, push, hears_nothing = t.begin, t.finish, t.push, t.hears_nothing
    local hears_up_to, answer, whole = t.hears_up_to, t.answer, t.whole

    setup(t.start)
    teardown(t.stop)
    before_each(t.before)
    after_each(t.after)

    --- The uids that are online, by all pages, none of which was missing.
    local function everybody(c, via)
        return server.until_(function()
            local list, cursor = {}, nil
            repeat
                local uids, following, silent = call(c, via, "online_uids", cursor)
                if not uids or silent then
                    return nil
                end
                for _, uid in ipairs(uids) do
                    list[#list + 1] = uid
                end
                cursor = following
            until not cursor
            return list
        end, "all nodes list theirs")
    end

    local ways = {}
    for _, via in ipairs({ "worker", "task", "timer" }) do
        ways[#ways + 1] = { via, "a", "b" }
        ways[#ways + 1] = { via, "b", "a" }
    end

    for _, way in ipairs(ways) do
        local via, from, to = unpack(way)

        describe("from a " .. via .. " of " .. from, function()
            it("delivers", function()
                local c, x = open(from), login(to, "ben")
                assert.is_true(call(c, via, "deliver_to_uid", own("ben"), { n = 1 }))
                assert.same({ n = 1 }, push(x))
            end)

            it("sends to uids, conns and all", function()
                local c, x = open(from), login(to, "ben")
                assert.is_true(call(c, via, "send_to_uid", own("ben"), { n = 1 }))
                assert.same({ n = 1 }, push(x))
                assert.is_true(call(c, via, "send_to_uids", { own("ben"), own("no") }, { n = 2 }))
                assert.same({ n = 2 }, push(x))
                local id = x:call("c/me").result.id
                assert.is_true(call(c, via, "send_to_conn", id, { n = 3 }))
                assert.same({ n = 3 }, push(x))
                assert.is_true(call(c, via, "send_to_all", { n = 4 }))
                assert.same({ n = 4 }, push(x))
                assert.is_true(call(c, via, "close_conn", id))
                assert.is_true(x:is_closed())
            end)

            it("asks, and has the answer", function()
                local c, x = open(from), login(to, "ben")
                begin(c, via, "ask_uid", own("ben"), { q = 7 })
                local q = push(x)
                assert.equal(7, q.q)
                answer(x, q, { a = 8 })
                assert.same({ a = 8 }, (finish(c)))
            end)

            it("asks, and hears why not", function()
                local c, x = open(from), login(to, "ben")
                begin(c, via, "ask_uid", own("ben"), { q = 7 })
                local q = push(x)
                x:send({ id = q.id, error = { code = 418, message = "a teapot" } })
                local ok, err, code = finish(c)
                assert.is_nil(ok)
                assert.equal("a teapot", (tostring(err):gsub("^failed: ", "")))
                assert.equal(418, code)
                begin(c, via, "ask_uid", own("ben"), { q = 8 })
                push(x)
                x:close()
                assert.same({ nil, "closed" }, { finish(c) })
            end)

            it("hears of a deadline, and no answer after it", function()
                local c, x = open(from), login(to, "ben")
                local late
                server.until_(function() -- the question itself comes in time
                    assert.same({ nil, "timeout" },
                        { call(c, via, "ask_uid", own("ben"), { q = 1 }, { timeout = 0.2 }) })
                    x:call("c/me")
                    late = table.remove(x.pushes, 1)
                    return late
                end, "a question arrives")
                begin(c, via, "ask_uid", own("ben"), { q = 2 })
                local q = push(x)
                answer(x, late, "late")
                answer(x, q, "in time")
                assert.equal("in time", (finish(c)))
            end)

            it("subscribes conns and lets them go", function()
                local c, x = open(from), login(to, "ben")
                local topic = own("t") .. "/x"
                assert.is_true(call(c, via, "subscribe_uid", own("ben"), own("t") .. "/#"))
                assert.equal(1, whole(c, via, "topic_count", own("t") .. "/#"))
                server.until_(function() -- the relay has to learn of it
                    assert.is_true(call(c, via, "publish", topic, { n = 1 }))
                    x:call("c/me")
                    return #x.pushes > 0
                end, "a publish arrives")
                assert.is_true(call(c, via, "unsubscribe_uid", own("ben"), own("t") .. "/#"))
                assert.equal(0, whole(c, via, "topic_count", own("t") .. "/#"))
            end)

            it("kicks", function()
                local c, x = open(from), login(to, "ben")
                assert.is_true(call(c, via, "kick_uid", own("ben"), "enough"))
                assert.is_true(x:is_closed())
                server.until_(function()
                    return call(c, via, "uid_is_online", own("ben")) == false
                end, "nobody is left")
            end)

            it("knows who is online", function()
                local c, x = open(from), login(to, "ben")
                assert.is_true(call(c, via, "uid_is_online", own("ben")))
                assert.is_false(call(c, via, "uid_is_online", own("nobody")))
                call(c, via, "add_to_group", own("ben"), own("g"))
                call(c, via, "add_to_group", own("nobody"), own("g"))
                local uids = call(c, via, "group_uids", own("g"), { online = true })
                assert.same({ own("ben") }, uids)
                assert.equal(1, call(c, via, "group_count", own("g"), { online = true }))
                x:close()
                server.until_(function()
                    return call(c, via, "uid_is_online", own("ben")) == false
                end, "nobody is left")
            end)

            it("says that there is nobody", function()
                local c = open(from)
                local nobody = own("nobody")
                local offline = { nil, "offline" }
                assert.same(offline, { call(c, via, "deliver_to_uid", nobody, {}) })
                assert.same(offline, { call(c, via, "ask_uid", nobody, {}) })
                assert.same(offline, { call(c, via, "subscribe_uid", nobody, "x") })
                assert.same(offline, { call(c, via, "unsubscribe_uid", nobody, "x") })
                assert.same(offline, { call(c, via, "kick_uid", nobody) })
            end)

            it("reports what reaches nobody", function()
                local c, nobody = open(from), own("nobody")
                assert.is_true(call(c, via, "send_to_uid", nobody, { n = t.run }))
                server.until_(function()
                    for _, lost in ipairs(c:call("c/lost").result) do
                        if lost[1] == nobody then
                            assert.same({ nobody, { n = t.run }, "offline" }, lost)
                            return true
                        end
                    end
                end, "on_undeliverable is told")
            end)
        end)
    end

    it("keeps the order of what a task sends", function()
        local c, x = open("a"), login("b", "ben")
        c:send(client.packet("c/count", { uid = own("ben"), n = 3000 }, 99))
        for i = 1, 3000 do
            assert.equal(i, push(x).n)
        end
        assert.is_true(assert(c:receive()).result)
        hears_nothing(x)
    end)

    it("counts and lists everybody once", function()
        local c = open("a")
        local before = whole(c, "worker", "count_online")
        local want = {}
        for i = 1, 6 do
            login(i % 2 == 0 and "a" or "b", "u" .. i)
            want[own("u" .. i)] = 1
        end
        for _, via in ipairs({ "worker", "task" }) do
            for _, name in ipairs({ "a", "b" }) do
                local d = open(name)
                server.until_(function() -- those of the last test are going
                    return whole(d, via, "count_online") <= before + 6
                end, "nobody else is online")
                local seen = {}
                for _, uid in ipairs(everybody(d, via)) do
                    if want[uid] then
                        seen[uid] = (seen[uid] or 0) + 1
                    end
                end
                assert.same(want, seen)
            end
        end
    end)

    describe("a uid with conns on several nodes", function()
        local a, b

        before_each(function()
            a = login("a", "max", "allow")
            -- Now a relay knows it at one place.
            assert.is_true(call(open("c"), "worker", "deliver_to_uid", own("max"), { n = 0 }))
            assert.same({ n = 0 }, push(a))
            b = login("b", "max", "allow")
        end)

        for _, via in ipairs({ "worker", "task" }) do
            for _, from in ipairs({ "a", "b", "c" }) do
                it("gets each send on all, from a " .. via .. " of " .. from, function()
                    local c = open(from)
                    for _, fn in ipairs({ "send_to_uid", "deliver_to_uid" }) do
                        local n = 0
                        server.until_(function() -- the older one is told
                            n = n + 1
                            assert.is_true(call(c, via, fn, own("max"), { n = n }))
                            a:call("c/me")
                            b:call("c/me")
                            return #a.pushes > 0 and #b.pushes > 0
                        end, "both have it")
                        assert.is_true(call(c, via, fn, own("max"), { n = n + 1 }))
                        hears_up_to(a, n + 1)
                        hears_up_to(b, n + 1)
                    end
                end)

                it("is asked on its newest, from a " .. via .. " of " .. from, function()
                    local c = open(from)
                    begin(c, via, "ask_uid", own("max"), { q = 1 })
                    answer(b, push(b), "newest")
                    assert.equal("newest", (finish(c)))
                    hears_nothing(a)
                end)

                it("counts once, for a " .. via .. " of " .. from, function()
                    local c = open(from)
                    local seen = 0
                    server.until_(function() -- those of the last test are going
                        return whole(c, via, "count_online") == 1
                    end, "it is one")
                    for _, uid in ipairs(everybody(c, via)) do
                        seen = seen + (uid == own("max") and 1 or 0)
                    end
                    assert.equal(1, seen)
                end)
            end
        end

        it("listens and is kicked everywhere", function()
            local c = open("a")
            assert.is_true(call(c, "worker", "subscribe_uid", own("max"), own("f")))
            assert.equal(2, whole(c, "worker", "topic_count", own("f")))
            assert.is_true(call(c, "worker", "kick_uid", own("max")))
            assert.is_true(a:is_closed())
            assert.is_true(b:is_closed())
        end)
    end)

    it("lets a uid move, and counts it once", function()
        local c = open("a")
        local x = login("a", "tim")
        local n = whole(c, "worker", "count_online")
        local y = login("b", "tim")
        assert.is_true(x:is_closed())
        server.until_(function()
            return whole(c, "worker", "count_online") <= n
        end, "it is counted once")
        assert.is_true(call(c, "worker", "deliver_to_uid", own("tim"), { n = 1 }))
        assert.same({ n = 1 }, push(y))
    end)

end)
