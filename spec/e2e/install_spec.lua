-- What `make install` puts into a prefix runs by itself, wherever it lies.
local server = require("spec.support.server")

local shell = server.shell

describe("an installed sdlua", function()
    local prefix, app

    setup(function()
        prefix = server.install()
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
        local exe = shell("readlink /proc/" .. app.pid .. "/exe")
        assert.equal(prefix .. "/bin/sdlua", (exe:gsub("%s", "")))
    end)
end)
