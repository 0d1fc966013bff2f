--- Commands of the console: what conns, coroutines, timers and memory do.
---
--- What a coroutine waits for is not noted when it begins to wait; it is read
--- from its stack when somebody asks: the binding that it waits in, and the
--- arguments that lie there.

local core = require("sd.core")
local fault = require("sd.fault")
local show = require("sd.show")
local walk = require("sd.walk")

---@class sd.look
local look = {}

local COROUTINES = 20
local CONNS = 20

local names_of = nil

--- The name in `core` of a binding.
local function binding(fn)
    if not names_of then
        names_of = {}
        for name, value in pairs(core) do
            if type(value) == "function" then
                names_of[value] = name
            end
        end
    end
    return names_of[fn]
end

--- The value of a local of a suspended coroutine, by its name.
local function local_of(thread, level, wanted)
    for i = 1, 50 do
        local name, value = debug.getlocal(thread, level, i)
        if not name then
            return nil
        elseif name == wanted then
            return value
        end
    end
end

--- The value of an upvalue, by its name.
local function upvalue_of(fn, wanted)
    for i = 1, 60 do
        local name, value = debug.getupvalue(fn, i)
        if not name then
            return nil
        elseif name == wanted then
            return value
        end
    end
end

--- Where a function stands: "scripts/app.lua:12".
local function place(fn)
    local info = type(fn) == "function" and debug.getinfo(fn, "S")
    return info and info.short_src .. ":" .. info.linedefined or "?"
end

--- The timer that rests in this coroutine, as sd.after and sd.every make it.
local function timer_of(thread)
    local info = debug.getinfo(thread, 1, "S")
    local due = info and info.source == "@sd/go.lua"
        and local_of(thread, 1, "due")
    if not due then
        return nil
    end
    local body = debug.getinfo(thread, 2, "f").func
    local again = upvalue_of(body, "again")
    return {
        word = again and "every" or "after",
        fn = upvalue_of(body, "fn"),
        ms = again and upvalue_of(body, "ms"),
        due = due,
    }
end

--- What waits in core.wait, by who called it: the framework's own files.
local by_file = {
    ["@sd/ask.lua"] = function(thread, level)
        local handle = local_of(thread, level, "handle")
        return "ask " .. tostring(handle and core.conn_id(handle) or "")
    end,
    ["@sd/channel.lua"] = function()
        return "channel"
    end,
    ["@sd/go.lua"] = function(thread)
        local timer = timer_of(thread)
        if timer then
            return timer.word .. " " .. place(timer.fn)
        end
        return "go, all or any"
    end,
}

local function waits_in_wait(thread)
    for level = 1, 3 do
        local info = debug.getinfo(thread, level, "S")
        local say = info and by_file[info.source]
        if say then
            return say(thread, level)
        end
    end
    return "wait"
end

--- By binding.
local by_name = {
    wait = waits_in_wait,
    sleep = function(thread)
        local info = debug.getinfo(thread, 1, "S")
        if info and info.source == "@sd/task.lua" then
            return "task (queues are full)"
        end
        local seconds = local_of(thread, 1, "seconds")
        return "sleep " .. (seconds and tostring(seconds) or "")
    end,
    redis_command = function(thread)
        local word = upvalue_of(debug.getinfo(thread, 1, "f").func, "word")
            or local_of(thread, 1, "word")
        return "redis " .. tostring(word or ""):upper()
    end,
    redis_pipeline = function()
        return "redis pipeline"
    end,
    task_call = function(thread)
        local message = local_of(thread, 1, "message")
        return type(message) == "table"
                and ("task %s/%s"):format(message[1], message[2])
            or "task"
    end,
}

--- What a waiting coroutine waits for.
local function reason(co)
    local info = debug.getinfo(co.thread, 0, "f")
    local name = info and binding(info.func)
    local say = name and by_name[name]
    local ok, text = pcall(say or function()
        return name and name:gsub("_", " ") or "?"
    end, co.thread)
    return ok and text or name
end

--- The method that a coroutine serves, which may not be on its stack any more:
--- `return sd.task("mail"):send()` leaves its place to the call.
local function route_of(thread)
    for level = 0, 30 do
        local info = debug.getinfo(thread, level, "S")
        if not info then
            return nil
        end
        for _, name in ipairs({ "method", "entry", "call" }) do
            local is_ours = info.source:sub(1, 4) == "@sd/"
            local t = is_ours and local_of(thread, level, name)
            if type(t) == "table" and type(t.controller) == "string" then
                return t.controller .. "/" .. t.method
            end
        end
    end
end

--- A stack without its first line and without the framework's bottom.
local function stack_of(co)
    local text = debug.traceback(co.thread):gsub("^[^\n]*\n?", "")
    return (text:gsub("\t", "    "))
end

--- "call probe/nap: waiting for sleep 8, since 1.2s, age 1.2s ..."
local function head_of(co)
    local ok, route = pcall(route_of, co.thread)
    local parts = { ("%d  %s"):format(co.id, co.kind) }
    if ok and route then
        parts[1] = parts[1] .. " " .. route
    end
    if co.waits then
        parts[2] = "waits " .. show.seconds(co.waits) .. " for " .. reason(co)
    else
        parts[2] = co.state
    end
    parts[3] = "age " .. show.seconds(co.age)
    if co.left then
        parts[4] = "left " .. show.seconds(math.max(co.left, 0))
    end
    if co.handle then
        parts[#parts + 1] = "conn " .. tostring(core.conn_id(co.handle))
    end
    return table.concat(parts, "  ")
end

local function coroutines(rest)
    local max = tonumber(rest:match("%d+")) or COROUTINES
    local list, found = core.look_coroutines(max + 1)
    local me = core.running()
    local out = {}
    for _, co in ipairs(list) do
        if co.id ~= me and #out < max then
            out[#out + 1] = head_of(co) .. "\n" .. stack_of(co)
        end
    end
    out[#out + 1] = ("%d coroutines, %d shown"):format(found - 1, #out)
    return table.concat(out, "\n")
end

local function conns(rest)
    local part, max = rest, CONNS
    local before, n = rest:match("^(.-)%s*(%d+)$")
    if before and (before == "" or rest:find("%s")) then
        part, max = before, tonumber(n)
    end
    local list, found = core.look_conns(part, max)
    local rows = {}
    for i, c in ipairs(list) do
        rows[i] = {
            core.conn_id(c.handle),
            c.port,
            c.protocol,
            c.uid,
            c.address .. " " .. c.peer_port,
            show.seconds(c.age),
            show.seconds(c.idle),
            c.packets_in,
            c.packets_out,
            show.bytes(c.bytes),
            show.bytes(c.unsent),
            c.running,
            c.waiting,
            c.asks,
        }
    end
    return show.columns({
        "conn",
        "port",
        "protocol",
        "uid",
        "peer",
        "-age",
        "-idle",
        "-in",
        "-out",
        "-bytes",
        "-unsent",
        "-running",
        "-waiting",
        "-asks",
    }, rows) .. ("\n%d conns, %d shown"):format(found, #rows)
end

local function called(config)
    local kind = config.task and "task" or "model"
    return ("%s %s.%s"):format(kind, config[kind], config.method)
end

--- The timers of config/timers.lua: those of the node.
local function configured()
    local rows = {}
    for i, config in ipairs(core.config.timers or {}) do
        local runs, is_running, due = core.look_timer(i)
        rows[i] = {
            config.name or tostring(i),
            config.every and show.seconds(config.every) or "",
            due and show.seconds(math.max(due, 0)) or "never",
            runs,
            is_running and "yes" or "",
            called(config),
        }
    end
    return rows
end

--- Those of sd.after and sd.every in this vm.
local function own_timers()
    local rows = {}
    local list = core.look_coroutines(1000)
    for _, co in ipairs(list) do
        local ok, timer = false, nil
        if co.state == "waiting" then
            ok, timer = pcall(timer_of, co.thread)
        end
        if ok and timer then
            rows[#rows + 1] = {
                timer.word,
                timer.ms and show.seconds(timer.ms / 1000) or "",
                show.seconds(math.max(timer.due - core.mono(), 0) / 1000),
                place(timer.fn),
            }
        end
    end
    return rows
end

local function timers()
    return "of the node (config/timers.lua)\n"
        .. show.columns(
            { "name", "every", "-next", "-runs", "running", "calls" },
            configured()
        )
        .. "\n\nof this worker (sd.after, sd.every)\n"
        .. show.columns({ "kind", "-every", "-next", "function" }, own_timers())
end

local function memory()
    local m = core.look_memory()
    local limit = m.limit > 0 and show.bytes(m.limit) or "no limit"
    return ("Lua heap: %s of %s\n"):format(show.bytes(m.used), limit)
        .. ("coroutines: %d in use, %d kept\n"):format(
            m.coroutines,
            m.idle_coroutines
        )
        .. ("conns: %d, their send queues: %s\n\n"):format(
            m.conns or 0,
            show.bytes(m.queues or 0)
        )
        .. walk.report()
end

local HELP = [[
Lua: an expression or statements; several lines until they are whole. `local`
at the left margin makes a name of this console. print() prints here. Waiting
calls work, for server.call_timeout.

.conns [part] [n]   conns whose uid, port or address contains part (20)
.co [n]             coroutines: what they wait for, and their stacks (20)
.timers             of config/timers.lua, and sd.after, sd.every of this vm
.memory             the heap, and what lives in it by kind
.help               this]]

local commands = {
    conns = conns,
    co = coroutines,
    timers = timers,
    memory = memory,
    help = function()
        return HELP
    end,
}

--- Run a command.
---@param name string
---@param rest string what stands behind it
---@return string
function look.run(name, rest)
    if not commands[name] then
        fault.fail(404, "no command ." .. name .. " (see .help)")
    end
    return commands[name](rest)
end

return look
