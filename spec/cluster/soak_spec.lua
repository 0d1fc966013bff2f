-- Relays, workers and agents of three nodes and two dispatches are killed at
-- random, at 30 % of what the same cluster has just been seen to carry. Each
-- message ends in one class of the books, and none is wrong.
local cjson = require("cjson")
local trial = require("spec.support.trial")
local socket = require("socket")

local SECONDS = tonumber(os.getenv("SPEC_SECONDS") or 20)
local SHARE = 0.3

-- Its parts: half of the messages wait for their outcome, the others are
-- reported by the hook.
local WAYS = {
    { call = "ledger/deliver", confirmed = true },
    { call = "ledger/post" },
}

describe("a cluster whose processes are killed", function()
    local t

    lazy_setup(function()
        t = trial.start()
    end)

    lazy_teardown(function()
        t:stop()
    end)

    after_each(function()
        t:rest()
    end)

    local function begin(options)
        local list = {}
        for i, way in ipairs(WAYS) do
            local all = { conns = 12 }
            for _, some in ipairs({ way, options }) do
                for name, value in pairs(some) do
                    all[name] = value
                end
            end
            list[i] = t:begin(all)
        end
        return list
    end

    local function judge(what, list)
        local all = {}
        for i, books in ipairs(list) do
            local sum = t:judge(what .. ", " .. WAYS[i].call, books)
            for name, n in pairs(sum) do
                if type(n) == "number" then
                    all[name] = (all[name] or 0) + n
                end
            end
        end
        return all
    end

    --- Messages a second when every client sends its next one as soon as the
    --- last was answered.
    local function capacity()
        local list = begin({ rate = 0, depth = 8 })
        local start = socket.gettime()
        socket.sleep(4)
        local took = socket.gettime() - start
        return judge("as fast as possible", list).delivered / took
    end

    it("delivers or reports every message", function()
        local most = capacity()
        local rate = SHARE * most
        local list = begin({ rate = math.ceil(rate / #WAYS), moves = 1 })
        local kill, kills = t:killer()
        t:for_seconds(SECONDS, kill)
        local sum = judge("kills", list)
        print(("capacity %.0f a second; %d s at %.0f a second; killed: %s"):format(most,
            SECONDS, rate, cjson.encode(kills)))
        print(("sent %d: delivered %d, reported %d, timeout and delivered %d, sender died %d, "
            .. "uid moved %d, wrong %d (lost %d, doubled %d, reordered %d)"):format(sum.sent,
            sum.delivered, sum.reported, sum.timeout_delivered, sum.sender_died,
            sum.uid_moved, sum.wrong, sum.lost, sum.doubled, sum.reordered))
        assert.is_true(sum.delivered > sum.sent / 10)
        t:wait_balance()
    end)
end)
