-- sdlua key: a key for config/cluster.lua.
local server = require("spec.support.server")

describe("sdlua key", function()
    local s

    before_each(function()
        s = server.new({ ["config/server.lua"] = "return { max_conns = 100 }" })
    end)

    after_each(function()
        server.shell("rm -rf " .. s.dir)
    end)

    it("prints a new key, which a cluster takes", function()
        local seen = {}
        for _ = 1, 5 do
            local out, status = s:run("key")
            assert.equal(0, status)
            local key = out:match("^([%w+/]+=)\n$")
            assert.equal(44, #key)
            assert.is_nil(seen[key])
            seen[key] = true
            s:write("config/cluster.lua", ("return { key = %q }"):format(key))
            assert.equal("ok\n", s:run("check"))
        end
    end)

    it("says when it could not be printed, and is in the help", function()
        local out, status = s:run("key > /dev/full")
        assert.equal(1, status)
        assert.matches("^sdlua: no key", out)
        assert.equal(2, select(2, s:run("key more")))
        assert.matches("\n  key +a new random key", (s:run("--help")))
    end)
end)
