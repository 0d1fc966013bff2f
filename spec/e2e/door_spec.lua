-- The door: back ends send, ask and kick through the admin port; what was
-- sent adds up.
local cjson = require("cjson")
local server = require("spec.support.server")

local until_ = server.until_

local CHAT = [[
local sd = require("sd")
local Chat = {}
function Chat:login(p)
    self:bind_uid(p.uid)
    return { slot = sd.slot, conn_id = self.conn_id }
end
function Chat:listen(p)
    return self:subscribe(p.topic)
end
function Chat:join(p)
    return self:join_group(p.group)
end
function Chat:flood(p)
    for i = 1, p.times do
        sd.publish("load", i)
    end
    return true
end
return Chat]]

describe("the door", function()
    local s, base

    local function start(files)
        files = files or {}
        for path, text in pairs({
            ["config/admin.lua"] = [[return { listen = "127.0.0.1:0" }]],
            ["scripts/controllers/chat.lua"] = CHAT,
        }) do
            files[path] = text
        end
        s = server.start(files)
        base = "http://" .. s:status().admin
    end

    after_each(function()
        s:stop()
        s = nil
    end)

    --- One request: what it answers, and the status.
    local function api(path, body)
        local data = body and ("-H 'Content-Type: application/json' "
            .. "--data-binary '%s'"):format(
            type(body) == "table" and cjson.encode(body) or body) or ""
        local out = server.shell(("env -u LD_PRELOAD curl -sS -m 20 "
            .. "-w ' %%{http_code}' %s '%s%s'"):format(data, base, path))
        local text, status = out:match("^(.*) (%d+)$")
        return cjson.decode(text), tonumber(status)
    end

    --- A client that has logged in.
    local function login(uid)
        local tcp = s:connect("game")
        tcp:send(cjson.encode({ id = 1, controller_name = "chat",
            method_name = "login", params = { uid = uid } }) .. "\r\n")
        return tcp, cjson.decode((assert(tcp:receive("*l")))).result
    end

    local function call(tcp, method, params)
        tcp:send(cjson.encode({ id = 2, controller_name = "chat",
            method_name = method, params = params }) .. "\r\n")
        return cjson.decode((assert(tcp:receive("*l"))))
    end

    --- Clients on both workers.
    local function both()
        local list, slots, n = {}, {}, 0
        repeat
            n = n + 1
            local tcp, at = login("u" .. n)
            list[n] = { tcp = tcp, uid = "u" .. n, at = at }
            slots[at.slot] = true
        until (slots[0] and slots[1]) or n == 40
        assert(slots[0] and slots[1], "all on one worker")
        return list
    end

    it("sends to a conn, a uid, uids, a topic and all", function()
        start()
        local clients = both()
        local function got(client, expected)
            assert.same(expected, cjson.decode(
                (assert(client.tcp:receive("*l")))))
        end
        for i, c in ipairs(clients) do
            assert.same({ { ok = true }, 200 }, { api("/api/send",
                { conn = c.at.conn_id, data = { n = i } }) })
            got(c, { n = i })
            assert.same({ { ok = true }, 200 },
                { api("/api/send", { uid = c.uid, data = { "to", i } }) })
            got(c, { "to", i })
            call(c.tcp, "listen", { topic = "news/#" })
        end
        local last = clients[#clients]
        assert.same({ ok = true }, (api("/api/send",
            { uids = { clients[1].uid, last.uid }, data = "two" })))
        got(clients[1], "two")
        got(last, "two")
        assert.same({ ok = true }, (api("/api/send",
            { topic = "news/today", data = { headline = "x" } })))
        assert.same({ ok = true }, (api("/api/send",
            { all = true, data = "everyone", opts = { except = "u1" } })))
        for i, c in ipairs(clients) do
            got(c, { headline = "x" })
            if i > 1 then
                got(c, "everyone")
            end
        end
    end)

    it("knows who is online and kicks", function()
        start()
        local clients = both()
        local all = api("/api/online")
        assert.equal(#clients, all.count)
        assert.same({ ok = true, online = true }, (api("/api/online?uid=u1")))
        assert.same({ ok = true, online = { u1 = true, nobody = false } },
            (api("/api/online?uids=u1,nobody")))
        for _, c in ipairs(clients) do
            assert.same({ { ok = true }, 200 },
                { api("/api/kick", { uid = c.uid }) })
            assert.equal("closed", select(2, c.tcp:receive("*l")))
        end
        local body, status = api("/api/kick", { uid = "u1" })
        assert.same({ 404, 404 }, { status, body.error.code })
        assert.same({ ok = true, online = false }, (api("/api/online?uid=u1")))
    end)

    it("asks a uid and gives its answer", function()
        start()
        local tcp = login("ann")
        local f = io.popen(("env -u LD_PRELOAD curl -sS -m 20 -d "
            .. [['{"uid": "ann", "data": {"what": "time"}}' %s/api/ask]])
            :format(base))
        local asked = cjson.decode((assert(tcp:receive("*l"))))
        assert.equal("time", asked.what)
        tcp:send(cjson.encode({ id = asked.id, result = "noon" })
            .. "\r\n")
        assert.same({ ok = true, result = "noon" },
            cjson.decode((f:read("*a"))))
        f:close()
        assert.equal(404, select(2, api("/api/ask",
            { uid = "nobody", data = { what = 1 } })))
    end)

    it("reaches and empties a group", function()
        start({ ["config/redis.lua"] =
            [[return { default = { url = "embedded" } }]] })
        local clients = both()
        for _, c in ipairs(clients) do
            assert.is_true(call(c.tcp, "join", { group = "room" }).result)
        end
        assert.same({ { ok = true }, 200 },
            { api("/api/send", { group = "room", data = "hi" }) })
        for _, c in ipairs(clients) do
            assert.equal('"hi"', (assert(c.tcp:receive("*l"))))
        end
        local online = api("/api/online?group=room").online
        assert.is_true(online.u1)
        local body = api("/api/kick", { group = "room", reason = "over" })
        assert.same({ ok = true, kicked = #clients }, body)
    end)

    it("takes an integer for its digits", function()
        start()
        local tcp = login("9007199254740992")
        assert.same({ ok = true, online = { ["9007199254740992"] = true,
            ["123456789012345"] = false, ["0"] = false } },
            (api("/api/online",
                '{"uids":[9007199254740992,123456789012345,-0.0]}')))
        assert.same({ ok = true }, (api("/api/send",
            '{"uids":[9007199254740992],"data":"hi"}')))
        assert.equal('"hi"', (assert(tcp:receive("*l"))))
    end)

    it("kicks nobody when one of them is no uid", function()
        start()
        local tcp = login("0")
        assert.equal(400, select(2, api("/api/kick", '{"uids":[0,""]}')))
        assert.same({ ok = true }, (api("/api/send",
            { uid = 0, data = "still here" })))
        assert.equal('"still here"', (assert(tcp:receive("*l"))))
    end)

    it("waits no longer for a worker that is stuck than for an answer", function()
        start({ ["config/server.lua"] = [[return {
            workers = 2, tasks = 1, name = "n", call_timeout = "300ms",
            hang_timeout = "1m" }]] })
        local tcp = login("ann")
        local pid = s:process("worker").pid
        s:kill("STOP", pid)
        local body, status = api("/api/send", { all = true, data = "late" })
        s:kill("CONT", pid)
        assert.same({ 504, 504 }, { status, body.error.code })
        assert.equal("timeout", body.error.message)
        -- It was done in the end; its answer is nobody's.
        assert.equal('"late"', (assert(tcp:receive("*l"))))
        for i = 1, 5 do
            assert.same({ { ok = true }, 200 },
                { api("/api/send", { uid = "ann", data = i }) })
            assert.equal(tostring(i), (assert(tcp:receive("*l"))))
        end
        s:kill("STOP", pid)
        local f = io.popen(("env -u LD_PRELOAD curl -sS -m 20 -w '%%{http_code}' "
            .. "-o /dev/null '%s/api/online?uid=ann'"):format(base))
        assert.equal(200, select(2, api("/healthz")))
        assert.equal("504", f:read("*a"))
        f:close()
        s:kill("CONT", pid)
    end)

    it("tells a mistake of the back end from a bug", function()
        start({ ["scripts/app.lua"] = [[
local sd = require("sd")
local kick = sd.kick_uid
function sd.kick_uid(uid, reason)
    if uid == "bug" then return nil .. "" end
    return kick(uid, reason)
end
return {}]] })
        local body, status = api("/api/kick", { uid = "" })
        assert.same({ 400, 400 }, { status, body.error.code })
        assert.is_nil(s:output():find("bad uid", 1, true))
        body, status = api("/api/kick", { uid = "bug" })
        assert.same({ 500, 500 }, { status, body.error.code })
        assert.equal("internal error", body.error.message)
        assert.matches("error [^\n]*scripts/app.lua:4: attempt to concatenate",
            s:output())
    end)

    it("refuses what it does not understand", function()
        start()
        for _, case in ipairs({
            { "/api/send", "{", 400, "no JSON object" },
            { "/api/send", "7", 400, "no JSON object" },
            { "/api/send", { data = 1 }, 400, "expected" },
            { "/api/send", { uid = "a" }, 400, "data expected" },
            { "/api/send", '{"all":true,"data":null}', 400, "data expected" },
            { "/api/ask", { uid = "a" }, 400, "data expected" },
            { "/api/send", { uid = "a", all = true, data = 1 }, 400, "both" },
            { "/api/send", { uids = { ann = 1 }, data = 1 }, 400, "a list" },
            { "/api/send", { uids = "ann", data = 1 }, 400, "bad uids" },
            { "/api/send", { uids = { "a", 1.5 }, data = 1 }, 400, "bad uid" },
            { "/api/online", { uids = { ann = 1 } }, 400, "a list" },
            { "/api/online", { uids = 5 }, 400, "a list" },
            { "/api/send", { uid = "", data = 1 }, 400, "bad uid" },
            { "/api/send", { uid = "a", data = 1, opts = 5 }, 400, "opts" },
            { "/api/send", { conn = "nowhere", data = 1 }, 410, "gone" },
            { "/api/kick", { all = true }, 400, "expected" },
            { "/api/online?uid=%zz", nil, 400, "invalid" },
        }) do
            local body, status = api(case[1], case[2])
            assert.same({ case[3], case[3] }, { status, body.error.code })
            assert.matches(case[4], body.error.message)
        end
        assert.equal(200, select(2, api("/healthz")))
    end)

    --- Does every process's account balance, at every hop?  Sums of the sends
    --- of all.
    local function sends()
        local accepted, delivered = 0, 0
        for _, p in ipairs(s:status().processes) do
            for _, hop in ipairs({ "messages", "sends", "pushes" }) do
                local n = p[hop] or { accepted = 0, delivered = 0,
                    in_flight = 0, dropped = {} }
                local sum = n.delivered + n.in_flight
                for _, count in pairs(n.dropped) do
                    sum = sum + count
                end
                assert.equal(n.accepted, sum,
                    ("%s %d %s"):format(p.role, p.index, hop))
            end
            accepted = accepted + (p.sends and p.sends.accepted or 0)
            delivered = delivered + (p.sends and p.sends.delivered or 0)
        end
        return accepted, delivered
    end

    it("accounts for every send, also when workers are killed", function()
        start()
        local clients = both()
        for _, c in ipairs(clients) do
            call(c.tcp, "listen", { topic = "load" })
        end
        call(clients[1].tcp, "flood", { times = 100 })
        until_(function()
            return select(2, sends()) == 100 * #clients
        end, "all are counted")
        for round = 1, 4 do
            local victim = s:process("worker", round % 2).pid
            for i = 1, 10 do
                api("/api/send", { all = true, data = i })
            end
            local before = sends()
            s:kill("KILL", victim)
            for i = 1, 5 do
                api("/api/send", { topic = "load", data = i })
                assert.is_true(sends() >= before)
            end
        end
        until_(function()
            return select(2, api("/readyz")) == 200
        end, "all workers are back")
        sends()
        local messages = 0
        for _, p in ipairs(s:status().processes) do
            messages = messages + (p.messages and p.messages.delivered or 0)
        end
        assert.is_true(messages > 0)
    end)
end)
