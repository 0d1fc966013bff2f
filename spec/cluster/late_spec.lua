-- What waits on its way to another node for longer than its sender does is not
-- delivered; and what does not, is.
local calls = require("spec.support.cluster_calls")
local client = require("spec.support.client")
local socket = require("socket")

local BUSY = [[
local sd = require("sd")
local Busy = {}
function Busy:go(p)
    assert(sd.ask_uid(p.uid, {}, { timeout = 10 }))
    local begin = sd.now()
    repeat
        for i = 1, 1000 do i = i + 1 end
    until sd.now() - begin >= p.busy
    local ok, err = sd.deliver_to_uid(p.uid, { n = 1 }, { timeout = p.timeout })
    return { ok = ok or false, err = err or "none" }
end
return Busy]]

-- Shorter than a link may be silent: it holds, and what is in it waits.
local LIFE, BUSY_FOR = 1, 1.6

describe("a message to another node", function()
    local t = calls.new()
    local own, open, login, call, push = t.own, t.open, t.login, t.call, t.push
    local begin, finish = t.begin, t.finish

    setup(function()
        t.start({ ["scripts/controllers/busy.lua"] = BUSY }, "SD_SERVER_MAX_RUN=20s")
    end)
    teardown(t.stop)
    before_each(t.before)
    after_each(t.after)

    local function relays()
        return t.nodes.dispatch, t.nodes:dispatch_pids("relay")
    end

    local function workers()
        return t.nodes.b, { t.nodes.b:process("worker", 0).pid,
            t.nodes.b:process("worker", 1).pid }
    end

    for who, pids_of in pairs({ relay = relays, worker = workers }) do
        it("outlives a " .. who .. " that stands still, or ends with its life", function()
            local x, y = login("b", "ben"), login("b", "yan")
            local c, d = open("a"), open("a")
            for _, uid in ipairs({ "ben", "yan" }) do
                assert.is_true(call(c, "worker", "deliver_to_uid", own(uid), { n = 0 }))
            end
            local node, pids = pids_of()
            for _, pid in ipairs(pids) do
                node:kill("STOP", pid)
            end
            begin(d, "worker", "deliver_to_uid", own("yan"), { n = 1 }, { timeout = 15 })
            local short = { call(c, "worker", "deliver_to_uid", own("ben"), { n = 1 },
                { timeout = 0.5 }) }
            socket.sleep(0.3) -- a life ends to some ms
            for _, pid in ipairs(pids) do
                node:kill("CONT", pid)
            end
            assert.same({ nil, "timeout" }, short)
            assert.is_true(finish(d))
            assert.is_true(call(c, "worker", "deliver_to_uid", own("ben"), { n = 2 }))
            assert.same({ 0, 2 }, { push(x).n, push(x).n })
            assert.same({ 0, 1 }, { push(y).n, push(y).n })
            t.nodes:join()
        end)
    end

    it("is as young as it is, also behind Lua that went on with an answer", function()
        local c, x = open("a"), login("b", "ben")
        c:send(client.packet("busy/go",
            { uid = own("ben"), busy = BUSY_FOR, timeout = LIFE }, 1))
        t.answer(x, push(x), {})
        assert.equal(1, push(x).n)
        assert.same({ ok = true, err = "none" }, c:receive().result)
    end)
end)
