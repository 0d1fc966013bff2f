--- How often each method was called: a number in the entry that serves it.
---
--- Counting is one addition in a table that is at hand anyway; who wants a
--- rate remembers what he has seen (`sdlua top`), and pays for it himself.

local core = require("sd.core")

---@class sd.usage
local usage = {}

--- A method that may be called: its function, the metatable of its self, and
--- how often it was.
---@class sd.Method
---@field fn function
---@field mt table
---@field calls integer
---@field errors integer
---@field port string
---@field controller string
---@field method string
---@field name string "controller/method"

---@type sd.Method[]
local entries = {}

--- An entry; kept as long as the vm.
---@return sd.Method
function usage.entry(port, controller, name, fn, mt)
    local entry = {
        fn = fn,
        mt = mt,
        calls = 0,
        errors = 0,
        port = port,
        controller = controller,
        method = name,
        name = controller .. "/" .. name,
    }
    entries[#entries + 1] = entry
    return entry
end

--- A call of this method has failed.
---@param open table<string, table<string, sd.Method>>
---@param call table? what a route made of it
function usage.failed(open, call)
    local class = call and open[call.controller]
    local entry = class and class[call.method]
    if entry then
        entry.errors = entry.errors + 1
    end
end

--- Calls and errors by port and path: a port serves plain requests and
--- WebSockets with an entry each.
local function sums()
    local by_key, list = {}, {}
    for _, entry in ipairs(entries) do
        if entry.calls > 0 or entry.errors > 0 then
            local path = entry.name
            local key = entry.port .. " " .. path
            local sum = by_key[key]
            if not sum then
                sum = { key = key, port = entry.port, route = path }
                sum.calls, sum.errors = 0, 0
                by_key[key] = sum
                list[#list + 1] = sum
            end
            sum.calls = sum.calls + entry.calls
            sum.errors = sum.errors + entry.errors
        end
    end
    return list
end

--- The routes with the most calls since `seen`, which becomes now.
---@param seen table<string, table>
---@param max integer
local function routes(seen, max)
    local list, top = sums(), core.array()
    for _, sum in ipairs(list) do
        local last = seen[sum.key] or { calls = 0, errors = 0 }
        seen[sum.key] = { calls = sum.calls, errors = sum.errors }
        sum.calls = sum.calls - last.calls
        sum.errors = sum.errors - last.errors
        sum.key = nil
    end
    table.sort(list, function(a, b)
        if a.calls ~= b.calls then
            return a.calls > b.calls
        end
        return a.port .. a.route < b.port .. b.route
    end)
    for i = 1, math.min(max, #list) do
        top[i] = list[i].calls > 0 and list[i] or nil
    end
    return top
end

--- A conn for `top`, flat.
local function conn_row(c)
    return {
        id = core.conn_id(c.handle),
        port = c.port,
        protocol = c.protocol,
        uid = c.uid ~= "" and c.uid or nil,
        address = c.address,
        peer_port = c.peer_port,
        packets = c.packets,
        bytes = c.bytes,
        unsent = c.unsent,
        age = c.age,
    }
end

--- What has happened since this console asked last.
---@param session sd.ConsoleSession
---@param max integer
---@return table
function usage.top(session, max)
    local seen = session.seen
    local now = core.mono()
    local traffic = core.look_traffic()
    local result = { seconds = (now - (seen.at or now)) / 1000 }
    for key, value in pairs(traffic) do
        local last = seen.traffic and seen.traffic[key] or value
        result[key] = key == "conns" and value or value - last
    end
    seen.at, seen.traffic = now, traffic
    seen.routes = seen.routes or {}
    result.routes = routes(seen.routes, max)
    result.busiest = core.array()
    for i, c in ipairs(core.console_busiest(session.number, max)) do
        result.busiest[i] = conn_row(c)
    end
    return result
end

return usage
