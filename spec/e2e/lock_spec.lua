-- Locks in Redis: one owner at a time, whoever dies.
local client = require("spec.support.client")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 4, tasks = 1, name = "n", reload_timeout = "5s" }]],
    ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp",
    timeout = "60s", max_inflight = 4 } }]],
    ["lib/began.lua"] = "return {}",
    ["scripts/app.lua"] = [[
local sd = require("sd")
return { on_start = function()
    require("began").said = sd.lock("began" .. sd.slot, 5, function(fence)
        sd.sleep(0.01)
        return fence
    end)
end }]],
    ["scripts/controllers/l.lua"] = [[
local sd = require("sd")
local L = {}
local open
function L:who() return { slot = sd.slot } end
function L:began() return { fence = require("began").said } end
--- Hold it for a while; says what lock() said.
function L:hold(p)
    local r = { sd.lock(p.key, p.ttl, function(fence)
        sd.redis():rpush("holders", sd.slot)
        sd.sleep(p.seconds)
        return "done", fence
    end, { wait = p.wait }) }
    return { a = r[1], b = r[2] }
end
--- Add one n times to a number in Redis, by reading and writing.
function L:count(p)
    for _ = 1, p.n do
        local ok, err = sd.lock("count", 5, function(fence)
            local redis = sd.redis()
            local n = tonumber(redis:get("n") or 0)
            sd.sleep(0.001)
            redis:set("n", n + 1)
            redis:rpush("fences", ("%.0f"):format(fence))
            return true
        end, { wait = 60 })
        if not ok then return { err = err } end
    end
    return { ok = true }
end
--- One that ends when it learns that it has lost it.
function L:lose(p)
    local seen
    local r = { sd.lock(p.key, p.ttl, function()
        local ok, err = pcall(function()
            while true do sd.sleep(0.02) end
        end)
        seen = err
        return "never"
    end) }
    return { a = r[1], b = r[2], seen = seen }
end
--- One that computes for longer than the lock lives.
function L:compute(p)
    local r = { sd.lock(p.key, p.ttl, function()
        local last = sd.now() + p.seconds
        while sd.now() < last do end
        return "done"
    end) }
    return { a = r[1], b = r[2] }
end
function L:fails(p)
    local r = { sd.lock("fails", 5, function() error("went wrong") end) }
    local again = sd.lock("fails", 5, function() return "free" end)
    local err = { sd.lock("fails", 5, function() return nil, "no" end) }
    return { a = r[1], b = r[2], again = again, err = err[2] }
end
--- The parent ends, and its lock with it.
function L:parent()
    local a, b = sd.timeout(0.1, sd.lock, "parent", 30,
        function() sd.sleep(20) end)
    return { a = a, b = b }
end
--- One that does not wait until it has it.
function L:hasty(p)
    local handle = sd.go(sd.lock, p.key, 120, function() end)
    sd.sleep(p.seconds)
    handle:cancel()
    local a, b = handle:wait(60)
    return { a = a, b = b }
end
function L:misuse(p)
    local ok, err = pcall(sd.lock, p.key, p.ttl, p.fn and print)
    return { ok = ok, err = tostring(err) }
end
return L]],
}

--- A call whose answer is fetched later.
local function begin(c, path, params)
    c.last = (c.last or 0) + 1
    c:send(client.packet(path, params, c.last))
end

local function finish(c)
    local packet = assert(c:receive())
    assert.equal(c.last, packet.id)
    return packet
end

describe("sd.lock #redis", function()
    local r, s, by_slot, all

    setup(function()
        r = redis.start()
        local theirs = { ["config/redis.lua"] =
            ([[return { default = { url = "%s" } }]]):format(r.url) }
        for path, text in pairs(files) do
            theirs[path] = text
        end
        s = server.start(theirs)
        by_slot, all = {}, {}
        server.until_(function()
            local c = client.open(s:port("game"))
            all[#all + 1] = c
            by_slot[c:call("l/who").result.slot] = c
            return by_slot[0] and by_slot[1] and by_slot[2] and by_slot[3]
        end, "a client on each worker")
    end)

    teardown(function()
        s:stop()
        r:stop()
    end)

    before_each(function()
        r:cli("flushall")
    end)

    local function holders(n)
        server.until_(function()
            return tonumber((r:cli("llen holders"))) == n
        end, n .. " holders")
    end

    it("is one worker's at a time, with fencing numbers that rise", function()
        local n = 15
        for slot = 0, 3 do
            begin(by_slot[slot], "l/count", { n = n })
        end
        for slot = 0, 3 do
            assert.same({ ok = true }, finish(by_slot[slot]).result)
        end
        assert.equal(4 * n, tonumber((r:cli("get n"))))
        local last, count = 0, 0
        for text in r:cli("lrange fences 0 -1"):gmatch("%d+") do
            assert.is_true(tonumber(text) > last)
            last, count = tonumber(text), count + 1
        end
        assert.equal(4 * n, count)
    end)

    it("says busy at once, or when it has waited", function()
        begin(by_slot[0], "l/hold", { key = "k", ttl = 10, seconds = 1 })
        holders(1)
        assert.same({ b = "busy" },
            by_slot[1]:call("l/hold", { key = "k", ttl = 10, seconds = 0 }).result)
        assert.same({ b = "busy" }, by_slot[1]:call("l/hold",
            { key = "k", ttl = 10, seconds = 0, wait = 0.1 }).result)
        assert.equal("done", by_slot[1]:call("l/hold",
            { key = "k", ttl = 10, seconds = 0, wait = 20 }).result.a)
        assert.equal("done", finish(by_slot[0]).result.a)
    end)

    it("is free as soon as it is released", function()
        for _ = 1, 20 do
            for slot = 0, 3 do
                assert.equal("done", by_slot[slot]:call("l/hold",
                    { key = "k", ttl = 30, seconds = 0 }).result.a)
            end
        end
        assert.equal("0", (r:cli("exists '{l:k}:owner'"):gsub("%s", "")))
    end)

    it("is renewed while its function runs", function()
        begin(by_slot[0], "l/hold", { key = "k", ttl = 0.5, seconds = 2 })
        holders(1)
        assert.same({ b = "busy" }, by_slot[1]:call("l/hold",
            { key = "k", ttl = 1, seconds = 0, wait = 1 }).result)
        assert.equal("done", finish(by_slot[0]).result.a)
    end)

    it("gives what the function returns, and is free when it fails", function()
        local result = by_slot[0]:call("l/fails").result
        assert.matches("^failed", result.b)
        assert.equal("free", result.again)
        assert.equal("no", result.err)
        assert.matches("went wrong", s:output())
    end)

    it("ends with its parent", function()
        assert.same({ b = "timeout" }, by_slot[0]:call("l/parent").result)
        assert.equal("done", by_slot[1]:call("l/hold",
            { key = "parent", ttl = 1, seconds = 0, wait = 10 }).result.a)
    end)

    it("is not kept by who was cancelled before it had it", function()
        by_slot[0]:call("l/hold", { key = "k", ttl = 1, seconds = 0 })
        r:signal(19)
        local result = by_slot[0]:call("l/hasty", { key = "k", seconds = 0.1 }).result
        r:signal(18)
        assert.same({ b = "cancelled" }, result)
        -- This goes the same way, so that Redis has read the others before.
        assert.equal("done", by_slot[0]:call("l/hold",
            { key = "k", ttl = 1, seconds = 0 }).result.a)
    end)

    it("that is lost cancels its function", function()
        begin(by_slot[0], "l/lose", { key = "k", ttl = 0.6 })
        server.until_(function()
            return r:cli("set 'sd:{l:k}:owner' thief xx"):find("OK")
        end, "it is taken away")
        assert.same({ b = "closed: the lock was lost", seen = "cancelled" },
            finish(by_slot[0]).result)
        assert.matches("thief", r:cli("get 'sd:{l:k}:owner'"))
    end)

    it("is lost when Redis is away, and then unavailable", function()
        begin(by_slot[0], "l/lose", { key = "k", ttl = 0.6 })
        server.until_(function()
            return r:cli("exists 'sd:{l:k}:owner'"):find("1")
        end, "it is taken")
        r:kill()
        assert.same({ b = "closed: the lock was lost", seen = "cancelled" },
            finish(by_slot[0]).result)
        assert.same({ b = "unavailable" }, by_slot[1]:call("l/hold",
            { key = "k", ttl = 1, seconds = 0 }).result)
        r:start()
        for slot = 0, 3 do
            server.until_(function()
                return by_slot[slot]:call("l/hold",
                    { key = "k", ttl = 1, seconds = 0 }).result.a == "done"
            end, "Redis is back")
        end
    end)

    it("that expired while its function computed was lost", function()
        assert.same({ b = "closed: the lock was lost" }, by_slot[0]:call("l/compute",
            { key = "k", ttl = 0.1, seconds = 0.4 }).result)
        assert.same({ a = "done" }, by_slot[0]:call("l/compute",
            { key = "k", ttl = 60, seconds = 0.4 }).result)
    end)

    it("has higher numbers also when Redis has lost its data", function()
        local last = 0
        for i = 0, 7 do
            local result = by_slot[i % 4]:call("l/hold",
                { key = "k", ttl = 30, seconds = 0 }).result
            assert.equal("done", result.a)
            assert.is_true(result.b > last)
            last = result.b
            r:cli("flushall")
        end
    end)

    it("is renewed while its call outlives a reload", function()
        begin(by_slot[0], "l/hold", { key = "k", ttl = 1, seconds = 3 })
        holders(1)
        local text, code = s:run("reload")
        assert.equal(0, code, text)
        assert.same({ b = "busy" }, by_slot[1]:call("l/hold",
            { key = "k", ttl = 1, seconds = 0, wait = 1.5 }).result)
        assert.equal("done", finish(by_slot[0]).result.a)
        assert.equal("done", by_slot[1]:call("l/hold",
            { key = "k", ttl = 1, seconds = 0 }).result.a)
    end)

    it("of a process that was killed expires", function()
        local c
        for _, p in ipairs(s:status().processes) do
            if p.role == "worker" and p.index == 3 then
                c = p
            end
        end
        begin(by_slot[3], "l/hold", { key = "k", ttl = 2, seconds = 30 })
        holders(1)
        s:kill("KILL", c.pid)
        assert.same({ b = "busy" },
            by_slot[1]:call("l/hold", { key = "k", ttl = 2, seconds = 0 }).result)
        local result = by_slot[1]:call("l/hold",
            { key = "k", ttl = 2, seconds = 0, wait = 30 }).result
        assert.equal("done", result.a)
        server.until_(function()
            local fresh = client.open(s:port("game"))
            all[#all + 1] = fresh
            local slot = fresh:call("l/who").result.slot
            by_slot[slot] = slot == 3 and fresh or by_slot[slot]
            return slot == 3
        end, "worker 3 is back")
    end)

    it("may be taken in on_start, and again in that of new code", function()
        local first = by_slot[1]:call("l/began").result.fence
        assert.is_number(first)
        local text, code = s:run("reload")
        assert.equal(0, code, text)
        assert.is_true(by_slot[1]:call("l/began").result.fence > first)
    end)

    it("refuses misuse", function()
        local function misuse(key, ttl, fn)
            local result = by_slot[0]:call("l/misuse",
                { key = key, ttl = ttl, fn = fn }).result
            assert.is_false(result.ok)
            return result.err
        end
        assert.matches("bad key", misuse("", 1, true))
        assert.matches("at least 0.1", misuse("k", 0, true))
        assert.matches("a function expected", misuse("k", 1, false))
    end)
end)
