-- `make demo-cluster`: people talk across nodes, something dies, they talk on,
-- and nothing is left when it ends, however it ends. It is run on a host of its
-- own, so that other runs may have a demo, too.
local chat = require("spec.support.chat")
local hosts = require("spec.support.hosts")
local server = require("spec.support.server")

local BUILD = os.getenv("SD_BUILD") or "build/dev"

--- As server.until_, for what six servers do after each other.
local function until_(fn, what)
    for _ = 1, 5 do
        local ok, result = pcall(server.until_, fn, what)
        if ok then
            return result
        end
    end
    return server.until_(fn, what)
end

describe("the demo of a cluster", function()
    local bed, here, dir, input, pid

    --- Start it, with `env` besides. What is written to `input` is typed.
    local function launch(env)
        dir = bed.dir .. "/demo." .. tostring(os.time()) .. math.random(1e6)
        server.shell("mkdir " .. dir)
        input = here:inside(
            io.popen,
            ("echo $$ > %s/pid; exec env -u LD_PRELOAD %s deploy/demo-cluster %s/sdlua %s/files "
                .. "> %s/out 2>&1"):format(dir, env or "", BUILD, dir, dir),
            "w"
        )
        pid = until_(function()
            return tonumber((server.shell("cat " .. dir .. "/pid")))
        end)
    end

    local function output()
        return (server.shell("cat " .. dir .. "/out"))
    end

    local function wait_ready()
        until_(function()
            return output():find("Ctrl-C", 1, true) or not server.is_alive(pid)
        end, "the demo stands")
        assert(server.is_alive(pid), output())
    end

    local function type_in(line)
        input:write(line, "\n")
        input:flush()
    end

    --- A node, as far as clients of the chat are concerned.
    local function node(i)
        local s = { dir = dir .. "/node" .. i, ports = { chat = 9091, web = 8081 } }
        s.address = output():match("node" .. i .. " +http://([%d.]+)")
        server.shell("mkdir " .. s.dir)
        return s
    end

    local function come_in(s, name)
        return here:inside(function()
            local ws, first = chat.ws(s, chat.enter(s, name))
            assert.equal("open", first)
            return ws
        end)
    end

    --- That somebody is in the room is on its way to the relays when the answer
    --- comes; what is said in that instant may overtake it.
    local function hears(whom, who)
        until_(function()
            whom:call("chat/say", { text = "hello" })
            return pcall(who.expect, who, { event = "line", line = { text = "hello" } })
        end, "one hears the other")
    end

    local function pid_of(name, file)
        return tonumber((server.shell(("cat %s/files/%s/run/%s"):format(dir, name, file))))
    end

    --- Nothing of it runs, and the cable is gone.
    local function wait_gone()
        until_(function()
            return not server.is_alive(pid)
        end, "the demo ends: " .. output())
        until_(function()
            local all = server.shell("ls -l /proc/[0-9]*/cwd 2> /dev/null")
            return not all:find(dir .. "/files", 1, true)
        end, "its processes end")
        until_(function()
            return not here:run("ls /sys/class/net"):find("sdlua-demo", 1, true)
        end, "its network goes")
        input:close()
    end

    setup(function()
        bed = hosts.start(1)
        here = bed[1]
    end)

    teardown(function()
        bed:stop()
    end)

    it("lets people talk across nodes, whatever dies", function()
        launch("SD_CLUSTER_PROFILE=fast")
        finally(function()
            server.shell("kill -TERM " .. pid .. " 2> /dev/null")
            wait_gone()
        end)
        wait_ready()
        local ann = come_in(node(1), "ann")
        local bob = come_in(node(2), "bob")
        assert.same({ "ann" }, ann:call("chat/join", { room = "lobby" }).people)
        assert.same({ "ann", "bob" }, bob:call("chat/join", { room = "lobby" }).people)
        hears(ann, bob)
        hears(bob, ann)

        -- By hand, and by what is typed.
        server.shell("kill -KILL " .. pid_of("dispatch1", "dispatch.pid"))
        for i = 1, 20 do
            local from, to = unpack(i % 2 == 0 and { ann, bob } or { bob, ann })
            assert.truthy(from:call("chat/say", { text = "line " .. i }).id)
            to:expect({ event = "line", line = { text = "line " .. i } })
        end
        until_(function()
            return output():find("dispatch1 has ended", 1, true)
        end)
        type_in("start dispatch1")
        until_(function()
            return output():find("dispatch1: done", 1, true)
        end, "dispatch1 is back")
        type_in("kill dispatch2")
        until_(function()
            return output():find("dispatch2: done", 1, true)
        end, "dispatch2 is dead")
        bob:call("chat/say", { text = "still here" })
        ann:expect({ event = "line", line = { text = "still here" } })

        until_(function()
            type_in("status node3")
            return output():find("dispatch2 +dispatch +dead")
        end, "node3 knows that dispatch2 is dead: " .. output())
        assert.truthy(output():find("node1 +node +alive"))

        -- A node that dies takes its people along, and the others are told.
        type_in("kill node1")
        until_(function()
            return pcall(bob.expect, bob, { event = "left", name = "ann" })
        end, "ann is missed")
    end)

    it("touches no folder that is not its own", function()
        launch()
        type_in("quit")
        wait_gone()
        server.shell("rm " .. dir .. "/files/key")
        local out, status = here:run(("deploy/demo-cluster %s/sdlua %s/files"):format(BUILD, dir))
        assert.equal(1, status)
        assert.matches("has files that are not of a demo", out)
        assert.equal(0, select(2, server.shell("test -d " .. dir .. "/files/node1")))
    end)

    it("touches no folder in which another one runs", function()
        launch()
        wait_ready()
        local out, status = here:run(("deploy/demo-cluster %s/sdlua %s/files"):format(BUILD, dir))
        assert.equal(1, status)
        assert.matches("a demo runs in", out)
        assert.equal(0, select(2, server.shell("test -d " .. dir .. "/files/node1")))
        type_in("quit")
        wait_gone()
    end)

    it("leaves nothing when it cannot start", function()
        launch("SD_CLUSTER_PROFILE=nonsense")
        wait_gone()
        assert.truthy(output():find("does not start", 1, true), output())
        assert.truthy(output():find("SD_CLUSTER_PROFILE", 1, true), output())
    end)

    it("leaves nothing when it is killed", function()
        launch()
        wait_ready()
        server.shell("kill -KILL " .. pid)
        wait_gone()
    end)

    it("leaves nothing when it is stopped while it starts", function()
        launch()
        until_(function()
            return server.shell("ls " .. dir .. "/files"):find("redis", 1, true)
        end, "it begins")
        server.shell("kill -INT " .. pid)
        wait_gone()
    end)
end)
