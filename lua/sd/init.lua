--- The one module that scripts require.

local bytes = require("sd.bytes")
local channel = require("sd.channel")
local check = require("sd.check")
local conn = require("sd.conn")
local core = require("sd.core")
local event = require("sd.event")
local fault = require("sd.fault")
local go = require("sd.go")
local lock = require("sd.lock")
local log = require("sd.log")
local model = require("sd.model")
local groups = require("sd.groups")
local people = require("sd.people")
local presence = require("sd.presence")
local redis = require("sd.redis")
local task = require("sd.task")
local uidcall = require("sd.uidcall")

---@class sd
local sd = {
    go = go.go,
    all = go.all,
    any = go.any,
    timeout = go.timeout,
    sleep = go.sleep,
    after = go.after,
    every = go.every,
    channel = channel,
    event = { on = event.on, emit = event.emit },
    lock = lock.lock,
    check = check,
    fail = fault.fail,
    model = model,
    redis = redis,
    task = task.proxy,
    publish = people.publish,
    send_to_uid = people.send_to_uid,
    send_to_uids = people.send_to_uids,
    send_to_all = people.send_to_all,
    deliver_to_uid = uidcall.deliver_to_uid,
    ask_uid = uidcall.ask_uid,
    kick_uid = people.kick_uid,
    uid_is_online = presence.uid_is_online,
    count_online = presence.count_online,
    online_uids = presence.online_uids,
    subscribe_uid = uidcall.subscribe_uid,
    unsubscribe_uid = uidcall.unsubscribe_uid,
    topic_count = presence.topic_count,
    add_to_group = groups.add_to_group,
    remove_from_group = groups.remove_from_group,
    delete_group = groups.delete_group,
    group_uids = groups.group_uids,
    group_count = groups.group_count,
    uid_groups = groups.uid_groups,
    in_group = groups.in_group,
    groups = groups.groups,
    send_to_group = groups.send_to_group,
    bytes = bytes.bytes,
    crypto = bytes.crypto,
    log = log,
    config = core.config,
    node = core.node,
    generation = core.generation,
    role = core.role,
    slot = core.slot,
    null = core.null,
    array = core.array,
    now = core.now,
    json = { encode = core.json_encode, decode = core.json_decode },
    msgpack = { encode = core.msgpack_encode, decode = core.msgpack_decode },
}

--- The handle of a conn of this process; nil for those of others.
local function handle_of(conn_id)
    if type(conn_id) ~= "string" then
        fault.misuse("bad conn id (a string expected)")
    end
    return core.handle(conn_id)
end

--- Send to one conn.
---@param conn_id string
---@param data any
---@return true? ok
---@return string? err "gone", "slow", "busy"
function sd.send_to_conn(conn_id, data)
    local handle = handle_of(conn_id)
    if not handle then
        return core.send_far(conn_id, data)
    end
    return core.push(handle, data)
end

--- Close one conn.
---@param conn_id string
---@param reason? string
---@return true? ok
---@return string? err "gone", "busy"
function sd.close_conn(conn_id, reason)
    local handle = handle_of(conn_id)
    if reason ~= nil and type(reason) ~= "string" then
        fault.misuse("bad argument #2 to 'close_conn' (a string expected)")
    elseif not handle then
        return core.close_far(conn_id, reason)
    end
    return conn.close(handle, reason)
end

return sd
