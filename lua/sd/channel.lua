--- Channels: values from coroutine to coroutine of one vm.

local core = require("sd.core")
local fault = require("sd.fault")
local wait = require("sd.wait")

local settle = wait.settle

---@class sd.Channel
---@field private room integer
---@field private closed boolean
local Channel = {}
Channel.__index = Channel

--- A first-in first-out list that does not shift.
local function queue()
    return { first = 1, last = 0 }
end

local function put(q, item)
    q.last = q.last + 1
    q[q.last] = item
end

local function get(q)
    if q.first > q.last then
        return nil
    end
    local item = q[q.first]
    q[q.first] = nil
    q.first = q.first + 1
    return item
end

local function size(q)
    return q.last - q.first + 1
end

--- Take `item` out, wherever it is: its coroutine has stopped waiting.
local function forget(q, item)
    local rest = queue()
    for i = q.first, q.last do
        if q[i] ~= item then
            put(rest, q[i])
        end
        q[i] = nil
    end
    q.first, q.last = 1, 0
    for i = 1, rest.last do
        put(q, rest[i])
    end
end

--- Make a channel that holds `n` values before senders wait.
---@param n? integer
---@return sd.Channel
local function channel(n)
    n = n or 0
    if type(n) ~= "number" or n < 0 or n % 1 ~= 0 then
        fault.misuse("bad argument #1 to 'channel' (a count expected)")
    end
    return setmetatable({
        room = n,
        values = queue(),
        senders = queue(),
        receivers = queue(),
        closed = false,
    }, Channel)
end

--- Park in `q` until somebody sets item.done; else nil and why.
local function stand(q, item, seconds)
    local ms = wait.ms(seconds, "seconds")
    item.ticket = core.ticket()
    put(q, item)
    local ok, _, err = pcall(settle, core.wait(ms))
    if item.done then
        return true
    end
    forget(q, item)
    if not ok then
        error("cancelled", 0)
    end
    return nil, item.err or err or "closed"
end

--- The next of `q` who still waits, told that it is done.
local function serve(q, value)
    local item = get(q)
    while item do
        if value ~= nil then
            item.value = value.value
        end
        item.done = true
        if core.wake(item.ticket) then
            return item
        end
        item.done = false
        item = get(q)
    end
end

--- Hand a value over; waits while the channel is full.
---@async
---@param value any
---@param seconds? number
---@return true? ok
---@return string? err "closed", "timeout"
function Channel:send(value, seconds)
    if self.closed then
        return nil, "closed"
    end
    if serve(self.receivers, { value = value }) then
        return true
    end
    if size(self.values) < self.room then
        put(self.values, { value = value })
        return true
    end
    return stand(self.senders, { value = value }, seconds)
end

--- Take the next value; waits while there is none.
---@async
---@param seconds? number
---@return any value
---@return string? err "closed", "timeout"
function Channel:receive(seconds)
    local item = get(self.values)
    local sender = serve(self.senders)
    if item then
        if sender then
            put(self.values, { value = sender.value })
        end
        return item.value
    elseif sender then
        return sender.value
    elseif self.closed then
        return nil, "closed"
    end
    item = {}
    local ok, err = stand(self.receivers, item, seconds)
    if not ok then
        return nil, err
    end
    return item.value
end

--- No more values; who waits to receive or send gets nil, "closed". What is
--- in the channel can still be received.
function Channel:close()
    self.closed = true
    for _, q in ipairs({ self.senders, self.receivers }) do
        local item = get(q)
        while item do
            item.err = "closed"
            core.wake(item.ticket)
            item = get(q)
        end
    end
end

return channel
