--- Binds and their ends in a cluster, for lua/sd/location.lua: a bind gets a
--- number above all others of its uid, in one script with the policy
--- (location_store.lua); so of two nodes that bind a uid at the same time one
--- loses, and the winner tells the loser's worker. A close takes its own conn
--- id out, so a late one never takes a newer binding away.
---
--- With "refuse" Redis is asked before anybody here: who is refused keeps what
--- he had, and what is sent meanwhile goes to the one who has the uid.

local conn = require("sd.conn")
local core = require("sd.core")
local go = require("sd.go")
local log = require("sd.log")
local redis = require("sd.redis")
local settle = require("sd.wait").settle
local store = require("sd.location_store")

---@class sd.binds
---@field is_behind boolean Redis does not know all of our bindings
local binds = { is_behind = false }

local COMPLAIN = 10 -- seconds from one line about Redis to the next
local PART = 500 -- ends written at once
local PATIENCE = 500 -- ms for those who had the uid to hear of its new conn

--- Redis is away: one line in a while.
local complained = 0
function binds.complain(what, err)
    local now = core.now()
    if now - complained >= COMPLAIN then
        complained = now
        log.warn(what .. ": " .. tostring(err))
    end
end

--- Call fn(conn) of all these conns that live on other nodes, at the same time,
--- and wait for all.
local function each(conns, fn)
    local runs = {}
    for _, id in ipairs(conns) do
        if id:sub(1, 16) ~= core.boot and core.conn_lives(id) then
            runs[#runs + 1] = function()
                fn(id)
            end
        end
    end
    if runs[1] then
        go.all(runs)
    end
end

--- Those conns have lost the uid to a binding of that number. That they have
--- heard of it is waited for, so that nobody is there twice when bind_uid() has
--- returned; but not for long, and who does not hear it learns it by asserting
--- his binding.
function binds.oust(conns, uid, number)
    each(conns, function(id)
        settle(core.oust(id, uid, number, "replaced", PATIENCE))
    end)
end

--- The uid has those conns, too. Their nodes are told, as above, so that sends
--- from there reach the new one.
local function join(conns, uid)
    each(conns, function(id)
        if core.mark_elsewhere(uid, id) then
            settle(core.tell_elsewhere(uid, id, PATIENCE))
        end
    end)
end

--- Can none of those be there any more?
local function are_dead(conns)
    for _, id in ipairs(conns) do
        if core.conn_lives(id) then
            return false
        end
    end
    return true
end

local function bind(uid, id, number, policy)
    local server = redis()
    local reply, err = store.bind(server, uid, id, number, policy, {})
    if reply and reply[1] == 0 and are_dead(reply[2]) then
        reply, err = store.bind(server, uid, id, number, policy, reply[2])
    end
    return reply, err
end

--- A conn was bound on this node: have it in Redis, too.
---@async
---@return true? ok
---@return string? err "refused", or with that policy "unavailable"
local function publish(handle, uid)
    local bound, id, number, policy = core.binding(handle)
    if bound ~= uid then
        return true -- somebody was quicker
    end
    local reply, err = bind(uid, id, number, policy)
    if not reply then
        if policy == "refuse" then
            return nil, "unavailable"
        end
        binds.is_behind = true
        binds.complain("location of " .. uid, err)
        return true -- asserted later
    elseif reply[1] == 0 then
        return nil, "refused"
    end
    if not core.raise_binding(handle, uid, reply[1]) then
        core.keep_left({ uid, id }) -- it has gone meanwhile
        go.apart(binds.left)
        return true
    end
    core.locate(uid, reply[1], true, policy ~= "allow")
    if policy == "allow" then
        join(reply[2], uid)
    else
        binds.oust(reply[2], uid, reply[1])
    end
    return true
end

--- Who has not heard that nobody else has the uid may not keep it.
---@async
local function publish_or_unbind(handle, uid)
    local _, _, _, policy = core.binding(handle)
    local ok, done, err = pcall(publish, handle, uid)
    if not (ok and done) and (ok or policy == "refuse")
        and core.binding(handle) == uid then
        if err == "refused" then
            core.note_elsewhere(handle)
        end
        core.unbind_uid(handle)
    end
    if not ok then
        error(done, 0)
    end
    return done, err
end

--- Nobody is there under that conn id, or will be.
local function disclaim(uid, id)
    core.keep_left({ uid, id })
    go.apart(binds.left)
    if store.has_list then
        go.apart(store.strike, redis(), uid, id) -- no end is told of it
    end
end

--- The uid in Redis, and not here yet.
---@async
---@return true? ok
---@return string? err "refused", "unavailable"
local function claim(uid, id)
    local ok, reply, err = pcall(bind, uid, id, 0, "refuse")
    if not (ok and reply) then
        disclaim(uid, id) -- it may have been written
        binds.complain("location of " .. uid, ok and err or reply)
    end
    if not ok then
        error(reply, 0)
    elseif not reply then
        return nil, "unavailable"
    elseif reply[1] == 0 then
        if store.has_list then
            store.strike(redis(), uid, id)
        end
        return nil, "refused"
    end
    return true
end

--- A uid for a conn of this node, here and in Redis.
---@async
---@return true? ok
---@return string? err "refused", "gone", "unavailable"
function binds.bind(handle, uid, policy)
    local id = core.conn_id(handle)
    local is_claimed = core.bind_policy(handle, policy) == "refuse"
        and core.binding(handle) ~= uid
    if is_claimed then
        local claimed, why = claim(uid, id)
        if not claimed then
            return nil, why
        end
    end
    local ok, err = core.bind_uid(handle, uid, policy)
    conn.close_kicked("replaced")
    if ok then
        ok, err = publish_or_unbind(handle, uid)
        conn.close_kicked("replaced")
    elseif is_claimed then
        disclaim(uid, id)
    end
    if ok then
        conn.on_bound(handle, uid)
    end
    return ok, err
end

--- From C: bindings have ended. What cannot be written now stays there.
---@async
---@return true? ok
function binds.left()
    local list = core.take_left(PART)
    while #list > 0 do
        local ok, rest, err = pcall(store.forget, redis(), list)
        if not ok or rest[1] then
            core.keep_left(ok and rest or list)
            binds.complain("ends of bindings", ok and err or rest)
            return nil
        end
        list = core.take_left(PART)
    end
    return true
end

conn.bind_in_cluster = binds.bind

return binds
