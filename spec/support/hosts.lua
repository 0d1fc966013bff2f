--- Several hosts on one machine, for the specs of the cluster: network
--- namespaces on a bridge of their own, with faults to order (faults.lua).
---
---     local bed = hosts.start(3)
---     local s = server.start(files, bed[1])        -- a node on the first
---     local c = bed[2]:inside(client.open, s:at("game")) -- a client on another
---     bed:cut(bed[1], bed[2])
---     bed:heal()
---     bed:stop()
---
--- Host i has 10.77.0.i and fd77::i; broadcast and multicast work. `bed.switch`
--- is where the bridge is, 10.77.0.254: a place that faults do not touch.
---
--- A socket belongs to the namespace in which it was made, for ever. So the
--- spec's own process is a client on any host without a helper: `inside` enters
--- the host, runs a function that opens the socket, and comes back.

local cjson = require("cjson")
local faults = require("spec.support.faults")
local ffi = require("ffi")
local server = require("spec.support.server")

ffi.cdef([[
int open(const char *path, int flags, ...);
int close(int fd);
int setns(int fd, int kind);
int getpid(void);
]])

---@class spec.host
---@field name string "h1"
---@field number integer
---@field address string IPv4
---@field address6 string IPv6
---@field net integer descriptor of its namespace
---@field uts integer
local Host = {}
Host.__index = Host

---@class spec.bed: spec.faults
---@field pid integer of hosts.py
---@field dir string a folder that goes with the bed
---@field mark string the address that every loopback of this bed has, in hex
---@field switch spec.host
---@field [integer] spec.host
local Bed = setmetatable({}, { __index = faults })
Bed.__index = Bed

local hosts = {}

local O_CLOEXEC = 0x80000

local function open(path)
    local fd = ffi.C.open(path, ffi.cast("int", O_CLOEXEC))
    assert(fd >= 0, "cannot open " .. path)
    return fd
end

-- Where this process is at the moment.
local here = {}

local function enter(place)
    assert(ffi.C.setns(place.net, 0) == 0, "cannot enter a network namespace")
    assert(ffi.C.setns(place.uts, 0) == 0, "cannot enter a name space")
    here = place
end

--- Run fn(...) on the host: sockets it makes and programs it starts are there.
--- Returns what it returns.
---@param fn function
---@return any ...
function Host:inside(fn, ...)
    local before = here
    local function back(ok, ...)
        enter(before)
        if not ok then
            error((...), 0)
        end
        return ...
    end
    enter(self)
    return back(pcall(fn, ...))
end

--- Run a shell command there. Returns what it wrote and its exit status.
---@param command string
---@return string output, integer status
function Host:run(command)
    return self:inside(server.shell, "unset LD_PRELOAD; " .. command)
end

--- Start a program there, without waiting. What it writes goes to a file.
---@param command string one command; no pipe
---@return integer pid, string path of its output
function Host:spawn(command)
    local path = ("%s/%s.%d"):format(self.dir, self.name, self.spawned)
    self.spawned = self.spawned + 1
    local pid = self:run(("{ exec %s; } > %s 2>&1 < /dev/null & echo $!"):format(command, path))
    return tonumber(pid), path
end

--- The pids of what runs there.
---@return integer[]
function Host:pids()
    local id = self:inside(server.shell, "readlink /proc/self/ns/net"):gsub("%s", "")
    local list = {}
    local all = server.shell("ls -l /proc/[0-9]*/ns/net 2> /dev/null")
    for pid, of in all:gmatch("/proc/(%d+)/ns/net %-> (%S+)") do
        if of == id then
            list[#list + 1] = tonumber(pid)
        end
    end
    return list
end

local function new_host(bed, number, name)
    local function namespace(list)
        return open(("/proc/%d/fd/%d"):format(bed.pid, list[number + 1]))
    end
    local byte = number == 0 and 254 or number
    return setmetatable({
        dir = bed.dir,
        name = name,
        number = number,
        address = "10.77.0." .. byte,
        address6 = ("fd77::%x"):format(byte),
        spawned = 0,
        net = namespace(bed.facts.net),
        uts = namespace(bed.facts.uts),
    }, Host)
end

--- Build a bed. Fails, saying why, where namespaces cannot be made.
---@param count integer of hosts
---@return spec.bed
function hosts.start(count)
    -- The bed ends with this process, if nobody stops it before.
    local out, status = server.shell(
        ("env -u LD_PRELOAD /usr/bin/python3 spec/support/hosts.py %d %d"):format(
            count, ffi.C.getpid()))
    if status ~= 0 then
        error("no hosts: " .. out, 2)
    end
    local facts = cjson.decode(out:match("{.*}"))
    if not here.net then
        here = { net = open("/proc/self/ns/net"), uts = open("/proc/self/ns/uts") }
    end
    local bed = setmetatable({
        facts = facts,
        pid = facts.pid,
        dir = facts.dir,
        mark = facts.mark,
        matrix = {},
        frozen = {},
    }, Bed)
    bed.switch = new_host(bed, 0, "switch")
    for i = 1, count do
        bed[i] = new_host(bed, i, "h" .. i)
    end
    return bed
end

--- The pids of what runs in the bed of that mark, or in what is left of it.
---@param mark string
---@return integer[]
function hosts.pids(mark)
    local found = server.shell(("grep -sl %s /proc/[0-9]*/net/if_inet6"):format(mark))
    local list = {}
    for pid in found:gmatch("/proc/(%d+)/") do
        list[#list + 1] = tonumber(pid)
    end
    return list
end

--- The pids of what runs in the bed.
---@return integer[]
function Bed:pids()
    return hosts.pids(self.mark)
end

--- End everything that runs in the bed, and the bed. Harmless when it ended.
function Bed:stop()
    if self.has_ended then
        return
    end
    self.has_ended = true
    if self.wire then
        self.wire:close()
    end
    server.shell("kill " .. self.pid)
    server.until_(function()
        return not server.is_alive(self.pid)
    end, "the bed ends")
    for i = 0, #self do
        local host = self[i] or self.switch
        ffi.C.close(host.net)
        ffi.C.close(host.uts)
        host.net, host.uts = -1, -1
    end
end

return hosts
