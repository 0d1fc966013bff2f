-- How members of a cluster find each other, and how they leave.
local calls = require("spec.support.cluster_calls")
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local socket = require("socket")

local GROUP = "239.192.79.46" -- announcements
local SLOWER = 20 -- than promised this machine may be

describe("a cluster", function()
    local bed, store, c

    lazy_setup(function()
        bed = hosts.start(4)
        store = redis.start(nil, 6379, bed.switch)
    end)

    lazy_teardown(function()
        store:stop()
        bed:stop()
    end)

    after_each(function()
        if c then
            c:stop()
            c = nil
        end
        for i = 1, #bed do
            bed[i]:run("nft flush ruleset")
        end
        bed:heal()
    end)

    local function nft(host, rules)
        local out, status = host:run("nft -f - <<'END'\n" .. rules .. "\nEND")
        assert.equal(0, status, out)
    end

    --- Have that host hear no such packets.
    local function deaf(host, what)
        nft(host, ("table ip deaf {\nchain in {\ntype filter hook input priority 0\n"
            .. "%s drop\n}\n}"):format(what))
    end

    local function all_deaf(what)
        for i = 1, #bed do
            deaf(bed[i], what)
        end
    end

    describe("on one network", function()
        for what, other in pairs({
            ["by broadcast"] = "ip daddr " .. GROUP,
            ["by multicast"] = "meta pkttype broadcast",
        }) do
            it("finds itself " .. what, function()
                all_deaf(other)
                c = cluster.new(bed)
                c:new_node("a", bed[1])
                c:new_dispatch("d", bed[2])
                c:new_node("b", bed[3])
                c:launch()
                c:wait_members({ "a", "b", "d" })
                c:wait_linked()
            end)
        end

        it("is not found where announcements are not heard", function()
            all_deaf("udp dport 7947")
            c = cluster.new(bed)
            local a, b = c:new_node("a", bed[1]), c:new_node("b", bed[2])
            c:launch()
            socket.sleep(1)
            assert.is_nil(cluster.members(a).b)
            assert.is_nil(cluster.members(b).a)
        end)

        it("has several members on one host", function()
            c = cluster.new(bed)
            for _, name in ipairs({ "a", "b" }) do
                c:new_node(name, bed[1])
                c:new_dispatch("d" .. name, bed[1])
            end
            c:new_node("far", bed[2])
            c:launch()
            c:wait_members({ "a", "b", "da", "db", "far" })
            c:wait_linked()
            local ports = {}
            for _, m in pairs(cluster.members(c.members[1])) do
                assert.is_nil(ports[m.address])
                ports[m.address] = true
            end
        end)
    end)

    it("links new members within a second", function()
        c = cluster.new(bed)
        local a = c:new_node("a", bed[1])
        c:new_node("b", bed[2])
        c:launch()
        c:wait_members({ "a", "b" })
        local function time(what, dispatch, workers)
            local start = socket.gettime()
            cluster.wait_links(dispatch, workers)
            local took = socket.gettime() - start
            print(("%s linked %.3f s after it was ready"):format(what, took))
            assert.is_true(took < SLOWER)
        end
        local begun = socket.gettime()
        local d = c:dispatch("d", bed[3])
        print(("a dispatch is ready %.3f s after its start"):format(socket.gettime() - begun))
        time("a new dispatch", d, 4)
        c:node("c", bed[4])
        time("a new node", d, 6)
        local e = c:dispatch("e", bed[4])
        time("another dispatch", e, 6)
        -- One that crashed and is back at once.
        bed:crash(bed[3])
        bed:heal()
        d:launch()
        d:wait_ready()
        time("one that is back", d, 6)
        a:kill("KILL", a:process("agent").pid)
        c:wait_members({ "a", "b", "c", "d", "e" })
    end)

    it("knows of a crash, with broken links and with silent ones", function()
        c = cluster.new(bed)
        local a, b = c:new_node("a", bed[1]), c:new_node("b", bed[2])
        c:new_node("c", bed[3])
        c:new_dispatch("d", bed[4])
        c:launch()
        local function time(what)
            local began = socket.gettime()
            for _, s in ipairs({ a, c.members[4] }) do
                server.until_(function()
                    local m = cluster.members(s).b
                    return not m or m.state == "dead"
                end, "b is dead")
            end
            local took = socket.gettime() - began
            print(("a crash is known after %.1f s, links %s"):format(took, what))
            assert.is_true(took < 7 * SLOWER)
        end
        c:wait_members({ "a", "b", "c", "d" })
        c:wait_linked()
        for _, pid in ipairs(b:pids()) do
            b:kill("KILL", pid)
        end
        time("broken")
        b:launch()
        b:wait_ready()
        c:wait_members({ "a", "b", "c", "d" })
        c:wait_linked()
        bed:crash(bed[2])
        time("silent")
    end)

    describe("where announcements do not get through", function()
        --- A binary whose processes have these lines in /etc/hosts.
        local function with_hosts(s, lines)
            local build = os.getenv("SD_BUILD") or "build/dev"
            local real = server.shell("realpath " .. build):gsub("%s", "")
            s:write("etc-hosts", "127.0.0.1 localhost\n" .. lines .. "\n")
            s:write("sdlua-here", ([[
#!/bin/sh
exec unshare -m sh -c 'mount --bind %s/etc-hosts /etc/hosts && exec %s/sdlua "$@"' sh "$@"
]]):format(s.dir, real))
            server.shell("chmod +x " .. s.dir .. "/sdlua-here")
            s.binary = s.dir .. "/sdlua-here"
        end

        it("is found by addresses and names of seeds", function()
            all_deaf("udp dport 7947")
            c = cluster.new(bed)
            c:new_node("a", bed[1])
            c:new_node("b", bed[2], nil, { seeds = { bed[1].address .. ":7946" } })
            local d = c:new_dispatch("d", bed[3], nil, {
                discovery = "seeds",
                seeds = { "seed.example:7946", "nowhere.invalid:7946" },
            })
            with_hosts(d, bed[2].address .. " seed.example")
            c:launch()
            c:wait_members({ "a", "b", "d" })
            c:wait_linked()
        end)

        it("asks no seed that a reload took away", function()
            local asked = "udp dport 7999"
            nft(bed[2], ("table ip asked {\nchain in {\ntype filter hook input priority 0\n"
                .. "%s counter drop\n}\n}"):format(asked))
            local function questions()
                return tonumber(bed[2]:run("nft list table ip asked"):match("packets (%d+)"))
            end
            local options = { discovery = "seeds", seeds = { bed[2].address .. ":7999" } }
            c = cluster.new(bed)
            local a = c:node("a", bed[1], nil, options)
            server.until_(function()
                return questions() > 3
            end, "the seed is asked")
            options.seeds = {}
            a:write("config/cluster.lua", c:conf(options))
            assert.equal(0, (select(2, a:run("reload"))))
            socket.sleep(2) -- questions under way end
            local before = questions()
            socket.sleep(7) -- the next one would have come
            assert.equal(before, questions())
        end)

        it("is one, also when those without seeds come last", function()
            c = cluster.new(bed, { conf = { discovery = "seeds" } })
            c:new_node("b", bed[2], nil, { seeds = { bed[1].address .. ":7946" } })
            c:new_node("d", bed[3], nil, { seeds = { bed[2].address .. ":7946" } })
            c:launch()
            c:wait_members({ "b", "d" })
            socket.sleep(2) -- b has asked in vain
            c:node("a", bed[1])
            c:wait_members({ "a", "b", "d" })
        end)

        it("is found by a seed that comes later, and again after it was away", function()
            c = cluster.new(bed, { conf = {
                discovery = "seeds",
                profile = "fast",
                seeds = { bed[1].address .. ":7946" },
            } })
            local b = c:node("b", bed[2])
            c:node("a", bed[1])
            c:wait_members({ "a", "b" })
            bed:cut(bed[1], bed[2])
            server.until_(function()
                local m = cluster.members(b).a
                return not m or m.state == "dead"
            end, "a is dead")
            bed:heal()
            c:wait_members({ "a", "b" })
        end)
    end)

    it("reaches those behind a translated port by what they advertise", function()
        c = cluster.new(bed)
        nft(bed[2], "table ip nat {\nchain pre {\ntype nat hook prerouting priority -100\n"
            .. "udp dport 8000 redirect to :7946\n}\n}")
        local b = c:new_node("b", bed[2], nil, { advertise = bed[2].address .. ":8000" })
        local a = c:new_node("a", bed[1])
        c:new_dispatch("d", bed[3])
        c:launch()
        c:wait_members({ "a", "b", "d" })
        assert.equal("10.77.0.2:8000", cluster.members(a).b.address)
        assert.equal("10.77.0.2:8000", cluster.members(b).b.address)
        c:wait_linked()
    end)

    it("refuses a second one of a name, and says where both are", function()
        c = cluster.new(bed)
        local first = c:node("a", bed[1])
        local second = c:new_node("a", bed[2])
        second:launch()
        server.until_(function()
            return second:exit_status()
        end, "the second one gives up")
        assert.are_not.equal(0, second:exit_status())
        local text = second:output()
        assert.truthy(text:find("10.77.0.1:7946", 1, true), text)
        assert.truthy(text:find("10.77.0.2:7946", 1, true), text)
        assert.truthy(first:status())
        assert.equal("alive", cluster.members(first).a.state)
    end)

    it("uses the links of those whom gossip has lost", function()
        c = cluster.new(bed, { conf = { profile = "fast" } })
        local a = c:new_node("a", bed[1], ledger.files)
        local b = c:new_node("b", bed[2], ledger.files)
        local d = c:new_dispatch("d", bed[3])
        c:new_dispatch("e", bed[4])
        c:launch()
        c:wait_linked()
        local function bind(s, uid)
            local conn = bed.switch:inside(client.open, s:at("game"))
            assert.is_true(conn:call("ledger/bind", { uid = uid }).result)
            return conn
        end
        local sender, people = bind(a, "sender"), {}
        for i = 1, 16 do
            people[i] = bind(b, "far" .. i)
        end
        deaf(bed[2], "udp dport 7946")
        for _, i in ipairs({ 1, 3, 4 }) do
            deaf(bed[i], "ip saddr 10.77.0.2 udp dport 7946")
        end
        server.until_(function()
            local m = cluster.members(a).b
            return not m or m.state == "dead"
        end, "b is taken for dead")
        -- The relays that knew where they are forget it.
        for i = 0, 1 do
            d:kill("KILL", d:process("relay", i).pid)
        end
        for i, one in ipairs(people) do
            assert.is_true(sender:call("ledger/post", {
                to = "far" .. i,
                data = { n = i },
            }).result)
            assert.equal(i, one:receive().n)
            one:close()
        end
        sender:close()
    end)

    it("does not shrink while an agent that is new knows nobody", function()
        c = cluster.new(bed)
        local files = { ["config/ports.lua"] = ledger.files["config/ports.lua"] }
        for path, text in pairs(calls.files) do
            files[path] = text
        end
        local a, b = c:new_node("a", bed[1], files), c:new_node("b", bed[2], files)
        c:new_dispatch("d", bed[3])
        c:launch()
        c:wait_members({ "a", "b", "d" })
        c:wait_linked()
        local conns = {}
        for i, s in ipairs({ a, b }) do
            conns[i] = bed.switch:inside(client.open, s:at("game"))
            assert.is_true(conns[i]:call("c/login", { uid = "u" .. i }).result[1])
        end
        local function online()
            return conns[1]:call("c/worker", { fn = "count_online", args = {} }).result.r[1]
        end
        server.until_(function()
            return online() == 2
        end, "both are counted")
        deaf(bed[1], "udp dport 7946-7947")
        local killed = socket.gettime()
        local agent = a:process("agent").pid
        a:kill("KILL", agent)
        repeat
            assert.equal(2, online())
            socket.sleep(0.02)
        until socket.gettime() > killed + 5
        server.until_(function()
            local p = a:process("agent")
            return p.pid ~= agent and p.state == "ready"
        end, "there is another agent")
        for _, conn in ipairs(conns) do
            conn:close()
        end
    end)

    it("may have its dispatch inside a node", function()
        c = cluster.new(bed)
        local a = c:new_node("a", bed[1], { ["config/dispatch.lua"] = "return { relays = 1 }" })
        a.options = "--dispatch"
        local b = c:new_node("b", bed[2])
        c:launch()
        c:wait_members({ "a", "b" })
        cluster.wait_links(a, 4)
        local both = cluster.members(b)
        assert.equal("node", both.a.kind)
        assert.equal(1, both.a.relays)
    end)

    it("is told who leaves, and shows who is there", function()
        c = cluster.new(bed)
        local a, b = c:new_node("a", bed[1]), c:new_node("b", bed[2])
        local d = c:new_dispatch("d", bed[3])
        c:launch()
        c:wait_members({ "a", "b", "d" })
        c:wait_linked()
        local text = a:run("status --cluster")
        for _, line in ipairs({
            "member +kind +state +address",
            "\na +node +alive +10%.77%.0%.1:7946",
            "\nb +node +alive +10%.77%.0%.2:7946",
            "\nd +dispatch +alive +10%.77%.0%.3:7946",
        }) do
            assert.truthy(text:find(line), text)
        end
        local m = cluster.members(d)
        assert.is_true(m.d.self)
        assert.equal(2, m.d.relays)
        assert.equal("node", m.a.kind)
        assert.equal(1, m.a.generation)
        for _, s in ipairs({ b, d }) do
            assert.equal(0, (select(2, s:run("stop"))))
            server.until_(function()
                local left = cluster.members(a)[s.name]
                return not left or left.state == "left"
            end, s.name .. " has left")
            assert.truthy(a:output():find(s.name .. " at %S+ has left"), a:output())
        end
        assert.is_nil(a:output():find("is dead", 1, true))
    end)
end)
