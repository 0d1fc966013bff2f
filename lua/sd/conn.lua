--- `self` in controllers and hooks: who speaks, and how to answer.
---
--- A `self` is a table of one number (the conn's handle) with a metatable per
--- controller and port; everything else is made when it is first read.

local ask = require("sd.ask")
local calls = require("sd.calls")
local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local model = require("sd.model")
local session = require("sd.session")

---@class sd.Controller
---@field conn_id string
---@field uid? string
---@field port string name of the port
---@field peer {address: string, port: integer}
---@field session table
---@field context table
---@field request sd.Request HTTP only
---@field response sd.Response HTTP only

---@class sd.conn
local conn = {}

--- Send the last packet that the conn's route has for this reason, if any.
function conn.say_bye(handle, reason)
    local route = core.is_open(handle) and ask.route(handle)
    if not route then
        return
    end
    local ok, packet = xpcall(route.bye, fault.catch, reason)
    if ok and packet ~= nil then
        ok, packet = xpcall(core.send, fault.catch, handle, packet)
    end
    packet = not ok and fault.of_xpcall(packet)
    if fault.is_raised(packet) then
        log.raised(packet)
    end
end

--- Close a conn of this process, for a reason of ours.
---@return true? ok
---@return string? err "gone"
function conn.close(handle, reason, code)
    conn.say_bye(handle, reason or "closed")
    return core.close(handle, reason, code)
end

--- Close the conns that have just lost their uid.
function conn.close_kicked(reason)
    for handle in core.next_kicked do
        conn.close(handle, reason)
    end
end

--- What else a bind does; lua/sd/groups.lua puts itself here.
---@param handle integer
---@param uid string
function conn.on_bound(handle, uid)
    local _, _ = handle, uid
end

--- What C wants to know of the options of a send.
---@param opts sd.SendOpts
---@return boolean? volatile
---@return string? conflate
function conn.options(opts)
    local conflate = opts.conflate
    if type(conflate) == "number" then
        conflate = tostring(conflate)
    elseif conflate ~= nil and type(conflate) ~= "string" then
        fault.misuse("bad option conflate (a string expected)")
    end
    return opts.volatile, conflate
end

--- Methods every self has.
local base = {}

--- In on_handshake there is no conn yet that could be spoken to.
local function check_spoken(handle)
    if core.is_open(handle) and not ask.route(handle) then
        fault.misuse("the WebSocket is not open yet: nothing can be sent")
    end
end

local function sent(self, ok, err)
    if err == "gone" then
        check_spoken(self[1])
    end
    return ok, err
end

--- Send to this conn.
---@param data any plain data
---@param opts? sd.SendOpts
---@return true? ok
---@return string? err
function base:send(data, opts)
    if opts == nil then
        return sent(self, core.push(self[1], data))
    end
    opts = fault.options(opts)
    local is_volatile, conflate = conn.options(opts)
    return sent(self, core.push(self[1], data, nil, is_volatile, conflate))
end

--- May a WebSocket be closed with it? RFC 6455, section 7.4: the codes that
--- travel, those of libraries and those of applications.
local function is_code(code)
    return type(code) == "number"
        and code % 1 == 0
        and (
            code >= 3000 and code <= 4999
            or code >= 1000 and code <= 1003
            or code >= 1007 and code <= 1014
        )
end

--- Close this conn, once what was queued is written.
---@param reason? string
---@param code? integer WebSocket close code
function base:close(reason, code)
    if reason ~= nil and type(reason) ~= "string" then
        fault.misuse("bad argument #1 to 'close' (a string expected)")
    elseif code ~= nil and not is_code(code) then
        fault.misuse("bad argument #2 to 'close' (a close code expected)")
    end
    return conn.close(self[1], reason, code)
end

--- Send a question to the client and wait for its answer.
---@async
---@param data table
---@param opts? {timeout?: number}
---@return any answer
---@return string? err
---@return integer? code
function base:ask(data, opts)
    check_spoken(self[1])
    return ask.ask(self[1], data, opts)
end

--- Say who this conn is. With Redis its groups are read, which waits.
---@async
---@param uid string|integer
---@param opts? {policy?: "kick"|"refuse"|"allow"}
---@return true? ok
---@return string? err "refused", "gone"; in a cluster also "unavailable"
function base:bind_uid(uid, opts)
    local handle, policy = self[1], fault.options(opts).policy
    uid = conn.uid_text(uid)
    if core.in_cluster() then
        return conn.bind_in_cluster(handle, uid, policy)
    end
    local ok, err = core.bind_uid(handle, uid, policy)
    conn.close_kicked("replaced")
    if ok then
        conn.on_bound(handle, uid)
    end
    return ok, err
end

--- Forget who this conn is.
---@return true
function base:unbind_uid()
    core.unbind_uid(self[1])
    return true
end

--- Receive what is published on the topics of a filter.
---@param filter string
---@return true? ok
---@return string? err
function base:subscribe(filter)
    return core.subscribe(self[1], filter)
end

---@param filter string
---@return true
function base:unsubscribe(filter)
    core.unsubscribe(self[1], filter)
    return true
end

--- A model that shares this request's context.
---@param name string
---@return table
function base:model(name)
    local _ = self
    return model(name)
end

--- Fields made when first read. They are kept in self but those that change.
local getters = {}

function getters.conn_id(self)
    local id = core.conn_id(self[1])
    rawset(self, "conn_id", id)
    return id
end

function getters.uid(self)
    return core.uid(self[1])
end

function getters.peer(self)
    local address, port = core.peer(self[1])
    local peer = { address = address, port = port }
    rawset(self, "peer", peer)
    return peer
end

function getters.session(self)
    return session.of(self[1])
end

function getters.context(self)
    local context = calls.context(core.uid(self[1]))
    rawset(self, "context", context)
    return context
end

--- An integer as its digits; anything else stays as it is.
function conn.digits_of(n)
    if type(n) ~= "number" or n % 1 ~= 0 or math.abs(n) > 2 ^ 53 then
        return n
    end
    return n == 0 and "0" or ("%.0f"):format(n) -- -0 is 0 as well
end

--- A uid as text; misuse raises.
---@param uid any
---@return string
function conn.uid_text(uid)
    uid = conn.digits_of(uid)
    local is_text = type(uid) == "string" and not uid:find("%z")
    if not is_text or #uid < 1 or #uid > 128 then
        fault.misuse("bad uid (text of 1 to 128 bytes expected)")
    end
    return uid
end

--- Metatable for a `self` of this controller (or hooks) on this port.
---@param class table
---@param port string
---@param methods table functions of every self
---@param fields table<string, fun(self: table): any>
function conn.meta(class, port, methods, fields)
    return {
        __index = function(self, key)
            local value = class[key]
            if value ~= nil then
                return value
            end
            value = methods[key]
            if value ~= nil then
                return value
            elseif key == "port" then
                return port
            end
            local get = fields[key]
            return get and get(self)
        end,
        __newindex = function(self, key, value)
            if fields[key] then
                fault.misuse("self." .. tostring(key) .. " cannot be replaced")
            end
            rawset(self, key, value)
        end,
    }
end

conn.base = base
conn.getters = getters

return conn
