--- The talk needs a conn to talk back to: over plain HTTP chat/* is refused.

local sd = require("sd")

---@param self sd.Controller
---@param call {controller: string, method: string, params: any, id: any}
---@param next fun(): any
return function(self, call, next)
    if self.request and call.controller == "chat" then
        sd.fail(426, "speak over the WebSocket")
    end
    return next()
end
