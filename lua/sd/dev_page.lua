--- What a browser is shown of an error while `server.dev` is on: the message,
--- the stack, and the lines of the sources it names.

local core = require("sd.core")

---@class sd.dev_page
local dev_page = {}

local AROUND = 4 -- lines in front of and behind the one that is named

local HEAD = [[
<!doctype html><meta charset="utf-8"><title>%s</title><style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 60em }
h1 { font-size: 1.3em; color: #b00; white-space: pre-wrap }
pre { background: #f5f5f5; padding: .6em; overflow-x: auto }
b { background: #fdd } small { color: #777 }
</style>]]

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }

local function escape(text)
    return (tostring(text):gsub("[&<>]", ENTITIES))
end

local function lines_of(text)
    local lines = {}
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        lines[#lines + 1] = line
    end
    return lines
end

--- The lines around one of a file of the application; nil: it is none.
---@param path string "scripts/models/m.lua"
---@param number integer
---@return string? html
function dev_page.excerpt(path, number)
    local text = core.source(path)
    if not text then
        return nil
    end
    local out, lines = {}, lines_of(text)
    for i = math.max(1, number - AROUND), math.min(#lines, number + AROUND) do
        local line = ("%4d  %s"):format(i, escape(lines[i]))
        out[#out + 1] = i == number and "<b>" .. line .. "</b>" or line
    end
    return "<pre>" .. table.concat(out, "\n") .. "</pre>"
end

--- Places of the application that a message and a stack name, in order.
local function places(text)
    local seen, list = {}, {}
    for path, number in text:gmatch("([%w_./-]+%.lua):(%d+)") do
        local key = path .. ":" .. number
        if not seen[key] then
            seen[key] = true
            list[#list + 1] = { path, tonumber(number) }
        end
    end
    return list
end

--- The whole page.
---@param err {message: string, stack: string} what fault.catch made
---@return string html
function dev_page.render(err)
    local title = escape(err.message:match("^[^\n]*"))
    local out = { HEAD:format(title), "<h1>" .. escape(err.message) .. "</h1>" }
    for _, place in ipairs(places(err.message .. "\n" .. err.stack)) do
        local excerpt = dev_page.excerpt(place[1], place[2])
        if excerpt then
            out[#out + 1] = ("<small>%s:%d</small>%s"):format(
                escape(place[1]),
                place[2],
                excerpt
            )
        end
    end
    out[#out + 1] = "<pre>" .. escape(err.stack:gsub("^\n", "")) .. "</pre>"
    out[#out + 1] = ("<small>generation %d on %s</small>"):format(
        core.generation,
        escape(core.node)
    )
    return table.concat(out, "\n")
end

return dev_page
