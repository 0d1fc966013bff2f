--- Three nodes, two dispatches and a Redis, whose clients keep books of what
--- they send each other (cluster_ledger.lua) while a spec makes trouble.
---
---     local t = trial.start()
---     local books = t:begin({ rate = 300 })
---     t:for_seconds(5, t:killer())
---     t:judge("kills", books)       -- prints the books; nothing is wrong
---     t:rest()                      -- after_each
---     t:stop()
---
--- SPEC_SEED=n repeats the dice, as far as processes do. SPEC_LOGS=FILE keeps
--- the logs of all members when a message went wrong.

local assert = require("luassert")
local cjson = require("cjson")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

---@class spec.trial
---@field bed spec.bed
---@field cluster spec.cluster
---@field nodes spec.server[] a, b, c
---@field dispatches spec.server[] d, e
local Trial = {}
Trial.__index = Trial

local trial = {}

-- Of one process in a minute, and some: at five its breaker is about to open,
-- and a dispatch without relays gives up.
local MOST_KILLS = 4
local KILLS_WINDOW = 75

--- The application of the ledger, with more files.
---@param more table<string, string>|nil
function trial.files(more)
    local files = {}
    for _, list in ipairs({ ledger.files, more or {} }) do
        for path, text in pairs(list) do
            files[path] = text
        end
    end
    return files
end

---@param files table<string, string>|nil of the nodes
---@param env string|nil variables of their environment, besides
---@return spec.trial
function trial.start(files, env)
    local dice = tonumber(os.getenv("SPEC_SEED") or os.time())
    local bed = hosts.start(6)
    local c = cluster.new(bed)
    local self = setmetatable({
        bed = bed,
        cluster = c,
        dice = dice,
        nodes = {},
        dispatches = {},
        runs = 0,
    }, Trial)
    math.randomseed(dice)
    c:redis(bed[6])
    for i, name in ipairs({ "a", "b", "c" }) do
        self.nodes[i] = c:new_node(name, bed[i], files or ledger.files)
        self.nodes[i].env = "SD_SPEC_ROUND=4 " .. (env or "")
    end
    for i, name in ipairs({ "d", "e" }) do
        self.dispatches[i] = c:new_dispatch(name, bed[i + 3])
    end
    c:launch()
    c:wait_linked()
    return self
end

function Trial:stop()
    self.cluster:stop()
    self.bed:stop()
end

--- Whole again, for the next one.
function Trial:rest()
    self.bed:heal()
    for _, books in ipairs(self.running or {}) do
        server.shell("kill -KILL " .. books.pid)
    end
    self.running = {}
    self.cluster:wait_linked()
end

--- Begin the books. They are kept at the switch: no fault reaches them.
---@param options table|nil of the ledger
---@param nodes spec.server[]|nil whose clients they are; nil: all
function Trial:begin(options, nodes)
    local endpoints = {}
    for i, s in ipairs(nodes or self.nodes) do
        endpoints[2 * i - 1] = "tcp:" .. s:at("game")
        endpoints[2 * i] = "ws:" .. s:at("web")
    end
    local all = { conns = 18, rate = 200, call = "ledger/post" }
    for name, value in pairs(options or {}) do
        all[name] = value
    end
    self.runs = self.runs + 1
    all.prefix = ("r%du"):format(self.runs)
    local books = ledger.start(endpoints, all, self.bed.switch)
    self.running = self.running or {}
    table.insert(self.running, books)
    return books
end

--- Print the books and see that nothing is wrong in them.
---@return table sum, string err
function Trial:judge(what, books)
    local sum, err = books:finish()
    for i, one in ipairs(self.running) do
        if one == books then
            table.remove(self.running, i)
        end
    end
    print(("%s (seed %d): %s"):format(what, self.dice, cjson.encode(sum)))
    if sum.wrong > 0 and os.getenv("SPEC_LOGS") then
        local f = assert(io.open(os.getenv("SPEC_LOGS"), "a"))
        f:write(what, "\n", err, "\n", self.cluster:logs(), "\n")
        f:close()
    end
    assert.equal(0, sum.wrong, err)
    assert.is_true(sum.delivered > 0)
    return sum, err
end

--- The processes of that role on those.
function Trial:processes(role, of)
    local list = {}
    for _, s in ipairs(of) do
        for _, p in ipairs((s:status() or { processes = {} }).processes) do
            if p.role == role and p.pid > 0 then
                p.name = ("%s%d of %s"):format(role, p.index, s.name)
                list[#list + 1] = p
            end
        end
    end
    return list
end

function Trial:for_seconds(seconds, fn)
    local stop = socket.gettime() + seconds
    while socket.gettime() < stop do
        fn()
    end
end

--- One of the list.
function Trial:pick(list)
    return list[math.random(#list)]
end

--- May it be killed once more? Says so at most MOST_KILLS times in any window.
local function may_kill(times, name)
    local now = socket.gettime()
    local list = times[name] or {}
    times[name] = list
    while list[1] and now - list[1] > KILLS_WINDOW do
        table.remove(list, 1)
    end
    if #list >= MOST_KILLS then
        return false
    end
    list[#list + 1] = now
    return true
end

--- A function that kills one process and waits for a moment; `kills`, which it
--- returns as well, says how often which.
---@return fun(), table<string, integer>
function Trial:killer()
    local times, kills = {}, {}
    return function()
        local role = self:pick({ "relay", "relay", "worker", "agent" })
        local of = self:pick(role == "relay" and self.dispatches or self.nodes)
        local list = self:processes(role, { of })
        local one = #list > 0 and self:pick(list)
        if one and may_kill(times, one.name) then
            server.shell("kill -KILL " .. one.pid)
            kills[one.name] = (kills[one.name] or 0) + 1
        end
        socket.sleep(math.random() * 0.5)
    end, kills
end

--- Of each process by its name: open files, and bytes of memory.
---@return table<string, { files: integer, memory: integer }>
function Trial:weights()
    local map = {}
    for _, role in ipairs({ "relay", "worker", "agent" }) do
        local of = role == "relay" and self.dispatches or self.cluster.members
        for _, p in ipairs(self:processes(role, of)) do
            local out = server.shell(("ls /proc/%d/fd | wc -l; grep VmRSS /proc/%d/status"):format(
                p.pid, p.pid))
            local files, kib = out:match("^(%d+)\nVmRSS:%s*(%d+)")
            map[p.name] = { files = tonumber(files), memory = tonumber(kib) * 1024 }
        end
    end
    return map
end

local function imbalance_of(p)
    for _, name in ipairs({ "messages", "sends", "pushes" }) do
        local hop = p[name]
        if hop then
            local sum = hop.delivered + hop.in_flight
            for _, n in pairs(hop.dropped) do
                sum = sum + n
            end
            if sum ~= hop.accepted then
                return ("%s%d, %s: %s"):format(p.role, p.index, name, cjson.encode(hop))
            end
        end
    end
end

--- What is wrong in the accounts of the members: in each hop, accepted is what
--- was delivered, dropped, and is in flight. Nil: nothing.
local function imbalance(members)
    for _, s in ipairs(members) do
        local status = s:status()
        if not status then
            return s.name .. " has no status"
        end
        for _, p in ipairs(status.processes) do
            local what = imbalance_of(p)
            if what then
                return s.name .. ": " .. what
            end
        end
    end
end

--- The accounts of all members balance. (A process writes them four times a
--- second, so one may be seen in the middle.)
function Trial:wait_balance()
    local what
    local ok = pcall(server.until_, function()
        what = imbalance(self.cluster.members)
        return not what
    end)
    assert.is_true(ok, what)
end

return trial
