-- What people type first.
local server = require("spec.support.server")

describe("the command line", function()
    local s

    setup(function()
        s = server.new()
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
        s.env = "SD_ADMIN_LISTEN=off SD_CLUSTER_NAME=verbs SD_DISPATCH_RELAYS=1"
        finally(function()
            s:run("dispatch stop")
        end)
        local out, status = s:run("dispatch start -d")
        assert.equal(0, status, out)
        assert.matches("relay 0", out)
        -- A node is not what it asks for.
        out, status = s:run("start")
        assert.equal(1, status)
        assert.matches("config: no such folder: this is no application", out, 1, true)
    end)
end)
