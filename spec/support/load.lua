--- A client that keeps a node busy, in a process of its own: it calls, and
--- connects again when it is cut off, until its end. Run as
---
---     luajit spec/support/load.lua PORT CONNS
---
--- of a port with lines of JSON.
local socket = require("socket")

local port, conns = tonumber(arg[1]), tonumber(arg[2])
local packet = '{"controller_name":"probe","method_name":"who","id":1}\r\n'
local DEPTH = 8

local function open()
    local tcp = socket.tcp()
    tcp:settimeout(5)
    if not tcp:connect("127.0.0.1", port) then
        tcp:close()
        return nil
    end
    return tcp
end

--- A few calls at once, then all their replies.
local function call(tcp)
    if not tcp:send(packet:rep(DEPTH)) then
        return false
    end
    for _ = 1, DEPTH do
        if not tcp:receive("*l") then
            return false
        end
    end
    return true
end

local list = {}
while true do
    for i = 1, conns do
        list[i] = list[i] or open()
        if list[i] and not call(list[i]) then
            list[i]:close()
            list[i] = nil
        end
    end
end
