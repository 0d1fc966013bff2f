--- Where uids are in the cluster: Redis is the truth, and workers write it.
---
--- Binds and their ends are in binds.lua. Every worker says of each of its
--- bindings again and again that it holds, and of all of them when Redis was
--- away: so a Redis that has lost its data has it again, and what was bound
--- without it is decided then.
---
--- While Redis is away nobody knows where a uid is that relays do not know: all
--- processes are asked, but not for more than each of them can bear, nor again
--- and again for one that nobody has.

local binds = require("sd.binds")
local conn = require("sd.conn")
local core = require("sd.core")
local floods = require("sd.floods")
local go = require("sd.go")
local location_mark = require("sd.location_mark")
local reaper = require("sd.reaper")
local redis = require("sd.redis")
local store = require("sd.location_store")

---@class sd.location
local location = {}

local ROUND = 100 -- seconds in which all bindings are asserted
local STEP = 1 -- seconds from one part of them to the next
local LOOKS = 10 -- for dead nodes, in a round
local STILL = 5000 -- ms from one step to the next: this process stood still
local PERIOD = 600 -- seconds, several rounds, that a uid is elsewhere
local PART = 500 -- assertions written at once
local PATIENCE = 1 -- seconds for Redis to say who is the last

--- From C: a message waits for this uid.
---@async
function location.resolve(uid)
    local ok, list, sole = pcall(store.find, redis(), uid)
    if ok and list then
        core.located(uid, "at", list, sole)
    else
        binds.complain("location of " .. uid, ok and sole or list)
        core.located(uid, floods.found(uid))
    end
end

--- Its number is this one by now: relays compare by it.
local function raise(b, number)
    if core.raise_binding(b.handle, b.uid, number) then
        core.locate(b.uid, number, true, b.policy ~= "allow")
    end
end

--- The groups of its uid could not be read when it was bound.
---@async
function location.on_doubt(handle)
    local _ = handle
end

--- One binding, once more; whoever has lost it is told, also when it is we.
local function take_assertion(b, reply)
    local number, lost, beside = unpack(reply)
    local bound, _, now, _, knows_groups = core.binding(b.handle)
    if bound ~= b.uid or now ~= b.number then
        return -- another binding by now
    elseif number == 0 then
        core.note_elsewhere(b.handle)
        conn.close(b.handle, "replaced")
        return
    elseif number > b.number then
        raise(b, number)
    end
    if not knows_groups then
        go.apart(location.on_doubt, b.handle)
    end
    if lost[1] then
        go.apart(binds.oust, lost, b.uid, number) -- nobody waits for it
    end
    for _, id in ipairs(beside) do
        core.mark_elsewhere(b.uid, id)
    end
end

---@async
local function write(list)
    local replies, err = store.assert_all(redis(), list)
    if replies and err then
        binds.complain("list of bindings", err)
    end
    return replies, err
end

---@async
---@return true? ok
---@return string? err
local function assert_some(handles)
    local list, failed, why = {}, 0, nil
    for _, handle in ipairs(handles) do
        local uid, id, number, policy = core.binding(handle)
        if uid then
            list[#list + 1] = { handle = handle, uid = uid, id = id,
                number = number, policy = policy }
        end
    end
    local replies, err = write(list)
    for i, reply in ipairs(replies or {}) do
        if reply.err then
            failed, why = failed + 1, reply.err
        else
            take_assertion(list[i], reply)
        end
    end
    if failed > 0 then
        binds.complain("bindings", why)
    end
    if not replies or failed > 0 and failed == #list then
        return nil, err or why
    end
    return true
end

--- From C: a conn has come with its uid from another worker of our node, and
--- has another id here. The old one is taken out by the worker it has left.
---@async
function location.arrived(handle)
    local ok, err = store.prepare(redis())
    if ok then
        ok, err = assert_some({ handle })
    end
    if not ok then
        binds.is_behind = true
        binds.complain("bindings", err)
    end
    local uid, _, number, policy = core.binding(handle)
    if uid then
        core.locate(uid, number, true, policy ~= "allow")
    end
end

local cursor = 0 -- of the round of assertions

--- Assert the next bindings; nil: Redis is away.
---@async
local function assert_part(most)
    local ok, err = store.prepare(redis())
    if not ok then
        return nil, err
    end
    local following, handles = core.bindings(cursor, most)
    ok, err = assert_some(handles)
    if ok then
        cursor = following
    end
    return ok, err
end

--- Assert all bindings.
---@async
local function assert_all()
    cursor = 0
    repeat
        local ok, err = assert_part(PART)
        if not ok then
            return nil, err
        end
    until not cursor
    cursor = 0
    return true
end

local turned = core.now()

--- Assertions note again which uids are elsewhere, so who was not noted for
--- long is not. One worker says so for the node, when Redis was there all the
--- time.
local function forget_elsewhere()
    local now = core.now()
    if now - turned >= PERIOD then
        turned = now
        if core.worker_slots({})[1] == core.slot then
            core.turn_elsewhere()
        end
    end
end

--- A step of the round. A Redis that was away, has lost its data or is another
--- one is told everything at once. So it is by who stood still: others may have
--- taken him for dead, and reaped.
---@async
---@param is_still boolean
local function step(round, is_still)
    local is_same, err = location_mark.look()
    local is_all = is_still or binds.is_behind or not is_same
    binds.is_behind = false -- what fails from now on says so again
    local ok = is_same ~= nil
    if ok and is_all then
        ok, err = assert_all()
    elseif ok then
        local share = math.ceil(core.bound_here() * STEP / round)
        ok, err = assert_part(math.max(1, share))
        cursor = cursor or 0
    end
    if ok then
        binds.left()
        forget_elsewhere()
    else
        binds.is_behind, turned = true, core.now()
        binds.complain("bindings", err)
    end
end

--- Has that conn the uid again?
local function is_back(uid, id)
    local handle = core.handle(id)
    return handle ~= nil and core.binding(handle) == uid
end

--- Does no other node have a conn of the uid? This one is taken out, and so are
--- those that have ended before it.
---@async
local function is_alone(uid, id)
    binds.left()
    if is_back(uid, id) then
        return false
    end
    local list, err = store.find_others(redis(), uid, id)
    if not list then
        return nil, err
    end
    for _, other in ipairs(list) do
        if other:sub(1, 16) ~= core.boot and core.conn_lives(other) then
            return false
        end
    end
    return true
end

--- This conn was the last of a uid on our node: has no other one any? Of two
--- that ask at the same time at least one finds none: each takes its own out
--- before.
---@async
---@return boolean is_last false also when nobody knows
function location.is_last(uid, id)
    local alone, err = go.timeout(PATIENCE, is_alone, uid, id)
    if alone == nil then
        binds.complain("location of " .. uid, err)
    end
    return alone == true and not core.is_online(uid)
end

--- The end of a binding was told.
---@async
function location.told(uid, id)
    if store.has_list and not is_back(uid, id) then
        store.strike(redis(), uid, id)
    end
end

--- Say again and again, about one in ROUND / STEP of them at a time, that our
--- bindings hold.
---@param tells_ends boolean the application wants to hear when they end
function location.start(tells_ends)
    local round = core.location_round() or ROUND
    store.has_list = tells_ends
    if tells_ends then
        reaper.start(round / LOOKS)
    else
        go.after(STEP, reaper.give_up)
    end
    location_mark.look()
    local ended = core.mono()
    go.every(STEP, function()
        local ok, err = pcall(step, round, core.mono() - ended > STILL)
        ended = core.mono() -- a long step is no standing still
        if not ok then
            binds.is_behind = true
            binds.complain("location", err)
        end
    end)
end

return location
