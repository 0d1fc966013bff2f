--- Groups in Redis: who is in which, for lua/sd/groups.lua.
---
--- A uid's own set of groups is the truth. Each change of it has a number, by
--- which those who are told of it know the order. The list of a group and the
--- list of all groups are written behind it, by several commands that others
--- may come between, and repair themselves when they are read: who does not
--- say that he is in a group is taken out of its list, and a group without
--- uids out of the list of groups. Taking out looks again, because somebody
--- may have been put in between the look and the removal.

local core = require("sd.core")

---@class sd.group_store
local group_store = {}

local ALL = "sd:groups"

--- Uids asked about at once. What is told of so many that leave a group fits
--- into a ring, where messages are in order (MESH_INLINE).
local PART = 400

--- Put a group into a uid's set, or take it out: gives the number of that
--- change. They begin anew when there was none for a day.
local CHANGE = [[
redis.call(ARGV[1], KEYS[1], ARGV[2])
local number = redis.call("incr", KEYS[2])
redis.call("expire", KEYS[2], 86400)
return number]]

--- A uid's groups, and the number of their last change.
local READ = [[
return {
    redis.call("smembers", KEYS[1]),
    tonumber(redis.call("get", KEYS[2]) or 0),
}]]

--- Keys carry the name in braces, so that Redis Cluster keeps what belongs to
--- one name together.
local function uid_key(uid)
    return "sd:{u:" .. uid .. "}:groups"
end

local function number_key(uid)
    return "sd:{u:" .. uid .. "}:changes"
end

local function group_key(group)
    return "sd:{g:" .. group .. "}:uids"
end

--- The replies of a pipeline, or nil and the first failure among them.
local function write(server, record)
    local replies, err = server:pipeline(record)
    for _, reply in ipairs(replies or {}) do
        if type(reply) == "table" and reply.err then
            return nil, reply.err
        end
    end
    return replies, err
end

local function change(p, verb, uid, group)
    p:eval(CHANGE, 2, uid_key(uid), number_key(uid), verb, group)
end

--- Call `fn` with the list in parts, until one fails.
local function in_parts(list, fn)
    for first = 1, #list, PART do
        local last = math.min(first + PART - 1, #list)
        local ok, err = fn({ unpack(list, first, last) })
        if not ok then
            return nil, err
        end
    end
    return true
end

--- Take a group that seems empty out of the list of groups. Who is put into
--- it meanwhile is in its own list first.
local function forget(server, group)
    local replies = write(server, function(p)
        p:srem(ALL, group)
        p:scard(group_key(group))
    end)
    if replies and replies[2] > 0 then
        server:sadd(ALL, group)
    end
end

local function put_back(server, group, uids)
    write(server, function(p)
        for _, uid in ipairs(uids) do
            p:sadd(group_key(group), uid)
        end
        p:sadd(ALL, group)
    end)
end

--- Take uids out of a group's list and, if they `leave`, it out of their own
--- sets. Those who are in the group all the same, as somebody has put them in
--- meanwhile, come back. The replies begin with the numbers of those changes.
---@return string[]? those
---@return any[] replies_or_err
local function drop(server, group, uids, leave)
    local replies, err = write(server, function(p)
        for _, uid in ipairs(leave and uids or {}) do
            change(p, "srem", uid, group)
        end
        for _, uid in ipairs(uids) do
            p:srem(group_key(group), uid)
        end
        for _, uid in ipairs(uids) do
            p:sismember(uid_key(uid), group)
        end
        p:scard(group_key(group))
    end)
    if not replies then
        return nil, err
    end
    local those, looks = {}, #replies - #uids - 1
    for i, uid in ipairs(uids) do
        if replies[looks + i] == 1 then
            those[#those + 1] = uid
        end
    end
    if #those > 0 then
        put_back(server, group, those)
    elseif replies[#replies] == 0 then
        forget(server, group)
    end
    return those, replies
end

--- Put a uid into a group.
---@async
---@return integer? number of this change
---@return string? err
function group_store.add(server, uid, group)
    local replies, err = write(server, function(p)
        change(p, "sadd", uid, group)
        p:sadd(group_key(group), uid)
        p:sadd(ALL, group)
    end)
    return replies and replies[1], err
end

--- Take a uid out of a group.
---@async
---@return integer? number of this change
---@return string? err
function group_store.remove(server, uid, group)
    local those, replies = drop(server, group, { uid }, true)
    if not those then
        return nil, replies
    end
    return replies[1]
end

--- Take everybody out of a group, some at a time: `tell` gets a list of their
--- uids, each with the number of the change behind it.
---@async
---@param tell fun(changes: any[]): true?, string?
---@return true? ok
---@return string? err
function group_store.delete(server, group, tell)
    local uids, err = server:smembers(group_key(group))
    if not uids then
        return nil, err
    elseif #uids == 0 then
        forget(server, group)
    end
    return in_parts(uids, function(part)
        local those, replies = drop(server, group, part, true)
        if not those then
            return nil, replies
        end
        local changes = {}
        for i, uid in ipairs(part) do
            changes[2 * i - 1], changes[2 * i] = uid, replies[i]
        end
        return tell(changes)
    end)
end

--- Add those of `uids` whose own set has the group to `list`; the others leave
--- its list.
local function confirm(server, group, uids, list)
    local replies, err = write(server, function(p)
        for _, uid in ipairs(uids) do
            p:sismember(uid_key(uid), group)
        end
    end)
    if not replies then
        return nil, err
    end
    local strangers = {}
    for i, uid in ipairs(uids) do
        local to = replies[i] == 1 and list or strangers
        to[#to + 1] = uid
    end
    if #strangers == 0 then
        return true
    end
    local those
    those, err = drop(server, group, strangers, false)
    for _, uid in ipairs(those or {}) do
        list[#list + 1] = uid
    end
    return those and true, err
end

--- Who is in a group.
---@async
---@return string[]? uids
---@return string? err
function group_store.members(server, group)
    local replies, err = write(server, function(p)
        p:smembers(group_key(group))
        p:sismember(ALL, group)
    end)
    if not replies then
        return nil, err
    end
    local uids, list, ok = replies[1], core.array(), true
    if #uids > 0 then
        ok, err = in_parts(uids, function(part)
            return confirm(server, group, part, list)
        end)
        if replies[2] == 0 then
            server:sadd(ALL, group) -- who put the first in has died amid it
        end
    elseif replies[2] == 1 then
        forget(server, group)
    end
    return ok and list, err
end

--- The groups a uid is in.
---@async
---@return string[]? groups
---@return string? err
function group_store.of_uid(server, uid)
    return server:smembers(uid_key(uid))
end

--- The same, and the number of the last change of them.
---@async
---@return string[]? groups
---@return integer|string number_or_err
function group_store.read(server, uid)
    local reply, err = server:eval(READ, 2, uid_key(uid), number_key(uid))
    if not reply then
        return nil, err
    end
    return reply[1], reply[2]
end

--- Is the uid in the group?
---@async
---@return boolean? is_in
---@return string? err
function group_store.has(server, uid, group)
    local n, err = server:sismember(uid_key(uid), group)
    if not n then
        return nil, err
    end
    return n == 1
end

--- Some of the groups there are.
---@async
---@param cursor? string
---@return string[]? groups
---@return string? next_or_err nil: these were the last
function group_store.names(server, cursor)
    local reply, err = server:sscan(ALL, cursor or "0", "count", 100)
    if not reply then
        return nil, err
    end
    local next_cursor = tostring(reply[1])
    return reply[2], next_cursor ~= "0" and next_cursor or nil
end

return group_store
