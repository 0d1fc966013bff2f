--- Sessions: one live table per conn while any of its calls runs.
---
--- What is kept is msgpack in C, so it outlives this vm. A call that touched
--- the session stores it when it ends; two calls of one conn at once see the
--- same table.

local calls = require("sd.calls")
local core = require("sd.core")

---@class sd.session
local session = {}

---@class sd.Session
---@field handle integer
---@field data table
---@field users integer calls that have touched it

---@type table<integer, sd.Session>
local live = {}

local function release(entry)
    entry.users = entry.users - 1
    if entry.users == 0 then
        live[entry.handle] = nil
    end
end

--- The session of a conn, for the running call.
---@param handle integer
---@return table
function session.of(handle)
    local state = calls.state()
    local entry = state.session
    if not entry then
        entry = live[handle]
        if not entry then
            local data = core.session(handle) or {}
            entry = { handle = handle, data = data, users = 0 }
            live[handle] = entry
        end
        entry.users = entry.users + 1
        state.session = entry
        calls.on_end(function()
            release(entry)
        end)
    end
    return entry.data
end

--- Store what the running call has touched.
---@param state sd.Call
---@return true? ok
---@return string? err "too_large"
function session.store(state)
    local entry = state.session
    if not entry then
        return true
    end
    return core.set_session(entry.handle, entry.data)
end

return session
