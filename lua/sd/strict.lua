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

--- Only the main chunk of a file may make globals: a library that does is
--- tolerated, a forgotten `local` inside a function is found.
local function in_main_chunk()
    local info = debug.getinfo(3, "S")
    return info and (info.what == "main" or info.what == "C")
end

setmetatable(_G, {
    __newindex = function(t, name, value)
        if not in_main_chunk() then
            fault.misuse("assignment to undefined global '" .. name .. "'")
        end
        rawset(t, name, value)
    end,
    __index = function(_, name)
        fault.misuse("undefined global '" .. tostring(name) .. "'")
    end,
    __metatable = false,
})
