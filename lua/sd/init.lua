--- The one module that scripts require.

local channel = require("sd.channel")
local check = require("sd.check")
local conn = require("sd.conn")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local model = require("sd.model")
local redis = require("sd.redis")
local task = require("sd.task")

---@class sd
local sd = {
    go = go.go,
    all = go.all,
    any = go.any,
    timeout = go.timeout,
    sleep = go.sleep,
    after = go.after,
    every = go.every,
    channel = channel,
    check = check,
    fail = fault.fail,
    model = model,
    redis = redis,
    task = task.proxy,
    log = log,
    config = core.config,
    node = core.node,
    generation = core.generation,
    role = core.role,
    slot = core.slot,
    null = core.null,
    array = core.array,
    now = core.now,
    json = { encode = core.json_encode, decode = core.json_decode },
    msgpack = { encode = core.msgpack_encode, decode = core.msgpack_decode },
}

--- The handle of a conn of this process; nil and why when it has ended.
local function handle_of(conn_id)
    if type(conn_id) ~= "string" then
        fault.misuse("bad conn id (a string expected)")
    end
    return core.handle(conn_id)
end

--- Send to one conn.
---@param conn_id string
---@param data any
---@return true? ok
---@return string? err "gone", "slow"
function sd.send_to_conn(conn_id, data)
    local handle = handle_of(conn_id)
    if not handle then
        return nil, "gone"
    end
    return core.send(handle, data)
end

--- Close one conn.
---@param conn_id string
---@param reason? string
---@return true? ok
---@return string? err "gone"
function sd.close_conn(conn_id, reason)
    local handle = handle_of(conn_id)
    if not handle then
        return nil, "gone"
    end
    return conn.close(handle, reason)
end

return sd
