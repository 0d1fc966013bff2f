--- Nested tables of plain data, as configuration files give them, and the
--- values in them by path: "ports.game.max_packet".
local nested = {}

--- The value at a path; a part of digits may stand for a number.
function nested.get(at, path)
    for part in path:gmatch("[^.]+") do
        if type(at) ~= "table" then
            return nil
        end
        local value = at[part]
        if value == nil then
            value = at[tonumber(part)]
        end
        at = value
    end
    return at
end

--- Write the value at a path; the tables on the way are made.
function nested.put(at, path, value)
    local last
    for part in path:gmatch("[^.]+") do
        if last then
            at[last] = at[last] or {}
            at = at[last]
        end
        last = tonumber(part) or part
    end
    at[last] = value
end

--- Tables are new, all else is shared.
function nested.copy(value)
    if type(value) ~= "table" then
        return value
    end
    local out = {}
    for key, item in pairs(value) do
        out[key] = nested.copy(item)
    end
    return out
end

--- Whether two values hold the same.
function nested.same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a == b
    end
    for key, item in pairs(a) do
        if not nested.same(item, b[key]) then
            return false
        end
    end
    for key in pairs(b) do
        if a[key] == nil then
            return false
        end
    end
    return true
end

return nested
