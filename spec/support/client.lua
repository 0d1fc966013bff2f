--- Clients for specs: packets behind a length over TCP, WebSocket frames, both
--- by hand, so that nothing of the server's own code judges itself.
---
---     local c = client.open(port)
---     c:call("chat/join", { room = "a" }).result
---     local w = client.ws(port, { path = "/ws" })
---     w:call("chat/join", { room = "a" })

local bit = require("bit")
local cjson = require("cjson")
local messagepack = require("MessagePack")
local socket = require("socket")

local client = {}

--- What a client's `pack` may be; without one it speaks JSON.
client.msgpack = { encode = messagepack.pack, decode = messagepack.unpack }

local TIMEOUT = 60 -- seconds; nothing here waits for it unless it fails

--- "address:port", of this host when only the port is given.
---@param port integer|string
---@return string
function client.place(port)
    return tostring(port):find(":") and port or "127.0.0.1:" .. port
end

--- A connected TCP socket of luasocket. What opens a client takes its port in
--- the same two ways.
---@param port integer|string of this host, or "address:port"
---@return table
function client.tcp(port)
    local address, number = client.place(port):match("^(.*):(%d+)$")
    local sock = assert(socket.tcp())
    sock:settimeout(TIMEOUT)
    assert(sock:connect(address, number))
    sock:setoption("tcp-nodelay", true)
    return sock
end

--- An unsigned number of so many bytes.
---@param n integer
---@param bytes integer
---@param little boolean|nil
---@return string
function client.number(n, bytes, little)
    local t = {}
    for i = 1, bytes do
        t[i] = string.char(n % 256)
        n = math.floor(n / 256)
    end
    local s = table.concat(t)
    return little and s or s:reverse()
end

---@param s string
---@param little boolean|nil
---@return integer
function client.value(s, little)
    local n = 0
    for c in (little and s:reverse() or s):gmatch(".") do
        n = n * 256 + c:byte()
    end
    return n
end

--- What speaks packets; `put(text)` and `get()` differ by transport.
local Conn = { pack = cjson }
Conn.__index = Conn

function Conn:send(packet)
    self:put(self.pack.encode(packet))
end

--- The next packet; nil and why when none comes any more.
function Conn:receive()
    local text, why = self:get()
    if not text then
        return nil, why
    end
    return self.pack.decode(text)
end

--- The packet of a call of "controller/method".
function client.packet(path, params, id)
    local controller, method = path:match("^(.*)/([^/]+)$")
    return {
        controller_name = controller,
        method_name = method,
        params = params,
        id = id,
    }
end

--- Call and wait for the reply to it; pushes that come before are kept in
--- `pushes`.
function Conn:call(path, params)
    self.last = (self.last or 0) + 1
    self:send(client.packet(path, params, self.last))
    while true do
        local packet, why = self:receive()
        if not packet then
            return nil, why
        end
        if type(packet) == "table" and packet.id == self.last
            and packet.q == nil then
            return packet
        end
        table.insert(self.pushes, packet)
    end
end

--- Call without an id.
function Conn:cast(path, params)
    self:send(client.packet(path, params))
end

--- Does the other side close, with nothing more to read?
function Conn:is_closed()
    local text, why = self:get()
    return text == nil and why == "closed"
end

function Conn:close()
    self.sock:close()
end

local Stream = setmetatable({}, Conn)
Stream.__index = Stream

function Stream:put(text)
    assert(self.sock:send(client.number(#text + 4, 4) .. text))
end

function Stream:get()
    local head, why = self.sock:receive(4)
    if not head then
        return nil, why
    end
    return self.sock:receive(client.value(head) - 4)
end

--- A client of a port with the default framing.
---@param port integer
---@param pack table? encode, decode
function client.open(port, pack)
    return setmetatable({
        sock = client.tcp(port),
        pushes = {},
        pack = pack,
    }, Stream)
end

local Lines = setmetatable({}, Conn)
Lines.__index = Lines

function Lines:put(text)
    assert(self.sock:send(text .. "\r\n"))
end

function Lines:get()
    return self.sock:receive("*l")
end

--- A client of a port with the framing "line".
---@param port integer
function client.lines(port)
    return setmetatable({ sock = client.tcp(port), pushes = {} }, Lines)
end

-- WebSocket ------------------------------------------------------------------

local Socket = setmetatable({}, Conn)
Socket.__index = Socket

--- Send one frame. `opts`: op (default text), fin, rsv, mask = false.
function Socket:frame(data, opts)
    opts = opts or {}
    local first = (opts.op or 1) + (opts.fin == false and 0 or 128)
        + (opts.rsv or 0)
    local mask = opts.mask == false and 0 or 128
    local head = string.char(first)
    if #data < 126 then
        head = head .. string.char(mask + #data)
    elseif #data < 65536 then
        head = head .. string.char(mask + 126) .. client.number(#data, 2)
    else
        head = head .. string.char(mask + 127) .. client.number(#data, 8)
    end
    if mask ~= 0 then
        local key = { 0x12, 0x34, 0x56, 0x78 }
        head = head .. string.char(unpack(key))
        local i = -1
        data = data:gsub(".", function(c)
            i = i + 1
            return string.char(bit.bxor(c:byte(), key[i % 4 + 1]))
        end)
    end
    return self.sock:send(head .. data)
end

--- The next frame as {op=, fin=, data=}; nil and why at the end.
function Socket:read()
    local head, why = self.sock:receive(2)
    if not head then
        return nil, why
    end
    local a, b = head:byte(1, 2)
    assert(b < 128, "a server must not mask")
    if b == 126 then
        b = client.value(assert(self.sock:receive(2)))
    elseif b == 127 then
        b = client.value(assert(self.sock:receive(8)))
    end
    local data = b == 0 and "" or assert(self.sock:receive(b))
    return { op = a % 16, fin = a >= 128, data = data }
end

function Socket:put(text)
    assert(self:frame(text, { op = self.op }))
end

--- The next message; nil, "closed", code, text when it closes.
function Socket:get()
    while true do
        local f, why = self:read()
        if not f then
            return nil, why
        elseif f.op == 8 then
            local code = #f.data >= 2 and client.value(f.data:sub(1, 2)) or nil
            return nil, "closed", code, f.data:sub(3)
        elseif f.op < 8 then
            return f.data
        end
    end
end

--- Code and text of the close frame that ends this conn.
function Socket:close_code()
    while true do
        local text, why, code, words = self:get()
        if not text then
            return code, words, why
        end
    end
end

--- Open a WebSocket. `opts`: path, headers (a map), key, op (2: binary), pack.
--- Returns it, or nil, status and head.
function client.ws(port, opts)
    opts = opts or {}
    local sock = client.tcp(port)
    local lines = {
        "GET " .. (opts.path or "/ws") .. " HTTP/1.1",
        "Host: " .. client.place(port),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    }
    for name, value in pairs(opts.headers or {}) do
        lines[#lines + 1] = name .. ": " .. value
    end
    sock:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (opts.rest or ""))
    local head = {}
    repeat
        local line, why = sock:receive("*l")
        if not line then
            return nil, why
        end
        head[#head + 1] = line
    until line == ""
    head = table.concat(head, "\n")
    local status = tonumber(head:match("^HTTP/1.1 (%d+)"))
    if status ~= 101 then
        local n = tonumber(head:match("[Cc]ontent%-[Ll]ength: (%d+)") or 0)
        local body = n > 0 and sock:receive(n) or ""
        sock:close()
        return nil, status, head, body
    end
    return setmetatable({
        sock = sock,
        pushes = {},
        head = head,
        op = opts.op,
        pack = opts.pack,
    }, Socket)
end

--- Numbers of a node's ports by name.
---@param s spec.server
---@return table<string, integer>
function client.ports(s)
    local ports = {}
    for _, p in ipairs(s:status().ports) do
        ports[p.name] = p.port
    end
    return ports
end

return client
