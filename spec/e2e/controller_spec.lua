-- What a controller's method is, gets and answers: the route `normal`, `self`,
-- sessions, contexts, asks.
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, session_max = "1k" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    wide = { listen = "127.0.0.1:0", protocol = "tcp", max_inflight = 8 },
    admin = { listen = "127.0.0.1:0", protocol = "tcp",
        controllers = { "admin/*", "reply" } },
    prefixed = { listen = "127.0.0.1:0", protocol = "tcp",
        method_prefix = "api_" },
    brief = { listen = "127.0.0.1:0", protocol = "tcp", timeout = "100ms" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/controllers/reply.lua"] = [[
local sd = require("sd")
local Reply = {}
Reply.number = 7
Reply.list = { call = function() return 1 end }
setmetatable(Reply, { __index = { inherited = function() return "no" end } })
function Reply:value(p) return p end
function Reply:none() end
function Reply:no() return false end
function Reply:null() return sd.null end
function Reply:err(p) return nil, p.text, p.code end
function Reply:fail(p) sd.fail(p.code, p.text) end
function Reply:raise() error("boom") end
function Reply:raise_table() error({ "x" }) end
function Reply:nan() return 0 / 0 end
function Reply:fn() return { f = print } end
function Reply:_private() return "no" end
function Reply:api_open() return "open" end
function Reply:api__odd() return "odd" end
function Reply:slow() sd.sleep(10) return "late" end
function Reply:stubborn()
    local ok, err = sd.sleep(10)
    return { ok = ok, err = err }
end
return Reply]],
    ["scripts/controllers/admin/users.lua"] = [[
local Users = {}
function Users:list() return { "ann" } end
return Users]],
    ["scripts/controllers/admin/deep/er.lua"] = [[
return { list = function() return "deep" end }]],
    ["scripts/controllers/who.lua"] = [[
local sd = require("sd")
local Who = {}
function Who:am_i()
    return {
        conn_id = self.conn_id, uid = self.uid, port = self.port,
        peer = self.peer, unknown = self.unknown_field,
        request = self.request ~= nil, response = self.response ~= nil,
    }
end
function Who:bind(p)
    local ok, err = self:bind_uid(p.uid)
    return { ok = ok, err = err, uid = self.uid }
end
function Who:unbind() self:unbind_uid() return { uid = self.uid } end
function Who:its_context(p)
    self.context.mine = p.mine
    return {
        context = self.context,
        model = self:model("deep"):context_here(),
        again = sd.model("deep"):context_here(),
        same = self:model("deep") == sd.model("deep"),
        left = self.context.deadline,
        now = sd.now(),
    }
end
function Who:add(p) self:model("deep"):add() return self.context.added end
function Who:in_task() self.context.mine = "yes"
    return { task = sd.task("t"):context(), added = self.context.added } end
function Who:model_fails() return self:model("deep"):fails() end
function Who:fields_are_fresh() local was = self.x self.x = 1 return was == nil end
return Who]],
    ["scripts/models/deep.lua"] = [[
local Deep = {}
function Deep:context_here() return self.context.mine end
function Deep:add() self.context.added = (self.context.added or 0) + 1 end
function Deep:fails() return nil, "refused: not now" end
return Deep]],
    ["scripts/tasks/t.lua"] = [[
local T = {}
function T:context()
    self.context.added = 1
    return { mine = self.context.mine, request_id = self.context.request_id,
        uid = self.context.uid }
end
return T]],
    ["scripts/controllers/session.lua"] = [[
local sd = require("sd")
local Session = {}
function Session:count() self.session.n = (self.session.n or 0) + 1
    return self.session.n end
function Session:get() return self.session end
function Session:set(p) self.session.v = p.v return "set" end
function Session:fill(p) self.session.big = ("x"):rep(p.n) return "kept" end
function Session:bad() self.session.f = print return "kept" end
function Session:raise() self.session.n = 99 error("after") end
function Session:both()
    self.session.a = 1
    sd.sleep(0.02)
    self.session.b = (self.session.b or 0) + 1
    return self.session
end
return Session]],
    ["scripts/controllers/push.lua"] = [[
local sd = require("sd")
local Push = {}
local closed = {}
function Push:many(p)
    for i = 1, p.n do self:send({ i = i }) end
    return "done"
end
function Push:send_result() return { self:send("one") } end
function Push:bye(p)
    for i = 1, p.n do self:send({ i = i, text = ("x"):rep(1000) }) end
    local ok = self:close(p.reason, p.code)
    local sent, err = self:send("late")
    closed[p.key] = { ok = ok, sent = sent, err = err, again = select(2, self:close()) }
    return "never"
end
function Push:closed(p) return closed[p.key] end
function Push:bad() self:send({ f = print }) end
function Push:other(p) local ok, err = sd.send_to_conn(p.id, p.data)
    return { ok = ok, err = err } end
function Push:close_other(p) local ok, err = sd.close_conn(p.id, p.reason)
    return { ok = ok, err = err } end
function Push:http() return pcall(self.send, self, "x") end
return Push]],
    ["scripts/controllers/asks.lua"] = [[
local sd = require("sd")
local Asks = {}
local seen = {}
function Asks:one(p)
    local result, err, code = self:ask(p.data or { q = "name" },
        { timeout = p.timeout })
    local out = { result = result, err = err, code = code }
    seen[p.key or ""] = out
    return out
end
function Asks:pass() return self:ask({ q = "pass" }) end
function Asks:many(p)
    local fns = {}
    for i = 1, p.n do
        fns[i] = function() return self:ask({ q = i }) end
    end
    return sd.all(fns)
end
function Asks:seen(p) return seen[p.key] end
return Asks]],
}

describe("a controller", function()
    local s, ports

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    local open = {}

    local function game(port)
        local c = client.open(ports[port or "game"])
        open[#open + 1] = c
        return c
    end

    after_each(function()
        for _, c in ipairs(open) do
            c:close()
        end
        open = {}
    end)

    describe("replies", function()
        -- method, params, the reply without its id, the reply to no id
        local e = function(code, message)
            return { error = { code = code, message = message } }
        end
        local replies = {
            { "value", { a = 1 }, { result = { a = 1 } }, { a = 1 } },
            { "value", "text", { result = "text" }, "text" },
            { "none", nil, {}, nil },
            { "no", nil, { result = false }, false },
            { "null", nil, { result = cjson.null }, cjson.null },
            { "err", { text = "refused" }, e(409, "refused") },
            { "err", { text = "refused: young" }, e(409, "refused: young") },
            { "err", { text = "invalid: x" }, e(400, "invalid: x") },
            { "err", { text = "offline" }, e(404, "offline") },
            { "err", { text = "gone" }, e(410, "gone") },
            { "err", { text = "too_large" }, e(413, "too_large") },
            { "err", { text = "busy" }, e(503, "busy") },
            { "err", { text = "slow" }, e(503, "slow") },
            { "err", { text = "unavailable: redis" },
                e(503, "unavailable: redis") },
            { "err", { text = "timeout" }, e(504, "timeout") },
            { "err", { text = "closed" }, e(502, "closed") },
            { "err", { text = "crashed" }, e(502, "crashed") },
            { "err", { text = "cancelled" }, e(503, "cancelled") },
            { "err", { text = "my own words" }, e(400, "my own words") },
            { "err", { text = "refusedly so" }, e(400, "refusedly so") },
            { "err", { text = "failed: x", code = 418 }, e(418, "x") },
            { "err", { text = "failed: x" }, e(500, "failed: x") },
            { "fail", { code = 401, text = "log in" }, e(401, "log in") },
            { "fail", { code = 1001, text = "own" }, e(1001, "own") },
            { "raise", nil, e(500, "internal error") },
            { "raise_table", nil, e(500, "internal error") },
            { "nan", nil, e(500, "internal error") },
            { "fn", nil, e(500, "internal error") },
            { "_private", nil, e(404, "no such method") },
            { "inherited", nil, e(404, "no such method") },
            { "number", nil, e(404, "no such method") },
            { "list", nil, e(404, "no such method") },
            { "unknown", nil, e(404, "no such method") },
            { "__index", nil, e(404, "no such method") },
        }

        for _, case in ipairs(replies) do
            local method, params, with_id, bare =
                case[1], case[2], case[3], case[4]
            it(method .. " " .. cjson.encode(params) .. " as "
                .. cjson.encode(with_id), function()
                local c = game()
                with_id.id = 1
                assert.same(with_id, c:call("reply/" .. method, params))
                c:cast("reply/" .. method, params)
                c:cast("reply/value", "mark")
                local first = c:receive()
                if with_id.error then
                    with_id.id = nil
                    assert.same(with_id, first)
                elseif bare ~= nil then
                    assert.same(bare, first)
                end
                if with_id.error or bare ~= nil then
                    first = c:receive()
                end
                assert.equal("mark", first)
            end)
        end

        it("to whatever id was sent", function()
            local c = game()
            for _, id in ipairs({ "text", 0, 2 ^ 40, -1, true, 1.5 }) do
                c:send(client.packet("reply/value", "x", id))
                assert.same({ id = id, result = "x" }, c:receive())
            end
        end)

        it("400 to what is no packet, and serves on", function()
            local c = game()
            for _, text in ipairs({ "", "{", "[1,2", "7", '"a"', "null",
                "\255", '{"a":1}}', "nul" }) do
                c:put(text)
                local reply = c:receive()
                assert.equal(400, reply.error.code, text)
                assert.is_nil(reply.id)
            end
            for _, text in ipairs({ "{}", "[]", '{"controller_name":7}',
                '{"controller_name":"reply"}',
                '{"controller_name":{},"method_name":[]}',
                '{"controller_name":"..","method_name":"x"}' }) do
                c:put(text)
                assert.equal(404, c:receive().error.code, text)
            end
            assert.equal("x", c:call("reply/value", "x").result)
        end)
    end)

    describe("is served", function()
        local function code(port, path)
            local reply = game(port):call(path)
            return reply.error and reply.error.code or 200
        end

        it("on the ports that list it", function()
            for _, case in ipairs({
                { "admin", "admin/users/list", 200 },
                { "admin", "admin/deep/er/list", 200 },
                { "admin", "reply/none", 200 },
                { "admin", "who/am_i", 404 },
                { "game", "admin/users/list", 200 },
                { "game", "admin/users", 404 },
                { "game", "users/list", 404 },
                { "game", "admin/list", 404 },
                { "game", "admin/../reply/none", 404 },
            }) do
                assert.equal(case[3], code(case[1], case[2]), case[2])
            end
        end)

        it("with a prefix before its methods", function()
            assert.equal(200, code("prefixed", "reply/open"))
            assert.equal(404, code("prefixed", "reply/api_open"))
            assert.equal(404, code("prefixed", "reply/value"))
            assert.equal(200, code("game", "reply/api_open"))
        end)
    end)

    describe("knows", function()
        it("who speaks", function()
            local a, b = game(), game("wide")
            local me = a:call("who/am_i").result
            local address, port = a.sock:getsockname()
            assert.same({ address = address, port = tonumber(port) },
                me.peer)
            assert.equal("game", me.port)
            assert.is_nil(me.uid)
            assert.is_nil(me.unknown)
            assert.is_false(me.request)
            assert.is_false(me.response)
            assert.is_string(me.conn_id)
            assert.equal(me.conn_id, a:call("who/am_i").result.conn_id)
            local you = b:call("who/am_i").result
            assert.equal("wide", you.port)
            assert.not_equal(me.conn_id, you.conn_id)
        end)

        it("its uid, a text", function()
            local c = game()
            assert.same({ ok = true, uid = "7" },
                c:call("who/bind", { uid = 7 }).result)
            assert.equal("7", c:call("who/am_i").result.uid)
            c:put('{"controller_name":"who","method_name":"bind",'
                .. '"params":{"uid":-0.0},"id":"zero"}')
            assert.same({ ok = true, uid = "0" }, c:receive().result)
            assert.same({ ok = true, uid = "ann" },
                c:call("who/bind", { uid = "ann" }).result)
            assert.same({}, c:call("who/unbind").result)
            assert.is_nil(c:call("who/am_i").result.uid)
            for _, uid in ipairs({ "", ("x"):rep(129), 1.5, true, {} }) do
                assert.equal(500,
                    c:call("who/bind", { uid = uid }).error.code)
            end
            assert.is_true(c:call("who/bind", { uid = ("x"):rep(128) })
                .result.ok)
        end)

        it("its request's context, shared with models", function()
            local c = game()
            c:call("who/bind", { uid = "ann" })
            local r = c:call("who/its_context", { mine = "m" }).result
            assert.equal("m", r.context.mine)
            assert.equal("m", r.model)
            assert.equal("m", r.again)
            assert.is_true(r.same)
            assert.equal("ann", r.context.uid)
            assert.is_string(r.context.request_id)
            assert.is_number(r.context.deadline)
            local left = r.context.deadline - r.now
            assert.is_true(left > 0 and left <= 30.1, tostring(left))
            local again = c:call("who/its_context", {}).result
            assert.is_nil(again.context.mine)
            assert.not_equal(r.context.request_id, again.context.request_id)
            assert.equal(1, c:call("who/add").result)
            assert.equal(1, c:call("who/add").result)
        end)

        it("a context that tasks get a copy of", function()
            local c = game()
            c:call("who/bind", { uid = "ann" })
            local r = c:call("who/in_task").result
            assert.equal("yes", r.task.mine)
            assert.equal("ann", r.task.uid)
            assert.is_string(r.task.request_id)
            assert.is_nil(r.added)
        end)

        it("a self of its own in every call", function()
            local c = game()
            assert.is_true(c:call("who/fields_are_fresh").result)
            assert.is_true(c:call("who/fields_are_fresh").result)
        end)

        it("what its models answer", function()
            assert.same({ code = 409, message = "refused: not now" },
                game():call("who/model_fails").error)
        end)
    end)

    describe("has a session", function()
        it("that lasts as long as its conn", function()
            local a, b = game(), game()
            assert.equal(1, a:call("session/count").result)
            assert.equal(2, a:call("session/count").result)
            assert.equal(1, b:call("session/count").result)
            assert.equal(3, a:call("session/count").result)
            assert.equal(1, game():call("session/count").result)
        end)

        it("that begins as an empty map", function()
            local c = game()
            c:send(client.packet("session/get", nil, 1))
            assert.equal('{"id":1,"result":{}}',
                (c:get():gsub('{"result":{},"id":1}', '{"id":1,"result":{}}')))
        end)

        it("that keeps plain data as it was", function()
            local c = game()
            local v = { a = { 1, 2, { b = "x" } }, t = true, f = 1.5 }
            c:call("session/set", { v = v })
            assert.same({ v = v }, c:call("session/get").result)
        end)

        it("that stays as stored when it grows too large", function()
            local c = game()
            c:call("session/count")
            assert.same({ code = 413, message = "too_large" },
                c:call("session/fill", { n = 1100 }).error)
            assert.same({ n = 1 }, c:call("session/get").result)
            assert.equal("kept", c:call("session/fill", { n = 900 }).result)
        end)

        it("that refuses what is no plain data", function()
            local c = game()
            c:call("session/count")
            assert.equal(500, c:call("session/bad").error.code)
            assert.same({ n = 1 }, c:call("session/get").result)
        end)

        it("that two calls at once share", function()
            local c = game("wide")
            for id = 1, 2 do
                c:send(client.packet("session/both", nil, id))
            end
            c:receive()
            assert.same({ a = 1, b = 2 }, c:receive().result)
            assert.same({ a = 1, b = 2 }, c:call("session/get").result)
        end)
    end)

    describe("sends", function()
        it("in order, before its reply", function()
            local c = game()
            assert.equal("done", c:call("push/many", { n = 50 }).result)
            for i = 1, 50 do
                assert.same({ i = i }, c.pushes[i])
            end
            assert.same({ true }, c:call("push/send_result").result)
        end)

        it("all that was queued before it closes", function()
            local c = game()
            c:cast("push/bye", { n = 500, reason = "done", key = "a" })
            for i = 1, 500 do
                assert.equal(i, c:receive().i)
            end
            assert.is_true(c:is_closed())
            assert.same({ ok = true, err = "gone",
                again = "gone" },
                game():call("push/closed", { key = "a" }).result)
        end)

        it("only what can be encoded", function()
            local c = game()
            assert.equal(500, c:call("push/bad").error.code)
            assert.equal("x", c:call("reply/value", "x").result)
        end)

        it("to other conns, and closes them", function()
            local a, b = game(), game("wide")
            local id = b:call("who/am_i").result.conn_id
            assert.same({ ok = true },
                a:call("push/other", { id = id, data = { hi = 1 } }).result)
            assert.same({ hi = 1 }, b:receive())
            assert.same({ ok = true },
                a:call("push/close_other", { id = id }).result)
            assert.is_true(b:is_closed())
            for _, wrong in ipairs({ id, "", "nonsense", ("0"):rep(32) }) do
                assert.same({ err = "gone" },
                    a:call("push/other", { id = wrong, data = 1 }).result)
                assert.same({ err = "gone" },
                    a:call("push/close_other", { id = wrong }).result)
            end
        end)
    end)

    describe("asks", function()
        it("and gets the client's answer", function()
            local c = game()
            c:send(client.packet("asks/one", {}, 9))
            local ask = c:receive()
            assert.equal("name", ask.q)
            assert.is_number(ask.id)
            c:send({ id = ask.id, result = { name = "ann" } })
            assert.same({ id = 9, result = { result = { name = "ann" } } },
                c:receive())
        end)

        it("and gets its error", function()
            local c = game()
            c:send(client.packet("asks/one", {}, 9))
            c:send({ id = c:receive().id,
                error = { code = 42, message = "busy here" } })
            assert.same({ err = "failed: busy here", code = 42 },
                c:receive().result)
            c:send(client.packet("asks/pass", {}, 9))
            c:send({ id = c:receive().id,
                error = { code = 442, message = "no" } })
            assert.same({ code = 442, message = "no" }, c:receive().error)
        end)

        it("several things at once, answered in any order", function()
            local c = game()
            c:send(client.packet("asks/many", { n = 20 }, 9))
            local asked = {}
            for i = 1, 20 do
                asked[i] = c:receive()
            end
            for i = 20, 1, -1 do
                c:send({ id = asked[i].id, result = asked[i].q * 10 })
            end
            local want = {}
            for i = 1, 20 do
                want[i] = i * 10
            end
            assert.same(want, c:receive().result)
        end)

        it("while packets wait behind it", function()
            local c = game()
            c:send(client.packet("asks/one", {}, 1))
            local ask = c:receive()
            for id = 2, 5 do
                c:send(client.packet("reply/value", id, id))
            end
            c:send({ id = ask.id, result = "now" })
            assert.same({ id = 1, result = { result = "now" } }, c:receive())
            for id = 2, 5 do
                assert.same({ id = id, result = id }, c:receive())
            end
        end)

        it("and gets the answer behind a full backlog", function()
            local c = game()
            c:send(client.packet("asks/one", { timeout = 5 }, 1))
            local ask = c:receive()
            for id = 2, 101 do
                c:send(client.packet("reply/value", id, id))
            end
            c:send({ id = ask.id, result = "now" })
            assert.same({ id = 1, result = { result = "now" } }, c:receive())
            for id = 2, 101 do
                assert.same({ id = id, result = id }, c:receive())
            end
        end)

        it("no longer than the timeout", function()
            local c = game()
            assert.same({ err = "timeout" },
                c:call("asks/one", { timeout = 0.02 }).result)
            local ask = c.pushes[1]
            c:send({ id = ask.id, result = "late" })
            assert.equal("x", c:call("reply/value", "x").result)
        end)

        it("and learns that the conn closed", function()
            local c, other = game(), game()
            c:send(client.packet("asks/one", { key = "left" }, 1))
            assert.equal("name", c:receive().q)
            c:close()
            server.until_(function()
                local r = other:call("asks/seen", { key = "left" }).result
                return r and r.err == "closed"
            end)
        end)

        it("nothing twice: a second answer is dropped", function()
            local c = game()
            c:send(client.packet("asks/one", {}, 1))
            local ask = c:receive()
            c:send({ id = ask.id, result = 1 })
            c:send({ id = ask.id, result = 2 })
            assert.same({ id = 1, result = { result = 1 } }, c:receive())
            assert.equal("x", c:call("reply/value", "x").result)
        end)

        it("and takes a bare answer as nil", function()
            local c = game()
            c:send(client.packet("asks/one", { timeout = 5 }, 1))
            c:send({ id = c:receive().id })
            assert.same({ id = 1, result = {} }, c:receive())
        end)
    end)

    describe("that takes longer than the port's timeout", function()
        it("is answered 504", function()
            local c = game("brief")
            assert.equal(504, c:call("reply/slow").error.code)
            assert.equal(504, c:call("reply/stubborn").error.code)
            assert.equal("x", c:call("reply/value", "x").result)
        end)
    end)
end)
