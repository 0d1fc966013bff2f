-- Conns that move between the workers of a node, many times, while their
-- clients send, receive, and are sent to.
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local files = {
    ["config/server.lua"] = [[return { workers = 3, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    line = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "line", max = 2000000 } },
    length = { listen = "127.0.0.1:0", protocol = "tcp",
        frame = { type = "length", max = 2000000 } },
    web = { listen = "127.0.0.1:0", protocol = "http", websocket = { path = "/ws" } },
}]],
    -- Every conn moves every few ms, if it can, to another worker; not while
    -- "still" is there.
    ["scripts/app.lua"] = [[
local core = require("sd.core")
local sd = require("sd")
local app = {}
function app.on_start()
    if sd.role ~= "worker" then return end
    local at = 0
    sd.every(0.002, function()
        local others = {}
        for _, slot in ipairs(core.worker_slots({})) do
            if slot ~= sd.slot then others[#others + 1] = slot end
        end
        at = at + 1
        if at % 8 == 0 then -- so that some are behind with what all are sent
            local from = os.clock()
            repeat until os.clock() - from > 0.005
        end
        if #others > 0 then core.move_conns(others[at % #others + 1], 0.7) end
    end)
end
function app.on_uid_closed(uid, last, reason)
    sd.redis():rpush("ends", sd.json.encode({ uid, last, reason }))
end
function app.on_close(self) sd.redis():incr("closes") end
function app.on_connect(self) sd.redis():incr("opens") end
function app.on_undeliverable(uid, data, reason)
    sd.redis():rpush("lost", sd.json.encode({ uid, data, reason }))
end
return app]],
    ["scripts/controllers/move.lua"] = [[
local sd = require("sd")
local core = require("sd.core")
local Move = {}
function Move:echo(params) return params end
function Move:login(p)
    local ok, err = self:bind_uid(p.uid, { policy = p.policy })
    return { ok = ok, err = err }
end
function Move:me()
    self.session.n = (self.session.n or 0) + 1
    return { uid = self.uid, slot = sd.slot, n = self.session.n }
end
function Move:listen(p) return self:subscribe(p.topic) end
function Move:join(p) return self:join_group(p.group) end
function Move:sd(p)
    local a, b = sd[p.fn](unpack(p.args, 1, 4))
    return { a = a, b = b }
end
function Move:count(p) -- numbered sends, each of which is taken
    for i = 1, p.n do
        local ok, err
        repeat
            if p.uid then ok, err = sd.send_to_uid(p.uid, { uid = i })
            elseif p.group then ok, err = sd.send_to_group(p.group, { group = i })
            elseif p.all then ok, err = sd.send_to_all({ all = i })
            else ok, err = sd.publish(p.topic, { topic = i }) end
            if err == "busy" then sd.sleep(0.01) end
        until err ~= "busy"
        if not ok then return { failed = err, i = i } end
        sd.sleep(0.001)
    end
    return true
end
function Move:go(p) -- all but this one, and then send to those
    local went = core.move_conns(p.slot, 1)
    for i = 1, p.n do
        sd.send_to_uid("ann", { uid = i }, p.options)
        if p.topic then sd.publish(p.topic, { topic = i }, p.options) end
    end
    return { went = went }
end
function Move:fill(p)
    local text = ("x"):rep(p.size)
    for i = 1, p.n do sd.send_to_uid("ann", { fill = i, text = text }) end
    return true
end
function Move:refuse() core.refuse_moves(true) return true end
function Move:arrived() return { n = core.moves() } end
function Move:leaving() return { n = select(2, core.moves()) } end
function Move:list(p)
    local list = sd.redis():lrange(p.key, 0, -1)
    for i, text in ipairs(list) do list[i] = sd.json.decode(text) end
    return list
end
function Move:get(p) return { n = tonumber(sd.redis():get(p.key) or 0) } end
return Move]],
}

describe("a node whose conns move", function()
    local s

    before_each(function()
        s = server.new(files)
        s.env = "SD_SPEC_MOVE=1"
        s:launch()
        s:wait_ready()
    end)

    after_each(function()
        if s then
            s:stop()
            s = nil
        end
    end)

    local function connect(uid, policy)
        local c = client.open(s:port("length"))
        function c:ask(path, params)
            local reply, why = self:call("move/" .. path, params)
            assert(reply and reply.result ~= nil, why or reply and reply.error)
            return reply.result
        end
        if uid then
            local got = c:ask("login", { uid = uid, policy = policy })
            assert.is_true(got.ok, got.err)
        end
        return c
    end

    --- Conns that have come to one of the workers so far.
    local function arrivals(c)
        local most = 0
        for _ = 1, 20 do
            most = math.max(most, c:ask("arrived").n)
        end
        return most
    end

    local function clients(kind, port, conns, messages)
        local f = assert(io.popen((
            "env -u LD_PRELOAD /usr/bin/python3 spec/support/move_client.py "
            .. "%s json 127.0.0.1 %d %d %d 2>&1"
        ):format(kind, s:port(port), conns, messages)))
        local said = f:read("*a")
        f:close()
        return said
    end

    for kind, port in pairs({ length = "length", line = "line", ws = "web",
        websockets = "web" }) do
        it("answers all calls once and in order: " .. kind, function()
            assert.equal("ok 900\n", clients(kind, port, 6, 150))
            local c = connect()
            assert.is_true(arrivals(c) > 5, arrivals(c) .. " arrivals")
            until_(function()
                local opens = c:ask("get", { key = "opens" }).n
                return opens == 7 and c:ask("get", { key = "closes" }).n == 6
            end, "every conn opens and closes once")
            c:close()
        end)
    end

    it("keeps uid and session", function()
        local c, slots = connect("ann"), {}
        local n = 0
        until_(function()
            local me = c:ask("me")
            n = n + 1
            assert.equal("ann", me.uid)
            assert.equal(n, me.n)
            slots[me.slot] = true
            return n >= 200 and slots[0] and slots[1] and slots[2]
        end, "it has been everywhere")
        assert.same({}, c:ask("list", { key = "ends" }))
        local d = connect()
        assert.is_true(d:ask("sd", { fn = "uid_is_online", args = { "ann" } }).a)
        assert.equal(1, d:ask("sd", { fn = "count_online", args = {} }).a)
        c:close()
        until_(function()
            return #d:ask("list", { key = "ends" }) > 0
        end, "the end is told")
        until_(function() -- the worker it left may still have to strike it out
            return not d:ask("sd", { fn = "uid_is_online", args = { "ann" } }).a
        end, "it is offline")
        assert.same({ { "ann", true, "client" } }, d:ask("list", { key = "ends" }))
    end)

    --- The numbers 1 .. n that come to `c` under `key`, until all have or
    --- nothing comes any more; how often each, and whether in order.
    local function numbers(c, key, n)
        local seen, sum, last, is_ordered = {}, 0, 0, true
        local function take(packet)
            local i = packet[key]
            if i then
                seen[i] = (seen[i] or 0) + 1
                sum = sum + 1
                is_ordered = is_ordered and i > last
                last = i
            end
        end
        for _, packet in ipairs(c.pushes) do
            take(packet)
        end
        c.pushes = {}
        c.sock:settimeout(1)
        while true do
            if sum >= n then
                c.sock:settimeout(0.2) -- is there one too many?
            end
            local packet, why = c:receive()
            if not packet then
                assert.equal("timeout", why)
                break
            end
            take(packet)
        end
        c.sock:settimeout(10)
        local bad = {}
        for i = 1, n do
            if seen[i] ~= 1 then
                bad[#bad + 1] = i .. " x " .. (seen[i] or 0)
            end
        end
        return table.concat(bad, ", "), is_ordered
    end

    it("brings sends to a uid once", function()
        local c, sender = connect("ann"), connect()
        assert.is_true(sender:ask("count", { uid = "ann", n = 500 }))
        local bad, is_ordered = numbers(c, "uid", 500)
        local lost = sender:ask("list", { key = "lost" })
        -- A conn that moves twice while a send is on its way may be missed.
        local reported = {}
        for i, entry in ipairs(lost) do
            assert.equal("gone", entry[3])
            reported[i] = entry[2].uid .. " x 0"
        end
        table.sort(reported, function(a, b)
            return tonumber(a:match("%d+")) < tonumber(b:match("%d+"))
        end)
        assert.equal(table.concat(reported, ", "), bad)
        assert.is_true(is_ordered, "in order")
        assert.same({}, sender:ask("list", { key = "ends" }))
        assert.is_true(arrivals(sender) > 5)
    end)

    it("brings publishes, sends to groups and to all once", function()
        local c, sender = connect("ann"), connect()
        assert.is_true(c:ask("listen", { topic = "news/+/#" }))
        assert.is_true(c:ask("join", { group = "g/1" }))
        for _, params in ipairs({ { topic = "news/a/b", n = 300 },
            { group = "g/1", n = 300 }, { all = true, n = 300 } }) do
            assert.is_true(sender:ask("count", params))
            local key = params.topic and "topic" or params.group and "group" or "all"
            assert.equal("", (numbers(c, key, 300)), key)
        end
    end)

    it("kicks who was bound before, wherever it is by now", function()
        local last = connect("ann", "kick")
        for i = 1, 60 do
            local c = connect("ann", "kick")
            assert.equal(i, (c:ask("me").n and i))
            assert.is_true(last:is_closed() or last:is_closed(), "kick " .. i)
            last = c
        end
        local refused = client.open(s:port("length"))
            :call("move/login", { uid = "ann", policy = "refuse" })
        assert.equal("refused", refused.result.err)
        assert.equal(1, last:ask("sd", { fn = "count_online", args = {} }).a)
    end)

    it("keeps all of them when a reload changes what ports speak", function()
        local conns = {}
        for i = 1, 30 do
            conns[i] = connect("u" .. i)
        end
        for i = 31, 40 do
            conns[i] = client.ws(s:port("web"))
            assert.is_true(conns[i]:call("move/login", { uid = "u" .. i }).result.ok)
        end
        s:write("config/ports.lua", [[
return {
    line = { listen = "127.0.0.1:0", protocol = "tcp", frame = "length" },
    length = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http", websocket = { enabled = false } },
}]])
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        for round = 1, 20 do
            for i, c in ipairs(conns) do
                local reply, why = c:call("move/me")
                assert(reply, ("u%d in round %d: %s"):format(i, round, why))
                assert.equal("u" .. i, reply.result.uid)
            end
        end
        assert.not_matches("is lost", s:output())
        local new = client.lines(s:port("length"))
        assert.equal(1, new:call("move/me").result.n)
    end)

    it("survives the death of workers", function()
        for _ = 1, 3 do
            local conns = {}
            for i = 1, 20 do
                conns[i] = connect("u" .. i)
            end
            s:kill("KILL", s:process("worker", 1).pid)
            local alive = 0
            for i, c in ipairs(conns) do
                local reply, why = c:call("move/me")
                if reply then
                    assert.equal("u" .. i, reply.result.uid)
                    alive = alive + 1
                else
                    assert.equal("closed", why) -- no conn that nobody has
                end
                c:close()
            end
            assert.is_true(alive > 0)
            until_(function()
                return s:process("worker", 1).state == "ready"
            end, "the worker is back")
            local c = connect()
            until_(function()
                return c:ask("sd", { fn = "count_online", args = {} }).a == 0
            end, "all ends are seen")
            c:close()
        end
    end)
end)

describe("a conn on its way", function()
    local s, driver, ann

    --- A client of worker `slot`.
    local function connect(slot)
        local c
        until_(function()
            c = client.open(s:port("length"))
            if c:call("move/me").result.slot == slot then
                return true
            end
            c:close()
        end, "a conn on worker " .. slot)
        function c:ask(path, params)
            local reply, why = self:call("move/" .. path, params)
            assert(reply and reply.result ~= nil, why or reply and reply.error)
            return reply.result
        end
        return c
    end

    local function signal(name, slot)
        s:kill(name, s:process("worker", slot).pid)
    end

    --- Worker 1 stands still and ann's conn waits for it; `n` sends later.
    local function depart(n, more)
        signal("STOP", 1)
        local params = { slot = 1, n = n }
        for key, value in pairs(more or {}) do
            params[key] = value
        end
        assert.equal(1, driver:ask("go", params).went)
    end

    --- Worker 1 has the conn, and worker 0 does not know.
    local function arrive_unheard()
        signal("STOP", 0)
        signal("CONT", 1)
        until_(function()
            return s:process("worker", 1).conns == 1
        end, "it has come")
    end

    local function receives(c, key, first, last)
        for i = first, last do
            assert.equal(i, c:receive()[key])
        end
    end

    --- Who was missed, once there are `n`.
    local function lost(n)
        local list
        until_(function()
            list = driver:ask("list", { key = "lost" })
            return #list >= n
        end, n .. " are reported")
        return list
    end

    before_each(function()
        s = server.new(files)
        s:write("config/server.lua", [[return { workers = 2, tasks = 0, name = "n" }]])
        s:write("config/ports.lua", [[
return {
    length = { listen = "127.0.0.1:0", protocol = "tcp",
        slow_client = { low = "64k", high = "64m", timeout = 0 } },
}]])
        s:write("scripts/app.lua", [[
local sd = require("sd")
local app = {}
function app.on_undeliverable(uid, data, reason)
    sd.redis():rpush("lost", sd.json.encode({ uid, data, reason }))
end
return app]])
        s.env = "SD_SPEC_MOVE=1"
        s:launch()
        s:wait_ready()
        driver, ann = connect(0), connect(0)
        ann:ask("login", { uid = "ann" })
    end)

    after_each(function()
        signal("CONT", 0)
        signal("CONT", 1)
        s:stop()
    end)

    it("is sent what came meanwhile when it has come", function()
        depart(3)
        signal("CONT", 1)
        receives(ann, "uid", 1, 3)
        assert.equal(1, ann:ask("me").slot)
    end)

    it("comes home with it when the new worker dies", function()
        depart(3)
        signal("KILL", 1)
        receives(ann, "uid", 1, 3)
        local me = ann:ask("me")
        assert.same({ 0, "ann", 2 }, { me.slot, me.uid, me.n })
        assert.same({}, lost(0))
    end)

    it("comes home with it when the new worker refuses it", function()
        local other = connect(1)
        other:ask("refuse")
        assert.equal(1, driver:ask("go", { slot = 1, n = 3 }).went)
        receives(ann, "uid", 1, 3)
        local me = ann:ask("me")
        assert.same({ 0, "ann", 2 }, { me.slot, me.uid, me.n })
        assert.is_true(driver:ask("sd", { fn = "uid_is_online", args = { "ann" } }).a)
        assert.equal(1, driver:ask("sd", { fn = "count_online", args = {} }).a)
        assert.matches("a conn did not move to slot 1: a queue is full", s:output())
    end)

    it("gets the last one of what is conflated, and nothing volatile", function()
        assert.is_true(ann:ask("listen", { topic = "t" }))
        ann.sock:setoption("recv-buffer-size", 65536)
        assert.is_true(driver:ask("fill", { n = 100, size = 50000 }))
        depart(5, { topic = "t", options = { conflate = "k" } })
        assert.equal(0, driver:ask("go", { slot = 1, n = 5, topic = "t",
            options = { volatile = true } }).went)
        signal("CONT", 1)
        until_(function()
            return driver:ask("leaving").n == 0
        end, "all was sent after it")
        driver:ask("sd", { fn = "topic_count", args = { "t" } }) -- and read
        receives(ann, "fill", 1, 100)
        receives(ann, "topic", 5, 5)
        assert.equal(1, ann:ask("me").slot)
        assert.same({}, ann.pushes)
        assert.same({}, lost(0))
    end)

    it("is missed when what follows it meets a dead worker", function()
        depart(2)
        arrive_unheard()
        signal("STOP", 1)
        signal("CONT", 0)
        assert.is_true(driver:ask("me").n > 0) -- it has sent them after it
        signal("KILL", 1)
        assert.same({ { "ann", { uid = 1 }, "offline" },
            { "ann", { uid = 2 }, "offline" } }, lost(2))
    end)

    it("is missed when it closes before what waits for it could come", function()
        local other = connect(1)
        depart(0)
        signal("STOP", 0)
        signal("CONT", 1)
        until_(function()
            return s:process("worker", 1).conns == 2
        end, "it has come")
        other:ask("fill", { n = 1, size = 3 })
        ann:close()
        until_(function()
            return s:process("worker", 1).conns == 1
        end, "it has gone")
        signal("CONT", 0)
        assert.same({ { "ann", { fill = 1, text = "xxx" }, "gone" } }, lost(1))
        assert.equal(1, #lost(1))
    end)
end)
