--- What the bench calls: as little work as a script can do.

local sd = require("sd")

---@class Bench: sd.Controller
local Bench = {}

--- W2 and W3: the reply is what came in.
function Bench:echo(params)
    return params
end

--- W1 and W8: a small JSON, made anew for each request.
function Bench:json()
    return { message = "Hello, World!" }
end

--- W4: receive all that is published. No answer to publish, which would be
--- one more write; a failure is answered, and ends the run.
function Bench:watch()
    return self:subscribe("news")
end

function Bench:publish(params)
    local ok, err = sd.publish("news", params)
    if not ok then
        return nil, err
    end
end

return Bench
