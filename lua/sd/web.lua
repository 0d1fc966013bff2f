--- HTTP calls: from a path to a controller's method and back.

local calls = require("sd.calls")
local core = require("sd.core")
local dev_page = require("sd.dev_page")
local fault = require("sd.fault")
local model = require("sd.model")
local normal = require("sd.normal").normal
local request = require("sd.request")
local serve = require("sd.serve")
local usage = require("sd.usage")

local catch = fault.catch
local running = core.running_method

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
    rawset(self, "closing", true)
    return true
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
    local _ = self.request -- readable also after the answer has left
    local made = request.response(self[1])
    rawset(self, "response", made)
    return made
end

function fields.context(self)
    local context = calls.context()
    rawset(self, "context", context)
    return context
end

function fields.conn_id(self)
    local id = core.conn_id(self[3])
    rawset(self, "conn_id", id)
    return id
end

function fields.peer(self)
    local address, port = core.peer(self[3])
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

--- Does somebody look at it who would rather see a page than JSON?
local function wants_page(self, err)
    if not core.dev or not fault.is_raised(err) then
        return false
    end
    local accept = self.request.headers.accept
    return type(accept) == "string" and accept:find("text/html", 1, true) ~= nil
end

--- Answer with the failure of a call.
local function fail(self, number, route, call, err, code)
    serve.report(self, err)
    local shown, message = fault.describe(err, code)
    if core.http_done(number) then
        core.http_abort(number)
        return
    end
    if wants_page(self, err) then
        local html = "text/html; charset=utf-8"
        core.http_respond(self[1], 500, html, nil, dev_page.render(err))
        return
    end
    local packet
    if route ~= normal then
        packet = route.fail(call, shown, message)
    end
    packet = packet or { error = { code = shown, message = message } }
    local _, lines = settings(self)
    local status = status_of(shown)
    if type(packet) == "string" then
        local kind = "text/plain; charset=utf-8"
        core.http_respond(number, status, kind, lines, packet)
    else
        core.http_value(number, status, lines, packet)
    end
end

--- The outcome of xpcall: what failed is answered, what shall close closes.
--- `entry` is what the path named, if it did.
local function finish(self, port, entry, ok, err, code)
    if not ok or err ~= nil then
        usage.failed(port.open, entry or self[2] or nil)
        err = ok and err or fault.of_xpcall(err)
        fail(self, self[1], port.route, self[2] or nil, err, code)
    end
    if rawget(self, "closing") then
        core.close(self[3], "closed")
    end
end

--- The answer is still owed: a deadline that has passed makes it another one.
local function is_late()
    if calls.live > 0 then
        local state = calls.peek()
        return state and state.expired
    end
    return false
end

--- Call the method a path names; `why` its parameters cannot be read.
--- Returns nothing, or what failed.
local function run_plain(self, entry, params, why, port)
    if why then
        return "invalid: " .. why
    end
    local result, err, code
    if port.middlewares[1] then
        local call = {
            controller = entry.controller,
            method = entry.method,
            params = params,
        }
        self[2] = call
        result, err, code =
            serve.chain(port.middlewares, 1, self, call, port.open)
    else
        running[1] = entry.path
        local count = entry.usage
        count.calls = count.calls + 1
        result, err, code = entry.fn(self, params)
    end
    if result == nil and err ~= nil then
        return err, code
    elseif is_late() then
        return "timeout"
    elseif type(result) == "table" and not rawget(self, "response") then
        core.http_value(self[1], 200, nil, result)
    else
        reply(self, result)
    end
end

local function not_found(number)
    local _, path = core.http_call(number)
    core.log_missing(nil, path)
    core.http_value(number, 404, nil, {
        error = { code = 404, message = "not found" },
    })
end

--- Methods by the path that names them.
local function paths_of(open)
    local paths = {}
    for controller, methods_open in pairs(open) do
        for name, method in pairs(methods_open) do
            paths["/" .. controller .. "/" .. name] = {
                controller = controller,
                method = name,
                path = method.name,
                fn = method.fn,
                mt = method.mt,
                usage = method,
            }
        end
    end
    return paths
end

---@class sd.WebPort
---@field open table controller -> method -> sd.Method
---@field route sd.Route
---@field middlewares function[]
---@field mt table metatable of a self without a controller

--- How requests of a port are served: a path is controller and method.
---@param port sd.WebPort
---@return fun(number: integer, handle: integer)
function web.plain(port)
    local paths = paths_of(port.open)
    return function(number, handle)
        running[1] = false
        local entry, params, why = core.http_entry(number, paths)
        if not entry then
            if not core.http_static(number) then
                not_found(number)
            end
            return
        end
        local self = setmetatable({ number, false, handle }, entry.mt)
        finish(
            self,
            port,
            entry,
            xpcall(run_plain, catch, self, entry, params, why, port)
        )
    end
end

--- The call that the port's own route makes of a request, and its reply.
local function run_routed(self, port)
    local call, err = port.route.request(self, self.request)
    if call == nil then
        if err ~= nil then
            return "invalid: " .. tostring(err)
        elseif not core.http_done(self[1]) then
            if not core.http_static(self[1]) then
                not_found(self[1])
            end
        end
        return
    end
    self[2] = call
    local result, why, code =
        serve.chain(port.middlewares, 1, self, call, port.open)
    if result == nil and why ~= nil then
        return why, code
    elseif is_late() then
        return "timeout"
    end
    reply(self, port.route.reply(call, result))
end

--- How requests of a port with its own route are served.
---@param port sd.WebPort
---@return fun(number: integer, handle: integer)
function web.routed(port)
    return function(number, handle)
        running[1] = false
        local self = setmetatable({ number, false, handle }, port.mt)
        finish(self, port, nil, xpcall(run_routed, catch, self, port))
    end
end

--- Run on_handshake. Returns nothing, or what refused.
local function ask_hook(self, hook)
    local result, err, code = hook(self)
    if result == nil and err ~= nil then
        return err, code
    end
    local ok, why = serve.settle()
    return not ok and why or nil
end

--- A WebSocket's handshake: the hook decides, then the conn opens. What was
--- kept for a conn that does not open is forgotten: below lies a plain
--- connection, which may be a proxy's, shared by many users.
---@param mt table
---@param hook function
---@return fun(number: integer, handle: integer)
function web.handshake(mt, hook)
    return function(number, handle)
        local self = setmetatable({ handle }, mt)
        rawset(self, "request", request.new(number))
        rawset(self, "response", request.response(number))
        local ok, err, code = xpcall(ask_hook, catch, self, hook)
        err = ok and err or not ok and fault.of_xpcall(err) or nil
        local opened = false
        if err == nil and not core.http_done(number) then
            local _, lines = settings(self)
            opened = core.http_upgrade(number, lines)
        elseif err ~= nil then
            fail(self, number, normal, nil, err, code)
        end
        if not opened then
            core.unbind_uid(handle)
            core.set_session(handle, nil)
        end
    end
end

return web
