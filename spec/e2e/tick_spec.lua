-- Timers with scope = "cluster": each tick on one node, whoever dies.
local cluster_local = require("spec.support.cluster_local")
local server = require("spec.support.server")

local EVERY = 200 -- ms

-- Each run appends a line to a file of its own node.
local files = {
    ["config/timers.lua"] = [[
return {
    { name = "tick", model = "m", method = "tick", every = "200ms",
        scope = "cluster", args = { x = 7 } },
    { name = "free", model = "m", method = "free", every = "200ms",
        scope = "cluster", overlap = "allow" },
    { name = "slow", model = "m", method = "slow", every = "200ms",
        scope = "cluster" },
    { name = "held", model = "m", method = "held", every = "200ms",
        scope = "cluster" },
    { model = "m", method = "nameless", every = "500ms", scope = "cluster" },
    { name = "task", task = "t", method = "work", every = "500ms",
        scope = "cluster" },
}]],
    ["scripts/note.lua"] = [[
local sd = require("sd")
return function(name, args, info)
    local f = io.open(name .. ".runs", "a")
    f:write(("%.0f %d %.0f %.3f %s %s\n"):format(info.scheduled * 1000, info.run,
        info.fence, sd.now(), sd.node, tostring(args.x)))
    f:close()
end]],
    ["scripts/models/m.lua"] = [[
local sd = require("sd")
local note = require("note")
local M = {}
for _, name in ipairs({ "tick", "free", "nameless" }) do
    M[name] = function(self, args, info) note(name, args, info) end
end
function M:held(args, info)
    sd.lock("timer:held", 5, function() note("held", args, info) end)
end
function M:slow(args, info)
    note("slow", args, info)
    sd.sleep(0.5)
    note("slow_end", args, info)
end
return M]],
    ["scripts/tasks/t.lua"] = [[
local note = require("note")
return { work = function(self, args, info) note("task", args, info) end }]],
}

--- The runs of a timer on those nodes.
local function runs(nodes, name)
    local list = {}
    for _, node in pairs(nodes) do
        for line in (node:read(name .. ".runs") or ""):gmatch("([^\n]+)\n") do
            local scheduled, run, fence, at, of, x =
                line:match("^(%d+) (%d+) (%d+) (%S+) (%S+) (%S+)$")
            list[#list + 1] = {
                scheduled = tonumber(scheduled), run = tonumber(run), x = x,
                fence = tonumber(fence), at = tonumber(at), node = of,
            }
        end
    end
    table.sort(list, function(a, b)
        return a.run < b.run
    end)
    return list
end

--- Each tick once, each run counted once, with fencing numbers that rise.
local function check_once(list, every)
    local ticks, last = {}, { run = 0, fence = 0 }
    for _, r in ipairs(list) do
        assert.equal(0, r.scheduled % every)
        assert.is_nil(ticks[r.scheduled])
        ticks[r.scheduled] = true
        assert.is_true(r.run > last.run)
        assert.is_true(r.fence > last.fence)
        last = r
    end
end

describe("cluster timers #cluster #redis", function()
    local p

    setup(function()
        p = cluster_local.launch({ "a", "b" }, files)
    end)

    local function both()
        return { p.a, p.b }
    end

    teardown(function()
        p:stop()
    end)

    local function wait_runs(name, n, nodes)
        server.until_(function()
            return #runs(nodes or both(), name) >= n
        end, n .. " runs of " .. name)
    end

    it("run each tick on one node", function()
        for _, name in ipairs({ "tick", "free" }) do
            wait_runs(name, 15)
            check_once(runs(both(), name), EVERY)
        end
        wait_runs("nameless", 3)
        wait_runs("task", 3)
        check_once(runs(both(), "nameless"), 500)
        check_once(runs(both(), "task"), 500)
        assert.equal("7", runs(both(), "tick")[1].x)
    end)

    it("leave a tick out while a run goes on", function()
        wait_runs("slow_end", 3)
        local begins, ends = runs(both(), "slow"), runs(both(), "slow_end")
        check_once(begins, EVERY)
        for i = 2, #ends do
            assert.is_true(begins[i].at >= ends[i - 1].at)
        end
    end)

    it("keep no script from a lock of their name", function()
        wait_runs("held", 3)
    end)

    it("go on on the other node when one is killed", function()
        for _, pid in ipairs(p.a:pids()) do
            p.a:kill("KILL", pid)
        end
        local before = #runs({ p.b }, "tick")
        wait_runs("tick", before + 10, { p.b })
        check_once(runs(both(), "tick"), EVERY)
        check_once(runs(both(), "free"), EVERY)
    end)

    it("do not run without Redis, and say so once", function()
        local b = p.b
        p.redis:kill()
        server.until_(function()
            return b:output():find("timer tick does not run")
        end, "the warning")
        local before = #runs({ b }, "free")
        server.until_(function() -- some of its ticks
            return b:output():find("timer m.nameless does not run", 1, true)
                and b:output():find("timer task does not run", 1, true)
        end, "the other warnings")
        assert.is_true(#runs({ b }, "free") <= before + 1)
        local _, warned = b:output():gsub("timer tick does not run", "")
        assert.equal(1, warned)
        p.redis:start()
        before = #runs({ b }, "free")
        wait_runs("free", before + 3, { b })
    end)
end)

describe("config/timers.lua with scope = cluster", function()
    local function check(cluster, timer)
        local s = server.new({
            ["config/cluster.lua"] = cluster,
            ["config/redis.lua"] = [[return { default = { url = "redis://h" } }]],
            ["config/timers.lua"] = ([[return {
{ model = "m", method = "x", scope = "cluster", %s } }]]):format(timer),
            ["scripts/models/m.lua"] = "return {}",
        })
        local text = s:run("check")
        server.shell("rm -rf " .. s.dir)
        return text
    end

    it("needs a cluster", function()
        assert.matches('timers%.1%.scope: "cluster" needs cluster%.enable = true',
            check("return {}", [[every = "1s"]]))
        assert.matches("ok\n$", check("return { enable = true }", [[every = "1s"]]))
    end)

    it("takes no max_runs", function()
        assert.matches("timers%.1%.max_runs: needs scope", check(
            "return { enable = true }", [[every = "1s", max_runs = 3]]))
    end)
end)
