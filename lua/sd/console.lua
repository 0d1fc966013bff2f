--- The inside of `sdlua attach` and `sdlua top`: one request, one coroutine.
---
--- A request is a line of JSON, and so is each line of its answer; the last
--- one has `done`. C cancels a request that does not end (vm/console.c).
---
--- Each console has a table of its own that its globals go to, in front of
--- those of the application: what one person tries out is nobody else's.

local core = require("sd.core")
local fault = require("sd.fault")
local log = require("sd.log")
local look = require("sd.look")
local show = require("sd.show")
local usage = require("sd.usage")

---@class sd.console
local console = {}

local OUT_MAX = 256 * 1024

---@class sd.ConsoleSession
---@field number integer what C knows it by
---@field env table its globals
---@field seen table what `top` has seen last
---@field room integer bytes that its request may still print

--- By number. One whose socket is gone is forgotten with the next that comes.
---@type table<integer, sd.ConsoleSession>
local sessions = {}

local function write(session, message)
    return core.console_write(session.number, core.json_encode(message))
end

--- Text may hold any bytes; JSON may not.
local function say(session, text)
    if session.room <= 0 then
        return
    end
    if #text > session.room then
        text = text:sub(1, session.room) .. "\n... (cut)\n"
    end
    session.room = session.room - #text
    local ok, json = pcall(core.json_encode, { out = text })
    if not ok then
        text = text:gsub("[\128-\255]", function(byte)
            return ("\\%d"):format(byte:byte())
        end)
        json = core.json_encode({ out = text })
    end
    if not core.console_write(session.number, json) then
        session.room = 0 -- nobody reads
    end
end

--- `print` of what runs in this console, whichever coroutine.
local function printer(session)
    return function(...)
        local parts = {}
        for i = 1, select("#", ...) do
            parts[i] = tostring((select(i, ...)))
        end
        say(session, table.concat(parts, "\t") .. "\n")
    end
end

local function new_session(number)
    local session = { number = number, seen = {}, room = OUT_MAX }
    session.env = setmetatable({
        sd = require("sd"),
        print = printer(session),
    }, {
        __index = function(_, name)
            return rawget(_G, name)
        end,
    })
    return session
end

local function session_of(number)
    for other in pairs(sessions) do
        if other ~= number and not core.console_is_open(other) then
            sessions[other] = nil
        end
    end
    sessions[number] = sessions[number] or new_session(number)
    return sessions[number]
end

--- A local of one chunk is gone in the next: what stands at the left margin
--- becomes the console's own.
local function without_local(text)
    local name, rest = text:match("^%s*local%s+function%s+([%a_][%w_]*)(.*)$")
    if name then
        return "function " .. name .. rest
    end
    local names, value = text:match("^%s*local%s+([%a_][%w_,%s]*)=([^=].*)$")
    if names then
        return names .. "=" .. value
    end
    return text
end

--- Does this error say that only the end is missing?
local function is_unfinished(why)
    return why ~= nil and why:find("near '<eof>'$") ~= nil
end

--- Compile as an expression, else as statements. `nil, why` when it is
--- neither; why is true when only the end is missing. The function takes one
--- that returns its arguments: a plain `return f()` would be a tail call, and
--- an error in f would have no line.
local function compile(text)
    text = text:gsub("^%s*=?", "", 1)
    local last = text:find("--", 1, true) and "\n)" or ")"
    local chunk = loadstring("return (...)(" .. text .. last, "=console")
    if chunk then
        return chunk
    end
    local _, as_expression = loadstring("return " .. text, "=console")
    local why
    chunk, why = loadstring(without_local(text), "=console")
    if chunk then
        return chunk
    elseif is_unfinished(why) or is_unfinished(as_expression) then
        return nil, true
    end
    return nil, why
end

local function results(...)
    return ...
end

--- Print what a chunk has returned.
local function show_results(session, ...)
    local parts = {}
    for i = 1, select("#", ...) do
        parts[i] = show.value((select(i, ...)))
    end
    if #parts > 0 then
        say(session, table.concat(parts, "  ") .. "\n")
    end
end

--- The stack of an error, without what is ours beneath it.
local function own_part(stack)
    return (stack:gsub("\n%s*%[C%]: in function 'xpcall'.*$", ""))
end

local function show_error(session, err)
    err = fault.of_xpcall(err)
    if fault.is_raised(err) then
        say(session, err.message .. own_part(err.stack) .. "\n")
    else
        say(session, tostring(err) .. "\n")
    end
end

--- Did it end well?
local function finish(session, ok, ...)
    if ok then
        show_results(session, ...)
    else
        show_error(session, (...))
    end
    return ok
end

local function run_command(session, name, rest)
    local ok, out = xpcall(look.run, fault.catch, name, rest)
    if ok then
        say(session, out .. "\n")
    else
        show_error(session, out)
    end
    return ok
end

--- Evaluate. Returns whether it ended well, and whether more must follow.
local function eval(session, text)
    if text:find("^%s*$") then
        return true
    end
    local command, rest = text:match("^%s*%.(%a+)%s*(.-)%s*$")
    if command then
        return run_command(session, command, rest)
    end
    local chunk, why = compile(text)
    if not chunk and why == true then
        return false, true
    elseif not chunk then
        say(session, why .. "\n")
        return false
    end
    setfenv(chunk, session.env)
    return finish(session, xpcall(chunk, fault.catch, results))
end

--- One request; the last line of its answer.
local function answer(session, request)
    session.room = OUT_MAX
    if type(request.eval) == "string" then
        local ok, more = eval(session, request.eval)
        return { done = ok, more = more }
    elseif type(request.top) == "number" then
        return { done = true, top = usage.top(session, request.top) }
    end
    return { done = false, error = "no such request" }
end

--- From C: the console has a line.
---@param number integer
function console.serve(number)
    local session = session_of(number)
    local request, why = core.json_decode(core.console_take(number))
    if type(request) ~= "table" then
        write(session, { done = false, error = why or "a map expected" })
        return
    end
    local ok, last = xpcall(answer, fault.catch, session, request)
    if not ok then
        last = fault.of_xpcall(last)
        if fault.is_raised(last) then
            log.raised(last)
        end
        last = { done = false, error = select(2, fault.result(last)) }
    end
    write(session, last)
end

return console
