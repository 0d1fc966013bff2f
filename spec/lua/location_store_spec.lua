-- Conns of uids in Redis: what its scripts decide, against a Redis of the
-- spec's own.
local KEY = "sd:{u:ann}:conns"
local NODE = { a = ("a"):rep(16), b = ("b"):rep(16) }

local function conn(node, n)
    return NODE[node] .. ("%016x"):format(n)
end

describe("sd.location_store", function()
    local hash, expires, now, server, refuses, listed, store

    local function call(name, key, ...)
        assert(name == "time" or key == KEY)
        local args = { ... }
        if name == "time" then
            return { tostring(now), "0" }
        elseif name == "hgetall" then
            local list = {}
            for id, value in pairs(hash) do
                list[#list + 1], list[#list + 2] = id, value
            end
            return list
        elseif name == "hset" then
            hash[args[1]] = args[2]
        elseif name == "hdel" then
            hash[args[1]] = nil
        elseif name == "del" then
            hash = {}
        elseif name == "expire" then
            expires = now + tonumber(args[1])
        else
            error("unknown command " .. name)
        end
    end

    local function eval(script, n, ...)
        assert(n == 1)
        local words = { ... }
        for i, word in ipairs(words) do
            words[i] = tostring(word)
        end
        local env = {
            KEYS = { words[1] },
            ARGV = { unpack(words, 2) },
            redis = { call = call },
        }
        for _, name in ipairs({ "tonumber", "string", "math", "ipairs" }) do
            env[name] = _G[name]
        end
        return setfenv(assert(loadstring(script)), env)()
    end

    before_each(function()
        hash, expires, now, refuses = {}, nil, 1700000000, nil
        listed = {}
        local loaded = {}
        server = {
            eval = function(_, ...)
                return eval(...)
            end,
            script = function(_, _, text)
                loaded.sha = text
                return "sha"
            end,
            hgetall = function()
                return hash
            end,
        }
        function server:pipeline(record)
            local replies = {}
            record({
                script = function()
                    replies[#replies + 1] = "sha"
                end,
                evalsha = function(_, sha, ...)
                    assert(sha == "sha" and #replies > 0)
                    replies[#replies + 1] = eval(loaded.sha or self.text, ...)
                end,
                hdel = function(_, _, id)
                    if refuses ~= id then
                        hash[id] = nil
                    end
                    replies[#replies + 1] = refuses == id and { err = "MISCONF" } or 1
                end,
                eval = function(_, ...)
                    replies[#replies + 1] = eval(...)
                end,
                zadd = function(_, key, ...)
                    assert(key == "sd:{n:" .. NODE.a .. "}:uids")
                    local args = { ... }
                    for i = 1, #args, 2 do
                        listed[args[i + 1]] = tonumber(args[i])
                    end
                    replies[#replies + 1] = refuses == "zadd" and { err = "NOPERM" } or 1
                end,
            })
            return replies
        end
        -- The name of the script is remembered for ever.
        package.loaded["sd.location_store"] = nil
        package.loaded["sd.core"] = {
            boot = NODE.a,
            now = function()
                return now + 0.25
            end,
        }
        store = require("sd.location_store")
        package.loaded["sd.core"], package.loaded["sd.location_store"] = nil, nil
        assert(store.prepare(server))
    end)

    local function bind(id, number, policy, dead)
        return unpack(assert(store.bind(server, "ann", id, number, policy, dead or {})))
    end

    local function hold(id, number, policy)
        return unpack(assert(store.assert_all(server, {
            { uid = "ann", id = id, number = number, policy = policy },
        }))[1])
    end

    local function names()
        local list = {}
        for id in pairs(hash) do
            list[#list + 1] = id
        end
        table.sort(list)
        return list
    end

    it("gives numbers above all others, and above the clock", function()
        assert.equal(100, bind(conn("a", 1), 100, "allow"))
        assert.equal(101, bind(conn("b", 2), 50, "allow"))
        assert.equal(500, (bind(conn("a", 3), 500, "allow")))
        assert.equal(501, (bind(conn("a", 3), 7, "allow")))
    end)

    it("lets a kick take all, and a refuse nothing", function()
        bind(conn("a", 1), 1, "allow")
        bind(conn("a", 2), 2, "allow")
        local number, others = bind(conn("b", 3), 3, "refuse")
        assert.equal(0, number)
        assert.equal(2, #others)
        assert.same({ conn("a", 1), conn("a", 2) }, names())
        assert.equal(3, (bind(conn("b", 3), 3, "kick")))
        assert.same({ conn("b", 3) }, names())
        assert.equal(4, (bind(conn("a", 4), 1, "refuse", { conn("b", 3) })))
    end)

    it("never lowers a number", function()
        assert.equal(900, (bind(conn("b", 1), 900, "allow")))
        local number = bind(conn("a", 2), 10, "kick")
        assert.equal(901, number)
        assert.equal(901, (hold(conn("a", 2), 10, "kick")))
        assert.equal(902, (bind(conn("b", 3), 20, "kick")))
    end)

    it("decides between two that did not know of each other", function()
        hold(conn("a", 1), 10, "kick")
        assert.equal(0, (hold(conn("b", 2), 9, "kick")))
        assert.same({ conn("a", 1) }, names())
        local number, lost = hold(conn("b", 3), 11, "kick")
        assert.equal(11, number)
        assert.same({ conn("a", 1) }, lost)
        assert.same({ conn("b", 3) }, names())
    end)

    it("decides between two with the same number, for good", function()
        for _, order in ipairs({ { "a", "b" }, { "b", "a" } }) do
            hash = {}
            local numbers, losers = {}, 0
            for _, node in ipairs({ order[1], order[2], order[1], order[2] }) do
                local id = conn(node, 1)
                local number, lost = hold(id, numbers[node] or 10, "kick")
                if number == 0 then
                    losers = losers + 1
                    break
                end
                numbers[node] = number
                for _, other in ipairs(lost) do
                    losers = losers + 1
                    assert.is_true(number > numbers[other:sub(1, 1)])
                end
                if losers > 0 then
                    break
                end
            end
            assert.equal(1, losers)
            assert.equal(1, #names())
        end
    end)

    it("lets those live that were let in beside the first", function()
        bind(conn("a", 1), 1, "kick")
        bind(conn("b", 2), 2, "allow")
        local number, lost, beside = hold(conn("a", 1), 1, "kick")
        assert.equal(1, number)
        assert.same({}, lost)
        assert.same({ conn("b", 2) }, beside)
        assert.equal(2, (hold(conn("b", 2), 2, "allow")))
    end)

    it("puts those out that a later kick meant, whatever they allow", function()
        bind(conn("a", 1), 1, "allow")
        bind(conn("b", 2), 2, "kick")
        assert.equal(0, (hold(conn("a", 1), 1, "allow")))
        assert.same({ conn("b", 2) }, names())
    end)

    it("forgets what nobody has said for long, although others do", function()
        bind(conn("a", 1), 1, "allow")
        for _ = 1, 10 do
            now = now + 100
            hold(conn("b", 2), 2, "allow")
            assert.is_true(expires > now + 600)
        end
        assert.same({ conn("b", 2) }, names())
        assert.equal(3, (bind(conn("a", 3), 1, "refuse", { conn("b", 2) })))
        assert.same({ conn("a", 3) }, names())
    end)

    it("says which ends could not be written", function()
        local both = { "ann", conn("a", 1), "ann", conn("b", 2) }
        for i = 2, 4, 2 do
            bind(conn("a", 1), 1, "allow")
            bind(conn("b", 2), 2, "allow")
            refuses = both[i]
            assert.same({ { "ann", both[i] }, "MISCONF" }, { store.forget(server, both) })
            assert.same({ both[i] }, names())
        end
        refuses = nil
        assert.same({ {} }, { store.forget(server, both) })
        assert.same({}, names())
    end)

    it("lists bindings, if somebody wants to hear of their ends", function()
        local entry = ("%016x"):format(1) .. "ann"
        bind(conn("a", 1), 1, "kick")
        assert.same({}, listed)
        store.has_list = true
        bind(conn("a", 1), 1, "kick")
        assert.same({ [entry] = now }, listed)
        now = now + 7
        hold(conn("a", 1), 1, "kick")
        assert.same({ [entry] = now }, listed)
    end)

    it("binds nobody who cannot be listed", function()
        store.has_list, refuses = true, "zadd"
        assert.same({ nil, "NOPERM" }, { store.bind(server, "ann", conn("a", 1), 1, "kick", {}) })
        local replies, err = store.assert_all(server, {
            { uid = "ann", id = conn("a", 1), number = 1, policy = "kick" },
        })
        assert.equal(1, #replies)
        assert.equal("NOPERM", err)
    end)

    it("finds conns, and knows who is alone", function()
        assert.same({ {}, false }, { store.find(server, "ann") })
        bind(conn("a", 1), 7, "allow")
        assert.same({ { conn("a", 1), 7 }, false }, { store.find(server, "ann") })
        bind(conn("a", 2), 7, "kick")
        assert.same({ { conn("a", 2), 8 }, true }, { store.find(server, "ann") })
        bind(conn("a", 3), 9, "allow")
        local list, is_sole = store.find(server, "ann")
        assert.equal(4, #list)
        assert.is_false(is_sole)
    end)
end)
