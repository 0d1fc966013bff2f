--- What the bench calls: as little work as a script can do.

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

return Bench
