--- A cluster of nodes whose clients may do anything: sd.fn(...) in a worker,
--- a task or a timer; and what specs do with them.
local assert = require("luassert")
local cjson = require("cjson")
local client = require("spec.support.client")
local cluster_local = require("spec.support.cluster_local")
local server = require("spec.support.server")

local files = {
    ["scripts/app.lua"] = [[
local sd = require("sd")
return {
    on_undeliverable = function(uid, data, reason)
        sd.redis():rpush("lost", sd.json.encode({ uid, data, reason }))
    end,
}]],
    ["scripts/tasks/desk.lua"] = [[
local sd = require("sd")
return {
    run = function(self, fn, args)
        return { r = sd.array_of(3, sd[fn](unpack(args, 1, 4))) }
    end,
    count = function(self, uid, n)
        for i = 1, n do
            local ok, err
            repeat
                ok, err = sd.send_to_uid(uid, { n = i })
                if err == "busy" then sd.sleep(0.01) end
            until ok or err ~= "busy"
            if not ok then return nil, err end
        end
        return true
    end,
    fill = function(self, uid, most)
        for i = 1, most do
            local ok, err = sd.send_to_uid(uid, { n = i })
            if not ok then return { n = i - 1, err = err } end
        end
        return { n = most }
    end,
    burst = function(self, uid, n)
        while sd.redis():get("go") ~= uid do sd.sleep(0.01) end
        local ok = 0
        for i = 1, n do
            ok = ok + (sd.send_to_uid(uid, { n = i }) and 1 or 0)
        end
        sd.redis():set("sent", ok)
        return ok
    end,
}]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C = {}
function C:login(p) return { self:bind_uid(p.uid, { policy = p.policy }) } end
function C:again(p)
    self:unbind_uid()
    return self:bind_uid(p.uid, { policy = p.policy })
end
function C:listen(p) return { self:subscribe(p.filter) } end
function C:me() return { id = self.conn_id, slot = sd.slot } end
function C:worker(p) return { r = sd.array_of(3, sd[p.fn](unpack(p.args, 1, 4))) } end
function C:task(p) return sd.task("desk", { timeout = 30 }):run(p.fn, p.args) end
function C:timer(p)
    local done = sd.channel(1)
    sd.after(0, function()
        done:send({ r = sd.array_of(3, sd[p.fn](unpack(p.args, 1, 4))) })
    end)
    return done:receive(30)
end
function C:count(p) return sd.task("desk", { timeout = 30 }):count(p.uid, p.n) end
function C:fill(p) return sd.task("desk", { timeout = 30 }):fill(p.uid, p.most) end
function C:burst(p) return { sd.task("desk", { wait = false }):burst(p.uid, p.n) } end
function C:lost()
    local list = sd.redis():lrange("lost", 0, -1)
    for i, text in ipairs(list) do list[i] = sd.json.decode(text) end
    return list
end
return C]],
}

-- Three results, of which each may be nil.
local ARRAY_OF = [[
local sd = require("sd")
rawset(sd, "array_of", function(n, ...)
    local list = sd.array()
    for i = 1, n do
        local v = select(i, ...)
        list[i] = v == nil and sd.null or v
    end
    return list
end)
]]
for path, text in pairs(files) do
    files[path] = ARRAY_OF .. text
end

local function plain(v)
    if v ~= cjson.null then
        return v
    end
end

local calls = { plain = plain, files = files }

--- Nodes as t.nodes between t.start() and t.stop(), "a" and "b" if not named;
--- clients of one test between t.before() and t.after().
---@param names string[]|nil
function calls.new(names)
    local t = { run = 0, conns = {} }

    ---@param more table<string, string>|nil files
    ---@param env string|nil of the nodes
    function t.start(more, env)
        local all = {}
        for _, list in ipairs({ files, more or {} }) do
            for path, text in pairs(list) do
                all[path] = text
            end
        end
        t.nodes = cluster_local.start(names or { "a", "b" }, all, env)
    end

    function t.stop()
        if t.nodes then
            t.nodes:stop()
        end
    end

    function t.before()
        t.run = t.run + 1
        t.conns = {}
    end

    function t.after()
        for _, c in ipairs(t.conns) do
            c:close()
        end
    end

    --- A uid, group or topic of this test alone.
    function t.own(name)
        return name .. "." .. t.run
    end

    function t.open(name, port)
        local c = client.lines(t.nodes[name]:port(port or "game"))
        t.conns[#t.conns + 1] = c
        return c
    end

    function t.login(name, uid, policy)
        local c = t.open(name)
        assert.same({ true }, c:call("c/login", { uid = t.own(uid), policy = policy }).result)
        return c
    end

    --- Results of sd.fn(...), called in a worker, a task or a timer.
    function t.call(c, via, fn, ...)
        local reply = assert(c:call("c/" .. via, { fn = fn, args = { ... } }))
        assert.is_nil(reply.error and reply.error.message)
        local r = reply.result.r
        return plain(r[1]), plain(r[2]), plain(r[3])
    end

    --- The same for what all nodes answer together: once none was silent.
    function t.whole(c, via, fn, ...)
        local args = { ... }
        return server.until_(function()
            local n, err, silent = t.call(c, via, fn, unpack(args))
            return not err and not silent and n
        end, "all nodes answer")
    end

    --- Begin the same; results come by t.finish(c).
    function t.begin(c, via, fn, ...)
        c.last = (c.last or 0) + 1
        c:send(client.packet("c/" .. via, { fn = fn, args = { ... } }, c.last))
    end

    function t.finish(c)
        local reply = assert(c:receive())
        assert.equal(c.last, reply.id)
        assert.is_nil(reply.error and reply.error.message)
        return plain(reply.result.r[1]), plain(reply.result.r[2]), plain(reply.result.r[3])
    end

    --- The next push, which may have come in front of a reply.
    function t.push(c)
        return table.remove(c.pushes, 1) or assert(c:receive())
    end

    --- Nothing came before the reply to this call.
    function t.hears_nothing(c)
        c:call("c/me")
        assert.same({}, c.pushes)
    end

    --- Messages of rising numbers come, in the end this one: how many.
    function t.hears_up_to(c, last)
        local n, count = 0, 0
        repeat
            local m = t.push(c)
            assert.is_true(m.n > n)
            n, count = m.n, count + 1
        until n == last
        t.hears_nothing(c)
        return count
    end

    --- How many messages to that uid on_undeliverable was told of.
    function t.count_lost(c, uid)
        local n = 0
        for _, lost in ipairs(c:call("c/lost").result) do
            n = n + (lost[1] == uid and 1 or 0)
        end
        return n
    end

    function t.answer(c, question, result)
        c:send({ id = question.id, result = result })
    end

    return t
end

return calls
