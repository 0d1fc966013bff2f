-- Rolling reloads: who runs one and the nodes of it, in a network that loses,
-- doubles and delays, in virtual time.
local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("cluster/roll.h")

local function text(slice)
    return ffi.string(slice.p, slice.len)
end

local function slice(s)
    return ffi.new("struct slice", s, #s)
end

local function bytes_of(msg)
    local buf = ffi.new("struct buf")
    lib.roll_msg_write(buf, msg)
    local s = ffi.string(buf.p + buf.head, buf.len)
    lib.buf_fini(buf)
    return s
end

--- A network of nodes with a claim each. `fate(from, to)`: how often something
--- arrives.
local function network(names, fate)
    local net = { now = 1000, nodes = {}, rolls = {}, flying = {}, began = {} }
    for i, name in ipairs(names) do
        local claim = ffi.new("struct claim")
        lib.claim_init(claim, i * 10, i)
        net.nodes[i * 10] = { name = name, boot = i * 10, claim = claim, generation = 1 }
    end
    net.boots = {}
    for boot in pairs(net.nodes) do
        net.boots[#net.boots + 1] = boot
    end
    table.sort(net.boots)

    function net.send(from, to, s)
        for _ = 1, fate and fate(from, to, net) or 1 do
            net.flying[#net.flying + 1] = { at = net.now + math.random(0, 30), to = to, s = s }
        end
    end

    --- What the node's master does: true, or why not.
    net.outcome = function() return true end

    function net:hear(to, s)
        local m = ffi.new("struct roll_msg")
        assert(lib.roll_msg_read(m, slice(s)) == 0)
        if m.type == lib.ROLL_STATE then
            for _, r in ipairs(self.rolls) do
                if r.self == to and not r.is_over then
                    lib.roll_take(r.roll, self.now, m)
                end
            end
            return
        end
        local node, answer = self.nodes[to], ffi.new("struct roll_msg")
        if not node or node.is_dead then
            return
        end
        local name = slice("n" .. tonumber(m.from))
        if lib.claim_take(node.claim, self.now, m, name, node.generation, answer) then
            self.began[#self.began + 1] = node.name
            node.ends = self.now + 100
        end
        if answer.type ~= 0 then
            self.send(to, tonumber(answer.to), bytes_of(answer))
        end
    end

    function net:roll(self_boot, id)
        local r = { self = self_boot, done = {}, hooks = ffi.new("struct roll_hooks") }
        r.hooks.send = function(_, boot, s, len)
            net.send(self_boot, tonumber(boot), ffi.string(s, len))
        end
        r.hooks.on_done = function(_, n)
            r.done[#r.done + 1] = ffi.string(n.name) .. "=" .. n.generation
        end
        r.roll = lib.roll_new(id, self_boot, r.hooks)
        for _, boot in ipairs(self.boots) do
            lib.roll_add(r.roll, boot, slice(self.nodes[boot].name), 1)
        end
        self.rolls[#self.rolls + 1] = r
        return r
    end

    local function deliver(self)
        local due, rest = {}, {}
        for _, d in ipairs(self.flying) do
            table.insert(d.at <= self.now and due or rest, d)
        end
        self.flying = rest
        for _, d in ipairs(due) do
            self:hear(d.to, d.s)
        end
    end

    local function end_reloads(self)
        for _, boot in ipairs(self.boots) do
            local n = self.nodes[boot]
            if n.ends and self.now >= n.ends and not n.is_dead then
                n.ends = nil
                local ok = self.outcome(n)
                n.generation = n.generation + (ok == true and 1 or 0)
                lib.claim_end(n.claim, ok == true, n.generation, slice(ok == true and "" or ok))
            end
        end
    end

    function net:step()
        self.now = self.now + 10
        deliver(self)
        end_reloads(self)
        local over = true
        for _, r in ipairs(self.rolls) do
            if not r.is_over and self.now % 250 == 0 then
                lib.roll_tick(r.roll, self.now)
            end
            if not r.is_over and lib.roll_has_ended(r.roll) then
                r.is_over = true
                r.why = text(lib.roll_why(r.roll))
            end
            over = over and r.is_over
        end
        return over
    end

    function net:run()
        for _ = 1, 60000 do
            if self:step() then
                return
            end
        end
        error("it does not end")
    end

    function net:free()
        for _, r in ipairs(self.rolls) do
            local p = ffi.new("struct roll *[1]", r.roll)
            lib.roll_free(p)
            r.hooks.send:free()
            r.hooks.on_done:free()
        end
        for _, boot in ipairs(self.boots) do
            lib.claim_fini(self.nodes[boot].claim)
        end
    end

    return net
end

describe("cluster/roll", function()
    local net

    after_each(function()
        net:free()
    end)

    it("has all nodes reload once, by name, one after the other", function()
        net = network({ "c", "a", "b" })
        local r = net:roll(20, 7)
        net:run()
        assert.equal("", r.why)
        assert.same({ "a", "b", "c" }, net.began)
        assert.same({ "a=2", "b=2", "c=2" }, r.done)
    end)

    it("does so in a network that loses a third and doubles a third", function()
        for id = 1, 20 do
            net = network({ "a", "b", "c", "d" }, function()
                return math.random(0, 2)
            end)
            local r = net:roll(10, id)
            net:run()
            assert.equal("", r.why)
            assert.same({ "a", "b", "c", "d" }, net.began)
            if id < 20 then
                net:free()
            end
        end
    end)

    it("stops at the first failure, and says of whom", function()
        net = network({ "a", "b", "c" })
        net.outcome = function(n)
            return n.name ~= "b" or "scripts/app.lua:3: broken"
        end
        local r = net:roll(30, 7)
        net:run()
        assert.equal("b: scripts/app.lua:3: broken", r.why)
        assert.same({ "a", "b" }, net.began)
        assert.equal(1, net.nodes[30].generation)
    end)

    it("begins nowhere when somebody cannot be reached", function()
        net = network({ "a", "b", "c" }, function(from, to)
            return (from == 30 or to == 30) and 0 or 1
        end)
        local r = net:roll(10, 7)
        net:run()
        assert.equal("c: it does not answer; nothing was reloaded", r.why)
        assert.same({}, net.began)
    end)

    it("ends when the one whose turn it is falls silent, or is lost", function()
        for _, how in ipairs({ "silent", "lost" }) do
            net = network({ "a", "b", "c" })
            local r = net:roll(10, 7)
            net.outcome = function(n)
                if n.name == "a" then
                    net.nodes[20].is_dead = true
                    if how == "lost" then
                        lib.roll_lost(r.roll, 20, "is dead")
                    end
                end
                return true
            end
            net:run()
            assert.matches(how == "lost" and "^b: it is dead$" or "^b: it does not answer any more",
                r.why)
            assert.same({ "a" }, net.began)
            if how == "silent" then
                net:free()
            end
        end
    end)

    it("is the only one of its cluster, whoever begins when", function()
        for _ = 1, 20 do
            net = network({ "a", "b", "c", "d" })
            local one, other = net:roll(10, 7), net:roll(40, 8)
            net:run()
            assert.is_true((one.why == "") ~= (other.why == ""), one.why .. "|" .. other.why)
            assert.matches("^%a: a rolling reload is under way, begun by n[14]0$",
                one.why .. other.why)
            assert.same({ "a", "b", "c", "d" }, net.began)
            net:free()
        end
        net = network({ "a" })
    end)

    it("is followed by another one", function()
        net = network({ "a", "b" })
        net:roll(10, 7)
        net:run()
        local r = net:roll(20, 8)
        net:run()
        assert.equal("", r.why)
        assert.same({ "a=3", "b=3" }, r.done)
    end)

    it("leaves nobody claimed whose owner has gone", function()
        net = network({ "a", "b" })
        local gone = net:roll(10, 7)
        for _ = 1, 30 do
            net:step()
        end
        gone.is_over = true -- its process has died
        local early = net:roll(20, 8)
        net:run()
        assert.matches("under way, begun by n10$", early.why)
        net.now = net.now + lib.CLAIM_LEASE
        local late = net:roll(20, 9)
        net:run()
        assert.equal("", late.why)
    end)

    it("ends behind the node at hand when it is stopped", function()
        net = network({ "a", "b", "c" })
        local r = net:roll(10, 7)
        net.outcome = function()
            lib.roll_stop(r.roll, "enough")
            return true
        end
        net:run()
        assert.equal("enough", r.why)
        assert.same({ "a" }, net.began)
        assert.same({ "a=2" }, r.done)
    end)

    it("ends behind one that was told to go, before it says that it does", function()
        net = network({ "a", "b", "c" })
        local r = net:roll(10, 7)
        local function is_told()
            for _, d in ipairs(net.flying) do
                local m = ffi.new("struct roll_msg")
                assert(lib.roll_msg_read(m, slice(d.s)) == 0)
                if m.type == lib.ROLL_GO then
                    return true
                end
            end
        end
        repeat
            net:step()
        until is_told()
        lib.roll_stop(r.roll, "enough")
        net:run()
        assert.equal("enough", r.why)
        assert.same({ "a" }, net.began)
        assert.same({ "a=2" }, r.done)
    end)

    it("does not say of one that has reloaded and left that it failed", function()
        net = network({ "a", "b", "c" })
        local r = net:roll(10, 7)
        net.outcome = function(n)
            if n.name == "b" then
                lib.roll_lost(r.roll, 10, "has left")
            end
            return true
        end
        net:run()
        assert.equal("a: it has left", r.why)
        assert.same({ "a=2", "b=2" }, r.done)
        assert.equal(lib.ROLL_DONE, lib.roll_at(r.roll, 0).state)
    end)
end)

describe("cluster/claim", function()
    local claim, answer, m

    local function take(type, id, nonce)
        m = ffi.new("struct roll_msg",
            { type = type, from = 5, to = 1, id = id, nonce = nonce or 0 })
        return lib.claim_take(claim, 1000, m, slice("owner"), 3, answer)
    end

    before_each(function()
        claim, answer = ffi.new("struct claim"), ffi.new("struct roll_msg")
        lib.claim_init(claim, 1, 99)
    end)

    after_each(function()
        lib.claim_fini(claim)
    end)

    it("reloads once, and only for who repeats its number", function()
        assert.is_false(take(lib.ROLL_CLAIM, 7))
        local nonce = answer.nonce
        assert.is_true(nonce ~= 0ULL)
        assert.is_false(take(lib.ROLL_GO, 7, nonce + 1))
        assert.equal(tonumber(lib.ROLL_REFUSED), tonumber(answer.state))
        assert.is_true(take(lib.ROLL_GO, 7, nonce))
        assert.is_false(take(lib.ROLL_GO, 7, nonce))
        assert.equal(tonumber(lib.ROLL_RUNNING), tonumber(answer.state))
        lib.claim_end(claim, true, 4, slice(""))
        assert.is_false(take(lib.ROLL_GO, 7, nonce))
        assert.equal(tonumber(lib.ROLL_DONE), tonumber(answer.state))
        assert.equal(4, answer.generation)
    end)

    it("does nothing for a recorded order, with or without its claim", function()
        take(lib.ROLL_CLAIM, 7)
        local nonce = answer.nonce
        lib.claim_fini(claim)
        lib.claim_init(claim, 1, 100) -- the next process
        assert.is_false(take(lib.ROLL_GO, 7, nonce))
        take(lib.ROLL_CLAIM, 7)
        assert.is_false(take(lib.ROLL_GO, 7, nonce))
    end)

    it("hears nothing that is for others", function()
        claim.self = 2
        assert.is_false(take(lib.ROLL_CLAIM, 7))
        assert.equal(0, tonumber(answer.type))
    end)
end)

describe("cluster/roll_msg", function()
    it("reads what it writes, long texts cut between characters", function()
        local long = ("é"):rep(600)
        local s = bytes_of(ffi.new("struct roll_msg", {
            type = lib.ROLL_STATE, state = lib.ROLL_FAILED, from = 1, to = 2, id = 3,
            nonce = 2ULL ^ 63, generation = 9, text = slice("x" .. long) }))
        local m = ffi.new("struct roll_msg")
        assert.equal(0, lib.roll_msg_read(m, slice(s)))
        assert.equal(999, tonumber(m.text.len))
        assert.equal("x" .. ("é"):rep(499), text(m.text))
        assert.equal(9, m.generation)
    end)

    it("refuses what is damaged", function()
        local s = bytes_of(ffi.new("struct roll_msg", { type = lib.ROLL_GO, to = 1, id = 2 }))
        local m = ffi.new("struct roll_msg")
        for n = 0, #s - 1 do
            assert.is_true(lib.roll_msg_read(m, slice(s:sub(1, n))) < 0, "cut at " .. n)
        end
        assert.is_true(lib.roll_msg_read(m, slice(s .. "x")) < 0)
        assert.is_true(lib.roll_msg_read(m, slice((s:gsub("^(..)\1", "%1\2")))) < 0)
        assert.is_true(lib.roll_msg_read(m, slice((s:gsub("^(...)\2", "%1\9")))) < 0)
    end)
end)
