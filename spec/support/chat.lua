--- Clients of the example application, independent of the program: a TCP
--- client on luasocket, a WebSocket client on Python's library, curl.

local cjson = require("cjson")
local server = require("spec.support.server")
local socket = require("socket")

local chat = {}

local DEADLINE = 10

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

--- The example application in a folder of its own, on free ports.
---@return spec.server not yet started
function chat.new()
    local files = { ["scripts/controllers/probe.lua"] = false }
    local list = io.popen("find config scripts -type f")
    for path in list:lines() do
        files[path] = read(path)
    end
    list:close()
    -- Specs do not wait as long as people.
    local timers = "config/timers.lua"
    files[timers] = files[timers]:gsub('every = "10s"', 'every = "1s"')
    local s = server.new(files)
    s.env = "SD_PORTS_CHAT_LISTEN=127.0.0.1:0 SD_PORTS_WEB_LISTEN=127.0.0.1:0"
        .. " SD_ADMIN_LISTEN=off"
    return s
end

--- Start (again) and remember the ports, which are free ones each time.
---@param s spec.server
---@return spec.server s
function chat.start(s)
    s:launch()
    s:wait_ready()
    s.ports = { chat = s:port("chat"), web = s:port("web") }
    return s
end

--- Where it is; the demo has it elsewhere.
local function address(s)
    return s.address or "127.0.0.1"
end

--- Does a message contain all of this?
local function contains(message, part)
    if type(message) ~= "table" or type(part) ~= "table" then
        return message == part
    end
    for key, value in pairs(part) do
        if not contains(message[key], value) then
            return false
        end
    end
    return true
end

--- What both kinds of client can do; they differ in send and receive.
local Client = {}
Client.__index = Client

--- The next message that contains this; those before it are kept for later.
---@param part table
---@return table
function Client:expect(part)
    for i, message in ipairs(self.kept) do
        if contains(message, part) then
            return table.remove(self.kept, i)
        end
    end
    local limit = socket.gettime() + DEADLINE
    while socket.gettime() < limit do
        local text = self:receive(limit - socket.gettime())
        if not text then
            break
        end
        local message = cjson.decode(text)
        if contains(message, part) then
            return message
        end
        table.insert(self.kept, message)
    end
    error("no message with " .. cjson.encode(part) .. " among "
        .. cjson.encode(self.kept), 2)
end

--- Call a method and wait for its answer.
---@return any result
---@return {code: integer, message: string}? error
function Client:call(path, params)
    local controller, method = path:match("^(.*)/(.*)$")
    self.calls = self.calls + 1
    self:send(cjson.encode({
        controller_name = controller,
        method_name = method,
        params = params or {},
        id = self.calls,
    }))
    local answer = self:expect({ id = self.calls })
    return answer.result, answer.error
end

local function client(of)
    local class = setmetatable(of, Client)
    class.__index = class
    return class
end

-- TCP ---------------------------------------------------------------------

local Tcp = client({})

function Tcp:send(text)
    local n = #text + 4
    local head = string.char(
        math.floor(n / 2 ^ 24) % 256,
        math.floor(n / 2 ^ 16) % 256,
        math.floor(n / 2 ^ 8) % 256,
        n % 256
    )
    assert(self.socket:send(head .. text))
end

function Tcp:receive(seconds)
    self.socket:settimeout(seconds)
    local head = self.socket:receive(4)
    if not head then
        return nil
    end
    local a, b, c, d = head:byte(1, 4)
    return self.socket:receive(((a * 256 + b) * 256 + c) * 256 + d - 4)
end

function Tcp:close()
    self.socket:close()
end

---@param s spec.server
function chat.tcp(s)
    local tcp = assert(socket.connect(address(s), s.ports.chat))
    return setmetatable({ socket = tcp, kept = {}, calls = 0 }, Tcp)
end

-- WebSocket ---------------------------------------------------------------

local Ws = client({})

function Ws:send(text)
    self.input:write(text, "\n")
    self.input:flush()
end

function Ws:receive(seconds)
    local limit = socket.gettime() + seconds
    repeat
        -- A line may be seen before its end is written.
        self.part = (self.part or "") .. (self.output:read("*L") or "")
        local line = self.part:match("^(.*)\n$")
        if line then
            self.part = nil
            return line
        end
        self.output:seek("cur", 0)
        socket.sleep(0.01)
    until socket.gettime() > limit
end

--- End, and wait for the close handshake.
function Ws:close()
    self.input:close()
    repeat
        local line = self:receive(DEADLINE)
    until not line or line:find("^closed")
    self.output:close()
end

--- What a WebSocket's first line says: "open", "refused 401".
---@param s spec.server
---@param cookie string?
function chat.ws(s, cookie)
    s.clients = (s.clients or 0) + 1
    local name = s.dir .. "/ws" .. s.clients
    server.shell(("mkfifo %s.in; : > %s.out"):format(name, name))
    os.execute(("env -u LD_PRELOAD /usr/bin/python3 spec/support/ws_client.py "
        .. "ws://%s:%d/ws %s < %s.in > %s.out 2>&1 &"):format(
        address(s),
        s.ports.web,
        cookie and "'Cookie: " .. cookie .. "'" or "",
        name,
        name
    ))
    local ws = setmetatable({ kept = {}, calls = 0 }, Ws)
    ws.input = assert(io.open(name .. ".in", "w"))
    ws.output = assert(io.open(name .. ".out", "r"))
    return ws, ws:receive(DEADLINE)
end

-- HTTP --------------------------------------------------------------------

--- curl. Returns the body, the status, and the head.
---@param s spec.server
---@param path string
---@param options string? of curl
function chat.curl(s, path, options)
    local command = "env -u LD_PRELOAD curl -s -i %s http://%s:%d%s"
    local text = server.shell(command:format(options or "", address(s), s.ports.web, path))
    local head, body = text:match("^(.-\r\n)\r\n(.*)$")
    return body, head and tonumber(head:match("^HTTP/1.1 (%d+)")), head
end

--- Ask for a name; the cookie to show from then on.
function chat.enter(s, name)
    local body, status, head =
        chat.curl(s, "/login/enter", "-d name=" .. name)
    assert(status == 200, body)
    return (head:match("[Ss]et%-[Cc]ookie: ([^;\r]*)"))
end

return chat
