--- Rooms: their people and their last lines, all of it in Redis.
---
--- Keys: chat:rooms, rooms by when they were last used; chat:where (name ->
--- room); and per room chat:{room}:people (name -> the conn that has it) and
--- chat:{room}:lines (newest first).

local sd = require("sd")

---@class Room: sd.Model
local Room = {}

---@class Room.Line
---@field id string
---@field name string who said it
---@field text string
---@field at number seconds

local function people_key(room)
    return "chat:{" .. room .. "}:people"
end

local function lines_key(room)
    return "chat:{" .. room .. "}:lines"
end

local function topic(room)
    return "room/" .. room
end

--- The topic of a room whose name word.check has let through.
Room.topic = topic

--- The first error in the replies of a pipeline.
local function first_error(replies, err)
    if not replies then
        return err
    end
    for _, reply in ipairs(replies) do
        if type(reply) == "table" and reply.err then
            return reply.err
        end
    end
end

local function tell_joined(room, name)
    local event = { event = "joined", room = room, name = name }
    sd.publish(topic(room), event)
end

--- Take a name out, and tell those who are still there.
---@async
local function take_out(room, name)
    local redis = sd.redis()
    redis:hdel("chat:where", name)
    if redis:hdel(people_key(room), name) == 1 then
        sd.publish(topic(room), { event = "left", room = room, name = name })
    end
end

--- Let a conn in, tell the others, and show it what is there.
---@async
---@param room string
---@param conn_id string
---@param name string
---@return {people: string[], lines: Room.Line[]}?
---@return string? err
function Room:enter(room, conn_id, name)
    local before = sd.redis():hget("chat:where", name)
    if before and before ~= room then
        take_out(before, name)
    end
    local replies, err = sd.redis():pipeline(function(redis)
        redis:zadd("chat:rooms", sd.now(), room)
        redis:hset(people_key(room), name, conn_id)
        redis:hkeys(people_key(room))
        redis:hset("chat:where", name, room)
        redis:lrange(lines_key(room), 0, sd.config.chat.shown - 1)
    end)
    err = first_error(replies, err)
    if err then
        return nil, err
    end
    local lines = sd.array()
    for _, text in ipairs(replies[5]) do
        table.insert(lines, 1, sd.json.decode(text))
    end
    table.sort(replies[3])
    tell_joined(room, name)
    return { people = replies[3], lines = lines }
end

--- Let a conn out, unless its name is here by a newer one.
---@async
---@param room string
---@param conn_id string
---@param name string
function Room:leave(room, conn_id, name)
    if sd.redis():hget(people_key(room), name) == conn_id then
        take_out(room, name)
    end
end

--- Let a name out that has no conn any more.
---@async
---@param name string
function Room:lose(name)
    local room = sd.redis():hget("chat:where", name)
    if room then
        take_out(room, name)
    end
end

--- Keep a line and tell everybody in the room. Whoever speaks is there, also
--- if a node that was cut off took him for gone.
---@async
---@param room string
---@param conn_id string
---@param name string
---@param text string
---@return Room.Line?
---@return string? err
function Room:say(room, conn_id, name, text)
    local line = {
        id = sd.bytes.hex(sd.crypto.random(8)),
        name = name,
        text = text,
        at = sd.now(),
    }
    local replies, err = sd.redis():pipeline(function(redis)
        redis:lpush(lines_key(room), sd.json.encode(line))
        redis:ltrim(lines_key(room), 0, sd.config.chat.history - 1)
        redis:zadd("chat:rooms", line.at, room)
        redis:hset("chat:where", name, room)
        redis:hset(people_key(room), name, conn_id)
    end)
    err = first_error(replies, err)
    if err then
        return nil, err
    elseif replies[5] == 1 then
        tell_joined(room, name)
    end
    sd.publish(topic(room), { event = "line", room = room, line = line })
    return line
end

--- The rooms used last, and how many people are in each.
---@async
---@return {name: string, people: integer}[]?
---@return string? err
function Room:all()
    local redis = sd.redis()
    local names, err = redis:zrevrange("chat:rooms", 0, 49)
    if not names or #names == 0 then
        return not err and sd.array() or nil, err
    end
    local counts
    counts, err = redis:pipeline(function(pipe)
        for _, name in ipairs(names) do
            pipe:hlen(people_key(name))
        end
    end)
    err = first_error(counts, err)
    if err then
        return nil, err
    end
    local rooms = sd.array()
    for i, name in ipairs(names) do
        rooms[i] = { name = name, people = counts[i] }
    end
    return rooms
end

--- From config/timers.lua: tell all who are logged in.
---@async
function Room:census()
    local rooms, err = self:all()
    if not rooms then
        return nil, err
    end
    return sd.publish("rooms", { event = "rooms", rooms = rooms })
end

--- From config/timers.lua: let those out who are nowhere any more. Whose worker
--- dies is told to app.on_uid_closed at once; whose whole node dies, only when
--- that is sure.
---@async
function Room:sweep()
    local names, err = sd.redis():hkeys("chat:where")
    if not names then
        return nil, err
    end
    for _, name in ipairs(names) do
        if sd.uid_is_online(name) == false then -- nil: nobody knows
            self:lose(name)
        end
    end
    return true
end

--- Nobody is in any room.
---@async
---@return true? ok
---@return string? err
function Room:forget_people()
    local redis = sd.redis()
    local names, err = redis:zrange("chat:rooms", 0, -1)
    if not names then
        return nil, err
    end
    for _, name in ipairs(names) do
        redis:del(people_key(name))
    end
    redis:del("chat:where")
    return true
end

return Room
