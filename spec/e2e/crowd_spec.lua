-- A crowd of conns does everything at once while workers are killed: when it
-- is calm again, the node knows exactly who is left.
--
-- SPEC_CROWD_SECONDS and SPEC_CROWD_CONNS make it last longer (spec/soak.sh),
-- SPEC_CROWD_SEED does the same things again.
local cjson = require("cjson")
local server = require("spec.support.server")

local SECONDS = os.getenv("SPEC_CROWD_SECONDS") or "6"
local CONNS = os.getenv("SPEC_CROWD_CONNS") or "200"
local SEED = os.getenv("SPEC_CROWD_SEED") or tostring(os.time())

local files = {
    ["config/server.lua"] = [[return { workers = 4, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp" } }]],
    -- What happened is written down in Redis, which nobody kills.
    ["scripts/tally.lua"] = [[
local sd = require("sd")
return function(kind, field)
    assert(sd.redis():hincrby(kind, field, 1))
end]],
    ["scripts/app.lua"] = [[
local tally = require("tally")
local app = {}
function app.on_uid_closed(uid, _, reason)
    tally(reason == "error" and "error" or "plain", uid)
end
return app]],
    ["scripts/controllers/crowd.lua"] = [[
local ffi = require("ffi")
local sd = require("sd")
local tally = require("tally")
ffi.cdef("int getpid(void);")

local Crowd = {}

function Crowd:bind(p)
    local key = p.uid .. " " .. ffi.C.getpid()
    tally("tried", key) -- before, for those who are killed in between
    local before = self.uid
    local ok, err = self:bind_uid(p.uid, { policy = p.policy })
    tally(not ok and "refused" or before == p.uid and "same" or "new", key)
    return { ok = ok, err = err }
end
function Crowd:unbind() return self:unbind_uid() end
function Crowd:kick(p) return { ok = sd.kick_uid(p.uid) } end
function Crowd:join(p)
    local ok, err = self:join_group(p.group)
    return { ok = ok, err = err }
end
function Crowd:leave(p)
    local ok, err = self:leave_group(p.group)
    return { ok = ok, err = err }
end
function Crowd:hear(p) return self:subscribe(p.filter) end
function Crowd:ignore(p) return self:unsubscribe(p.filter) end
function Crowd:talk(p)
    for n = 1, p.n do
        sd.publish(p.topic, { n = n })
        sd.send_to_group(p.group, { n = n })
        sd.send_to_uid(p.uid, { n = n })
        sd.sleep(0)
    end
    return true
end

function Crowd:me() return { uid = self.uid, slot = sd.slot } end

function Crowd:table(p)
    local pages, online = sd.array(), sd.array()
    local uids, cursor
    repeat
        uids, cursor = sd.online_uids(cursor)
        for _, uid in ipairs(uids) do pages[#pages + 1] = uid end
    until not cursor
    for _, uid in ipairs(p.uids) do
        if sd.uid_is_online(uid) then online[#online + 1] = uid end
    end
    return { count = sd.count_online(), pages = pages, online = online }
end

function Crowd:group(p)
    return { uids = assert(sd.group_uids(p.group)),
        online = assert(sd.group_uids(p.group, { online = true })) }
end

function Crowd:count(p)
    local counts = {}
    for _, filter in ipairs(p.filters) do
        counts[filter] = assert(sd.topic_count(filter))
    end
    return counts
end

local function surely(fn, ...)
    while not fn(...) do sd.sleep(0.01) end
end

function Crowd:reach(p)
    for _, topic in ipairs(p.topics) do
        surely(sd.publish, topic, { mark = p.mark .. " topic " .. topic })
    end
    for _, group in ipairs(p.groups) do
        surely(sd.send_to_group, group, { mark = p.mark .. " group " .. group })
    end
    for _, uid in ipairs(p.uids) do
        surely(sd.send_to_uid, uid, { mark = p.mark .. " uid " .. uid })
    end
    surely(sd.send_to_all, { mark = p.mark .. " end" })
    return true
end

function Crowd:tallies()
    local all = {}
    for _, kind in ipairs({ "tried", "new", "same", "refused", "plain", "error" }) do
        all[kind] = sd.redis():hgetall(kind)
    end
    return all
end

return Crowd]],
}

describe("a crowd on workers that die", function()
    local s

    setup(function()
        s = server.start(files)
    end)

    teardown(function()
        s:stop()
    end)

    it("is known exactly when it has calmed down", function()
        local out = s.dir .. "/crowd.out"
        server.shell(("env -u LD_PRELOAD /usr/bin/python3 spec/support/crowd.py "
            .. "%d '%s' %s %s '%s' > %s 2> %s.err"):format(
            s:port("game"),
            SEED,
            SECONDS,
            CONNS,
            s:command("status --json"):gsub("'", "'\\''"),
            out,
            out
        ))
        local ok, verdict = pcall(cjson.decode, s:read("crowd.out"))
        local seed = "SPEC_CROWD_SEED=" .. SEED .. ": "
        assert.is_true(ok, seed .. s:read("crowd.out.err"))
        assert.equal("", table.concat(verdict.problems, "\n"), seed)
        assert.is_true(verdict.killed > 0 and verdict.left > 0, seed)
        if os.getenv("SPEC_CROWD_SECONDS") then
            print(seed .. cjson.encode(verdict))
        end
    end)
end)
