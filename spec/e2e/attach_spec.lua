-- A console in a live worker: what can be evaluated and seen there, how it ends,
-- and who may.
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

local FILES = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n", call_timeout = "2s" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["config/timers.lua"] = [[
return { { name = "tick", model = "world", method = "step", every = "1h" } }]],
    ["scripts/models/world.lua"] = [[return { step = function() return true end }]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
return { on_start = function()
    sd.every(1000, function() end)
    sd.after(2000, function() end)
end }]],
    ["scripts/tasks/nap.lua"] = [[
local sd = require("sd")
return { run = function() sd.sleep(20) return true end }]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
return {
    login = function(self, p) return self:bind_uid(p.uid) end,
    sleep = function() sd.sleep(20) return true end,
    task = function() return sd.task("nap"):run() end,
    redis = function() return sd.redis():blpop("nothing", 20) end,
    question = function(self) return self:ask({ q = 1 }) end,
    channel = function() return sd.channel(1):receive(20) end,
}]],
}

local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

describe("a console in a worker", function()
    local s

    setup(function()
        s = server.start(FILES)
    end)

    teardown(function()
        s:stop()
    end)

    --- Type the text; what comes back, and the exit status.
    local function attach(text, worker)
        return server.shell(("printf '%%s\\n' %s | %s"):format(
            quote(text), s:command("attach " .. (worker or ""))))
    end

    local function says(expected, text)
        local out, code = attach(text)
        assert.equal(expected, out)
        assert.equal(0, code)
    end

    it("evaluates expressions and statements", function()
        says("2\n", "= 1 + 1")
        says("2\n", "1 + 1")
        says('"n"\n', "= sd.node")
        says("1  nil  false\n", "1, nil, false")
        says("", "return")
        says("3\n", "return 3 -- three")
        says("3\n", "3 -- three")
        says("", "-- nothing\n\n   ")
        says('1\t{}\n', 'print(1, "{}")')
    end)

    it("goes on until the input is whole", function()
        says("1\n2\n", "for i = 1, 2 do\n\nprint(i)\nend")
        says('{ "a", "b" }\n', '{ "a",\n"b" }')
        says('"a\\nb"\n', "[[a\nb]]")
        local out, code = attach("for i = 1, 2 do")
        assert.matches("its end is missing: for i", out)
        assert.equal(1, code)
    end)

    it("keeps what was made, for this console alone", function()
        says("7\n", "x = 3\nlocal y, z = 1, 3\nx + y + z")
        says("9\n", "local function square(n)\nreturn n * n\nend\nsquare(3)")
        says("nil\n", "x")
        says("true\n", "_G == getfenv(print) or true")
    end)

    it("shows values as Lua would write them, and no more than can be read",
        function()
            says('"a\\"\\\\\\n\\000\\255"\n', [["a\"\\\n\0\255"]])
            says("{ 1, 2, [5] = 5, a = {...}, [\"b c\"] = true, [\"end\"] = {} }\n",
                '{ 1, 2, a = { 1 }, ["b c"] = true, [5] = 5, ["end"] = {} }')
            says("{ me = {...} }\n", "t = {}\nt.me = t\nt")
            says("{}\n", "setmetatable({}, { __index = error, __pairs = error })")
            local out = attach("t = {} for i = 1, 1e4 do t[i] = i end\nt")
            assert.matches("100,\n    %.%.%. %(9900 more%),\n}", out)
            out = attach('("x"):rep(1e6)')
            assert.is_true(#out < 3000)
            assert.matches("%(1000000 bytes%)", out)
            out = attach('for i = 1, 1e5 do print("0123456789") end')
            assert.is_true(#out < 300000)
            assert.matches("%(cut%)", out)
        end)

    it("lets nothing through that would move a terminal", function()
        local out = attach('print("\\27[2Ja\\194\\155b\\127\\7")')
        assert.equal("\\x1b[2Ja\\xc2\155b\\x7f\\x07\n", (out:gsub("\\xc2\\x9b", "\\xc2\155")))
        assert.is_nil(out:find("\27", 1, true))
    end)

    it("tells errors with their place and stack", function()
        local out, code = attach("function f()\nerror('boo')\nend\nf()\n= 5")
        assert.equal(1, code)
        assert.matches("^console:2: boo\nstack traceback:\n.*in function 'f'.*\n5\n$", out)
        assert.is_nil(out:find("sd/console", 1, true))
        out, code = attach("x x")
        assert.equal(1, code)
        assert.matches("^console:1: '=' expected near 'x'\n$", out)
        out, code = attach("sd.fail(409, 'no')")
        assert.equal(1, code)
        assert.equal("no\n", out)
        out, code = attach("error({})")
        assert.equal(1, code)
        assert.matches("error object is a table", out)
    end)

    it("may wait, and holds up nobody meanwhile", function()
        says("true\n", 'sd.redis():set("k", 1)')
        says('"1"\n', 'sd.redis():get("k")')
        local c = client.lines(s:port("game"))
        server.shell(("{ echo 'sd.sleep(1.5)' | %s > %s/slow; } > /dev/null 2>&1 &")
            :format(s:command("attach"), s.dir))
        until_(function()
            return attach(".co"):find("for sleep 1.5", 1, true)
        end, "it waits")
        assert.is_true(c:call("probe/login", { uid = "ann" }).result)
        c:close()
        until_(function()
            return s:read("slow") == "true\n"
        end, "it has waited")
    end)

    it("has server.call_timeout for each", function()
        local out = attach('a, b = sd.task("nap"):run()\nb\n= 1')
        assert.equal('"timeout"\n1\n', out)
        local code
        out, code = attach("while true do sd.sleep(0.1) end\n= 2")
        assert.equal("cancelled\n2\n", out)
        assert.equal(1, code)
    end)

    it("cancels what runs when its client goes", function()
        server.shell(("printf 'while true do sd.sleep(0.01) end\\n' "
            .. "| timeout 0.5 %s > /dev/null 2>&1"):format(s:command("attach")))
        until_(function()
            return not attach(".co"):find("for sleep 0.01", 1, true)
        end, "nothing is left of it")
    end)

    it("lists conns", function()
        local list = {}
        for i = 1, 5 do
            list[i] = client.lines(s:port("game"))
            assert.is_true(list[i]:call("probe/login", { uid = "u" .. i }).result)
        end
        local web = assert(client.ws(s:port("web"), { path = "/ws" }))
        local out = attach(".conns")
        assert.matches("\n6 conns, 6 shown\n$", out)
        assert.matches("\n%x+ +web +ws ", out)
        assert.matches("\n%x+ +game +tcp +u3 +127%.0%.0%.1 %d+ +[%d.]+s +[%d.]+s +1 +1 ", out)
        assert.matches("\n5 conns, 2 shown\n$", (attach(".conns game 2")))
        out = attach(".conns u4")
        assert.matches(" u4 .*\n1 conns, 1 shown\n$", out)
        assert.matches("\n6 conns, 1 shown\n$", (attach(".conns 1")))
        local id = out:match("\n(%x+) ")
        says("true\n", ('sd.close_conn("%s", "out")'):format(id))
        assert.is_true(list[4]:is_closed())
        for _, c in ipairs(list) do
            c:close()
        end
        web:close()
    end)

    it("lists coroutines, what they wait for and where they stand", function()
        local expected = {
            sleep = "sleep 20",
            task = "task nap/run",
            redis = "redis BLPOP",
            question = "ask %x+",
            channel = "channel",
        }
        local list = {}
        for name in pairs(expected) do
            local c = client.lines(s:port("game"))
            c:cast("probe/" .. name)
            list[#list + 1] = c
        end
        local out
        until_(function()
            out = attach(".co")
            return select(2, out:gsub("call probe/", "")) == 5
        end, "all are called")
        for name, what in pairs(expected) do
            assert.matches("\n?%d+  call probe/" .. name .. "  waits [%d.]+s for "
                .. what .. "  age [%d.]+s  left [%d.]+s  conn %x+\n", out)
        end
        assert.matches("scripts/controllers/probe.lua:4: in function", out)
        assert.matches("work  waits [%d.]+s for every scripts/app.lua:3", out)
        assert.matches("\n%d+ coroutines, 2 shown\n$", (attach(".co 2")))
        for _, c in ipairs(list) do
            c:close()
        end
    end)

    it("lists timers", function()
        local out = attach(".timers")
        assert.matches("\ntick +1h 0m +59m %d+s +0 +model world.step\n", out)
        assert.matches("\nevery +16m 40s +16m %d+s +scripts/app.lua:3\n", out)
        assert.matches("\nafter +33m %d+s +scripts/app.lua:4\n", out)
    end)

    it("tells what the heap holds", function()
        local c = client.lines(s:port("game"))
        assert.is_true(c:call("probe/login", { uid = "ann" }).result)
        local out = attach("big = {} for i = 1, 5000 do big[i] = {} end\n.memory")
        assert.matches("Lua heap: [%d.]+[KM] of 256.0M\n", out)
        assert.matches("conns: %d+, their send queues: 0\n", out)
        assert.matches("%d+ objects\n", out)
        assert.is_true(tonumber(out:match("tables +(%d+)")) > 5000)
        assert.matches("%.big +5000\n", out)
        c:close()
    end)

    it("keeps its bounds when the heap is large", function()
        local out, code = attach([[
for i = 1, 4e5 do big = { big } end
.memory
big = nil]])
        assert.equal(0, code)
        assert.matches("200000 objects %(not all", out)
    end)

    it("knows what it cannot do", function()
        local out, code = attach(".nothing")
        assert.equal("no command .nothing (see .help)\n", out)
        assert.equal(1, code)
        assert.matches("%.conns %[part%]", (attach(".help")))
        out, code = attach("1", "7")
        assert.equal("sdlua: no worker 7\n", out)
        assert.equal(1, code)
        assert.equal(2, select(2, attach("1", "x")))
        assert.equal(2, select(2, attach("1", "0 1")))
        says("5\n", "= 5")
    end)

    it("serves several at once, and more than there are places one by one",
        function()
            local n = 12
            server.shell(("for i in $(seq %d); do (echo 'sd.sleep(0.2) = 1'; "
                .. "echo \"= $i\") | %s > %s/many.$i 2>&1 & done; wait"):format(
                n, s:command("attach"), s.dir))
            for i = 1, n do
                assert.matches("\n" .. i .. "\n$", s:read("many." .. i))
            end
        end)

    it("edits lines for a person", function()
        local out = server.terminal(24, 80, s:command("attach"), {
            "worker 0>", "= 6 * 7\\n",
            "worker 0>", "for i = 1, 2 do\\n",
            "worker 0>>", "end\\n",
            "worker 0>", ".nope\\n",
            "worker 0>", "\\x04",
        })
        assert.matches("worker 0 of node n, pid %d+, generation 1 %(.help%)", out)
        assert.matches("\n42%^M\n", out)
        assert.matches("worker 0>>", out)
        -- By the time of the prompt the terminal leaves echo to the editor.
        assert.no.matches("6 %* 7%^M\n= 6", out)
        assert.matches("^code 0\n", out)
    end)
end)

describe("the heap in a console", function()
    local s

    local function start(app)
        s = server.start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, call_timeout = "1m", max_run = "500ms" }]],
            ["scripts/app.lua"] = app,
        })
    end

    after_each(function()
        s:stop()
    end)

    local function memory()
        local out, code = server.shell("echo .memory | " .. s:command("attach"))
        assert.equal(0, code, out)
        return out
    end

    it("is told within bounds when a table is wide", function()
        start([[
local sd = require("sd")
return { on_start = function()
    local wide = {}
    rawset(_G, "wide", wide)
    for i = 1, 700000 do
        wide["w" .. i] = { "v" .. i }
        if i % 10000 == 0 then sd.sleep(0) end
    end
end }]])
        local out = memory()
        assert.matches("\n200000 objects %(not all", out)
        assert.matches("\nstrings +200000 ", out)
        assert.matches("\n_G%.wide +700000\n", out)
    end)

    it("is told when a table changes meanwhile", function()
        start([[
local sd = require("sd")
local names, round, n = {}, 0, 20000
rawset(_G, "names", names)
local function change()
    for i = 1, n do
        names[round .. ":" .. i] = nil
        names[round + 1 .. ":" .. i] = true
    end
    round = round + 1
end
return { on_start = function()
    change()
    sd.every(0.02, change)
end }]])
        for _ = 1, 5 do
            assert.matches("\n_G%.names +%d+\n", memory())
        end
    end)
end)

describe("the verb attach", function()
    it("says that nothing runs", function()
        local s = server.new()
        local out, code = s:run("attach < /dev/null")
        assert.equal("sdlua: not running\n", out)
        assert.equal(3, code)
        s:stop()
    end)

    it("says that its worker does not answer", function()
        local s = server.start()
        local pid = s:process("worker", 1).pid
        s:kill("STOP", pid)
        local out, code = s:run("attach 1 < /dev/null")
        s:kill("CONT", pid)
        assert.equal("sdlua: worker 1 does not answer (see sdlua status)\n", out)
        assert.equal(1, code)
        assert.equal(0, select(2, s:run("attach 1 < /dev/null")))
        s:stop()
    end)

    it("notices that its worker has gone", function()
        local s = server.start()
        s:write("attach.sh", ("(echo '= sd.slot'; echo 'sd.sleep(30)') | %s > %s/words "
            .. "2>&1\necho $? > %s/code\n"):format(s:command("attach"), s.dir, s.dir))
        server.shell("sh " .. s.dir .. "/attach.sh > /dev/null 2>&1 &")
        until_(function()
            return (s:read("words") or ""):find("0", 1, true)
        end, "it is attached")
        s:kill("KILL", s:process("worker", 0).pid)
        until_(function()
            return s:read("code") == "1\n"
        end, "the verb fails")
        assert.matches("the worker has gone", s:read("words"))
        s:stop()
    end)
end)
