--- What lives in the heap, by kind: a walk from the registry, in bounds.
---
--- Lua can say how much there is, not what. So all that can be reached is
--- counted, at most OBJECTS of it and as many strings, a few thousand fields
--- between two turns of the loop, also amid one table. Locals of coroutines are
--- not seen, and what changes meanwhile is counted before or after: the figures
--- are for finding what grows.

local core = require("sd.core")
local fault = require("sd.fault")
local show = require("sd.show")

---@class sd.walk
local walk = {}

local OBJECTS = 200000
local SLICE = 5000
local LARGEST = 8
local PATH = 100

local is_counted =
    { table = true, ["function"] = true, thread = true, userdata = true }

--- The way to a field, or by a mark to what is none; a long one ends in dots,
--- or a list that is linked would have ways as long as itself.
local function name_of(path, key, mark)
    if #path > PATH then
        return path:sub(-3) == "..." and path or path .. "..."
    elseif mark then
        return path .. mark .. (key or "")
    elseif type(key) == "string" and #key <= 40 then
        return path .. "." .. key:gsub("%c", "?")
    end
    return path .. "[" .. tostring(key):sub(1, 40) .. "]"
end

local function count_string(state, value)
    if state.strings == OBJECTS then
        state.is_cut = true
        return
    end
    state.seen[value] = true
    state.strings = state.strings + 1
    state.bytes = state.bytes + #value
end

--- Add what is there behind `path`, if it is new and there is room for it.
local function visit(state, value, path, key, mark)
    local kind = type(value)
    if kind ~= "string" and not is_counted[kind] or state.seen[value] then
        return
    elseif kind == "string" then
        count_string(state, value)
        return
    elseif state.last == OBJECTS then
        state.is_cut = true
        return
    end
    state.seen[value] = true
    local n = state.last + 1
    state.last = n
    state.queue[n], state.paths[n] = value, name_of(path, key, mark)
end

--- So much was done; let the others have a turn when it is their time. The
--- request's own deadline ends the walk: a wait says so.
local function rest(state, n)
    state.done = state.done + n
    if state.done >= SLICE then
        state.done = 0
        core.sleep(1)
        state.is_over = core.time_left() == 0
    end
end

--- The fields behind `key`, a slice of them. Returns the last key, nil at the
--- end of the table, and how many there were.
local function open_fields(state, t, path, key)
    local n = 0
    repeat
        local value
        key, value = next(t, key)
        if key ~= nil then
            n = n + 1
            visit(state, key, path, nil, "")
            visit(state, value, path, key)
        end
    until key == nil or n == SLICE
    return key, n
end

local function note_size(state, n, path)
    local largest = state.largest
    if n > (largest[LARGEST] and largest[LARGEST].n or 20) then
        largest[LARGEST] = nil
        largest[#largest + 1] = { n = n, path = path }
        table.sort(largest, function(a, b)
            return a.n > b.n
        end)
    end
end

local function open_table(state, t, path)
    local meta, n = debug.getmetatable(t), 0
    if meta then
        visit(state, meta, path, nil, "(meta)")
    end
    local key, got
    repeat
        key, got = open_fields(state, t, path, key)
        n = n + got
        rest(state, got)
        -- During the rest the key may have been taken out of the table: then
        -- there is no way on in it.
        if key ~= nil and (state.is_over or not pcall(next, t, key)) then
            state.is_cut = true
            key = nil
        end
    until key == nil
    state.fields = state.fields + n
    note_size(state, n, path)
end

local function open_function(state, fn, path)
    local info = debug.getinfo(fn, "S")
    if info.what ~= "C" then
        local of = state.functions
        of[info.short_src] = (of[info.short_src] or 0) + 1
    end
    for i = 1, 255 do
        local name, value = debug.getupvalue(fn, i)
        if not name then
            break
        end
        visit(state, value, path, name, "^")
    end
    visit(state, debug.getfenv(fn), path, nil, "(env)")
end

local function open_value(state, value, path)
    local kind = type(value)
    state.count[kind] = (state.count[kind] or 0) + 1
    if kind == "table" then
        open_table(state, value, path)
    elseif kind == "function" then
        open_function(state, value, path)
    elseif kind == "userdata" and debug.getmetatable(value) then
        visit(state, debug.getmetatable(value), path, nil, "(meta)")
    end
end

--- Walk; how many objects there were.
local function run(state)
    local at = 0
    while at < state.last and not state.is_over do
        at = at + 1
        local value, path = state.queue[at], state.paths[at]
        state.queue[at], state.paths[at] = nil, nil
        open_value(state, value, path)
        rest(state, 1)
    end
    state.is_cut = state.is_cut or at < state.last
    return at
end

local function functions_by_file(state)
    local rows = {}
    for file, n in pairs(state.functions) do
        rows[#rows + 1] = { file, n }
    end
    table.sort(rows, function(a, b)
        return a[2] == b[2] and a[1] < b[1] or a[2] > b[2]
    end)
    for i = LARGEST + 1, #rows do
        rows[i] = nil
    end
    return rows
end

--- What was found, as text.
local function text_of(state, n)
    local count, large = state.count, {}
    for i, found in ipairs(state.largest) do
        large[i] = { found.path, found.n }
    end
    local cut = state.is_cut and " (not all: the walk ends here)" or ""
    return table.concat({
        n .. " objects" .. cut,
        show.columns({ "kind", "-count", "of it" }, {
            { "tables", count.table or 0, state.fields .. " fields" },
            { "functions", count["function"] or 0 },
            { "strings", state.strings, show.bytes(state.bytes) },
            { "threads", count.thread or 0 },
            { "userdata", count.userdata or 0 },
        }),
        "",
        show.columns({ "largest tables", "-fields" }, large),
        "",
        show.columns({ "functions of", "-count" }, functions_by_file(state)),
    }, "\n")
end

--- Count, and say it.
---@async
---@return string
function walk.report()
    if not core.running() then
        fault.misuse("the heap is walked in a coroutine of sd")
    end
    local state = {
        seen = {},
        queue = {},
        paths = {},
        last = 0,
        count = {},
        functions = {},
        largest = {},
        strings = 0,
        bytes = 0,
        fields = 0,
        done = 0, -- since the last rest
        is_cut = false, -- something was left out
        is_over = false,
    }
    for _, own in pairs(state) do
        state.seen[own] = true
    end
    state.seen[state] = true
    visit(state, _G, "_G", nil, "")
    visit(state, debug.getregistry(), "registry", nil, "")
    return text_of(state, run(state))
end

return walk
