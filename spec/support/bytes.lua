--- Byte strings for specs of C parsers.
local ffi = require("ffi")

ffi.cdef([[
void *malloc(size_t size);
void free(void *p);
]])

local bytes = {}

--- A block with exactly the bytes of `s`, so that the sanitizer sees a look
--- behind its end.
---@param s string
---@return ffi.cdata* char pointer
function bytes.exact(s)
    local p = ffi.gc(ffi.cast("char *", ffi.C.malloc(#s)), ffi.C.free)
    ffi.copy(p, s, #s)
    return p
end

local blocks = setmetatable({}, { __mode = "k" })

--- The same as a struct slice (base/slice.h); the block lives as long as it.
---@param s string
---@return ffi.cdata*
function bytes.slice(s)
    local p = bytes.exact(s)
    local slice = ffi.new("struct slice", { p, #s })
    blocks[slice] = p
    return slice
end

--- "81 05 ff" as bytes.
---@param text string
---@return string
function bytes.hex(text)
    return (text:gsub("%s", ""):gsub("..", function(digits)
        return string.char(tonumber(digits, 16))
    end))
end

--- Every way to hand over `s` that a spec tries: whole, cut in two at each
--- place, byte by byte.
---@param s string
---@return fun(): string[]|nil
function bytes.splits(s)
    return coroutine.wrap(function()
        coroutine.yield({ s })
        for i = 1, #s - 1 do
            coroutine.yield({ s:sub(1, i), s:sub(i + 1) })
        end
        local single = {}
        for i = 1, #s do
            single[i] = s:sub(i, i)
        end
        coroutine.yield(single)
    end)
end

return bytes
