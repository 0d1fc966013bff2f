--- Run spec/support/netserver.c: one port of net/ with an echo on top.
local socket = require("socket")

local netserver = {}
netserver.__index = netserver

local BUILD = os.getenv("SD_BUILD") or "build/dev"

--- Its memory is the sanitizer's, too.
netserver.is_sanitized = not BUILD:find("release")

local function read_lines(path)
    local lines = {}
    local f = io.open(path)
    if f then
        for line in f:lines() do
            lines[#lines + 1] = line
        end
        f:close()
    end
    return lines
end

--- Poll `f` until it gives something true.
---@param f function
---@param seconds number?
function netserver.until_(f, seconds)
    local deadline = socket.gettime() + (seconds or 20)
    repeat
        local value = f()
        if value then
            return value
        end
        socket.sleep(0.005)
    until socket.gettime() > deadline
    error("it did not come about in time", 2)
end

---@param options table key = value of netserver.c
function netserver.start(options)
    local self = setmetatable({ out = os.tmpname(), conns = {} }, netserver)
    local words = { BUILD .. "/spec/support/netserver" }
    for key, value in pairs(options) do
        words[#words + 1] = ("'%s=%s'"):format(key, tostring(value))
    end
    self.stdin = io.popen(("env -u LD_PRELOAD ASAN_OPTIONS=detect_leaks=1 %s"
        .. " > %s 2> %s.err; echo rc $? >> %s"):format(
        table.concat(words, " "), self.out, self.out, self.out), "w")
    local first = netserver.until_(function()
        local line = read_lines(self.out)[1]
        return line and line:find("pid %d+$") and line
    end)
    local host, port, pid =
        first:match("^listening %[?(.-)%]?:(%d+) pid (%d+)$")
    assert(port, first)
    self.host, self.port, self.pid = host, tonumber(port), tonumber(pid)
    return self
end

--- A raw TCP client, `from` an address or any; closed by stop().
function netserver:connect(from)
    local s = assert(socket.connect(self.host, self.port, from, from and 0))
    s:settimeout(20)
    s:setoption("tcp-nodelay", true)
    self.conns[#self.conns + 1] = s
    return s
end

--- Has the server printed this line?
function netserver:said(wanted)
    for _, line in ipairs(read_lines(self.out)) do
        if line == wanted then
            return true
        end
    end
    return false
end

function netserver:wait_for(line)
    netserver.until_(function()
        return self:said(line)
    end)
end

--- Seconds of CPU it has used.
function netserver:cpu()
    local f = assert(io.open(("/proc/%d/stat"):format(self.pid)))
    local user, system = f:read("*a"):match(
        "%) " .. ("%S+ "):rep(11) .. "(%d+) (%d+)")
    f:close()
    return (tonumber(user) + tonumber(system)) / 100
end

--- Bytes of memory it has resident.
function netserver:memory()
    local f = assert(io.open(("/proc/%d/status"):format(self.pid)))
    local kib = f:read("*a"):match("VmRSS:%s+(%d+)")
    f:close()
    return tonumber(kib) * 1024
end

--- Ask it to stop and wait until it has.
function netserver:shut()
    if self.stdin then
        self.stdin:close()
        self.stdin = nil
    end
end

--- What became of the pushes that were accepted.
local function accounted(counters)
    local sum = counters.written + counters.waiting
    for key, n in pairs(counters) do
        sum = sum + (key:find("^dropped_") and n or 0)
    end
    return sum
end

--- End it; gives its counters.  A leak or an error of the sanitizers fails.
function netserver:stop()
    for _, s in ipairs(self.conns) do
        s:close()
    end
    self:shut()
    local lines = read_lines(self.out)
    local err = table.concat(read_lines(self.out .. ".err"), "\n")
    os.remove(self.out)
    os.remove(self.out .. ".err")
    assert(lines[#lines] == "rc 0", err)
    self.log = err
    local counters = {}
    for key, n in lines[#lines - 1]:gmatch('"([%w_]+)":(%d+)') do
        counters[key] = tonumber(n)
    end
    assert(counters.pushes == accounted(counters),
        "pushes are unaccounted for: " .. lines[#lines - 1])
    return counters
end

--- A packet of frame "length": four bytes that count themselves.
function netserver.packet(body)
    local n = #body + 4
    return string.char(math.floor(n / 2 ^ 24), math.floor(n / 65536) % 256,
        math.floor(n / 256) % 256, n % 256) .. body
end

function netserver.read_packet(s)
    local head, err = s:receive(4)
    if not head then
        return nil, err
    end
    local a, b, c, d = head:byte(1, 4)
    return s:receive(((a * 256 + b) * 256 + c) * 256 + d - 4)
end

--- Everything until the peer closes.
function netserver.read_all(s)
    local all, err, rest = s:receive("*a")
    return all or rest, err
end

local function read_headers(s)
    local headers = {}
    for text in function() return s:receive("*l") end do
        if text == "" then
            break
        end
        local name, value = text:match("^([^:]+): (.*)$")
        headers[name:lower()] = value
    end
    return headers
end

local function read_bytes(s, n)
    return n > 0 and s:receive(n) or ""
end

local function read_body(s, headers)
    if headers["transfer-encoding"] ~= "chunked" then
        return read_bytes(s, tonumber(headers["content-length"] or 0))
    end
    local body = ""
    repeat
        local n = tonumber(s:receive("*l"), 16)
        body = body .. read_bytes(s, n)
        s:receive("*l")
    until n == 0
    return body
end

--- One HTTP response: status, headers (lower case), body.
function netserver.read_response(s, is_head)
    local line, err = s:receive("*l")
    if not line then
        return nil, err
    end
    local status = tonumber(line:match("^HTTP/1%.1 (%d%d%d) "))
    local headers = read_headers(s)
    if is_head or status == 204 or status == 304 or status < 200 then
        return status, headers, ""
    end
    return status, headers, read_body(s, headers)
end

return netserver
