--- The schema's keys as a tree, and the walk that finds what is wrong.
local schema = {}

---@class sd.conf.Key one row of runtime/base/conf_schema.c
---@field index integer
---@field path string
---@field type string
---@field fallback string?
---@field choices string?
---@field reload boolean
---@field secret boolean
---@field needed boolean
---@field nullable boolean

---@class sd.conf.Node
---@field children table<string, sd.conf.Node>?
---@field key sd.conf.Key?

---@param keys sd.conf.Key[]
---@return sd.conf.Node
function schema.tree(keys)
    local root = { children = {} }
    for _, key in ipairs(keys) do
        local node = root
        for part in key.path:gmatch("[^.]+") do
            node.children = node.children or {}
            node.children[part] = node.children[part] or {}
            node = node.children[part]
        end
        node.key = key
    end
    return root
end

--- How many edits lead from one word to another.
local function distance(a, b)
    local row = {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        local corner = row[0]
        row[0] = i
        for j = 1, #b do
            local cost = a:byte(i) == b:byte(j) and 0 or 1
            local best = math.min(row[j] + 1, row[j - 1] + 1, corner + cost)
            corner, row[j] = row[j], best
        end
    end
    return row[#b]
end

--- The name most like `word`, if one is like it at all.
---@param word string
---@param names table<string, any> its keys are the names
---@return string?
function schema.nearest(word, names)
    local best, least = nil, math.max(1, math.floor(#word / 2)) + 1
    if #word > 64 then
        return nil
    end
    for name in pairs(names) do
        local d = distance(word, name)
        if
            name ~= "*"
            and (d < least or (d == least and best and name < best))
        then
            best, least = name, d
        end
    end
    return best
end

--- A value as the text that the schema's rules read.
---@return string
function schema.text(value)
    if type(value) == "number" then
        return value == math.floor(value)
                and math.abs(value) < 2 ^ 53
                and ("%d"):format(value)
            or ("%.17g"):format(value)
    end
    return tostring(value)
end

local LUA_TYPES = {
    string = { string = true },
    bool = { boolean = true },
    int = { number = true, string = true },
    number = { number = true },
    duration = { number = true, string = true },
    size = { number = true, string = true },
    choice = { string = true, number = true },
    list = {},
    words = { string = true },
    time = { string = true },
}

local function shown(value)
    if type(value) == "string" then
        return '"' .. value:sub(1, 60) .. '"'
    end
    return type(value) == "table" and "a table" or tostring(value)
end

local function check_items(host, key, value)
    local count = 0
    for _ in pairs(value) do
        count = count + 1
    end
    if count ~= #value then
        return "expected " .. host.type_name(key.index) .. ", got a table"
    end
    for i, item in ipairs(value) do
        if type(item) ~= "string" then
            return ("item %d: expected text, got %s"):format(i, shown(item))
        end
    end
end

--- What is wrong with the value of a key, or nil.
---@param from_text boolean? it comes from the environment: all is text
---@return string?
function schema.check(host, key, value, from_text)
    if key.type == "any" or (key.nullable and value == false) then
        return nil
    end
    local lists = key.type == "list" or key.type == "words"
    if lists and type(value) == "table" then
        return check_items(host, key, value)
    end
    if not from_text and not LUA_TYPES[key.type][type(value)] then
        return ("expected %s, got %s"):format(
            host.type_name(key.index),
            key.secret and "a " .. type(value) or shown(value)
        )
    end
    local _, why = host.key_read(key.index, schema.text(value))
    return why
end

local function sorted_keys(t)
    local keys = {}
    for key in pairs(t) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        if type(a) == type(b) then
            return a < b
        end
        return type(a) == "number"
    end)
    return keys
end
schema.sorted_keys = sorted_keys

local function unknown(node, name, path)
    local near = schema.nearest(name, node.children)
    local parent = path:match("^(.*)%.[^.]*$") or ""
    return ('unknown key "%s"%s%s'):format(
        name,
        parent == "" and "" or " in " .. parent,
        near and ('; did you mean "%s"?'):format(near) or ""
    )
end

--- The node for a child's name, or nil and what is wrong with the name.
local function child(node, name, path)
    local any = node.children["*"]
    if not any then
        if type(name) ~= "string" then
            return nil, "expected names, got a list"
        end
        local found = node.children[name]
        return found, not found and unknown(node, name, path) or nil
    elseif path:find("^timers%.") then
        return any,
            type(name) ~= "number" and "expected a list of timers" or nil
    elseif
        type(name) ~= "string"
        or #name > 64
        or not name:find("^[%a_][%w_-]*$")
    then
        return nil,
            ('"%s" is no name: letters, digits, _ and -'):format(tostring(name))
    end
    return any
end

--- Short forms the user may write, as the tables they stand for.
local function widen(path, value)
    if path:find("^ports%.[^.]+%.frame$") and type(value) == "string" then
        return { type = value }
    elseif
        path:find("^ports%.[^.]+%.websocket$")
        and type(value) == "boolean"
    then
        return { enabled = value }
    end
    return value
end

--- Report all that is wrong below `path`; short forms are replaced in `tree`.
---@param report fun(path: string, text: string)
function schema.walk(host, node, tree, path, report)
    if node.key and not (node.children and type(tree) == "table") then
        local why = schema.check(host, node.key, tree)
        if why then
            report(path, path .. ": " .. why)
        end
        return
    elseif type(tree) ~= "table" then
        report(path, ("%s: expected a table, got %s"):format(path, shown(tree)))
        return
    end
    for _, name in ipairs(sorted_keys(tree)) do
        local below = path .. "." .. tostring(name)
        local next_node, why = child(node, name, below)
        if why then
            report(below, why)
        end
        if next_node then
            tree[name] = widen(below, tree[name])
            schema.walk(host, next_node, tree[name], below, report)
        end
    end
end

return schema
