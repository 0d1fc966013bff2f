-- Values that reach conns on all workers of a node, each in its own pack.
local client = require("spec.support.client")
local server = require("spec.support.server")

local WORKERS = 4

local files = {
    ["config/server.lua"] = [[
return { workers = 4, tasks = 1, name = "n" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    lines = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
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
