-- Messages between uids of three nodes, over two dispatches, in calm and in
-- every kind of trouble: whatever happens, each ends in one class of the books
-- (spec/support/cluster_ledger.py), and none of them is wrong.
local cjson = require("cjson")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

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
            nodes[i] = c:node(name, bed[i], ledger.files)
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
        local books = begin()
        for_seconds(SECONDS, function()
            local role = pick({ "relay", "relay", "worker", "agent" })
            local list = pids(role, role == "relay" and dispatches or nodes)
            if #list > 0 then
                server.shell("kill -KILL " .. pick(list))
            end
            socket.sleep(math.random() * 0.8)
        end)
        judge("kills", books)
    end)
end)
