-- A root master gives its children the rights of somebody else: what belongs
-- to whom then, and what a user who owns the folder cannot make root do.
local server = require("spec.support.server")

if not server.shell("id -u"):match("^0") then
    return
end

local NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups "

local function owner(path)
    return (server.shell("stat -c '%U %a' " .. path):gsub("%s+$", ""))
end

describe("a root master with server.user", function()
    local s, prefix

    setup(function()
        prefix = server.install()
    end)

    teardown(function()
        server.shell("rm -rf " .. prefix)
    end)

    local function make(files)
        files["config/server.lua"] =
            [[return { workers = 1, tasks = 1, user = "nobody" }]]
        s = server.new(files)
        s.binary = prefix .. "/bin/sdlua"
        server.shell("chmod 755 " .. s.dir)
    end

    after_each(function()
        s:stop()
    end)

    it("gives the files of run/ to that user", function()
        make({
            ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
            ["config/log.lua"] = [[return { file = "run/log" }]],
        })
        s:launch()
        s:wait_ready()
        assert.equal("nobody 755", owner(s.dir .. "/run"))
        assert.equal("nobody 600", owner(s.dir .. "/run/control.sock"))
        assert.equal("nobody 600", owner(s.dir .. "/run/redis.sock"))
        assert.equal("nobody 700", owner(s.dir .. "/run/redis"))
        assert.equal("nobody 644", owner(s.dir .. "/run/sdlua.pid"))
        assert.equal("nobody 640", owner(s.dir .. "/run/log"))
        os.remove(s.dir .. "/run/log")
        s:kill("USR2")
        server.until_(function()
            return s:has("run/log")
        end, "the log is made anew")
        assert.equal("nobody 640", owner(s.dir .. "/run/log"))
    end)

    it("lets that user use the control socket", function()
        make({})
        s:launch()
        s:wait_ready()
        local out, code = server.shell(NOBODY .. s:command("status --json"))
        assert.equal(0, code, out)
        local other = NOBODY:gsub("65534", "65533")
        assert.equal(1, select(2, server.shell(other .. s:command("status"))))
        for _, verb in ipairs({ "attach", "top", "drain" }) do
            assert.equal(1, select(2, server.shell("echo 1 | " .. other .. s:command(verb))))
        end
        -- Nor one for whom the file's mode is no obstacle.
        server.shell("chmod 666 " .. s.dir .. "/run/control.sock")
        out, code = server.shell("echo 1 | " .. other .. s:command("attach"))
        assert.equal(1, code, out)
        out, code = server.shell("echo '= 1' | " .. NOBODY .. s:command("attach"))
        assert.equal(0, code, out)
        assert.equal("1\n", out)
        assert.equal(0, select(2, server.shell(NOBODY .. s:command("stop"))))
        assert.is_false(s:has("run/control.sock"))
        assert.is_false(s:has("run/sdlua.pid"))
    end)

    it("reads the files of SD_..._FILE that only root can", function()
        make({})
        s:write("secret", "unix:///nowhere\n")
        s:write("key", (s:run("key")))
        server.shell(("cd %s; chown -R nobody .; chown root secret key; "
            .. "chmod 600 secret key"):format(s.dir))
        s.env = ("SD_REDIS_DEFAULT_URL_FILE=%s/secret SD_CLUSTER_KEY_FILE=%s/key")
            :format(s.dir, s.dir)
        s:launch()
        s:wait_ready()
        s.env = ""
    end)

    it("makes no file of somebody else that user's", function()
        make({ ["config/log.lua"] = [[return { file = "other/log" }]] })
        server.shell(("cd %s; mkdir other; echo mine > other/log; "
            .. "chmod 700 other; chown -R nobody .; chown -R root other")
            :format(s.dir))
        local out, code = s:run("start")
        assert.equal(1, code)
        assert.matches("sdlua: other/log: permission denied", out:lower())
        assert.equal("mine\n", s:read("other/log"))
        assert.equal("root 644", owner(s.dir .. "/other/log"))
    end)

    it("does not follow a link run/ to places of root", function()
        make({})
        server.shell(("cd %s; mkdir -m 700 other; chown -h nobody .; "
            .. "ln -s other run"):format(s.dir))
        local out, code = s:run("start")
        assert.equal(1, code)
        assert.matches("sdlua: run/sdlua%.pid: permission denied", out:lower())
        assert.equal("root 700", owner(s.dir .. "/other"))
    end)
end)
