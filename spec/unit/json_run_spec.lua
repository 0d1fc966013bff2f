local ffi = require("ffi")
local c = require("spec.support.c")
local bytes = require("spec.support.bytes")

local lib = c.use("codec/json_run.h")

--- Length of the run, and whether it or something behind it is high.
local function run(s)
    local high = ffi.new("bool[1]")
    local p = bytes.exact(s)
    return tonumber(lib.json_run(p, p + #s, high) - p), high[0]
end

describe("json_run", function()
    it("ends at each byte that is not plain, wherever it is", function()
        for _, stop in ipairs({ '"', "\\", "\0", "\n", "\31" }) do
            for len = 1, 50 do
                for at = 0, len - 1 do
                    local s = ("a"):rep(at) .. stop .. ("b"):rep(len - at - 1)
                    local n, high = run(s)
                    assert.equal(at, n)
                    assert.is_false(high)
                end
            end
        end
    end)

    it("goes on to the end over all other bytes", function()
        for byte = 0x20, 0xff do
            local char = string.char(byte)
            if char ~= '"' and char ~= "\\" then
                for len = 0, 40 do
                    local n, high = run(char:rep(len))
                    assert.equal(len, n)
                    assert.equal(byte > 127 and len > 0, high)
                end
            end
        end
    end)

    it("notices each byte above 127 in the run", function()
        for len = 1, 50 do
            for at = 0, len - 1 do
                local s = ("a"):rep(at) .. "\200" .. ("b"):rep(len - at - 1)
                local n, high = run(s .. '"')
                assert.equal(len, n)
                assert.is_true(high)
            end
        end
    end)

    it("ends at the first of several", function()
        for at = 0, 40 do
            local n = run(("a"):rep(at) .. '\1"\\\127\128"' .. ("b"):rep(20))
            assert.equal(at, n)
        end
    end)
end)
