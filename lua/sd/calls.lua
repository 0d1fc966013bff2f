--- What a call has besides its arguments: context, session, children.
---
--- Most calls need none of it, so nothing is made until it is asked for. A
--- call is known by the identity of the coroutine it began in (its root);
--- children made by `sd.go` share it. C tells when the root has ended.

local core = require("sd.core")

local root, track = core.root, core.track

---@class sd.calls
---@field live integer calls that have any state now
local calls = { live = 0 }

---@class sd.Call
---@field context? table
---@field expired? boolean its deadline ended one of its waits
---@field session? sd.Session
---@field models? table<string, table>
---@field on_end? fun()[]

---@type table<integer, sd.Call>
local states = {}

--- State of the running call, made when it has none.
---@return sd.Call
function calls.state()
    local id = root()
    local state = states[id]
    if id == 0 then
        core.raise("this needs a running call: not at file scope")
    elseif not state then
        state = {}
        states[id] = state
        calls.live = calls.live + 1
        track(id)
    end
    return state
end

--- State of the running call, or nil.
---@return sd.Call?
function calls.peek()
    return states[root()]
end

--- The call's deadline has ended a wait: its answer will be 504.
function calls.expire()
    calls.state().expired = true
end

--- The running call's request id, if something has asked for its context.
---@return string?
function calls.request_id()
    if calls.live > 0 then
        local state = states[root()]
        return state and state.context and state.context.request_id
    end
end

--- The running call's context, made when first asked for.
---@param uid? string
---@return table
function calls.context(uid)
    local state = calls.state()
    local context = state.context
    if not context then
        context = {
            request_id = core.request_id(),
            deadline = core.deadline(),
            uid = uid or core.call_uid(),
        }
        state.context = context
    end
    return context
end

--- Begin a call that brings its context along (a task).
---@param context table
function calls.adopt(context)
    calls.state().context = context
end

--- Run `fn` when the running call has ended.
---@param fn fun()
function calls.on_end(fn)
    local state = calls.state()
    state.on_end = state.on_end or {}
    table.insert(state.on_end, fn)
end

--- From C: the coroutine `id`, which was tracked, has ended.
---@param id integer
function calls.ended(id)
    local state = states[id]
    if not state then
        return
    end
    states[id] = nil
    calls.live = calls.live - 1
    for _, fn in ipairs(state.on_end or {}) do
        fn()
    end
end

return calls
