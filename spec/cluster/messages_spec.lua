-- Messages between uids of three nodes, over two dispatches, in calm and in
-- every kind of trouble: whatever happens, each ends in one class of the books
-- (spec/support/cluster_ledger.py), and none of them is wrong.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")
local trial = require("spec.support.trial")

local files = trial.files({
    -- Who loses a uid, and why, to the log.
    ["scripts/app.lua"] = ledger.files["scripts/app.lua"]:gsub("return app", [[
function app.on_uid_closed(uid, _, reason)
    sd.log.info(uid .. " is off: " .. reason)
end
return app]]),
    ["scripts/controllers/place.lua"] = [[
local sd = require("sd")
local Place = {}
function Place:bind(p)
    return self:bind_uid(p.uid, { policy = p.policy })
end
function Place:slot()
    return sd.slot
end
function Place:count()
    local n, err, silent = sd.count_online()
    return { n = n, err = err, silent = silent }
end
return Place]],
})

local SECONDS = tonumber(os.getenv("SPEC_SECONDS") or 20)

describe("messages of a cluster", function()
    local t, bed, c, nodes, dispatches

    lazy_setup(function()
        -- No message ends while this machine is slow to notice what has ended.
        t = trial.start(files, "SD_SERVER_CALL_TIMEOUT=25s")
        bed, c, nodes, dispatches = t.bed, t.cluster, t.nodes, t.dispatches
    end)

    lazy_teardown(function()
        t:stop()
    end)

    after_each(function()
        t:rest()
    end)

    --- Do that again and again, with a moment of peace each time.
    local function trouble(what, seconds, fn)
        local books, n = t:begin({ moves = 2 }), 0
        t:for_seconds(seconds, function()
            fn(t:pick(nodes), t:pick(dispatches))
            n = n + 1
            bed:heal()
            socket.sleep(math.random() * 0.3)
        end)
        local sum = t:judge(("%s, %d times"):format(what, n), books)
        assert.is_true(sum.delivered > sum.sent / 10)
        t:wait_balance()
        return sum
    end

    it("arrive in calm", function()
        local books = t:begin({ rate = 400 })
        socket.sleep(2)
        local sum, err = t:judge("calm", books)
        assert.equal("", err)
        assert.equal(sum.sent, sum.delivered, cjson.encode(sum))
    end)

    --- One fault of the network; returns for how long it may last.
    local faults = {
        function(s, d)
            bed:cut(s.host, d.host, math.random() < 0.5)
            return 3.5
        end,
        function(s, d)
            bed:reset(s.host, d.host)
            return 0
        end,
        function(s)
            bed:lose(math.random(10), s.host)
            return 1
        end,
        function(s, d)
            bed:delay({ delay = 20, jitter = 20, reorder = 5, duplicate = 5 }, s.host, d.host)
            return 1
        end,
    }

    it("are kept right while the network is bad", function()
        trouble("a bad network", 10, function(s, d)
            socket.sleep(math.random() * t:pick(faults)(s, d))
        end)
    end)

    if SECONDS > 20 then
        it("are kept right while everything goes wrong at once", function()
            local books = t:begin({ moves = 4, rate = 400, conns = 24 })
            local kill = t:killer()
            t:for_seconds(SECONDS, function()
                t:pick(faults)(t:pick(nodes), t:pick(dispatches))
                local worker = t:pick(t:processes("worker", nodes))
                if worker and math.random() < 0.3 then -- all may be dead
                    bed:freeze(worker.pid)
                end
                for _ = 1, math.random(3) do
                    kill()
                end
                if math.random() < 0.5 then
                    bed:heal()
                end
            end)
            bed:heal()
            t:judge("everything", books)
        end)
    end

    it("are kept right while a worker is frozen", function()
        trouble("frozen workers", 3, function(s)
            bed:freeze(t:pick(t:processes("worker", { s })).pid)
            socket.sleep(0.5 + math.random() * 3)
        end)
    end)

    local function bind(s, uid)
        local conn = bed.switch:inside(client.open, s:at("game"))
        assert.is_true(conn:call("ledger/bind", { uid = uid }).result)
        return conn
    end

    --- How many uids Redis knows.
    local function known()
        local text = c.store:cli("--scan --pattern 'sd:{u:r" .. t.runs .. "u*:conns'")
        return select(2, text:gsub("\n", ""))
    end

    --- Everybody is counted, on all nodes.
    local function until_counted(n)
        for _, s in ipairs(nodes) do
            local conn = bed.switch:inside(client.open, s:at("game"))
            server.until_(function()
                local r = conn:call("place/count").result
                return r.n == n and not r.silent
            end, s.name .. " counts " .. n)
            conn:close()
        end
    end

    -- As in the soak, or for a moment.
    local AWAY = SECONDS > 20 and 60 or 4

    it("do not stop without Redis, and find everybody when it is back", function()
        local books = t:begin()
        server.until_(function()
            return known() >= 18
        end, "everybody is known")
        local sender, other = bind(nodes[1], "sender"), bind(nodes[2], "other")
        local function say(n)
            assert.is_true(sender:call("ledger/post", { to = "other", data = { n = n } }).result)
            assert.equal(n, other:receive().n)
        end
        say(0)
        c.store:kill()
        for n = 1, AWAY * 10 do
            say(n)
            socket.sleep(0.1)
        end
        c.store:start() -- empty
        local start = socket.gettime()
        server.until_(function()
            return known() >= 18
        end, "everybody is known again")
        until_counted(20)
        print(("known and counted %.1f s after %d s without Redis"):format(
            socket.gettime() - start, AWAY))
        -- Nobody else knows it now.
        for _, relay in ipairs(t:processes("relay", dispatches)) do
            server.shell("kill -KILL " .. relay.pid)
        end
        c:wait_linked()
        socket.sleep(1)
        local sum = t:judge("Redis away", books)
        assert.same({}, sum.words)
        assert.equal(sum.sent, sum.delivered)
        sender:close()
        other:close()
    end)

    it("do not stop when Redis hangs", function()
        local books = t:begin()
        server.until_(function()
            return known() >= 18
        end, "everybody is known")
        bed:freeze(c.store.pid)
        socket.sleep(SECONDS > 20 and 60 or 7) -- longer than a call waits
        bed:heal()
        until_counted(18)
        local sum = t:judge("Redis frozen", books)
        assert.same({}, sum.words)
        assert.equal(sum.sent, sum.delivered)
    end)

    it("are told to whom Redis has forgotten, in time", function()
        local books = t:begin()
        c.store:cli("flushall")
        server.until_(function()
            return known() >= 18
        end, "everybody is known again")
        t:judge("Redis emptied", books)
    end)

    it("do not overtake each other when their uid comes to their node", function()
        local sender, was = bind(nodes[1], "sender"), bind(nodes[2], "mover")
        local function send(n)
            assert.is_true(sender:call("ledger/post", {
                to = "mover",
                data = { n = n },
            }).result)
        end
        send(1)
        assert.equal(1, was:receive().n)
        for _, d in ipairs(dispatches) do
            bed:cut(nodes[2].host, d.host)
        end
        send(2)
        local is = bind(nodes[1], "mover")
        send(3)
        send(4)
        -- Its relays have given the other node up.
        for _, d in ipairs(dispatches) do
            cluster.wait_links(d, 4)
        end
        bed:heal()
        send(5)
        for n = 2, 5 do
            assert.equal(n, is:receive().n)
        end
        sender:close()
        was:close()
        is:close()
    end)

    it("do not look for who was lost with his worker", function()
        local lost = bed.switch:inside(client.open, nodes[2]:at("game"))
        local params = { uid = "lost", policy = "refuse" }
        assert.is_true(lost:call("place/bind", params).result)
        local late = bed.switch:inside(client.open, nodes[1]:at("game"))
        assert.equal("refused", late:call("place/bind", params).error.message)
        nodes[2]:kill("KILL", nodes[2]:process("worker", lost:call("place/slot").result).pid)
        server.until_(function()
            return c.store:cli("hlen 'sd:{u:lost}:conns'"):match("%d+") == "0"
        end, "Redis knows that it is gone")
        local sender = bind(nodes[3], "sender")
        assert.is_true(sender:call("ledger/post", {
            to = "lost",
            data = { m = 1, from = "sender" },
        }).result)
        local told = sender:receive()
        assert.equal("offline", told.reason)
        assert.is_true(late:call("place/bind", params).result)
        sender:close()
        late:close()
    end)

    it("of a node go on without any relay", function()
        local sender, other = bind(nodes[1], "sender"), bind(nodes[1], "near")
        for _, d in ipairs(dispatches) do
            bed:cut(nodes[1].host, d.host)
        end
        for n = 1, 20 do
            assert.is_true(sender:call("ledger/post", {
                to = n % 2 == 0 and "near" or "nobody",
                data = { n = n },
            }).result)
        end
        for n = 2, 20, 2 do
            assert.equal(n, other:receive().n)
        end
        sender:close()
        other:close()
    end)
end)
