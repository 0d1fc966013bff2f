--- The second implementation of links, links.py, from a spec.
local bytes = require("spec.support.bytes")

local links = {}

---@param s string
---@return string digits "-" for no bytes at all
function links.hex(s)
    return s == "" and "-" or (s:gsub(".", function(x)
        return ("%02x"):format(x:byte())
    end))
end

--- Run links.py; its lines, as bytes.
---@param ... string|number
---@return string[]
function links.run(...)
    local command = "env -u LD_PRELOAD /usr/bin/python3 spec/support/links.py "
    local f = assert(io.popen(command .. table.concat({ ... }, " ")))
    local lines = {}
    for line in f:lines() do
        lines[#lines + 1] = bytes.hex(line)
    end
    assert(f:close())
    return lines
end

return links
