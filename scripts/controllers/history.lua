--- What was said, to take away.

local sd = require("sd")
local word = require("word")

---@class History: sd.Controller
local History = {}

--- GET /history/text?room=lobby: the room's lines as a text file. A long one
--- takes a while to write, so a task does it.
function History:text(params)
    local room = word.check(params, "room", 32)
    local text, err = sd.task("history"):text(room)
    if not text then
        return nil, err
    end
    local file = 'attachment; filename="' .. room .. '.txt"'
    self.response:header("Content-Disposition", file)
    return text
end

return History
