-- Routes and middlewares around HTTP calls: REST paths by a route file, what
-- it says of failures, what a middleware may do.
local server = require("spec.support.server")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["config/ports.lua"] = [[
return { web = { listen = "127.0.0.1:0", protocol = "http", route = "rest",
    middlewares = { "outer", "inner" }, http_methods = { "GET", "PUT" } },
    plain = { listen = "127.0.0.1:0", protocol = "http",
        middlewares = { "inner" } } }]],
    ["scripts/routes/rest.lua"] = [[
local Rest = {}
function Rest.request(self, r)
    local id = r.path:match("^/things/(%d+)$")
    if id then
        return { controller = "things", method = r.method:lower(),
            params = { id = tonumber(id), q = r.query.q, body = r.body } }
    end
    local what = r.path:match("^/(%a+)$")
    if what == "bad" then return nil, "no sense" end
    if what == "raise" then error("in the route") end
    if what == "none" then return { controller = "none", method = "x" } end
    if what == "private" then return { controller = "things", method = "_p" } end
    if what == "number" then return 7 end
end
function Rest.reply(call, result) return { data = result } end
function Rest.fail(call, code, message)
    return { problem = message, code = code, known = call ~= nil }
end
return Rest]],
    ["scripts/middlewares/outer.lua"] = [[
return function(self, call, next)
    self.context.trace = "outer"
    local result, err = next()
    if type(result) == "table" then result.outer = true end
    return result, err
end]],
    ["scripts/middlewares/inner.lua"] = [[
local sd = require("sd")
return function(self, call, next)
    local id = call.params and tonumber(call.params.id)
    if id == 1 then sd.fail(403, "not you") end
    if id == 2 then return { short = true } end
    if id == 3 then return nil, "busy" end
    if id == 4 then call.params.id = 44 end
    if id == 5 then call.method = "other" end
    if id == 6 then sd.sleep(0.01) end
    if id == 7 then error("in the middleware") end
    self.context.trace = (self.context.trace or "") .. " inner"
    self.response:header("X-Trace", self.context.trace)
    return next()
end]],
    ["scripts/controllers/things.lua"] = [[
local Things = {}
function Things:get(p) return { id = p.id, q = p.q } end
function Things:put(p) return { put = p.body } end
function Things:other() return { other = true } end
function Things:_p() return 1 end
return Things]],
    ["scripts/public/file.txt"] = "file",
}

describe("an HTTP route", function()
    local s, port

    setup(function()
        s = server.start(files)
        port = {}
        for _, p in ipairs(s:status().ports) do
            port[p.name] = p.port
        end
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    for _, case in ipairs({
        { "/things/9?q=a", 200, { data = { id = 9, q = "a", outer = true } } },
        { "/things/1", 403, { problem = "not you", code = 403, known = true } },
        { "/things/2", 200, { data = { short = true, outer = true } } },
        { "/things/3", 503, { problem = "busy", code = 503, known = true } },
        { "/things/4", 200, { data = { id = 44, outer = true } } },
        { "/things/5", 200, { data = { other = true, outer = true } } },
        { "/things/6", 200, { data = { id = 6, outer = true } } },
        { "/things/7", 500,
            { problem = "internal error", code = 500, known = true } },
        { "/bad", 400,
            { problem = "invalid: no sense", code = 400, known = false } },
        { "/raise", 500,
            { problem = "internal error", code = 500, known = false } },
        { "/none", 404,
            { problem = "no such method", code = 404, known = true } },
        { "/private", 404,
            { problem = "no such method", code = 404, known = true } },
        { "/ignored", 404, { error = { code = 404, message = "not found" } } },
    }) do
        it("answers " .. case[1], function()
            local status, value = web.call(port.web, case[1])
            assert.same(case[3], value)
            assert.equal(case[2], status)
        end)
    end

    it("takes verbs and bodies", function()
        local r = web.ask(port.web, "/things/9", { method = "PUT", body = "b" })
        assert.same({ data = { put = "b", outer = true } }, web.json(r))
        assert.equal("outer inner", r.headers["x-trace"])
        assert.equal(405, web.ask(port.web, "/things/9",
            { method = "POST", body = "b" }).status)
    end)

    it("leaves files to what it ignores", function()
        local r = web.ask(port.web, "/file.txt")
        assert.equal("file", r.body)
        assert.is_nil(r.headers["x-trace"])
    end)

    it("must give a table", function()
        assert.equal(500, (web.call(port.web, "/number")))
    end)

    it("is not needed for middlewares", function()
        local status, value = web.call(port.plain, "/things/get?id=9")
        assert.equal(200, status)
        assert.same({ id = "9" }, value)
        assert.equal(403, (web.call(port.plain, "/things/get?id=1")))
        assert.equal(404, (web.call(port.plain, "/things/9")))
    end)
end)
