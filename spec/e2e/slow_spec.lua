-- Clients that never read, in rooms with clients that do.
local client = require("spec.support.client")
local server = require("spec.support.server")

-- Then its memory is the sanitizer's, too.
local is_sanitized = not (os.getenv("SD_BUILD") or "dev"):find("release")

local function ports(policy)
    return ([[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", backlog = 0,
        slow_client = { low = "64k", high = "256k", policy = "%s",
            timeout = 0 } },
    web = { listen = "127.0.0.1:0", protocol = "http",
        slow_client = { low = "64k", high = "256k", policy = "%s",
            timeout = 0 } },
}]]):format(policy, policy)
end

local function files(policy)
    return {
        ["config/server.lua"] = [[
return { workers = 2, tasks = 1, name = "n" }]],
        ["config/admin.lua"] = [[return { listen = "127.0.0.1:0" }]],
        ["config/ports.lua"] = ports(policy),
        ["scripts/controllers/room.lua"] = [[
local sd = require("sd")
local Room = {}
local dropped = 0
package.loaded["room_drops"] = function() dropped = dropped + 1 end
function Room:enter(p)
    if p.uid then self:bind_uid(p.uid) end
    return { ok = self:subscribe("room") }
end
function Room:flood(p)
    local text = ("x"):rep(p.size)
    for i = p.first, p.first + p.count - 1 do
        while not sd.publish("room", { n = i, text = text }) do
            sd.sleep(0.001) -- busy: nobody got it
        end
    end
    return { ok = true }
end
function Room:tell(p)
    for i = 1, p.count do
        sd.send_to_uid(p.uid, { n = i, text = ("y"):rep(p.size) },
            { conflate = p.conflate, volatile = p.volatile })
    end
    return { ok = true }
end
function Room:myself(p)
    local ok, slow = 0, 0
    for i = 1, p.count do
        local sent, err = self:send({ n = i, text = ("z"):rep(p.size) })
        if sent then ok = ok + 1 end
        if err == "slow" then slow = slow + 1 end
    end
    return { ok = ok, slow = slow }
end
function Room:dropped() return { n = dropped, slot = sd.slot } end
return Room]],
        ["scripts/app.lua"] = [[
local app = {}
function app.on_undeliverable(uid, data, reason)
    if uid == "snail" and reason == "slow" and data.n then
        package.loaded["room_drops"]()
    end
end
return app]],
    }
end

describe("clients that do not read", function()
    local s
    local snails = {}

    local function open(policy)
        s = server.start(files(policy))
        return client.ports(s)
    end

    after_each(function()
        for _, snail in ipairs(snails) do
            snail:close()
        end
        snails = {}
        if s then
            s:stop()
            assert.equal("", s:complaints())
            s = nil
        end
    end)

    --- Publish so many in small steps; the reader gets them all, in order.
    local function flood(sender, reader, count)
        for first = 1, count, 50 do
            sender:call("room/flood", { first = first, count = 50,
                size = 2000 })
            for i = first, first + 49 do
                assert.equal(i, reader:receive().n)
            end
        end
    end

    --- How many conns the node has found slow, on both ports.
    local function slow_consumers(policy)
        local text, n = server.shell(("env -u LD_PRELOAD curl -sS -m 20 "
            .. "http://%s/metrics"):format(tostring(s:status().admin))), 0
        for count in text:gmatch('\nsdlua_slow_consumers_total{[^\n]*policy="'
            .. policy .. '"} (%d+)') do
            n = n + tonumber(count)
        end
        return n
    end

    --- How many drops the hooks of all workers were told of.
    local function drops(port)
        local seen, sum = {}, 0
        for _ = 1, 40 do
            local c = client.open(port)
            local r = c:call("room/dropped", {}).result
            if not seen[r.slot] then
                seen[r.slot] = true
                sum = sum + r.n
            end
            c:close()
        end
        return sum
    end

    for _, policy in ipairs({ "drop_old", "drop_new" }) do
        it("lose pushes, not replies, and nobody else does: " .. policy,
            function()
                local port = open(policy)
                local snail, reader = client.open(port.game),
                    client.ws(port.web, { path = "/ws" })
                local sender = client.open(port.game)
                assert.is_true(snail:call("room/enter",
                    { uid = "snail" }).result.ok)
                assert.is_true(reader:call("room/enter", {}).result.ok)
                flood(sender, reader, 8000)
                snail:send(client.packet("room/dropped", {}, 77))
                local got, last = 0, 0
                repeat
                    local packet = assert(snail:receive())
                    if packet.n then
                        got = got + 1
                        assert.is_true(packet.n > last)
                        last = packet.n
                    end
                until packet.id == 77
                assert.is_true(got < 8000)
                server.until_(function()
                    return drops(port.game) > 0
                end)
                server.until_(function()
                    return slow_consumers(policy) == 1
                end, "the snail is counted, once")
            end)
    end

    --- Bytes that the workers have resident.
    local function resident()
        local sum = 0
        for index = 0, 1 do
            sum = sum + server.memory(s:process("worker", index).pid)
        end
        return sum
    end

    for _, policy in ipairs({ "drop_old", "drop_new" }) do
        it("take no more memory than they may, 200 of them: " .. policy,
            function()
                local port = open(policy)
                local reader = client.ws(port.web, { path = "/ws" })
                local sender = client.open(port.game)
                reader:call("room/enter", {})
                for _ = 1, 200 do
                    local snail = client.open(port.game)
                    snail.sock:setoption("recv-buffer-size", 65536)
                    snail:call("room/enter", {})
                    snails[#snails + 1] = snail
                end
                flood(sender, reader, is_sanitized and 500 or 10000)
                if not is_sanitized then
                    assert.is_true(resident() < 200 * 262144 + 20971520)
                end
            end)
    end

    it("are closed with a code of their own", function()
        local port = open("close")
        local snail = client.ws(port.web, { path = "/ws" })
        local reader = client.ws(port.web, { path = "/ws" })
        local sender = client.open(port.game)
        snail:call("room/enter", {})
        reader:call("room/enter", {})
        flood(sender, reader, 8000)
        assert.equal(4002, (snail:close_code()))
        assert.truthy(s:output():find("slow", 1, true))
        server.until_(function()
            return slow_consumers("close") == 1
        end, "the snail is counted")
    end)

    --- Many small, or some that pass the high mark alone.
    for size, count in pairs({ [1000] = 20000, [1000000] = 50 }) do
        it("do not get what is sent to them alone either, by " .. size,
            function()
                local port = open("drop_new")
                local snail = client.open(port.game)
                snail:send(client.packet("room/myself",
                    { count = count, size = size }, 5))
                server.until_(function()
                    return slow_consumers("drop_new") == 1
                end, "the snail is found slow before it reads")
                local ok, sent = 0, nil
                repeat
                    local packet = assert(snail:receive())
                    ok = ok + (packet.n and 1 or 0)
                    sent = packet.id and packet.result or sent
                until sent
                assert.equal(sent.ok, ok)
                assert.equal(count, sent.ok + sent.slow)
                assert.is_true(sent.slow > 0)
            end)
    end

    it("get one of all that are conflated", function()
        local port = open("close")
        local c, sender = client.open(port.game), client.open(port.game)
        c:call("room/enter", { uid = "snail" })
        sender:call("room/tell", { uid = "snail", count = 100, size = 10,
            conflate = "price" })
        local n
        repeat
            n = assert(c:receive()).n
        until n == 100
        sender:call("room/tell", { uid = "snail", count = 1, size = 10 })
        assert.equal(1, c:receive().n)
    end)
end)
