--- Events: what scripts tell scripts, on all workers of the node or of the
--- cluster.
---
---     sd.event.on("price", function(data, from_node) ... end)
---     sd.event.emit("price", { ore = 12 }, { cluster = true })
---
--- C keeps what has come, in order, and wakes `pump` in the vm that serves.
--- Each handler runs in a coroutine of its own with a copy of its own; while
--- too many are at work, what comes next waits in C.

local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")

---@class sd.event
local event = {}

local MOST = 1024 -- handlers at work at once

---@class sd.EventHandle
---@field private name string
---@field private fn fun(data: any, from_node: string)
---@field private off boolean
local Handle = {}
Handle.__index = Handle

--- Handlers by the name of their event, in the order they were made.
---@type table<string, sd.EventHandle[]>
local handlers = {}

local running, is_stalled, is_retired = 0, false, false

--- Handle no more events; a run under way goes on.
function Handle:cancel()
    self.off = true
    local list = handlers[self.name] or {}
    for i, handle in ipairs(list) do
        if handle == self then
            table.remove(list, i)
            break
        end
    end
    if #list == 0 then
        handlers[self.name] = nil
    end
end

local function check_name(name)
    if type(name) ~= "string" then
        fault.misuse("bad name of an event (a string expected)")
    end
end

--- Have a function called for each event of this name. In a task process,
--- which handles none, it is never called.
---@param name string
---@param fn fun(data: any, from_node: string) may wait
---@return sd.EventHandle
function event.on(name, fn)
    check_name(name)
    if type(fn) ~= "function" then
        fault.misuse("bad argument #2 to 'event.on' (a function expected)")
    end
    local handle = setmetatable({ name = name, fn = fn, off = false }, Handle)
    if core.role == "worker" and not is_retired then
        handlers[name] = handlers[name] or {}
        table.insert(handlers[name], handle)
    end
    return handle
end

--- Tell the handlers of all workers of the node, or of all nodes. Never waits.
---@param name string
---@param data any plain data
---@param opts? { cluster: boolean? }
---@return true? ok
---@return string? err "busy", "too_large": nobody was told
function event.emit(name, data, opts)
    check_name(name)
    return core.emit(name, data, fault.options(opts).cluster)
end

local function handle_one(handle, bytes, from)
    handle.fn(core.msgpack_decode(bytes), from)
end

local function run(handle, bytes, from)
    local ok, err = true, nil
    if not handle.off then
        ok, err = xpcall(handle_one, fault.catch, handle, bytes, from)
    end
    running = running - 1 -- before what may raise
    if is_stalled and running < MOST / 2 then
        is_stalled = false
        core.wake_events()
    end
    if ok then
        return
    end
    err = fault.of_xpcall(err)
    if fault.is_raised(err) then
        log.raised(err)
    elseif err ~= "cancelled" then
        local _, text = fault.describe(err)
        log.error("event " .. handle.name .. ": " .. text)
    end
end

local NONE = {}
local started = 0 -- handlers of the event at hand

--- From C: begin to handle what has come. Where it fails it goes on when it is
--- called again.
function event.pump()
    while running < MOST do
        local name, bytes, from = core.next_event()
        if not name then
            return
        end
        local list = handlers[name] or NONE
        while started < #list do
            core.spawn(true, run, list[started + 1], bytes, from)
            started, running = started + 1, running + 1
        end
        core.end_event()
        started = 0
    end
    is_stalled = true
end

--- Another vm takes over.
function event.retire()
    local n = 0
    for _, list in pairs(handlers) do
        n = n + #list
    end
    handlers, is_retired = {}, true
    if n > 0 then
        log.info(("%d event handlers end with this code"):format(n))
    end
end

return event
