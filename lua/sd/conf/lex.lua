--- Where in a source file a key or a method is written.
---
--- A tokenizer and two readers over its tokens. They know as much of Lua as
--- it takes to follow table constructors and method definitions; what is
--- computed has no line here, and the caller then names the file alone.
local lex = {}

---@class sd.conf.Token
---@field kind "name"|"string"|"number"|"mark"
---@field text string
---@field line integer

local OPENS = {
    ["function"] = true,
    ["if"] = true,
    ["do"] = true,
    ["repeat"] = true,
    ["("] = true,
    ["{"] = true,
    ["["] = true,
}
local CLOSES = {
    ["end"] = true,
    ["until"] = true,
    [")"] = true,
    ["}"] = true,
    ["]"] = true,
}

local ESCAPES =
    { n = "\n", t = "\t", r = "\r", ["\\"] = "\\", ['"'] = '"', ["'"] = "'" }

--- The position behind a long bracket that opens at `at`, or nil.
local function long_end(source, at)
    local level = source:match("^%[(=*)%[", at)
    if not level then
        return nil
    end
    local _, stop = source:find("]" .. level .. "]", at, true)
    return (stop or #source) + 1
end

local function quoted_end(source, at)
    local quote = source:sub(at, at)
    local i = at + 1
    while i <= #source do
        local char = source:sub(i, i)
        if char == quote or char == "\n" then
            return i + 1
        end
        i = i + (char == "\\" and 2 or 1)
    end
    return i
end

local function unquote(text)
    local level = text:match("^%[(=*)%[")
    if level then
        return text:sub(#level + 3, -#level - 3)
    end
    return (text:sub(2, -2):gsub("\\(.)", ESCAPES))
end

--- The end of the token at `at` and its kind; no kind for a comment.
local function scan(source, at)
    local char = source:sub(at, at)
    if source:find("^%-%-", at) then
        local stop = long_end(source, at + 2)
        return stop or (source:find("\n", at, true) or #source + 1)
    elseif char:find("[%a_]") then
        return source:match("^[%w_]+()", at), "name"
    elseif char:find("%d") then
        return source:match("^[%w_.]+()", at), "number"
    elseif char == '"' or char == "'" then
        return quoted_end(source, at), "string"
    elseif char == "[" and long_end(source, at) then
        return long_end(source, at), "string"
    elseif source:find("^[=~<>]=", at) then
        return at + 2, "mark"
    end
    return at + 1, "mark"
end

---@param source string
---@return sd.conf.Token[]
function lex.tokens(source)
    local list, at, line = {}, 1, 1
    while at <= #source do
        local space, stop = source:match("^(%s+)()", at)
        local kind
        if not space then
            stop, kind = scan(source, at)
        end
        local text = source:sub(at, stop - 1)
        if kind then
            local value = kind == "string" and unquote(text) or text
            list[#list + 1] = { kind = kind, text = value, line = line }
        end
        line = line + select(2, text:gsub("\n", "\n"))
        at = stop
    end
    return list
end

local function is(token, text)
    return token ~= nil and token.kind ~= "string" and token.text == text
end

--- Behind the expression at `i`: at the comma, semicolon or bracket that ends
--- it, or at the end.
local function skip_value(tokens, i)
    local depth = 0
    while tokens[i] do
        local text = tokens[i].kind ~= "string" and tokens[i].text
        if depth == 0 and (text == "," or text == ";" or CLOSES[text]) then
            return i
        elseif OPENS[text] then
            depth = depth + 1
        elseif CLOSES[text] then
            depth = depth - 1
        end
        i = i + 1
    end
    return i
end

--- The key written at `i` and where its value begins; no key where it is
--- positional.
local function read_key(tokens, i)
    local token = tokens[i]
    if token.kind == "name" and is(tokens[i + 1], "=") then
        return token.text, i + 2
    elseif is(token, "[") then
        local stop = skip_value(tokens, i + 1)
        local inner = tokens[i + 1]
        if stop == i + 2 and inner.kind ~= "name" then
            return inner.text, i + 4
        end
        return false, stop + 2
    end
    return nil, i
end

--- Behind a comma or semicolon; a stray bracket is passed too, so that a
--- reader of broken text always moves on.
local function skip_separator(tokens, i)
    return is(tokens[i], "}") and i or i + 1
end

--- Note the line of each key of the constructor whose brace is at `i`.
--- Returns the place behind it.
local function read_table(tokens, i, prefix, found, methods)
    local index = 0
    i = i + 1
    while tokens[i] and not is(tokens[i], "}") do
        local line = tokens[i].line
        local key, start = read_key(tokens, i)
        if key == nil then
            index = index + 1
            key = tostring(index)
        end
        if key then
            found[prefix .. key] = line
        end
        if key and is(tokens[start], "{") then
            start =
                read_table(tokens, start, prefix .. key .. ".", found, methods)
        elseif key and prefix == "" and is(tokens[start], "function") then
            methods[#methods + 1] = { name = key, line = line }
        end
        i = skip_separator(tokens, skip_value(tokens, start))
    end
    return i + 1
end

--- What the file returns: the place of its last `return` outside any block.
local function find_return(tokens)
    local depth, found = 0, nil
    for i, token in ipairs(tokens) do
        local text = token.kind ~= "string" and token.text
        if OPENS[text] then
            depth = depth + 1
        elseif CLOSES[text] then
            depth = depth - 1
        elseif depth == 0 and text == "return" then
            found = i + 1
        end
    end
    return found
end

--- The brace of the last `name = {`.
local function find_constructor(tokens, name)
    for i = #tokens, 1, -1 do
        if
            is(tokens[i], "{")
            and is(tokens[i - 1], "=")
            and is(tokens[i - 2], name)
            and not is(tokens[i - 3], ".")
        then
            return i
        end
    end
end

--- `function X.name(`, `function X:name(` or `X.name = function` at `i`: the
--- token of the name.
local function method_at(tokens, i, object)
    if not is(tokens[i], object) or is(tokens[i - 1], ".") then
        return nil
    end
    local text = ""
    for j = i - 1, i + 4 do
        local token = tokens[j] or { kind = "mark", text = "" }
        local part = token.kind == "string" and "''" or token.text
        text = text .. (j == i + 2 and token.kind or part) .. " "
    end
    local defined = text:find("^function %S+ [.:] name %( ")
        or text:find("^%S* ?%S+ %. name = function ")
    return defined and tokens[i + 2] or nil
end

--- The constructor behind what the file returns and the name it returns.
local function returned(tokens)
    local at = find_return(tokens)
    local token = at and tokens[at]
    if token and token.kind == "name" then
        return find_constructor(tokens, token.text), token.text
    end
    return token and is(token, "{") and at or nil
end

--- The lines of the keys of the table a file returns, by path: "game.listen"
--- and, for lists, "1.name".
---@param source string
---@return table<string, integer>
function lex.lines(source)
    local tokens = lex.tokens(source)
    local at = returned(tokens)
    local found, methods = {}, {}
    if at then
        read_table(tokens, at, "", found, methods)
    end
    return found
end

--- The functions of the table a file returns, as far as they are written
--- out, in the order written.
---@param source string
---@return { name: string, line: integer }[]
function lex.methods(source)
    local tokens = lex.tokens(source)
    local at, object = returned(tokens)
    local methods, seen, list = {}, {}, {}
    if at then
        read_table(tokens, at, "", {}, methods)
    end
    for i = 1, object and #tokens or 0 do
        local name = method_at(tokens, i, object)
        if name then
            methods[#methods + 1] = { name = name.text, line = name.line }
        end
    end
    for _, m in ipairs(methods) do
        if not seen[m.name] then
            seen[m.name] = true
            list[#list + 1] = m
        end
    end
    return list
end

return lex
