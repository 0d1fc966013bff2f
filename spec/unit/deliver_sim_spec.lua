-- Short runs of the simulation; by hand and in spec/soak.sh it runs for long.
local build = os.getenv("SD_BUILD") or "build/dev"

local function run(seeds, first, mutation)
    local pipe = io.popen(("timeout 600 %s/spec/stress/deliver_sim %d %d %s 2>&1; echo rc $?")
        :format(build, seeds, first, mutation or "none"))
    local out = pipe:read("*a")
    pipe:close()
    return out
end

describe("delivery between nodes, with faults in virtual time,", function()
    it("loses, doubles and reorders nothing", function()
        local out = run(200, os.time() % 1000000 * 200)
        print("\n" .. out)
        assert.is_truthy(out:find("wrong 0 hash %x+\nrc 0\n$"), out)
        -- it was no idle run
        for _, what in ipairs({ "delivered", "refused", "unknown%-delivered", "sender%-died",
            "again", "doubles", "gaps", "stale", "lost", "forgotten", "missed" }) do
            local n = out:match(what .. " (%d+)")
            assert.is_true(tonumber(n) > 0, what)
        end
    end)

    it("goes the same way for the same seed", function()
        assert.equal(run(20, 7), run(20, 7))
        assert.not_equal(run(20, 7), run(20, 8))
    end)

    local mutations = { "chain", "again", "perhaps", "acked" }
    if not build:find("dev") then -- these are found late
        mutations = { "chain", "again", "perhaps", "acked", "term", "base", "covered", "life" }
    end
    for _, mutation in ipairs(mutations) do
        it("needs the rule that is taken away as '" .. mutation .. "'", function()
            local out = run(4000, 1, mutation)
            assert.is_truthy(out:find("bad 1 .*\nrc 0\n$"), out)
        end)
    end
end)
