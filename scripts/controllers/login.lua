--- How a client gets its name.

local sd = require("sd")
local word = require("word")

---@class Login: sd.Controller
local Login = {}

--- Over HTTP the pass goes into a cookie, which opens the WebSocket then; a
--- TCP client is logged in at once, and shows the pass when it comes again.
function Login:enter(params)
    local request = self.request
    if request and request.method ~= "POST" then
        sd.fail(405, "POST expected")
    elseif self.uid then
        return nil, "refused: you are " .. self.uid
    end
    local name = word.check(params, "name", 24)
    local old = sd.check(params, { pass = "string 1..200?" }).pass
    old = old or request and request.cookies.chat_pass
    local pass, err = self:model("pass"):issue(name, old)
    if not pass then
        return nil, err
    end
    if request then
        self.response:cookie("chat_pass", pass, {
            http_only = true,
            same_site = "strict",
            max_age = sd.config.chat.pass_days * 24 * 60 * 60,
        })
        return { name = name }
    end
    local ok, why = self:bind_uid(name)
    if not ok then
        return nil, why
    end
    self:subscribe("rooms")
    return { name = name, pass = pass }
end

--- Who the client is; the middleware has looked.
function Login:me()
    return { name = self.context.uid }
end

return Login
