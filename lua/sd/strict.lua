--- The scripts' world: undefined globals raise, and so does what would stop
--- a worker or confuse its coroutines.

local core = require("sd.core")
local fault = require("sd.fault")

local yield = coroutine.yield

--- A yield in a coroutine of ours would be taken for a wait that nobody ends.
rawset(coroutine, "yield", function(...)
    if core.current() then
        fault.misuse("coroutine.yield outside of a coroutine of your own")
    end
    return yield(...)
end)

local function forbid(library, name)
    rawset(_G[library], name, function()
        fault.misuse(library .. "." .. name .. " would stop this worker")
    end)
end

if core.role == "worker" then
    forbid("os", "exit")
    forbid("os", "execute")
    forbid("io", "popen")
end

if core.watchdog then
    package.preload["jit.profile"] = function()
        fault.misuse("jit.profile: the watchdog of workers has the profiler")
    end
end

--- All that a reader gives.
local function read_all(read)
    local parts = {}
    for part in read do
        if part == "" then
            break
        end
        parts[#parts + 1] = part
    end
    return table.concat(parts)
end

--- A reader that is stopped inside of `load` would take the hook of the
--- watchdog with it, so it is called here.
local load_text = load
rawset(_G, "load", function(chunk, ...)
    if type(chunk) == "function" then
        local ok, text = pcall(read_all, chunk)
        if not ok then
            return nil, text
        end
        chunk = text
    end
    return load_text(chunk, ...)
end)

--- What calls back from C uses C stack; a recursion through it must end in an
--- error, not in the end of the process.
local check_stack = core.check_stack

--- Guard a library function when argument `n` is a function.
local function guard(library, name, n)
    local original = _G[library][name]
    rawset(_G[library], name, function(...)
        local callback = select(n, ...)
        if type(callback) == "function" then
            check_stack()
        end
        return original(...)
    end)
end

guard("string", "gsub", 3)
guard("table", "sort", 2)
guard("table", "foreach", 2)
guard("table", "foreachi", 2)

local create, resume, wrap = coroutine.create, coroutine.resume, coroutine.wrap

--- Coroutines that scripts made. One of ours, found by `coroutine.running`,
--- belongs to what it waits for.
local theirs = setmetatable({}, { __mode = "k" })

rawset(coroutine, "create", function(fn)
    local co = create(fn)
    theirs[co] = true
    return co
end)

rawset(coroutine, "resume", function(co, ...)
    if type(co) == "thread" and not theirs[co] then
        fault.misuse("coroutine.resume of a coroutine made by sd")
    end
    check_stack(true)
    return resume(co, ...)
end)

rawset(coroutine, "wrap", function(fn)
    local run = wrap(fn)
    return function(...)
        check_stack(true)
        return run(...)
    end
end)

--- Libraries may make and probe globals while they load; the application's
--- own files may not, so a forgotten `local` or a misspelt name is found.
local function is_library_loading()
    local info = debug.getinfo(3, "S")
    return info
        and (info.what == "main" or info.what == "C")
        and info.source:sub(1, 9) ~= "@scripts/"
end

setmetatable(_G, {
    __newindex = function(t, name, value)
        if not is_library_loading() then
            fault.misuse("assignment to undefined global '" .. name .. "'")
        end
        rawset(t, name, value)
    end,
    __index = function(_, name)
        if not is_library_loading() then
            fault.misuse("undefined global '" .. tostring(name) .. "'")
        end
    end,
    __metatable = false,
})
