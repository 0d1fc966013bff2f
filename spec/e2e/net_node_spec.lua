-- What net/ promises, seen through a whole node: controllers that wait, hooks.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 1 }",
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    rated = { listen = "127.0.0.1:0", protocol = "tcp",
        rate = { messages = 10 } },
    alone = { listen = "127.0.0.1:0", protocol = "tcp",
        max_conns_per_address = 1 },
    web = { listen = "127.0.0.1:0", protocol = "http",
        rate = { bytes = "100" } },
}]],
    ["scripts/app.lua"] = [[
local app, ends = {}, require("ends")
function app.on_close(self, reason)
    ends[#ends + 1] = { reason = reason, uid = self.uid }
end
return app]],
    ["lib/ends.lua"] = "return {}",
    ["scripts/controllers/c.lua"] = [[
local sd, ends = require("sd"), require("ends")
local C, asked = {}, {}
function C:late(p) sd.sleep(0.02) return p end
function C:now(p) return p end
function C:login(p) return self:bind_uid(p.uid) end
function C:ends() return { ends = sd.array(ends) } end
function C:question()
    local _, err = self:ask({ q = 1 })
    asked[1] = err
end
function C:linger()
    local uid, sent, _ = self.uid, nil, nil
    for _ = 1, 200 do
        if not sd.uid_is_online(uid) then break end
        sd.sleep(0.01)
    end
    local online = sd.uid_is_online(uid)
    _, sent = self:send({ unheard = true })
    local _, bound = self:bind_uid("again")
    return { online = online, sent = sent, bound = bound }
end
function C:asked() return { err = asked[1] } end
return C]],
}

describe("a client of a node", function()
    local node, ports

    setup(function()
        node = server.start(files)
        ports = client.ports(node)
    end)

    teardown(function()
        node:stop()
    end)

    --- The reason of the conn that had this uid.
    local function reason_of(uid)
        local c = client.open(ports.game)
        local reason
        server.until_(function()
            for _, e in ipairs(c:call("c/ends").result.ends) do
                reason = e.uid == uid and e.reason or reason
            end
            return reason
        end)
        c:close()
        return reason
    end

    it("gets all replies although it shut its side, then is closed", function()
        local c = client.open(ports.game)
        assert.is_true(c:call("c/login", { uid = "half" }).result)
        for i = 1, 20 do
            c:send(client.packet(i % 2 == 1 and "c/late" or "c/now", i, i))
        end
        c.sock:shutdown("send")
        for i = 1, 20 do
            assert.same({ id = i, result = i }, c:receive())
        end
        assert.is_true(c:is_closed())
        assert.equal("client", reason_of("half"))
    end)

    it("is gone for everybody else as soon as it shut its side", function()
        local c = client.open(ports.game)
        assert.is_true(c:call("c/login", { uid = "left" }).result)
        c:cast("c/linger")
        c.sock:shutdown("send")
        local push = c:receive()
        assert.same({ online = false, sent = "gone", bound = "gone" }, push)
        assert.is_true(c:is_closed())
    end)

    it("is not waited for when it shut its side and is asked", function()
        local c = client.open(ports.game)
        c:cast("c/question")
        c.sock:shutdown("send")
        assert.equal(1, c:receive().q)
        assert.is_true(c:is_closed())
        c = client.open(ports.game)
        assert.matches("^closed", c:call("c/asked").result.err)
    end)

    it("is closed as the client's when it resets", function()
        local c = client.open(ports.game)
        assert.is_true(c:call("c/login", { uid = "reset" }).result)
        c.sock:setoption("linger", { on = true, timeout = 0 })
        c:close()
        assert.equal("client", reason_of("reset"))
    end)

    it("waits when it sends more than its rate, and loses nothing", function()
        local c = client.open(ports.rated)
        for i = 1, 15 do
            c:send(client.packet("c/now", i, i))
        end
        for i = 1, 15 do
            assert.same({ id = i, result = i }, c:receive())
        end
    end)

    it("is told 429 over HTTP", function()
        local s = client.tcp(ports.web)
        local text = ("GET /c/now?a=%s HTTP/1.1\r\nHost: x\r\n\r\n"):format(
            ("x"):rep(200))
        s:send(text:rep(2))
        assert.matches("^HTTP/1.1 200", s:receive("*l"))
        local line
        repeat
            line = s:receive("*l")
        until line == ""
        local body = s:receive(#cjson.encode({ a = ("x"):rep(200) }))
        assert.equal(("x"):rep(200), cjson.decode(body).a)
        assert.matches("^HTTP/1.1 429", s:receive("*l"))
        s:close()
    end)

    it("is refused beside max_conns_per_address others", function()
        local c = client.open(ports.alone)
        assert.equal(1, c:call("c/now", 1).result)
        assert.is_true(client.open(ports.alone):is_closed())
        assert.equal(2, c:call("c/now", 2).result)
    end)
end)
