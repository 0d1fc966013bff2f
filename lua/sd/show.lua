--- Values as text for a person at a console: short, and in any case finite.

---@class sd.show
local show = {}

local FIELDS = 100
local TEXT = 2000

local words = {}
for word in
    ([[and break do else elseif end false for function goto if in local nil
    not or repeat return then true until while]]):gmatch("%a+")
do
    words[word] = true
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(byte)
    return escapes[byte] or ("\\%03d"):format(byte:byte())
end

--- A string as Lua would take it.
function show.quoted(text)
    local cut = #text > TEXT and ("... (%d bytes)"):format(#text) or ""
    text = text:sub(1, TEXT):gsub('[%c"\\]', function(byte)
        return (byte == '"' or byte == "\\") and "\\" .. byte or escape(byte)
    end)
    return '"' .. text .. '"' .. cut
end

local function text_of(value)
    local ok, text = pcall(tostring, value)
    return ok and type(text) == "string" and text or "(" .. type(value) .. ")"
end

--- What a value is, in one word: also of one inside a table.
function show.brief(value)
    if type(value) == "string" then
        return show.quoted(value)
    elseif type(value) == "table" then
        return next(value) == nil and "{}" or "{...}"
    end
    return text_of(value)
end

local function key_of(key)
    local is_name = type(key) == "string" and key:find("^[%a_][%w_]*$")
    return is_name and not words[key] and key or "[" .. show.brief(key) .. "]"
end

--- Keys in an order that does not change: numbers, then all others by text.
local function sorted_keys(t)
    local keys = {}
    for key in next, t do
        keys[#keys + 1] = key
        if #keys > 100 * FIELDS then
            break -- order matters less than an end
        end
    end
    table.sort(keys, function(a, b)
        if type(a) == "number" and type(b) == "number" then
            return a < b
        elseif type(a) == "number" or type(b) == "number" then
            return type(a) == "number"
        end
        return text_of(a) < text_of(b)
    end)
    return keys
end

--- A table, one level deep.
local function table_text(t)
    local keys, parts = sorted_keys(t), {}
    for i, key in ipairs(keys) do
        if i > FIELDS then
            parts[i] = ("... (%d more)"):format(#keys - FIELDS)
            break
        end
        local value = show.brief(rawget(t, key))
        parts[i] = key == i and value or key_of(key) .. " = " .. value
    end
    local line = "{ " .. table.concat(parts, ", ") .. " }"
    if #parts == 0 then
        return "{}"
    elseif #line > 72 then
        return "{\n    " .. table.concat(parts, ",\n    ") .. ",\n}"
    end
    return line
end

--- A value as the result of what was typed.
---@param value any
---@return string
function show.value(value)
    if type(value) ~= "table" then
        return show.brief(value)
    end
    local meta = getmetatable(value)
    if type(meta) == "table" and rawget(meta, "__tostring") then
        return text_of(value)
    end
    return table_text(value)
end

--- So many texts of a row, without what would break the line.
local function cells_of(row, n)
    local cells = {}
    for i = 1, n do
        local cell = row[i] == nil and "" or tostring(row[i])
        cells[i] = cell:gsub("%c", escape)
    end
    return cells
end

local function widths_of(rows)
    local widths = {}
    for _, cells in ipairs(rows) do
        for i, cell in ipairs(cells) do
            widths[i] = math.max(widths[i] or 0, #cell)
        end
    end
    return widths
end

--- A table for a terminal; `heads` name columns, "-" in front: to the right.
---@param heads string[]
---@param rows table<integer, any>[] each a list of cells
---@return string
function show.columns(heads, rows)
    local all, lines = { {} }, {}
    for i, head in ipairs(heads) do
        all[1][i] = head:gsub("^%-", "")
    end
    for n, row in ipairs(rows) do
        all[n + 1] = cells_of(row, #heads)
    end
    local widths = widths_of(all)
    for n, cells in ipairs(all) do
        for i, cell in ipairs(cells) do
            local room = (" "):rep(widths[i] - #cell)
            local is_right = heads[i]:sub(1, 1) == "-"
            cells[i] = is_right and room .. cell or cell .. room
        end
        lines[n] = table.concat(cells, "  "):gsub("%s+$", "")
    end
    return table.concat(lines, "\n")
end

--- Bytes as "1.5M".
function show.bytes(n)
    local units = { "", "K", "M", "G", "T" }
    local i = 1
    while n >= 1024 and i < #units do
        n, i = n / 1024, i + 1
    end
    return (i == 1 and "%d%s" or "%.1f%s"):format(n, units[i])
end

--- Seconds as "12.3s", "5m 6s".
function show.seconds(s)
    if s < 60 then
        return (s < 10 and "%.2fs" or "%.1fs"):format(s)
    elseif s < 3600 then
        return ("%dm %ds"):format(s / 60, s % 60)
    end
    return ("%dh %dm"):format(s / 3600, s % 3600 / 60)
end

return show
