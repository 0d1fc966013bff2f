-- Packs, routes and middlewares of the application: bytes <-> packet <-> call,
-- and what runs around every call.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["config/ports.lua"] = [[
return {
    meter = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "length", bytes = 2 },
        codec = "meter", route = "meter" },
    pack = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "pack", max = 1000 }, codec = "colon",
        route = "text" },
    text = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = "line", codec = "upper", route = "text" },
    odd = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        codec = "raw", route = "odd" },
    onion = { listen = "127.0.0.1:0", protocol = "tcp",
        middlewares = { "outer", "inner" } },
    web = { listen = "127.0.0.1:0", protocol = "http",
        middlewares = { "outer", "inner" },
        websocket = { path = "/ws", codec = "upper", route = "text" } },
    rest = { listen = "127.0.0.1:0", protocol = "http", route = "rest",
        http_methods = { "GET", "POST", "DELETE" } },
}]],
    -- "kind seq body": kinds C call, Q call without a reply, A answer,
    -- X error answer, H heartbeat, B broken, R raises, Z no call.
    ["scripts/packs/meter.lua"] = [[
local sd = require("sd")
local Meter = {}
function Meter.decode(bytes)
    if bytes == "throw" then error("decoder broke") end
    if bytes == "wait" then sd.sleep(1) end
    if bytes == "nothing" then return nil end
    local kind, seq, body = bytes:match("^(%u)(%d*) ?(.*)$")
    if not kind then return nil, "no meter packet" end
    return { kind = kind, seq = tonumber(seq), body = body }
end
function Meter.encode(packet)
    if packet.body == "unencodable" then return nil end
    if packet.body == "broken" then error("encoder broke") end
    return packet.kind .. (packet.seq or "") .. " " .. tostring(packet.body)
end
return Meter]],
    ["scripts/routes/meter.lua"] = [[
local Route = { max_id = 3 }
function Route.request(self, packet)
    if packet.kind == "C" or packet.kind == "Q" then
        local method, params = packet.body:match("^(%S+) ?(.*)$")
        return { controller = "device", method = method, params = params,
            id = packet.kind == "C" and packet.seq or nil }
    elseif packet.kind == "A" then
        return { answer = packet.seq, result = packet.body }
    elseif packet.kind == "X" then
        return { answer = packet.seq, error = { code = 7, message = packet.body } }
    elseif packet.kind == "B" then
        return nil, "no such kind"
    elseif packet.kind == "R" then
        error("route broke")
    elseif packet.kind == "P" then
        return { controller = "device", method = "echo", id = packet.seq,
            params = self.port .. " " .. self.peer.address }
    end
    return nil
end
function Route.reply(call, result)
    if result == "silent" then return nil end
    return { kind = "r", seq = call.id, body = result }
end
function Route.fail(call, code, message)
    return { kind = "e", seq = call and call.id, body = code .. " " .. message }
end
function Route.ask(id, data) return { kind = "q", seq = id, body = data.q } end
function Route.bye(reason) return { kind = "b", body = reason } end
return Route]],
    ["scripts/controllers/device.lua"] = [[
local sd = require("sd")
local Device = {}
function Device:echo(p) return p end
function Device:none() end
function Device:boom() error("boom") end
function Device:err() return nil, "busy: later" end
function Device:push(p) self:send({ kind = "p", body = p }) return "sent" end
function Device:asks(p)
    local result, err, code = self:ask({ q = p }, { timeout = 5 })
    return result or ("err " .. tostring(err) .. " " .. tostring(code))
end
function Device:four()
    local fns = {}
    for i = 1, 4 do
        fns[i] = function()
            local r, err = self:ask({ q = i }, { timeout = 5 })
            return tostring(r) .. tostring(err)
        end
    end
    return table.concat(sd.all(fns), ",")
end
function Device:leave(p) self:close(p) end
return Device]],
    -- n, colon, n bytes.
    ["scripts/packs/colon.lua"] = [[
local Colon = {}
function Colon.decode(bytes) return bytes:match("^%d+:(.*)$") end
function Colon.encode(packet) return #packet .. ":" .. packet end
function Colon.length(head)
    local n, colon = head:match("^(%d+)(:?)")
    if not n then return false end
    if n == "66" then error("length broke") end
    if n == "77" then return 0 end
    if n == "88" then return -5 end
    if n == "99" then return "many" end
    if colon == "" then
        if #head > 6 then return false end
        return nil
    end
    return #n + 1 + tonumber(n)
end
return Colon]],
    ["scripts/packs/upper.lua"] = [[
return {
    decode = function(bytes) return bytes:lower() end,
    encode = function(packet) return packet:upper() end,
}]],
    ["scripts/routes/text.lua"] = [[
return {
    request = function(_, packet)
        return { controller = "device", method = "echo", params = packet,
            id = 1 }
    end,
    reply = function(_, result) return result end,
    fail = function(_, code) return "E" .. code end,
}]],
    -- Answers that are no calls.
    ["scripts/routes/odd.lua"] = [[
return {
    request = function(_, packet)
        if packet == "string" then return "call" end
        if packet == "number" then return 7 end
        if packet == "empty" then return {} end
        if packet == "false" then return false end
        if packet == "both" then return { answer = 9, controller = "x" } end
        if packet == "failnil" then return { controller = "quiet", id = 1 } end
        return { controller = "device", method = "echo", params = packet, id = 1 }
    end,
    reply = function(_, result) return result end,
    fail = function(call, code)
        if call and call.controller == "quiet" then return nil end
        return "E" .. code
    end,
}]],
    ["scripts/middlewares/outer.lua"] = [[
local sd = require("sd")
return function(self, call, next)
    local log = { "outer in" }
    call.log = log
    if call.method == "denied" then sd.fail(401, "log in first") end
    if call.method == "short" then return "short cut" end
    if call.method == "nothing" then return nil end
    if call.method == "errs" then return nil, "refused: by middleware" end
    if call.method == "raises" then error("middleware broke") end
    if call.method == "twice" then call.method = "echo" next() return next() end
    if call.method == "swallow" then
        call.method = "boom"
        local ok = pcall(next)
        return { swallowed = not ok }
    end
    if call.method == "err_through" then call.method = "err" end
    if call.method == "private" then call.method = "_private" end
    if call.method == "ctx" then self.context.user = "ann" end
    sd.sleep(0.001)
    local result, err, code = next()
    log[#log + 1] = "outer out"
    if type(result) == "table" then result.log = log end
    return result, err, code
end]],
    ["scripts/middlewares/inner.lua"] = [[
return function(self, call, next)
    call.log[#call.log + 1] = "inner in"
    if call.method == "renamed" then
        call.controller, call.method = "onion", "echo"
        call.params = { changed = true }
    end
    local result, err, code = next()
    call.log[#call.log + 1] = "inner out"
    return result, err, code
end]],
    ["scripts/controllers/onion.lua"] = [[
local Onion = { calls = 0 }
local calls = 0
function Onion:echo(p) calls = calls + 1 return { p = p } end
function Onion:boom() error("boom") end
function Onion:err() return nil, "failed: deep", 477 end
function Onion:_private() return "no" end
function Onion:ctx() return { user = self.context.user } end
function Onion:calls_now() return calls end
return Onion]],
    ["scripts/routes/rest.lua"] = [[
return {
    request = function(self, packet)
        if packet.path == "/none" then return nil end
        if packet.path == "/bad" then return nil, "bad path" end
        local id = packet.path:match("^/things/(%d+)$")
        return { controller = "things", method = packet.method:lower(),
            params = { id = id, q = packet.query.q, body = packet.body } }
    end,
    reply = function(call, result)
        return { data = result }
    end,
    fail = function(call, code, message)
        return { problem = message, code = code, call = call ~= nil }
    end,
}]],
    ["scripts/controllers/things.lua"] = [[
local Things = {}
function Things:get(p) return { id = p.id, q = p.q } end
function Things:post(p) return nil, "refused: full" end
function Things:delete(p) return nil end
return Things]],
}

describe("an application's", function()
    local s, ports
    local open = {}

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    after_each(function()
        for _, c in ipairs(open) do
            c:close()
        end
        open = {}
    end)

    local function tcp(port)
        local sock = client.tcp(ports[port])
        open[#open + 1] = sock
        return sock
    end

    --- A client of the port "meter": `say` writes, `hear` reads a packet.
    local function meter()
        local m = { sock = tcp("meter") }
        function m.say(text)
            m.sock:send(client.number(#text + 2, 2) .. text)
        end
        function m.hear()
            local head, why = m.sock:receive(2)
            if not head then
                return nil, why
            end
            return m.sock:receive(client.value(head) - 2)
        end
        return m
    end

    describe("pack and route", function()
        -- What is said; what is heard, a list. Each on the same conn, with an
        -- echo behind it.
        local talk = {
            { "C5 echo hello", "r5 hello" },
            { "C5 none", "r5 nil" },
            { "Q echo bare", "r bare" },
            { "Q none" },
            { "C1 echo silent" },
            { "C5 boom", "e5 500 internal error" },
            { "C5 err", "e5 503 busy: later" },
            { "C5 unknown", "e5 404 no such method" },
            { "Q boom", "e 500 internal error" },
            { "C5 push x", "p x", "r5 sent" },
            { "H" },
            { "A77 nobody asked" },
            { "X77 nobody asked" },
            { "B", "e 400 invalid: no such kind" },
            { "R", "e 500 internal error" },
            { "lower", "e 400 invalid: no meter packet" },
            { "", "e 400 invalid: no meter packet" },
            { "throw", "e 500 internal error" },
            { "wait", "e 500 internal error" },
            { "P3", "r3 meter 127.0.0.1" },
            { "C6 echo unencodable", "e6 500 internal error" },
            { "C6 echo broken", "e6 500 internal error" },
        }
        for _, case in ipairs(talk) do
            it("answer '" .. case[1] .. "'", function()
                local m = meter()
                m.say(case[1])
                m.say("C9 echo mark")
                for i = 2, #case do
                    assert.equal(case[i], m.hear())
                end
                assert.equal("r9 mark", m.hear())
            end)
        end

        it("say 400 for a packet decoded to nothing", function()
            local m = meter()
            m.say("nothing")
            assert.matches("^e 400 invalid: ", m.hear())
        end)

        it("ask and take answers", function()
            local m = meter()
            m.say("C1 asks color")
            assert.equal("q1 color", m.hear())
            m.say("A1 red")
            assert.equal("r1 red", m.hear())
            m.say("C2 asks color")
            assert.equal("q2 color", m.hear())
            m.say("X2 none")
            assert.equal("r2 err failed: none 7", m.hear())
        end)

        it("ask with ids up to max_id, then 'busy'", function()
            local m = meter()
            m.say("C1 four")
            local ids = {}
            for i = 1, 3 do
                ids[i] = m.hear()
            end
            table.sort(ids)
            assert.same({ "q1 1", "q2 2", "q3 3" }, ids)
            for i = 3, 1, -1 do
                m.say("A" .. i .. " a" .. i)
            end
            assert.equal("r1 a1nil,a2nil,a3nil,nilbusy", m.hear())
        end)

        it("say goodbye last", function()
            local m = meter()
            m.say("C1 leave enough")
            assert.equal("b enough", m.hear())
            assert.equal("closed", select(2, m.hear()))
        end)

        it("say goodbye on a broken frame", function()
            local m = meter()
            m.say("C1 echo x")
            assert.equal("r1 x", m.hear())
            m.sock:send("\0\0")
            assert.equal("b frame", m.hear())
            assert.equal("closed", select(2, m.hear()))
        end)

        it("serve a line protocol", function()
            local sock = tcp("text")
            sock:send("Hello\r\n\r\nx\r\n")
            assert.equal("HELLO\r\n\r\nX\r\n", sock:receive(12))
        end)

        it("serve WebSockets", function()
            local w = client.ws(ports.web)
            open[#open + 1] = w.sock
            w:frame("Hello")
            local f = w:read()
            assert.equal("HELLO", f.data)
        end)

        it("route HTTP requests", function()
            local function request(method, path, body)
                local sock = tcp("rest")
                sock:send(("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    .. "Content-Length: %d\r\n\r\n%s"):format(method, path,
                    #(body or ""), body or ""))
                local text = sock:receive("*a")
                local data = text:match("\r\n\r\n(.*)$")
                return tonumber(text:match("^HTTP/1.1 (%d+)")),
                    data ~= "" and cjson.decode(data) or nil
            end
            local code, body = request("GET", "/things/7?q=a")
            assert.equal(200, code)
            assert.same({ data = { id = "7", q = "a" } }, body)
            code, body = request("POST", "/things/7", "x")
            assert.equal(409, code)
            assert.same({ problem = "refused: full", code = 409, call = true },
                body)
            code, body = request("DELETE", "/things/7")
            assert.equal(200, code)
            assert.same({}, body)
            assert.equal(405, (request("PUT", "/things/7")))
            code, body = request("GET", "/bad")
            assert.equal(400, code)
            assert.equal("invalid: bad path", body.problem)
            code = request("GET", "/none")
            assert.equal(404, code)
        end)
    end)

    describe("length", function()
        local cases = {
            { "3:abc", "3:abc", "in one piece" },
            { "0:", "0:", "an empty one" },
            { "1:a2:bb", "1:a2:bb", "two at once" },
        }
        for _, case in ipairs(cases) do
            it("cuts " .. case[3], function()
                local sock = tcp("pack")
                sock:send(case[1])
                assert.equal(case[2], sock:receive(#case[2]))
                for i = 1, #case[1] do
                    sock:send(case[1]:sub(i, i))
                end
                assert.equal(case[2], sock:receive(#case[2]))
            end)
        end

        for name, bytes in pairs({
            ["false"] = "x",
            ["zero"] = "77:",
            ["a negative number"] = "88:",
            ["text"] = "99:",
            ["over max"] = "997:",
            ["an error"] = "66:",
        }) do
            it("closes for " .. name, function()
                local sock = tcp("pack")
                sock:send("2:ok" .. bytes)
                assert.equal("2:ok", sock:receive(4))
                assert.equal("closed", select(2, sock:receive(1)))
                local other = tcp("pack")
                other:send("2:ok")
                assert.equal("2:ok", other:receive(4))
            end)
        end
    end)

    describe("route that answers nonsense", function()
        for _, case in ipairs({
            { "string", "E404" }, { "number", "E500" }, { "empty", "E404" },
            { "false", "E500" }, { "both", "E404" }, { "failnil", nil },
        }) do
            it("(" .. case[1] .. ") harms nobody", function()
                local sock = tcp("odd")
                sock:send(case[1] .. "\r\nmark\r\n")
                if case[2] then
                    assert.equal(case[2], sock:receive("*l"))
                end
                assert.equal("mark", (sock:receive("*l"):gsub("\r", "")))
            end)
        end
    end)

    describe("middlewares", function()
        local all = { "outer in", "inner in", "inner out", "outer out" }
        local cases = {
            { "echo", { a = 1 }, result = { p = { a = 1 }, log = all } },
            { "renamed", { a = 1 },
                result = { p = { changed = true }, log = all } },
            { "ctx", nil, result = { user = "ann", log = all } },
            { "short", nil, result = "short cut" },
            { "nothing", nil },
            { "twice", 1, result = { p = 1 } },
            { "swallow", nil, result = { swallowed = true } },
            { "denied", nil, error = { code = 401, message = "log in first" } },
            { "errs", nil,
                error = { code = 409, message = "refused: by middleware" } },
            { "err_through", nil, error = { code = 477, message = "deep" } },
            { "raises", nil,
                error = { code = 500, message = "internal error" } },
            { "boom", nil, error = { code = 500, message = "internal error" } },
            { "private", nil,
                error = { code = 404, message = "no such method" } },
            { "nowhere", nil,
                error = { code = 404, message = "no such method" } },
        }
        for _, case in ipairs(cases) do
            it("run around onion/" .. case[1], function()
                local c = client.open(ports.onion)
                open[#open + 1] = c
                local reply = c:call("onion/" .. case[1], case[2])
                assert.same({ id = 1, result = case.result,
                    error = case.error }, reply)
            end)
        end

        it("see calls of controllers that are not there", function()
            local c = client.open(ports.onion)
            open[#open + 1] = c
            assert.equal(401, c:call("nobody/denied").error.code)
            assert.same({ p = { changed = true }, log = all },
                c:call("nobody/renamed").result)
        end)

        it("run around HTTP calls", function()
            local body, code = s:get("/onion/echo?a=1", ports.web)
            assert.equal(200, code)
            assert.same({ p = { a = "1" }, log = all }, cjson.decode(body))
            body, code = s:get("/onion/ctx", ports.web)
            assert.equal(200, code)
            assert.equal("ann", cjson.decode(body).user)
            assert.equal(404, select(2, s:get("/onion/_private", ports.web)))
        end)
    end)
end)
