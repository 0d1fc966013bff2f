-- The client of store/ against real servers, by way of support/redisclient.c.
local support = require("spec.support.redis")

local SIGSTOP, SIGCONT = 19, 18
local build = os.getenv("SD_BUILD") or "build/dev"

---@class Client
local Client = {}
Client.__index = Client

local function client(url)
    local base = support.run("mktemp"):gsub("%s", "")
    local command = ("env -u LD_PRELOAD %s/redisclient '%s' > %s 2> %s.log"):format(
        build,
        url,
        base,
        base
    )
    return setmetatable({ pipe = io.popen(command, "w"), base = base }, Client)
end

function Client:send(...)
    self.pipe:write(table.concat({ ... }, "\n"), "\n")
    self.pipe:flush()
end

--- The answer whose first word is `tag`.
function Client:answer(tag, seconds)
    return support.until_(function()
        local text = "\n" .. support.read(self.base)
        return text:match("\n" .. tag .. " ([^\n]*)\n")
    end, seconds)
end

function Client:ask(tag, line)
    self:send(("call %d %s"):format(tag, line))
    return self:answer(tag)
end

function Client:log()
    return support.read(self.base .. ".log")
end

--- By a word: a server started meanwhile keeps the pipe open.
function Client:close()
    self:send("quit")
    self.pipe:close()
    os.remove(self.base)
    os.remove(self.base .. ".log")
end

--- The counts of a load that has ended.
function Client:stop_load()
    self:send("stop")
    local names = "issued ok mismatched unavailable closed timeout other twice"
    local values = self:answer("load", 20):gmatch("%d+")
    local counts = {}
    for name in names:gmatch("%S+") do
        counts[name] = tonumber(values())
    end
    return counts
end

local function check_load(counts)
    local ended = counts.ok + counts.unavailable + counts.closed + counts.timeout
    assert.equal(counts.issued, ended)
    assert.equal(0, counts.mismatched)
    assert.equal(0, counts.other)
    assert.equal(0, counts.twice)
end

describe("the Redis client", function()
    local server, c

    before_each(function()
        server = support.start()
    end)

    after_each(function()
        if c then
            c:close()
        end
        c = nil
        server:stop()
    end)

    it("gives every kind of reply", function()
        c = client(server.url)
        assert.equal("ok OK", c:ask(1, "1000 0 SET a 1"))
        assert.equal("ok 2", c:ask(2, "1000 0 INCR a"))
        assert.equal("ok (nil)", c:ask(3, "1000 0 GET none"))
        assert.equal("ok [2,(nil)]", c:ask(4, "1000 0 MGET a none"))
        assert.truthy(c:ask(5, "1000 0 NOSUCH"):find("^ok !ERR_unknown"))
        assert.equal("ok 3 3", c:ask(6, "1000 0 INCR a | GET a"))
        assert.equal("ok [1,[2,!ERR_x]]", c:ask(7, "1000 0 EVAL return{1,{2,{err='ERR_x'}}} 0"))
    end)

    it("sends all commands of a turn in one write", function()
        c = client(server.url)
        assert.equal("ok PONG", c:ask(1, "1000 0 PING"))
        c:send("writes")
        local before = tonumber(c:answer("writes"))
        c:send("many 500 ECHO x")
        assert.equal("ok x", c:answer(500))
        c:send("writes")
        local text = support.until_(function()
            local all = support.read(c.base)
            return select(2, all:gsub("writes", "")) == 2 and all
        end)
        assert.equal(before + 1, tonumber(text:match(".*writes (%d+)")))
    end)

    it("carries large and binary values", function()
        c = client(server.url)
        c:send("blob 20000000")
        assert.equal("ok", c:answer("blob", 30))
    end)

    it("refuses a reply over its limit and goes on", function()
        c = client(server.url)
        assert.equal("ok 80000000", c:ask(1, "20000 0 SETRANGE big 79999999 x"))
        assert.equal("too_large", c:ask(2, "20000 0 GET big"))
        support.until_(function()
            return c:ask(math.random(10, 1e6), "1000 0 PING") == "ok PONG"
        end)
        -- A list that is small on the wire and large in memory.
        local script = "local t={} for i=1,2000000 do t[i]=1 end return t"
        local eval = "EVAL " .. script:gsub(" ", "\t") .. " 0"
        assert.equal("too_large", c:ask(3, "20000 0 " .. eval))
    end)

    it("selects a database", function()
        c = client(server.url .. "?db=3")
        assert.equal("ok OK", c:ask(1, "1000 0 SET where three"))
        assert.truthy(server:cli("-n 3 GET where"):find("three"))
    end)

    it("says unavailable where nobody listens, once in the log", function()
        c = client("unix:///nowhere/at/all.sock")
        assert.equal("unavailable", c:ask(1, "1000 0 PING"))
        assert.equal("unavailable", c:ask(2, "1000 0 PING"))
        assert.equal("unavailable", c:ask(3, "1000 1 BLPOP x 1"))
        local _, lines = c:log():gsub("cannot connect", "")
        assert.equal(1, lines)
        assert.truthy(c:log():find("No such file", 1, true))
    end)

    it("answers each call once while the server dies and returns", function()
        c = client(server.url)
        c:send("load 200 5000")
        for _ = 1, 3 do
            assert.equal("ok PONG", c:ask(math.random(10, 1e9), "2000 0 PING"))
            server:signal(SIGSTOP) -- so that it owes replies when it dies
            assert.equal("timeout", c:ask(math.random(10, 1e9), "100 0 PING"))
            server:kill()
            support.until_(function()
                return c:ask(math.random(10, 1e9), "2000 0 PING") == "unavailable"
            end)
            server:start()
            support.until_(function()
                return c:ask(math.random(10, 1e9), "2000 0 PING") == "ok PONG"
            end)
        end
        local counts = c:stop_load()
        check_load(counts)
        assert.truthy(counts.ok > 100)
        assert.truthy(counts.closed > 0)
        local log = c:log()
        assert.truthy(log:find("connection lost"))
        assert.truthy(log:find(": connected"))
    end)

    it("mixes no replies up when the server hangs", function()
        c = client(server.url)
        assert.equal("ok PONG", c:ask(1, "1000 0 PING"))
        c:send("load 50 100")
        server:signal(SIGSTOP)
        assert.equal("timeout", c:ask(2, "100 0 PING"))
        assert.equal("timeout", c:ask(3, "100 0 PING"))
        -- The hanging connection is given up; calls fail at once then.
        support.until_(function()
            return c:ask(math.random(10, 1e9), "100 0 PING") == "unavailable"
        end, 15)
        server:signal(SIGCONT)
        support.until_(function()
            return c:ask(math.random(10, 1e9), "1000 0 PING") == "ok PONG"
        end, 15)
        check_load(c:stop_load())
    end)

    it("drops the late reply of a call that timed out", function()
        c = client(server.url)
        assert.equal("ok PONG", c:ask(1, "1000 0 PING"))
        server:signal(SIGSTOP)
        assert.equal("timeout", c:ask(2, "50 0 ECHO late"))
        c:send("call 3 5000 0 ECHO next")
        server:signal(SIGCONT)
        assert.equal("ok next", c:answer(3))
    end)

    it("lets blocking commands wait on connections of their own", function()
        c = client(server.url)
        c:send("call 1 5000 1 BLPOP q 0", "call 2 100 1 BLPOP none 0")
        assert.equal("ok PONG", c:ask(3, "1000 0 PING"))
        assert.equal("timeout", c:answer(2))
        assert.equal("ok 1", c:ask(4, "1000 0 RPUSH q x"))
        assert.equal("ok [q,x]", c:answer(1))
    end)

    it("takes nothing from a list for a call that was given up", function()
        c = client(server.url)
        c:send("call 1 0 1 BLPOP q 0")
        support.until_(function()
            return server:cli("CLIENT LIST"):find("cmd=blpop")
        end)
        c:send("abandon 1")
        support.until_(function()
            return not server:cli("CLIENT LIST"):find("cmd=blpop")
        end)
        assert.equal("ok 1", c:ask(2, "1000 0 RPUSH q x"))
        assert.equal("ok x", c:ask(3, "1000 0 LPOP q"))
    end)

    it("says busy when all blocking connections are taken", function()
        c = client(server.url)
        for i = 1, 64 do
            c:send(("call %d 0 1 BLPOP q 0"):format(i))
        end
        assert.equal("busy", c:ask(65, "1000 1 BLPOP q 0"))
    end)
end)

describe("a Redis with a password", function()
    local server, c

    setup(function()
        server = support.start(
            "--requirepass 'se@cret' --user ann on '>pw' '~*' '+@all'",
            support.free_port()
        )
    end)

    teardown(function()
        server:stop()
    end)

    after_each(function()
        c:close()
    end)

    local function url(login, host)
        return ("redis://%s%s:%d/2"):format(login, host or "127.0.0.1", server.port)
    end

    it("takes it from the url", function()
        c = client(url(":se@cret@"))
        assert.equal("ok OK", c:ask(1, "1000 0 SET a 1"))
    end)

    it("takes a user, and a name as host", function()
        c = client(url("ann:p%77@", "localhost"))
        assert.equal("ok ann", c:ask(1, "1000 0 ACL WHOAMI"))
    end)

    it("refuses a wrong one, and the log says so without it", function()
        c = client(url(":wrongpw@"))
        assert.equal("unavailable", c:ask(1, "1000 0 PING"))
        assert.truthy(c:log():find("AUTH refused: WRONGPASS", 1, true))
        assert.falsy(c:log():find("wrongpw", 1, true))
    end)

    it("refuses none", function()
        c = client(url(""))
        assert.equal("unavailable", c:ask(1, "1000 0 PING"))
        assert.truthy(c:log():find("refused: NOAUTH", 1, true))
    end)
end)
