-- Arguments that make no sense raise at the line of the script that gave them,
-- and nothing was done.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 1, name = "n" }]],
    ["config/redis.lua"] = [[return { default = { url = "embedded" } }]],
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/tasks/t.lua"] = [[return { run = function() return 1 end }]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C = {}
function C:run(p)
    local run = assert(loadstring("local self, sd = ...; " .. p.code, "@snippet"))
    local ok, err = pcall(run, self, sd)
    return { ok = ok, err = err, uid = self.uid }
end
return C]],
    ["scripts/controllers/page.lua"] = [[
local Page = {}
function Page:run(p)
    local run = assert(loadstring("local response = ...; " .. p.code, "@snippet"))
    local ok, err = pcall(run, self.response)
    return { ok = ok, err = tostring(err) }
end
return Page]],
}

--- Code, and what it raises.
local cases = {
    { 'self:bind_uid("ann", "refuse")', "bad options" },
    { 'self:bind_uid("ann", { policy = "fight" })', "bad policy" },
    { 'self:bind_uid("ann", { policy = {} })', "bad policy" },
    { 'self:send({}, "volatile")', "bad options" },
    { "self:ask({}, 5)", "bad options" },
    { 'self:ask({}, { timeout = "soon" })', "bad argument 'timeout'" },
    { 'sd.send_to_uid("ann", {}, true)', "bad options" },
    { 'sd.send_to_all({}, "ann")', "bad options" },
    { 'sd.publish("t", {}, 1)', "bad options" },
    { 'sd.send_to_group("g", {}, 1)', "bad options" },
    { 'sd.group_uids("g", true)', "bad options" },
    { 'sd.group_count("g", "online")', "bad options" },
    { 'sd.task("t", 5)', "bad options" },
    { "sd.send_to_uids({ ann = 1 }, {})", "bad uids" },
    { 'sd.send_to_uids({ "ann", nil, "ben" }, {})', "bad uids" },
    { 'sd.send_to_uids({ "ann", n = 1 }, {})', "bad uids" },
    { 'sd.send_to_uids("ann", {})', "bad uids" },
    { 'sd.send_to_uids({ "ann", "" }, {})', "bad uid " },
    { "sd.send_to_all({}, { except = { ann = true } })", "bad uids" },
    { 'self:close("x", 999)', "bad argument #2 to 'close'" },
    { 'self:close("x", 1004)', "bad argument #2 to 'close'" },
    { 'self:close("x", 1005)', "bad argument #2 to 'close'" },
    { 'self:close("x", 1006)', "bad argument #2 to 'close'" },
    { 'self:close("x", 1015)', "bad argument #2 to 'close'" },
    { 'self:close("x", 5000)', "bad argument #2 to 'close'" },
    { 'self:close("x", 4000.5)', "bad argument #2 to 'close'" },
}

--- The same of HTTP.
local http_cases = {
    { 'response:cookie("a", "b", "lax")', "bad options" },
    { 'response:file("a", "b")', "bad options" },
}

describe("misuse raises where it is:", function()
    local s, c

    setup(function()
        s = server.start(files)
        c = client.open(s:port("game"))
    end)

    teardown(function()
        c:close()
        s:stop()
    end)

    for _, case in ipairs(cases) do
        it(case[1], function()
            local r = c:call("c/run", { code = case[1] }).result
            assert.is_false(r.ok)
            assert.matches("^snippet:1: " .. case[2], r.err)
            assert.is_nil(r.uid)
        end)
    end

    for _, case in ipairs(http_cases) do
        it(case[1], function()
            local body = s:get("/page/run?code=" .. case[1]:gsub("[^%w]", function(ch)
                return ("%%%02x"):format(ch:byte())
            end))
            assert.matches('"snippet:1: ' .. case[2], body)
        end)
    end
end)
