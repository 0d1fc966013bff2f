-- What nodes and dispatches of a cluster say of each other and of links in
-- /metrics.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local metrics = require("spec.support.metrics")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

describe("the metrics of a cluster", function()
    local c

    lazy_setup(function()
        c = cluster_local.start({ "a", "b" }, {
            ["config/admin.lua"] = "return { listen = '127.0.0.1:0' }",
            ["scripts/controllers/talk.lua"] = [[
local sd = require("sd")
return {
    join = function(self, p) return self:bind_uid(p.uid) end,
    say = function(_, p) return sd.send_to_uid(p.uid, p.n) end,
}]],
        })
    end)

    lazy_teardown(function()
        if c then c:stop() end
    end)

    local function status(s)
        local verb = s == c.dispatch and "dispatch status --json" or "status --json"
        return cjson.decode((s:run(verb)))
    end

    local function read(s)
        local text, code = server.shell("env -u LD_PRELOAD curl -sS --fail http://"
            .. status(s).admin .. "/metrics")
        assert.equal(0, code, text)
        return metrics.parse(text)
    end

    --- Wait for a sum; what there was then.
    local function wait(s, name, labels, least)
        local m
        until_(function()
            m = read(s)
            return (m:sum(name, labels)) >= least
        end, name .. " reaches " .. least)
        return m
    end

    local function assert_adds_up(m)
        assert.equal(m:sum("far_messages_accepted_total"),
            m:sum("far_messages_delivered_total") + m:sum("far_messages_dropped_total")
                + m:sum("far_messages_in_flight"))
    end

    it("show the members, to nodes and to dispatches", function()
        for _, s in ipairs({ c.a, c.b, c.dispatch }) do
            wait(s, "cluster_members", { kind = "node", state = "alive" }, 2)
            local m = read(s)
            assert.equal(2, (m:sum("cluster_members", { kind = "node" })))
            assert.equal(1, (m:sum("cluster_members", { kind = "dispatch", state = "alive" })))
            assert.is_true(m:sum("gossip_packets_sent_total") > 0)
            assert.equal(0, (m:sum("gossip_dropped_total", { reason = "bad_tag" })))
        end
    end)

    it("show the links, from both ends", function()
        local m = wait(c.a, "link_up", nil, 4)
        local up, count = m:sum("link_up", { to = "d" })
        assert.same({ 4, 4 }, { up, count }) -- two workers, two relays
        m = wait(c.a, "link_round_trip_seconds", { relay = "1" }, 1e-9)
        assert.equal(4, select(2, m:sum("link_unsent_bytes")))
        m = wait(c.dispatch, "relay_links", nil, 8)
        assert.equal(8, (m:sum("relay_links")))
    end)

    it("count messages between nodes, which add up", function()
        local x, y = client.lines(c.a:port("game")), client.lines(c.b:port("game"))
        assert.is_true(y:call("talk/join", { uid = "ann" }).result)
        local before = { a = read(c.a), b = read(c.b) }
        for n = 1, 20 do
            assert.is_true(x:call("talk/say", { uid = "ann", n = n }).result)
        end
        local function grown(m, of, name)
            return (m:sum(name)) - (of:sum(name))
        end
        local a, b
        until_(function()
            a, b = read(c.a), read(c.b)
            assert_adds_up(a)
            return grown(a, before.a, "far_messages_delivered_total") >= 20
                and grown(b, before.b, "far_messages_received_total") >= 20
                and (a:sum("far_messages_in_flight")) == 0
        end, "all are counted")
        assert.is_true(grown(a, before.a, "link_frames_sent_total") >= 20)
        assert.is_true(grown(a, before.a, "link_bytes_sent_total") > 20 * 20)
        assert.is_true(grown(b, before.b, "link_bytes_received_total") > 20 * 20)
        assert.equal(0, (a:sum("link_queue_bytes")))
        local sum = 0
        for _, q in ipairs(cjson.decode((c.a:run("status --cluster --json"))).queues) do
            assert.equal(q.accepted, q.delivered + q.dropped + q.in_flight)
            sum = sum + q.delivered
        end
        assert.equal(a:sum("far_messages_delivered_total"), sum)
        assert.matches("\nworker 1 +%d+ +%d+ +%d+ +0 +0 +0%.0K +%d+\n",
            (c.a:run("status --cluster")))
        x:close()
        y:close()
    end)

    it("count by reason what became of those that did not arrive", function()
        local x, y = client.lines(c.a:port("game")), client.lines(c.b:port("game"))
        assert.is_true(y:call("talk/join", { uid = "bob" }).result)
        assert.is_true(x:call("talk/say", { uid = "bob", n = 1 }).result)
        y:close()
        local before = read(c.a)
        local offline = { reason = "offline" }
        until_(function()
            x:call("talk/say", { uid = "bob", n = 2 })
            return (read(c.a):sum("far_messages_dropped_total", offline))
                > (before:sum("far_messages_dropped_total", offline))
        end, "bob is offline")
        assert_adds_up(read(c.a))
        x:close()
    end)

    it("go on where a process that died has left them", function()
        local worker = c.a:process("worker", 0)
        local before = read(c.a):sum("far_messages_accepted_total")
        c.a:kill("KILL", worker.pid)
        until_(function()
            local p = c.a:process("worker", 0)
            return p.pid ~= worker.pid and p.state == "ready"
        end, "it is replaced")
        local m = wait(c.a, "link_up", nil, 4)
        assert.is_true(m:sum("far_messages_accepted_total") >= before)
        assert_adds_up(m)
    end)

    it("count strangers, by what is wrong with them", function()
        local relay, gossip
        for _, line in ipairs(cjson.decode((c.a:run("status --cluster --json"))).members) do
            gossip = line.name == "a" and line.address or gossip
        end
        local udp = socket.udp()
        local host, port = gossip:match("^(.+):(%d+)$")
        assert(udp:sendto(("x"):rep(60), host, tonumber(port)))
        assert(udp:sendto("short", host, tonumber(port)))
        udp:close()
        wait(c.a, "gossip_dropped_total", { reason = "magic" }, 1)
        wait(c.a, "gossip_dropped_total", { reason = "size" }, 1)

        local pid = c:dispatch_pids("relay")[1]
        for inode in server.shell("ls -l /proc/" .. pid .. "/fd"):gmatch("socket:%[(%d+)%]") do
            local hex = server.shell("grep ' 0A .* " .. inode .. " ' /proc/net/tcp")
                :match("^ *%d+: %x+:(%x+) ")
            relay = relay or hex and tonumber(hex, 16)
        end
        local tcp = socket.tcp()
        assert(tcp:connect("127.0.0.1", relay))
        tcp:send("GET / HTTP/1.1\r\n" .. ("x"):rep(200) .. "\r\n\r\n")
        tcp:settimeout(20)
        tcp:receive("*a")
        tcp:close()
        wait(c.dispatch, "relay_refused_total", { reason = "stranger" }, 1)
    end)
end)
