-- Who is no member of the cluster, and what he may send to its ports: the
-- members stay, messages go on, and nothing grows.
local cjson = require("cjson")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

local PORT = 7950

describe("strangers", function()
    local bed, c, a, b, d, kept, before

    --- The stranger's program, on the third host; the lines it prints.
    local function strange(host, ...)
        local words = table.concat({ ... }, " ")
        local out, status = host:run(
            "/usr/bin/python3 spec/support/strangers.py " .. words)
        assert.equal(0, status, out)
        local lines = {}
        for line in out:gmatch("{[^\n]*}") do
            lines[#lines + 1] = cjson.decode(line)
        end
        return unpack(lines)
    end

    lazy_setup(function()
        bed = hosts.start(3)
        c = cluster.new(bed)
        c:redis(bed.switch)
        a = c:new_node("a", bed[1], ledger.files)
        b = c:new_node("b", bed[2], ledger.files)
        c:launch()
        kept = bed.dir .. "/kept"
        local _, out = bed[2]:spawn(
            "/usr/bin/python3 spec/support/strangers.py listen 2 " .. kept)
        server.until_(function()
            local f = io.open(out)
            local text = f:read("*a")
            f:close()
            return text:find("listening", 1, true)
        end, "somebody listens")
        d = c:dispatch("d", bed[2], {
            ["config/dispatch.lua"] = "return { relays = 1, port = " .. PORT .. " }",
        })
        c:wait_members({ "a", "b", "d" })
        c:wait_linked()
        server.until_(function()
            local f = io.open(kept)
            return f and f:close()
        end, "enough was heard")
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    local function pids()
        local list = {}
        for _, s in ipairs(c.members) do
            for _, p in ipairs(s:status().processes) do
                list[#list + 1] = p.pid
            end
        end
        return list
    end

    local function memory()
        return d:process("relay").memory
    end

    local begun, books
    local complaints = {} -- by member

    before_each(function()
        before = { pids = pids(), memory = memory() }
        begun = socket.gettime()
        books = ledger.start({ "tcp:" .. a:at("game"), "tcp:" .. b:at("game") },
            { conns = 6, rate = 50, call = "ledger/post" }, bed.switch)
    end)

    after_each(function()
        local sum, err = books:finish()
        assert.equal("", err)
        assert.equal(sum.sent, sum.delivered, cjson.encode(sum))
        c:wait_members({ "a", "b", "d" })
        c:wait_linked()
        assert.same(before.pids, pids())
        local grown = memory() - before.memory
        assert.is_true(grown < 16 * 2 ^ 20, grown .. " bytes more")
        for _, s in ipairs(c.members) do
            local text = s:output()
            for _, word in ipairs({ "is dead", "has left" }) do
                assert.is_nil(text:find(word, 1, true), text)
            end
            local _, n = text:gsub("was dropped:", "")
            local _, m = text:gsub("was refused:", "")
            local most = 2 * (socket.gettime() - begun) + 4
            assert.is_true(n + m - (complaints[s] or 0) <= most, text)
            complaints[s] = n + m
        end
    end)

    it("get no answer to datagrams, made up, kept or changed", function()
        for _, s in ipairs({ a, d }) do
            local came = strange(bed[3], "datagrams", kept, s.host.address)
            assert.is_true(came.kept > 5)
            assert.is_true(came.sent > 500)
            assert.equal(0, came.answers)
            assert.truthy(s:output():find("a datagram from 10.77.0.3:%d+ was dropped"))
            local dropped = {}
            for _, line in ipairs(cjson.decode((s:run("status --cluster --json"))).dropped) do
                dropped[line.reason] = line.count
            end
            for _, reason in ipairs({ "size", "magic", "version", "unknown_key", "bad_tag" }) do
                assert.is_true((dropped[reason] or 0) > 0, reason)
            end
            assert.is_nil(dropped.own)
            assert.matches("\nunknown_key +%d+\n", (s:run("status --cluster")))
        end
    end)

    it("are refused by a relay, whatever they say", function()
        local came = strange(bed[3], "links", kept, d.host.address, PORT)
        print(cjson.encode(came))
        assert.is_true(came.questions > 0 and came.proofs > 0)
        assert.equal(0, came.garbage.answered)
        -- The relay was asked this before.
        assert.equal(0, came.replayed.answered)
        assert.equal(0, came.long.answered)
        assert.equal(0, came.changed.answered)
        assert.truthy(d:output():find("a link from 10.77.0.3:%d+ was refused"))
    end)

    it("keep nobody out, however many say nothing", function()
        local pid, out = bed[3]:spawn(
            ("/usr/bin/python3 spec/support/strangers.py silent %s %d 3000"):format(
                d.host.address, PORT))
        finally(function()
            server.shell("kill " .. pid .. " 2> /dev/null")
        end)
        local function read()
            local f = io.open(out)
            local text = f:read("*a")
            f:close()
            return text
        end
        server.until_(function()
            return read():find("connected", 1, true)
        end, "they are connected")
        -- A worker that is new gets in, past all of them.
        local worker = a:process("worker", 1)
        a:kill("KILL", worker.pid)
        server.until_(function()
            local p = a:process("worker", 1)
            return p.pid ~= worker.pid and p.state == "ready"
        end, "there is another worker")
        c:wait_linked()
        assert.is_nil(read():find("left", 1, true))
        server.until_(function()
            return not server.is_alive(pid)
        end, "they are dropped")
        local came = cjson.decode(read():match("\n({.*})"))
        print(cjson.encode(came))
        assert.equal(0, came.left)
        assert.equal(3000, came.ended)
        assert.is_true(came.waited > 0 and came.waited <= 256)
        before.pids = pids()
        books:finish()
        books = ledger.start({ "tcp:" .. a:at("game"), "tcp:" .. b:at("game") },
            { conns = 6, rate = 50, call = "ledger/post", seconds = 0.3 }, bed.switch)
    end)

    it("that have the key do no more harm than to be closed", function()
        local came = strange(bed[3], "traitor", d.host.address, PORT, c.options.key)
        print(cjson.encode(came))
        assert.is_true(came.joined > 10)
        assert.equal(came.joined, came.closed)
    end)
end)
