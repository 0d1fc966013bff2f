-- The ledger against a single node: all through one is as lawful as it gets.
-- Then it spoils what it hears itself, and must notice.
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")

describe("the ledger of the cluster", function()
    local bed, s

    lazy_setup(function()
        bed = hosts.start(2)
        s = server.start(ledger.files, bed[1])
    end)

    lazy_teardown(function()
        bed:stop()
    end)

    after_each(function()
        bed:heal()
    end)

    local function endpoints()
        return { "tcp:" .. s:at("game"), "ws:" .. s:at("web") }
    end

    --- Begin a run of about so many messages.
    local function begin(count, options)
        local rate = 400
        local all = { conns = 6, rate = rate, seconds = count / rate, linger = 0.2 }
        for name, value in pairs(options or {}) do
            all[name] = value
        end
        return ledger.start(endpoints(), all, bed[2])
    end

    local function run(count, options)
        return begin(count, options):wait()
    end

    for _, way in ipairs({ "deliver", "post" }) do
        it("finds nothing wrong with one node: " .. way, function()
            local books, err = run(400, {
                call = "ledger/" .. way,
                confirmed = way == "deliver",
            })
            assert.equal("", err)
            assert.equal(0, books.wrong)
            assert.equal(books.sent, books.delivered)
            assert.is_true(books.sent > 50)
            assert.equal(0, books.strange)
        end)
    end

    it("ends when it is told", function()
        local books = ledger.start(endpoints(), { conns = 4 }, bed[2])
        local sum = books:finish()
        assert.equal(sum.sent, sum.delivered)
    end)

    it("finds reports, not losses, when receivers come and go", function()
        local books, err = run(800, { moves = 20 })
        assert.equal("", err)
        assert.equal(0, books.wrong)
        assert.is_true(books.moves > 5)
        assert.is_true(books.reconnects > 5)
        assert.is_true(books.delivered > 0)
    end)

    for _, way in ipairs({ "deliver", "post" }) do
        it("finds nothing wrong with workers that die: " .. way, function()
            local books = ledger.start(endpoints(), {
                conns = 12,
                rate = 300,
                call = "ledger/" .. way,
                confirmed = way == "deliver",
            }, bed[2])
            for i = 1, 4 do
                local worker = s:process("worker", i % 2)
                s:kill("KILL", worker.pid)
                server.until_(function()
                    local p = s:process("worker", i % 2)
                    return p.pid ~= worker.pid and p.state == "ready" and s:conns() == 12
                end, "the next worker serves, and all conns are back")
            end
            local sum, err = books:finish()
            assert.equal("", err)
            assert.equal(0, sum.wrong)
            assert.is_true(sum.reconnects > 0)
            assert.is_true(sum.sender_died + sum.uid_moved + sum.reported > 0)
            assert.is_true(sum.delivered > 0)
        end)
    end

    it("finds reports when two nodes do not know each other", function()
        local other = server.start(ledger.files, bed[2])
        finally(function()
            other:stop()
        end)
        local books = ledger.start({ "tcp:" .. s:at("game"), "tcp:" .. other:at("game") },
            { conns = 6, rate = 400, seconds = 0.5 }, bed[1])
        local sum, err = books:wait()
        assert.equal("", err)
        assert.is_true(sum.delivered > 0 and sum.reported > 0)
        assert.equal(sum.sent, sum.delivered + sum.reported)
        assert.same({ offline = sum.reported }, sum.words)
    end)

    for fault, which in pairs({ lose = "lost", double = "doubled", swap = "reordered" }) do
        it("notices what is " .. which, function()
            local books, err = run(200, {
                fault = fault .. ":10",
                patience = fault == "lose" and 5, -- it is waited for in vain
            })
            assert.is_true(books[which] >= 1)
            assert.equal(books.wrong, books[which])
            assert.equal(books.sent, books.delivered + books.wrong)
            assert.truthy(err:find(which .. ": message", 1, true))
        end)
    end

    it("notices what the node says wrongly, and what it does not say", function()
        s:write("scripts/controllers/liar.lua", [[
local sd = require("sd")
local Liar = { }
function Liar:deny(p)
    assert(sd.deliver_to_uid(p.to, p.data))
    return nil, "offline"
end
function Liar:doubt(p)
    assert(sd.deliver_to_uid(p.to, p.data))
    return nil, "timeout: or not"
end
function Liar:say_nothing(p)
    return true
end
function Liar:mistake(p)
    return sd.deliver_to_uid(self.uid, p.data)
end
function Liar:report(p)
    return nil, "busy"
end
return Liar]])
        local out, status = s:run("reload")
        assert.equal(0, status, out)
        local classes, runs = {
            deny = "denied",
            doubt = "timeout_delivered",
            say_nothing = "lost",
            mistake = "misdirected",
            report = "reported",
        }, {}
        for way in pairs(classes) do
            runs[way] = begin(40, { call = "liar/" .. way, prefix = way, patience = 5 })
        end
        for way, name in pairs(classes) do
            local books = runs[way]:wait()
            assert.is_true(books.sent > 0)
            assert.equal(books.sent, books[name], way)
        end
    end)

    it("gives up a node that has lost its network, and comes back", function()
        local books = ledger.start(endpoints(), { conns = 4, rate = 100, silence = 1 }, bed[2])
        bed:cut(bed[1], bed[2])
        -- Conns of the node end there, too: what was on its way is reset.
        server.until_(function()
            return bed[2]:run("ss -Htn state established") == ""
        end, "the conns are given up")
        bed:heal()
        server.until_(function()
            local _, n = bed[2]:run("ss -Htn state established"):gsub("10.77", "")
            return n == 8
        end, "the conns are back")
        local sum, err = books:finish()
        assert.equal("", err)
        assert.equal(0, sum.wrong)
        assert.is_true(sum.silent >= 4)
    end)
end)
