local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/topics.h")
c.use("base/buf.h")
ffi.cdef([[
void told_change(void *arg, struct slice filter, bool is_held);
void told_filter(void *arg, struct slice filter);
]])
local told = ffi.load((os.getenv("SD_BUILD") or "build/dev") .. "/sdtold.so")

jit.off(true, true) -- C calls back into Lua here

local texts = setmetatable({}, { __mode = "k" }) -- kept as long as slices

local function slice(text)
    local s = ffi.new("struct slice", text, #text)
    texts[s] = text
    return s
end

local function new_topics()
    local t = ffi.new("struct topics *[1]", lib.topics_new())
    return ffi.gc(t, lib.topics_free)
end

local function new_lines()
    return ffi.gc(ffi.new("struct buf"), lib.buf_fini)
end

--- The lines of a buffer, which is empty then.
local function take_lines(b)
    local list = {}
    for line in ffi.string(b.p + b.head, b.len):gmatch("[^\n]+") do
        list[#list + 1] = line
    end
    lib.buf_consume(b, b.len)
    return list
end

--- Call `fn(i)` for the holders that a publish visits, by their index.
local function visit(t, holders, name, fn)
    local cb = ffi.cast("void (*)(void *, struct topics_holder *)", function(_, h)
        fn(tonumber(h - holders))
    end)
    local n = lib.topics_visit(t[0], slice(name), cb, nil)
    cb:free()
    return n
end

local function visited(t, holders, name)
    local list = {}
    visit(t, holders, name, function(i)
        list[#list + 1] = i
    end)
    table.sort(list)
    return list
end

local function levels(text)
    local list = {}
    for level in (text .. "/"):gmatch("([^/]*)/") do
        list[#list + 1] = level
    end
    return list
end

--- The rules of MQTT, written down a second time.
local function matches(filter, name)
    local f, n = levels(filter), levels(name)
    if name:sub(1, 1) == "$" and (f[1] == "+" or f[1] == "#") then
        return false
    end
    for i, level in ipairs(f) do
        if level == "#" then
            return #n >= i - 1
        elseif not n[i] or (level ~= "+" and level ~= n[i]) then
            return false
        end
    end
    return #f == #n
end

describe("net/topics", function()
    it("knows what a filter and what a name is", function()
        local both = { "a", "/", "a/", "/a", "a//b", "$SYS/x", ("x"):rep(1024) }
        local filters = { "#", "+", "a/#", "+/+", "a/+/b", "/#", "+/#", "$SYS/#" }
        local neither = {
            "", "a\0b", ("x"):rep(1025), "a#", "a/#/b", "a+", "+a/b", "#/a", "##", "a/b#",
            ("/"):rep(128),
        }
        for _, text in ipairs(both) do
            assert.is_true(lib.topics_is_filter(slice(text)), text)
            assert.is_true(lib.topics_is_name(slice(text)), text)
        end
        for _, text in ipairs(filters) do
            assert.is_true(lib.topics_is_filter(slice(text)), text)
            assert.is_false(lib.topics_is_name(slice(text)), text)
        end
        for _, text in ipairs(neither) do
            assert.is_false(lib.topics_is_filter(slice(text)), text)
            assert.is_false(lib.topics_is_name(slice(text)), text)
        end
        assert.is_true(lib.topics_is_filter(slice(("/"):rep(127))))
    end)

    it("matches as MQTT says", function()
        local cases = {
            { "a/#", "a", true }, { "a/#", "a/b/c", true }, { "a/#", "ab", false },
            { "#", "a/b", true }, { "#", "$SYS/a", false }, { "+/a", "$SYS/a", false },
            { "$SYS/#", "$SYS/a", true }, { "$SYS/+", "$SYS/a", true },
            { "+", "a", true }, { "+", "/a", false }, { "+/+", "/a", true },
            { "/+", "/a", true }, { "a/+", "a/", true }, { "a/+", "a", false },
            { "a/+/#", "a", false }, { "a/+/#", "a/b", true }, { "a", "A", false },
        }
        for _, case in ipairs(cases) do
            local t = new_topics()
            local holders = ffi.new("struct topics_holder[1]")
            lib.topics_subscribe(t[0], holders, slice(case[1]))
            local hit = #visited(t, holders, case[2]) == 1
            assert.equal(case[3], hit, case[1] .. " " .. case[2])
            assert.equal(case[3], lib.topics_matches(slice(case[1]), slice(case[2])))
            assert.equal(case[3], matches(case[1], case[2]))
        end
    end)

    it("visits once with overlapping filters, and is idempotent", function()
        local t = new_topics()
        local holders = ffi.new("struct topics_holder[2]")
        for _, filter in ipairs({ "a/b", "a/+", "a/#", "#", "+/b" }) do
            assert.is_true(lib.topics_subscribe(t[0], holders, slice(filter)))
            assert.is_false(lib.topics_subscribe(t[0], holders, slice(filter)))
        end
        lib.topics_subscribe(t[0], holders + 1, slice("a/b"))
        assert.same({ 0, 1 }, visited(t, holders, "a/b"))
        assert.equal(5, holders[0].count)
        assert.equal(2, lib.topics_count(t[0], slice("a/b")))
        assert.is_true(lib.topics_unsubscribe(t[0], holders, slice("a/b")))
        assert.is_false(lib.topics_unsubscribe(t[0], holders, slice("a/b")))
        assert.equal(1, lib.topics_count(t[0], slice("a/b")))
        assert.same({ 0, 1 }, visited(t, holders, "a/b"))
        lib.topics_drop(t[0], holders)
        lib.topics_drop(t[0], holders)
        assert.same({ 1 }, visited(t, holders, "a/b"))
        assert.equal(1, lib.topics_subs(t[0]))
        assert.equal(1, lib.topics_filters(t[0]))
    end)

    it("lets a visit drop, unsubscribe and subscribe", function()
        local t = new_topics()
        local holders = ffi.new("struct topics_holder[40]")
        local alive = {}
        for i = 0, 19 do
            for _, filter in ipairs({ "x/y", "x/+", "#" }) do
                lib.topics_subscribe(t[0], holders + i, slice(filter))
            end
            alive[i] = true
        end
        local count = 0
        visit(t, holders, "x/y", function(i)
            assert.is_true(i >= 20 or alive[i])
            count = count + 1
            lib.topics_drop(t[0], holders + i)
            alive[i] = false
            lib.topics_drop(t[0], holders + (i + 1) % 20)
            alive[(i + 1) % 20] = false
            lib.topics_unsubscribe(t[0], holders + (i + 2) % 20, slice("x/+"))
            lib.topics_subscribe(t[0], holders + 20 + i % 20, slice("x/+"))
        end)
        assert.is_true(count >= 10 and count <= 40)
        assert.equal(lib.topics_subs(t[0]), lib.topics_count(t[0], slice("x/+")))
        for i = 0, 39 do
            lib.topics_drop(t[0], holders + i)
        end
        assert.equal(0, lib.topics_subs(t[0]))
        assert.equal(0, lib.topics_filters(t[0]))
    end)

    it("tells of a filter's first holder and its last", function()
        local t, lines = new_topics(), new_lines()
        lib.topics_watch(t[0], told.told_change, lines)
        local holders = ffi.new("struct topics_holder[3]")
        local function takes(fn, i, filter)
            if filter then
                fn(t[0], holders + i, slice(filter))
            else
                fn(t[0], holders + i)
            end
            return take_lines(lines)
        end
        assert.same({ "+a/b" }, takes(lib.topics_subscribe, 0, "a/b"))
        assert.same({}, takes(lib.topics_subscribe, 0, "a/b"))
        assert.same({}, takes(lib.topics_subscribe, 1, "a/b"))
        assert.same({ "+a/+/c/#" }, takes(lib.topics_subscribe, 1, "a/+/c/#"))
        assert.same({}, takes(lib.topics_unsubscribe, 2, "a/b"))
        assert.same({}, takes(lib.topics_unsubscribe, 0, "a/b"))
        assert.same({}, takes(lib.topics_subscribe, 2, "a/+/c/#"))
        assert.same({ "-a/b" }, takes(lib.topics_drop, 1))
        assert.same({ "+a/b" }, takes(lib.topics_subscribe, 0, "a/b"))
        assert.same({ "-a/+/c/#" }, takes(lib.topics_unsubscribe, 2, "a/+/c/#"))

        -- Within a visit, where nothing is freed yet.
        lib.topics_subscribe(t[0], holders + 1, slice("a/b"))
        visit(t, holders, "a/b", function()
            lib.topics_drop(t[0], holders)
            lib.topics_drop(t[0], holders + 1)
            lib.topics_subscribe(t[0], holders + 2, slice("a/b"))
        end)
        assert.same({ "-a/b", "+a/b" }, take_lines(lines))
        assert.equal(1, lib.topics_filters(t[0]))
    end)

    it("shows all that is held, in pieces, while that changes", function()
        local t = new_topics()
        local n = 2000
        local holders = ffi.new("struct topics_holder[3]")
        local function filter(i)
            return slice(i % 3 == 0 and ("f/+/%d/#"):format(i) or "f/" .. i)
        end
        for i = 1, n do
            lib.topics_subscribe(t[0], holders + i % 3, filter(i))
        end
        local shown, steps = {}, 0
        local lines, cursor = new_lines(), ffi.new("uint64_t[1]")
        repeat
            lib.topics_scan(t[0], cursor, told.told_filter, lines)
            for _, text in ipairs(take_lines(lines)) do
                shown[text] = (shown[text] or 0) + 1
            end
            steps = steps + 1
            if steps <= n / 2 then -- the second half goes, as many come
                lib.topics_unsubscribe(t[0], holders + (n + 1 - steps) % 3, filter(n + 1 - steps))
                lib.topics_subscribe(t[0], holders, slice("new/" .. steps))
            end
        until cursor[0] == 0
        assert.is_true(steps > 100)
        for i = 1, n / 2 do
            local f = filter(i)
            assert.equal(1, shown[ffi.string(f.p, f.len)], i)
        end
        for text, times in pairs(shown) do
            assert.equal(1, times, text)
        end
    end)

    it("ends one of many subscriptions without looking at all", function()
        local t = new_topics()
        local n = 100000
        local h = ffi.new("struct topics_holder[1]")
        for i = 1, n do
            lib.topics_subscribe(t[0], h, slice("f/" .. i))
        end
        local one = ffi.new("struct topics_holder[1]")
        lib.topics_subscribe(t[0], one, slice("f/1"))
        local function cost(holder, text, rounds)
            local s, began = slice(text), os.clock()
            for _ = 1, rounds do
                lib.topics_unsubscribe(t[0], holder, s)
                lib.topics_subscribe(t[0], holder, s)
            end
            return os.clock() - began
        end
        cost(one, "g", 1000)
        local few, many = cost(one, "g", 1000), 0
        for i = 1, 1000 do -- of a list in order, half the way on average
            many = many + cost(h, "f/" .. i * 100, 1)
        end
        assert.is_true(many < 100 * few + 0.05, ("%f %f"):format(few, many))
    end)

    it("agrees with a naive model", function()
        local seed = os.time() % 100000
        math.randomseed(seed)
        local words = { "a", "b", "", "$s", "long-name-of-a-level" }
        local function random_text(is_filter)
            local list = {}
            for i = 1, math.random(4) do
                list[i] = words[math.random(#words)]
                if is_filter and math.random() < 0.3 then
                    list[i] = "+"
                end
            end
            if is_filter and math.random() < 0.2 then
                list[#list] = "#"
            end
            local text = table.concat(list, "/")
            return text ~= "" and text or "/"
        end
        local t = new_topics()
        local n = 12
        local holders = ffi.new("struct topics_holder[?]", n)
        local model = {}
        for i = 0, n - 1 do
            model[i] = {}
        end
        for step = 1, 20000 do
            local i = math.random(0, n - 1)
            local what, filter = math.random(), random_text(true)
            local message = "seed " .. seed .. " step " .. step .. " " .. filter
            if what < 0.5 then
                local is_new = lib.topics_subscribe(t[0], holders + i, slice(filter))
                assert.equal(not model[i][filter], is_new, message)
                model[i][filter] = true
            elseif what < 0.95 then
                local had = lib.topics_unsubscribe(t[0], holders + i, slice(filter))
                assert.equal(model[i][filter] or false, had, message)
                model[i][filter] = nil
            else
                lib.topics_drop(t[0], holders + i)
                model[i] = {}
            end
            if step % 4 == 0 then
                local name = random_text(false)
                local want, total = {}, 0
                for k = 0, n - 1 do
                    for f in pairs(model[k]) do
                        total = total + 1
                        if want[#want] ~= k and matches(f, name) then
                            want[#want + 1] = k
                        end
                    end
                end
                assert.same(want, visited(t, holders, name), message .. " " .. name)
                assert.equal(total, lib.topics_subs(t[0]), message)
            end
        end
    end)
end)
