-- Uids that are looked for everywhere while Redis is away: how often, and how
-- many of them.
describe("sd.floods", function()
    local floods, now, nodes

    before_each(function()
        now, nodes = 1000, 1
        package.loaded["sd.core"] = {
            now = function()
                return now
            end,
            other_nodes = function()
                local list = {}
                for i = 1, 2 * (nodes - 1) do
                    list[i] = "x"
                end
                return list
            end,
            worker_slots = function()
                return { 0, 1 }
            end,
        }
        package.loaded["sd.floods"] = nil
        floods = require("sd.floods")
        package.loaded["sd.core"], package.loaded["sd.floods"] = nil, nil
    end)

    --- How many of n new uids go out now.
    local function flood(n)
        local sent = 0
        for i = 1, n do
            local found = floods.found(("u%d.%f"):format(i, now))
            sent = sent + (found == "flood" and 1 or 0)
            if found ~= "flood" and found ~= "unavailable" then
                error(found)
            end
        end
        return sent
    end

    it("look for a uid twice, and not again for some seconds", function()
        assert.equal("flood", (floods.found("ann")))
        assert.equal("flood", (floods.found("ann")))
        for _ = 1, 5 do
            local found, places = floods.found("ann")
            assert.equal("at", found)
            assert.same({}, places)
            now = now + 1
        end
        assert.equal("flood", (floods.found("ben")))
        now = now + 6
        floods.found("ben")
        now = now + 6
        assert.equal("flood", (floods.found("ann")))
    end)

    it("leave each process the same to bear, however many there are", function()
        assert.equal(1000, flood(5000))
        now = now + 1
        nodes = 10
        assert.equal(100, flood(5000))
        now = now + 1
        nodes = 5000
        assert.equal(1, flood(5000))
    end)

    it("remember no more uids than are worth it", function()
        for _ = 1, 20 do
            flood(1000)
            now = now + 1
        end
        collectgarbage()
        collectgarbage()
        local before = collectgarbage("count")
        for _ = 1, 100 do
            flood(1000)
            now = now + 1
        end
        collectgarbage()
        collectgarbage()
        assert.is_true(collectgarbage("count") < before + 4096)
    end)
end)
