--- Asks: questions to a client, matched with its answers by id.

local core = require("sd.core")
local fault = require("sd.fault")
local wait = require("sd.wait")

---@class sd.ask
local ask = {}

--- Route of each port, by port number: {[1] = of packets, [2] = of messages}.
local routes = {}

---@type table<integer, {last: integer, count: integer, waiting: table}>
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

--- The next id that is free on this conn.
local function next_id(entry, max)
    local id = entry.last
    repeat
        id = id % max + 1
    until not entry.waiting[id]
    entry.last = id
    return id
end

local function begin(handle, route)
    local entry = asks[handle]
    if not entry then
        entry = { last = 0, count = 0, waiting = {} }
        asks[handle] = entry
        core.keep(handle)
    end
    if entry.count >= math.min(route.max_id, 65535) then
        return nil, "busy"
    end
    return entry, next_id(entry, route.max_id)
end

local function finish(handle, entry, id)
    entry.waiting[id] = nil
    entry.count = entry.count - 1
    core.asks(handle, -1)
    if entry.count == 0 and not core.is_open(handle) then
        asks[handle] = nil
    end
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
    local entry, id = begin(handle, route)
    if not entry then
        return nil, id
    end
    local box = { ticket = core.ticket() }
    local packet = route.ask(id, data)
    local ok, err = core.send(handle, packet)
    if not ok then
        return nil, err
    end
    entry.waiting[id] = box
    entry.count = entry.count + 1
    core.asks(handle, 1)
    local good, _, why = pcall(wait.settle, core.wait(ms))
    finish(handle, entry, id)
    if box.done then
        return box.result, box.err, box.code
    elseif not good then
        error("cancelled", 0)
    end
    return nil, why or "closed"
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
    asks[handle] = nil
    for _, box in pairs(entry and entry.waiting or {}) do
        if not box.done then
            box.done, box.err = true, "closed"
            core.wake(box.ticket)
        end
    end
end

return ask
