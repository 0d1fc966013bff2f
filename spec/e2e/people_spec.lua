-- Who a conn is, what it listens to, and sends to many conns at once.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[return { workers = 1, tasks = 1 }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", max_subscriptions = 3 },
    raw = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        codec = "raw", route = "plain" },
    packed = { listen = "127.0.0.1:0", protocol = "tcp", codec = "shout",
        frame = "line", route = "plain" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/routes/plain.lua"] = [[
local sd = require("sd")
local Plain = {}
function Plain.request(_, packet)
    return { controller = "people", method = "line", params = packet }
end
function Plain.fail(_, code, message) return code .. " " .. message end
function Plain.bye(reason)
    if reason == "trouble" then
        error("no last words")
    end
    return "bye " .. reason
end
return Plain]],
    ["scripts/packs/shout.lua"] = [[
local Shout = { encoded = 0 }
function Shout.decode(bytes) return bytes end
function Shout.encode(packet)
    Shout.encoded = Shout.encoded + 1
    if type(packet) == "table" then
        if packet.raise then error("not this one") end
        return packet.text:upper()
    end
    return packet
end
return Shout]],
    ["scripts/controllers/people.lua"] = [[
local sd = require("sd")
local shout = require("packs.shout")
local ends = {}
local People = { ends = ends }
package.loaded["people_ends"] = ends

function People:bind(p)
    return { self:bind_uid(p.uid, { policy = p.policy }) }
end
function People:unbind() return self:unbind_uid() end
function People:me() return { uid = self.uid, conn_id = self.conn_id, slot = sd.slot } end
function People:sub(p)
    local ok, err = self:subscribe(p.filter)
    return { ok = ok, err = err }
end
function People:unsub(p) return self:unsubscribe(p.filter) end
function People:bad_filter(p)
    local ok, err = pcall(function() return self:subscribe(p.filter) end)
    return { ok = ok, err = err }
end
function People:publish(p) return sd.publish(p.topic, p.data, p.opts) end
function People:sd(p)
    local ok, a, b = pcall(sd[p.fn], unpack(p.args, 1, 4))
    return { ok = ok, a = a, b = b }
end
function People:nan() return { pcall(sd.publish, "t", 0 / 0) } end
function People:ends() return sd.array(ends) end
function People:encoded()
    local n = shout.encoded
    shout.encoded = 0
    return n
end
function People:line(line)
    if line:sub(1, 5) == "bind " then
        self:bind_uid(line:sub(6))
        return self.conn_id
    elseif line:sub(1, 4) == "sub " then
        self:subscribe(line:sub(5))
        return "ok"
    elseif line:sub(1, 6) == "close " then
        self:close(line:sub(7))
    end
end
function People:quit(p) self:close(p.reason) end
return People]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local app = {}
function app.on_uid_closed(uid, last, reason)
    table.insert(package.loaded["people_ends"], { uid, last, reason })
end
function app.on_undeliverable(uid, data, reason)
    if data.raise == uid then error("a hook that raises") end
    table.insert(package.loaded["people_ends"], { uid, data, reason })
end
function app.on_handshake(self)
    local uid = self.request.query.uid
    if uid then
        self:bind_uid(uid)
        self:subscribe("for/" .. uid)
    end
    if self.request.query.refuse then
        sd.fail(403, "no")
    end
end
return app]],
}

--- The result of a call that must succeed.
local function result(c, path, params)
    local reply = c:call("people/" .. path, params)
    assert.is_nil(reply.error and cjson.encode(reply.error))
    return reply.result
end

local function sd(c, fn, ...)
    local r = result(c, "sd", { fn = fn, args = { ... } })
    assert.is_true(r.ok, r.a)
    return r.a, r.b
end

describe("people of one worker", function()
    local s, ports

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    --- What has ended since the last look, once there are `n`.
    local seen = 0
    local function ends(c, n)
        local list
        server.until_(function()
            list = result(c, "ends")
            return #list >= seen + n
        end, n .. " ends")
        local new = {}
        for i = seen + 1, #list do
            new[#new + 1] = list[i]
        end
        seen = #list
        return new
    end

    it("binds by policy", function()
        local a, b, c = client.open(ports.game), client.open(ports.game), client.open(ports.game)
        assert.same({ true }, result(a, "bind", { uid = "ann" }))
        assert.same({ true }, result(a, "bind", { uid = "ann" }))
        assert.equal("ann", result(a, "me").uid)
        local refused = result(b, "bind", { uid = "ann", policy = "refuse" })
        assert.equal("refused", refused[2] or refused["2"])
        assert.same({ true }, result(b, "bind", { uid = "ann", policy = "allow" }))
        assert.equal(1, sd(c, "count_online"))
        assert.same({ true }, result(c, "bind", { uid = "ann" }))
        assert.is_true(a:is_closed())
        assert.is_true(b:is_closed())
        assert.same({ { "ann", false, "replaced" }, { "ann", false, "replaced" } }, ends(c, 2))
        assert.is_true(sd(c, "uid_is_online", "ann"))
        assert.same({ true }, result(c, "bind", { uid = 7 }))
        assert.equal("7", result(c, "me").uid)
        assert.is_false(sd(c, "uid_is_online", "ann"))
        assert.same({ { "ann", true, "unbound" } }, ends(c, 1))
        result(c, "unbind")
        assert.is_nil(result(c, "me").uid)
        assert.same({ { "7", true, "unbound" } }, ends(c, 1))
        c:close()
    end)

    it("tells why a binding ended, and whether it was the last", function()
        local a, b, c = client.open(ports.game), client.open(ports.game), client.open(ports.game)
        result(a, "bind", { uid = "bob" })
        result(b, "bind", { uid = "bob", policy = "allow" })
        a:cast("people/quit", { reason = "tired" })
        assert.same({ { "bob", false, "tired" } }, ends(c, 1))
        b:close()
        assert.same({ { "bob", true, "client" } }, ends(c, 1))
        assert.equal(0, sd(c, "count_online"))
        c:close()
    end)

    it("publishes once to whoever listens, in its own encoding", function()
        local json, web = client.open(ports.game), client.ws(ports.web)
        local raw, shout = client.tcp(ports.raw), client.tcp(ports.packed)
        result(json, "sub", { filter = "room/+" })
        result(json, "sub", { filter = "room/#" })
        result(web, "sub", { filter = "room/1" })
        raw:send("sub room/1\r\n")
        shout:send("sub #\r\n")
        assert.equal("ok", raw:receive("*l"))
        assert.equal("ok", shout:receive("*l"))
        result(json, "encoded")
        assert.equal(1, sd(json, "topic_count", "room/+"))
        assert.is_true(result(web, "publish", { topic = "room/1", data = { text = "hi" } }))
        assert.is_true(result(web, "publish", { topic = "room/1", data = "line" }))
        assert.is_true(result(web, "publish", { topic = "$room/1", data = "hidden" }))
        assert.equal(2, result(json, "encoded"))
        assert.same({ { text = "hi" }, "line" }, web.pushes)
        assert.same({ { text = "hi" }, "line" }, json.pushes)
        assert.equal("line", raw:receive("*l"))
        assert.equal("HI", shout:receive("*l"))
        assert.equal("line", shout:receive("*l"))
        raw:close()
        shout:close()
        web:close()
        json:close()
    end)

    it("lets a conn that cannot take a value not harm the others", function()
        local json, shout = client.open(ports.game), client.tcp(ports.packed)
        result(json, "sub", { filter = "x" })
        shout:send("sub x\r\n")
        assert.equal("ok", shout:receive("*l"))
        result(json, "publish", { topic = "x", data = { raise = true } })
        result(json, "publish", { topic = "x", data = { text = "a\r\nb" } })
        result(json, "publish", { topic = "x", data = { text = "fine" } })
        assert.equal("FINE", shout:receive("*l"))
        assert.equal(3, #json.pushes)
        local nan = result(json, "nan")
        assert.is_false(nan[1])
        assert.matches("^scripts/controllers/people.lua:%d+: cannot send: .*NaN", nan[2])
        shout:close()
        json:close()
    end)

    it("bounds subscriptions and refuses bad filters", function()
        local c = client.open(ports.game)
        for i = 1, 3 do
            assert.same({ ok = true }, result(c, "sub", { filter = "f" .. i }))
        end
        assert.same({ ok = true }, result(c, "sub", { filter = "f1" }))
        assert.equal("too_large", result(c, "sub", { filter = "f4" }).err)
        result(c, "unsub", { filter = "f1" })
        assert.same({ ok = true }, result(c, "sub", { filter = "f4" }))
        for _, filter in ipairs({ "", "a/#/b", "a+", ("x"):rep(1025) }) do
            local r = result(c, "bad_filter", { filter = filter })
            assert.is_false(r.ok)
            assert.matches("^scripts/controllers/people.lua:%d+: bad topic filter", r.err)
        end
        c:close()
        local other = client.open(ports.game)
        server.until_(function()
            return sd(other, "topic_count", "f4") == 0
        end)
        other:close()
    end)

    it("reports each uid of a long list, also when the hook raises", function()
        local c = client.open(ports.game)
        local uids = {}
        for i = 1, 500 do
            uids[i] = "far" .. i
        end
        assert.is_true(sd(c, "send_to_uids", uids, { raise = "far5" }))
        local told = {}
        for _, one in ipairs(ends(c, 499)) do
            told[one[1]] = one[3]
        end
        for i = 1, 500 do
            assert.equal(i ~= 5 and "offline" or nil, told["far" .. i])
        end
        c:close()
    end)

    it("sends to uids, to all, and reports what did not arrive", function()
        local a, b, c = client.open(ports.game), client.open(ports.game), client.open(ports.game)
        result(a, "bind", { uid = "u1" })
        result(b, "bind", { uid = "u2" })
        assert.is_true(sd(c, "send_to_uid", "u1", { n = 1 }))
        assert.is_true(sd(c, "send_to_uids", { "u1", "u2", "u1", "nobody" }, { n = 2 }))
        assert.same({ { "nobody", { n = 2 }, "offline" } }, ends(c, 1))
        assert.is_true(sd(c, "send_to_all", { n = 3 }, { except = "u2" }))
        result(a, "me")
        result(b, "me")
        assert.same({ { n = 1 }, { n = 2 }, { n = 3 } }, a.pushes)
        assert.same({ { n = 2 } }, b.pushes)
        assert.is_true(sd(c, "subscribe_uid", "u1", "news"))
        assert.equal(1, sd(c, "topic_count", "news"))
        assert.is_true(sd(c, "unsubscribe_uid", "u1", "news"))
        assert.equal(0, sd(c, "topic_count", "news"))
        local _, err = sd(c, "subscribe_uid", "nobody", "news")
        assert.equal("offline", err)
        local uids = sd(c, "online_uids")
        table.sort(uids)
        assert.same({ "u1", "u2" }, uids)
        assert.is_true(sd(c, "kick_uid", "u1"))
        assert.is_true(a:is_closed())
        assert.same({ { "u1", true, "kicked" } }, ends(c, 1))
        _, err = sd(c, "kick_uid", "u1")
        assert.equal("offline", err)
        b:close()
        assert.same({ { "u2", true, "client" } }, ends(c, 1))
        c:close()
    end)

    it("binds in a handshake, and undoes it when that is refused", function()
        local c = client.open(ports.game)
        local web = client.ws(ports.web, { path = "/ws?uid=web" })
        assert.equal("web", result(web, "me").uid)
        assert.is_true(sd(c, "uid_is_online", "web"))
        sd(c, "publish", "for/web", "hello")
        result(web, "me")
        assert.same({ "hello" }, web.pushes)
        local socket, status = client.ws(ports.web, { path = "/ws?uid=other&refuse=1" })
        assert.is_nil(socket)
        assert.equal(403, status)
        assert.is_false(sd(c, "uid_is_online", "other"))
        assert.equal(0, sd(c, "topic_count", "for/other"))
        assert.equal("other", ends(c, 1)[1][1])
        local again = client.ws(ports.web, { path = "/ws?uid=web" })
        assert.equal(4005, (web:close_code()))
        assert.same({ { "web", false, "replaced" } }, ends(c, 1))
        again:close()
        assert.same({ { "web", true, "client" } }, ends(c, 1))
        c:close()
    end)

    it("says bye by the route, whatever becomes of it", function()
        local raw = client.tcp(ports.raw)
        raw:send("close bored\r\n")
        assert.equal("bye bored", raw:receive("*l"))
        assert.equal("closed", (select(2, raw:receive("*l"))))
        raw = client.tcp(ports.raw)
        raw:send("bind ray\r\n")
        assert.equal(32, #raw:receive("*l"))
        local c = client.open(ports.game)
        result(c, "bind", { uid = "ray" })
        assert.equal("bye replaced", raw:receive("*l"))
        assert.equal("closed", (select(2, raw:receive("*l"))))
        assert.same({ { "ray", false, "replaced" } }, ends(c, 1))
        c:close()
        raw = client.tcp(ports.raw)
        raw:send("close trouble\r\n")
        assert.equal("closed", (select(2, raw:receive("*l"))))
    end)

    it("refuses uids that are none", function()
        local c = client.open(ports.game)
        for _, uid in ipairs({ "", ("x"):rep(129), 1.5, "a\0b" }) do
            local reply = c:call("people/bind", { uid = uid })
            assert.equal(500, reply.error.code)
        end
        assert.same({ true }, result(c, "bind", { uid = ("x"):rep(128) }))
        c:close()
    end)
end)

describe("conns of two workers", function()
    local s, ports

    setup(function()
        local two = {}
        for path, text in pairs(files) do
            two[path] = text
        end
        two["config/server.lua"] = [[return { workers = 2, tasks = 1 }]]
        two["scripts/tasks/post.lua"] = [[
local sd = require("sd")
local Post = {}
function Post:send(id, data) return { sd.send_to_conn(id, data) } end
return Post]]
        two["scripts/controllers/far.lua"] = [[
local sd = require("sd")
local Far = {}
function Far:by_task(p) return sd.task("post"):send(p.id, p.data) end
return Far]]
        s = server.start(two)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    --- A conn on each worker.
    local function pair()
        local by_slot, count = {}, 0
        for _ = 1, 200 do
            local c = client.open(ports.game)
            local me = result(c, "me")
            if by_slot[me.slot] then
                c:close()
            else
                by_slot[me.slot] = { c = c, id = me.conn_id }
                count = count + 1
            end
            if count == 2 then
                return by_slot[0], by_slot[1]
            end
        end
        error("all conns went to one worker")
    end

    it("reach each other by conn id", function()
        local a, b = pair()
        for n = 1, 50 do
            assert.is_true(sd(a.c, "send_to_conn", b.id, { n = n }))
        end
        assert.is_true(sd(a.c, "send_to_conn", a.id, { own = true }))
        local big = ("x"):rep(300000)
        assert.is_true(sd(a.c, "send_to_conn", b.id, { big = big }))
        for n = 1, 50 do
            assert.same({ n = n }, b.c:receive())
        end
        assert.equal(big, b.c:receive().big)
        assert.same({ { own = true } }, a.c.pushes)
        assert.same({ true }, a.c:call("far/by_task", { id = b.id, data = "task" }).result)
        assert.equal("task", b.c:receive())
        assert.is_true(sd(a.c, "close_conn", b.id, "enough"))
        assert.is_true(b.c:is_closed())
        local raws, mine = {}, a.id:sub(17, 18)
        for i = 1, 200 do
            raws[i] = client.tcp(ports.raw)
            raws[i]:send("bind r" .. i .. "\r\n")
            local id = raws[i]:receive("*l")
            if id:sub(17, 18) ~= mine then
                assert.is_true(sd(a.c, "close_conn", id, "far"))
                assert.equal("bye far", raws[i]:receive("*l"))
                break
            end
            assert.is_true(i < 200)
        end
        for _, raw in ipairs(raws) do
            raw:close()
        end
        a.c:close()
    end)

    it("answer gone for ids that cannot be alive", function()
        local a, b = pair()
        local boot = b.id:sub(1, 16)
        local ids = {
            "", "nonsense", ("0"):rep(32), boot .. ("f"):rep(16), ("f"):rep(16) .. b.id:sub(17),
            boot .. "02" .. b.id:sub(19), b.id .. "0",
        }
        for _, id in ipairs(ids) do
            local ok, err = sd(a.c, "send_to_conn", id, 1)
            assert.is_nil(ok, id)
            assert.equal("gone", err, id)
            _, err = sd(a.c, "close_conn", id)
            assert.equal("gone", err, id)
        end
        local old_epoch = boot .. b.id:sub(17, 18) .. "7fff" .. b.id:sub(23)
        local _, err = sd(a.c, "send_to_conn", old_epoch, 1)
        assert.equal("gone", err)
        a.c:close()
        b.c:close()
    end)
end)
