--- HTTP calls: from a path to a controller's method and back.

local calls = require("sd.calls")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local model = require("sd.model")
local normal = require("sd.normal").normal
local request = require("sd.request")
local serve = require("sd.serve")

local catch = fault.catch

---@class sd.web
local web = {}

--- A plain request belongs to no user: what speaks to a conn raises.
local methods = {}
for _, name in ipairs({
    "send",
    "ask",
    "bind_uid",
    "unbind_uid",
    "join_group",
    "leave_group",
    "subscribe",
    "unsubscribe",
}) do
    methods[name] = function()
        fault.misuse("self:" .. name .. " needs a conn, not a plain request")
    end
end

function methods.model(_, name)
    return model(name)
end

--- Close the connection below once the answer has left.
function methods.close(self)
    return core.close(self.handle, "closed")
end

local fields = {}

function fields.session()
    fault.misuse("self.session needs a conn, not a plain request")
end

function fields.request(self)
    local made = request.new(self[1])
    rawset(self, "request", made)
    return made
end

function fields.response(self)
    local made = request.response(self[1])
    rawset(self, "response", made)
    return made
end

function fields.context(self)
    local context = calls.context()
    rawset(self, "context", context)
    return context
end

function fields.peer(self)
    local address, port = core.peer(self.handle)
    local peer = { address = address, port = port }
    rawset(self, "peer", peer)
    return peer
end

web.methods, web.fields = methods, fields

--- Status and lines a response object asks for, without a reply of its own.
local function settings(self)
    local response = rawget(self, "response")
    if not response then
        return nil, nil, nil
    end
    return response.has_code and response.code,
        table.concat(response.lines),
        response.kind
end

--- Answer with what a method returned.
local function reply(self, result)
    local number = self[1]
    if core.http_done(number) then
        return
    end
    local status, lines, kind = settings(self)
    if result == nil then
        core.http_respond(number, status or 204, kind, lines, "")
    elseif type(result) == "string" then
        kind = kind or "text/plain; charset=utf-8"
        core.http_respond(number, status or 200, kind, lines, result)
    elseif kind then
        local body = core.json_encode(result)
        core.http_respond(number, status or 200, kind, lines, body)
    else
        core.http_value(number, status or 200, lines, result)
    end
end

--- HTTP status of an error code: other codes are the application's own.
local function status_of(code)
    return code >= 400 and code <= 599 and code or 400
end

local function fail(self, route, call, ok, err, code)
    if not ok then
        serve.report(self, err)
    end
    local number, message = fault.describe(err, code)
    if core.http_done(self[1]) then
        return
    end
    local packet
    if route ~= normal then
        packet = route.fail(call, number, message)
    end
    packet = packet or { error = { code = number, message = message } }
    local _, lines = settings(self)
    if type(packet) == "string" then
        core.http_respond(
            self[1],
            status_of(number),
            "text/plain; charset=utf-8",
            lines,
            packet
        )
    else
        core.http_value(self[1], status_of(number), lines, packet)
    end
end

local function run(self, call, port)
    if not port.allowed[call.verb] then
        fault.fail(405, "method not allowed")
    end
    if call.params == nil and not port.routed then
        call.params = request.params(self[1])
    end
    local result, err, code =
        serve.chain(port.middlewares, 1, self, call, port.open)
    if result == nil and err ~= nil then
        return err, code
    end
    if calls.live > 0 then
        local state = calls.peek()
        if state and state.expired then
            return "timeout"
        end
    end
    if port.routed then
        result = port.route.reply(call, result)
    end
    reply(self, result)
end

--- The call a request means; nil: none, look for a file.
local function route_request(self, port, verb, path)
    if port.routed then
        local call, err = port.route.request(self, self.request)
        if call then
            call.verb = verb
        end
        return call, err
    end
    local controller, method = path:match("^/(.+)/([^/]+)$")
    local class = controller and port.open[controller]
    if not (class and class[method]) then
        return nil
    end
    return { controller = controller, method = method, verb = verb }
end

--- How requests of a port are served.
---@param port {open: table, route: sd.Route, routed: boolean,
---  middlewares: function[], mt: table, allowed: table<string, true>}
---@return fun(number: integer, port: integer, handle: integer)
function web.serve(port)
    return function(number, _, handle)
        local verb, path = core.http_call(number)
        local self = setmetatable({ number, handle = handle }, port.mt)
        local ok, call, err =
            xpcall(route_request, catch, self, port, verb, path)
        if not ok then
            return fail(self, port.route, nil, false, call)
        elseif err ~= nil then
            return fail(self, port.route, nil, true, "invalid: " .. err)
        elseif call == nil then
            if not core.http_static(number) then
                core.log(0, "nothing at " .. path)
                core.http_value(number, 404, nil, {
                    error = { code = 404, message = "not found" },
                })
            end
            return
        end
        local code
        ok, err, code = xpcall(run, catch, self, call, port)
        if not ok or err ~= nil then
            fail(self, port.route, call, ok, err, code)
        end
    end
end

--- A WebSocket's handshake: the hook decides, then the conn opens.
---@param mt table
---@param hook? function
function web.handshake(mt, hook)
    return function(number, _, handle)
        local self = setmetatable({ handle }, mt)
        rawset(self, "request", request.new(number))
        rawset(self, "response", request.response(number))
        local ok, result, err, code = true, nil, nil, nil
        if hook then
            ok, result, err, code = xpcall(function()
                local given, why, extra = hook(self)
                if given == nil and why ~= nil then
                    return given, why, extra
                end
                return serve.settle()
            end, catch, self)
        end
        if core.http_done(number) then
            return
        elseif not ok or (result == nil and err ~= nil) then
            core.unbind_uid(handle)
            if not ok then
                err = result
            end
            self[1] = number
            return fail(self, normal, nil, ok, err, code)
        end
        local _, lines = settings(self)
        core.http_upgrade(number, lines)
    end
end

conn.web = web

return web
