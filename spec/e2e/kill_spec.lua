-- Processes that are killed while the node is busy: who notices, for how
-- long, and what is left of it.
local cjson = require("cjson")
local socket = require("socket")
local server = require("spec.support.server")

local until_ = server.until_

-- On a machine with time; a sanitized build on a busy one gets more.
local SLACK = tonumber(os.getenv("SD_SLACK") or 5)

local WHO = '{"controller_name":"probe","method_name":"who","id":1}\r\n'

local files = {
    ["config/server.lua"] = [[return { workers = 3, tasks = 2, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return {
    who = function() return { slot = sd.slot } end,
    nap = function() return sd.task("nap"):run(20) end,
    nap_now = function() return sd.task("nap"):run(0) end,
}]],
    ["scripts/tasks/nap.lua"] = [[
local ffi = require("ffi")
ffi.cdef("unsigned sleep(unsigned);")
return { run = function(self, s)
    if s > 0 then ffi.C.sleep(s) end
    return { pid = true }
end }]],
}

describe("a busy node", function()
    local s, load

    local function start(extra)
        local all = {}
        for path, text in pairs(files) do
            all[path] = text
        end
        for path, text in pairs(extra or {}) do
            all[path] = text
        end
        s = server.start(all)
        s.game = s:port("game")
        load = server.shell(("luajit spec/support/load.lua %d 8 "
            .. "> /dev/null 2>&1 & echo $!"):format(s.game)):match("%d+")
    end

    local function end_load()
        if load then
            server.shell("kill " .. load)
        end
        load = nil
    end

    after_each(function()
        end_load()
        if s then
            s:stop()
        end
        s = nil
    end)

    local function connect()
        local tcp = assert(socket.tcp())
        tcp:settimeout(20)
        assert(tcp:connect("127.0.0.1", s.game))
        return tcp
    end

    local function slot_of(tcp)
        assert(tcp:send(WHO))
        local line, why = tcp:receive("*l")
        return line and cjson.decode(line).result.slot, why
    end

    --- So many idle conns: a list of { tcp =, slot = }.
    local function idle(n)
        local list = {}
        for i = 1, n do
            local tcp = connect()
            list[i] = { tcp = tcp, slot = slot_of(tcp) }
        end
        return list
    end

    --- Connect again and again for so long; the longest time that one took
    --- from its connect to its answer. A conn that a killed worker had taken
    --- is lost with it, none is ever refused.
    local function longest(seconds)
        local limit, worst = socket.gettime() + seconds, 0
        repeat
            local begin = socket.gettime()
            local tcp = connect()
            local slot, why = slot_of(tcp)
            assert.is_true(slot ~= nil or why == "closed", why)
            worst = math.max(worst, socket.gettime() - begin)
            tcp:close()
            socket.sleep(0.005)
        until socket.gettime() > limit
        return worst
    end

    local function wait_ready(role, index, old)
        return until_(function()
            local p = s:process(role, index)
            return p.state == "ready" and p.pid ~= old and p
        end, role .. " is replaced")
    end

    it("replaces a killed worker, and the other conns do not notice", function()
        start()
        local conns = idle(200)
        for round = 1, 5 do
            local slot = round % 3
            local old = s:process("worker", slot).pid
            local begin = socket.gettime()
            s:kill("KILL", old)
            wait_ready("worker", slot, old)
            assert.is_true(socket.gettime() - begin < 1 * SLACK)
            for _, c in ipairs(conns) do
                if c.slot ~= slot then
                    assert.equal(c.slot, slot_of(c.tcp))
                else
                    c.tcp:close()
                    c.tcp = connect()
                    c.slot = slot_of(c.tcp)
                end
            end
        end
    end)

    it("answers each new conn soon while a worker is replaced", function()
        start()
        for slot = 0, 2 do
            s:kill("KILL", s:process("worker", slot).pid)
            assert.is_true(longest(1.5) < 3 * SLACK)
        end
    end)

    it("answers each new conn soon while a worker cannot start", function()
        start({ ["scripts/app.lua"] = [[
local sd = require("sd")
local ffi = require("ffi")
ffi.cdef("void _exit(int);")
return { on_start = function(why)
    if why == "respawn" and sd.slot == 1 then ffi.C._exit(7) end
end }]] })
        local conns = idle(60)
        s:kill("KILL", s:process("worker", 1).pid)
        local worst = 0
        until_(function()
            worst = math.max(worst, longest(0.5))
            return s:process("worker", 1).state == "broken"
        end, "the breaker opens")
        worst = math.max(worst, longest(1))
        assert.is_true(worst < 3 * SLACK, worst)
        for _, c in ipairs(conns) do
            if c.slot ~= 1 then
                assert.equal(c.slot, slot_of(c.tcp))
            end
        end
        assert.matches("worker 1 [^\n]*broken after 6 crashes in 60 s",
            s:output())
    end)

    it("answers the caller of a killed task, and others go on", function()
        start()
        local tcp = connect()
        tcp:send('{"controller_name":"probe","method_name":"nap","id":1}\r\n')
        local busy = until_(function()
            for index = 0, 1 do
                local pid = s:process("task", index).pid
                local f = io.open("/proc/" .. pid .. "/wchan")
                local where = f and f:read("*a") or ""
                if f then
                    f:close()
                end
                if where:find("nanosleep", 1, true) then
                    return { index = index, pid = pid }
                end
            end
        end, "a task sleeps")
        s:kill("KILL", busy.pid)
        local reply = cjson.decode((assert(tcp:receive("*l"))))
        assert.is_table(reply.error, cjson.encode(reply))
        assert.equal("crashed", reply.error.message)
        local other = connect()
        other:send('{"controller_name":"probe","method_name":"nap_now",'
            .. '"id":2}\r\n')
        assert.matches('"pid":true', (assert(other:receive("*l"))))
        wait_ready("task", busy.index, busy.pid)
    end)

    it("ends when the master is killed, and starts again at once", function()
        start()
        for _ = 1, 3 do
            local pids = s:pids()
            s:kill("KILL")
            until_(function()
                return s:exit_status()
            end)
            s:launch()
            s:wait_ready()
            s.game = s:port("game")
            for _, pid in ipairs(pids) do
                until_(function()
                    return not server.is_alive(pid)
                end, "process " .. pid .. " ends")
            end
            assert.is_number(slot_of(connect()))
            assert.equal(8, #s:pids())
        end
    end)

    --- What the node holds: processes, and the master's descriptors and maps.
    local function holdings()
        local out = server.shell(("ls /proc/%d/fd | wc -l; "
            .. "grep -c memfd /proc/%d/maps"):format(s.pid, s.pid))
        return out:gsub("%s+", " ") .. #s:pids()
    end

    it("holds no more after many kills than before", function()
        start()
        s:status()
        local before = holdings()
        -- Each four times, so that no breaker opens, in any order.
        local victims = {}
        for i = 0, 19 do
            local role = i % 5 < 3 and "worker" or "task"
            table.insert(victims, math.random(#victims + 1),
                { role = role, index = i % 5 < 3 and i % 5 or i % 5 - 3 })
        end
        for _, v in ipairs(victims) do
            local pid = until_(function()
                local p = s:process(v.role, v.index)
                return p.pid > 0 and p.pid
            end, "it has a process")
            s:kill("KILL", pid)
            socket.sleep(math.random() * 0.05)
        end
        until_(function()
            for _, p in ipairs(s:status().processes) do
                if p.state ~= "ready" then
                    return false
                end
            end
            return true
        end, "all are ready again")
        until_(function()
            return holdings() == before
        end, "what it holds is as before")
    end)
end)
