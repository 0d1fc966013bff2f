-- sd.redis() in a real node, against a real server: what scripts get, and what
-- they get when the server does not.
local cjson = require("cjson")
local server = require("spec.support.server")
local support = require("spec.support.redis")

local SIGSTOP, SIGCONT = 19, 18

-- Runs a chunk of Lua and shows its results as JSON; nil as "nil".
local run = [[
local sd = require("sd")
local Run = {}

local function show(ok, ...)
    local list = { ok and "ok" or "raised" }
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        list[i + 1] = value == nil and "nil" or sd.json.encode(value)
    end
    return { shown = table.concat(list, " ") }
end

function Run.lua(_, p)
    local fn = assert(loadstring(p.code, "=spec"))
    return show(pcall(fn, sd, sd.redis()))
end

function Run.quick(_, p)
    return Run.lua(nil, p)
end

return Run]]

local task = [[
local sd = require("sd")
return {
    visit = function(self, name)
        return sd.redis():incr(name)
    end,
}]]

local function files(redis_lua)
    return {
        ["config/server.lua"] = [[return { workers = 1, tasks = 1, call_timeout = "2s" }]],
        ["config/redis.lua"] = redis_lua,
        ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    quick = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        timeout = "200ms" },
}]],
        ["scripts/controllers/run.lua"] = run,
        ["scripts/tasks/visits.lua"] = task,
    }
end

local function call(node, port, code)
    local tcp = node:connect(port)
    local packet = {
        controller_name = "run",
        method_name = "lua",
        params = { code = "local sd, redis = ... " .. code },
        id = 1,
    }
    tcp:send(cjson.encode(packet) .. "\r\n")
    local line = assert(tcp:receive("*l"))
    tcp:close()
    local reply = cjson.decode(line)
    return reply.result and reply.result.shown or reply.error
end

describe("sd.redis()", function()
    local redis, node

    local function lua(code)
        return call(node, "game", code)
    end

    setup(function()
        redis = support.start()
        node = server.start(files(([[
return {
    default = { url = "%s" },
    fifth = { url = "%s?db=5" },
}]]):format(redis.url, redis.url)))
    end)

    teardown(function()
        node:stop()
        redis:stop()
    end)

    before_each(function()
        redis:cli("FLUSHALL")
    end)

    local replies = {
        { "a status OK is true", 'return redis:set("k", "v")', "ok true" },
        { "other statuses are text", "return redis:ping()", 'ok "PONG"' },
        { "a missing value is nil alone", 'return redis:get("none")', "ok nil" },
        { "a text is binary-safe", 'redis:set("k", "a\\0\\r\\n") return #redis:get("k")', "ok 4" },
        { "an empty text stays one", 'redis:set("k", "") return redis:get("k")', 'ok ""' },
        {
            "integers are numbers",
            'return redis:incrby("n", 9007199254740991)', "ok 9007199254740991",
        },
        {
            "larger ones are digits",
            'return redis:incrby("n", "9007199254740993")', 'ok "9007199254740993"',
        },
        {
            "integer arguments are digits",
            'redis:set("k", 1e15) return redis:get("k")', 'ok "1000000000000000"',
        },
        { "floats are shortest", 'redis:set("k", 0.1) return redis:get("k")', 'ok "0.1"' },
        { "HGETALL is a map", 'redis:hset("h", "a", 1) return redis:hgetall("h")', 'ok {"a":"1"}' },
        { "HGETALL of nothing is a map", 'return redis:hgetall("none")', "ok {}" },
        { "CONFIG GET is a map", 'return redis:config("GET", "port")', 'ok {"port":"0"}' },
        { "a list of nothing is a list", 'return redis:lrange("none", 0, -1)', "ok []" },
        {
            "nil in a list is null",
            'redis:set("a", 1) return redis:mget("a", "b")', 'ok ["1",null]',
        },
        { "lists nest", [[return redis:eval("return {1,{'a',{2}}}", 0)]], 'ok [1,["a",[2]]]' },
        {
            "a nested error is a map",
            [[return redis:eval("return {1,{err='E x'}}", 0)]], 'ok [1,{"err":"failed: E x"}]',
        },
        { "names in capitals work", 'return redis:SET("k", 1)', "ok true" },
        {
            "another server is another",
            'sd.redis("fifth"):set("k", 1) return redis:get("k")', "ok nil",
        },
        { "a timeout is nil alone", 'return redis:blpop("none", 0.05)', "ok nil" },
        { "XREAD may block", 'return redis:xread("BLOCK", 50, "STREAMS", "s", "$")', "ok nil" },
        { "an empty pipeline is a list", "return redis:pipeline(function() end)", "ok []" },
    }
    for _, case in ipairs(replies) do
        it("knows that " .. case[1], function()
            assert.equal(case[3], lua(case[2]))
        end)
    end

    it("gives an error reply as nil, failed", function()
        redis:cli("SET k text")
        local shown = lua('return redis:incr("k")')
        assert.truthy(shown:find('^ok nil "failed: ERR value is not an integer'))
    end)

    it("gives the replies of a pipeline in order", function()
        local shown = lua([[
            return redis:pipeline(function(p)
                p:set("k", "text")
                p:incr("k")
                p:get("none")
                p:hset("h", "a", 1)
                p:hgetall("h")
            end)]])
        local list = cjson.decode(shown:match("^ok (.*)$"))
        assert.equal(true, list[1])
        assert.truthy(list[2].err:find("^failed: ERR"))
        assert.equal(cjson.null, list[3])
        assert.same({ 1, { a = "1" } }, { list[4], list[5] })
    end)

    local misuse = {
        { "a nil argument", 'redis:set("k", nil)', "bad argument #2 to 'set'" },
        { "a boolean", 'redis:set("k", true)', "bad argument #2 to 'set'" },
        { "a table", "redis:del({})", "bad argument #1 to 'del'" },
        { "NaN", 'redis:set("k", 0 / 0)', "finite number" },
        { "SUBSCRIBE", 'redis:subscribe("c")', "not supported yet" },
        { "MONITOR", "redis:monitor()", "shared" },
        { "WAIT", "redis:wait(1, 50)", "a connection of its own" },
        { "WAITAOF", "redis:waitaof(1, 0, 50)", "a connection of its own" },
        { "SELECT", "redis:select(1)", "config/redis.lua" },
        { "MULTI", "redis:multi()", "shared" },
        { "WATCH", 'redis:WATCH("k")', "shared" },
        { "AUTH", 'redis:auth("pw")', "config/redis.lua" },
        { "QUIT", "redis:quit()", "shared" },
        { "CLIENT REPLY", 'redis:client("reply", "off")', "shared" },
        { "an unknown server", 'sd.redis("nope")', "no redis 'nope'" },
        { "a call with a dot", 'redis.get("k")', "with a colon" },
        { "BLPOP in a pipeline", 'redis:pipeline(function(p) p:blpop("q", 0) end)', "may block" },
        {
            "a bad argument in a pipeline",
            'redis:pipeline(function(p) p:get(nil) end)', "bad argument",
        },
    }
    for _, case in ipairs(misuse) do
        it("raises at the caller's line for " .. case[1], function()
            local shown = lua("\n" .. case[2])
            assert.truthy(shown:find('^raised "spec:2: '), shown)
            assert.truthy(shown:find(case[3], 1, true), shown)
        end)
    end

    it("hands a value to a waiting BLPOP while others work", function()
        local shown = lua([[
            local got = sd.go(function() return redis:blpop("q", 0) end)
            local before = redis:ping()
            redis:rpush("q", "x")
            local value = got:wait(5)
            return before, value]])
        assert.equal('ok "PONG" ["q","x"]', shown)
    end)

    it("loses nothing with a BLPOP that was cancelled", function()
        local shown = lua([[
            sd.any({
                function() return redis:blpop("q", 0) end,
                function() sd.sleep(0.1) return "slept" end,
            })
            for _ = 1, 200 do
                if not redis:client("LIST"):find("cmd=blpop") then break end
                sd.sleep(0.01)
            end
            redis:rpush("q", "x")
            return redis:lpop("q")]])
        assert.equal('ok "x"', shown)
    end)

    it("works in a task", function()
        assert.equal("ok 1", lua('return (sd.task("visits"):visit("n"))'))
    end)

    it("answers timeout when Redis hangs, and nothing old afterwards", function()
        lua("return redis:ping()")
        redis:signal(SIGSTOP)
        local shown = lua('return redis:echo("old")')
        local late = call(node, "quick", 'return redis:echo("older")')
        redis:signal(SIGCONT)
        assert.equal('ok nil "timeout"', shown)
        assert.equal(504, late.code)
        support.until_(function()
            return lua('return redis:echo("new")') == 'ok "new"'
        end)
    end)

    it("answers closed, then unavailable, then works again", function()
        lua("return redis:ping()")
        redis:signal(SIGSTOP)
        local tcp = node:connect("game")
        tcp:send(cjson.encode({
            controller_name = "run",
            method_name = "lua",
            params = { code = 'local sd, redis = ... return redis:echo("x")' },
        }) .. "\r\n")
        -- Another round trip through the worker: the first is on its way then.
        lua("return 1")
        redis:kill()
        assert.truthy(tcp:receive("*l"):find("closed"))
        tcp:close()
        assert.equal('ok nil "unavailable"', lua("return redis:ping()"))
        assert.equal('ok nil "unavailable"', lua('return redis:blpop("q", 1)'))
        assert.equal(
            'ok nil "unavailable"',
            lua("return redis:pipeline(function(p) p:ping() end)")
        )
        redis:start()
        support.until_(function()
            return lua("return redis:ping()") == 'ok "PONG"'
        end)
    end)
end)

describe("a node with an embedded Redis", function()
    it("offers it without more configuration than its name", function()
        local node = server.start(files('return { default = { url = "embedded" } }'))
        local shown = call(node, "game", 'redis:set("k", 1) return redis:get("k")')
        local task_shown = call(node, "game", 'return (sd.task("visits"):visit("k"))')
        node:stop()
        assert.equal('ok "1"', shown)
        assert.equal("ok 2", task_shown)
    end)
end)

describe("a Redis url of a kind to come", function()
    it("refuses the start with a clear line", function()
        local node = server.new(files('return { default = { url = "redis+sentinel://h/n" } }'))
        local text, status = node:run("start")
        node:stop()
        assert.equal(1, status)
        assert.truthy(text:find("redis+sentinel is not supported yet", 1, true), text)
    end)
end)
