--- Documentation that is executed: the runnable blocks of one page.
---
--- A page is a walk through one application folder, from top to bottom:
---
---   * A block whose first line is a comment with a path and nothing else
---     (`-- scripts/app.lua`, `# client.py`) is that file; it is written, or
---     written anew, in the current folder.
---   * In a `sh` block a line that begins with `$ ` is run by sh, and what
---     stands beneath, up to the next such line, is what it prints. `...`
---     stands for anything in a line; alone in a line, for any lines. Without
---     text beneath, the command must succeed. A line of JSON is compared as a
---     value: the order of its keys means nothing.
---   * Another `lua` block must compile.
---
--- Every 127.0.0.1:PORT of a page becomes a free port, so pages run beside
--- each other and beside what else is there; outputs are turned back.

local cjson = require("cjson")
local nested = require("sd.conf.nested")
local socket = require("socket")

local docs = {}

local comment = { lua = "%-%-", sh = "#", python = "#", js = "//" }

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

local function write(path, text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
end

--- Text as one word of sh.
local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The fenced blocks of a page, in order.
---@param text string
---@return {lang: string, line: integer, text: string}[]
function docs.blocks(text)
    local blocks, block, n = {}, nil, 0
    for line in (text .. "\n"):gmatch("(.-)\n") do
        n = n + 1
        local lang = line:match("^```(%w*)")
        if not lang then
            if block then
                table.insert(block.lines, line)
            end
        elseif block then
            block.text = table.concat(block.lines, "\n")
            table.insert(blocks, block)
            block = nil
        else
            block = { lang = lang, line = n, lines = {} }
        end
    end
    assert(not block, "a block without an end")
    return blocks
end

--- The path a block names in its first line, if it is a file.
local function path_of(block)
    local mark = comment[block.lang]
    local first = block.text:match("^[^\n]*")
    return mark and first:match("^" .. mark .. " ([%w_/-]+%.%w+)$")
end

--- The commands of a sh block, each with the lines it shall print.
local function commands_of(block)
    local commands, last = {}, nil
    for i, line in ipairs(block.lines) do
        local text = line:match("^%$ (.*)$")
        if text then
            last = { text = text, line = block.line + i, expected = {} }
            table.insert(commands, last)
        elseif last and last.text:find("\\$") then
            last.text = last.text:sub(1, -2) .. line
        elseif last then
            table.insert(last.expected, line)
        end
    end
    return commands
end

--- Is anything in this block run?
local function is_shell(block)
    return block.lang == "sh" and ("\n" .. block.text):find("\n%$ ") ~= nil
end

--- Do both lines hold JSON, and the same?
local function is_same_json(expected, line)
    if not (expected:find("^[{%[]") and line:find("^[{%[]")) then
        return false
    end
    local ok, a = pcall(cjson.decode, expected)
    local fine, b = pcall(cjson.decode, line)
    return ok and fine and nested.same(a, b)
end

local function line_matches(pattern, line)
    if is_same_json(pattern, line) then
        return true
    end
    local escaped = pattern:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
    return line:find("^" .. escaped:gsub("%%%.%%%.%%%.", ".-") .. "$") ~= nil
end

--- Do lines i.. match the expected ones from e on?
local function lines_match(expected, e, lines, i)
    while expected[e] do
        if expected[e] == "..." then
            for from = i, #lines + 1 do
                if lines_match(expected, e + 1, lines, from) then
                    return true
                end
            end
            return false
        elseif not lines[i] or not line_matches(expected[e], lines[i]) then
            return false
        end
        e, i = e + 1, i + 1
    end
    return lines[i] == nil
end

--- What a machine with few descriptors has to say besides.
local ASIDE = "^warning: server%.max_conns: lowered"

--- Lines of a text, without blank ones at its end.
local function lines_of(text)
    local lines = {}
    for line in (text:gsub("%s+$", "") .. "\n"):gmatch("(.-)\r?\n") do
        if not line:find(ASIDE) then
            table.insert(lines, line)
        end
    end
    return lines
end

local function free_port()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    listener:close()
    return tostring(port)
end

local function renumber(text, ports)
    return (
        text:gsub("%d+", function(number)
            return ports[number]
        end)
    )
end

--- The ports of a page and free ones for them, both ways.
local function ports_of(text)
    local there, back = {}, {}
    for port in text:gmatch("127%.0%.0%.1:(%d+)") do
        if not there[port] then
            there[port] = free_port()
            back[there[port]] = port
        end
    end
    return there, back
end

---@class docs.Run
local Run = {}
Run.__index = Run

--- Run one command; a text when it did not do what the page says.
function Run:command(command)
    local out, cwd = self.dir .. "/.out", self.dir .. "/.cwd"
    local script = "cd %s && { %s\n} >%s 2>&1; s=$?; pwd >%s; exit $s"
    local text = renumber(command.text, self.there)
    script = script:format(quote(self.cwd), text, quote(out), quote(cwd))
    local env = ("env -i HOME=%s PATH=%s LANG=C.UTF-8 ASAN_OPTIONS=%s sh -c %s"):format(
        quote(self.dir),
        quote(self.path),
        quote(os.getenv("ASAN_OPTIONS") or ""),
        quote(script)
    )
    local status = os.execute(env)
    local printed = renumber(read(out), self.back)
    self.cwd = read(cwd):gsub("\n$", "")
    local fine
    if #command.expected > 0 then
        fine = lines_match(command.expected, 1, lines_of(printed), 1)
    else
        fine = status == 0 or status == true
    end
    if not fine then
        local where = ("%s:%d: $ %s"):format(self.page, command.line, command.text)
        return where .. "\n" .. printed
    end
end

--- Write a block that is a file.
function Run:file(block, path)
    local full = self.cwd .. "/" .. path
    os.execute("mkdir -p " .. quote(full:match("^(.*)/")))
    write(full, renumber(block.text, self.there) .. "\n")
end

function Run:block(block)
    local path = path_of(block)
    if path then
        self:file(block, path)
    elseif block.lang == "lua" then
        local _, err = loadstring(block.text, "=" .. self.page)
        return err and err .. (" (the block of line %d)"):format(block.line)
    elseif is_shell(block) then
        for _, command in ipairs(commands_of(block)) do
            local err = self:command(command)
            if err then
                return err
            end
        end
    end
end

--- Execute a page with the binary in `build`; a text when something in it is
--- not so.
---@param page string path
---@param build string absolute path of the folder that holds sdlua
---@return string? err
function docs.run(page, build)
    local text = read(page)
    local pipe = io.popen("mktemp -d")
    local dir = pipe:read("*l")
    pipe:close()
    local run = setmetatable({ page = page, dir = dir, cwd = dir }, Run)
    run.path = build .. ":/usr/bin:/bin:/usr/sbin:/sbin"
    run.there, run.back = ports_of(text)
    local err
    for _, block in ipairs(docs.blocks(text)) do
        err = err or run:block(block)
    end
    -- Whatever a page that failed has left running.
    local stop = "for d in %s %s/*/; do %s/sdlua -C $d stop --now; done"
    stop = stop:format(quote(dir), quote(dir), quote(build))
    os.execute("(" .. stop .. ") >/dev/null 2>&1")
    os.execute("rm -rf " .. quote(dir))
    return err
end

return docs
