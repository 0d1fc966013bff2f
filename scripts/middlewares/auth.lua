--- Who calls, or 401. A conn was given its uid when it opened or logged in; a
--- plain request brings its cookie each time.

local sd = require("sd")

---@param self sd.Controller
---@param call {controller: string, method: string, params: any, id: any}
---@param next fun(): any
return function(self, call, next)
    local name = self.uid
    if not name and self.request then
        name = sd.model("pass"):name_of(self.request.cookies.chat_pass)
    end
    local is_entering = call.controller == "login" and call.method == "enter"
    if not name and not is_entering then
        sd.fail(401, "log in first")
    end
    self.context.uid = name
    return next()
end
