-- Messages between uids of three nodes, over two dispatches, in calm and in
-- every kind of trouble: whatever happens, each ends in one class of the books
-- (spec/support/cluster_ledger.py), and none of them is wrong.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

-- Who loses a uid, and why, to the log.
local files = {}
for path, text in pairs(ledger.files) do
    files[path] = text
end
files["scripts/app.lua"] = ledger.files["scripts/app.lua"]:gsub("return app", [[
function app.on_uid_closed(uid, _, reason)
    sd.log.info(uid .. " is off: " .. reason)
end
return app]])

-- Of one process in a minute: at five its breaker opens, and it stays away.
local MOST_KILLS = 4

files["scripts/controllers/place.lua"] = [[
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
return Place]]

local SECONDS = tonumber(os.getenv("SD_SPEC_SECONDS") or 20)

describe("messages of a cluster", function()
    local bed, c, nodes, dispatches
    local dice = tonumber(os.getenv("SD_SEED") or os.time())

    lazy_setup(function()
        math.randomseed(dice)
        bed = hosts.start(6)
        c = cluster.new(bed)
        c:redis(bed[6])
        nodes, dispatches = {}, {}
        for i, name in ipairs({ "a", "b", "c" }) do
            nodes[i] = c:new_node(name, bed[i], files)
            nodes[i].env = "SD_SPEC_ROUND=4"
        end
        for i, name in ipairs({ "d", "e" }) do
            dispatches[i] = c:new_dispatch(name, bed[i + 3])
        end
        c:launch()
        c:wait_linked()
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    local running -- the books of a spec, until they were read
    local runs = 0

    after_each(function()
        bed:heal()
        if running then
            server.shell("kill -KILL " .. running.pid)
            running = nil
        end
        c:wait_linked()
    end)

    --- Begin the books. They are kept at the switch: no fault reaches them.
    local function begin(options)
        local endpoints = {}
        for i, s in ipairs(nodes) do
            endpoints[2 * i - 1] = "tcp:" .. s:at("game")
            endpoints[2 * i] = "ws:" .. s:at("web")
        end
        local all = { conns = 18, rate = 200, call = "ledger/post" }
        for name, value in pairs(options or {}) do
            all[name] = value
        end
        runs = runs + 1
        all.prefix = ("r%du"):format(runs)
        running = ledger.start(endpoints, all, bed.switch)
        return running
    end

    --- Print the books and see that nothing is wrong in them.
    local function judge(what, books)
        local sum, err = books:finish()
        running = nil
        print(("%s (seed %d): %s"):format(what, dice, cjson.encode(sum)))
        if sum.wrong > 0 and os.getenv("SD_SPEC_LOGS") then
            local f = assert(io.open(os.getenv("SD_SPEC_LOGS"), "a"))
            f:write(what, "\n", err, "\n", c:logs(), "\n")
            f:close()
        end
        assert.equal(0, sum.wrong, err)
        assert.is_true(sum.delivered > 0)
        return sum, err
    end

    --- The processes of that role on those.
    local function processes(role, of)
        local list = {}
        for _, s in ipairs(of) do
            for _, p in ipairs((s:status() or { processes = {} }).processes) do
                if p.role == role and p.pid > 0 then
                    p.name = ("%s of %s"):format(role, s.name)
                    list[#list + 1] = p
                end
            end
        end
        return list
    end

    local function for_seconds(seconds, fn)
        local stop = socket.gettime() + seconds
        while socket.gettime() < stop do
            fn()
        end
    end

    local function pick(list)
        return list[math.random(#list)]
    end

    for _, way in ipairs({ "post" }) do
        it("arrive in calm: " .. way, function()
            local books = begin({ call = "ledger/" .. way, rate = 400 })
            socket.sleep(2)
            local sum, err = judge("calm, " .. way, books)
            assert.equal("", err)
            assert.equal(sum.sent, sum.delivered, cjson.encode(sum))
        end)
    end

    --- Kills one process after the other; `kills` says how often which.
    local function killer(kills)
        local start = socket.gettime()
        return function()
            local role = pick({ "relay", "relay", "worker", "agent" })
            local of = pick(role == "relay" and dispatches or nodes)
            local one = pick(processes(role, { of }))
            local name = one and one.name .. one.index
            local minutes = 1 + math.floor((socket.gettime() - start) / 75)
            if one and (kills[name] or 0) < MOST_KILLS * minutes then
                server.shell("kill -KILL " .. one.pid)
                kills[name] = (kills[name] or 0) + 1
            end
            socket.sleep(math.random() * 0.5)
        end
    end

    it("are kept right while processes are killed", function()
        local books, kills = begin({ moves = 3 }), {}
        for_seconds(SECONDS, killer(kills))
        print("killed: " .. cjson.encode(kills))
        local sum = judge("kills", books)
        assert.is_true(sum.delivered > sum.sent / 2)
    end)

    --- Do that again and again, with a moment of peace each time.
    local function trouble(what, seconds, fn)
        local books, n = begin({ moves = 2 }), 0
        for_seconds(seconds, function()
            fn(pick(nodes), pick(dispatches))
            n = n + 1
            bed:heal()
            socket.sleep(math.random() * 0.3)
        end)
        local sum = judge(("%s, %d times"):format(what, n), books)
        assert.is_true(sum.delivered > sum.sent / 2)
        return sum
    end

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
            socket.sleep(math.random() * pick(faults)(s, d))
        end)
    end)

    if SECONDS > 20 then
        it("are kept right while everything goes wrong at once", function()
            local books = begin({ moves = 4, rate = 400, conns = 24 })
            local kill = killer({})
            for_seconds(SECONDS, function()
                pick(faults)(pick(nodes), pick(dispatches))
                if math.random() < 0.3 then
                    bed:freeze(pick(processes("worker", nodes)).pid)
                end
                for _ = 1, math.random(3) do
                    kill()
                end
                if math.random() < 0.5 then
                    bed:heal()
                end
            end)
            bed:heal()
            judge("everything", books)
        end)
    end

    it("are kept right while a relay is frozen", function()
        trouble("a frozen relay", 5, function(_, d)
            bed:freeze(pick(processes("relay", { d })).pid)
            socket.sleep(5)
        end)
    end)

    it("are kept right while a worker is frozen", function()
        trouble("frozen workers", 3, function(s)
            bed:freeze(pick(processes("worker", { s })).pid)
            socket.sleep(0.5 + math.random() * 3)
        end)
    end)

    --- How many uids Redis knows.
    local function known()
        local text = c.store:cli("--scan --pattern 'sd:{u:r" .. runs .. "u*:conns'")
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
        local books = begin()
        server.until_(function()
            return known() >= 18
        end, "everybody is known")
        c.store:kill()
        socket.sleep(AWAY)
        c.store:start() -- empty
        local start = socket.gettime()
        server.until_(function()
            return known() >= 18
        end, "everybody is known again")
        until_counted(18)
        print(("known and counted %.1f s after %d s without Redis"):format(
            socket.gettime() - start, AWAY))
        -- Nobody else knows it now.
        for _, relay in ipairs(processes("relay", dispatches)) do
            server.shell("kill -KILL " .. relay.pid)
        end
        c:wait_linked()
        socket.sleep(1)
        local sum = judge("Redis away", books)
        assert.same({}, sum.words)
        assert.equal(sum.sent, sum.delivered)
        assert.is_true(sum.gap_ms < 3000)
    end)

    it("do not stop when Redis hangs", function()
        local books = begin()
        server.until_(function()
            return known() >= 18
        end, "everybody is known")
        bed:freeze(c.store.pid)
        socket.sleep(SECONDS > 20 and 60 or 7) -- longer than a call waits
        bed:heal()
        until_counted(18)
        local sum = judge("Redis frozen", books)
        assert.same({}, sum.words)
        assert.equal(sum.sent, sum.delivered)
        assert.is_true(sum.gap_ms < 3000)
    end)

    it("are told to whom Redis has forgotten, in time", function()
        local books = begin()
        c.store:cli("flushall")
        server.until_(function()
            return known() >= 18
        end, "everybody is known again")
        judge("Redis emptied", books)
    end)

    local function bind(s, uid)
        local conn = bed.switch:inside(client.open, s:at("game"))
        assert.is_true(conn:call("ledger/bind", { uid = uid }).result)
        return conn
    end

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
