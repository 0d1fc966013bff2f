--- Packets: from the bytes at hand to a controller's method and back.
---
--- C has started this coroutine for one packet of one conn. Two shapes of the
--- same work: `direct` for a port with the route `normal` and no middleware,
--- which makes no table besides `self`, and `routed` for all others.

local app = require("sd.app")
local ask = require("sd.ask")
local calls = require("sd.calls")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local session = require("sd.session")
local usage = require("sd.usage")

local catch = fault.catch
local running = core.running_method
local setmetatable, type, xpcall = setmetatable, type, xpcall

---@class sd.serve
local serve = {}

--- Does the port's `controllers` list name this controller?
local function is_served(list, name)
    for _, entry in ipairs(list or { "*" }) do
        local folder = entry:match("^(.*/)%*$")
        if entry == "*" or entry == name then
            return true
        elseif folder and name:sub(1, #folder) == folder then
            return true
        end
    end
    return false
end

--- Methods open on a port: controller -> method -> entry.
---@param port table its configuration, with its name
---@param methods table functions of every self
---@param fields table getters of every self
---@return table<string, table<string, sd.Method>>
function serve.table_of(port, methods, fields)
    local prefix = port.method_prefix or ""
    local open = {}
    for name, class in pairs(app.controllers) do
        if is_served(port.controllers, name) then
            local mt = conn.meta(class, port.name, methods, fields)
            open[name] = {}
            for method, fn in pairs(app.methods(class)) do
                if method:sub(1, #prefix) == prefix then
                    local short = method:sub(#prefix + 1)
                    open[name][short] =
                        usage.entry(port.name, name, short, fn, mt)
                end
            end
        end
    end
    return open
end

--- What a call has touched is put away before its reply leaves.
---@return true? ok
---@return string? err
function serve.settle()
    local state = calls.peek()
    if not state then
        return true
    end
    local ok, err = session.store(state)
    if state.expired then
        return nil, "timeout"
    end
    return ok, err
end

--- The same for a call that has failed anyway: its own error stays.
function serve.settle_failed()
    if calls.live > 0 then
        local ok, err = xpcall(serve.settle, catch)
        if not ok then
            serve.report(nil, fault.of_xpcall(err))
        end
    end
end

--- Log a Lua error and let the application know.
---@param self table?
---@param err any what `catch` made
function serve.report(self, err)
    if not fault.is_raised(err) then
        return
    end
    log.raised(err)
    local hook = app.hooks.on_error
    if hook and self then
        local ok, again = xpcall(hook, catch, self, err.message .. err.stack)
        again = not ok and fault.of_xpcall(again)
        if fault.is_raised(again) then
            log.raised(again)
        end
    end
end

--- Send the failure of a call, if its route has words for it.
local function refuse(handle, route, call, err, code)
    local number, message = fault.describe(err, code)
    local packet = route.fail(call, number, message)
    if packet ~= nil then
        core.send(handle, packet)
    end
end

--- The outcome of a call that did not reply by itself.
local function failed(handle, self, route, call, ok, err, code)
    if not ok then
        err = fault.of_xpcall(err)
        serve.report(self, err)
    end
    serve.settle_failed()
    local fine, again = xpcall(refuse, catch, handle, route, call, err, code)
    if not fine then
        serve.report(nil, fault.of_xpcall(again))
    end
end

--- A packet that names nothing we serve.
local function unknown(handle, route, call)
    core.log_missing(call.controller, call.method)
    local packet = route.fail(call, 404, "no such method")
    if packet ~= nil then
        core.send(handle, packet)
    end
end

--- Send a reply. Returns nothing, or why it cannot leave ("too_large").
local function send_reply(handle, packet)
    local ok, why = core.send(handle, packet)
    if not ok then
        return why
    end
end

--- Run a method and send its reply. Returns nothing, or what failed.
local function invoke(self, fn, params, id)
    local result, err, code = fn(self, params)
    if result == nil and err ~= nil then
        return err, code
    end
    if calls.live > 0 then
        local ok, why = serve.settle()
        if not ok then
            return why
        end
    end
    if id ~= nil then
        return send_reply(self[1], { id = id, result = result })
    elseif result ~= nil then
        return send_reply(self[1], result)
    end
end

--- What a route understood: an answer to an ask, and no call?
local function is_answer(call)
    return call.answer ~= nil and call.controller == nil
end

--- An answer to an ask; one that nobody waits for is dropped.
local function take_answer(handle, call)
    ask.answer(handle, call.answer, call.result, call.error)
end

--- The packet at hand where a pack of the application decodes it: what it
--- raises comes as `why`.
function serve.own_packet()
    local ok, packet, why = xpcall(core.packet, catch)
    if ok then
        return packet, why
    end
    return nil, fault.of_xpcall(packet)
end

--- Bytes that are no packet.
local function unreadable(handle, route, why)
    if type(why) == "string" then
        return failed(handle, nil, route, nil, true, "invalid: " .. why)
    end
    failed(handle, nil, route, nil, false, why)
end

--- How packets of a plain port are served.
---@param open table
---@param route sd.Route
---@param take fun(): any, any the packet at hand, or nil and why
---@return fun(handle: integer)
function serve.direct(open, route, take)
    return function(handle)
        running[1] = false
        local packet, why = take()
        if type(packet) ~= "table" then
            return unreadable(handle, route, why or "a packet is a map")
        end
        local id, name = packet.id, packet.controller_name
        local class = open[name]
        local method = class and class[packet.method_name]
        if not method then
            local call = route.request(nil, packet)
            if call.answer ~= nil then
                return take_answer(handle, call)
            end
            return unknown(handle, route, call)
        end
        method.calls = method.calls + 1
        local self = setmetatable({ handle }, method.mt)
        running[1] = method.name
        local ok, err, code =
            xpcall(invoke, catch, self, method.fn, packet.params, id)
        if not ok or err ~= nil then
            method.errors = method.errors + 1
            failed(handle, self, route, { id = id }, ok, err, code)
        end
    end
end

local chain

--- Apart from `chain`, because a function that makes closures is not compiled.
local function run_middleware(list, i, self, call, open)
    return list[i](self, call, function()
        return chain(list, i + 1, self, call, open)
    end)
end

--- Run middlewares from the i-th on, then the method.
chain = function(list, i, self, call, open)
    if list[i] then
        return run_middleware(list, i, self, call, open)
    end
    local class = open[call.controller]
    local method = class and class[call.method]
    if not method then
        core.log_missing(call.controller, call.method)
        fault.fail(404, "no such method")
    end
    method.calls = method.calls + 1
    setmetatable(self, method.mt)
    running[1] = method.name
    return method.fn(self, call.params)
end

serve.chain = chain

--- The route, the middlewares, the method, the reply. `self[2]` keeps the
--- call for whoever has to say that it failed. Returns as `invoke`.
local function run_routed(self, packet, port)
    local route = port.route
    local call, err = route.request(self, packet)
    if call == nil then
        return err ~= nil and "invalid: " .. tostring(err) or nil
    elseif is_answer(call) then
        return take_answer(self[1], call)
    end
    self[2] = call
    local result, why, code = chain(port.middlewares, 1, self, call, port.open)
    if result == nil and why ~= nil then
        return why, code
    end
    if calls.live > 0 then
        local ok, cut = serve.settle()
        if not ok then
            return cut
        end
    end
    if result == nil and call.id == nil then
        return
    end
    packet = route.reply(call, result)
    if packet ~= nil then
        return send_reply(self[1], packet)
    end
end

--- How packets of a port with its own route or middlewares are served.
---@param port {open: table, route: sd.Route, middlewares: function[],
---  mt: table, take: fun(): any, any}
---@return fun(handle: integer)
function serve.routed(port)
    local route, take = port.route, port.take
    return function(handle)
        running[1] = false
        local packet, why = take()
        if why then
            return unreadable(handle, route, why)
        end
        local self = setmetatable({ handle, false }, port.mt)
        local ok, err, code = xpcall(run_routed, catch, self, packet, port)
        if not ok or err ~= nil then
            usage.failed(port.open, self[2] or nil)
            failed(handle, self, route, self[2] or nil, ok, err, code)
        end
    end
end

--- While a conn has asks open: is the packet at hand an answer?
---@param route sd.Route
---@return fun(handle: integer): boolean
function serve.answers(route, mt, take)
    return function(handle)
        local packet, why = take()
        if why or packet == nil then
            return false
        end
        local self = setmetatable({ handle }, mt)
        local ok, call = xpcall(route.request, catch, self, packet)
        if not ok or type(call) ~= "table" or not is_answer(call) then
            return false
        end
        return ask.answer(handle, call.answer, call.result, call.error)
    end
end

return serve
