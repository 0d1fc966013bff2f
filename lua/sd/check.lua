--- Shapes: what came from outside, checked before it is used.

local core = require("sd.core")
local fault = require("sd.fault")

---@alias sd.Shape string|table

local DEPTH = 64

--- Compiled checks by the text of their shape.
---@type table<string, fun(value: any, name: string): any>
local compiled = {}

local function bad(name, text)
    fault.fail(400, (name == "" and "value" or name) .. ": " .. text)
end

--- "1..64" as two numbers; either may be missing.
local function range(text, shape)
    if text == "" then
        return -math.huge, math.huge
    end
    local low, high = text:match("^(%-?[%d.]-)%.%.(%-?[%d.]*)$")
    if not low then
        fault.misuse("bad shape '" .. shape .. "'")
    end
    return tonumber(low) or -math.huge, tonumber(high) or math.huge
end

local function span(low, high)
    if low == -math.huge then
        return "at most " .. high
    elseif high == math.huge then
        return "at least " .. low
    end
    return low .. ".." .. high
end

local make = {}

function make.string(low, high)
    return function(value, name)
        if type(value) ~= "string" then
            bad(name, "a string expected")
        elseif #value < low or #value > high then
            bad(name, "a string of " .. span(low, high) .. " bytes expected")
        end
        return value
    end
end

local EXACT = 2 ^ 53

--- A number, or its digits as text (forms send only text).
local function to_number(value)
    if type(value) == "string" and value:find("^%-?%d[%d.eE+-]*$") then
        value = tonumber(value)
    end
    if type(value) == "number" and math.abs(value) < math.huge then
        return value
    end
end

--- The same without fraction, and small enough to be exact.
local function to_integer(value)
    if type(value) == "string" and not value:find("^%-?%d+$") then
        return nil
    end
    local n = to_number(value)
    if n and n % 1 == 0 and math.abs(n) <= EXACT then
        return n
    end
end

function make.number(low, high)
    return function(value, name)
        local n = to_number(value)
        if not n then
            bad(name, "a number expected")
        elseif n < low or n > high then
            bad(name, "a number " .. span(low, high) .. " expected")
        end
        return n
    end
end

function make.integer(low, high)
    return function(value, name)
        local n = to_integer(value)
        if not n then
            bad(name, "an integer expected")
        elseif n < low or n > high then
            bad(name, "an integer " .. span(low, high) .. " expected")
        end
        return n
    end
end

function make.boolean()
    return function(value, name)
        if type(value) ~= "boolean" then
            bad(name, "a boolean expected")
        end
        return value
    end
end

function make.any()
    return function(value, name)
        if value == nil then
            bad(name, "missing")
        end
        return value
    end
end

local function one_of(shape)
    local allowed, names = {}, {}
    for word in (shape .. "|"):gmatch("([^|]*)|") do
        allowed[word] = true
        names[#names + 1] = word
    end
    local text = "one of " .. table.concat(names, ", ") .. " expected"
    return function(value, name)
        if not allowed[value] then
            bad(name, text)
        end
        return value
    end
end

--- The check of a shape without its "?".
local function compile(shape)
    if shape:find("|", 1, true) then
        return one_of(shape)
    end
    local kind, rest = shape:match("^(%l+) *(.-)$")
    if not make[kind] then
        fault.misuse("bad shape '" .. shape .. "'")
    end
    return make[kind](range(rest, shape))
end

local check

local function check_list(value, shape, name, depth)
    if type(value) ~= "table" or (next(value) ~= nil and value[1] == nil) then
        bad(name, "a list expected")
    end
    local out = core.array()
    for i = 1, #value do
        out[i] = check(value[i], shape[1], name .. "[" .. i .. "]", depth)
    end
    return out
end

--- Key without its "?" and whether it had one.
local function key_of(key)
    if type(key) == "string" and key:sub(-1) == "?" then
        return key:sub(1, -2), true
    end
    return key, false
end

local function check_map(value, shape, name, depth)
    if type(value) ~= "table" then
        bad(name, "a map expected")
    end
    local out = {}
    for key, inner in pairs(shape) do
        local plain, optional = key_of(key)
        local field = value[plain]
        local path = name == "" and tostring(plain) or name .. "." .. plain
        if field ~= nil or not optional then
            out[plain] = check(field, inner, path, depth)
        end
    end
    return out
end

local function check_table(value, shape, name, depth)
    if value == nil then
        bad(name, "missing")
    elseif shape[1] ~= nil then
        return check_list(value, shape, name, depth)
    end
    return check_map(value, shape, name, depth)
end

check = function(value, shape, name, depth)
    if type(shape) == "table" then
        if depth > DEPTH then
            fault.misuse("shape nested too deep")
        end
        return check_table(value, shape, name, depth + 1)
    elseif type(shape) ~= "string" then
        fault.misuse("bad shape (a string or table expected)")
    end
    local f = compiled[shape]
    if not f then
        local plain, optional = key_of(shape)
        local inner = compile(plain)
        f = function(v, n)
            if v == nil then
                return not optional and bad(n, "missing") or nil
            end
            return inner(v, n)
        end
        compiled[shape] = f
    end
    return f(value, name)
end

--- The value, with only the fields that are named; error 400 naming the first
--- field that is wrong.
---@param value any
---@param shape sd.Shape
---@return any
return function(value, shape)
    return check(value, shape, "", 0)
end
