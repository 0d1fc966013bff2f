--- Addresses as configurations write them: "10.0.0.1:7946", "[::1]:7946".
local address = {}

--- Host and port of an address; host "unix" and the path of a socket.
---@return string? host without brackets
---@return (integer|string)? port
function address.split(text)
    local path = text:match("^unix:(.+)$")
    if path then
        return "unix", path
    end
    local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
    if not host then
        host, port = text:match("^([%w_.-]*):(%d+)$")
    end
    if not host or host == "" or tonumber(port) > 65535 then
        return nil
    end
    return host, tonumber(port)
end

local function is_ip4(host)
    local parts = { host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
    for _, part in ipairs(parts) do
        if #part > 3 or tonumber(part) > 255 then
            return false
        end
    end
    return #parts == 4
end

--- How many groups of an IPv6 address these are; nil when one is none.
local function count_groups(text)
    local n = 0
    for group in (text .. ":"):gmatch("([^:]*):") do
        if not group:find("^%x+$") or #group > 4 then
            return nil
        end
        n = n + 1
    end
    return n
end

local function is_ip6(host)
    local left, right = host:match("^(.-)::(.*)$")
    if not left then
        return count_groups(host) == 8
    end
    local a = left == "" and 0 or count_groups(left)
    local b = right == "" and 0 or count_groups(right)
    return a ~= nil and b ~= nil and a + b < 8
end

--- Is it the address of a machine, and not a name that has to be looked up?
function address.is_ip(host)
    return is_ip4(host) or is_ip6(host)
end

--- Can only this machine reach it? Some spellings are not known: they are
--- taken for addresses of others.
function address.is_loopback(host)
    return is_ip4(host) and host:find("^127%.") ~= nil or host == "::1"
end

return address
