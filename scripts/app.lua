--- Hooks: how a conn begins and ends.

local sd = require("sd")

---@class App
local app = {}

--- When a node that is alone starts nobody is in a room, whatever was written
--- down. In a cluster others may be: Room:sweep sees who is gone.
function app.on_start(why)
    local is_first = sd.role == "worker" and sd.slot == 0
    if why == "start" and is_first and not sd.config.cluster.enable then
        local ok, err = sd.model("room"):forget_people()
        if not ok then
            sd.log.warn("cannot forget who was here: " .. err)
        end
    end
end

--- A WebSocket opens only for a browser that shows the pass it was given by
--- login/enter.
function app.on_handshake(self)
    local name = sd.model("pass"):name_of(self.request.cookies.chat_pass)
    if not name then
        sd.fail(401, "log in first")
    end
    local ok, err = self:bind_uid(name)
    if not ok then
        return nil, err
    end
    return self:subscribe("rooms")
end

--- Nobody stays in a room without a conn.
function app.on_close(self)
    local room = self.session.room
    if room then
        sd.model("room"):leave(room, self.conn_id, self.uid)
    end
end

--- The conns of a worker that has died had no on_close: this is told of all.
function app.on_uid_closed(uid, last)
    if last then
        sd.model("room"):lose(uid)
    end
end

return app
