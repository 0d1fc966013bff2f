-- A vm that fills with what scripts keep is replaced by a fresh one, and nobody
-- who is connected notices.
local client = require("spec.support.client")
local server = require("spec.support.server")

local until_ = server.until_

describe("a vm nearly full of what lives", function()
    local s

    before_each(function()
        s = server.start({
            ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", vm_memory = "64m" }]],
            ["config/ports.lua"] = [[
return { game = { listen = "127.0.0.1:0", protocol = "tcp" } }]],
            ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C, kept = {}, {}
function C:leak(p)
    for _ = 1, p.mb do
        kept[#kept + 1] = ("x"):rep(2 ^ 20) .. #kept .. math.random()
    end
    return { n = #kept, gen = sd.generation }
end
function C:count() return { n = #kept, x = self.session.x } end
function C:keep(p) self.session.x = p.x return true end
function C:slow(p) -- until the file is there
    repeat sd.sleep(0.02) until io.open(p.file)
    return { n = #kept }
end
return C]],
            ["scripts/app.lua"] = [[
local sd = require("sd")
return {
    save = function() return { word = "handed over" } end,
    restore = function(data) sd.log.info("restore " .. data.word) end,
}]],
        })
    end)

    after_each(function()
        s:stop()
    end)

    it("is replaced, and only its garbage is collected before", function()
        local c = client.open(client.ports(s).game)
        c:call("c/keep", { x = 7 })
        for _ = 1, 30 do -- 120 MB of garbage, of which 4 live
            c:send(client.packet("c/leak", { mb = 0 }, 1))
            c:receive()
        end
        assert.equal(20, c:call("c/leak", { mb = 20 }).result.n)
        assert.not_matches("a fresh vm", s:output())
        local d = client.open(client.ports(s).game)
        d:send(client.packet("c/slow", { file = "run/go" }, 1))
        c:send(client.packet("c/leak", { mb = 32 }, 100))
        assert.equal(52, c:receive().result.n)
        until_(function()
            return s:output():find("restore handed over", 1, true)
        end, "a fresh vm takes over")
        s:write("run/go", "")
        assert.equal(52, d:receive().result.n) -- it was called in the full one
        assert.same({ n = 0, x = 7 }, c:call("c/count", {}).result)
        assert.equal(1, c:call("c/leak", { mb = 1 }).result.gen)
        until_(function()
            return s:process("worker").vm_memory < 8e6
        end, "the full one has gone")
        assert.equal(1, s:status().generation)
        assert.equal(0, s:process("worker").restarts)
        assert.is_true(s:process("worker").memory < 2 * 64e6 + 32e6)
    end)

    it("is not replaced again and again", function()
        local c = client.open(client.ports(s).game)
        for _ = 1, 2 do
            c:call("c/leak", { mb = 56 })
            until_(function()
                return select(2, s:output():gsub("a fresh vm", "")) == 1
            end)
        end
        until_(function() -- full, the call that asks fails alone
            local reply = c:call("c/leak", { mb = 20 })
            return reply.error and reply.error.code == 500
        end, "it is full")
        assert.is_number(c:call("c/count", {}).result.n)
        assert.equal(1, (select(2, s:output():gsub("a fresh vm", ""))))
    end)

    it("gives way to a reload", function()
        local c = client.open(client.ports(s).game)
        c:call("c/leak", { mb = 56 })
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        assert.equal(0, c:call("c/count", {}).result.n)
        assert.equal(2, s:status().generation)
    end)
end)
