--- Groups: named sets of uids, kept in Redis, so they outlive conns and nodes.
---
--- A uid's own set of groups is the truth. It is written first and read when
--- the uid is bound; the list of a group is written behind it, and repairs
--- itself when it is read: who does not say that he is in it is taken out.
--- Which conns of the node are in a group is kept in C, so that sending to a
--- group needs no Redis.

local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local people = require("sd.people")
local redis = require("sd.redis")

local uid_text = conn.uid_text

---@class sd.groups
local groups = {}

local ALL = "sd:groups"
local RETRY = 1 -- seconds until a bind asks again for what it could not read

--- Keys carry the name in braces, so that Redis Cluster keeps what belongs to
--- one name together.
local function uid_key(uid)
    return "sd:{u:" .. uid .. "}:groups"
end

local function group_key(group)
    return "sd:{g:" .. group .. "}:uids"
end

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

--- The first failure among the replies of a pipeline.
local function failure(replies, err)
    if not replies then
        return err
    end
    for _, reply in ipairs(replies) do
        if type(reply) == "table" and reply.err then
            return reply.err
        end
    end
end

--- Write a change to Redis, then tell all workers. It is done once it is
--- written, so a worker whose queue is full is told again until it has room.
---@async
local function change(server, verb, uid, group, record)
    local err = failure(server:pipeline(record))
    if err then
        return nil, err
    end
    local ok
    ok, err = core.change_group(verb, uid, group)
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
    return change(server, "enter", uid, group, function(p)
        p:sadd(uid_key(uid), group)
        p:sadd(group_key(group), uid)
        p:sadd(ALL, group)
    end)
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
    return change(server, "leave", uid, group, function(p)
        p:srem(uid_key(uid), group)
        p:srem(group_key(group), uid)
    end)
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
    local uids
    uids, err = server:smembers(group_key(group))
    if not uids then
        return nil, err
    end
    return change(server, "delete", "", group, function(p)
        for _, uid in ipairs(uids) do
            p:srem(uid_key(uid), group)
        end
        p:del(group_key(group))
        p:srem(ALL, group)
    end)
end

--- Those of `uids` whose own set has the group; the others leave its list.
local function confirmed(server, group, uids)
    local replies, err = server:pipeline(function(p)
        for _, uid in ipairs(uids) do
            p:sismember(uid_key(uid), group)
        end
    end)
    err = failure(replies, err)
    if err then
        return nil, err
    end
    local list = core.array()
    for i, uid in ipairs(uids) do
        if replies[i] == 1 then
            list[#list + 1] = uid
        else
            server:srem(group_key(group), uid)
        end
    end
    return list
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
    uids, err = server:smembers(group_key(group))
    if not uids then
        return nil, err
    elseif #uids > 0 then
        uids, err = confirmed(server, group, uids)
    end
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
    return server:smembers(uid_key(uid_text(uid)))
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
    local n
    n, err = server:sismember(uid_key(uid), group)
    if not n then
        return nil, err
    end
    return n == 1
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
    local reply
    reply, err = server:sscan(ALL, cursor or "0", "count", 100)
    if not reply then
        return nil, err
    end
    local next_cursor = tostring(reply[1])
    return reply[2], next_cursor ~= "0" and next_cursor or nil
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
