--- Sends to people and to topics.
---
--- All of it reaches the conns of every worker of the node, also from a task.
--- The calls are those of the whole cluster, so scripts need not change when
--- there is more to reach.

local abroad = require("sd.abroad")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local reports = require("sd.reports")

local uid_text = conn.uid_text

---@class sd.people
local people = {}

---@alias sd.Uid string|integer

---@class sd.SendOpts
---@field except? sd.Uid|sd.Uid[] who is left out
---@field conflate? string replaces what waits with the same
---@field volatile? boolean not for conns that read too slowly

--- Uids as texts; misuse raises, and a map or a list with holes is none.
---@param uids any
---@return string[]
function people.uid_list(uids)
    if type(uids) ~= "table" then
        fault.misuse("bad uids (a list expected)")
    end
    local list, n = {}, 0
    for i, uid in ipairs(uids) do
        list[i] = uid_text(uid)
    end
    for _ in pairs(uids) do
        n = n + 1
    end
    if n ~= #list then
        fault.misuse("bad uids (a list expected)")
    end
    return list
end

--- One uid or a list of them, as a list of texts.
---@return string[]
local function some_uids(uids)
    return type(uids) == "table" and people.uid_list(uids) or { uid_text(uids) }
end

--- What C wants to know of the options.
---@param opts? sd.SendOpts
---@return string[]? except
---@return boolean? volatile
---@return string? conflate
local function options(opts)
    if opts == nil then
        return nil, nil
    end
    local except = fault.options(opts).except
    return except ~= nil and some_uids(except) or nil, conn.options(opts)
end

--- Send to whoever listens to a topic.
---@param topic string
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err "busy"
function people.publish(topic, data, opts)
    if type(topic) ~= "string" then
        fault.misuse("bad topic name (a string expected)")
    end
    return core.publish(topic, data, options(opts))
end

--- Send to uids, each once. What has left for another worker and does not
--- arrive is reported there.
local function send(uids, data, opts)
    local except, is_volatile, conflate = options(opts)
    local list, seen = {}, {}
    for _, uid in ipairs(except or {}) do
        seen[uid] = true
    end
    for _, uid in ipairs(uids) do
        if not seen[uid] then
            seen[uid] = true
            list[#list + 1] = uid
        end
    end
    local results, err = core.send_uids(list, data, nil, is_volatile, conflate)
    if not results then
        return nil, err
    end
    reports.add(list, data, results, is_volatile)
    return true
end

--- Send to all conns of a uid. What does not arrive goes to the hook
--- `on_undeliverable`.
---@param uid sd.Uid
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err "busy"
function people.send_to_uid(uid, data, opts)
    if opts ~= nil or type(uid) ~= "string" then
        return send({ uid_text(uid) }, data, opts)
    end
    local ok, err = core.send_uid(uid, data)
    if ok == false then
        reports.add({ uid }, data, { err })
        return true
    end
    return ok, err
end

--- The same for many uids; each receives it once.
---@param uids sd.Uid[]
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err "busy"
function people.send_to_uids(uids, data, opts)
    return send(people.uid_list(uids), data, opts)
end

--- Send to every conn, bound or not.
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err "busy"
function people.send_to_all(data, opts)
    return core.send_all("", data, options(opts))
end

--- Close all conns of a uid.
---@async in a cluster, if it may have conns on other nodes
---@param uid sd.Uid
---@param reason? string default "kicked"
---@return true? ok
---@return string? err "offline"
function people.kick_uid(uid, reason)
    if reason ~= nil and type(reason) ~= "string" then
        fault.misuse("bad argument #2 to 'kick_uid' (a string expected)")
    end
    uid, reason = uid_text(uid), reason or "kicked"
    local ok, err = core.kick(uid, reason)
    conn.close_kicked(reason)
    if core.in_cluster() and (not ok or core.is_elsewhere(uid)) then
        local ms = math.min(core.call_timeout, core.time_left() or math.huge)
        local there, why = abroad.call("kick", uid, reason, ms)
        if not ok then
            return there, why
        end
    end
    return ok, err
end

people.options = options

return people
