-- encode() of a script's pack runs amid a send: it may neither send nor change
-- who is sent to.
local client = require("spec.support.client")
local server = require("spec.support.server")

local files = {
    ["config/server.lua"] = [[
return { workers = 1, tasks = 0, name = "n", stop_timeout = "1s" }]],
    ["config/ports.lua"] = [[
return {
    odd = { listen = "127.0.0.1:0", protocol = "tcp", codec = "odd" },
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
}]],
    ["scripts/packs/odd.lua"] = [[
local sd = require("sd")
local Odd = {}
local state = require("state")
function Odd.decode(bytes) return sd.json.decode(bytes) end
function Odd.encode(packet)
    local try = type(packet) == "table" and packet.try
    if try then
        local ok, err = pcall(state.tries[try])
        state.said[try] = { ok = ok, err = tostring(err) }
    end
    return sd.json.encode(packet)
end
return Odd]],
    ["scripts/state.lua"] = [[
local sd = require("sd")
local state = { said = {} }
state.tries = {
    send = function() sd.send_to_uid("ann", 1) end,
    publish = function() sd.publish("x", 1) end,
    kick = function() sd.kick_uid("ann") end,
    close = function() sd.close_conn(state.id) end,
    subscribe = function() sd.subscribe_uid("ann", "x") end,
    bind = function() state.conn:bind_uid("ben") end,
    unbind = function() state.conn:unbind_uid() end,
}
return state]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local state = require("state")
local C = {}
function C:hold(p)
    self:bind_uid("ann", { policy = "allow" })
    state.id, state.conn = self.conn_id, self
    if p.hold then sd.sleep(60) end
    return true
end
function C:try(p)
    sd.send_to_uid("ann", { try = p.what })
    return state.said[p.what]
end
return C]],
}

describe("encode() of a pack", function()
    it("may not change who is who, and the worker goes on", function()
        local s = server.start(files)
        local odd, second = client.open(s:port("odd")), client.open(s:port("odd"))
        second:call("c/hold", {})
        odd:send(client.packet("c/hold", { hold = true })) -- `self` lives on
        local game = client.open(s:port("game"))
        for _, what in ipairs({ "send", "publish", "kick", "close",
            "subscribe", "bind", "unbind" }) do
            server.until_(function()
                local said = game:call("c/try", { what = what }).result
                return said and not said.ok
                    and said.err:find("encode() of a pack", 1, true)
            end, what .. " is refused")
        end
        assert.equal("send", second:receive().try)
        assert.equal("send", odd:receive().try)
        for _, c in ipairs({ odd, second, game }) do
            c:close()
        end
        s:stop()
    end)
end)
