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
            nodes[i]:launch()
            nodes[i]:wait_ready()
        end
        for i, name in ipairs({ "d", "e" }) do
            dispatches[i] = c:dispatch(name, bed[i + 3])
        end
        c:wait_linked()
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    after_each(function()
        bed:heal()
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
        return ledger.start(endpoints, all, bed.switch)
    end

    --- Print the books and see that nothing is wrong in them.
    local function judge(what, books)
        local sum, err = books:finish()
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

    --- The pids of that role on those.
    local function pids(role, of)
        local list = {}
        for _, s in ipairs(of) do
            for _, p in ipairs((s:status() or { processes = {} }).processes) do
                if p.role == role and p.pid > 0 then
                    list[#list + 1] = p.pid
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

    it("are kept right while processes are killed", function()
        local books, kills = begin(), {}
        for_seconds(SECONDS, function()
            local role = pick({ "relay", "relay", "worker", "agent" })
            local of = pick(role == "relay" and dispatches or nodes)
            local list = pids(role, { of })
            if #list > 0 then
                server.shell("kill -KILL " .. pick(list))
                kills[role] = (kills[role] or 0) + 1
            end
            socket.sleep(math.random() * 0.5)
        end)
        print("killed: " .. cjson.encode(kills))
        local sum = judge("kills", books)
        assert.is_true(sum.delivered > sum.sent / 2)
    end)

    --- Do that again and again, with a moment of peace each time.
    local function trouble(what, seconds, fn)
        local books, n = begin(), 0
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

    it("are kept right while links are cut and heal", function()
        trouble("cuts", 6, function(s, d)
            bed:cut(s.host, d.host, math.random() < 0.5)
            socket.sleep(math.random() * 3.5)
        end)
    end)

    it("are kept right while links are reset", function()
        trouble("resets", 2, function(s, d)
            bed:reset(s.host, d.host)
        end)
    end)

    it("are kept right while frames are lost, late and doubled", function()
        trouble("losses", 3, function()
            bed:lose(math.random(10), pick(nodes).host)
            socket.sleep(1)
        end)
    end)

    it("are kept right while a relay is frozen", function()
        trouble("a frozen relay", 5, function(_, d)
            local pid = pick(pids("relay", { d }))
            bed:freeze(pid)
            socket.sleep(5)
        end)
    end)

    it("are kept right while a worker is frozen", function()
        trouble("frozen workers", 3, function(s)
            bed:freeze(pick(pids("worker", { s })))
            socket.sleep(0.5 + math.random() * 3)
        end)
    end)

    --- How many uids Redis knows.
    local function known()
        local text = c.store:cli("--scan --pattern 'sd:{u:*:conns'")
        return select(2, text:gsub("\n", ""))
    end

    it("do not stop without Redis, and find everybody when it is back", function()
        local books = begin()
        server.until_(function()
            return known() >= 18
        end, "everybody is known")
        c.store:kill()
        socket.sleep(4)
        c.store:start() -- empty
        server.until_(function()
            return known() >= 18
        end, "everybody is known again")
        -- Nobody else knows it now.
        for _, pid in ipairs(pids("relay", dispatches)) do
            server.shell("kill -KILL " .. pid)
        end
        c:wait_linked()
        socket.sleep(1)
        local sum = judge("Redis away", books)
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

    describe("when the network is in two", function()
        local function bind(s)
            local conn = bed.switch:inside(client.open, s:at("game"))
            assert.is_true(conn:call("ledger/bind", { uid = "twin" }).result)
            return conn
        end

        local function is_closed(conn)
            conn.sock:settimeout(0.01)
            local _, why = conn.sock:receive(1)
            return why == "closed"
        end

        it("serve each side, and one of two conns afterwards", function()
            -- a and d here, the rest and Redis there.
            for _, here in ipairs({ 1, 4 }) do
                for _, there in ipairs({ 2, 3, 5, 6 }) do
                    bed:cut(bed[here], bed[there])
                end
            end
            local books = begin()
            local twins = { bind(nodes[1]), bind(nodes[2]) }
            socket.sleep(2)
            for i, twin in ipairs(twins) do
                local side = bed.switch:inside(client.open, nodes[i]:at("game"))
                assert.is_true(side:call("ledger/post", {
                    to = "twin",
                    data = { n = i },
                }).result)
                assert.equal(i, twin:receive().n)
                side:close()
            end
            bed:heal()
            c:wait_linked()
            server.until_(function()
                return is_closed(twins[1]) or is_closed(twins[2])
            end, "one of them is put out")
            judge("partition", books)
            assert.are_not.equal(is_closed(twins[1]), is_closed(twins[2]))
            local left = is_closed(twins[1]) and 2 or 1
            twins[left].sock:settimeout(10)
            for _, s in ipairs(nodes) do
                local sender = bed.switch:inside(client.open, s:at("game"))
                sender:call("ledger/post", { to = "twin", data = { n = s.name } })
                assert.equal(s.name, twins[left]:receive().n)
                sender:close()
            end
            local ends, kicks = c:logs(), 0
            for why in ends:gmatch("twin is off: (%w+)") do
                assert.equal("replaced", why)
                kicks = kicks + 1
            end
            assert.equal(1, kicks)
            local conns = c.store:cli("hlen 'sd:{u:twin}:conns'")
            assert.equal("1", conns:match("%d+"))
            twins[left]:close()
        end)
    end)
end)
