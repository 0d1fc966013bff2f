--- Uids that are looked for everywhere, because Redis cannot be asked.
---
--- All processes are sent such a message. Each of them can bear RATE a second
--- of all others together, so the more there are, the fewer each may send; the
--- rest waits. A uid that nobody had TRIES times is not looked for again for a
--- while: it is offline, as far as anybody can say.

local core = require("sd.core")

---@class sd.floods
local floods = {}

local RATE = 2000 -- a second, to one process, from all
local TRIES = 2
local KEEP = 5 -- seconds, to twice as many, that a uid is remembered
local MOST = 10000 -- uids remembered for so long

local young, old, count, born = {}, {}, 0, 0
local second, sent = 0, 0

local function grow_old(now)
    if now - born >= KEEP or count >= MOST then
        young, old, count, born = {}, young, 0, now
    end
end

--- One more in this second? At least one may go.
local function may_flood(now)
    if math.floor(now) ~= second then
        second, sent = math.floor(now), 0
    end
    local nodes = #core.other_nodes() / 2 + 1
    sent = sent + 1
    return sent <= math.max(1, RATE / (nodes * #core.worker_slots({})))
end

--- What core.located() is told of a uid: "flood", "unavailable" (later), or
--- "at" with nobody.
---@param uid string
---@return string found
---@return table? places
function floods.found(uid)
    local now = core.now()
    grow_old(now)
    local tries = young[uid] or old[uid] or 0
    if tries >= TRIES then
        return "at", {}
    elseif not may_flood(now) then
        return "unavailable"
    end
    if not young[uid] then
        count = count + 1
    end
    young[uid] = tries + 1
    return "flood"
end

return floods
