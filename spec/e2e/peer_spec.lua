-- A peer that was written from the documents of the protocol alone is a member
-- of a cluster like any other: what it says is understood, and what it hears.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
local BOOT = "00005eed12345678"

local PEOPLE = [[
local sd = require("sd")
local People = {}
function People:enter(p)
    return self:bind_uid(p.uid)
end
function People:listen(p)
    return self:subscribe(p.topic)
end
function People:tell(p)
    local ok, err = sd.deliver_to_uid(p.uid, p.text)
    return { ok = ok, err = err }
end
function People:cry(p)
    return { ok = sd.publish(p.topic, p.text) }
end
return People]]

describe("a peer from the documents", function()
    local c, dir, input, output, bob

    -- Lines that nobody has asked for yet; specs run in any order.
    local kept, text, sent = {}, "", 0

    --- The first line with this field that nobody had, and its value.
    local function hear(field)
        return server.until_(function()
            text = text .. output:read("*a")
            output:seek("cur", 0)
            text = text:gsub("([^\n]*)\n", function(line)
                local ok, message = pcall(cjson.decode, line)
                kept[#kept + 1] = assert(ok and message, text)
                return ""
            end)
            for i, message in ipairs(kept) do
                if message[field] ~= nil then
                    return table.remove(kept, i)
                end
            end
        end, "it prints a line with " .. field)
    end

    local function say(line)
        input:write(line, "\n")
        input:flush()
    end

    --- Say what is a message, the number of which is returned.
    local function send(line)
        sent = sent + 1
        say(line)
        return sent
    end

    setup(function()
        c = cluster_local.start({ "a" }, { ["scripts/controllers/people.lua"] = PEOPLE })
        bob = client.lines(c.a:port("game"))
        assert.is_true(bob:call("people/enter", { uid = "bob" }).result)
        assert.is_true(bob:call("people/listen", { topic = "news" }).result)
        local port = server.until_(function()
            return c.a:output():match("linked to relay 0 of d at 127.0.0.1:(%d+)")
        end, "the node has linked")
        dir = server.shell("mktemp -d /tmp/sdlua-peer.XXXXXX"):gsub("%s", "")
        server.shell(": > " .. dir .. "/out")
        input = io.popen(("env -u LD_PRELOAD /usr/bin/python3 spec/support/peer.py 127.0.0.1 "
            .. "%s %s sdlua %s > %s/out 2>&1"):format(port, KEY, BOOT, dir), "w")
        output = assert(io.open(dir .. "/out"))
    end)

    teardown(function()
        if input then
            input:close()
            output:close()
            server.shell("rm -r " .. dir)
        end
        c:stop()
    end)

    it("is let in, and told of the node's workers", function()
        assert.truthy(hear("relay"))
        local seen = {}
        server.until_(function()
            for _, place in ipairs(hear("cover").cover) do
                seen[place[3]] = true
            end
            return seen[0] and seen[1]
        end, "it hears of both workers")
    end)

    it("sends to a uid", function()
        local number = send("uid bob hello")
        assert.equal("hello", bob:receive())
        assert.same({ ack = number, count = 1 }, hear("ack"))
    end)

    it("measures the way there and back with the relay", function()
        local us = hear("beat").beat
        assert.is_true(us > 0 and us < 5e6, us)
    end)

    it("hears what is over that waited on its way, and what is not", function()
        hear("beat") -- since then the relay knows its clock; a life is 10 s
        local late = send("late 11000 bob never")
        assert.same({ nack = late, reason = 33, flags = 0 }, hear("nack"))
        local early = send("late 5000 bob still")
        assert.equal("still", bob:receive())
        assert.same({ ack = early, count = 1 }, hear("ack"))
    end)

    it("hears that a uid is nowhere", function()
        local number = send("uid nobody hello")
        assert.same({ nack = number, reason = 1, flags = 0 }, hear("nack"))
    end)

    it("publishes", function()
        local number = send("topic news rain")
        assert.equal("rain", bob:receive())
        assert.same({ ack = number, count = 1 }, hear("ack"))
    end)

    it("gets what is sent to a uid of its own", function()
        -- Slot 1, epoch 1, and index and generation of its liking.
        local conn = BOOT .. "0100010000100001"
        c.redis:cli(("hset sd:{u:eve}:conns %s 1"):format(conn))
        assert.is_true(bob:call("people/tell", { uid = "eve", text = "psst" }).result.ok)
        local message = hear("uid")
        assert.equal("eve", message.uid)
        assert.equal("psst", message.text)
        assert.is_true(message.life > 0 and message.life <= 30000)
    end)

    it("gets publishes that it wants, and no others", function()
        say("want sport")
        server.until_(function()
            local out = c.dispatch:run("dispatch status --cluster --json")
            for _, link in ipairs(cjson.decode(out).links) do
                if link.to == "?" and link.filters == 1 and not link.flooded then
                    return true
                end
            end
        end, "the relay knows what it wants")
        assert.is_true(bob:call("people/cry", { topic = "weather", text = "snow" }).result.ok)
        assert.is_true(bob:call("people/cry", { topic = "sport", text = "goal" }).result.ok)
        assert.same({ topic = "sport", text = "goal" }, hear("topic"))
    end)
end)

describe("a peer that reads nothing", function()
    local MIB = 2 ^ 20
    -- ASan keeps what was freed for a while.
    local KEPT = os.getenv("SD_PRELOAD") and 400 * MIB or 0
    local d, relay

    before_each(function()
        local port = redis.free_port()
        d = server.new({
            ["config/server.lua"] = 'return { name = "d" }',
            ["config/cluster.lua"] = ("return { enable = true, key = %q, encrypt = false, "
                .. 'bind = "127.0.0.1:0", discovery = "seeds" }'):format(KEY),
            ["config/dispatch.lua"] = ("return { relays = 1, port = %d }"):format(port),
            ["config/admin.lua"] = 'return { listen = "off" }',
            ["config/ports.lua"] = false,
        })
        local out, code = d:run("dispatch start -d")
        assert.equal(0, code, out)
        for _, p in ipairs(cjson.decode((d:run("dispatch status --json"))).processes) do
            relay = p.role == "relay" and { port = port, pid = p.pid } or relay
        end
    end)

    after_each(function()
        d:run("dispatch stop --now")
        server.shell("rm -rf '" .. d.dir .. "'")
    end)

    local function peer(boot, words)
        return server.shell(("printf '%s\\n' | env -u LD_PRELOAD timeout 120 /usr/bin/python3 "
            .. "spec/support/peer.py 127.0.0.1 %d %s sdlua %s plain 2>&1"):format(words,
            relay.port, KEY, boot))
    end

    -- Each answer is ten bytes: 64 MiB of them are as many messages as this.
    it("loses its link, and costs no more than 64 MiB", function()
        local before = server.memory(relay.pid)
        local out = peer(BOOT, "flood 20000000")
        local sent, closed = out:match('"flooded": (%d+), "closed": (%a+)')
        assert.equal("true", closed, out)
        assert.is_true(tonumber(sent) > 64 * MIB / 10, sent)
        local grown = server.memory(relay.pid, "VmHWM") - before
        assert.is_true(grown < KEPT + 160 * MIB, grown)
        assert.matches("the link to worker 1 of peer at 127.0.0.1:%d+ is closed: "
            .. "the other side reads nothing", d:read("run/dispatch.log"))
        -- It is there for others, and has given back what it took.
        assert.matches('"relay"', peer(BOOT, "want news"))
        server.until_(function()
            return server.memory(relay.pid) - before < KEPT + 40 * MIB
        end, "the memory is given back")
    end)
end)
