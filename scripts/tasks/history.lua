--- Work on history that nobody at a conn should wait behind.

local sd = require("sd")

---@class HistoryTask: sd.Task
local History = {}

--- All kept lines of a room, one a line of text.
---@param room string
---@return string? text
---@return string? err
function History:text(room)
    local redis = sd.redis()
    local lines, err = redis:lrange("chat:{" .. room .. "}:lines", 0, -1)
    if not lines then
        return nil, err
    end
    local out = {}
    for i = #lines, 1, -1 do
        local line = sd.json.decode(lines[i])
        local text = line.text:gsub("%s+", " ")
        local at = os.date("!%Y-%m-%d %H:%M", line.at)
        out[#out + 1] = ("%s  %s: %s\n"):format(at, line.name, text)
    end
    return table.concat(out)
end

--- Forget rooms that nobody used for `days`, and all but the `keep` used last.
---@param args {days: number, keep: integer}
---@return integer? forgotten
---@return string? err
function History:prune(args)
    local redis = sd.redis()
    local before = sd.now() - args.days * 24 * 60 * 60
    local old, err = redis:zrangebyscore("chat:rooms", "-inf", before)
    local many, err2 = redis:zrevrange("chat:rooms", args.keep, -1)
    if not old or not many then
        return nil, err or err2
    end
    local forgotten = 0
    for _, rooms in ipairs({ old, many }) do
        for _, room in ipairs(rooms) do
            local key = "chat:{" .. room .. "}:"
            if redis:hlen(key .. "people") == 0 then
                redis:del(key .. "lines")
                forgotten = forgotten + redis:zrem("chat:rooms", room)
            end
        end
    end
    if forgotten > 0 then
        sd.log.info("forgot rooms", { rooms = forgotten })
    end
    return forgotten
end

return History
