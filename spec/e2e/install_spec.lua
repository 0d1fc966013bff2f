-- What `make install` puts into a prefix runs by itself, wherever it lies.
local server = require("spec.support.server")

local shell = server.shell
local build = os.getenv("SD_BUILD") or "build/dev"

describe("an installed sdlua", function()
    local prefix, app

    setup(function()
        prefix = shell("mktemp -d /tmp/sdlua-install.XXXXXX"):gsub("%s", "")
        local out, status = shell(
            "cmake --install " .. build .. " --prefix " .. prefix
        )
        assert.equal(0, status, out)
        -- Moved, so that nothing can point back to where it was installed.
        shell("mv " .. prefix .. " " .. prefix .. ".moved")
        prefix = prefix .. ".moved"
        app = server.new()
    end)

    teardown(function()
        app:stop()
        shell("rm -rf " .. prefix)
    end)

    it("has the executable in bin and the framework in share", function()
        assert.equal(0, select(2, shell("test -x " .. prefix .. "/bin/sdlua")))
        local init = prefix .. "/share/sdlua/lua/sd/init.lua"
        assert.equal(0, select(2, shell("test -f " .. init)))
    end)

    it("serves an application", function()
        app.binary = prefix .. "/bin/sdlua"
        app:launch()
        app:wait_ready()
        local body, code = app:get("/probe/who")
        assert.equal(200, code, body)
    end)
end)
