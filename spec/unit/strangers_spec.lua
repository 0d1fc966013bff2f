-- Who has proved nothing yet: how many, and who goes for another one.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("cluster/strangers.h")

local MAX, SHARE = lib.STRANGERS_MAX, lib.STRANGERS_SHARE

describe("strangers", function()
    local s, all

    before_each(function()
        s, all = ffi.new("struct strangers"), {}
        lib.strangers_init(s)
    end)

    --- The name of who had to go.
    local function name_of(one)
        for name, x in pairs(all) do
            if x == one then
                return name
            end
        end
    end

    local function come(name, origin)
        all[name] = ffi.new("struct stranger")
        return name_of(lib.strangers_add(s, all[name], origin))
    end

    local function ask(name)
        return name_of(lib.strangers_believe(s, all[name]))
    end

    local function is_there(name)
        return all[name].crowd ~= nil
    end

    local function crowd(from, to, origin)
        for i = from, to do
            assert.is_nil(come(i, origin or i))
        end
    end

    it("go in the order they came, when they are too many", function()
        crowd(1, MAX)
        for i = 1, 3 do
            assert.equal(i, come("late" .. i, 1000 + i))
            assert.is_false(is_there(i))
        end
        assert.equal(MAX, s.silent.count)
    end)

    it("push out their own kind where they are many", function()
        come("quiet", 7)
        crowd(1, MAX - 1, 8)
        for i = 1, 2 * MAX do
            assert.is_not_nil(come("more" .. i, 8))
            assert.is_true(is_there("quiet"))
        end
        -- Who is from elsewhere takes the place of the oldest.
        assert.equal("quiet", come("other", 9))
    end)

    it("are pushed out by anybody while no origin has its share", function()
        crowd(1, MAX - SHARE + 1)
        for i = 1, SHARE - 1 do
            come("a" .. i, 9999)
        end
        assert.equal(1, come("one more", 9999))
        assert.equal("a1", come("and one", 9999))
    end)

    it("that have asked are not pushed out by those who say nothing", function()
        come("member", 1)
        assert.is_nil(ask("member"))
        crowd(1, MAX, 1)
        for i = 1, MAX do
            come("more" .. i, 1)
        end
        assert.is_true(is_there("member"))
        assert.equal(1, s.asked.count)
        assert.equal(MAX, s.silent.count)
    end)

    it("that have asked are bounded, too", function()
        for i = 1, MAX do
            come(i, i)
            assert.is_nil(ask(i))
        end
        come("late", 0)
        assert.equal(1, ask("late"))
        assert.equal(MAX, s.asked.count)
        assert.equal(0, s.silent.count)
    end)

    it("give way first who say nothing", function()
        assert.is_nil(name_of(lib.strangers_oldest(s)))
        for _, name in ipairs({ "asked", "old", "new" }) do
            come(name, 1)
        end
        ask("asked")
        for _, name in ipairs({ "old", "new", "asked" }) do
            assert.equal(name, name_of(lib.strangers_oldest(s)))
            lib.strangers_del(all[name])
            lib.strangers_del(all[name])
        end
        assert.is_nil(name_of(lib.strangers_oldest(s)))
        assert.equal(0, s.silent.count + s.asked.count)
    end)
end)
