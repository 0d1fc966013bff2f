-- What `sdlua status` says of the node beyond its worker processes.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

describe("status", function()
    local s, open

    local function start(files)
        s = server.start(files)
    end

    before_each(function()
        open = {}
    end)

    after_each(function()
        for _, c in ipairs(open) do
            c:close()
        end
        s:stop()
    end)

    describe("of clients that do not read", function()
        local files = {
            ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp",
    slow_client = { low = "64k", high = "8m", policy = "drop_new" } } }]],
            ["scripts/controllers/room.lua"] = [[
local sd = require("sd")
local Room = {}
function Room:enter(p)
    self:bind_uid(p.uid)
    return self:subscribe("room")
end
function Room:flood(p)
    local text = ("x"):rep(10000)
    for _ = 1, p.count do
        while not sd.send_to_uid(p.uid, text) do sd.sleep(0.001) end
    end
    return true
end
return Room]],
        }

        local function enter(uid)
            local c = client.open(s:port("game"))
            c.sock:setoption("recv-buffer-size", 65536)
            open[#open + 1] = c
            assert.is_true(c:call("room/enter", { uid = uid }).result)
            return c
        end

        --- Flood until the list has so many.
        local function slow(n, uids)
            return server.until_(function()
                for _, uid in ipairs(uids) do
                    open[1]:call("room/flood", { uid = uid, count = 50 })
                end
                local list = s:status().slow
                return #list == n and list
            end, n .. " slow clients")
        end

        it("names the worst of them, until they have read", function()
            start(files)
            enter("sender")
            assert.same({}, s:status().slow)
            local snail = enter("snail")
            local list = slow(1, { "snail" })
            local one = list[1]
            assert.equal("snail", one.uid)
            assert.equal("game", one.port)
            assert.equal("127.0.0.1", one.address)
            local _, port = snail.sock:getsockname()
            assert.equal(tonumber(port), one.peer_port)
            assert.is_true(one.bytes > 0 and one.age >= 0)
            local text = s:run("status")
            assert.matches("\nslow clients .*\ngame +%d+ +snail +127%.0%.0%.1 ",
                text)
            snail.sock:settimeout(0.2)
            server.until_(function()
                repeat
                    local got = snail.sock:receive(100000)
                until not got
                return #s:status().slow == 0
            end, "it has read all")
        end)

        it("forgets those of a worker that dies", function()
            start(files)
            enter("sender")
            enter("snail")
            local list = slow(1, { "snail" })
            local index = list[1].worker
            local pid = s:process("worker", index).pid
            s:kill("KILL", pid)
            server.until_(function()
                local p = s:process("worker", index)
                return p.pid ~= pid and p.state == "ready"
            end, "the worker is replaced")
            assert.same({}, s:status().slow)
        end)
    end)

    it("has the embedded redis-server among the processes", function()
        start({ ["config/redis.lua"] =
            [[return { default = { url = "embedded" } }]] })
        local redis = s:process("redis")
        assert.equal("ready", redis.state)
        assert.is_true(redis.memory > 0 and redis.uptime > 0)
        assert.equal(0, redis.restarts)
        assert.truthy(server.is_alive(redis.pid))
        assert.matches("\nredis +" .. redis.pid .. " ready", (s:run("status")))
        s:kill("KILL", redis.pid)
        server.until_(function()
            local ok, p = pcall(s.process, s, "redis")
            return ok and p.pid ~= redis.pid and p.state == "ready"
        end, "it is started again")
        assert.equal(1, s:process("redis").restarts)
        assert.same(cjson.decode((s:run("status --json"))).node, "n")
    end)
end)
