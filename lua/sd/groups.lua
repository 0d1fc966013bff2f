--- Groups: named sets of uids, kept in Redis, so they outlive conns and nodes.
---
--- lua/sd/group_store.lua is the part in Redis. Which conns of the node are in
--- a group is kept in C, so that sending to a group needs no Redis; it is read
--- when a uid is bound, and every change is told to all workers. What is told
--- may come in another order than it was done in; C knows by the numbers of
--- the changes, and has the uid's groups read again (people_groups.c).

local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local people = require("sd.people")
local presence = require("sd.presence")
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

--- Tell all workers what is written: uids, each with the number of its change
--- behind it. It is done already, so a worker whose queue is full is told
--- again until it has room.
---@async
local function tell(verb, group, ...)
    local ok, err = core.change_group(verb, group, ...)
    while err == "busy" do
        local rested, cut = go.sleep(0.01)
        if not rested then
            return nil, cut
        end
        ok, err = core.change_group(verb, group, ...)
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
    local number
    number, err = group_store.add(server, uid, group)
    if not number then
        return nil, err
    end
    return tell("enter", group, uid, number)
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
    local number
    number, err = group_store.remove(server, uid, group)
    if not number then
        return nil, err
    end
    return tell("leave", group, uid, number)
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
    return group_store.delete(server, group, function(changes)
        return tell("leave", group, unpack(changes))
    end)
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
    return presence.online_of(uids)
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

--- Read the groups of a uid for all conns it has here, once more when newer
--- changes were told meanwhile.
---@async
local function read(uid)
    repeat
        local mark = core.group_mark(uid)
        if not mark then
            return true -- nobody is left who would want to know
        end
        local names, number = group_store.read(redis(), uid)
        if not names then
            return nil, number
        end
    until core.set_groups(uid, mark, names, number)
    return true
end

--- Uids whose groups are being read by doubt(), until they are read.
local doubts = {}
local doubt

--- Redis is away, or the call that wanted to read has ended.
local function read_later(uid, why)
    log.warn("groups of " .. uid .. ": " .. tostring(why))
    if doubts[uid] then
        return
    end
    doubts[uid] = true
    go.after(RETRY, function()
        doubts[uid] = nil
        doubt(uid)
    end)
end

--- Read what is not sure. What comes into doubt while it is being read is read
--- as well: it was written before it was told.
---@async
function doubt(uid)
    if doubts[uid] then
        return
    end
    doubts[uid] = true
    local ok, done, err = pcall(read, uid)
    doubts[uid] = nil
    if not ok or not done then
        read_later(uid, err or done)
    end
end

--- From C: a conn was told a change out of order, or not told one.
---@async
---@param handle integer
function groups.doubted(handle)
    local uid = core.uid(handle)
    if uid and core.redis_servers.default then
        doubt(uid)
    end
end

--- A conn has been bound: it hears what its uid's groups are sent. While
--- Redis is away it is bound all the same, and they are read later.
---@async
---@param uid string
function groups.bound(_, uid)
    if not core.redis_servers.default then
        return
    end
    local ok, done, err = pcall(read, uid)
    if not ok or not done then
        read_later(uid, err or done)
    end
    if not ok then
        error(done, 0)
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
