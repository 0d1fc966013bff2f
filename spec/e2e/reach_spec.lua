-- Values that reach conns on all workers of a node, each in its own pack.
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")

local WORKERS = 4

local files = {
    ["config/server.lua"] = [[
return { workers = 4, tasks = 1, name = "n",
    max_run = "30s", hang_timeout = "60s" }]], -- room/hold holds
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp",
        slow_client = { high = "64m" } },
    lines = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http",
        slow_client = { high = "64m" } },
}]],
    ["scripts/tasks/news.lua"] = [[
local sd = require("sd")
local News = {}
function News:tell(topic, data)
    return { sd.publish(topic, data) }
end
return News]],
    ["scripts/controllers/room.lua"] = [[
local sd = require("sd")
local Room = {}
function Room:join(p)
    if p.uid then
        self:bind_uid(p.uid)
    end
    self:subscribe(p.topic)
    return { slot = sd.slot }
end
function Room:say(p)
    local sent = 0
    for i = p.from, p.to do
        local ok, err
        repeat
            ok, err = sd.publish(p.topic, { n = i, pad = p.pad }, p.opts)
            if not ok then sd.sleep(0.01) end
        until ok
        sent = sent + 1
    end
    return { sent = sent }
end
function Room:burst(p)
    local sent, pad = 0, ("x"):rep(p.size)
    for i = 1, p.times do
        sent = sent + (sd.publish(p.topic, { n = i, pad = pad }) and 1 or 0)
    end
    return { sent = sent }
end
function Room:hold(p) -- up to the end of the handler this worker sees nothing
    local f
    repeat
        f = io.open(p.file)
    until f
    f:close()
    return { sent = sd.publish(p.topic, { n = 1 }), slot = sd.slot }
end
function Room:all(p)
    return { sd.send_to_all({ n = p.n }, p.opts) }
end
function Room:task(p)
    return sd.task("news"):tell(p.topic, { n = p.n })
end
return Room]],
}

describe("a node of " .. WORKERS .. " workers", function()
    local s, conns

    --- Clients of every kind until each worker has some of them.
    local function open_all(topic)
        local slots, n = {}, 0
        local count = 0
        while n < WORKERS or count < 24 do
            local kind = count % 2 == 0 and client.open or client.ws
            local c = kind(s:port(count % 2 == 0 and "game" or "web"))
            local slot = c:call("room/join", {
                topic = topic,
                uid = "u" .. count,
            }).result.slot
            if not slots[slot] then
                slots[slot] = true
                n = n + 1
            end
            count = count + 1
            conns[count] = c
            assert.is_true(count < 300, "a worker gets no conn")
        end
    end

    setup(function()
        s = server.start(files)
    end)

    teardown(function()
        s:stop()
    end)

    before_each(function()
        conns = {}
    end)

    after_each(function()
        for _, c in ipairs(conns) do
            c:close()
        end
    end)

    local function expect(c, from, to)
        for i = from, to do
            assert.equal(i, c:receive().n)
        end
    end

    it("gives a publish to every subscriber once and in order", function()
        open_all("news/today")
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        local r = speaker:call("room/say", {
            topic = "news/today",
            from = 1,
            to = 200,
        })
        assert.equal(200, r.result.sent)
        for i = 1, #conns - 1 do
            expect(conns[i], 1, 200)
        end
    end)

    it("makes bytes of a value once for each pack on a worker", function()
        open_all("news/packs") -- TCP and WebSocket, JSON all of them
        local function encoded()
            local sum = 0
            for _, p in ipairs(s:status().processes) do
                sum = sum + (p.encoded or 0)
            end
            return sum
        end
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        local function say(from, to)
            speaker:call("room/say",
                { topic = "news/packs", from = from, to = to })
            for i = 1, #conns - 1 do
                expect(conns[i], from, to)
            end
        end
        say(1, 1)
        --- The sum when every process has told it anew and nothing moves.
        local function settled()
            local sum, since = encoded(), socket.gettime()
            server.until_(function()
                local now = encoded()
                if now ~= sum then
                    sum, since = now, socket.gettime()
                end
                return socket.gettime() - since > 0.6 -- two heartbeats
            end, "numbers of now")
            return sum
        end
        local before = settled()
        say(2, 51)
        assert.equal(before + 50 * WORKERS, settled())
    end)

    it("gives a large value, which travels beside the rings", function()
        open_all("news/large")
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        speaker:call("room/say", {
            topic = "news/large",
            from = 1,
            to = 3,
            pad = ("x"):rep(100000),
        })
        for i = 1, #conns - 1 do
            expect(conns[i], 1, 3)
        end
    end)

    it("loses nothing of a burst of large values", function()
        open_all("news/burst")
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        local sent = speaker:call("room/burst", {
            topic = "news/burst",
            times = 1000,
            size = 66000,
        }).result.sent
        assert.is_true(sent > 0)
        for i = 1, #conns - 1 do
            local last = 0
            for _ = 1, sent do
                local n = conns[i]:receive().n
                assert.is_true(n > last)
                last = n
            end
        end
    end)

    it("says true only when a worker just replaced is told too", function()
        local speaker, file = client.open(s:port("game")), "run/go"
        conns[#conns + 1] = speaker
        local slot = speaker:call("room/join", { topic = "x" }).result.slot
        local victim = (slot + 1) % WORKERS
        speaker:send(client.packet("room/hold",
            { topic = "news/hold", file = file }, 5))
        local pid = s:process("worker", victim).pid
        s:kill("KILL", pid)
        server.until_(function()
            local p = s:process("worker", victim)
            return p.pid ~= pid and p.state == "ready"
        end, "the worker is replaced")
        local listener
        repeat
            listener = client.open(s:port("game"))
            conns[#conns + 1] = listener
            listener.sock:settimeout(0.5) -- one at the worker that holds
            local r = listener:call("room/join", { topic = "news/hold" })
        until r and r.result.slot == victim
        listener.sock:settimeout(10)
        s:write(file, "")
        local sent = speaker:receive().result.sent
        server.until_(function() -- that worker has noticed it too
            return listener:call("room/burst",
                { topic = "news/hold", times = 1, size = 1 }).result.sent == 1
        end, "a publish")
        assert.equal(sent and 2 or 1, #listener.pushes)
        s:write(file .. ".done", "")
    end)

    it("leaves out who is excepted, wherever he is", function()
        open_all("news/not")
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        local except = {}
        for i = 0, #conns - 2, 2 do
            except[#except + 1] = "u" .. i
        end
        speaker:call("room/say", {
            topic = "news/not",
            from = 1,
            to = 1,
            opts = { except = except },
        })
        speaker:call("room/say", { topic = "news/not", from = 2, to = 2 })
        for i = 1, #conns - 1 do
            expect(conns[i], i % 2 == 1 and 2 or 1, 2)
        end
    end)

    it("reaches every conn by send_to_all", function()
        open_all("news/unheard")
        local speaker = client.open(s:port("game"))
        local r = speaker:call("room/all", { n = 7 })
        assert.is_true(r.result[1])
        for _, c in ipairs(conns) do
            expect(c, 7, 7)
        end
        speaker:close()
    end)

    it("carries what a task publishes", function()
        open_all("news/task")
        local speaker = client.open(s:port("game"))
        conns[#conns + 1] = speaker
        local r = speaker:call("room/task", { topic = "news/task", n = 9 })
        assert.same({ true }, r.result)
        for i = 1, #conns - 1 do
            expect(conns[i], 9, 9)
        end
    end)
end)
