--- Who is online in the cluster.
---
--- In a node of its own all of this is known in shared memory and does not
--- wait. In a cluster one uid is looked up here and then in Redis, where only
--- conns of living processes count; what concerns all uids every node is asked
--- for, a second at most, and those that have not answered are named.
---
--- A uid that may have conns on several nodes is counted once: each node counts
--- the others, and sends hashes of these (ipc/elsewhere.h), of which equal ones
--- are one. A uid whose conn is being replaced by one on another node may be
--- counted on both until the loser has heard of it.

local abroad = require("sd.abroad")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local location_store = require("sd.location_store")
local redis = require("sd.redis")
local uidcall = require("sd.uidcall")

local uid_text = conn.uid_text

---@class sd.presence
local presence = {}

local PATIENCE = 1000 -- ms for the answers of other nodes
local PART = 200 -- uids looked up in Redis at once

local function patience()
    return math.min(PATIENCE, core.time_left() or PATIENCE)
end

--- Results of a call that a worker has made for a task, or of our own.
local function on_worker(name, ...)
    if core.role ~= "task" then
        return presence.all[name](...)
    end
    local ms = 2 * patience()
    local r, err = abroad.by_worker("presence", name, { ... }, ms)
    if not r then
        return nil, err
    end
    local result = r[1]
    if result == core.null then
        result = nil -- task_take_reply() leaves it in a list
    end
    return result, r[2] or nil, r[3] or nil
end

--- From a task of our node.
function presence.serve(name, args)
    local a, b, c = presence.all[name](args[1])
    return { a == nil and core.null or a, b or false, c or false }
end

--- Ask all other nodes the same, at the same time.
---@return table<string, any> answers by boot
---@return string[]? silent names of those that did not answer
local function ask_nodes(verb, value)
    local ms = patience()
    local nodes, runs, silent = core.other_nodes(), {}, {}
    for i = 1, #nodes, 2 do
        runs[nodes[i]] = function()
            return { abroad.node(verb, nodes[i], value, ms) }
        end
    end
    local answers = {}
    local results = next(runs) and go.all(runs) or {}
    for i = 1, #nodes, 2 do
        local r = results[nodes[i]]
        if r and r[1] ~= nil then
            answers[nodes[i]] = r[1]
        else
            silent[#silent + 1] = nodes[i + 1] ~= "" and nodes[i + 1]
                or nodes[i]
        end
    end
    return answers, silent[1] and silent or nil
end

--- Uids online here that may have conns elsewhere too.
local function twins()
    local list, cursor = {}, nil
    repeat
        cursor = core.twins(list, cursor)
        if cursor then
            go.sleep(0)
        end
    until not cursor
    return list
end

--- For another node: how many uids are online here, and hashes of those that
--- are not among them.
function presence.here_online()
    local list = twins()
    local n = core.count_online() - #list
    for i, uid in ipairs(list) do
        list[i] = core.uid_hash(uid)
    end
    return { math.max(n, 0), table.concat(list) }
end

local function add_online(sum, seen, answer)
    sum = sum + answer[1]
    for at = 1, #answer[2], 8 do
        local hash = answer[2]:sub(at, at + 7)
        sum = seen[hash] and sum or sum + 1
        seen[hash] = true
    end
    return sum
end

local all = {}
presence.all = all

function all.count_online()
    local answers, silent = ask_nodes("online")
    local seen = {}
    local sum = add_online(0, seen, presence.here_online())
    for _, answer in pairs(answers) do
        sum = add_online(sum, seen, answer)
    end
    return sum, nil, silent
end

--- How many uids have a conn.
---@async in a cluster
---@return integer? n
---@return string? err
---@return string[]? silent nodes that did not answer: they are not counted
function presence.count_online()
    if not core.in_cluster() then
        return core.count_online()
    end
    return on_worker("count_online")
end

--- Living conns of uids: by index, a list of boots.
local function boots_of(uids)
    local server = redis()
    local boots = {}
    for from = 1, #uids, PART do
        local to = math.min(from + PART - 1, #uids)
        local replies, err = server:pipeline(function(p)
            for i = from, to do
                p:hkeys(location_store.key(uids[i]))
            end
        end)
        if not replies then
            return nil, err
        end
        for i = from, to do
            local reply = replies[i - from + 1]
            if reply.err then
                return nil, "unavailable"
            end
            boots[i] = {}
            for _, id in ipairs(reply) do
                if core.conn_lives(id) then
                    table.insert(boots[i], id:sub(1, 16))
                end
            end
        end
    end
    return boots
end

--- Of uids that may be on several nodes leave those out that another node
--- shows: the one of the lowest boot does.
local function without_twins(uids)
    local doubtful, shown = {}, core.array()
    for _, uid in ipairs(uids) do
        if core.is_elsewhere(uid) then
            doubtful[#doubtful + 1] = uid
        else
            shown[#shown + 1] = uid
        end
    end
    local boots = doubtful[1] and boots_of(doubtful)
    for i, uid in ipairs(doubtful) do
        local lowest = core.boot
        for _, boot in ipairs(boots and boots[i] or {}) do
            lowest = boot < lowest and boot or lowest
        end
        if lowest == core.boot then
            shown[#shown + 1] = uid
        end
    end
    return shown
end

--- For another node: a page of those here.
function presence.here_page(cursor)
    local uids, more = core.online_uids(core.array(), cursor)
    return { without_twins(uids), more or false }
end

--- A cursor is the node that is at hand and the cursor there.
local function read_cursor(cursor)
    if cursor == nil then
        return core.boot, nil
    end
    local boot, at
    if type(cursor) == "string" then
        boot, at = cursor:match("^(%x+):(%d+)$")
    end
    if not boot then
        fault.misuse("bad cursor (what online_uids gave expected)")
    end
    return boot, tonumber(at) > 0 and tonumber(at) or nil
end

--- The node behind this one: we are the first, then come the others as they
--- are listed, by boot.
local function next_node(nodes, boot)
    for i = 1, #nodes, 2 do
        if boot == core.boot or nodes[i] > boot then
            return nodes[i]
        end
    end
end

local function name_of(nodes, boot)
    for i = 1, #nodes, 2 do
        if nodes[i] == boot and nodes[i + 1] ~= "" then
            return nodes[i + 1]
        end
    end
    return boot
end

function all.online_uids(cursor)
    local boot, at = read_cursor(cursor)
    local nodes = core.other_nodes()
    local page, silent
    if boot == core.boot then
        page = presence.here_page(at)
    else
        page = abroad.node("page", boot, at or core.null, patience())
        silent = not page and { name_of(nodes, boot) } or nil
        page = page or { core.array(), false }
    end
    local following = page[2] and ("%s:%d"):format(boot, page[2])
    if not page[2] then
        local other = next_node(nodes, boot)
        following = other and other .. ":0"
    end
    return page[1], following or nil, silent
end

--- Some of the uids that have a conn; call again with `next` for more.
---@async in a cluster
---@param cursor? any
---@return string[]? uids
---@return any next nil: these were the last
---@return string[]? silent the node whose turn it was, when it did not answer
function presence.online_uids(cursor)
    if core.in_cluster() then
        read_cursor(cursor)
        return on_worker("online_uids", cursor)
    end
    if cursor ~= nil and type(cursor) ~= "number" then
        fault.misuse("bad cursor (what online_uids gave expected)")
    end
    return core.online_uids(core.array(), cursor)
end

--- Those of the uids that have a conn, in their order.
---@async in a cluster, if some are not here
---@param uids string[]
---@return string[]? online
---@return string? err "unavailable"
function presence.online_of(uids)
    local online, far, is_online = core.array(), {}, {}
    for _, uid in ipairs(uids) do
        is_online[uid] = core.is_online(uid)
        if not is_online[uid] then
            far[#far + 1] = uid
        end
    end
    if far[1] and core.in_cluster() then
        local boots, err = boots_of(far)
        if not boots then
            return nil, err
        end
        for i, uid in ipairs(far) do
            is_online[uid] = boots[i][1] ~= nil
        end
    end
    for _, uid in ipairs(uids) do
        if is_online[uid] then
            online[#online + 1] = uid
        end
    end
    return online
end

--- Has the uid a conn?
---@async in a cluster, if it is not here
---@param uid sd.Uid
---@return boolean? is_online
---@return string? err "unavailable"
function presence.uid_is_online(uid)
    uid = uid_text(uid)
    if core.is_online(uid) then
        return true
    elseif not core.in_cluster() then
        return false
    end
    local online, err = presence.online_of({ uid })
    if not online then
        return nil, err
    end
    return online[1] ~= nil
end

function all.topic_count(filter)
    local answers, silent = ask_nodes("topics", filter)
    local sum, err = uidcall.topic_count_here(filter)
    if not sum then
        return nil, err
    end
    for _, n in pairs(answers) do
        sum = sum + n
    end
    return sum, nil, silent
end

--- Conns that are subscribed to exactly this filter.
---@async
---@param filter string
---@return integer? count
---@return string? err "busy", "timeout"
---@return string[]? silent nodes that did not answer: they are not counted
function presence.topic_count(filter)
    core.topic_filter(filter)
    if not core.in_cluster() then
        return uidcall.topic_count_here(filter)
    end
    return on_worker("topic_count", filter)
end

uidcall.here.online = function()
    return presence.here_online()
end
uidcall.here.page = function(_, cursor)
    return presence.here_page(cursor ~= core.null and cursor or nil)
end
uidcall.here.topics = function(_, filter)
    return uidcall.topic_count_here(filter)
end
uidcall.here.presence = presence.serve

return presence
