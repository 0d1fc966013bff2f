--- Tasks: functions in processes of their own, which may block.

local app = require("sd.app")
local calls = require("sd.calls")
local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")
local log = require("sd.log")
local model = require("sd.model")
local wait = require("sd.wait")

local settle = wait.settle

---@class sd.task
local task = {}

--- How long a call waits for a task process that is just being replaced, and
--- how often it tries again: more and more seldom while queues are full.
local REPLACE_MS = 2000
local RETRY_MS, RETRY_MAX_MS = 10, 80

--- One list, with what lists on the wire cannot leave out.
local function list_of(n, ...)
    local list = core.array({ ... })
    for i = 1, n do
        if list[i] == nil then
            list[i] = core.null
        end
    end
    return list
end

task.list_of = list_of

local function unlist(list)
    local n = #list
    for i = 1, n do
        if list[i] == core.null then
            list[i] = nil
        end
    end
    return unpack(list, 1, n)
end

--- Methods of a task that may be called, by the task's name.
local open = {}

local function methods_of(name)
    if not open[name] and app.tasks[name] then
        open[name] = app.methods(app.tasks[name])
    end
    return open[name] or {}
end

--- Run a method in this process.
local function run(name, method, args)
    local module = app.tasks[name]
    local fn = methods_of(name)[method]
    if not fn then
        return nil, "failed: no task '" .. name .. "/" .. method .. "'", 404
    end
    local self = {
        context = calls.context(),
        cancelled = function()
            return core.task_is_cancelled()
        end,
        model = function(_, model_name)
            return model(model_name)
        end,
    }
    setmetatable(self, { __index = module })
    local ok, result, err, code = xpcall(fn, fault.catch, self, unlist(args))
    if not ok then
        result = fault.of_xpcall(result)
        if fault.is_raised(result) then
            log.raised(result)
        end
        return fault.result(result)
    end
    return result, err, code
end

--- From C, in a task process: run the call at hand and answer it.
function task.serve()
    local call = core.task_take()
    local name, method, context, args = call[1], call[2], call[3], call[4]
    calls.adopt(context)
    local result, err, code = run(name, method, args)
    local ok, why = xpcall(function()
        core.task_reply(list_of(3, result, err, code))
    end, fault.catch)
    if not ok then
        why = fault.of_xpcall(why)
        log.raised(why)
        core.task_reply(list_of(3, nil, "failed: " .. why.message, 500))
    end
end

--- Milliseconds that a call may take.
local function life(opts)
    local own = wait.ms(opts.timeout, "timeout")
    if opts.wait == false then
        return own or core.task_timeout
    end
    local left = core.time_left()
    if own and left then
        return math.min(own, left)
    end
    return own or left or core.task_timeout
end

--- A task inside a task runs here: there is one process per call anyway.
local function call_inside(name, opts, method, args)
    local copy = core.msgpack_decode(core.msgpack_encode(args))
    if opts.wait == false then
        go.after(0, function()
            run(name, method, copy)
        end)
        return true
    end
    return run(name, method, copy)
end

--- Wait for an answer; a caller that gives up tells the task. The fourth
--- result is true when the call was not sent at all.
local function await(message, ms, waits)
    local ok, result, err, code, unsent =
        pcall(settle, core.task_call(message, ms, waits))
    if not ok then
        core.task_cancel()
        error(result, 0)
    elseif err == "timeout" then
        core.task_cancel()
    end
    return result, err, code, unsent
end

--- Until when a call that was not sent for this reason is tried again.
local function patience(err, began, ends)
    if err == "busy" then
        return ends
    elseif err == "unavailable" and core.tasks > 0 then
        return math.min(ends, began + REPLACE_MS)
    end
    return began
end

local function send(name, opts, method, args)
    if core.role == "task" then
        return call_inside(name, opts, method, args)
    end
    local message = core.array({ name, method, calls.context(), args })
    local waits = opts.wait ~= false
    local began = core.mono()
    local ends, pause = began + life(opts), RETRY_MS
    while true do
        local left = ends - core.mono()
        local result, err, code, unsent = await(message, left, waits)
        if not unsent then
            return result, err, code
        elseif not waits then
            local is_replaced = err == "unavailable" and core.tasks > 0
            return nil, is_replaced and "busy" or err
        elseif core.mono() + pause >= patience(err, began, ends) then
            return nil, err
        end
        settle(core.sleep(pause))
        pause = math.min(2 * pause, RETRY_MAX_MS)
    end
end

--- A proxy: its methods are the task's.
---@param name string
---@param opts? {wait?: boolean, timeout?: number}
---@return table
function task.proxy(name, opts)
    if not app.tasks[name] then
        fault.misuse("no task '" .. tostring(name) .. "'")
    end
    opts = fault.options(opts)
    return setmetatable({}, {
        __index = function(_, method)
            if not methods_of(name)[method] then
                fault.misuse("no task '" .. name .. "/" .. method .. "'")
            end
            return function(_, ...)
                local args = list_of(select("#", ...), ...)
                return send(name, opts, method, args)
            end
        end,
    })
end

return task
