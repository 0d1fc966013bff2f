-- Conns of different workers that bind one uid at the same moment, many times:
-- always one has it in the end, and everybody knows which.
--
-- SPEC_RACES is how many there are for each policy (spec/soak.sh),
-- SPEC_RACES_SEED repeats the dice.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local WORKERS = 4
local RACES = tonumber(os.getenv("SPEC_RACES") or 500)
local SEED = tonumber(os.getenv("SPEC_RACES_SEED") or os.time())
local BATCH = 25 -- races that run at once

local files = {
    ["config/server.lua"] = [[return { workers = 4, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/controllers/u.lua"] = [[
local sd = require("sd")
local U = {}
function U:login(p)
    local ok, err = self:bind_uid(p.uid, { policy = p.policy })
    return { ok = ok, err = err }
end
function U:logout() return self:unbind_uid() end
function U:me() return { uid = self.uid, slot = sd.slot } end
function U:tell(p)
    for _, uid in ipairs(p.uids) do
        while not sd.send_to_uid(uid, { to = uid, from = sd.slot }) do
            sd.sleep(0.01)
        end
    end
    return { online = sd.count_online() }
end
return U]],
}

describe("binds of one uid at the same moment", function()
    local s, ports, admins
    local free = {} -- conns without a uid, by worker
    local opened = 0

    --- One more conn, whichever worker gets it; every other a WebSocket.
    local function open()
        opened = opened + 1
        local is_web = opened % 2 == 0
        local c = is_web and client.ws(ports.web) or client.open(ports.game)
        c.is_web = is_web
        c.slot = c:call("u/me").result.slot
        table.insert(free[c.slot], c)
    end

    --- A conn of that worker.
    local function take(slot)
        for _ = 1, 1000 do
            if #free[slot] > 0 then
                return table.remove(free[slot])
            end
            open()
        end
        error("a worker gets no conn")
    end

    setup(function()
        math.randomseed(SEED)
        s = server.start(files)
        ports = client.ports(s)
        admins = {}
        for slot = 0, WORKERS - 1 do
            free[slot] = {}
        end
        for slot = 0, WORKERS - 1 do
            admins[slot] = take(slot)
        end
    end)

    teardown(function()
        for slot = 0, WORKERS - 1 do
            for _, c in ipairs(free[slot]) do
                c:close()
            end
        end
        s:stop()
    end)

    --- Two or more conns of different workers; of every third race somebody
    --- has the uid already.
    local function race(uid, policy)
        local slots = { 0, 1, 2, 3 }
        local r = { uid = uid, policy = policy, conns = {} }
        for i = 1, math.random(2, WORKERS) do
            local slot = table.remove(slots, math.random(#slots))
            r.conns[i] = take(slot)
        end
        if math.random(3) == 1 then
            r.holder = take(math.random(0, WORKERS - 1))
            local login = { uid = uid, policy = policy }
            assert.is_true(r.holder:call("u/login", login).result.ok)
        end
        return r
    end

    --- Run so many races at once: all conns of a race bind in one go.
    local function start(first, policy)
        local races = {}
        for i = 1, math.min(BATCH, RACES - first + 1) do
            races[i] = race(policy .. first + i - 1, policy)
        end
        for _, r in ipairs(races) do
            local login = { uid = r.uid, policy = policy }
            for _, c in ipairs(r.conns) do
                c:send(client.packet("u/login", login, "login"))
            end
        end
        return races
    end

    local function name(r)
        return ("%s (SPEC_RACES_SEED=%d)"):format(r.uid, SEED)
    end

    --- The next packet; nil and the close code when none comes any more.
    local function packet(c)
        local text, why, code = c:get()
        if not text then
            assert.equal("closed", why)
            return nil, code
        end
        return cjson.decode(text)
    end

    --- Does the conn have the uid? False: it was closed, as it must be.
    local function has_it(c, r)
        pcall(c.send, c, client.packet("u/me", nil, "me"))
        local p, code
        repeat
            p, code = packet(c)
        until not p or p.id == "me"
        if p then
            assert.equal(r.uid, p.result.uid, name(r))
            return true
        end
        assert.equal(c.is_web and 4005 or nil, code, name(r))
        return false
    end

    --- Wait until one of the conns is left.
    local function winner_of(r)
        local rest = { r.holder, unpack(r.conns) }
        if not r.holder then
            rest = { unpack(r.conns) }
        end
        return server.until_(function()
            local left = {}
            for _, c in ipairs(rest) do
                if has_it(c, r) then
                    left[#left + 1] = c
                else
                    c:close()
                end
            end
            rest = left
            assert.is_true(#rest > 0, "nobody has " .. name(r))
            return #rest == 1 and rest[1]
        end, "one has " .. name(r))
    end

    --- Whoever asks, on any worker, finds the uids where they are.
    local function all_find(races)
        local uids = {}
        for i, r in ipairs(races) do
            uids[i] = r.uid
        end
        for slot = 0, WORKERS - 1 do
            local told = admins[slot]:call("u/tell", { uids = uids }).result
            assert.equal(#races, told.online)
        end
        for _, r in ipairs(races) do
            local from = {}
            for _ = 1, WORKERS do
                local p = assert(packet(r.winner))
                assert.equal(r.uid, p.to, name(r))
                assert.is_nil(from[p.from], name(r))
                from[p.from] = true
            end
        end
    end

    local function finish(races)
        for _, r in ipairs(races) do
            r.winner:call("u/logout")
            assert.equal(0, #r.winner.pushes, name(r))
            table.insert(free[r.winner.slot], r.winner)
        end
    end

    it("leave it to one of them, and close the others", function()
        for first = 1, RACES, BATCH do
            local races = start(first, "kick")
            for _, r in ipairs(races) do
                r.winner = winner_of(r)
                assert.not_equal(r.holder, r.winner, name(r))
            end
            all_find(races)
            finish(races)
        end
    end)

    --- Everybody is answered; who was refused goes on.
    local function judge(r)
        for _, c in ipairs(r.conns) do
            local got = assert(packet(c)).result
            if got.ok then
                assert.is_nil(r.winner, "two have " .. name(r))
                r.winner = c
            else
                assert.equal("refused", got.err, name(r))
                table.insert(free[c.slot], c)
            end
        end
        if r.holder then
            assert.is_nil(r.winner, "two have " .. name(r))
            r.winner = r.holder
        end
        assert.is_truthy(r.winner, "nobody has " .. name(r))
    end

    it("are refused to all but one of them", function()
        for first = 1, RACES, BATCH do
            local races = start(first, "refuse")
            for _, r in ipairs(races) do
                judge(r)
            end
            all_find(races)
            for _, r in ipairs(races) do
                for _, c in ipairs(r.conns) do
                    local has = c:call("u/me").result.uid
                    assert.equal(c == r.winner and r.uid or nil, has, name(r))
                end
            end
            finish(races)
        end
    end)
end)
