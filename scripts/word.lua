--- Names from outside that are safe wherever we put them.

local sd = require("sd")

---@class Word
local word = {}

--- Field `field` of `params`: a name without anything that means something in
--- a topic ("#", "+", "/"), a cookie, a Redis key or on a page. Anything else
--- fails with 400.
---@param params any what a client sent
---@param field string
---@param max integer bytes
---@return string
function word.check(params, field, max)
    local value = sd.check(params, { [field] = "string 1.." .. max })[field]
    if not value:find("^[%w_-]+$") then
        sd.fail(400, field .. ": letters, digits, - and _ expected")
    end
    return value
end

return word
