-- What a start refuses: one clear line, status 1, nothing left behind.
local socket = require("socket")
local server = require("spec.support.server")

local is_root = server.shell("id -u"):match("^0") ~= nil

local ON_START = [[return { on_start = function() %s end }]]
local EMBEDDED = [[return { default = { url = "embedded" } }]]

--- The command line as somebody without rights.
local function as_nobody(command)
    return "setpriv --reuid 65534 --regid 65534 --clear-groups " .. command
end

describe("sdlua start", function()
    local s

    after_each(function()
        if s then
            s:stop()
        end
        s = nil
    end)

    --- What it said beside its log.
    local function said(out)
        return (out:gsub("%d+%-%d+%-%d+T%S+ %l+ [^\n]*\n", ""))
    end

    --- It fails with exactly this one line, in front and as a daemon.
    local function refuses(pattern, wrap)
        for _, verb in ipairs({ "start", "start -d" }) do
            local command = s:command(verb)
            local out, code = server.shell(wrap and wrap(command) or command)
            assert.equal(1, code, out)
            assert.matches("^sdlua: [^\n]*" .. pattern .. "[^\n]*\n$",
                said(out))
            assert.same({}, s:pids())
            assert.is_false(s:has("run"), "run/ is left")
        end
    end

    local function with(path, text)
        s = server.new({ [path] = text })
    end

    it("refuses a port that another program has", function()
        local other = assert(socket.bind("127.0.0.1", 0))
        local _, port = other:getsockname()
        with("config/ports.lua", ([[
return { web = { listen = "127.0.0.1:%d", protocol = "http" } }]]):format(
            port))
        refuses('port "web": 127%.0%.0%.1:' .. port .. " is taken")
        other:close()
    end)

    it("refuses an address that is not of this machine", function()
        with("config/ports.lua",
            [[return { web = { listen = "192.0.2.1:1", protocol = "http" } }]])
        refuses('port "web": cannot listen on 192%.0%.2%.1:1')
    end)

    it("refuses a script that does not compile", function()
        with("scripts/models/a.lua", "return {\n}}")
        refuses("scripts/models/a%.lua:2: ")
    end)

    it("refuses when on_start raises", function()
        with("scripts/app.lua", ON_START:format('error("no licence")'))
        refuses("%l+ %d: .*scripts/app%.lua:1: no licence")
    end)

    it("refuses when a process dies in on_start", function()
        with("scripts/app.lua", ON_START:format(
            'local ffi = require("ffi") ffi.cdef("void abort(void);") '
                .. "ffi.C.abort()"))
        refuses("%l+ %d: signal 6")
    end)

    it("refuses more workers than there can be", function()
        with("config/server.lua", "return { workers = 300 }")
        refuses("config/server%.lua:1: server%.workers: ")
    end)

    it("refuses more conns than the limit of open files", function()
        with("config/server.lua", "return {\n max_conns = 1000000 }")
        refuses("config/server%.lua:2: server%.max_conns: 1000000 does not fit",
            function(command)
                return "ulimit -n 2000; " .. command
            end)
    end)

    it("refuses more ports than it can have", function()
        local list = {}
        for i = 1, 65 do
            list[i] = ('p%d = { listen = "127.0.0.1:0" },'):format(i)
        end
        with("config/ports.lua", "return { " .. table.concat(list) .. "}")
        refuses("config/ports%.lua: ports: more than 64")
    end)

    it("refuses a name of a log file that is too long", function()
        with("config/log.lua", 'return { file = ("x"):rep(300) }')
        refuses("log%.file: longer than 255 bytes")
    end)

    it("refuses to be without the redis-server it needs", function()
        with("config/redis.lua", EMBEDDED)
        s.env = "PATH=/nowhere"
        refuses("redis%-server, which is not installed", function(command)
            return (command:gsub("timeout", "$(command -v timeout)", 1))
        end)
    end)

    it("tells all errors of a configuration at once", function()
        with("config/server.lua", "return {\n workers = -1,\n taskss = 2,\n}")
        for _, verb in ipairs({ "start", "start -d" }) do
            local out, code = s:run(verb)
            assert.equal(1, code)
            assert.matches("^sdlua: config/server%.lua:2: [^\n]*\n"
                .. "sdlua: config/server%.lua:3: [^\n]*tasks[^\n]*\n$", out)
            assert.is_false(s:has("run"))
        end
    end)

    it("names the file that never ends", function()
        with("config/server.lua", "while true do end")
        s.env = "SD_CONFIG_SECONDS=2"
        local out, code = s:run("start")
        assert.equal(1, code)
        assert.equal("sdlua: config/server.lua: not done within 2 seconds\n",
            out)
        assert.is_false(s:has("run"))
    end)

    it("needs a folder run/, not a file", function()
        with("run", "mine")
        local out, code = s:run("start")
        assert.equal(1, code)
        assert.matches("^sdlua: run/sdlua%.pid: [^\n]*\n$", said(out))
        assert.equal("mine", s:read("run"))
    end)

    it("works in a folder with a very long path", function()
        s = server.new({ ["config/redis.lua"] = EMBEDDED })
        local deep = s.dir .. ("/" .. ("d"):rep(100)):rep(3)
        server.shell(("mkdir -p %s && mv %s/config %s/scripts %s"):format(
            deep, s.dir, s.dir, deep))
        local top = s.dir
        s.dir = deep
        s:launch()
        s:wait_ready()
        assert.equal(200, select(2, s:get("/probe/who")))
        assert.equal(0, s:stop())
        server.shell("rm -rf " .. top)
        s = nil
    end)

    if is_root then
        local prefix

        setup(function()
            prefix = server.install()
        end)

        teardown(function()
            server.shell("rm -rf " .. prefix)
        end)

        it("refuses a port that it may not bind", function()
            with("config/ports.lua",
                [[return { web = { listen = "127.0.0.1:80", protocol = "http" } }]])
            s.binary = prefix .. "/bin/sdlua"
            server.shell("chown -R nobody " .. s.dir)
            if server.shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
                    :match("^0") then
                return
            end
            refuses('port "web": cannot listen on 127%.0%.0%.1:80: Permission',
                as_nobody)
        end)

        it("refuses a folder that it may not write", function()
            s = server.new()
            s.binary = prefix .. "/bin/sdlua"
            server.shell("chmod 755 " .. s.dir)
            refuses("run: Permission denied", as_nobody)
        end)
    end
end)
