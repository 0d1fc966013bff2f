-- One kind of trouble at a time, for as long as SPEC_SECONDS allows: each
-- prints its books, in which nothing may be wrong, and what it cost. After it
-- the accounts of every process balance and nothing has grown.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")
local trial = require("spec.support.trial")

local LONG = tonumber(os.getenv("SPEC_SECONDS") or 20) > 20
local MiB = 2 ^ 20

-- What a process may have more after trouble than before it: allocators and
-- tables of ids that are kept for 30 s. Sanitizers keep freed memory, too.
local IS_SANITIZED = (os.getenv("SD_BUILD") or "build/dev"):find("dev") ~= nil
local MORE_MEMORY = (IS_SANITIZED and 400 or 48) * MiB

local function long(seconds, in_soak)
    return LONG and in_soak or seconds
end

describe("a cluster in trouble", function()
    local t, bed, nodes, dispatches

    lazy_setup(function()
        t = trial.start()
        bed, nodes, dispatches = t.bed, t.nodes, t.dispatches
    end)

    lazy_teardown(function()
        t:stop()
    end)

    after_each(function()
        t:rest()
        t:wait_balance()
    end)

    --- Print the books; not everything was but reported.
    local function judge(what, books)
        local sum = t:judge(what, books)
        assert.is_true(sum.delivered > sum.sent / 10)
        return sum
    end

    --- The same processes have no more files open than before, but for one of
    --- a verb that asks, and not much more memory.
    local function wait_no_heavier(before)
        local what
        local ok = pcall(server.until_, function()
            what = nil
            for name, now in pairs(t:weights()) do
                local was = before[name]
                if not was or now.files > was.files + 1
                    or now.memory > was.memory + MORE_MEMORY
                then
                    what = ("%s: %s, was %s"):format(name, cjson.encode(now), cjson.encode(was))
                end
            end
            return not what
        end)
        assert.is_true(ok, what)
    end

    it("hears one way only: nodes that dispatches do not hear", function()
        local books = t:begin()
        for _ = 1, long(1, 6) do
            local s, d = t:pick(nodes), t:pick(dispatches)
            bed:cut(s.host, d.host, true)
            bed:cut(nodes[1].host, nodes[2].host, true)
            socket.sleep(5)
            bed:heal()
            t.cluster:wait_linked()
        end
        judge("node to dispatch is cut", books)
    end)

    it("hears one way only: dispatches that nodes do not hear", function()
        local books = t:begin()
        for _ = 1, long(1, 6) do
            bed:cut(t:pick(dispatches).host, t:pick(nodes).host, true)
            socket.sleep(5)
            bed:heal()
            t.cluster:wait_linked()
        end
        judge("dispatch to node is cut", books)
    end)

    it("loses packets everywhere", function()
        local books = t:begin({ rate = 100 })
        for _, percent in ipairs(long({ 20 }, { 10, 20, 30 })) do
            bed:lose(percent)
            socket.sleep(long(8, 30))
        end
        bed:heal()
        t:judge("packets are lost", books)
    end)

    it("has a node that stands still", function()
        local books = t:begin({ silence = 60 })
        local s = t:pick(nodes)
        for _, pid in ipairs(s:pids()) do
            bed:freeze(pid)
        end
        socket.sleep(long(6, 20))
        bed:heal()
        t.cluster:wait_linked()
        t:judge("a frozen node", books)
    end)

    it("has a relay that stands still", function()
        local books = t:begin()
        for _ = 1, long(1, 6) do
            bed:freeze(t:pick(t:processes("relay", dispatches)).pid)
            socket.sleep(5)
            bed:heal()
            t.cluster:wait_linked()
        end
        judge("a frozen relay", books)
    end)

    it("has a worker that stands still while others send to it", function()
        local before = t:weights()
        local books = t:begin({ rate = 800, pad = 2000, silence = 60 })
        local worker = t:pick(t:processes("worker", nodes))
        local most = 0
        bed:freeze(worker.pid)
        t:for_seconds(long(5, 15), function()
            for name, now in pairs(t:weights()) do
                if name:find("relay") and before[name] then
                    most = math.max(most, now.memory - before[name].memory)
                end
            end
            socket.sleep(0.3)
        end)
        bed:heal()
        judge("a frozen worker", books)
        print(("no relay had more than %.1f MiB more"):format(most / MiB))
        assert.is_true(most < MORE_MEMORY)
    end)

    it("is cut to pieces and healed, again and again", function()
        local before
        local books = t:begin({ silence = 60, rate = 100 })
        for i = 1, long(3, 11) do
            bed:cut()
            -- Every link is given up.
            server.until_(function()
                for _, d in ipairs(dispatches) do
                    for _, relay in ipairs(t:processes("relay", { d })) do
                        if relay.conns > 0 then
                            return false
                        end
                    end
                end
                return true
            end, "all links are given up")
            bed:heal()
            t.cluster:wait_linked()
            if i == 1 then
                before = t:weights()
            end
        end
        t:judge("everything is cut", books)
        t.cluster:wait_linked()
        wait_no_heavier(before)
    end)

    describe("with one slow link", function()
        local COUNT, PAD = 1000, ("x"):rep(8000)

        --- Send that many to the uid "slow"; what was said of them so far.
        local function flood(sender)
            local words = {}
            for m = 1, COUNT do
                sender:send(client.packet("ledger/post",
                    { to = "slow", data = { m = m, from = "sender", pad = PAD } }, m))
            end
            for _ = 1, COUNT do
                local reply = assert(sender:receive())
                while reply.undelivered do
                    words[reply.undelivered] = reply.reason
                    reply = assert(sender:receive())
                end
                if reply.error then
                    words[reply.id] = reply.error.message
                end
            end
            return words
        end

        --- fn(packet) for each that has come.
        local function take(conn, fn)
            while socket.select({ conn.sock }, nil, 0)[1] do
                fn(assert(conn:receive()))
            end
        end

        --- The most that any process has more than before.
        local function watch(seconds, before)
            local most = 0
            t:for_seconds(seconds, function()
                for name, now in pairs(t:weights()) do
                    local was = before[name] or now
                    most = math.max(most, now.memory - was.memory)
                end
                socket.sleep(0.3)
            end)
            return most
        end

        --- Until each was delivered or reported; which were.
        local function drain(sender, receiver, words)
            local last, seen = 0, {}
            server.until_(function()
                take(sender, function(packet)
                    words[packet.undelivered] = packet.reason
                end)
                take(receiver, function(packet)
                    assert.is_true(packet.m > last, "in order, once")
                    last, seen[packet.m] = packet.m, true
                end)
                for m = 1, COUNT do
                    if not seen[m] and not words[m] then
                        return false
                    end
                end
                return true
            end, "each was delivered or reported")
            return seen
        end

        it("says busy for it, and serves the others", function()
            local before = t:weights()
            local sender = bed.switch:inside(client.open, nodes[1]:at("game"))
            local slow = nodes[2]
            -- Inside, where it is not slow.
            local receiver = slow:inside(client.open, slow:port("game"))
            assert.is_true(sender:call("ledger/bind", { uid = "sender" }).result)
            assert.is_true(receiver:call("ledger/bind", { uid = "slow" }).result)
            bed:rate(slow.host, "100kbit")
            local books = t:begin({ rate = 100 }, { nodes[1], nodes[3] })
            local words = flood(sender)
            local most = watch(long(5, 30), before)
            local others = t:judge("beside a slow link", books)
            assert.is_nil(others.words.busy)
            assert.is_true(others.delivered > others.sent / 10)
            bed:heal()
            local seen = drain(sender, receiver, words)
            local came, said = 0, {}
            for _ in pairs(seen) do
                came = came + 1
            end
            for m, word in pairs(words) do
                said[word] = (said[word] or 0) + 1
                assert.is_true(not seen[m] or word == "timeout" or word == "closed", word)
            end
            print(("a slow link: sent %d, delivered %d, said %s; at most %.1f MiB more"):format(
                COUNT, came, cjson.encode(said), most / MiB))
            assert.is_true((said.busy or 0) > 0)
            assert.is_true(most < MORE_MEMORY)
            sender:close()
            receiver:close()
        end)
    end)
end)
