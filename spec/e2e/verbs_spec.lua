-- What people type first.
local server = require("spec.support.server")
local socket = require("socket")

describe("the command line", function()
    local s, own

    setup(function()
        s = server.new()
        own = s.dir:match("%w+$") -- name of a cluster, which is at no port of its own
    end)

    teardown(function()
        server.shell("rm -rf " .. s.dir)
    end)

    it("says its version, asked either way", function()
        local out, status = s:run("version")
        assert.equal(0, status)
        assert.matches("^sdlua %d+%.%d+%.%d+\nLuaJIT ", out)
        assert.same({ out, 0 }, { s:run("--version") })
        assert.same({ s:run("version --json") }, { s:run("--version --json") })
    end)

    it("has help, asked either way", function()
        local out, status = s:run("--help")
        assert.equal(0, status)
        assert.matches("^usage: sdlua", out)
        for _, words in ipairs({ "help", "help dispatch", "dispatch --help" }) do
            assert.same({ out, 0 }, { s:run(words) })
        end
        assert.matches("^usage: sdlua %[%-C DIR%] stop ", (s:run("stop --help")))
        assert.same({ s:run("stop --help") }, { s:run("help stop") })
    end)

    it("complains of what it does not know", function()
        for _, words in ipairs({ "nonsense", "help nonsense" }) do
            local out, status = s:run(words)
            assert.equal(2, status)
            assert.matches("no such verb: nonsense", out, 1, true)
        end
        assert.equal(2, select(2, s:run("")))
        assert.equal(2, select(2, s:run("--version start")))
    end)

    it("starts a dispatch out of the environment alone", function()
        server.shell("rm -r " .. s.dir .. "/config")
        s.env = "SD_ADMIN_LISTEN=off SD_DISPATCH_RELAYS=1 SD_CLUSTER_NAME=" .. own
        finally(function()
            s:run("dispatch stop")
        end)
        local out, status = s:run("dispatch start -d")
        assert.equal(0, status, out)
        assert.matches(": dispatch %S+, pid %d+, generation 1\n.*\nrelay 0", out)
        assert.matches(": dispatch ", (s:run("dispatch status")))
        assert.equal("generation 2\n", (s:run("dispatch reload")))
        assert.matches("\nnone: no node is known\n", (s:run("dispatch status --cluster")))
        assert.matches("^sdlua: not running; a dispatch is: sdlua dispatch status\n",
            (s:run("status")))
        -- A node is not what it asks for.
        out, status = s:run("start")
        assert.equal(1, status)
        assert.matches("config: no such folder: this is no application", out, 1, true)
    end)

    it("says what is wrong with a cluster of one", function()
        local n = server.start({
            ["config/cluster.lua"] = ("return { enable = true, name = 'alone %s' }"):format(own),
            ["config/redis.lua"] = 'return { default = { url = "redis://127.0.0.1:1" } }',
        })
        finally(function()
            n:stop()
        end)
        assert.matches("\nnone: no dispatch is known.*dispatch start", (n:run("status --cluster")))
        assert.matches("^sdlua: no dispatch is running; a node is: sdlua status\n",
            (n:run("dispatch status")))

        -- Its key is another one.
        local port = n:run("status --cluster"):match("127.0.0.1:(%d+)")
        local udp = socket.udp()
        udp:sendto("\213\1" .. ("x"):rep(100), "127.0.0.1", tonumber(port))
        udp:close()
        server.until_(function()
            return n:output():find(
                "was dropped: unknown_key (its sender has another cluster.key)", 1, true)
        end, "it says why it does not listen")
    end)
end)
