-- What comes before what in a reload: votes, the commit, save and restore,
-- calls that wait in the rings.
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local SERVER = "return { workers = 2, tasks = 1, name = 'n', call_timeout = '20s' }"

local PORTS = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp" } }]]

local CONTROLLER = [[
local sd = require("sd")
local C = {}
function C:run(p) return sd.task("t", { timeout = 20 }):run(p) end
function C:generation() return sd.generation end
return C]]

--- A task that is busy until somebody makes the file p.file .. ".end".
local TASK = [[
local sd = require("sd")
local T = {}
function T:run(p)
    if p.file then
        local f = io.open(p.file, "w") f:write("begun") f:close()
        while not io.open(p.file .. ".end") do
            os.execute("sleep 0.02")
        end
    end
    sd.log.info("runs %s")
    return sd.generation
end
return T]]

local function task(name)
    return (TASK:gsub("%%s", name))
end

describe("in a reload", function()
    local s, c

    local function start(more)
        local files = {
            ["config/server.lua"] = SERVER,
            ["config/ports.lua"] = PORTS,
            ["scripts/controllers/c.lua"] = CONTROLLER,
            ["scripts/tasks/t.lua"] = task("one"),
        }
        for path, text in pairs(more or {}) do
            files[path] = text
        end
        s = server.start(files)
        c = client.open(s:port("game"))
    end

    after_each(function()
        c:close()
        s:stop()
    end)

    local function reload()
        local out, code = s:run("reload")
        assert.equal(0, code, out)
    end

    --- The only task is at a call that ends with release().
    local function keep_busy(file)
        local id = file and 0 or 1
        c:send(client.packet("c/run", { file = file or "run/x" }, id))
        until_(function() return s:has(file or "run/x") end, "the task is busy")
    end

    local function release(file)
        s:write((file or "run/x") .. ".end", "")
    end

    --- Reload; workers stand by, or refuse, when there is run/go. Returns when
    --- the task stands by; the verb's exit status goes to run/code.
    local function reload_slowly(at_task, at_worker)
        s:write("scripts/app.lua", ([[
local sd = require("sd")
local App = {}
function App.on_start()
    if sd.role == "task" then
        %s
        return
    end
    while not io.open("run/go") do sd.sleep(0.02) end
    %s
end
function App.restore() sd.log.info("refused serves") sd.sleep(0.1) end
return App]]):format(at_task, at_worker))
        server.shell("{ " .. s:command("reload") .. "; echo $? > " .. s.dir
            .. "/run/code; } > /dev/null 2>&1 &")
        until_(function()
            return s:output():find("task stands by", 1, true)
        end, "the task stands by")
    end

    --- Calls that the busy task has not begun, and their answers.
    local function queue_up()
        for id = 2, 6 do
            c:send(client.packet("c/run", { n = 0 }, id))
        end
    end

    local function generations()
        local got = {}
        for _ = 1, 6 do
            local reply = c:receive()
            got[reply.id] = reply.result
        end
        return got
    end

    it("calls that wait behind a busy task run in new code", function()
        start()
        keep_busy()
        queue_up()
        s:write("scripts/tasks/t.lua", task("two"))
        reload()
        release()
        assert.same({ 1, 2, 2, 2, 2, 2 }, generations())
    end)

    it("so do those behind a task that became busy when it had voted", function()
        start()
        s:write("scripts/tasks/t.lua", task("two"))
        reload_slowly('sd.log.info("task stands by")', "")
        keep_busy("run/w")
        c:send(client.packet("c/run", { file = "run/x" }, 1))
        queue_up()
        release("run/w")
        until_(function() return s:has("run/x") end, "the queue is begun")
        s:write("run/go", "")
        until_(function() return s:read("run/code") == "0\n" end, "it is done")
        release()
        assert.equal(0, c:receive().id)
        assert.same({ 1, 2, 2, 2, 2, 2 }, generations())
    end)

    it("code that was refused never serves", function()
        start({ ["scripts/app.lua"] = "return { save = function() return { x = 1 } end }" })
        s:write("scripts/tasks/t.lua", task("refused"))
        reload_slowly('sd.log.info("task stands by")', 'error("no")')
        keep_busy()
        s:write("run/go", "")
        until_(function() return s:read("run/code") == "1\n" end, "it is refused")
        s:write("scripts/app.lua", "return { save = function() return { x = 1 } end }")
        s:write("scripts/tasks/t.lua", task("three"))
        reload()
        release()
        assert.equal(1, c:receive().result)
        assert.equal(2, c:call("c/run", {}).result)
        assert.is_nil(s:output():find("runs refused", 1, true))
        assert.is_nil(s:output():find("refused serves", 1, true))
        assert.is_nil(s:output():find("signal", 1, true))
    end)

    it("save comes after the end of the background", function()
        local app = [[
local sd = require("sd")
local n = 0
sd.go(function()
    pcall(sd.sleep, 1000)
    n = n + 1
end)
return {
    save = function() return { n = n } end,
    restore = function(data) sd.log.info("restored " .. data.n) end,
}]]
        start({ ["scripts/app.lua"] = app })
        reload()
        until_(function()
            return select(2, s:output():gsub("restored 1", "")) == 3
        end, "all have restored what the background left")
    end)

    it("restore may ask all workers while all of them switch", function()
        start({ ["scripts/app.lua"] = [[
local sd = require("sd")
return {
    save = function() return { n = sd.topic_count("news") or "nothing" } end,
    restore = function(data)
        sd.log.info("counted " .. data.n .. " "
            .. (sd.topic_count("news") or "nothing"))
    end,
}]] })
        reload()
        until_(function()
            return select(2, s:output():gsub("counted 0 0", "")) == 3
        end, "all have counted")
    end)
end)

describe("a reload of redis", function()
    it("cannot add a server of the node's own", function()
        local s = server.start({
            ["config/server.lua"] = SERVER,
            ["config/ports.lua"] = PORTS,
        })
        finally(function() s:stop() end)
        s:write("config/redis.lua", 'return { more = { url = "embedded" } }')
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        assert.matches("redis.more is new: it needs a restart", out, 1, true)
        assert.is_nil(s:output():find("cannot connect", 1, true))
    end)
end)

describe("a node that drains", function()
    it("is not reloaded when a file is saved", function()
        local s = server.start({
            ["config/server.lua"] = (SERVER:gsub("name", "dev = true, name")),
            ["config/ports.lua"] = PORTS,
            ["scripts/controllers/c.lua"] = CONTROLLER,
        })
        local c = client.open(s:port("game"))
        finally(function()
            c:close()
            s:stop()
        end)
        assert.equal(1, c:call("c/generation", {}).result)
        local more = {}
        for i = 1, 30 do
            more[i] = client.open(s:port("game"))
        end
        until_(function() return s:conns() == 31 end, "they are there")
        server.shell(s:command("drain --rate 1") .. " > /dev/null 2>&1 &")
        until_(function() return s:status().state == "draining" end, "it drains")
        s:write("scripts/controllers/more.lua", "return {}")
        local left = s:conns()
        until_(function() return s:conns() < left - 2 end, "it goes on")
        assert.is_nil(s:output():find("reload", 1, true))
        for _, one in ipairs(more) do
            one:close()
        end
    end)
end)
