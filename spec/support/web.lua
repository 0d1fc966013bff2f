--- An HTTP/1.1 client for specs that sends exactly the bytes it is given.
---
---     local c = web.open(port)
---     c:send("GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n")
---     local r = c:reply() -- r.status, r.headers, r.body, r.head

local cjson = require("cjson")
local socket = require("socket")

local TIMEOUT = 20 -- seconds; nothing here waits for it unless it fails

local web = {}

---@class spec.Web
local Conn = {}
Conn.__index = Conn

---@param port integer
---@return spec.Web
function web.open(port)
    local sock = assert(socket.tcp())
    sock:settimeout(TIMEOUT)
    assert(sock:connect("127.0.0.1", port))
    sock:setoption("tcp-nodelay", true)
    return setmetatable({ sock = sock }, Conn)
end

function Conn:send(bytes)
    return self.sock:send(bytes)
end

function Conn:close()
    self.sock:close()
end

local function read_chunks(sock)
    local parts = {}
    while true do
        local line, why = sock:receive("*l")
        local n = line and tonumber(line:match("^(%x+)$"), 16)
        if not n then
            return nil, why or "bad chunk size " .. line
        elseif n == 0 then
            assert(sock:receive("*l") == "", "a trailer")
            return table.concat(parts)
        end
        parts[#parts + 1] = assert(sock:receive(n))
        assert(sock:receive(2) == "\r\n", "chunk not ended")
    end
end

local function has_body(reply, is_head)
    local code = reply.status
    return not is_head and code >= 200 and code ~= 204 and code ~= 304
end

--- The next reply; nil and why when none comes. `is_head`: to a HEAD.
---@param is_head boolean|nil
---@return {status: integer, headers: table, body: string, head: string}|nil
---@return string|nil why
function Conn:reply(is_head)
    local lines, reply = {}, { headers = {}, body = "" }
    repeat
        local line, why = self.sock:receive("*l")
        if not line then
            return nil, why
        end
        lines[#lines + 1] = line
        local name, value = line:match("^([^:%s]+): (.*)$")
        if name then
            name = name:lower()
            local old = reply.headers[name]
            reply.headers[name] = old and old .. ", " .. value or value
        end
    until line == ""
    reply.head = table.concat(lines, "\n")
    reply.protocol = lines[1]:match("^(HTTP/1%.[01]) %d%d%d ")
    reply.status = tonumber(lines[1]:match("^%S+ (%d%d%d)"))
    assert(reply.status, lines[1])
    if not has_body(reply, is_head) then
        return reply
    end
    local why
    if reply.headers["transfer-encoding"] then
        reply.body, why = read_chunks(self.sock)
    elseif reply.headers["content-length"] then
        local n = tonumber(reply.headers["content-length"])
        reply.body, why = "", nil
        if n > 0 then
            reply.body, why = self.sock:receive(n)
        end
    else
        reply.body = self.sock:receive("*a")
    end
    if not reply.body then
        return nil, why
    end
    return reply
end

--- Does the other side close, with nothing more to read?
function Conn:is_closed()
    local text, why, part = self.sock:receive(1)
    return text == nil and part == "" and why == "closed"
end

--- Is the conn still open, with nothing to read?
function Conn:is_idle()
    self.sock:settimeout(0)
    local _, why = self.sock:receive(1)
    self.sock:settimeout(TIMEOUT)
    return why == "timeout"
end

--- Is there something to read within `seconds`?
function Conn:has_more(seconds)
    return socket.select({ self.sock }, nil, seconds)[1] ~= nil
end

--- Header lines from a list of lines or a map.
local function add_headers(lines, headers)
    for name, value in pairs(headers or {}) do
        lines[#lines + 1] = type(name) == "number" and value
            or name .. ": " .. value
    end
end

--- The text of a request. `opts`: method, headers (a list of lines or a map),
--- body, json (a value), host (false: none), version.
---@param path string
---@param opts table|nil
---@return string
function web.text(path, opts)
    opts = opts or {}
    local body = opts.body
    local lines = {}
    if opts.json ~= nil then
        body = cjson.encode(opts.json)
        lines[1] = "Content-Type: application/json"
    end
    add_headers(lines, opts.headers)
    if opts.host ~= false then
        table.insert(lines, 1, "Host: " .. (opts.host or "x"))
    end
    if body then
        lines[#lines + 1] = "Content-Length: " .. #body
    end
    table.insert(lines, 1, ("%s %s HTTP/%s"):format(
        opts.method or (body and "POST" or "GET"),
        path,
        opts.version or "1.1"
    ))
    return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- One request, as `web.text`, on this conn.
function Conn:ask(path, opts)
    assert(self:send(web.text(path, opts)))
    return self:reply(opts and opts.method == "HEAD")
end

--- One request on a conn of its own.
function web.ask(port, path, opts)
    local c = web.open(port)
    local reply, why = c:ask(path, opts)
    c:close()
    return reply, why
end

--- What a reply's JSON body says.
function web.json(reply)
    assert(reply.headers["content-type"] == "application/json",
        tostring(reply.headers["content-type"]))
    return cjson.decode(reply.body)
end

--- One JSON call of "/controller/method": its status and value.
function web.call(port, path, params)
    local opts = params ~= nil and { json = params } or nil
    local reply = assert(web.ask(port, path, opts))
    local value = reply.body
    if reply.headers["content-type"] == "application/json" then
        value = cjson.decode(value)
    end
    return reply.status, value, reply
end

return web
