-- What relays are told of topics and groups, by spec/stress/teller_sim.c.
local build = os.getenv("SD_BUILD") or "build/dev"
local seeds = tonumber(os.getenv("SD_TELLER_SEEDS")) or 20

describe("cluster/teller", function()
    it("keeps relays right whatever happens to links and holders", function()
        local sums = { told = 0, resets = 0, overs = 0, looks = 0 }
        for _ = 1, seeds do
            local args = ("seed=%d steps=20000"):format(math.random(1, 2 ^ 30))
            local pipe = assert(io.popen(build .. "/spec/stress/teller_sim " .. args .. " 2>&1"))
            local line = pipe:read("*a")
            pipe:close()
            assert.truthy(line:find("^told="), args .. ": " .. line)
            for key, value in line:gmatch("(%w+)=(%d+)") do
                sums[key] = sums[key] + tonumber(value)
            end
        end
        -- All of it has happened, and often.
        for key, least in pairs({ told = 1000, resets = 10, overs = 1, looks = 100 }) do
            assert.is_true(sums[key] >= least * seeds / 20, key .. " " .. sums[key])
        end
    end)
end)
