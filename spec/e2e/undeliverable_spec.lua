-- The hook on_undeliverable: what it is told of sends that reach nobody, and
-- what becomes of the server when there are very many.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", vm_memory = "64m" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp",
        slow_client = { low = "16k", high = "64k", policy = "drop_new" } },
}]],
    ["scripts/told.lua"] = [[return { list = {}, n = 0, at_once = 0, most = 0 }]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local told = require("told")
local app = {}
function app.on_undeliverable(uid, data, reason)
    told.n = told.n + 1
    if type(data) ~= "table" then
        table.insert(told.list, { uid, type(data), reason })
        return
    end
    if data.wait then
        told.at_once = told.at_once + 1
        told.most = math.max(told.most, told.at_once)
        sd.sleep(0.002)
        told.at_once = told.at_once - 1
    end
    local n = data.n
    data.n = "the hook's own"
    table.insert(told.list, { uid, n, reason })
end
return app]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local told = require("told")
local C = {}
function C:told()
    return { n = told.n, most = told.most }
end
function C:list()
    local list = told.list
    told.list, told.n = {}, 0
    return list
end
function C:bind(p) return self:bind_uid(p.uid) end
function C:flood(p)
    for i = 1, p.n do
        pcall(sd.send_to_uid, "nobody" .. i, p.data)
    end
    return true
end
function C:many(p)
    local uids = {}
    for i = 1, p.n do uids[i] = "nobody" .. i end
    return sd.send_to_uids(uids, p.data)
end
function C:change()
    local data = { n = 1, deep = { n = 1 } }
    sd.send_to_uids({ "a", "b" }, data)
    data.n = 99
    return true
end
function C:tell(p)
    for _ = 1, p.times do
        sd.send_to_uid(p.uid, { n = p.n, text = ("y"):rep(1000) },
            { volatile = p.volatile })
    end
    return true
end
return C]],
}

describe("what reaches nobody", function()
    local s, c

    before_each(function()
        s = server.start(files)
        c = client.open(s:port("game"))
    end)

    after_each(function()
        c:close()
        s:stop()
        assert.equal("", s:complaints())
    end)

    local function told()
        return c:call("c/told").result
    end

    --- How many reports the log says were left out.
    local function left_out()
        local n = 0
        for count in s:output():gmatch("on_undeliverable: (%d+) reports left out") do
            n = n + tonumber(count)
        end
        return n
    end

    it("is told of up to a bound, however much a handler sends", function()
        local pid = s:process("worker").pid
        assert.is_true(c:call("c/flood", { n = 300000, data = { n = 1 } }).result)
        server.until_(function()
            return told().n + left_out() == 300000
        end, "all are told of or counted")
        assert.is_true(told().n >= 1024)
        assert.is_true(told().n < 2000)
        assert.equal(pid, s:process("worker").pid)
    end)

    it("is told of up to a bound of bytes", function()
        local big = ("x"):rep(1000000)
        assert.is_true(c:call("c/flood", { n = 100, data = big }).result)
        server.until_(function()
            return told().n + left_out() == 100
        end, "all are told of or counted")
        assert.is_true(told().n >= 10)
        assert.is_true(left_out() > 0)
        c:call("c/list")
        c:call("c/many", { n = 1000, data = big })
        server.until_(function()
            return told().n == 1000
        end, "one value is counted once")
    end)

    it("is told a few at a time when the hook waits", function()
        c:call("c/many", { n = 500, data = { n = 1, wait = true } })
        server.until_(function()
            return told().n == 500
        end, "all are told of")
        assert.equal(32, told().most)
    end)

    it("is told as it was sent, each report with data of its own", function()
        c:call("c/change")
        server.until_(function()
            return told().n == 2
        end, "both are told of")
        assert.same({ { "a", 1, "offline" }, { "b", 1, "offline" } },
            c:call("c/list").result)
        c:call("c/many", { n = 1 })
        server.until_(function()
            return told().n == 1
        end, "nothing is told of as well")
        assert.same({ { "nobody1", "nil", "offline" } }, c:call("c/list").result)
    end)

    it("is not told of when it is volatile and the client slow", function()
        local snail = client.open(s:port("game"))
        assert.is_true(snail:call("c/bind", { uid = "snail" }).result)
        c:call("c/tell", { uid = "snail", n = 1, times = 20000 })
        c:call("c/tell", { uid = "snail", n = 2, times = 20000, volatile = true })
        local seen = {}
        server.until_(function()
            c:call("c/flood", { n = 1, data = { n = 3 } })
            for _, one in ipairs(c:call("c/list").result) do
                seen[one[2]] = one[3]
            end
            return seen[3]
        end, "the last is told of")
        assert.same({ "slow", nil, "offline" }, seen)
        snail:close()
    end)
end)

describe("hooks that take their time", function()
    local hook_files = {
        ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", call_timeout = "500ms" }]],
        ["config/ports.lua"] = files["config/ports.lua"],
        ["scripts/app.lua"] = [[
local sd = require("sd")
local app = {}
function app.on_undeliverable(uid)
    if uid == "hang" then
        sd.channel(1):receive()
    else
        sd.sleep(0.2)
        local f = assert(io.open("run/told", "a"))
        f:write("told of " .. uid .. "\n")
        f:close()
    end
end
return app]],
        ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
return { tell = function(_, p)
    for _ = 1, p.n do sd.send_to_uid(p.uid, 1) end
    return true
end }]],
    }
    local s, c

    before_each(function()
        s = server.start(hook_files)
        c = client.open(s:port("game"))
    end)

    after_each(function()
        c:close()
        s:stop()
    end)

    local function told(uid)
        local _, n = (s:read("run/told") or ""):gsub("told of " .. uid, "")
        return n
    end

    it("end at their deadline and keep no others waiting for ever", function()
        c:call("c/tell", { uid = "hang", n = 100 })
        c:call("c/tell", { uid = "ann", n = 2 })
        server.until_(function()
            return told("ann") == 2
        end, "the others are told")
    end)

    it("are waited for when the node stops", function()
        c:call("c/tell", { uid = "ben", n = 40 })
        assert.equal(0, select(2, s:run("stop")))
        server.until_(function()
            return s:exit_status()
        end, "the master ends")
        assert.equal(40, told("ben"))
    end)
end)
