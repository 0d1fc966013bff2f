--- The talk: one room per conn at a time.

local sd = require("sd")
local word = require("word")

---@class Chat: sd.Controller
local Chat = {}

function Chat:_leave_room()
    local session, room = self.session, self:model("room")
    if session.room then
        self:unsubscribe(room.topic(session.room))
        room:leave(session.room, self.conn_id, self.uid)
        session.room = nil
    end
end

--- Go into a room: who is there, and what was said last. A line said meanwhile
--- may come twice, here and as an event; it has the same id.
function Chat:join(params)
    local name = word.check(params, "room", 32)
    local uid, room = self.uid, self:model("room")
    self:_leave_room()
    local ok, err = self:subscribe(room.topic(name))
    if not ok then
        return nil, err
    end
    local view
    view, err = room:enter(name, self.conn_id, uid)
    if not view then
        self:unsubscribe(room.topic(name))
        return nil, err
    end
    self.session.room = name
    view.room = name
    return view
end

function Chat:leave()
    self:_leave_room()
    return { ok = true }
end

--- Say something to the room. Everybody there receives it, we too.
function Chat:say(params)
    local text = sd.check(params, { text = "string 1..2000" }).text
    local room, uid = self.session.room, self.uid
    if not text:find("%S") then
        sd.fail(400, "text: nothing said")
    elseif not room then
        sd.fail(409, "join a room first")
    end
    local line, err = self:model("room"):say(room, self.conn_id, uid, text)
    if not line then
        return nil, err
    end
    return { id = line.id }
end

function Chat:rooms()
    return self:model("room"):all()
end

return Chat
