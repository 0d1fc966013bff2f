--- Passes: how a client proves which name it was given.
---
--- There are no passwords here. A name is lent for a day to the first who asks
--- for it; the pass "name.expiry.signature" says who that was, and only we can
--- write one, because only we know the secret.

local sd = require("sd")

---@class Pass: sd.Model
local Pass = {}

local LIFE = sd.config.chat.pass_days * 24 * 60 * 60

--- Read once per vm; all of them read the same.
local secret = sd.config.chat.secret

--- The secret; the first who needs one makes it up.
---@async
---@return string? secret
---@return string? err
local function get_secret()
    if not secret then
        local replies, err = sd.redis():pipeline(function(redis)
            local new = sd.bytes.hex(sd.crypto.random(32))
            redis:set("chat:secret", new, "NX")
            redis:get("chat:secret")
        end)
        if not replies then
            return nil, err
        end
        secret = replies[2]
    end
    return secret
end

local function sign(text, key)
    return sd.bytes.hex(sd.crypto.hmac("sha256", key, text))
end

--- Whose pass this is; nil when it is none of ours, or too old.
---@async
---@param pass? string
---@return string? name
function Pass:name_of(pass)
    local name, expiry, signature = (pass or ""):match(
        "^([%w_-]+)%.(%d+)%.(%x+)$"
    )
    local key = name and get_secret()
    if not key or tonumber(expiry) <= sd.now() then
        return nil
    elseif sd.crypto.equal(signature, sign(name .. "." .. expiry, key)) then
        return name
    end
end

--- A pass for a name that is free, or a new one for the holder of `old`.
---@async
---@param name string checked by word.check
---@param old? string
---@return string? pass
---@return string? err "refused: ..."
function Pass:issue(name, old)
    local key, err = get_secret()
    if not key then
        return nil, err
    end
    local redis = sd.redis()
    local lent = "chat:name:" .. name:lower()
    if self:name_of(old) == name then
        redis:set(lent, name, "EX", LIFE)
    elseif not redis:set(lent, name, "NX", "EX", LIFE) then
        return nil, "refused: the name " .. name .. " is taken"
    end
    local text = ("%s.%.0f"):format(name, math.floor(sd.now()) + LIFE)
    return text .. "." .. sign(text, key)
end

return Pass
