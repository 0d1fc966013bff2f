local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/ranks.h")

local function seeded()
    local seed = os.time() % 100000
    math.randomseed(seed)
    return "seed " .. seed
end

describe("ranks", function()
    local r

    before_each(function()
        r = ffi.gc(ffi.new("struct ranks"), lib.ranks_fini)
    end)

    it("have no first while empty", function()
        assert.is_true(lib.ranks_first(r) == nil)
        assert.equal(0, lib.ranks_top(r, ffi.new("struct rank *[1]"), 1))
    end)

    it("take out what weighs nothing, twice as well", function()
        local one = ffi.new("struct rank")
        lib.ranks_set(r, one, 5)
        lib.ranks_set(r, one, 0)
        lib.ranks_set(r, one, 0)
        assert.is_true(lib.ranks_first(r) == nil)
        assert.equal(0, r.n)
    end)

    it("give the heaviest first, whatever changes", function()
        local seed = seeded()
        local nodes = ffi.new("struct rank[200]")
        local weights = {}
        local out = ffi.new("struct rank *[200]")
        for _ = 1, 5000 do
            local i = math.random(0, 199)
            weights[i] = math.random(0, 3) > 0 and math.random(1, 1000) or 0
            lib.ranks_set(r, nodes[i], weights[i])
            local sorted = {}
            for _, weight in pairs(weights) do
                if weight > 0 then
                    sorted[#sorted + 1] = weight
                end
            end
            table.sort(sorted, function(a, b) return a > b end)
            assert.equal(#sorted, r.n, seed)
            local max = math.random(0, 20)
            local n = lib.ranks_top(r, out, max)
            assert.equal(math.min(max, #sorted), n, seed)
            for k = 1, n do
                assert.equal(sorted[k], tonumber(out[k - 1].weight), seed)
            end
        end
    end)
end)
