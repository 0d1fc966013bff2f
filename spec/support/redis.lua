--- Redis servers of a spec: own folder, Unix socket, stopped by pid.
local ffi = require("ffi")
local server = require("spec.support.server")

ffi.cdef([[ int usleep(unsigned us); int kill(int pid, int sig); ]])

---@class support.Redis
---@field dir string
---@field path string its Unix socket
---@field url string
---@field pid integer
local Redis = {}
Redis.__index = Redis

local support = {}

local function read(path)
    local f = io.open(path)
    local text = f and f:read("*a")
    if f then
        f:close()
    end
    return text
end

support.read = read

--- What `f` returns, as soon as that is true; fails after `seconds`.
function support.until_(f, seconds)
    seconds = seconds or 60
    for _ = 1, seconds * 100 do
        local value = f()
        if value then
            return value
        end
        ffi.C.usleep(10000)
    end
    error("in vain: nothing came within " .. seconds .. " s", 2)
end

function support.run(command)
    local f = assert(io.popen(command))
    local text = f:read("*a")
    f:close()
    return text
end

--- A shell command where the server is.
function Redis:execute(command)
    if self.host then
        return self.host:inside(os.execute, command)
    end
    return os.execute(command)
end

-- A server that is started amid a spec would keep its sockets open.
local ALONE = [[env -u LD_PRELOAD python3 -c '
import os, sys
os.closerange(3, 65536)
os.execvp(sys.argv[1], sys.argv[1:])' ]]

function Redis:start()
    local address = self.host and "0.0.0.0 --protected-mode no" or "127.0.0.1"
    local port = self.port and "--bind " .. address .. " --port " .. self.port or "--port 0"
    self:execute(
        (ALONE .. "redis-server %s --unixsocket %s --dir %s --save '' "):format(
            port,
            self.path,
            self.dir
        )
            .. ("--daemonize yes --pidfile %s/pid --logfile %s/log %s"):format(
                self.dir,
                self.dir,
                self.options
            )
    )
    local log
    local is_ready = pcall(support.until_, function()
        log = read(self.dir .. "/log") or ""
        return log:find("Ready to accept", 1, true) or log:find("accept connections at", 1, true)
    end)
    assert(is_ready, "Redis does not start: " .. log)
    self.pid = support.until_(function()
        return tonumber(read(self.dir .. "/pid") or "")
    end)
end

function Redis:signal(number)
    ffi.C.kill(self.pid, number)
end

--- kill -9, and wait until it is gone.
function Redis:kill()
    self:signal(9)
    support.until_(function()
        return not server.is_alive(self.pid)
    end)
    os.remove(self.dir .. "/log")
    os.remove(self.dir .. "/pid")
end

function Redis:cli(words)
    return support.run(("env -u LD_PRELOAD redis-cli -s %s %s 2>&1"):format(self.path, words))
end

function Redis:stop()
    self:kill()
    os.execute("rm -rf " .. self.dir)
end

--- A running server; `options` as on its command line.
---@param options? string
---@param port? integer TCP besides the socket
---@param host? spec.host where it runs (hosts.lua); `url` is then by TCP
---@return support.Redis
function support.start(options, port, host)
    local base = host and " -p " .. host.dir or ""
    local dir = support.run("mktemp -d" .. base):gsub("%s", "")
    local self = setmetatable({
        dir = dir,
        path = dir .. "/r.sock",
        url = host and ("redis://%s:%d"):format(host.address, port)
            or "unix://" .. dir .. "/r.sock",
        host = host,
        options = options or "",
        port = port,
    }, Redis)
    self:start()
    return self
end

--- A TCP port nobody uses at the moment.
function support.free_port()
    return tonumber(support.run([[python3 -c "
import socket
s = socket.socket()
s.bind(('127.0.0.1', 0))
print(s.getsockname()[1])"]]))
end

return support
