-- As containers run it: as the first process of a pid namespace, to which the
-- kernel sends signals only when they are wanted and gives every orphan; and as
-- the child of a small init.
local server = require("spec.support.server")

if not server.shell("id -u"):match("^0") then
    return
end

local until_ = server.until_

--- What ps says; it does not start with what sanitized specs preload.
local function ps(options)
    return (server.shell("env -u LD_PRELOAD ps " .. options))
end

local CONTAINER = "unshare --pid --fork --kill-child --mount-proc "

-- Hands TERM on, reaps whatever ends, ends as its child does.
local INIT = [[
import os, signal, sys
child = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
while True:
    pid, status = os.wait()
    if pid == child:
        sys.exit(os.waitstatus_to_exitcode(status))
]]

describe("in a container", function()
    local s

    local function launch(init, files)
        s = server.new(files)
        s:write("init.py", INIT)
        s.env = CONTAINER .. (init and "python3 " .. s.dir .. "/init.py " or "")
        s:launch()
        s.env = ""
    end

    local function start(init, files)
        launch(init, files)
        s:wait_ready()
        -- What it calls itself in there is somebody else out here.
        s.pid = nil
    end

    after_each(function()
        s:stop()
    end)

    --- The pid, out here, of the node's process with that title.
    local function pid_of(title)
        for _, pid in ipairs(s:pids()) do
            local f = io.open("/proc/" .. pid .. "/cmdline")
            local words = f and f:read("*a") or ""
            if f then
                f:close()
            end
            if words:find(title, 1, true) then
                return pid
            end
        end
    end

    local function pid_of_init()
        for pid, args in ps("-eo pid,args"):gmatch("(%d+) ([^\n]*)") do
            if args:match("^%S*python3 (%S+)") == s.dir .. "/init.py" then
                return tonumber(pid)
            end
        end
    end

    local function assert_gone(status)
        until_(function()
            return s:exit_status()
        end, "it ends")
        assert.equal(status, s:exit_status())
        assert.same({}, s:pids())
        assert.is_false(s:has("run/control.sock"))
        assert.is_false(s:has("run/sdlua.pid"))
    end

    --- Children of the master that have ended and were not waited for.
    local function zombies(master)
        local n = 0
        for state in ps("-o stat= --ppid " .. master):gmatch("%S+") do
            n = n + (state:sub(1, 1) == "Z" and 1 or 0)
        end
        return n
    end

    it("ends in order at TERM, as the first process", function()
        start(false)
        assert.equal(1, s:status().pid)
        local tcp = s:connect("game")
        s:kill("TERM", pid_of("sdlua: master"))
        assert.equal("closed", select(2, tcp:receive("*l")))
        assert_gone(0)
    end)

    it("ends in order at TERM, as the child of an init", function()
        start(true)
        assert.is_true(s:status().pid > 1)
        local tcp = s:connect("game")
        s:kill("TERM", pid_of_init())
        assert.equal("closed", select(2, tcp:receive("*l")))
        assert_gone(0)
    end)

    it("does not miss a TERM while it reads its configuration", function()
        launch(false, { ["config/shop.lua"] = [[
local n = 0
for i = 1, 3e8 do n = n + i % 7 end
return { n = n }]] })
        local pid = until_(function()
            return pid_of("sdlua: master")
        end, "it begins")
        s:kill("TERM", pid)
        assert_gone(1)
    end)

    it("buries the orphans that come to it", function()
        start(false, { ["scripts/tasks/shell.lua"] = [[
return { run = function()
    os.execute("for i in 1 2 3 4 5; do (sleep 0.3; touch orphan.$i) & done")
    return true
end }]], ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return { shell = function() return sd.task("shell"):run() end }]] })
        local master = pid_of("sdlua: master")
        assert.equal(200, select(2, s:get("/probe/shell")))
        until_(function()
            for i = 1, 5 do
                if not s:has("orphan." .. i) then
                    return false
                end
            end
            return true
        end, "the orphans have done their work")
        until_(function()
            return zombies(master) == 0
                and not ps("-o args= --ppid " .. master):find("sleep")
        end, "nobody is left unburied")
        assert.equal(200, select(2, s:get("/probe/shell")))
    end)
end)
