-- The packets of gossip, as bytes.
local gossip = require("spec.support.gossip")
local news = gossip.news
local SUSPECT, DEAD, LEFT = gossip.SUSPECT, gossip.DEAD, gossip.LEFT

jit.off(true, true) -- C calls back into Lua here

describe("cluster/gossip_msg", function()
    it("writes what docs/protocol.md says", function()
        local bytes = gossip.packet("ping", 0x0102, { nonce = 5, subject = 6, age_ms = 7 }, {
            { boot = 9, incarnation = 300, state = SUSPECT, accusers = { 1 } },
        })
        local hex = bytes:gsub(".", function(ch)
            return ("%02x"):format(ch:byte())
        end)
        assert.equal(table.concat({
            "0101", "0201000000000000", -- version, type, boot
            "00000000000000000000ffff0a000002", "0a1f", "07000000", -- address, age
            "0500000000000000", "0600000000000000", -- nonce, subject
            "11", "0900000000000000", "ac02", "01000000", -- suspect, by one
        }), hex)
    end)

    it("reads back what it wrote", function()
        local p = gossip.read(gossip.packet("state", 9, { wants = true }, {
            { boot = 10, name = "ten", meta = ("m"):rep(400), incarnation = 2 ^ 47 },
            { boot = 11, state = DEAD, incarnation = 127 },
            { boot = 12, state = LEFT, incarnation = 128 },
        }))
        assert.equal("state", p.type)
        assert.same(
            { state = "alive", boot = 10, incarnation = 2 ^ 47, is_full = true, name = "ten" },
            p[1]
        )
        assert.same({ state = "dead", boot = 11, incarnation = 127, is_full = false }, p[2])
        assert.same({ state = "left", boot = 12, incarnation = 128, is_full = false }, p[3])
    end)

    it("refuses every packet that is cut short", function()
        for _, type in ipairs({ "ping", "ack", "nack", "proxy", "ask", "hello", "state" }) do
            local bytes = gossip.packet(type, 9)
            assert.truthy(gossip.read(bytes), type)
            for len = 0, #bytes - 1 do
                assert.is_nil(gossip.read(bytes:sub(1, len)), type .. " " .. len)
            end
        end
        local head = #gossip.packet("news", 9)
        local bytes = news({ boot = 10, name = "ten", meta = "m" })
        for len = head + 1, #bytes - 1 do
            assert.is_nil(gossip.read(bytes:sub(1, len)), len)
        end
    end)

    it("refuses what is out of bounds", function()
        local bare = gossip.packet("news", 9)
        local full = news({ boot = 10, name = "ab", meta = "m" })
        local bad = {
            version = "\2" .. bare:sub(2),
            type = "\1\9" .. bare:sub(3),
            type0 = "\1\0" .. bare:sub(3),
            boot = bare:sub(1, 2) .. ("\0"):rep(8) .. bare:sub(11),
            port = bare:sub(1, 26) .. "\0\0" .. bare:sub(29),
            address = bare:sub(1, 22) .. ("\0"):rep(4) .. bare:sub(27),
            control = full:gsub("ab", "a\n"),
            kind = full:gsub("\1\10\0\0\10", "\16\10\0\0\10"),
            meta = full:gsub("ab\1\0m", "ab\x91\1" .. ("m"):rep(401)),
            long = bare .. ("\0"):rep(1354),
            nack = gossip.packet("nack", 9) .. "\0",
            -- an incarnation in more groups than it needs, and one too high
            groups = bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. "\x81\0",
            high = bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. ("\xff"):rep(6) .. "\x7f",
            flags = bare .. "\x42" .. "\9\0\0\0\0\0\0\0" .. "\1",
            accused = bare .. "\x12" .. "\9\0\0\0\0\0\0\0" .. "\1" .. "\1\0\0\0",
        }
        assert.truthy(gossip.read(bare) and gossip.read(full))
        assert.truthy(gossip.read(bare .. "\2" .. "\9\0\0\0\0\0\0\0" .. "\1"))
        for name, bytes in pairs(bad) do
            assert.is_nil(gossip.read(bytes), name)
        end
    end)
end)
