--- What lives in the heap, by kind: a walk from the registry, in bounds.
---
--- Lua can say how much there is, not what. So all that can be reached is
--- counted, at most OBJECTS of it, a few thousand between two turns of the
--- loop. Locals of coroutines are not seen, and what changes meanwhile is
--- counted before or after: the figures are for finding what grows.

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

--- Add an object, if it is a new one.
local function visit(state, value, path)
    local kind = type(value)
    if kind == "string" then
        if not state.seen[value] then
            state.seen[value] = true
            state.strings = state.strings + 1
            state.bytes = state.bytes + #value
        end
        return
    elseif not is_counted[kind] then
        return
    end
    if state.seen[value] then
        return
    end
    state.seen[value] = true
    local n = state.last + 1
    state.last = n
    state.queue[n], state.paths[n] = value, path
end

--- The way to a field; a long one ends in dots, or a list that is linked
--- would have ways as long as itself.
local function name_of(path, key)
    if #path > PATH then
        return path:sub(-3) == "..." and path or path .. "..."
    elseif type(key) == "string" and #key <= 40 then
        return path .. "." .. key:gsub("%c", "?")
    end
    return path .. "[" .. tostring(key):sub(1, 40) .. "]"
end

local function open_table(state, t, path)
    local meta, n = debug.getmetatable(t), 0
    if meta then
        visit(state, meta, path .. "(meta)")
    end
    for key, value in next, t do
        n = n + 1
        visit(state, key, path)
        if type(value) == "string" then
            visit(state, value, path)
        elseif type(value) ~= "number" and type(value) ~= "boolean" then
            visit(state, value, name_of(path, key))
        end
    end
    state.fields = state.fields + n
    local largest = state.largest
    if n > (largest[LARGEST] and largest[LARGEST].n or 20) then
        largest[LARGEST] = nil
        largest[#largest + 1] = { n = n, path = path }
        table.sort(largest, function(a, b)
            return a.n > b.n
        end)
    end
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
        visit(state, value, path .. "^" .. name)
    end
    visit(state, debug.getfenv(fn), path .. "(env)")
end

local function open_value(state, value, path)
    local kind = type(value)
    state.count[kind] = (state.count[kind] or 0) + 1
    if kind == "table" then
        open_table(state, value, path)
    elseif kind == "function" then
        open_function(state, value, path)
    elseif kind == "userdata" and debug.getmetatable(value) then
        visit(state, debug.getmetatable(value), path .. "(meta)")
    end
end

--- Walk. The request's own deadline ends it too: a wait that says so.
local function run(state)
    local at = 0
    while at < state.last and at < OBJECTS do
        at = at + 1
        local value, path = state.queue[at], state.paths[at]
        state.queue[at], state.paths[at] = nil, nil
        open_value(state, value, path)
        if at % SLICE == 0 then
            core.sleep(1)
            if core.time_left() == 0 then
                break
            end
        end
    end
    state.is_whole = at == state.last
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
    local cut = state.is_whole and "" or " (not all: the walk ends here)"
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
    }
    for _, own in pairs(state) do
        state.seen[own] = true
    end
    state.seen[state] = true
    visit(state, _G, "_G")
    visit(state, debug.getregistry(), "registry")
    return text_of(state, run(state))
end

return walk
