--- Run once per vm: load the application, give C the functions it calls.
---
--- C takes the functions below, calls `load` until every file was run, then
--- `finish`, and reads what that has set.

local core = require("sd.core")

core.config = core.load_config()

local app = require("sd.app")
local ask = require("sd.ask")
local binds = require("sd.binds")
local calls = require("sd.calls")
local conn = require("sd.conn")
local door = require("sd.door")
local event = require("sd.event")
local fault = require("sd.fault")
local go = require("sd.go")
local groups = require("sd.groups")
local location = require("sd.location")
local log = require("sd.log")
local reaper = require("sd.reaper")
local reports = require("sd.reports")
local routes = require("sd.normal")
local serve = require("sd.serve")
local task = require("sd.task")
local timers = require("sd.timers")
local uidcall = require("sd.uidcall")
local web = require("sd.web")
require("sd.strict")
require("sd")

local catch = fault.catch

---@type table<string, function> of scripts/app.lua, once that was run
local hooks = {}

--- Modules by the names a configuration lists.
local function middlewares_of(config)
    local list = {}
    for i, name in ipairs(config.middlewares or {}) do
        list[i] = app.middlewares[name]
            or error("no middleware '" .. name .. "' in scripts/middlewares", 0)
    end
    return list
end

--- Functions that serve packets of one port with this route.
local function packets(config, codec, route_name)
    local route = routes.get(route_name or "normal", app.routes)
    local open = serve.table_of(config, conn.base, conn.getters)
    local mt = conn.meta({}, config.name, conn.base, conn.getters)
    local list = middlewares_of(config)
    local take = app.packs[codec] and serve.own_packet or core.packet
    local answers = serve.answers(route, mt, take)
    if route == routes.normal and #list == 0 then
        return serve.direct(open, route, take), answers, route
    end
    return serve.routed({
        open = open,
        route = route,
        middlewares = list,
        mt = mt,
        take = take,
    }),
        answers,
        route
end

local function requests(config)
    local name = config.route or "normal"
    local serves = name == "normal" and web.plain or web.routed
    return serves({
        open = serve.table_of(config, web.methods, web.fields),
        route = routes.get(name, app.routes),
        middlewares = middlewares_of(config),
        mt = conn.meta({}, config.name, web.methods, web.fields),
    })
end

---@class sd.PortEntry
---@field packet? function
---@field message? function of its WebSockets
---@field request? function
---@field handshake? function

local ports, answers, metas = {}, {}, {}

--- C numbers ports and roles of packets: port * 2, + 1 for WebSockets.
local function add_port(i, config)
    local entry = {}
    metas[i] = conn.meta({}, config.name, conn.base, conn.getters)
    if config.protocol == "http" then
        entry.request = requests(config)
        entry.handshake = web.handshake(metas[i], hooks.on_handshake)
        if config.websocket then
            local route
            local ws = config.websocket
            entry.message, answers[i * 2 + 1], route =
                packets(config, ws.codec, ws.route)
            ask.set_route(i * 2 + 1, route)
        end
    else
        local route
        entry.packet, answers[i * 2], route =
            packets(config, config.codec, config.route)
        ask.set_route(i * 2, route)
    end
    ports[i] = entry
end

--- Does a route of the application have a last packet?
local function has_bye()
    for _, route in pairs(app.routes) do
        if route.bye then
            return true
        end
    end
    return false
end

local boot = {}

boot.load = app.load_next

--- Every file was run.
function boot.finish()
    hooks = app.hooks
    if core.role == "worker" then
        for i, name in ipairs(core.port_names) do
            local config = core.config.ports[name]
            config.name = name
            add_port(i, config)
        end
    end
    boot.ports = ports
    boot.packs = app.packs
    boot.has_open_hook = hooks.on_connect ~= nil
    boot.has_close_hook = hooks.on_close ~= nil
    boot.has_handshake_hook = hooks.on_handshake ~= nil
    boot.has_bye = has_bye()
    boot.has_uid_closed_hook = hooks.on_uid_closed ~= nil
    boot.has_undeliverable_hook = hooks.on_undeliverable ~= nil
end

--- What a hook that failed says, with its stack where there is one.
local function failure(err)
    local _, message = fault.describe(err)
    return fault.is_raised(err) and err.message .. err.stack or message
end

local function start(why)
    if core.role == "worker" and core.in_cluster() then
        location.start(hooks.on_uid_closed ~= nil)
    end
    if hooks.on_start then
        hooks.on_start(why)
    end
    if why == "reload" and hooks.self_check then
        local ok, err = hooks.self_check()
        if ok == false or (ok == nil and err ~= nil) then
            error("self_check: " .. tostring(err or "false"), 0)
        end
    end
end

--- on_start and, before a reload is committed, self_check; a text when one of
--- them failed.
function boot.start()
    local ok, err = xpcall(start, catch, core.why)
    if not ok then
        return failure(fault.of_xpcall(err))
    end
end

--- From C; see lua/sd/location.lua and binds.lua.
boot.locate = location.resolve
boot.arrived = location.arrived
boot.left = binds.left

local function run_save()
    core.keep_state(hooks.save())
end

--- Let the vm that follows have what `save` returns.
function boot.save()
    local ok, err = xpcall(hooks.save and run_save or function() end, catch)
    if not ok then
        log.error("save: " .. failure(fault.of_xpcall(err)))
    end
end

--- Give `restore` what the vm before had to save.
function boot.restore()
    if hooks.restore then
        local ok, err = xpcall(function()
            hooks.restore(core.kept_state())
        end, catch)
        if not ok then
            log.error("restore: " .. failure(fault.of_xpcall(err)))
        end
    end
end

function boot.stop()
    if hooks.on_stop then
        local ok, err = xpcall(hooks.on_stop, catch)
        err = not ok and fault.of_xpcall(err)
        if fault.is_raised(err) then
            log.raised(err)
        end
    end
end

--- Run a hook of a conn; false when it raised.
local function run_hook(hook, self, ...)
    local ok, err = xpcall(function(...)
        hook(self, ...)
        local stored, why = serve.settle()
        if not stored then
            error(why, 0)
        end
    end, catch, ...)
    if not ok then
        serve.report(self, fault.of_xpcall(err))
    end
    return ok
end

function boot.open(handle, port)
    local self = setmetatable({ handle }, metas[port])
    if not run_hook(hooks.on_connect, self) then
        conn.close(handle, "error")
    end
end

boot.gone = ask.closed

function boot.bye(handle)
    conn.say_bye(handle, core.close_reason(handle))
end

function boot.close(handle, port)
    ask.closed(handle)
    if hooks.on_close then
        local self = setmetatable({ handle }, metas[port])
        run_hook(hooks.on_close, self, core.close_reason(handle))
    end
end

function boot.answer(handle)
    local answer = answers[core.route_of(handle)]
    return answer ~= nil and answer(handle)
end

local function tell_end(uid, last, reason)
    local ok, err = xpcall(hooks.on_uid_closed, catch, uid, last, reason)
    err = not ok and fault.of_xpcall(err)
    if fault.is_raised(err) then
        log.raised(err)
    end
    return true
end

--- A binding has ended: C says which.
function boot.uid_closed()
    local uid, last, reason, id = core.ended_uid()
    if last and core.in_cluster() and core.is_elsewhere(uid) then
        last = location.is_last(uid, id)
    end
    tell_end(uid, last, reason)
    location.told(uid, id)
end

--- Sends of others reached nobody here: C says which.
function boot.undelivered()
    local data, lost = core.undelivered()
    local uids, words = {}, {}
    for i = 1, lost and #lost or 0, 2 do
        uids[#uids + 1], words[#words + 1] = lost[i], lost[i + 1]
    end
    reports.add(uids, data, words)
end

boot.events = event.pump
boot.uid_called = uidcall.serve

--- Another vm takes over: what was made for the background ends.
function boot.retire(ms)
    go.retire(ms)
    event.retire()
end

boot.task = task.serve
boot.timer = timers.run
boot.door = door.serve
boot.groups = groups.doubted
location.on_doubt = groups.doubted
reaper.tell = tell_end

--- Somebody looks inside. Nothing of it is loaded before.
function boot.console(number)
    return require("sd.console").serve(number)
end

function boot.ended(id)
    go.ended(id)
    calls.ended(id)
end

return boot
