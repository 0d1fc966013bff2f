-- server.dev: what is saved is served, what is wrong is shown where somebody
-- looks.
local server = require("spec.support.server")

local until_ = server.until_

local PAGE = [[
local C = {}
function C:show()
    return { v = "one" }
end
function C:broken()
    local nothing = nil
    return nothing.field -- "<here>"
end
return C]]

describe("server.dev", function()
    local s

    before_each(function()
        s = server.start({
            ["config/server.lua"] =
                "return { workers = 1, tasks = 0, dev = true, name = 'n' }",
            ["scripts/controllers/c.lua"] = PAGE,
        })
    end)

    after_each(function()
        s:stop()
    end)

    local function show()
        return (s:get("/c/show"))
    end

    it("reloads what is saved", function()
        assert.equal('{"v":"one"}', show())
        s:write("scripts/controllers/c.lua", (PAGE:gsub('"one"', '"two"')))
        until_(function() return show() == '{"v":"two"}' end, "the new code")
        -- As editors do it: another file, renamed over the old one.
        s:write("scripts/controllers/.c.lua.tmp",
            (PAGE:gsub('"one"', '"three"')))
        server.shell(("mv %s/scripts/controllers/.c.lua.tmp "
            .. "%s/scripts/controllers/c.lua"):format(s.dir, s.dir))
        until_(function() return show() == '{"v":"three"}' end, "it again")
    end)

    it("sees new folders, files that go, and configuration", function()
        s:write("scripts/controllers/deep/er/d.lua",
            "return { hi = function() return { v = 1 } end }")
        until_(function()
            return s:get("/deep/er/d/hi") == '{"v":1}'
        end, "a file in a new folder")
        s:write("scripts/controllers/deep/er/d.lua",
            "return { hi = function() return { v = 2 } end }")
        until_(function()
            return s:get("/deep/er/d/hi") == '{"v":2}'
        end, "a change there")
        server.shell("rm " .. s.dir .. "/scripts/controllers/deep/er/d.lua")
        until_(function()
            return select(2, s:get("/deep/er/d/hi")) == 404
        end, "it is gone")
        s:write("config/shop.lua", "return { open = true }")
        s:write("scripts/controllers/c.lua", [[
local sd = require("sd")
return { show = function() return { open = sd.config.shop.open } end }]])
        until_(function() return show() == '{"open":true}' end, "the config")
    end)

    it("keeps the old code while the new one is broken", function()
        s:write("scripts/controllers/c.lua", "return {\n} nonsense")
        until_(function()
            return s:output():find("reload: scripts/controllers/c.lua:2: ", 1, true)
        end, "the error on the console")
        assert.equal('{"v":"one"}', show())
        s:write("scripts/controllers/c.lua", (PAGE:gsub('"one"', '"two"')))
        until_(function() return show() == '{"v":"two"}' end, "the new code")
    end)

    it("shows a browser the stack and the source", function()
        local function get(accept)
            return server.shell(("env -u LD_PRELOAD curl -s -i -H 'Accept: %s' "
                .. "http://127.0.0.1:%d/c/broken"):format(accept, s:port("web")))
        end
        local page = get("text/html,*/*")
        assert.matches("^HTTP/1.1 500", page)
        assert.matches("text/html", page)
        assert.matches("scripts/controllers/c.lua:7", page, 1, true)
        assert.matches('<b>   7      return nothing.field', page, 1, true)
        assert.matches('-- "&lt;here&gt;"', page, 1, true)
        assert.matches("stack traceback:", page, 1, true)
        assert.matches("generation 1 on n", page, 1, true)
        assert.matches('"message":"scripts/controllers/c.lua:7: ',
            get("application/json"), 1, true)
    end)

    it("ends when a reload switches it off", function()
        s:write("config/server.lua", "return { workers = 1, tasks = 0, name = 'n' }")
        until_(function() return s:status().generation == 2 end)
        s:write("scripts/controllers/c.lua", (PAGE:gsub('"one"', '"two"')))
        local page = server.shell(("env -u LD_PRELOAD curl -s -H 'Accept: "
            .. "text/html' http://127.0.0.1:%d/c/broken"):format(s:port("web")))
        assert.matches("internal error", page)
        assert.equal('{"v":"one"}', show())
        assert.equal(0, select(2, s:run("reload")))
        assert.equal('{"v":"two"}', show())
    end)
end)
