--- A real node for a spec: a fresh application folder, the built executable,
--- loopback and port 0 only.
---
---     local s = server.start({ ["config/ports.lua"] = "return {...}" })
---     local tcp = s:connect("game")
---     s:stop()

local cjson = require("cjson")
local http = require("socket.http")
local ltn12 = require("ltn12")
local socket = require("socket")

---@class spec.server
---@field dir string the application folder
---@field pid integer of the master
---@field host spec.host|nil where it runs (hosts.lua); nil: on this machine
---@field verbs string "dispatch " when it is one (cluster.lua)
---@field options string|nil more words for start
local server = {}
server.__index = server

-- With SD_VALGRIND set the nodes run under valgrind, and what it finds in any
-- of their processes fails the spec that stops the node.
local valgrind = os.getenv("SD_VALGRIND")
    and "valgrind -q --trace-children=yes --trace-children-skip='*redis*' "
        .. "--leak-check=full --show-leak-kinds=definite "
        .. "--errors-for-leak-kinds=definite --main-stacksize=8000000 "
        .. "--log-file=%s/valgrind.%%p "

-- Seconds; a sanitized build on a loaded machine is slow. Nothing waits for
-- it in vain unless it fails.
local DEADLINE = valgrind and 120 or 60

local cwd
do
    local f = assert(io.popen("pwd"))
    cwd = f:read("*l")
    f:close()
end

local binary = cwd .. "/" .. (os.getenv("SD_BUILD") or "build/dev") .. "/sdlua"

--- Two workers, one task, one port of each kind, a controller to ask who
--- answers. No admin port: nodes of other specs run beside this one.
server.defaults = {
    ["config/server.lua"] = [[return { workers = 2, tasks = 1, name = "n" }]],
    ["config/admin.lua"] = [[return { listen = "off" }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
local Probe = {}
function Probe:who()
    return { slot = sd.slot }
end
return Probe]],
}

local function quote(s)
    return "'" .. tostring(s):gsub("'", "'\\''") .. "'"
end

--- Run a shell command. Returns what it wrote and its exit status.
---@param command string
---@return string output, integer status
function server.shell(command)
    local f = assert(io.popen("{ " .. command .. "\n} 2>&1; echo \" $?\""))
    local text = f:read("*a")
    f:close()
    local output, status = text:match("^(.*) (%d+)\n$")
    return output, tonumber(status)
end

local shell = server.shell

--- Run a command in a terminal of that size, where somebody waits for each
--- `expected` and then types: steps is { expected, typed, ... }. Returns
--- "code STATUS", then what was shown.
function server.terminal(rows, columns, command, steps)
    local words = {}
    for i, text in ipairs({ command, unpack(steps) }) do
        words[i] = quote(text)
    end
    return (server.shell(("env -u LD_PRELOAD /usr/bin/python3 spec/support/terminal.py "
        .. "%d %d %s"):format(rows, columns, table.concat(words, " "))))
end

local function read_file(path)
    local f = io.open(path)
    if not f then
        return nil
    end
    local text = f:read("*a")
    f:close()
    return text
end

--- Poll until `fn` returns something true; that is returned. Fails with
--- `what` when it does not within a generous time, and with what the second
--- value of `fn`, a function, then says there is instead.
---@param fn fun(): any, fun(): string
---@param what string|nil
---@return any
function server.until_(fn, what)
    local limit = socket.gettime() + DEADLINE
    local result, seen
    repeat
        result, seen = fn()
        if result then
            return result
        end
        socket.sleep(0.01)
    until socket.gettime() > limit
    what = (what or "condition") .. (seen and "; instead: " .. seen() or "")
    error("not within " .. DEADLINE .. " s: " .. what, 2)
end

--- Memory of a process, in bytes: what it has, or another line of its status.
---@param pid integer
---@param line string|nil
---@return integer
function server.memory(pid, line)
    local f = assert(io.open("/proc/" .. pid .. "/status"))
    local kib = f:read("*a"):match((line or "VmRSS") .. ":%s*(%d+)")
    f:close()
    return tonumber(kib) * 1024
end

--- CPU time of a process, in seconds.
---@param pid integer
---@return number
function server.cpu(pid)
    local stat = assert(read_file("/proc/" .. pid .. "/stat"))
    local user, system = stat:match("%) %u" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
    return (user + system) / 100
end

--- Is there a process of that pid that has not ended? A zombie has, with its
--- last thread: until then its ports are taken.
---@param pid integer
---@return boolean
function server.is_alive(pid)
    local stat = read_file("/proc/" .. pid .. "/stat")
    local state, threads = (stat or ""):match("%) (%u)" .. (" %S+"):rep(16) .. " (%d+)")
    return state ~= nil and (state ~= "Z" or tonumber(threads) > 1)
end

--- Install the build into a new folder of /tmp that every user may read; the
--- build itself may be in somebody's closed home. The caller removes it.
---@return string prefix
function server.install()
    local prefix = shell("mktemp -d /tmp/sdlua-install.XXXXXX"):gsub("%s", "")
    local out, status = shell(("chmod 755 %s; env -u LD_PRELOAD cmake --install %s --prefix %s")
        :format(prefix, quote(binary:match("^(.*)/")), prefix))
    assert(status == 0, out)
    return prefix
end

--- Make a folder. `files` replace or, with false, remove the defaults.
---@param files table<string, string|false>|nil
---@param host spec.host|nil
---@return spec.server
function server.new(files, host)
    local base = host and host.dir .. "/node" or "/tmp/sdlua-spec"
    local dir = shell("mktemp -d " .. base .. ".XXXXXX"):gsub("%s", "")
    local self = setmetatable({ dir = dir, env = "", host = host, verbs = "" }, server)
    for path, text in pairs(server.defaults) do
        if not files or files[path] == nil then
            self:write(path, text)
        end
    end
    for path, text in pairs(files or {}) do
        if text then
            self:write(path, text)
        end
    end
    return self
end

--- Run fn(...) where the node is.
---@param fn function
---@return any ...
function server:inside(fn, ...)
    if self.host then
        return self.host:inside(fn, ...)
    end
    return fn(...)
end

--- Write a file of the application.
---@param path string
---@param text string
function server:write(path, text)
    local full = self.dir .. "/" .. path
    shell("mkdir -p " .. quote(full:match("^(.*)/")))
    local f = assert(io.open(full, "w"))
    f:write(text)
    f:close()
end

--- What the file holds, or nil.
---@param path string
---@return string|nil
function server:read(path)
    return read_file(self.dir .. "/" .. path)
end

--- Does the file (a socket, a folder) exist?
---@param path string
---@return boolean
function server:has(path)
    local _, status = shell("test -e " .. quote(self.dir .. "/" .. path))
    return status == 0
end

--- The command line of a verb, without what the spec's own process preloads.
---@param verb string
---@return string
function server:command(verb)
    return ("env -u LD_PRELOAD %s timeout -k 1 60 %s -C %s %s"):format(
        self.env,
        quote(self.binary or binary),
        quote(self.dir),
        self.verbs .. verb
    )
end

--- Run a verb to its end. Returns what it wrote and its exit status.
---@param verb string
---@return string output, integer status
function server:run(verb)
    return self:inside(shell, self:command(verb))
end

--- Start in the foreground, without waiting. Output goes to the file "out.N"
--- of the N-th launch, the exit status, in the end, to "exit.N": the shell of
--- an earlier launch cannot mix its words into this one's.
function server:launch()
    self.pid = nil
    self.launches = (self.launches or 0) + 1
    local tool = valgrind and valgrind:format(self.dir) or ""
    local run = ("env -u LD_PRELOAD %s %s %s -C %s %sstart %s"):format(
        self.env,
        tool,
        quote(self.binary or binary),
        self.dir,
        self.verbs,
        self.options or ""
    )
    self:inside(
        shell,
        ("{ %s > %s/out.%d 2>&1; echo $? > %s/exit.%d; } "):format(
            run,
            self.dir,
            self.launches,
            self.dir,
            self.launches
        ) .. "> /dev/null 2>&1 &"
    )
end

--- What valgrind said about the node's processes; "" is good.
---@return string
function server:complaints()
    return (shell("cat " .. self.dir .. "/valgrind.* 2> /dev/null"))
end

--- The exit status of the launched node, once it has ended.
---@return integer|nil
function server:exit_status()
    return tonumber(self:read("exit." .. (self.launches or 0)) or "")
end

--- Wait until the launched node serves; fails with its output when it ends.
---@return spec.server self
function server:wait_ready()
    server.until_(function()
        if self:exit_status() then
            error("the node ended: " .. self:output(), 0)
        end
        return self:status()
    end, "the node serves")
    self.pid = self:status().pid
    return self
end

--- Make a folder, start a node in it and wait until it serves.
---@param files table<string, string|false>|nil
---@param host spec.host|nil
---@return spec.server
function server.start(files, host)
    local self = server.new(files, host)
    self:launch()
    return self:wait_ready()
end

--- What the node wrote: its table and its log.
---@return string
function server:output()
    return self:read("out." .. (self.launches or 0)) or ""
end

--- `status --json`, decoded; nil when nothing runs.
---@return table|nil
function server:status()
    local text, code = self:run("status --json")
    return code == 0 and cjson.decode(text) or nil
end

--- Conns of all processes of the node.
---@return integer
function server:conns()
    local n = 0
    for _, p in ipairs(self:status().processes) do
        n = n + p.conns
    end
    return n
end

--- One line of status by role and index.
---@param role string
---@param index integer|nil
---@return table
function server:process(role, index)
    for _, p in ipairs((self:status() or { processes = {} }).processes) do
        if p.role == role and p.index == (index or 0) then
            return p
        end
    end
    error("no " .. role .. " " .. (index or 0), 2)
end

--- Is the process one of the node's, not a verb that speaks to it? Those of
--- the node have a title in place of their arguments; who has no words at all
--- has given back its memory, and ends.
local function is_of_node(pid)
    local words = read_file("/proc/" .. pid .. "/cmdline") or ""
    return words ~= "" and (not words:find("%z%-C%z") or words:find("%zstart%z") ~= nil)
end

--- The pids of the node: of what lives in its folder and is no other verb.
---@return integer[]
function server:pids()
    local list = {}
    local out = shell("ls -l /proc/[0-9]*/cwd 2> /dev/null")
    for pid, cwd_of in out:gmatch("/proc/(%d+)/cwd %-> ([^\n]+)") do
        if (cwd_of .. "/"):find(self.dir .. "/", 1, true) == 1
            and server.is_alive(pid)
            and is_of_node(pid)
        then
            list[#list + 1] = tonumber(pid)
        end
    end
    return list
end

--- Send a signal ("KILL") to the master, or to another process of the node.
---@param signal string
---@param pid integer|nil
function server:kill(signal, pid)
    shell("kill -" .. signal .. " " .. (pid or self.pid))
end

--- The number of a port.
---@param name string
---@return integer
function server:port(name)
    for _, p in ipairs(self:status().ports) do
        if p.name == name then
            return p.port
        end
    end
    error("no port " .. name, 2)
end

--- Where clients on other hosts find a port: "10.77.0.1:9091".
---@param name string
---@return string
function server:at(name)
    local address = self.host and self.host.address or "127.0.0.1"
    return address .. ":" .. self:port(name)
end

--- A luasocket TCP client of a port, with a timeout, on the node's own host.
---@param name string
---@return table
function server:connect(name)
    local port = self:port(name)
    return self:inside(function()
        local tcp = assert(socket.tcp())
        tcp:settimeout(DEADLINE)
        assert(tcp:connect("127.0.0.1", port))
        return tcp
    end)
end

--- One HTTP request on a connection of its own. Returns body, status, headers;
--- or nil and why.
---@param path string
---@param port integer|nil default: the port "web"
---@return string|nil, integer|string, table|nil
function server:get(path, port)
    local body = {}
    local ok, code, headers = self:inside(http.request, {
        url = ("http://127.0.0.1:%d%s"):format(port or self:port("web"), path),
        sink = ltn12.sink.table(body),
        create = function()
            local tcp = socket.tcp()
            tcp:settimeout(DEADLINE)
            return tcp
        end,
    })
    if not ok then
        return nil, code
    end
    return table.concat(body), code, headers
end

--- Stop in order, wait for the end, remove the folder. Also after a failure,
--- and harmless when nothing runs. Returns the verb's exit status.
---@return integer
function server:stop()
    local _, status = self:run("stop")
    for _, pid in ipairs(self:pids()) do
        if status ~= 0 then
            self:kill("KILL", pid)
        end
        server.until_(function()
            return not server.is_alive(pid)
        end, "process " .. pid .. " ends")
    end
    local complaints = valgrind and self:complaints() or ""
    shell("rm -rf " .. quote(self.dir))
    if complaints ~= "" then
        error(complaints, 2)
    end
    return status
end

return server
