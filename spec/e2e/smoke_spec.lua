-- One node, one of everything: also run under valgrind by spec/valgrind.sh,
-- where no process may leak or touch what it should not.
local cjson = require("cjson")
local server = require("spec.support.server")

local files = {
    ["config/timers.lua"] = [[
return { { name = "beat", model = "beat", method = "run", every = "50ms" } }]],
    ["scripts/app.lua"] = [[
local sd = require("sd")
local App = {}
function App.on_start()
    sd.every(0.05, function() end)
end
function App.on_connect(self)
    self.session.hello = true
end
function App.on_close(self, reason)
    sd.log.info("closed " .. reason)
end
return App]],
    ["scripts/models/beat.lua"] = [[
local Beat = {}
function Beat:run()
end
return Beat]],
    ["scripts/tasks/add.lua"] = [[
local Add = {}
function Add:two(a, b)
    return a + b
end
function Add:bad()
    error("on purpose")
end
return Add]],
    ["scripts/controllers/smoke.lua"] = [[
local sd = require("sd")
local Smoke = {}
function Smoke:add(p)
    return sd.task("add"):two(p.a, p.b)
end
function Smoke:bad()
    return sd.task("add"):bad()
end
function Smoke:raise()
    error("on purpose")
end
function Smoke:wait()
    return sd.all({
        function() sd.sleep(0.01) return 1 end,
        function() return 2 end,
    })
end
function Smoke:count()
    self.session.n = (self.session.n or 0) + 1
    return self.session
end
function Smoke:question()
    return self:ask({ question = 1 })
end
return Smoke]],
}

local websocket = [[
import asyncio, json, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as ws:
        for i in range(3):
            await ws.send(json.dumps({"controller_name": "smoke",
                "method_name": "count", "id": i}))
            print(await ws.recv())
asyncio.run(main())
]]

describe("a node with one of everything", function()
    local s

    setup(function()
        s = server.start(files)
    end)

    local function line(tcp, packet)
        tcp:send(cjson.encode(packet) .. "\r\n")
        local text = tcp:receive("*l")
        return cjson.decode("[" .. text .. "]")[1]
    end

    it("answers HTTP, its errors too", function()
        assert.same({ 1, 2 }, cjson.decode((s:get("/smoke/wait"))))
        assert.equal(404, select(2, s:get("/smoke/nothing")))
        assert.equal(500, select(2, s:get("/smoke/raise")))
        assert.equal(500, select(2, s:get("/smoke/bad")))
    end)

    it("answers TCP through a task, and asks back", function()
        local tcp = s:connect("game")
        local sum = line(tcp, {
            controller_name = "smoke",
            method_name = "add",
            params = { a = 1, b = 2 },
        })
        assert.equal(3, sum)
        local question =
            line(tcp, { controller_name = "smoke", method_name = "question" })
        assert.equal(1, question.question)
        assert.equal(7, line(tcp, { id = question.id, result = 7 }))
        tcp:close()
    end)

    it("answers WebSocket and keeps the session", function()
        local url = "ws://127.0.0.1:" .. s:port("web") .. "/ws"
        s:write("ws.py", websocket)
        local out = server.shell(
            "env -u LD_PRELOAD /usr/bin/python3 " .. s.dir .. "/ws.py " .. url
        )
        local n = 0
        for text in out:gmatch("[^\n]+") do
            n = n + 1
            assert.equal(n, cjson.decode(text).result.n)
        end
        assert.equal(3, n, out)
    end)

    it("stops, and nobody has found a fault in it", function()
        assert.equal(0, (select(2, s:run("stop"))))
        server.until_(function()
            return #s:pids() == 0
        end, "all processes end")
        local found = server.shell("cat " .. s.dir .. "/valgrind.* 2>/dev/null")
        assert.equal("", found)
        assert.is_nil(s:output():match("panic"))
        s:stop()
    end)
end)
