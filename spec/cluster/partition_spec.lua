-- A network in two parts, one of which has Redis: each serves its own clients,
-- and what was bound on both sides is decided when it heals.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

local TWINS = 5 -- uids that are bound on both sides

local files = {}
for path, text in pairs(ledger.files) do
    files[path] = text
end
files["scripts/app.lua"] = ledger.files["scripts/app.lua"]:gsub("return app", [[
function app.on_uid_closed(uid, _, reason)
    sd.log.info(uid .. " is off: " .. reason)
end
return app]])
files["scripts/controllers/place.lua"] = [[
local sd = require("sd")
local Place = {}
function Place:bind(p)
    return self:bind_uid(p.uid, { policy = p.policy })
end
return Place]]

describe("a cluster in two", function()
    local bed, c, nodes, books
    local conns = {}

    lazy_setup(function()
        bed = hosts.start(6)
        c = cluster.new(bed)
        c:redis(bed[6])
        nodes = {}
        for i, name in ipairs({ "a", "b", "c" }) do
            nodes[i] = c:new_node(name, bed[i], files)
        end
        for i, name in ipairs({ "d", "e" }) do
            c:new_dispatch(name, bed[i + 3])
        end
        c:launch()
        c:wait_linked()
        local endpoints = {}
        for i, s in ipairs(nodes) do
            endpoints[2 * i - 1] = "tcp:" .. s:at("game")
            endpoints[2 * i] = "ws:" .. s:at("web")
        end
        books = ledger.start(endpoints,
            { conns = 18, rate = 100, call = "ledger/post", prefix = "u" }, bed.switch)
    end)

    lazy_teardown(function()
        for _, conn in ipairs(conns) do
            conn:close()
        end
        if books then
            server.shell("kill -KILL " .. books.pid)
        end
        c:stop()
        bed:stop()
    end)

    local function open(side)
        local conn = bed.switch:inside(client.open, nodes[side]:at("game"))
        conns[#conns + 1] = conn
        return conn
    end

    local function bind(side, uid, policy)
        local conn = open(side)
        return conn, conn:call("place/bind", { uid = uid, policy = policy })
    end

    local function bound(side, uid, policy)
        local conn, reply = bind(side, uid, policy)
        assert.is_true(reply.result)
        return conn
    end

    local function is_closed(conn)
        conn.sock:settimeout(0.01)
        local _, why = conn.sock:receive(1)
        conn.sock:settimeout(20)
        return why == "closed"
    end

    local function send(side, uid, n)
        local sender = open(side)
        assert.is_true(sender:call("ledger/post", { to = uid, data = { n = n } }).result)
        sender:close()
    end

    --- Messages from that node arrive at this conn; others may come before.
    local function reaches(side, uid, conn)
        local word = tostring(socket.gettime())
        send(side, uid, word)
        repeat
            local got = assert(conn:receive())
        until got.n == word
    end

    local function known(uid)
        return tonumber(c.store:cli(("hlen 'sd:{u:%s}:conns'"):format(uid)):match("%d+"))
    end

    --- a and d here, the rest and Redis there.
    local function cut()
        for _, here in ipairs({ 1, 4 }) do
            for _, there in ipairs({ 2, 3, 5, 6 }) do
                bed:cut(bed[here], bed[there])
            end
        end
    end

    local twins, both = {}, {}

    --- Each side has its own; what the one without Redis cannot know it refuses.
    local function serve_both_sides()
        for side = 1, 2 do
            for i = 1, TWINS do
                twins[i] = twins[i] or {}
                twins[i][side] = bound(side, "twin" .. i, "kick")
            end
            both[side] = bound(side, "both", "allow")
        end
        local _, denied = bind(1, "one", "refuse")
        assert.equal("unavailable", denied.error.message)
        bound(2, "one", "refuse")
        for side = 1, 2 do
            for i = 1, TWINS do
                reaches(side, "twin" .. i, twins[i][side])
            end
            reaches(side, "both", both[side])
        end
    end

    --- Of two that may not both be there one goes, and is told so once.
    local function put_out_one_of_two()
        local left, kicks = { 0, 0 }, {}
        for i, pair in ipairs(twins) do
            server.until_(function()
                return is_closed(pair[1]) or is_closed(pair[2])
            end, "one of two is put out")
            local side = is_closed(pair[1]) and 2 or 1
            left[side] = left[side] + 1
            for from = 1, 3 do
                reaches(from, "twin" .. i, pair[side])
            end
            assert.is_false(is_closed(pair[side]))
            assert.equal(1, known("twin" .. i))
        end
        for uid, why in c:logs():gmatch("(twin%d) is off: (%w+)") do
            assert.equal("replaced", why)
            kicks[uid] = (kicks[uid] or 0) + 1
        end
        for i = 1, TWINS do
            assert.equal(1, kicks["twin" .. i])
        end
        print(("of %d uids bound on both sides the conn of the minority stays for %d, "
            .. "of the majority for %d; each of the others was kicked once"):format(
            TWINS, left[1], left[2]))
    end

    --- Does what that node sends arrive at this conn soon?
    local function hears(conn, word)
        conn.sock:settimeout(0.5)
        repeat
            local got = conn:receive()
            if got and got.n == word then
                return true
            end
        until not got
        return false
    end

    --- Where both may be there, both hear everybody.
    local function keep_both()
        server.until_(function()
            return known("both") == 2
        end, "Redis knows both")
        for from = 1, 3 do
            server.until_(function() -- nodes learn of each other's by assertions
                local word = tostring(socket.gettime())
                send(from, "both", word)
                return hears(both[1], word) and hears(both[2], word)
            end, "both hear " .. nodes[from].name)
        end
    end

    it("serves its clients, and is one again when it is whole", function()
        cut()
        serve_both_sides()
        bed:heal()
        c:wait_linked()
        put_out_one_of_two()
        keep_both()
        local sum, err = books:finish()
        books = nil
        print("partition: " .. cjson.encode(sum))
        assert.equal(0, sum.wrong, err)
        assert.is_true(sum.delivered > 0)
    end)
end)
