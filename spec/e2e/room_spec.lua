-- A room of conns of every kind on all workers, while all workers speak.
local client = require("spec.support.client")
local server = require("spec.support.server")

local WORKERS = 4
local LINES = 100 -- of each speaker
local MEMBERS = 300 -- at most, until each kind is on each worker

local files = {
    ["config/server.lua"] = [[return { workers = 4, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    json = { listen = "127.0.0.1:0", protocol = "tcp" },
    msgpack = { listen = "127.0.0.1:0", protocol = "tcp", codec = "msgpack" },
    lines = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
    packed = { listen = "127.0.0.1:0", protocol = "http",
        websocket = { codec = "msgpack" } },
}]],
    ["scripts/controllers/room.lua"] = [[
local sd = require("sd")
local Room = {}
function Room:join(p)
    self:bind_uid(p.uid)
    local ok = self:join_group(p.room) and self:subscribe("room/" .. p.room)
    return { ok = ok, slot = sd.slot }
end
function Room:say(p)
    local how = { group = sd.send_to_group, topic = sd.publish }
    for n = 1, p.n do
        -- Some values are too large for a ring and travel beside it.
        local pad = ("x"):rep(n % 40 == 7 and 10000 or n % 50)
        local line = { from = sd.slot, n = n, pad = pad }
        while not how[p.by](p.to, line) do sd.sleep(0.01) end
        if n % 5 == 0 then sd.sleep(0) end
    end
    return { said = p.n }
end
function Room:here() return { slot = sd.slot } end
return Room]],
}

--- How each kind opens, and how its packets begin.
local kinds = {
    { "json", "^{", function(port)
        return client.open(port)
    end },
    { "msgpack", "^[\128-\143]", function(port)
        return client.open(port, client.msgpack)
    end },
    { "lines", "^{", function(port)
        return client.lines(port)
    end },
    { "web", "^{", function(port)
        return client.ws(port)
    end },
    { "packed", "^[\128-\143]", function(port)
        return client.ws(port, { op = 2, pack = client.msgpack })
    end },
}

describe("a room of five kinds of conns on " .. WORKERS .. " workers", function()
    local s, ports, conns, members, strangers

    --- A conn of that kind in a room, and its worker.
    local function join(kind, room)
        local name, begin, open = unpack(kind)
        local c = open(ports[name])
        conns[#conns + 1] = c
        c.name, c.begin = name, begin
        local uid = room .. #conns
        local r = assert(c:call("room/join", { room = room, uid = uid }))
        assert.is_true(r.result and r.result.ok)
        c.slot = r.result.slot
        return c
    end

    --- Members of one kind, until each worker has one.
    local function fill(kind, room)
        local seen, n = {}, 0
        repeat
            local c = join(kind, room)
            members[#members + 1] = c
            if not seen[c.slot] then
                seen[c.slot] = c
                n = n + 1
            end
            assert.is_true(#members < MEMBERS, "a worker gets no conn")
        until n == WORKERS
        return seen
    end

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
        conns, members, strangers = {}, {}, {}
        for i, kind in ipairs(kinds) do
            fill(kind, "tea")
            strangers[i] = join(kind, "coffee")
        end
    end)

    teardown(function()
        for _, c in ipairs(conns or {}) do
            c:close()
        end
        s:stop()
    end)

    --- A conn of each worker that is in no room, to speak.
    local function speakers()
        local by_slot, n = {}, 0
        repeat
            local c = client.open(ports.json)
            conns[#conns + 1] = c
            local slot = c:call("room/here").result.slot
            n = n + (by_slot[slot] and 0 or 1)
            by_slot[slot] = c
        until n == WORKERS
        return by_slot
    end

    --- All lines of all speakers, each speaker's in order, each in `c`'s own
    --- encoding.
    local function hear(c)
        local last = {}
        for _ = 1, WORKERS * LINES do
            local bytes = assert(c:get())
            assert.matches(c.begin, bytes)
            local line = c.pack.decode(bytes)
            assert.equal((last[line.from] or 0) + 1, line.n, c.name)
            assert.equal(line.n % 40 == 7 and 10000 or line.n % 50, #line.pad)
            last[line.from] = line.n
        end
    end

    --- Nothing is left that a conn has not asked for.
    local function is_silent(c)
        assert.is_number(c:call("room/here").result.slot)
        return #c.pushes == 0
    end

    local function all_speak(by, to)
        local by_slot = speakers()
        for _, c in pairs(by_slot) do
            c:cast("room/say", { by = by, to = to, n = LINES })
        end
        for _, c in ipairs(members) do
            hear(c)
        end
        for _, c in pairs(by_slot) do
            assert.equal(LINES, c:receive().said)
        end
        for _, list in ipairs({ members, strangers }) do
            for _, c in ipairs(list) do
                assert.is_true(is_silent(c), c.name)
            end
        end
    end

    it("hears each line for its group once and in order", function()
        all_speak("group", "tea")
    end)

    it("hears each line for its topic once and in order", function()
        all_speak("topic", "room/tea")
    end)
end)
