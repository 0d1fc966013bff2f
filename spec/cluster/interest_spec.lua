-- Publishes and sends to groups between nodes: they reach who wants them, and
-- cross no other link; whatever happens to relays, which have to be told again.
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local server = require("spec.support.server")

local until_ = server.until_

local files = {
    ["config/ports.lua"] = [[
return { game = { listen = "0.0.0.0:0", protocol = "tcp", max_subscriptions = 0 } }]],
    ["scripts/controllers/wish.lua"] = [[
local sd = require("sd")
local Wish = {}

function Wish:login(p)
    return { self:bind_uid(p.uid) }
end

function Wish:want(p)
    for _, topic in ipairs(p) do
        assert(self:subscribe(topic))
    end
    return true
end

function Wish:leave(p)
    for _, topic in ipairs(p) do
        self:unsubscribe(topic)
    end
    return true
end

--- Until it is taken: "busy" is not delivered.
local function publish(topic, data)
    for _ = 1, 10000 do
        local ok, err = sd.publish(topic, data)
        if ok or err ~= "busy" then
            return ok, err
        end
        sd.sleep(0.005)
    end
    return nil, "busy"
end

--- p.n messages, the numbers from p.from on; "#" in the topic is the number.
function Wish:publish(p)
    for i = p.from or 1, (p.from or 1) + (p.n or 1) - 1 do
        assert(publish((p.topic:gsub("#", i)), { i = i }))
    end
    return true
end

function Wish:group(p)
    return { sd.send_to_group(p.group, { group = p.group }) }
end

function Wish:all()
    return { sd.send_to_all({ all = true }) }
end

function Wish:enter(p)
    return { sd.add_to_group(p.uid, p.group) }
end

--- A uid enters each of n groups, which are sent to at once.
function Wish:gather(p)
    if p.in_task then
        return sd.task("gather"):all(p.uid, p.n)
    end
    return require("gather")(p.uid, p.n)
end

function Wish:scatter(p)
    for i = 1, p.n do
        assert(sd.remove_from_group(p.uid, "new" .. i))
    end
    return true
end

return Wish]],
    ["scripts/gather.lua"] = [[
local sd = require("sd")
return function(uid, n)
    for i = 1, n do
        assert(sd.add_to_group(uid, "new" .. i))
        assert(sd.send_to_group("new" .. i, { i = i }))
    end
    return true
end]],
    ["scripts/tasks/gather.lua"] = [[
local Gather = {}
function Gather:all(uid, n)
    return require("gather")(uid, n)
end
return Gather]],
}

--- Conns go to and fro between the workers while Redis says so.
local wandering = [[
local core = require("sd.core")
local sd = require("sd")
local app = {}
function app.on_start()
    if sd.role ~= "worker" then return end
    sd.every(0.02, function()
        if sd.redis():get("wander") ~= "yes" then return end
        for _, slot in ipairs(core.worker_slots({})) do
            if slot ~= sd.slot then core.move_conns(slot, 1) end
        end
    end)
end
return app]]

describe("interest", function()
    local bed, c, a, b, quiet, d
    local open = {}

    lazy_setup(function()
        bed = hosts.start(4)
        c = cluster.new(bed)
        c:redis(bed[4])
        a = c:node("a", bed[1], files)
        b = c:new_node("b", bed[2], files)
        b:write("config/server.lua", [[return { workers = 1, tasks = 0, name = "b" }]])
        b:launch()
        b:wait_ready()
        quiet = c:new_node("c", bed[3], files)
        quiet:write("scripts/app.lua", wandering)
        quiet.env = "SD_SPEC_MOVE=1"
        quiet:launch()
        quiet:wait_ready()
        d = c:dispatch("d", bed[4])
        c:wait_linked()
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    --- A client of a node, which has subscribed to all these.
    local function at(node, topics)
        local one = bed.switch:inside(client.open, node:at("game"))
        open[#open + 1] = one
        if topics then
            assert.is_true(one:call("wish/want", topics).result)
        end
        return one
    end

    --- The links of a member; those to one other, if it is named.
    local function links(s, to)
        local text, code = s:run("status --cluster --json")
        local list = {}
        for _, l in ipairs(code == 0 and cjson.decode(text).links or {}) do
            if not to or l.to == to then
                list[#list + 1] = l
            end
        end
        return list
    end

    local function sum(list, field)
        local n = 0
        for _, l in ipairs(list) do
            n = n + l[field]
        end
        return n
    end

    --- Wait until both relays know so many filters of a node, and that these
    --- are all; and the node has counted what came before it had them.
    local function wait_known(node, filters)
        until_(function()
            local list, n = links(d, node.name), 0
            for _, l in ipairs(list) do
                n = n + (l.state == "open" and not l.flooded and l.filters == filters and 1 or 0)
            end
            return n == 2 and sum(links(node), "filters") == 2 * filters
        end, ("relays know %d filters of %s: %s"):format(filters, node.name,
            cjson.encode(links(d, node.name))))
    end

    after_each(function()
        for _, one in ipairs(open) do
            one:close()
        end
        open = {}
        for _, node in ipairs({ a, b, quiet }) do
            wait_known(node, 0)
        end
    end)

    local function receive(one)
        return table.remove(one.pushes, 1) or assert(one:receive())
    end

    --- The numbers that come until the last of n has; each how often.
    local function numbers(one, n)
        local seen, count = {}, 0
        while count < n do
            local i = receive(one).i
            seen[i] = (seen[i] or 0) + 1
            count = count + 1
        end
        return seen
    end

    local function assert_once(seen, n)
        for i = 1, n do
            assert.equal(1, seen[i], i)
        end
    end

    local function received(node)
        return sum(links(node), "received")
    end

    --- How many messages more have come to the node, when the last of them was
    --- received long enough ago to be counted.
    local function more_received(node, before, least)
        until_(function()
            return received(node) >= before + least
        end, "messages are counted")
        return received(node) - before
    end

    it("brings publishes to subscribers of other nodes", function()
        local one, two = at(b, { "news/+" }), at(quiet, { "news/#", "news/x" })
        wait_known(b, 1)
        wait_known(quiet, 2)
        at(a):call("wish/publish", { topic = "news/x", n = 20 })
        assert_once(numbers(one, 20), 20)
        assert_once(numbers(two, 20), 20)
    end)

    it("keeps links free of what nobody wants behind them", function()
        local one, hears = at(b, { "load/#" }), at(quiet, { "other" })
        wait_known(b, 1)
        wait_known(quiet, 1)
        local before = received(quiet)
        local busy = received(b)
        local sender = at(a)
        sender:call("wish/publish", { topic = "load/#", n = 300 })
        assert_once(numbers(one, 300), 300)
        assert.equal(300, more_received(b, busy, 300))
        -- Behind all that, everybody is meant.
        sender:call("wish/all")
        assert.is_true(receive(hears).all)
        local workers = 2
        assert.equal(workers, more_received(quiet, before, workers))
    end)

    it("crosses a link once, however many are behind it", function()
        local many = {}
        for i = 1, 40 do
            many[i] = at(b, { "crowd/+", "crowd/x" })
        end
        wait_known(b, 2)
        local before = received(b)
        at(a):call("wish/publish", { topic = "crowd/x", n = 25 })
        for _, one in ipairs(many) do
            assert_once(numbers(one, 25), 25)
        end
        assert.equal(25, more_received(b, before, 25))
    end)

    it("begins with the first subscriber and ends with the last", function()
        local sender = at(a)
        local one, two = at(b, { "tide" }), at(b, { "tide" })
        wait_known(b, 1)
        assert.is_true(one:call("wish/leave", { "tide" }).result)
        sender:call("wish/publish", { topic = "tide", n = 5 })
        assert_once(numbers(two, 5), 5)
        two:close()
        wait_known(b, 0)
        local before = received(b) -- now that it is known to hold none
        sender:call("wish/publish", { topic = "tide", n = 50 })
        one:call("wish/want", { "end" })
        wait_known(b, 1)
        sender:call("wish/publish", { topic = "end" })
        assert.equal(1, receive(one).i)
        assert.equal(1, more_received(b, before, 1))
    end)

    it("knows groups of any name", function()
        local sender = at(a)
        local one = at(b)
        assert.is_true(one:call("wish/login", { uid = "ann" }).result[1])
        for i, group in ipairs({ "red", "a/+/b", "#", "50%\1", "$x" }) do
            assert.is_true(sender:call("wish/enter", { uid = "ann", group = group }).result[1])
            wait_known(b, i)
            sender:call("wish/group", { group = group })
            assert.equal(group, receive(one).group)
        end
    end)

    for _, who in ipairs({ "worker", "task" }) do
        it("lets a " .. who .. " that has put somebody into a group send to it at once", function()
            local one = at(b)
            assert.is_true(one:call("wish/login", { uid = "bob" }).result[1])
            local n = 100
            local sender = at(a)
            local reply = sender:call("wish/gather", {
                uid = "bob",
                n = n,
                in_task = who == "task",
            })
            assert.is_true(reply.result, cjson.encode(reply))
            assert_once(numbers(one, n), n)
            sender:call("wish/scatter", { uid = "bob", n = n })
        end)
    end

    it("follows conns that go to another worker", function()
        local some = {}
        for i = 1, 5 do
            some[i] = at(quiet, { "way/#", "way/of/" .. i })
        end
        local slots, sender = {}, at(a)
        c.store:cli("set wander yes")
        finally(function()
            c.store:cli("del wander")
        end)
        until_(function()
            slots[some[1]:call("probe/who").result.slot] = true
            return slots[0] and slots[1]
        end, "conns wander")
        c.store:cli("del wander")
        until_(function() -- each has its own and, with others, one more
            local n = sum(links(d, "c"), "filters")
            return n == 2 * (5 + 1) or n == 2 * (5 + 2)
        end, "the workers they have left want nothing any more")
        sender:call("wish/publish", { topic = "way/home", n = 100 })
        for i = 1, 5 do
            assert_once(numbers(some[i], 100), 100)
        end
    end)

    local function relay_pid(i)
        return d:process("relay", i).pid
    end

    it("is told again to relays that were killed, and nothing is lost", function()
        local one = at(b, { "storm/#" })
        wait_known(b, 1)
        local sender, from = at(a), 1
        for round = 1, 4 do
            local index = round % 2
            local pid = relay_pid(index)
            sender:send(client.packet("wish/publish",
                { topic = "storm/#", n = 400, from = from }, round))
            d:kill("KILL", pid)
            assert.is_true(assert(sender:receive()).result)
            from = from + 400
            until_(function()
                local now = relay_pid(index)
                return now > 0 and now ~= pid
            end)
            c:wait_linked()
            wait_known(b, 1)
        end
        sender:call("wish/publish", { topic = "storm/#", n = 100, from = from })
        assert_once(numbers(one, from + 99), from + 99)
    end)

    it("goes for thousands of filters, told again in pieces", function()
        local n, topics = 5000, {}
        for i = 1, n do
            topics[i] = i % 5 == 0 and ("deep/+/%d/#"):format(i) or "flat/" .. i
        end
        local one = at(b, topics)
        wait_known(b, n)
        local before = received(b)
        local pid = relay_pid(0)
        d:kill("KILL", pid)
        until_(function()
            local now = relay_pid(0)
            return now > 0 and now ~= pid
        end)
        -- Meanwhile some come and some go.
        local gone, new = {}, {}
        for i = 1, 100 do
            gone[i], new[i] = topics[i * 7], "late/" .. i
        end
        assert.is_true(one:call("wish/leave", gone).result)
        assert.is_true(one:call("wish/want", new).result)
        c:wait_linked()
        wait_known(b, n)
        local sender = at(a)
        sender:call("wish/publish", { topic = "late/#", n = 100 })
        assert_once(numbers(one, 100), 100)
        sender:call("wish/publish", { topic = "deep/x/4995/y", from = 7 })
        sender:call("wish/publish", { topic = "flat/4999", from = 8 })
        sender:call("wish/publish", { topic = "flat/7", from = 9 }) -- gone
        sender:call("wish/publish", { topic = "late/1", from = 10 })
        local seen = numbers(one, 3)
        assert.same({ [7] = 1, [8] = 1, [10] = 1 }, seen)
        assert.equal(103, more_received(b, before, 103))
    end)
end)
