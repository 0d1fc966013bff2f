--- Calls to conns and to nodes elsewhere in the cluster.
---
--- Workers have links to the relays. A task has none: it has one of its node's
--- workers call, for one uid always the same, so that order is kept.

local core = require("sd.core")
local wait = require("sd.wait")

local settle = wait.settle

---@class sd.abroad
local abroad = {}

--- Have a worker do something.
---@async
---@param verb string
---@param name string picks the worker
function abroad.by_worker(verb, name, value, ms)
    local slot = core.abroad_worker(name)
    if not slot then
        return nil, "unavailable"
    end
    local result, err, code =
        settle(core.uid_call(slot, verb, name, value, ms))
    if result == nil and err == "gone" then
        return nil, "unavailable" -- it has died and had not begun
    end
    return result, err, code
end

--- Do something with the conns that a uid has on other nodes.
---@async
---@param verb "deliver"|"ask"|"subscribe"|"unsubscribe"|"kick"
---@param uid string
---@param value any
---@param ms integer
---@return any result
---@return string? err "offline": it has none there
---@return integer? code
function abroad.call(verb, uid, value, ms)
    if core.role == "task" then
        return abroad.by_worker("abroad", uid, { verb, value }, ms)
    end
    return settle(core.far_call(verb, uid, value, ms))
end

--- The same for a task of our node.
function abroad.serve(uid, args, ms)
    return abroad.call(args[1], uid, args[2], ms)
end

--- Ask another node something; not from a task.
---@async
---@param verb "online"|"page"|"topics"
---@param boot string of that node
function abroad.node(verb, boot, value, ms)
    return settle(core.node_call(verb, boot, value, ms))
end

return abroad
