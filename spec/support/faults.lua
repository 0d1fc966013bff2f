--- What can go wrong between the hosts of a bed (hosts.lua), to order.
---
--- Cuts and losses are rules of the bridge (nft); what is cut is dropped without
--- a word, so both sides only hear nothing. Delay and its kin are done by wire.py
--- before the host that receives. Rates are a token bucket at the host's port.
--- A rule holds for what one host sends to another, broadcasts included.

local server = require("spec.support.server")

---@class spec.faults
---@field matrix table<integer, table<integer, table>> by sender and receiver
---@field frozen table<integer, boolean> pids
local faults = {}

local function sh(place, command)
    local out, status = place:run(command)
    if status ~= 0 then
        error(command .. ": " .. out, 3)
    end
    return out
end

--- Is it the host of that number? Nil stands for every host.
local function is(host, number)
    return host == nil or host.number == number
end

local function rule_of(bed, from, to)
    bed.matrix[from] = bed.matrix[from] or {}
    local row = bed.matrix[from]
    row[to] = row[to] or {}
    return row[to]
end

--- fn(rule, from, to) for what `a` sends to `b` and, unless `one_way`, the other
--- way round, too.
local function each(bed, a, b, one_way, fn)
    for from = 1, #bed do
        for to = 1, #bed do
            local meant = is(a, from) and is(b, to)
            if not one_way then
                meant = meant or is(a, to) and is(b, from)
            end
            if meant and from ~= to then
                fn(rule_of(bed, from, to), from, to)
            end
        end
    end
end

--- Make the bridge do what the matrix says, in one step.
local function apply(bed)
    local lines = { "table bridge faults", "delete table bridge faults" }
    local function line(...)
        lines[#lines + 1] = (...):format(select(2, ...))
    end
    line("table bridge faults {")
    line("chain forward { type filter hook forward priority 0;")
    for from, row in pairs(bed.matrix) do
        for to, rule in pairs(row) do
            local ports = ('iifname { "p%d", "q%d" } oifname { "p%d", "q%d" }'):format(
                from, from, to, to)
            if rule.cut then
                line("%s drop", ports)
            elseif (rule.lose or 0) > 0 then
                line("%s numgen random mod 1000 < %d drop", ports, rule.lose * 10)
            end
        end
    end
    line("}")
    line("}")
    sh(bed.switch, "nft -f - <<'END'\n" .. table.concat(lines, "\n") .. "\nEND")
end

--- Nothing passes between the two any more, and nobody is told.
---@param a spec.host
---@param b spec.host|nil nil: every other
---@param one_way boolean|nil only what `a` sends is dropped
function faults:cut(a, b, one_way)
    each(self, a, b, one_way, function(rule)
        rule.cut = true
    end)
    apply(self)
end

--- Cut a host from all others.
---@param a spec.host
function faults:isolate(a)
    self:cut(a)
end

--- Lose that many percent of all frames, each way.
---@param percent number
---@param a spec.host|nil nil: every host
---@param b spec.host|nil
---@param one_way boolean|nil
function faults:lose(percent, a, b, one_way)
    each(self, a, b, one_way, function(rule)
        rule.lose = percent
    end)
    apply(self)
end

--- Send resets to both ends of every TCP connection between the two. Conns over
--- a wire that is cut end, too, each end by itself.
---@param a spec.host
---@param b spec.host
function faults:reset(a, b)
    for _, pair in ipairs({ { a, b }, { b, a } }) do
        local there = pair[2]
        sh(pair[1], ("ss -HK dst %s; ss -HK dst [%s]"):format(there.address, there.address6))
    end
end

--- The wire before the receivers, started when first wanted.
local function wire(bed)
    if not bed.wire then
        local fifo = bed.dir .. "/fifo"
        server.shell("mkfifo " .. fifo)
        bed.switch:spawn(("/usr/bin/python3 spec/support/wire.py %s/wire < %s"):format(
            bed.dir, fifo))
        bed.wire = assert(io.open(fifo, "w")) -- waits for the other side
        bed.wire:setvbuf("line")
        bed.attached = {}
        bed.said = 0
    end
    return bed.wire
end

local function attach(bed, to)
    if bed.attached[to] then
        return
    end
    bed.attached[to] = true
    wire(bed):write("attach ", to, "\n")
    sh(bed.switch, ("ip link set p%d nomaster && ip link set q%d master br0"):format(to, to))
end

--- Wait until the wire has done what it was told.
local function settle(bed)
    bed.said = bed.said + 1
    wire(bed):write("done ", bed.said, "\n")
    server.until_(function()
        local f = io.open(bed.dir .. "/wire")
        local word = f and f:read("*a")
        if f then
            f:close()
        end
        return word == tostring(bed.said)
    end, "the wire obeys")
end

---@class spec.delay
---@field delay number|nil ms
---@field jitter number|nil ms, give or take; the order stays
---@field duplicate number|nil percent that come twice
---@field reorder number|nil percent that others overtake

--- What passes between the two is late, each way; {} ends that.
---@param how spec.delay
---@param a spec.host|nil nil: every host
---@param b spec.host|nil
---@param one_way boolean|nil
function faults:delay(how, a, b, one_way)
    local out = wire(self)
    each(self, a, b, one_way, function(rule, from, to)
        attach(self, to)
        rule.delay = next(how) and how or nil
        out:write(("set %d %d %g %g %g %g\n"):format(from, to, how.delay or 0,
            how.jitter or 0, how.duplicate or 0, how.reorder or 0))
    end)
    settle(self)
end

--- What the host sends and gets is at most so fast; nil ends that.
---@param a spec.host
---@param rate string|nil in words of tc: "1mbit"
function faults:rate(a, rate)
    for place, port in pairs({ [a] = "eth0", [self.switch] = "p" .. a.number }) do
        if rate then
            sh(place, ("tc qdisc replace dev %s root tbf rate %s burst 32kb latency 200ms"):format(
                port, rate))
        else
            place:run("tc qdisc del dev " .. port .. " root")
        end
    end
end

--- The power fails: all its processes are killed, and not a word of it leaves
--- the host. It is isolated until it is healed.
---@param a spec.host
function faults:crash(a)
    self:isolate(a)
    server.until_(function()
        local pids = a:pids()
        if #pids > 0 then
            server.shell("kill -KILL " .. table.concat(pids, " "))
        end
        return #pids == 0
    end, "everything on " .. a.name .. " is killed")
end

--- Stop a process where it stands.
---@param pid integer
function faults:freeze(pid)
    server.shell("kill -STOP " .. pid)
    self.frozen[pid] = true
end

--- Let it go on.
---@param pid integer
function faults:thaw(pid)
    server.shell("kill -CONT " .. pid)
    self.frozen[pid] = nil
end

--- End every cut, loss and delay between the two. Without hosts: all that is
--- wrong anywhere, rates and frozen processes included.
---@param a spec.host|nil
---@param b spec.host|nil
function faults:heal(a, b)
    local late = false
    each(self, a, b, false, function(rule)
        rule.cut, rule.lose = nil, nil
        late = late or rule.delay ~= nil
    end)
    apply(self)
    if late then
        self:delay({}, a, b)
    end
    if not a then
        for _, host in ipairs(self) do
            self:rate(host, nil)
        end
        for pid in pairs(self.frozen) do
            self:thaw(pid)
        end
    end
end

return faults
