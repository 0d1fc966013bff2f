-- Pushes of net/ to many conns, and to those that do not read.
local netserver = require("spec.support.netserver")
local socket = require("socket")

local packet, read_packet = netserver.packet, netserver.read_packet

local CLOSE, DROP_NEW, DROP_OLD = 0, 1, 2

describe("pushes", function()
    local server

    local function start(options)
        server = netserver.start(options or {})
        local sender = server:connect()
        sender:send(packet("hello"))
        assert.equal("hello", read_packet(sender))
        return sender
    end

    --- A conn that the server knows already.
    local function join()
        local s = server:connect()
        s:setoption("recv-buffer-size", 65536)
        s:send(packet("here"))
        assert.equal("here", read_packet(s))
        return s
    end

    local function push(sender, count, size)
        sender:send(packet(("push %d %d"):format(count, size)))
        assert.equal("pushed 0", read_packet(sender))
    end

    --- The numbers of the pushes that arrive before the text `last`.
    local function read_until(s, last)
        local numbers = {}
        while true do
            local body = assert(read_packet(s))
            if body == last then
                return numbers
            end
            numbers[#numbers + 1] = tonumber(body:match("^(%d+) x*$"))
        end
    end

    local function is_ascending(numbers)
        for i = 2, #numbers do
            if numbers[i] <= numbers[i - 1] then
                return false
            end
        end
        return true
    end

    after_each(function()
        if server then
            server:stop()
            server = nil
        end
    end)

    for _, size in ipairs({ 10, 400, 600, 5000, 70000 }) do
        it("reach all in order, " .. size .. " bytes each", function()
            local sender = start()
            local a, b = join(), join()
            push(sender, 10, size)
            for i = 1, 10 do
                for _, s in ipairs({ a, b }) do
                    local body = read_packet(s)
                    assert.equal(tostring(i), body:match("^%d+"))
                    assert.equal(size, #body)
                end
            end
        end)
    end

    it("of one turn leave in one write for each conn", function()
        local sender = start()
        local a = join()
        push(sender, 100, 1000)
        assert.equal(99, #read_until(a, "100 " .. ("x"):rep(996)))
        local counters = server:stop()
        server = nil
        assert.equal(100, counters.pushes)
        assert.is_true(counters.writes < 10)
    end)

    it("keep their order among the replies of a slow conn", function()
        local sender = start({ slow_low = 1e6, slow_high = 1e8,
            max = 2000000 })
        local s = join()
        s:send(packet("big 1900000"):rep(9))
        for i = 1, 20 do
            push(sender, 3, 100)
            s:send(packet("reply " .. i))
        end
        local bigs, replies, pushes = 0, 0, 0
        while bigs + replies + pushes < 89 do
            local body = assert(read_packet(s))
            if #body > 1e6 then
                bigs = bigs + 1
            elseif body:find("^reply") then
                replies = replies + 1
                assert.equal("reply " .. replies, body)
                assert.equal(9, bigs)
            else
                assert.equal(pushes % 3 + 1, tonumber(body:match("^%d+")))
                pushes = pushes + 1
            end
        end
    end)

    it("to very many leave in slices, behind replies", function()
        local N = 2500
        local sender = start({ max_conns = 3000 })
        local conns = {}
        for i = 1, N do
            conns[i] = join()
        end
        sender:send(packet("push 2 20") .. packet("queued"))
        assert.equal("pushed 0", read_packet(sender))
        local left = tonumber(read_packet(sender))
        assert.is_true(left > 0 and left < N)
        for i = 1, N do
            for n = 1, 2 do
                assert.equal(tostring(n),
                    read_packet(conns[i]):match("^%d+"))
            end
        end
    end)

    describe("to a conn that does not read", function()
        local COUNT, SIZE = 10000, 1000

        --- Until only `count` conns take what is volatile.
        local function wait_for_backlog(sender, count)
            netserver.until_(function()
                sender:send(packet("volatile now"))
                return read_packet(sender) == "pushed " .. count
            end)
        end

        local function flood(policy)
            local sender = start({ slow_low = 50000, slow_high = 200000,
                policy = policy, quiet = 1 })
            local slow, fast = join(), join()
            for _ = 1, COUNT / 100 do
                push(sender, 100, SIZE)
                for i = 1, 100 do
                    assert.equal(tostring(i), read_packet(fast):match("^%d+"))
                end
            end
            return sender, slow
        end

        it("end it, when the policy is close", function()
            local _, slow = flood(CLOSE)
            assert.is_nil((slow:receive(SIZE * COUNT)))
            local counters = server:stop()
            server = nil
            assert.is_true(counters.dropped_slow > 100)
        end)

        for policy, name in pairs({ [DROP_NEW] = "drop_new",
            [DROP_OLD] = "drop_old" }) do
            it("are dropped and counted: " .. name, function()
                local _, slow = flood(policy)
                slow:send(packet("end"))
                local got = read_until(slow, "end")
                slow:send(packet("still here"))
                assert.equal("still here", read_packet(slow))
                local counters = server:stop()
                server = nil
                local dropped = counters["dropped_" .. name]
                assert.is_true(dropped > 0)
                assert.equal(COUNT, #got + dropped)
                assert.equal(2 * COUNT, counters.pushes)
                assert.equal(2 * COUNT, counters.written + dropped)
            end)
        end

        it("keep the newest with drop_old, the oldest with drop_new",
            function()
                for _, policy in ipairs({ DROP_OLD, DROP_NEW }) do
                    local sender = start({ slow_low = 50000,
                        slow_high = 200000, policy = policy, quiet = 1 })
                    local slow = join()
                    push(sender, COUNT, SIZE)
                    slow:send(packet("end"))
                    local got = read_until(slow, "end")
                    assert.is_true(is_ascending(got))
                    assert.equal(1, got[1])
                    assert.equal(policy == DROP_OLD, got[#got] == COUNT)
                    server:stop()
                    server = nil
                end
            end)

        it("replace one with the same key in its place", function()
            local sender = start({ slow_low = 1e6, slow_high = 1e8,
                max = 2000000 })
            local slow = join()
            slow:send(packet("big 1900000"):rep(9))
            wait_for_backlog(sender, 0)
            push(sender, 1, 10)
            for i = 1, 500 do
                sender:send(packet("keyed " .. ("ab"):sub(i % 2 + 1, i % 2 + 1)
                    .. " " .. i))
                assert.equal("pushed 1", read_packet(sender))
            end
            push(sender, 1, 10)
            local got = {}
            while #got < 4 do
                local body = assert(read_packet(slow))
                if body ~= "now" and #body < 1000 then
                    got[#got + 1] = body
                end
            end
            assert.same({ "1 xxxxxxxx", "499", "500", "1 xxxxxxxx" }, got)
            local counters = server:stop()
            server = nil
            assert.equal(498, counters.dropped_replaced)
        end)

        for name, policy in pairs({ close = CLOSE, drop_new = DROP_NEW,
            drop_old = DROP_OLD }) do
            it("grow by replacement only as far as others: " .. name, function()
                local sender = start({ slow_low = 1e6, slow_high = 6e6,
                    max = 2000000, policy = policy, quiet = 1 })
                local slow = join()
                slow:send(packet("big 1900000"):rep(9))
                wait_for_backlog(sender, 0)
                for _, text in ipairs({ "small", ("x"):rep(1e6), "tiny" }) do
                    for key in ("abcdefghijklmnopqrst"):gmatch(".") do
                        sender:send(packet(("keyed %s %s"):format(key, text)))
                        assert(read_packet(sender):find("^pushed"))
                    end
                    sender:send(packet("memory"))
                    local memory = read_packet(sender):match("%d+")
                    assert.is_true(tonumber(memory) < 14e6, memory)
                end
                local counters = server:stop()
                server = nil
                local refused = counters["dropped_"
                    .. name:gsub("close", "slow")]
                assert.is_true(refused > 0)
            end)
        end

        it("are left out when volatile", function()
            local sender = start({ slow_low = 100000, slow_high = 1e8,
                max = 2000000 })
            local slow, fast = join(), join()
            slow:send(packet("big 1900000"):rep(9))
            wait_for_backlog(sender, 1)
            for _ = 1, 3 do
                sender:send(packet("volatile then"))
                assert.equal("pushed 1", read_packet(sender))
            end
            netserver.until_(function()
                return read_packet(fast) == "then"
            end)
            local counters = server:stop()
            server = nil
            assert.is_true(counters.dropped_volatile >= 3)
        end)

        it("are not left out when there is no low mark", function()
            local sender = start({ slow_low = 0, slow_high = 1e8,
                max = 2000000 })
            local slow = join()
            slow:send(packet("big 1900000"):rep(9))
            -- The third time it is sure that some of them wait.
            for _ = 1, 3 do
                socket.sleep(0.02)
                sender:send(packet("volatile now"))
                assert.equal("pushed 1", read_packet(sender))
            end
        end)

        it("take little memory for 200 conns, and others lose nothing",
            function()
                local sender = start({ slow_low = 50000, slow_high = 200000,
                    policy = DROP_OLD, quiet = 1, max_conns = 1000 })
                local fast = join()
                for _ = 1, 200 do
                    join()
                end
                for _ = 1, 120 do
                    push(sender, 10, 20000)
                    for i = 1, 10 do
                        assert.equal(tostring(i),
                            read_packet(fast):match("^%d+"))
                    end
                end
                sender:send(packet("memory"))
                local memory = tonumber(read_packet(sender):match("%d+"))
                assert.is_true(memory > 0 and memory < 200 * 200000)
            end)

        it("take memory as they are judged, however small they are", function()
            local CONNS, HIGH = 100, 1048576
            local sender = start({ slow_low = 65536, slow_high = HIGH,
                policy = DROP_OLD, quiet = 1, max_conns = 1000 })
            for _ = 1, CONNS do
                join()
            end
            local before = server:memory()
            push(sender, 100, 60000) -- the sockets are full
            for _ = 1, netserver.is_sanitized and 10 or 100 do
                push(sender, 1000, 8)
            end
            if not netserver.is_sanitized then
                local grown = server:memory() - before
                assert.is_true(grown < CONNS * HIGH, grown)
            end
        end)

        --- Does it still get what comes, down to an answer?
        local function is_served(s)
            local body
            s:send(packet("end"))
            repeat
                body = read_packet(s)
            until body == "end" or not body
            return body ~= nil
        end

        for name, policy in pairs({ drop_new = DROP_NEW,
            drop_old = DROP_OLD }) do
            it("do not close it, however large they are: " .. name, function()
                local sender = start({ policy = policy, max = 2000000,
                    quiet = 1, queue_memory = 20000000 })
                local slow = {}
                for i = 1, 40 do
                    slow[i] = join()
                end
                for _ = 1, 12 do
                    push(sender, 1, 1900000)
                end
                for i = 1, 40 do
                    assert.is_true(is_served(slow[i]))
                end
            end)

            it("do not close it for a reply behind one: " .. name, function()
                local sender = start({ policy = policy, max = 2000000,
                    delay = 300 })
                local slow = join()
                slow:send(packet("async reply"))
                for _ = 1, 12 do
                    push(sender, 1, 1900000)
                end
                socket.sleep(0.35)
                assert.is_true(is_served(slow))
            end)
        end

        it("do not make it slower than one with more replies", function()
            local sender = start({ slow_low = 1e6, slow_high = 1e8,
                max = 2000000, policy = DROP_OLD })
            local replied, pushed = join(), join()
            replied:send(packet("big 1900000"):rep(9))
            wait_for_backlog(sender, 1)
            netserver.until_(function()
                sender:send(packet("volatile " .. ("x"):rep(50000)))
                return read_packet(sender) == "pushed 0"
            end)
            sender:send(packet("slowest"))
            local first, second = read_packet(sender):match("(%d+) (%d+)")
            assert.is_true(tonumber(first) >= tonumber(second))
            assert.is_true(is_served(replied) and is_served(pushed))
        end)

        it("of others do not cost it anything: they are written", function()
            local sender = start({ slow_low = 1e6, slow_high = 1e8,
                max = 2000000, quiet = 1, policy = DROP_OLD,
                max_conns = 1000, queue_memory = 8000000 })
            local slow = join()
            slow:send(packet("big 1900000"):rep(9))
            wait_for_backlog(sender, 0)
            push(sender, 5, 10)
            for _ = 1, 600 do
                join()
            end
            sender:send(packet("each 1 20000"))
            assert.equal("pushed 0", read_packet(sender))
            assert.is_true(is_served(slow))
            local counters = server:stop()
            server = nil
            assert.equal(0, counters.dropped_budget)
        end)

        it("give way to the worker's budget, the largest first", function()
            local sender = start({ slow_low = 50000, slow_high = 1e9,
                policy = DROP_OLD, quiet = 1, queue_memory = 4000000 })
            local slow = {}
            for i = 1, 5 do
                slow[i] = join()
            end
            for _ = 1, 40 do
                push(sender, 500, SIZE)
            end
            sender:send(packet("memory"))
            assert.is_true(4000000 >= tonumber(
                read_packet(sender):match("%d+")))
            for i = 1, 5 do
                slow[i]:send(packet("end"))
                read_until(slow[i], "end")
            end
            local counters = server:stop()
            server = nil
            assert.is_true(counters.dropped_budget > 0)
        end)
    end)
end)
