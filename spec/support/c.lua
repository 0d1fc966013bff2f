--- Load the runtime's pure C layers into a spec: the header is the cdef.
local ffi = require("ffi")

local c = {}

local lib = ffi.load(os.getenv("SD_LIB") or "build/dev/libsdpure.so")
local seen = {}

--- The declarations of a header: no preprocessor lines, no inline functions.
local function declarations(text)
    text = text:gsub("\\\n", " "):gsub("\n#[^\n]*", "\n")
    text = text:gsub("static inline [^;{]-%b()%s*%b{}", "")
    return (text:gsub("__attribute__%(%b()%)", ""))
end

--- Declare `path`'s contents and what it includes of ours, once, and return
--- the library.
---@param path string header, relative to runtime/
function c.use(path)
    if not seen[path] then
        seen[path] = true
        local f = assert(io.open("runtime/" .. path))
        local text = f:read("*a")
        f:close()
        for include in text:gmatch('\n#include "([^"]+)"') do
            c.use(include)
        end
        ffi.cdef(declarations(text))
    end
    return lib
end

return c
