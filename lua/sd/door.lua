--- What back ends ask for at the admin port, done as a script would.

local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local people = require("sd.people")
local presence = require("sd.presence")

---@class sd.door
local door = {}

local TARGETS = { "conn", "uid", "uids", "group", "topic", "all" }

--- The one target a request names.
---@return string? target
local function target_of(p)
    local found
    for _, name in ipairs(TARGETS) do
        if p[name] ~= nil and p[name] ~= false then
            if found then
                fault.fail(400, "both " .. found .. " and " .. name)
            end
            found = name
        end
    end
    return found
end

local function need(p, ...)
    local target = target_of(p)
    for _, name in ipairs({ ... }) do
        if target == name then
            return target
        end
    end
    fault.fail(400, "one of " .. table.concat({ ... }, ", ") .. " expected")
end

local function need_data(p)
    if p.data == nil then
        fault.fail(400, "data expected")
    end
end

--- A function of the sd module, by name.
local function api(name)
    return rawget(require("sd"), name)
        or fault.fail(501, name .. " is not available")
end

local sends = {
    uid = "send_to_uid",
    uids = "send_to_uids",
    group = "send_to_group",
    topic = "publish",
}

local verbs = {}

function verbs.send(p)
    local target = need(p, unpack(TARGETS))
    need_data(p)
    if target == "conn" then
        return api("send_to_conn")(p.conn, p.data)
    elseif target == "all" then
        return api("send_to_all")(p.data, p.opts)
    end
    return api(sends[target])(p[target], p.data, p.opts)
end

---@async
function verbs.ask(p)
    need(p, "uid")
    need_data(p)
    local result, err, code = api("ask_uid")(p.uid, p.data, p.opts)
    if result == nil and err ~= nil then
        return nil, err, code
    end
    return { ok = true, result = result == nil and core.null or result }
end

--- Nobody is kicked when one of them is no uid.
local function kick_all(uids, reason)
    uids = people.uid_list(uids)
    local kicked = 0
    for _, uid in ipairs(uids) do
        if api("kick_uid")(uid, reason) then
            kicked = kicked + 1
        end
    end
    return { ok = true, kicked = kicked }
end

function verbs.kick(p)
    local target = need(p, "conn", "uid", "uids", "group")
    local reason = p.reason or p.opts and p.opts.reason or nil
    if target == "conn" then
        return api("close_conn")(p.conn, reason or "kicked")
    elseif target == "uid" then
        return api("kick_uid")(p.uid, reason)
    elseif target == "uids" then
        return kick_all(p.uids, reason)
    end
    local uids, err = api("group_uids")(p.group)
    if not uids then
        return nil, err
    end
    return kick_all(uids, reason)
end

local function are_online(uids)
    local answer = {}
    uids = people.uid_list(uids)
    local online, err = presence.online_of(uids)
    if not online then
        return nil, err
    end
    for _, uid in ipairs(uids) do
        answer[uid] = false
    end
    for _, uid in ipairs(online) do
        answer[uid] = true
    end
    return { ok = true, online = answer }
end

function verbs.online(p)
    local target = target_of(p)
    if target == "uid" then
        local online, err = api("uid_is_online")(p.uid)
        if online == nil then
            return nil, err
        end
        return { ok = true, online = online }
    elseif target == "uids" then
        return are_online(p.uids)
    elseif target == "topic" then
        local count, err, silent = api("topic_count")(p.topic)
        if not count then
            return nil, err
        end
        return { ok = true, count = count, silent = silent }
    elseif target == "group" then
        local uids, err = api("group_uids")(p.group)
        if not uids then
            return nil, err
        end
        return are_online(uids)
    elseif target == "conn" then
        fault.fail(400, "a conn has no uid of its own: ask for uids")
    end
    local uids, next_one = api("online_uids")(p.cursor)
    if not uids then
        return nil, next_one
    end
    local count, err, silent = api("count_online")()
    if not count then
        return nil, err
    end
    return {
        ok = true,
        count = count,
        uids = uids,
        next = next_one,
        silent = silent,
    }
end

--- In a cluster a cursor names a node, too.
local function is_far_cursor(cursor)
    return type(cursor) == "string" and cursor:find("^%x+:%d+$") ~= nil
end

--- Over GET everything is text.
local function from_query(p)
    if type(p.uids) == "string" then
        local uids = core.array()
        for uid in p.uids:gmatch("[^,]+") do
            uids[#uids + 1] = uid
        end
        p.uids = uids
    end
    local cursor = p.cursor
    if cursor ~= nil and not tonumber(cursor) and not is_far_cursor(cursor) then
        fault.fail(400, "cursor: what the last answer gave as next expected")
    end
    p.cursor = tonumber(cursor) or cursor
    return p
end

local function run(verb, text)
    local ok, p = pcall(core.json_decode, text)
    if not ok or type(p) ~= "table" then
        fault.fail(400, "the body is no JSON object")
    end
    if p.opts ~= nil and type(p.opts) ~= "table" then
        fault.fail(400, "opts: an object expected")
    end
    return verbs[verb](verb == "online" and from_query(p) or p)
end

local function failure(number, code, message)
    local status = code >= 400 and code <= 599 and code or 400
    core.door_reply(
        number,
        status,
        core.json_encode({
            error = { code = code, message = message },
        })
    )
end

--- Misuse names the line of the script that called, and here is none; what
--- names a line is a bug, and so is running out of memory, which has no stack.
local function is_misuse(raised)
    return raised.stack ~= "" and not raised.message:find("^%S+:%d+: ")
end

--- Code and message of what was raised. Misuse is the back end's mistake.
local function judge(err)
    if not fault.is_raised(err) then
        return fault.describe(err)
    elseif is_misuse(err) then
        return 400, err.message
    end
    log.raised(err)
    return fault.describe(err)
end

--- From C: a request waits.
---@param number number
function door.serve(number)
    local verb, text = core.door_take(number)
    local ok, result, err, code = xpcall(run, fault.catch, verb, text)
    if not ok then
        failure(number, judge(fault.of_xpcall(result)))
    elseif result == nil or result == false then
        failure(number, fault.describe(err or "failed", code))
    else
        core.door_reply(
            number,
            200,
            core.json_encode(result == true and { ok = true } or result)
        )
    end
end

return door
