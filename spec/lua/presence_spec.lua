-- Who is online, as a task asks a worker of its node.
describe("sd.presence", function()
    local NULL = {}
    local presence, reply

    --- The module, with a core of a task.
    local function load_presence()
        local uidcall = { here = {} }
        local fakes = {
            ["sd.abroad"] = {
                by_worker = function(_, name, args)
                    if reply then
                        return unpack(reply)
                    end
                    return uidcall.here.presence(name, args)
                end,
            },
            ["sd.conn"] = {},
            ["sd.core"] = {
                null = NULL,
                role = "task",
                in_cluster = function() return true end,
                time_left = function() end,
                topic_filter = function() end,
            },
            ["sd.fault"] = {},
            ["sd.go"] = {},
            ["sd.location_store"] = {},
            ["sd.redis"] = {},
            ["sd.uidcall"] = uidcall,
        }
        for name, fake in pairs(fakes) do
            package.loaded[name] = fake
        end
        package.loaded["sd.presence"] = nil
        presence = require("sd.presence")
        package.loaded["sd.presence"] = nil
        for name in pairs(fakes) do
            package.loaded[name] = nil
        end
    end

    before_each(function()
        reply = nil
        load_presence()
    end)

    --- What a task has when the worker has these.
    local function of(...)
        local results = { ... }
        presence.all.topic_count = function(filter)
            assert.equal("f", filter)
            return unpack(results, 1, 3)
        end
        return { presence.topic_count("f") }
    end

    it("gives a task what its worker has", function()
        assert.same({ 3 }, of(3))
        assert.same({ 0, nil, { "b" } }, of(0, nil, { "b" }))
        assert.same({ nil, "busy" }, of(nil, "busy"))
        assert.same({ nil, "timeout", { "b" } }, of(nil, "timeout", { "b" }))
    end)

    it("says when no worker answers", function()
        reply = { nil, "unavailable" }
        assert.same({ nil, "unavailable" }, { presence.topic_count("f") })
    end)
end)
