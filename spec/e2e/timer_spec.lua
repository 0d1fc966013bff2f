-- The timers of config/timers.lua: once per node, whoever dies.
local server = require("spec.support.server")

local PORTS = [[
return { web = { listen = "127.0.0.1:0", protocol = "http" } }]]

--- "HH:MM" so many minutes from now, in local time.
local function clock(minutes)
    return os.date("%H:%M", os.time() + minutes * 60)
end

-- Each run of a timer appends one line to the file of its name.
local NOTE = [[
local sd = require("sd")
local ffi = require("ffi")
local note = {}
ffi.cdef("int getpid(void);")
function note.write(name, args, info, self)
    local f = io.open(name .. ".runs", "a")
    f:write(("%d %d %.3f %.3f %s %s %s %s\n"):format(ffi.C.getpid(), info.run,
        info.scheduled, sd.now(), sd.role, sd.slot, tostring(args.x),
        tostring(self.context.request_id)))
    f:close()
end
return note]]

local MODEL = [[
local sd = require("sd")
local note = require("note")
local M = {}
for _, name in ipairs({ "tick", "steady", "count", "delayed", "once", "inside",
    "night", "outside" }) do
    M[name] = function(self, args, info) note.write(name, args, info, self) end
end
function M:slow(args, info)
    note.write(args.name, args, info, self)
    sd.sleep(0.3)
end
function M:bad(args, info)
    note.write("bad", args, info, self)
    error("timer went wrong")
end
function M:task(args, info)
    note.write("asks", args, info, self)
    return sd.task("t"):run(args, { run = info.run, scheduled = info.scheduled })
end
return M]]

local TASK = [[
local note = require("note")
local T = {}
function T:run(args, info) note.write(args.name or "task", args, info, self) end
function T:refuse() return nil, "not today" end
return T]]

local function folder(timers, workers)
    return {
        ["config/server.lua"] = ("return { workers = %d, tasks = 1 }")
            :format(workers),
        ["config/ports.lua"] = PORTS,
        ["config/timers.lua"] = timers,
        ["scripts/models/m.lua"] = MODEL,
        ["scripts/tasks/t.lua"] = TASK,
        ["scripts/note.lua"] = NOTE,
    }
end

--- The runs of a timer, in the order they were written.
local function runs(s, name)
    local list = {}
    for line in (s:read(name .. ".runs") or ""):gmatch("([^\n]+)\n") do
        local pid, run, scheduled, at, role, slot, x, id =
            line:match("^(%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$")
        list[#list + 1] = {
            pid = tonumber(pid), run = tonumber(run), role = role, x = x,
            scheduled = tonumber(scheduled), at = tonumber(at), slot = slot,
            id = id,
        }
    end
    return list
end

local function wait_runs(s, name, n)
    return server.until_(function()
        local list = runs(s, name)
        return #list >= n and list
    end, n .. " runs of " .. name)
end

describe("timers", function()
    local s

    setup(function()
        s = server.start(folder(([[
return {
    { name = "tick", model = "m", method = "tick", every = "50ms",
        args = { x = 7 } },
    { name = "steady", model = "m", method = "steady", every = 0.2 },
    { name = "count", model = "m", method = "count", every = "30ms",
        max_runs = 3 },
    { name = "delayed", model = "m", method = "delayed", every = "40ms",
        delay = "600ms" },
    { name = "once", model = "m", method = "once", delay = "50ms",
        every = "50ms", max_runs = 1 },
    { name = "task", task = "t", method = "run", every = "100ms",
        args = { x = "y" } },
    { name = "asks", model = "m", method = "task", every = "100ms",
        args = { name = "asked" } },
    { name = "skip", model = "m", method = "slow", every = "50ms",
        args = { name = "skip" } },
    { name = "over", model = "m", method = "slow", every = "50ms",
        overlap = "allow", args = { name = "over" } },
    { name = "bad", model = "m", method = "bad", every = "50ms" },
    { name = "no", task = "t", method = "refuse", every = "1s",
        delay = "50ms" },
    { name = "inside", model = "m", method = "inside", every = "50ms",
        from = "%s", to = "%s" },
    { name = "outside", model = "m", method = "outside", every = "50ms",
        from = "%s", to = "%s" },
    { name = "night", model = "m", method = "night", every = "50ms",
        from = "%s", to = "%s" },
}]]):format(clock(-5), clock(5), clock(60), clock(65), clock(-5), clock(-10)),
            3))
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    it("run once per node, in order, on the lowest worker", function()
        local list = wait_runs(s, "tick", 20)
        assert.equal("0", list[#list].slot)
        for i, r in ipairs(list) do
            assert.equal(i, r.run)
            assert.is_true(i == 1 or r.slot <= list[i - 1].slot)
            assert.equal("worker", r.role)
            assert.equal("7", r.x)
            assert.not_equal("nil", r.id)
            assert.is_true(r.at >= r.scheduled - 0.002)
        end
    end)

    it("keep their beat", function()
        local list = wait_runs(s, "steady", 5)
        for i = 2, #list do
            local steps = (list[i].scheduled - list[1].scheduled) / 0.2
            assert.is_true(math.abs(steps - math.floor(steps + 0.5)) < 0.05,
                steps)
        end
    end)

    it("end after max_runs", function()
        wait_runs(s, "tick", 20)
        assert.equal(3, #runs(s, "count"))
        assert.equal(1, #runs(s, "once"))
    end)

    it("begin after their delay", function()
        local delayed = wait_runs(s, "delayed", 3)
        local first = wait_runs(s, "once", 1)[1]
        local wait = delayed[1].scheduled - first.scheduled
        assert.is_true(wait > 0.5 and wait < 0.6, wait)
    end)

    it("run tasks in task processes", function()
        for _, r in ipairs(wait_runs(s, "task", 3)) do
            assert.equal("task", r.role)
            assert.equal("y", r.x)
        end
        for i, r in ipairs(wait_runs(s, "asked", 3)) do
            assert.equal("task", r.role)
            assert.equal(i, r.run)
        end
    end)

    it("skip what overlaps unless told otherwise", function()
        local list = wait_runs(s, "skip", 4)
        for i = 2, #list do
            assert.is_true(list[i].at - list[i - 1].at > 0.29)
            assert.equal(i, list[i].run)
        end
        list = wait_runs(s, "over", 10)
        assert.is_true(list[10].at - list[1].at < 2)
    end)

    it("go on after an error and log it", function()
        wait_runs(s, "bad", 3)
        assert.matches("timer went wrong[^\n]*stack", s:output())
        server.until_(function()
            return s:output():find("timer no: not today", 1, true)
        end)
    end)

    it("keep to their window of the day", function()
        wait_runs(s, "inside", 3)
        wait_runs(s, "night", 3)
        assert.equal(0, #runs(s, "outside"))
    end)
end)

describe("timers whose worker is killed", function()
    it("neither double nor miss more than the time it takes", function()
        local s = server.start(folder([[
return {
    { name = "tick", model = "m", method = "tick", every = "800ms" },
    { name = "steady", model = "m", method = "steady", every = "50ms" },
    { name = "skip", model = "m", method = "slow", every = "50ms",
        args = { name = "skip" } },
}]], 3))
        finally(function()
            s:stop()
        end)
        wait_runs(s, "tick", 1)
        for _ = 1, 3 do
            local list = runs(s, "steady")
            local last = list[#list]
            s:kill("KILL", last.pid)
            server.until_(function()
                local now = runs(s, "steady")
                return now[#now].pid ~= last.pid
            end, "another worker takes over")
            server.until_(function()
                for i = 0, 2 do
                    if not pcall(s.process, s, "worker", i)
                        or s:process("worker", i).state ~= "ready" then
                        return false
                    end
                end
                return true
            end, "all are ready")
        end
        local n = #runs(s, "tick")
        wait_runs(s, "tick", n + 1)
        wait_runs(s, "skip", #runs(s, "skip") + 2)
        for _, name in ipairs({ "tick", "steady", "skip" }) do
            local list = runs(s, name)
            for i = 2, #list do
                -- a run that was claimed and not yet written died with its
                -- worker; none is run twice
                local step = list[i].run - list[i - 1].run
                assert.is_true(step == 1 or step == 2 and
                    list[i].pid ~= list[i - 1].pid,
                    name .. " " .. list[i].run)
                assert.is_true(list[i].scheduled > list[i - 1].scheduled)
            end
        end
        local list = runs(s, "tick")
        for i = 2, #list do
            local gap = list[i].scheduled - list[i - 1].scheduled
            assert.is_true(gap < 1.61, "gap of " .. gap)
        end
    end)
end)
