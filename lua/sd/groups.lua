--- Groups: named sets of uids, kept in Redis, so they outlive conns and nodes.
---
--- lua/sd/group_store.lua is the part in Redis. Which conns of the node are in
--- a group is kept in C, so that sending to a group needs no Redis; it is read
--- when a uid is bound, and every change is told to all workers.

local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local people = require("sd.people")
local redis = require("sd.redis")
local group_store = require("sd.group_store")

local uid_text = conn.uid_text

---@class sd.groups
local groups = {}

local RETRY = 1 -- seconds until a bind asks again for what it could not read

--- A group's name as text; misuse raises.
local function group_text(group)
    group = conn.digits_of(group)
    if type(group) ~= "string" or #group < 1 or #group > 128 then
        fault.misuse("bad group (text of 1 to 128 bytes expected)")
    end
    return group
end

--- The server groups are kept in; nil and why when none is configured.
local function store()
    if not core.redis_servers.default then
        return nil, "unavailable: groups need config/redis.lua"
    end
    return redis()
end

--- Tell all workers what is written. It is done already, so a worker whose
--- queue is full is told again until it has room.
---@async
local function tell(verb, uid, group)
    local ok, err = core.change_group(verb, uid, group)
    while err == "busy" do
        local rested, cut = go.sleep(0.01)
        if not rested then
            return nil, cut
        end
        ok, err = core.change_group(verb, uid, group)
    end
    return ok, err
end

--- Put a uid into a group; all conns it has hear what is sent from now on.
---@async
---@param uid sd.Uid
---@param group string
---@return true? ok
---@return string? err
function groups.add_to_group(uid, group)
    uid, group = uid_text(uid), group_text(group)
    local server, err = store()
    if not server then
        return nil, err
    end
    local ok
    ok, err = group_store.add(server, uid, group)
    if not ok then
        return nil, err
    end
    return tell("enter", uid, group)
end

--- Take a uid out of a group.
---@async
---@param uid sd.Uid
---@param group string
---@return true? ok
---@return string? err
function groups.remove_from_group(uid, group)
    uid, group = uid_text(uid), group_text(group)
    local server, err = store()
    if not server then
        return nil, err
    end
    local ok
    ok, err = group_store.remove(server, uid, group)
    if not ok then
        return nil, err
    end
    return tell("leave", uid, group)
end

--- Take everybody out of a group.
---@async
---@param group string
---@return true? ok
---@return string? err
function groups.delete_group(group)
    group = group_text(group)
    local server, err = store()
    if not server then
        return nil, err
    end
    local ok
    ok, err = group_store.delete(server, group, function()
        return true
    end)
    if not ok then
        return nil, err
    end
    return tell("delete", "", group)
end

--- Who is in a group.
---@async
---@param group string
---@param opts? {online?: boolean} only who has a conn
---@return string[]? uids
---@return string? err
function groups.group_uids(group, opts)
    group, opts = group_text(group), fault.options(opts)
    local server, err = store()
    if not server then
        return nil, err
    end
    local uids
    uids, err = group_store.members(server, group)
    if not uids or not opts.online then
        return uids, err
    end
    local online = core.array()
    for _, uid in ipairs(uids) do
        if people.uid_is_online(uid) then
            online[#online + 1] = uid
        end
    end
    return online
end

--- How many are in a group.
---@async
---@param group string
---@param opts? {online?: boolean}
---@return integer? n
---@return string? err
function groups.group_count(group, opts)
    local uids, err = groups.group_uids(group, opts)
    if not uids then
        return nil, err
    end
    return #uids
end

--- The groups a uid is in.
---@async
---@param uid sd.Uid
---@return string[]? groups
---@return string? err
function groups.uid_groups(uid)
    local server, err = store()
    if not server then
        return nil, err
    end
    return group_store.of_uid(server, uid_text(uid))
end

--- Is the uid in the group?
---@async
---@param uid sd.Uid
---@param group string
---@return boolean? is_in
---@return string? err
function groups.in_group(uid, group)
    uid, group = uid_text(uid), group_text(group)
    local server, err = store()
    if not server then
        return nil, err
    end
    return group_store.has(server, uid, group)
end

--- Some of the groups there are; call again with `next` for more.
---@async
---@param cursor? string
---@return string[]? groups
---@return string? next_or_err nil: these were the last
function groups.groups(cursor)
    local server, err = store()
    if not server then
        return nil, err
    end
    return group_store.names(server, cursor)
end

--- Send to everybody in a group who has a conn.
---@param group string
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err "busy"
function groups.send_to_group(group, data, opts)
    return core.send_group(group_text(group), data, people.options(opts))
end

--- A conn has been bound: it hears what its uid's groups are sent. While
--- Redis is away the conn is bound all the same and asks again later.
---@async
local function load(handle, uid)
    local names, err, before
    repeat -- what somebody left while we read may be in what we read
        before = core.group_leaves(handle)
        names, err = groups.uid_groups(uid)
    until not names or before == core.group_leaves(handle)
    if core.uid(handle) ~= uid then
        return -- it was bound to another one meanwhile, or has closed
    elseif not names then
        log.warn("groups of " .. uid .. ": " .. tostring(err))
        go.after(RETRY, function()
            load(handle, uid)
        end)
        return
    end
    core.add_groups(handle, names)
end

--- After a conn was bound.
---@async
---@param handle integer
---@param uid string
function groups.bound(handle, uid)
    if core.redis_servers.default then
        load(handle, uid)
    end
end

--- The uid of a conn, for what needs one.
local function uid_of(handle)
    local uid = core.uid(handle)
    if not uid then
        return nil, "refused: the conn has no uid"
    end
    return uid
end

--- Put the uid of this conn into a group.
---@async
---@param group string
---@return true? ok
---@return string? err
function conn.base:join_group(group)
    local uid, err = uid_of(self[1])
    if not uid then
        return nil, err
    end
    return groups.add_to_group(uid, group)
end

--- Take the uid of this conn out of a group.
---@async
---@param group string
---@return true? ok
---@return string? err
function conn.base:leave_group(group)
    local uid, err = uid_of(self[1])
    if not uid then
        return nil, err
    end
    return groups.remove_from_group(uid, group)
end

conn.on_bound = groups.bound

return groups
