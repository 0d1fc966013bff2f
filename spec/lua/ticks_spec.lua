-- Which ticks of a timer of the cluster may be taken, by the clock of a Redis
-- of the spec's own.
local redis = require("spec.support.redis")

describe("sd.ticks", function()
    local r, ticks, said, slept, is_leaving, script

    --- The module, with a core of a node's own.
    local function load_ticks()
        local fakes = {
            ["sd.core"] = {
                node = "n",
                is_leaving = function() return is_leaving end,
            },
            ["sd.go"] = { sleep = function(s) slept = s end },
            ["sd.lock"] = { at = function(_, _, fn) return fn(1) end },
            ["sd.log"] = {
                warn = function(text) said[#said + 1] = text end,
                debug = function() end,
            },
            ["sd.redis"] = function()
                return { eval = function(_, text, n, ...)
                    local f = assert(io.open(script, "w"))
                    f:write(text)
                    f:close()
                    local words = { ... }
                    for i, word in ipairs(words) do
                        words[i] = "'" .. word .. "'"
                    end
                    table.insert(words, n + 1, ",")
                    local list = {}
                    for line in r:cli("--eval " .. script .. " " .. table.concat(words, " "))
                        :gmatch("[^\n]+") do
                        list[#list + 1] = assert(tonumber(line), line)
                    end
                    return list
                end }
            end,
        }
        for name, fake in pairs(fakes) do
            package.loaded[name] = fake
        end
        package.loaded["sd.ticks"] = nil
        ticks = require("sd.ticks")
        package.loaded["sd.ticks"] = nil
        for name in pairs(fakes) do
            package.loaded[name] = nil
        end
    end

    setup(function()
        r = redis.start()
        script = r.dir .. "/script.lua"
        load_ticks()
    end)

    teardown(function()
        r:stop()
    end)

    before_each(function()
        r:cli("flushall")
        said, slept, is_leaving = {}, nil, false
    end)

    --- Seconds of Redis's clock.
    local function now()
        return tonumber((r:cli("time"):match("%d+")))
    end

    --- How often the tick that is so late is run; every second one.
    local function run(late, at)
        local n, info = 0, nil
        ticks.run({ every = 1, overlap = "allow" }, "t", (at or now()) - late, function(i)
            n, info = n + 1, i
        end)
        return n, info
    end

    it("takes each tick once", function()
        local at = now()
        local n, first = run(0, at)
        assert.equal(1, n)
        assert.equal(at, first.scheduled)
        assert.equal(0, (run(0, at)))
        local _, second = run(-1, at)
        assert.same({ 1, 2 }, { first.run, second.run })
        assert.is_true(second.fence > first.fence)
        assert.same({}, said)
    end)

    it("takes none that was forgotten by now", function()
        -- A node that was frozen, and one whose clock is wrong.
        for _, late in ipairs({ 40, 3600, -40, -3600 }) do
            assert.equal(0, (run(late)))
        end
        assert.equal(1, #said)
        assert.matches("behind the clock of Redis", said[1])
        assert.equal(1, (run(20)))
        assert.equal(1, (run(-20)))
    end)

    it("remembers a tick for as long as anybody may take it", function()
        local at = now()
        run(-25, at) -- by a clock that is early
        local key = r:cli("keys 'sd:{t:t}:[0-9]*'"):match("%S+")
        local left = tonumber((r:cli("pttl '" .. key .. "'"):match("%d+")))
        -- From now to its time, and until it is too late for it; less what the
        -- spec took.
        assert.is_true(left > (25 + 31 - 10) * 1000, left)
    end)

    it("has fencing numbers that rise when Redis has lost its data", function()
        local last = 0
        for i = 1, 5 do
            local _, info = run(i)
            assert.is_true(info.fence > last)
            last = info.fence
            r:cli("flushall")
        end
    end)

    it("lets others go first while its node drains", function()
        run(0)
        assert.is_nil(slept)
        is_leaving = true
        assert.equal(1, (run(-1)))
        assert.equal(0.25, slept)
    end)
end)
