--- Asks: questions to a client, matched with its answers by id.

local core = require("sd.core")
local fault = require("sd.fault")
local wait = require("sd.wait")

---@class sd.ask
local ask = {}

--- Route of each port, by port number: {[1] = of packets, [2] = of messages}.
local routes = {}

--- Questions that are open, by conn: their id and who waits.
---@type table<integer, {count: integer, waiting: table}>
local asks = {}

--- Say how the packets of a port are routed.
function ask.set_route(port, route)
    routes[port] = route
end

--- The route of a conn's packets; nil: plain HTTP or gone.
---@return sd.Route?
function ask.route(handle)
    return routes[core.route_of(handle)]
end

local function finish(handle, id)
    local entry = asks[handle]
    core.ask_end(handle, id)
    entry.waiting[id] = nil
    entry.count = entry.count - 1
    if entry.count == 0 then
        asks[handle] = nil
    end
end

--- An id for a question, and the place for its answer.
local function begin(handle, route, box)
    local id = core.ask_begin(handle, math.min(route.max_id, 65535))
    if not id then
        return nil, core.is_open(handle) and "busy" or "gone"
    end
    local entry = asks[handle]
    if not entry then
        entry = { count = 0, waiting = {} }
        asks[handle] = entry
        core.keep(handle)
    end
    entry.waiting[id] = box
    entry.count = entry.count + 1
    return id
end

--- Send the question; what cannot be sent leaves nothing open.
local function put(handle, route, id, data)
    local ok, sent, err = pcall(function()
        return core.send(handle, route.ask(id, data))
    end)
    if ok and sent then
        return true
    end
    finish(handle, id)
    if not ok then
        error(sent, 0)
    end
    return nil, err
end

--- Send a question and wait. A conn whose WebSocket is not open yet is "gone".
---@async
function ask.ask(handle, data, opts)
    local route = ask.route(handle)
    if not route or not core.is_open(handle) then
        return nil, "gone"
    elseif data == nil then
        fault.misuse("bad argument #1 to 'ask' (something to ask expected)")
    end
    opts = fault.options(opts)
    local ms = wait.ms(opts.timeout, "timeout") or core.call_timeout
    local box = { ticket = core.ticket() }
    local id, why = begin(handle, route, box)
    if not id then
        return nil, why
    end
    local ok, err = put(handle, route, id, data)
    if not ok then
        return nil, err
    end
    local good, _, late = pcall(wait.settle, core.wait(ms))
    finish(handle, id)
    if box.done then
        return box.result, box.err, box.code
    elseif not good then
        error("cancelled", 0)
    end
    return nil, late or "closed"
end

--- An answer has come. Is somebody waiting for it?
---@return boolean
function ask.answer(handle, id, result, err)
    local entry = asks[handle]
    local box = entry and entry.waiting[id]
    if not box or box.done then
        return false
    end
    box.done = true
    if err ~= nil then
        box.result, box.err, box.code = fault.from_reply(err)
    else
        box.result = result
    end
    core.wake(box.ticket)
    return true
end

--- The conn has closed: nobody will answer.
function ask.closed(handle)
    local entry = asks[handle]
    for _, box in pairs(entry and entry.waiting or {}) do
        if not box.done then
            box.done, box.err = true, "closed"
            core.wake(box.ticket)
        end
    end
end

return ask
