-- Groups in Redis, against a Redis of the spec's own: what several of its
-- commands do when others come between them, in every order there is.
package.loaded["sd.core"] = {
    array = function()
        return {}
    end,
}
local store = require("sd.group_store")
package.loaded["sd.core"] = nil

local ALL, LIST = "sd:groups", "sd:{g:red}:uids"

--- Sets by key, and the commands on them.
local function sets()
    local data = {}
    local function set(key)
        data[key] = data[key] or {}
        return data[key]
    end
    local commands = {}
    function commands.sadd(key, member)
        set(key)[member] = true
        return 1
    end
    function commands.srem(key, member)
        set(key)[member] = nil
        return 1
    end
    function commands.sismember(key, member)
        return set(key)[member] and 1 or 0
    end
    function commands.smembers(key)
        local list = {}
        for member in pairs(set(key)) do
            list[#list + 1] = member
        end
        return list
    end
    function commands.scard(key)
        return #commands.smembers(key)
    end
    local numbers = {}
    function commands.incr(key)
        numbers[key] = (numbers[key] or 0) + 1
        return numbers[key]
    end
    function commands.get(key)
        return numbers[key] and tostring(numbers[key])
    end
    function commands.expire(_, seconds)
        return assert(tonumber(seconds)) and 1
    end
    --- Nothing comes between the commands of a script.
    function commands.eval(script, n, ...)
        local words = { ... }
        local env = {
            KEYS = { unpack(words, 1, n) },
            ARGV = { unpack(words, n + 1) },
            redis = {
                call = function(name, ...)
                    return commands[name](...)
                end,
            },
            tonumber = tonumber,
        }
        return setfenv(assert(loadstring(script)), env)()
    end
    return commands
end

--- What a caller sees of it: `turn` is called before each command.
local function server(commands, turn)
    local s = setmetatable({}, {
        __index = function(_, name)
            return function(_, ...)
                turn()
                return commands[name](...)
            end
        end,
    })
    function s:pipeline(record)
        local calls, replies = {}, {}
        record(setmetatable({}, {
            __index = function(_, name)
                return function(_, ...)
                    calls[#calls + 1] = { name, ... }
                end
            end,
        }))
        for i, call in ipairs(calls) do
            replies[i] = s[call[1]](s, unpack(call, 2))
        end
        return replies
    end
    return s
end

local function nothing() end

--- Run both, command by command, as `order` says: true is the second's turn.
--- Returns the order that was taken.
local function interleave(commands, first, second, order)
    local taken, parts = {}, {}
    for i, fn in ipairs({ first, second }) do
        parts[i] = coroutine.create(function()
            fn(server(commands, coroutine.yield))
        end)
    end
    while true do
        local a, b = coroutine.status(parts[1]), coroutine.status(parts[2])
        if a == "dead" and b == "dead" then
            return taken
        end
        local is_second = a == "dead" or (b ~= "dead" and order[#taken + 1] or false)
        if a ~= "dead" and b ~= "dead" then
            taken[#taken + 1] = is_second
        end
        assert(coroutine.resume(parts[is_second and 2 or 1]))
    end
end

--- Call `check(run)` for every order; `run(commands, first, second)` does it.
local function in_every_order(check)
    local order, count = {}, 0
    repeat
        local taken
        check(function(commands, first, second)
            taken = interleave(commands, first, second, order)
        end)
        count = count + 1
        order = taken
        while order[#order] do
            order[#order] = nil
        end
        if #order > 0 then
            order[#order] = true
        end
    until #order == 0
    return count
end

local function add(uid)
    return function(s)
        store.add(s, uid, "red")
    end
end

--- Who is in the group is in its list, and the group among all.
local function is_sound(commands, uids)
    for _, uid in ipairs(uids) do
        if commands.sismember("sd:{u:" .. uid .. "}:groups", "red") == 1 then
            assert.equal(1, commands.sismember(LIST, uid), uid .. " is lost")
        end
    end
    if commands.scard(LIST) > 0 then
        assert.equal(1, commands.sismember(ALL, "red"), "the group is lost")
    end
end

--- Delete the group: uids and numbers, as they are told.
local function delete(s)
    local told = {}
    assert.is_true(store.delete(s, "red", function(changes)
        for i = 1, #changes, 2 do
            told[#told + 1] = { changes[i], changes[i + 1] }
        end
        return true
    end))
    return told
end

local function sorted(list)
    table.sort(list)
    return list
end

describe("groups in Redis", function()
    it("list who is in them, and themselves", function()
        local commands = sets()
        local s = server(commands, nothing)
        assert.equal(1, store.add(s, "ann", "red"))
        assert.equal(1, store.add(s, "ben", "red"))
        assert.same({ "ann", "ben" }, sorted(store.members(s, "red")))
        assert.same({ "red" }, store.of_uid(s, "ann"))
        assert.is_true(store.has(s, "ann", "red"))
        assert.same({ "red" }, commands.smembers(ALL))
        assert.equal(2, store.remove(s, "ann", "red"))
        assert.is_false(store.has(s, "ann", "red"))
        assert.same({ "red" }, commands.smembers(ALL))
        assert.equal(2, store.remove(s, "ben", "red"))
        assert.same({}, commands.smembers(ALL))
        assert.equal(3, store.add(s, "ann", "red"))
        assert.same({ { "ann", 4 } }, delete(s))
        assert.same({}, commands.smembers(ALL))
        assert.same({}, store.of_uid(s, "ann"))
    end)

    it("are read with the number of the last change", function()
        local s = server(sets(), nothing)
        assert.same({ {}, 0 }, { store.read(s, "ann") })
        store.add(s, "ann", "red")
        store.add(s, "ann", "red")
        assert.same({ { "red" }, 2 }, { store.read(s, "ann") })
    end)

    it("may be larger than what one pipeline takes", function()
        local commands = sets()
        local s = server(commands, nothing)
        for i = 1, 2500 do
            store.add(s, "u" .. i, "red")
        end
        assert.equal(2500, #store.members(s, "red"))
        assert.equal(2500, #delete(s))
        assert.equal(0, commands.scard(LIST))
        assert.same({}, store.of_uid(s, "u2500"))
    end)

    it("lose who says that he is not in them, and then themselves", function()
        local commands = sets()
        local s = server(commands, nothing)
        commands.sadd(LIST, "ghost")
        commands.sadd(ALL, "red")
        assert.same({}, store.members(s, "red"))
        assert.equal(0, commands.scard(LIST))
        assert.same({}, commands.smembers(ALL))
        commands.sadd(ALL, "red") -- as left behind by somebody who died
        assert.same({}, store.members(s, "red"))
        assert.same({}, commands.smembers(ALL))
    end)

    --- What is done while ann is put in; who was in before, who in the list.
    local races = {
        { "are read", {}, { "ann" }, function(s)
            store.members(s, "red")
        end },
        { "are read with others in them", { "ben" }, { "ann", "cat" }, function(s)
            store.members(s, "red")
        end },
        { "are left by her", { "ann" }, {}, function(s)
            store.remove(s, "ann", "red")
        end },
        { "are left by the last one", { "ben" }, {}, function(s)
            store.remove(s, "ben", "red")
        end },
        { "are deleted", { "ann", "ben" }, {}, function(s)
            delete(s)
        end },
    }
    for _, race in ipairs(races) do
        it("lose nobody who is put in while they " .. race[1], function()
            local count = in_every_order(function(run)
                local commands = sets()
                local quiet = server(commands, nothing)
                for _, uid in ipairs(race[2]) do
                    store.add(quiet, uid, "red")
                end
                for _, uid in ipairs(race[3]) do
                    commands.sadd(LIST, uid)
                    commands.sadd(ALL, "red")
                end
                run(commands, race[4], add("ann"))
                is_sound(commands, { "ann", "ben", "cat" })
                local members = store.members(quiet, "red")
                is_sound(commands, { "ann", "ben", "cat" })
                assert.equal(#members, commands.scard(LIST))
                assert.equal(#members > 0 and 1 or 0, commands.scard(ALL))
            end)
            assert.is_true(count > 20, count)
        end)
    end
end)
