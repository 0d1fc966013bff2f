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

--- Sends from worker to worker: who is where, and a message to one.
function Bench:slot()
    return sd.slot
end

function Bench:bind(params)
    return self:bind_uid(params)
end

function Bench:tell(params)
    local ok, err = sd.send_to_uid(params.to, params.text)
    while err == "busy" do -- nobody got it: again, when there is room
        sd.sleep(0.001)
        ok, err = sd.send_to_uid(params.to, params.text)
    end
    if not ok then
        return nil, err
    end
end

return Bench
