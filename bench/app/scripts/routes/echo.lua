--- W3: a WebSocket message is no call by itself; make it one of bench/echo.

---@class Echo: sd.Route
local Echo = {}

function Echo.request(_, packet)
    return { controller = "bench", method = "echo", params = packet }
end

return Echo
