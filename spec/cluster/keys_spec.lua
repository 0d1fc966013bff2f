-- The key of a cluster: who has it is a member, and it changes while they run.
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local socket = require("socket")

describe("a cluster's key", function()
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
        bed:heal()
    end)

    local function count(text, pattern)
        return select(2, text:gsub(pattern, ""))
    end

    describe("beside another cluster", function()
        local other

        after_each(function()
            other:stop()
        end)

        for what, options in pairs({
            ["of another name"] = { name = "other" },
            ["with another key"] = {},
        }) do
            it(what .. " is heard by nobody there", function()
                c = cluster.new(bed)
                if options.name then
                    options.key = c.options.key
                end
                other = cluster.new(bed, options)
                local a = c:new_node("a", bed[1])
                c:new_dispatch("d", bed[2])
                c:launch()
                other:new_node("x", bed[2])
                other:new_node("a", bed[3]) -- it may have a name of ours
                other:launch()
                local begun = socket.gettime()
                c:wait_members({ "a", "d" })
                other:wait_members({ "x", "a" })
                server.until_(function()
                    return a:output():find("a datagram from 10.77.0", 1, true)
                end, "strangers are logged")
                c:wait_members({ "a", "d" })
                other:wait_members({ "x", "a" })
                local most = socket.gettime() - begun + 3
                local n = count(a:output(), "a datagram from")
                assert.is_true(n <= most, n .. " complaints")
            end)
        end
    end)

    it("is what lets anybody out of the host", function()
        c = cluster.new(bed, { key = false })
        local a = c:new_node("a", bed[1])
        c:new_dispatch("d", bed[1])
        local far = c:new_node("far", bed[2])
        c:launch()
        c:wait_members({ "a", "d" }, { a })
        cluster.wait_links(c.members[2], 2)
        assert.truthy(cluster.members(a).a.address:find("^127%.0%.0%.1:"))
        assert.is_nil(cluster.members(far).a)
        local open = c:new_node("open", bed[3], nil, { bind = "0.0.0.0:7946" })
        local out, status = open:run("start")
        assert.are_not.equal(0, status)
        assert.truthy(out:find("cluster.key", 1, true), out)
    end)

    it("changes without losing anybody", function()
        c = cluster.new(bed)
        local old, new = c.options.key, cluster.key()
        for i, name in ipairs({ "a", "b" }) do
            c:new_node(name, bed[i])
        end
        local d = c:new_dispatch("d", bed[3])
        c:launch()
        c:wait_members({ "a", "b", "d" })
        c:wait_linked()
        for _, keys in ipairs({ { old, new }, { new, old }, { new } }) do
            for _, s in ipairs(c.members) do
                s:write("config/cluster.lua", c:conf({ key = keys }))
                local out, status = s:run("reload")
                assert.equal(0, status, out)
                c:wait_members({ "a", "b", "d" })
            end
        end
        -- New links and members have the new key alone.
        c.options.key = new
        d:kill("KILL", d:process("relay", 0).pid)
        d:kill("KILL", d:process("relay", 1).pid)
        c:node("late", bed[4])
        c:wait_members({ "a", "b", "d", "late" })
        c:wait_linked()
        for _, s in ipairs(c.members) do
            for _, word in ipairs({ "is dead", "has left", "a datagram from" }) do
                assert.is_nil(s:output():find(word, 1, true), s:output())
            end
        end
    end)

    it("changes while one is away and another one dies in every step", function()
        c = cluster.new(bed, { conf = { profile = "fast" } })
        local old, new = c.options.key, cluster.key()
        local a, b = c:new_node("a", bed[1]), c:new_node("b", bed[2])
        local d = c:new_dispatch("d", bed[3])
        c:launch()
        c:wait_members({ "a", "b", "d" })
        local function take(s, keys)
            s:write("config/cluster.lua", c:conf({ key = keys }))
            local out, status = s:run("reload")
            assert.equal(0, status, out)
        end
        for _, keys in ipairs({ { old, new }, { new, old }, { new } }) do
            bed:cut(bed[2], bed[1])
            bed:cut(bed[2], bed[3])
            take(a, keys)
            bed:crash(bed[1])
            take(d, keys)
            bed:heal()
            a:launch()
            a:wait_ready()
            -- b is one step behind, and a member none the less
            c:wait_members({ "a", "b", "d" })
            c:wait_linked()
            take(b, keys)
            c:wait_members({ "a", "b", "d" })
        end
        c.options.key = new
        c:node("late", bed[4])
        c:wait_members({ "a", "b", "d", "late" })
    end)
end)
