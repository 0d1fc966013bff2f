--- Is it the Redis that it was? For lua/sd/location.lua.
---
--- A random text in it, sd:mark, goes when all the rest goes: whoever finds
--- another one knows that Redis has lost its data, or is another Redis.

local core = require("sd.core")
local log = require("sd.log")
local redis = require("sd.redis")

---@class sd.location_mark
local location_mark = {}

--- KEYS: where the mark is. ARGV: another one. Returns the one that is there.
local MARK = [[
redis.call("set", KEYS[1], ARGV[1], "nx")
return redis.call("get", KEYS[1])
]]

--- By a number in it members compare whether they have the same Redis. One
--- that has lost its data is given the number again that it had.
local function number_of_redis()
    local id = core.cluster_id()
    if id == 0 then
        for _, byte in ipairs({ core.random(6):byte(1, 6) }) do
            id = id * 256 + byte
        end
    end
    return ("%.0f"):format(id)
end

local last = {} -- what was seen of Redis

--- What is there now; nil: it is away.
---@async
---@return {mark: string, conn: integer}? seen
---@return string? err
local function look_at_redis()
    local replies, err = redis():pipeline(function(p)
        p:set("sd:cluster", number_of_redis(), "nx")
        p:get("sd:cluster")
        p:eval(MARK, 1, "sd:mark", core.random(16))
        p:client("id")
    end)
    if not replies then
        return nil, err
    end
    local number, mark = tonumber(replies[2]), replies[3]
    if number then
        core.cluster_id(number)
    end
    if not number or type(mark) ~= "string" then
        return nil, "failed: " .. (type(mark) == "table" and mark.err or "?")
    end
    return { mark = mark, conn = replies[4] }
end

--- Is it the Redis of the last look, and the connection? nil: it is away.
---@async
---@return boolean? is_same
---@return string? err
function location_mark.look()
    local seen, err = look_at_redis()
    if not seen then
        return nil, err
    end
    local is_same = not last.mark
        or last.mark == seen.mark and last.conn == seen.conn
    if last.mark and last.mark ~= seen.mark then
        log.info("the Redis has lost where uids are: it is told again")
    end
    last = seen
    return is_same
end

return location_mark
