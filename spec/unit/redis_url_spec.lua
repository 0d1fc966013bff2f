-- Where a Redis server is: the urls of config/redis.lua.
local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("store/redis_url.h")

local function parse(url, embedded)
    local out = ffi.new("struct redis_url")
    local why = ffi.new("const char *[1]")
    if lib.redis_url_parse(out, url, embedded, why) < 0 then
        return nil, ffi.string(why[0])
    end
    local path = ffi.string(out.path)
    local place = path ~= "" and path or ffi.string(out.host) .. ":" .. out.port
    return ("%s|%s|%s|%d"):format(
        place,
        ffi.string(out.user),
        ffi.string(out.password),
        out.db
    )
end

describe("a Redis url", function()
    local good = {
        { "redis://h", "h:6379|||0" },
        { "redis://h:7000/3", "h:7000|||3" },
        { "redis://h/", "h:6379|||0" },
        { "redis://:pw@h", "h:6379||pw|0" },
        { "redis://ann:pw@10.0.0.1:1/2", "10.0.0.1:1|ann|pw|2" },
        { "redis://:a@b:c@h", "h:6379||a@b:c|0" },
        { "redis://:%40%2f%3A@h", "h:6379||@/:|0" },
        { "redis://[::1]", "::1:6379|||0" },
        { "redis://[fe80::1]:7000/1", "fe80::1:7000|||1" },
        { "unix:///run/r.sock", "/run/r.sock|||0" },
        { "unix:///run/r.sock?db=4", "/run/r.sock|||4" },
        { "unix://:pw@/run/r.sock", "/run/r.sock||pw|0" },
        { "unix://run/r.sock", "run/r.sock|||0" },
        { "embedded", "run/redis.sock|||0" },
    }
    for _, case in ipairs(good) do
        it("is read: " .. case[1], function()
            assert.equal(case[2], parse(case[1], "run/redis.sock"))
        end)
    end

    local bad = {
        { "", "embedded" },
        { "http://h", "embedded" },
        { "redis://", "host" },
        { "redis://:6379", "host" },
        { "redis://h:", "port" },
        { "redis://h:0", "port" },
        { "redis://h:65536", "port" },
        { "redis://h:-1", "port" },
        { "redis://h:99999999999", "port" },
        { "redis://h/x", "database" },
        { "redis://h/1/2", "database" },
        { "redis://pw@h", "password" },
        { "redis://:@h", "password" },
        { "redis://:%zz@h", "password" },
        { "redis://:%4@h", "password" },
        { "redis://:%00@h", "password" },
        { "redis://[::1", "brackets" },
        { "redis://[::1]x", "brackets" },
        { "redis://" .. ("h"):rep(300), "host" },
        { "redis://:" .. ("p"):rep(600) .. "@h", "password" },
        { "unix://", "path" },
        { "unix:///" .. ("p"):rep(108), "path" },
        { "unix:///r.sock?x=1", "?db=" },
        { "unix:///r.sock?db=", "?db=" },
        { "redis+sentinel://h/n", "redis+sentinel" },
        { "redis+cluster://h", "redis+cluster" },
    }
    for _, case in ipairs(bad) do
        it("is refused: " .. case[1]:sub(1, 40), function()
            local place, why = parse(case[1])
            assert.is_nil(place)
            assert.truthy(why:find(case[2], 1, true), why)
        end)
    end

    it("cannot be embedded where there is no such server", function()
        assert.truthy(select(2, parse("embedded")):find("no embedded Redis"))
    end)

    it("does not repeat secrets when it is wrong", function()
        local _, why = parse("redis://ann:s3cret@")
        assert.falsy(why:find("s3cret", 1, true))
    end)
end)
