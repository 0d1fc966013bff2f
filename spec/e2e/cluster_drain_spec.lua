-- A node of a cluster that drains: the others learn it, and every message to
-- its conns is delivered once or reported.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local server = require("spec.support.server")

local until_ = server.until_

local UIDS = 30

local FILES = {
    ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
    route = "polite" } }]],
    ["scripts/routes/polite.lua"] = [[
return { bye = function(reason) return { bye = reason } end }]],
    -- One line a report.
    ["scripts/app.lua"] = [[
return { on_undeliverable = function(uid, data, reason)
    local f = io.open("told", "a")
    f:write(uid, " ", data.n, " ", reason, "\n")
    f:close()
end }]],
    ["scripts/controllers/talk.lua"] = [[
local sd = require("sd")
return {
    join = function(self, p) return self:bind_uid(p.uid) end,
    --- To all of them; who was accepted, of those that were.
    say = function(_, p)
        local list = {}
        for i = 1, p.uids do
            list[i] = sd.send_to_uid("u" .. i, { n = p.n }) or false
        end
        return list
    end,
}]],
}

describe("a node of a cluster that drains", function()
    local c

    before_each(function()
        c = cluster_local.start({ "a", "b" }, FILES)
    end)

    after_each(function()
        c:stop()
    end)

    --- What a knows of b.
    local function seen()
        for _, m in ipairs(cjson.decode((c.a:run("status --cluster --json"))).members) do
            if m.name == "b" then
                return m
            end
        end
    end

    local function crowd()
        local list = {}
        for i = 1, UIDS do
            list[i] = client.lines(c.b:port("game"))
            assert.is_true(list[i]:call("talk/join", { uid = "u" .. i }).result)
        end
        return list
    end

    local function begin(verb)
        server.shell(("{ %s; echo $? > %s/code; } > %s/words 2>&1 &"):format(
            c.b:command(verb), c.b.dir, c.b.dir))
    end

    local function wait_end()
        until_(function()
            return (c.b:read("code") or ""):find("\n")
        end, "b has drained")
        assert.equal("0", (c.b:read("code"):gsub("%s", "")))
    end

    --- Lines up to the end of the conn: the numbers, and the goodbye.
    local function drink(conn)
        local numbers, bye = {}, nil
        conn.sock:settimeout(20)
        while true do
            local line, why = conn.sock:receive("*l")
            if not line then
                assert.equal("closed", why)
                conn:close()
                return numbers, bye
            end
            local data = cjson.decode(line)
            numbers[#numbers + 1] = data.n
            bye = data.bye or bye
        end
    end

    --- Every report of a, by "uid n".
    local function reports()
        local map = {}
        for uid, n, reason in (c.a:read("told") or ""):gmatch("(%S+) (%d+) (%S+)\n") do
            local key = uid .. " " .. n
            assert.is_nil(map[key], "reported twice: " .. key)
            map[key] = reason
        end
        return map
    end

    it("is known to do so, at once and until it has left", function()
        local list = crowd()
        assert.is_false(seen().draining)
        begin("drain --rate 1")
        until_(function()
            return seen().draining
        end, "a knows that b drains")
        assert.equal("alive", seen().state)
        assert.matches("\nb +node +alive .* draining\n", (c.a:run("status --cluster")))
        begin("stop")
        until_(function()
            return seen().state == "left"
        end, "a knows that b has left")
        for _, conn in ipairs(list) do
            conn:close()
        end
    end)

    it("takes no part in a reload of the cluster", function()
        local list = crowd()
        begin("drain --rate 1")
        until_(function()
            return seen().draining
        end, "a knows that b drains")
        for generation, run in ipairs({
            { c.a, "reload --cluster --json" },
            { c.dispatch, "dispatch reload --cluster --json" },
        }) do
            local text, code = run[1]:run(run[2])
            assert.equal(0, code, text)
            local states = {}
            for _, n in ipairs(cjson.decode(text).nodes) do
                states[n.node] = n.state .. " " .. n.generation
            end
            assert.same({ a = "reloaded " .. generation + 1, b = "draining 1" }, states)
        end
        for _, conn in ipairs(list) do
            conn:close()
        end
    end)

    it("loses no message: each arrives once, or is reported", function()
        local list, accepted = crowd(), {}
        local x, n = client.lines(c.a:port("game")), 0
        local function say()
            n = n + 1
            for i, ok in ipairs(x:call("talk/say", { uids = UIDS, n = n }).result) do
                accepted[("u%d %d"):format(i, n)] = ok or nil
            end
        end
        say()
        begin("drain --rate 15")
        until_(function()
            say()
            return (c.b:read("code") or ""):find("\n")
        end, "b has drained")
        wait_end()
        local got, count = {}, { sent = 0, arrived = 0, reported = 0, both = 0 }
        for i, conn in ipairs(list) do
            local numbers, bye = drink(conn)
            assert.equal("drain", bye)
            for k, number in ipairs(numbers) do
                assert.is_true(k == 1 or number > numbers[k - 1], "out of order")
                got[("u%d %d"):format(i, number)] = true
                count.arrived = count.arrived + 1
            end
        end
        local told
        until_(function()
            told = reports()
            for key in pairs(accepted) do
                if not got[key] and not told[key] then
                    return false
                end
            end
            return true
        end, "each has an outcome")
        for key in pairs(accepted) do
            count.sent = count.sent + 1
            count.reported = count.reported + (told[key] and 1 or 0)
            if got[key] and told[key] then
                count.both = count.both + 1
                assert.truthy(told[key] == "timeout" or told[key] == "closed",
                    key .. ": " .. told[key])
            end
        end
        assert.is_true(count.arrived >= UIDS and count.reported > 0)
        print(("drain: %d sent, %d arrived, %d reported, %d unknown and arrived"):format(
            count.sent, count.arrived, count.reported, count.both))
        x:close()
    end)
end)
