-- check, config and routes on application folders made for each test.
local json = require("cjson")

local SDLUA = (os.getenv("SD_BUILD") or "build/dev") .. "/sdlua"
local CLEAN = "env -i PATH=/usr/bin:/bin "

local function run(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read("*a")
    pipe:close()
    return text
end

local ROOT = run("pwd"):gsub("\n", "")

--- An application folder of these files; `app:sdlua()` runs a verb in it and
--- gives stdout, stderr and the exit status.
local function new_app(files)
    local app = { dir = run("mktemp -d"):gsub("\n", "") }
    function app.write(path, text)
        os.execute(("mkdir -p '%s/%s'"):format(app.dir, path:match("^(.*/)") or ""))
        local f = assert(io.open(app.dir .. "/" .. path, "w"))
        f:write(text)
        f:close()
    end
    function app.sdlua(args, env)
        local line = ("cd '%s'; %s %s '%s/%s' %s >out 2>err; echo $?"):format(
            app.dir, CLEAN, env or "", ROOT, SDLUA, args)
        local status = tonumber(run(line))
        local function read(name)
            local f = assert(io.open(app.dir .. "/" .. name))
            local text = f:read("*a")
            f:close()
            return text
        end
        return read("out"), read("err"), status
    end
    for path, text in pairs(files) do
        app.write(path, text)
    end
    return app
end

local CHAT = [[
local Chat = {}
function Chat:join() end
Chat.say = function() end
function Chat:_hidden() end
return Chat
]]

local PORTS = [[
return {
    game = { listen = "127.0.0.1:9091" },
}
]]

describe("sdlua check", function()
    local app

    local function make(files)
        files["config/ports.lua"] = files["config/ports.lua"] or PORTS
        app = new_app(files)
    end

    --- `check` fails and says each of these lines.
    local function fails(lines, env)
        local _, err, status = app.sdlua("check", env)
        for _, line in ipairs(lines) do
            assert.is_truthy(("\n" .. err):find("\n" .. line .. "\n", 1, true),
                "no line: " .. line .. "\nin:\n" .. err)
        end
        assert.equal(1, status)
        return err
    end

    after_each(function()
        os.execute("rm -rf '" .. app.dir .. "'")
    end)

    it("is content with a good application", function()
        make({
            ["config/shop.lua"] = "return { price = 3 }",
            ["config/server.lua"] = "return { workers = 1, max_conns = 100 }",
            ["scripts/controllers/chat.lua"] = CHAT,
        })
        local out, err, status = app.sdlua("check")
        assert.equal("", err)
        assert.equal("ok\n", out)
        assert.equal(0, status)
    end)

    it("lists every error at once, with file and line", function()
        make({
            ["config/ports.lua"] = [[
return {
    game = {
        listen = "127.0.0.1:9091",
        -- a comment
        idle_timout = "2m",
        backlog = "many",
    },
    web = { listen = "nowhere", protocol = "htp" },
}
]],
            ["config/server.lua"] = "return {\n tasks = 500,\n dev = 1 }",
            ["scripts/controllers/bad.lua"] = "local x = \n",
            ["scripts/controllers/hide.lua"] =
                "local H = {}\nfunction H:send() end\nreturn H",
        })
        fails({
            'config/ports.lua:5: unknown key "idle_timout" in ports.game; '
                .. 'did you mean "idle_timeout"?',
            "config/ports.lua:6: ports.game.backlog: expected a whole number, "
                .. 'got "many"',
            "config/ports.lua:8: ports.web.protocol: expected one of "
                .. 'tcp|udp|http, got "htp"',
            "config/server.lua:2: server.tasks: 500 is not in 0 .. 126",
            "config/server.lua:3: server.dev: expected true or false, got 1",
            "scripts/controllers/bad.lua:2: unexpected symbol near '<eof>'",
            'scripts/controllers/hide.lua:2: method "send" would hide '
                .. "self.send: choose another name",
        })
    end)

    it("refuses what is not served yet instead of going without", function()
        make({
            ["config/ports.lua"] = [[
return {
    a = { listen = "unix:run/a.sock" },
    b = { listen = "127.0.0.1:0", protocol = "udp" },
    c = { listen = "127.0.0.1:0",
        tls = { cert = "c.pem", key = "c.key" } },
}
]],
        })
        fails({
            "config/ports.lua:2: ports.a.listen: Unix sockets are not served "
                .. "yet",
            "config/ports.lua:3: ports.b.protocol: udp is not served yet",
            "config/ports.lua:5: ports.c.tls: TLS is not served yet",
        })
    end)

    it("names the file alone where a key is computed", function()
        make({ ["config/server.lua"] =
            'local t = {} t["work" .. "rs"] = 1 return t' })
        fails({ 'config/server.lua: unknown key "workrs" in server; '
            .. 'did you mean "workers"?' })
    end)

    it("reports what a file does wrong", function()
        make({
            ["config/server.lua"] = "return {\n\n workers = nope.x }",
            ["config/log.lua"] = "return {\n",
            ["config/admin.lua"] = "return 5",
            ["config/cluster.lua"] = "return { name = print }",
            ["config/shop.lua"] = "return { f = function() end }",
            ["config/redis.lua"] = "local t = {} t.default = t return t",
            ["config/mysql.lua"] = "error({})",
            ["config/dispatch.lua"] = "\27LJ",
        })
        fails({
            "config/server.lua:3: attempt to index global 'nope' (a nil value)",
            "config/log.lua:2: unexpected symbol near '<eof>'",
            "config/admin.lua: returns a number, not a table",
            "config/shop.lua:1: f is a function, not plain data",
            "config/redis.lua: default contains itself",
            "config/mysql.lua: raised a table value",
            "config/dispatch.lua: is compiled Lua, not text",
        })
    end)

    it("gives configuration files no I/O but os.getenv", function()
        make({ ["config/server.lua"] = [[
assert(io == nil and require == nil and os.execute == nil and load == nil)
assert(getmetatable == nil and debug == nil and package == nil)
return { name = os.getenv("NODE"), max_conns = 100 }]] })
        local out, err = app.sdlua("config server.name", "NODE=here")
        assert.equal("", err)
        assert.matches('"here"', out)
    end)

    it("ends a file that runs for ever, by name", function()
        make({ ["config/server.lua"] = "while true do end" })
        fails({ "config/server.lua: still running after 2 s" },
            "SD_CONFIG_SECONDS=2")
    end)

    it("ends a file that eats all memory", function()
        make({ ["config/server.lua"] =
            'local t = {} while true do t[#t + 1] = ("x"):rep(2 ^ 24 + #t) end' })
        local _, err, status = app.sdlua("check", "SD_CONFIG_SECONDS=50")
        assert.matches("not enough memory", err)
        assert.equal(1, status)
    end)

    local cross = {
        { "two ports with one address", 'return { a = { listen = "1.2.3.4:5" },\n'
            .. ' b = { listen = "1.2.3.4:5" } }', "address of ports.%w too" },
        { "a codec without a file", 'return { a = { listen = "[::]:1",\n'
            .. ' codec = "x" } }', ":2: ports.a.codec: there is no scripts/packs/x.lua" },
        { "a middleware without a file", 'return { a = { listen = "[::]:1",\n'
            .. ' middlewares = { "m" } } }', ":2: ports.a.middlewares: there is no" },
        { "a route without a file", 'return { a = { listen = "[::]:1",\n'
            .. ' route = "r" } }', ":2: ports.a.route: there is no" },
        { "a controller that is not there", 'return { a = { listen = "[::]:1",\n'
            .. ' controllers = { "admin/*" } } }', ':2: .*no controller is named "admin/' },
        { "json behind an offset", 'return { a = { listen = "[::]:1",\n'
            .. ' frame = { type = "length", offset = 2 } } }',
            ":2: ports.a.frame.offset: codec json needs 0" },
        { "varint with its header", 'return { a = { listen = "[::]:1",\n'
            .. ' frame = { bytes = "varint" } } }', ":2: .*includes_header = false" },
        { "fixed without a size", 'return { a = { listen = "[::]:1",\n'
            .. ' frame = "fixed" } }', ":2: ports.a.frame.size: missing" },
        { "a pack frame without a pack", 'return { a = { listen = "[::]:1",\n'
            .. ' frame = "pack" } }', "needs a codec with a" },
        { "no address", "return {\n a = {} }", ":2: ports.a.listen: missing" },
        { "a bad address", "return {\n a = { listen = 'x:99999' } }",
            ":2: ports.a.listen: \"x:99999\" is no address" },
        { "a bad name", 'return {\n ["a b"] = { listen = "[::]:1" } }',
            ':2: "a b" is no name' },
        { "a port that is no table", "return {\n a = 5 }",
            ":2: ports.a: expected a table, got 5" },
    }
    for _, case in ipairs(cross) do
        it("refuses " .. case[1], function()
            make({ ["config/ports.lua"] = case[2] })
            local _, err, status = app.sdlua("check")
            assert.matches("config/ports.lua" .. (case[3]:match("^:")
                and case[3] or ".*" .. case[3]), err)
            assert.equal(1, status)
        end)
    end

    it("refuses what does not fit together", function()
        make({
            ["config/server.lua"] = "return { workers = 200,\n tasks = 100,\n"
                .. " max_conns = 1000000 }",
            ["config/admin.lua"] = 'return { listen = "0.0.0.0:9180" }',
            ["config/timers.lua"] = [[
return {
    { name = "a", model = "m", task = "t", method = "x", every = "1s" },
    { name = "a", model = "gone", every = "1s" },
}]],
        })
        local err = fails({
            "config/admin.lua:1: admin.listen: 0.0.0.0:9180 is open to others "
                .. "and needs admin.token",
            "config/server.lua:1: server: workers + 2 x tasks + 2 is 402, "
                .. "more than 256",
            "config/timers.lua:2: timers.1: needs exactly one of model and task",
            "config/timers.lua:3: timers.2.method: missing",
            "config/timers.lua:3: timers.2.model: there is no "
                .. "scripts/models/gone.lua",
        })
        assert.matches("config/server.lua:3: server.max_conns: 1000000 does "
            .. "not fit the limit of %d+ open files", err)
    end)

    it("refuses a list with a hole, and what is no regular file", function()
        make({ ["scripts/models/w.lua"] = "return {}",
            ["config/timers.lua"] = [[
local every = { model = "w", method = "x", every = 1 }
return { [1] = every, [3] = every }]] })
        fails({ "config/timers.lua: timers: expected a list without holes" })
        os.execute(("mkfifo '%s/config/log.lua'"):format(app.dir))
        fails({ "config/log.lua: is no file" })
    end)

    it("takes short forms, any delimiter and a byte order mark", function()
        make({
            ["config/ports.lua"] = [[
return {
    a = { listen = "127.0.0.1:0",
        frame = { type = "line", delimiter = "\0\\" } },
    b = { listen = "127.0.0.1:0", frame = "raw", codec = "raw" },
    c = { listen = "127.0.0.1:0", codec = "meter", frame = "pack" },
    d = { listen = "[::]:0", protocol = "http", public = false },
}]],
            ["config/server.lua"] =
                "\239\187\191return { workers = 'auto', max_conns = 10 }",
            ["scripts/packs/meter.lua"] = "return {}",
        })
        local out, err = app.sdlua("check")
        assert.equal("", err)
        assert.equal("ok\n", out)
    end)

    it("refuses links out of the folder, bytecode and giants", function()
        make({
            ["scripts/controllers/byte.lua"] = "\27LJ\2",
            ["lib/big.lua"] = "--" .. ("x"):rep(17 * 1024 * 1024),
        })
        os.execute(("ln -s /etc/passwd '%s/scripts/out.lua'"):format(app.dir))
        os.execute(("ln -s /etc '%s/scripts/etc'"):format(app.dir))
        os.execute(("ln -s . '%s/scripts/loop'"):format(app.dir))
        local err = fails({
            "scripts/controllers/byte.lua: is compiled Lua, not text",
            "lib/big.lua: is larger than 16 MB",
            "scripts/out.lua: is a link out of the application folder",
        })
        assert.matches("nested too deep", err)
    end)

    it("prints JSON", function()
        make({ ["config/server.lua"] = "return {\n wrkers = 1 }" })
        local out, _, status = app.sdlua("check --json")
        local report = json.decode(out)
        assert.is_false(report.ok)
        assert.equal("error", report.notes[1].severity)
        assert.equal("config/server.lua", report.notes[1].file)
        assert.equal(2, report.notes[1].line)
        assert.equal(1, status)
    end)

    it("refuses a folder that is no application", function()
        app = new_app({})
        local _, err, status = app.sdlua("check")
        assert.matches("config: no such folder", err)
        assert.equal(1, status)
    end)

    it("answers misuse with status 2", function()
        make({})
        local _, _, status = app.sdlua("check now")
        assert.equal(2, status)
    end)
end)

describe("sdlua config", function()
    local app

    local function config(args, env)
        local out, err, status = app.sdlua("config --json " .. args, env)
        assert.equal(0, status, err)
        return json.decode(out), err
    end

    before_each(function()
        app = new_app({
            ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:9091", frame = "line" },
    web = { listen = "127.0.0.1:8081", protocol = "http",
        http_methods = { "GET" }, websocket = false },
}
]],
            ["config/server.lua"] =
                "return { workers = 2,\n max_conns = 100, name = 'one' }",
            ["config/docker/server.lua"] = "return { workers = 3 }",
            ["config/docker/ports.lua"] =
                'return { web = { http_methods = { "PUT" } } }',
            ["config/redis.lua"] =
                'return { default = { url = "redis://:pw@h:1/0" } }',
        })
    end)

    after_each(function()
        os.execute("rm -rf '" .. app.dir .. "'")
    end)

    it("says where each value came from and what a reload does", function()
        local c = config("")
        assert.same({ value = 2, source = "config/server.lua:1", reload = false },
            c["server.workers"])
        assert.same({ value = 5, source = "default", reload = true },
            c["server.call_timeout"])
        assert.same({ value = "line", source = "config/ports.lua:2", reload = true },
            c["ports.game.frame.type"])
        assert.is_false(c["ports.web.websocket.enabled"].value)
        assert.is_nil(c["ports.game.max_body"])
    end)

    it("lays SD_CONFIG_DIR over: maps merge, lists replace", function()
        local c = config("", "SD_CONFIG_DIR=docker")
        assert.same({ value = 3, source = "config/docker/server.lua:1",
            reload = false }, c["server.workers"])
        assert.equal("one", c["server.name"].value)
        assert.same({ "PUT" }, c["ports.web.http_methods"].value)
        assert.equal("http", c["ports.web.protocol"].value)
    end)

    it("lets the environment win, by known names", function()
        app.write("secret", "unix:///tmp/x\n")
        local c, err = config("", "SD_SERVER_WORKERS=4 SD_NODE_NAME=two "
            .. "SD_PORTS_WEB_LISTEN=127.0.0.1:0 SD_SERVER_DEV=true "
            .. "SD_PORTS_WEB_HTTP_METHODS=GET,PUT SD_SERVER_CALL_TIMEOUT=250ms "
            .. "SD_REDIS_DEFAULT_URL_FILE=secret SD_SERVER_WORKRS=1 SD_JIT=off")
        assert.same({ value = 4, source = "environment SD_SERVER_WORKERS",
            reload = false }, c["server.workers"])
        assert.equal("two", c["server.name"].value)
        assert.equal("127.0.0.1:0", c["ports.web.listen"].value)
        assert.is_true(c["server.dev"].value)
        assert.same({ "GET", "PUT" }, c["ports.web.http_methods"].value)
        assert.equal(0.25, c["server.call_timeout"].value)
        assert.equal("unix:///tmp/x", c["redis.default.url"].value)
        local _, warned = app.sdlua("check", "SD_SERVER_WORKRS=1 SD_JIT=off")
        assert.equal("warning: SD_SERVER_WORKRS: names no known key; "
            .. "did you mean SD_SERVER_WORKERS?\n", warned)
        assert.equal("", err)
    end)

    it("refuses bad values of the environment by name", function()
        local _, err, status = app.sdlua("config", "SD_SERVER_WORKERS=x "
            .. "SD_REDIS_DEFAULT_URL_FILE=/nowhere SD_CONFIG_DIR=../etc")
        assert.matches('SD_SERVER_WORKERS: expected a whole number or auto, '
            .. 'got "x"', err)
        assert.matches("SD_REDIS_DEFAULT_URL_FILE: /nowhere: No such file", err)
        assert.matches("SD_CONFIG_DIR: is not the name of a folder", err)
        assert.equal(1, status)
    end)

    it("keeps secrets to itself", function()
        assert.equal("redis://:***@h:1/0", config("redis")["redis.default.url"].value)
        local c = config("admin", "SD_ADMIN_TOKEN=hush")
        assert.equal("***", c["admin.token"].value)
    end)

    it("takes a key or the front of some", function()
        local out, _, status = app.sdlua("config server.workers")
        assert.matches("^server.workers +2 +config/server.lua:1, needs a restart\n$", out)
        assert.equal(0, status)
        local _, err, failed = app.sdlua("config server.wrkers")
        assert.matches("no such key", err)
        assert.equal(1, failed)
    end)
end)

describe("sdlua routes", function()
    it("lists what can be called, and warns of open doors", function()
        local app = new_app({
            ["config/server.lua"] = "return { max_conns = 100 }",
            ["config/ports.lua"] = [[
return {
    a = { listen = "127.0.0.1:1", controllers = { "chat", "shop/*" } },
    b = { listen = "127.0.0.1:2", controllers = { "chat" },
        method_prefix = "sa" },
}
]],
            ["scripts/controllers/chat.lua"] = CHAT,
            ["scripts/controllers/shop/cart.lua"] =
                "return {\n add = function() end, x = 5 }",
            ["scripts/controllers/idle.lua"] = CHAT,
        })
        local out, err, status = app.sdlua("routes --json")
        local function route(port, controller, method, line)
            return { port = port, controller = controller, method = method,
                place = ("scripts/controllers/%s.lua:%d"):format(controller, line) }
        end
        assert.same({
            route("a", "chat", "join", 2),
            route("a", "chat", "say", 3),
            route("a", "shop/cart", "add", 2),
            route("b", "chat", "y", 3),
        }, json.decode(out))
        assert.equal("warning: controller chat is open on ports a and b\n", err)
        assert.equal(0, status)
        os.execute("rm -rf '" .. app.dir .. "'")
    end)
end)
