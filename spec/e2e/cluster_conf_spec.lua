-- config/cluster.lua: keys, addresses, and what does not go together.
local json = require("cjson")
local server = require("spec.support.server")

local A = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
local B = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
local C = "Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M="
local D = "ZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGQ="
local SERVER = "return { workers = 1, tasks = 0, max_conns = 100 }"
local MAKE = ' ("sdlua key" makes one)'

describe("config/cluster.lua", function()
    local s

    before_each(function()
        s = server.new({
            ["config/server.lua"] = SERVER,
            ["config/redis.lua"] = 'return { default = { url = "redis://h" } }',
        })
    end)

    after_each(function()
        server.shell("rm -rf " .. s.dir)
    end)

    local function check(text)
        s:write("config/cluster.lua", text)
        return s:run("check")
    end

    local function config(args)
        local out, status = s:run("config --json " .. args)
        assert.equal(0, status, out)
        return json.decode(out)
    end

    local function q(...)
        local list = {}
        for i, text in ipairs({ ... }) do
            list[i] = ("%q"):format(text)
        end
        return "{ " .. table.concat(list, ", ") .. " }"
    end

    local good = {
        "return {}",
        "return { enable = true }",
        ("return { enable = true, key = %q }"):format(A),
        ("return { key = %s, bind = '10.0.0.1:7946' }"):format(q(A, B, C)),
        ("return { key = %q, bind = '[::]:0' }"):format(A),
        ("return { key = %q, advertise = '203.0.113.7:0' }"):format(A),
        "return { bind = '127.0.0.5:0', advertise = '[::1]:7946' }",
        "return { seeds = { 'a.example:7946', '10.0.0.1:1', '[fe80::1]:2' } }",
        "return { discovery = 'dns', seeds = { 'nodes.example:7946' } }",
        "return { discovery = 'seeds', profile = 'fast', encrypt = false }",
    }
    for _, text in ipairs(good) do
        it("is good as " .. text:gsub("%w+=[ ,\"]", "KEY"), function()
            assert.equal("ok\n", (check(text)))
        end)
    end

    local no_key = "no base64 of 32 bytes" .. MAKE
    local open = " is open to others and needs cluster.key" .. MAKE
    local bad = {
        { "a key that is none", "key = 'secret'", "cluster.key: " .. no_key },
        { "an empty key", "key = ''", "cluster.key: " .. no_key },
        { "a key with a space", ("key = '%s '"):format(A), "cluster.key: " .. no_key },
        { "no key in a list", "key = {}", "cluster.key: is empty" .. MAKE },
        { "one bad key of two", "key = " .. q(A, "x"),
            "cluster.key: item 2: " .. no_key },
        { "a key twice", "key = " .. q(A, B, A),
            "cluster.key: item 3: the same as item 1" },
        { "four keys", "key = " .. q(A, B, C, D), "cluster.key: 4 keys, at most 3" },
        { "a key of another type", "key = 12345678",
            "cluster.key: expected a text or a list of texts, got a number" },
        { "key and key_file", ("key = %q, key_file = 'k'"):format(A),
            "cluster: key and key_file are both set" },
        { "a key_file that is not there", "key_file = '/nowhere'",
            "cluster.key_file: /nowhere: No such file or directory" },
        { "everybody's address without a key", "bind = '0.0.0.0:7946'",
            "cluster.bind: 0.0.0.0:7946" .. open },
        { "the same as IPv6", "bind = '[::]:7946'", "cluster.bind: [::]:7946" .. open },
        { "an advertised one without a key", "advertise = '203.0.113.7:1'",
            "cluster.advertise: 203.0.113.7:1" .. open },
        { "a name as an address", "bind = '127.evil.example:7946'",
            'cluster.bind: "127.evil.example:7946" is no address like '
                .. '"10.0.0.1:7946" or "[::1]:0"' },
        { "an address without a port", "bind = '127.0.0.1'",
            'cluster.bind: "127.0.0.1" is no address like '
                .. '"10.0.0.1:7946" or "[::1]:0"' },
        { "half an IPv6 address", "advertise = '[1:2]:7946'",
            'cluster.advertise: "[1:2]:7946" is no address like '
                .. '"10.0.0.1:7946" or "[::1]:0"' },
        { "an advertised one that nobody reaches",
            ("key = %q, advertise = '0.0.0.0:7946'"):format(A),
            "cluster.advertise: nobody is reached at 0.0.0.0" },
        { "the same as IPv6", ("key = %q, advertise = '[::]:7946'"):format(A),
            "cluster.advertise: nobody is reached at ::" },
        { "a seed without a port", "seeds = { 'a:1', 'b' }",
            'cluster.seeds: item 2: "b" is no "host:port"' },
        { "a seed with port 0", "seeds = { 'a:0' }",
            'cluster.seeds: item 1: "a:0" is no "host:port"' },
        { "dns without names", "discovery = 'dns'",
            'cluster.discovery: "dns" needs names in cluster.seeds' },
        { "a discovery that is not there", "discovery = 'magic'",
            'cluster.discovery: expected one of lan|seeds|dns, got "magic"' },
        { "a cluster without a name", "name = ''",
            "cluster.name: 1 to 64 bytes expected" },
    }
    for _, case in ipairs(bad) do
        it("refuses " .. case[1], function()
            local out, status = check("return {\n " .. case[2] .. " }")
            assert.equal("config/cluster.lua:2: " .. case[3] .. "\n", out)
            assert.equal(1, status)
        end)
    end

    it("names the line of key_file when the keys in it are bad", function()
        s:write("key", A .. "\n\nnonsense\n")
        assert.equal("config/cluster.lua:2: cluster.key_file: item 2: " .. no_key
            .. "\n", (check("return {\n key_file = 'key' }")))
        s:write("key", "\n")
        assert.equal("config/cluster.lua:2: cluster.key_file: is empty" .. MAKE
            .. "\n", (check("return {\n key_file = 'key' }")))
    end)

    it("refuses a Redis of this node's own in a cluster", function()
        local wanted = ": set it to a Redis that all nodes share\n"
        s:write("config/redis.lua", 'return {\n default = { url = "embedded" } }')
        assert.equal("config/redis.lua:2: cluster.enable: redis.default.url is "
            .. '"embedded", of this node alone' .. wanted,
            (check("return { enable = true }")))
        s:write("config/redis.lua", "return {}")
        assert.equal("config/cluster.lua:1: cluster.enable: redis.default.url is "
            .. "missing" .. wanted, (check("return { enable = true }")))
        assert.equal("ok\n", (check("return { enable = false }")))
        s.env = "SD_CLUSTER_ENABLE=true SD_REDIS_DEFAULT_URL=redis://h"
        assert.equal("ok\n", (s:run("check")))
    end)

    it("refuses a name that members cannot have, and half a part", function()
        s:write("config/cluster.lua", "return { bind = '127.0.0.1:0', enable = true }")
        s.env = "SD_REDIS_DEFAULT_URL=redis://127.0.0.1:1 SD_NODE_NAME=" .. ("x"):rep(65)
        local out, status = s:run("start")
        assert.equal(1, status)
        assert.matches("a member of a cluster has 1 to 64 bytes", out)
        s:write("config/cluster.lua", "return { bind = '127.0.0.1:0' }")
        s.env = ""
        out, status = s:run("start --dispatch")
        assert.equal(1, status)
        assert.matches("--dispatch: a node that takes part needs cluster.enable", out, 1, true)
    end)

    it("listens on loopback until there is a key", function()
        local bind = "cluster.bind"
        assert.same({ value = "127.0.0.1:7946", source = "default", reload = false },
            config(bind)[bind])
        s.env = "SD_CLUSTER_KEY=" .. A
        assert.equal("0.0.0.0:7946", config(bind)[bind].value)
        s.env = s.env .. " SD_CLUSTER_BIND=10.0.0.1:0"
        assert.same({ value = "10.0.0.1:0", source = "environment SD_CLUSTER_BIND",
            reload = false }, config(bind)[bind])
    end)

    it("does not lose its key to a reload: the sockets are open to others", function()
        local keyed = server.start({
            ["config/server.lua"] = SERVER,
            ["config/cluster.lua"] = ("return { key = %q }"):format(A),
        })
        finally(function()
            keyed:stop()
        end)
        keyed:write("config/cluster.lua", "return {}")
        local out, status = keyed:run("reload")
        assert.are_not.equal(0, status)
        assert.matches("is open to others and needs cluster.key", out, 1, true)
        keyed:write("config/cluster.lua", ("return { key = %q }"):format(B))
        assert.equal(0, (select(2, keyed:run("reload"))))
    end)

    it("takes keys from the environment and from files", function()
        local function source()
            local c = config("cluster.key")
            assert.equal("***", c["cluster.key"].value)
            return c["cluster.key"].source
        end
        s:write("keys", B .. "\n" .. A .. "\n")
        s.env = ("SD_CLUSTER_KEY=%s,%s"):format(A, B)
        assert.equal("environment SD_CLUSTER_KEY", source())
        s.env = "SD_CLUSTER_KEY="
        assert.matches("^SD_CLUSTER_KEY: cluster.key: is empty", (s:run("check")))
        s.env = "SD_CLUSTER_KEY_FILE=keys"
        assert.equal("environment SD_CLUSTER_KEY_FILE", source())
        s.env = "SD_CLUSTER_KEY_FILE=/nowhere"
        assert.matches("^SD_CLUSTER_KEY_FILE: cluster.key_file: /nowhere: No such",
            (s:run("check")))

        -- The later layer wins.
        s:write("config/cluster.lua", "return { key_file = 'keys' }")
        s.env = ""
        assert.equal("keys", source())
        s.env = "SD_CLUSTER_KEY=" .. A
        assert.equal("environment SD_CLUSTER_KEY", source())
        s:write("config/cluster.lua", ("return { key = %q }"):format(A))
        s.env = "SD_CLUSTER_KEY_FILE=keys"
        assert.equal("environment SD_CLUSTER_KEY_FILE", source())
        s.env = "SD_CLUSTER_KEY=x SD_CLUSTER_KEY_FILE=keys"
        assert.matches("cluster: key and key_file are both set", (s:run("check")))
    end)

    it("never shows a key, right or wrong", function()
        local almost = A:sub(1, 42) .. "F="
        for _, text in ipairs({ almost, q(almost), q(A, B, C, D), q(A, A) }) do
            text = text:find("{", 1, true) and text or ("%q"):format(text)
            local out, status = check(("return { key = %s }"):format(text))
            assert.equal(1, status)
            for _, secret in ipairs({ almost, A, B, C, D }) do
                assert.is_nil(out:find(secret, 1, true))
            end
        end
        check(("return { key = %s }"):format(q(A, B)))
        for _, verb in ipairs({ "config", "config --json" }) do
            local out = s:run(verb)
            assert.is_nil(out:find(A, 1, true))
            assert.matches("%*%*%*", out)
        end
    end)
end)

describe("a reload of config/cluster.lua", function()
    local s

    after_each(function()
        s:stop()
    end)

    it("applies keys and seeds, keeps the rest, and hides keys", function()
        s = server.start({
            ["config/server.lua"] = SERVER,
            ["config/cluster.lua"] = ("return { key = %q }"):format(A),
            ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C = {}
function C:cluster()
    return sd.config.cluster
end
return C]],
        })
        local body = s:get("/c/cluster")
        assert.equal("0.0.0.0:7946", json.decode(body).bind)
        assert.is_nil(json.decode(body).key)

        s:write("config/cluster.lua", ("return { key = { %q, %q }, "
            .. "seeds = { 'a:1' }, name = 'x', profile = 'fast' }"):format(B, A))
        local out, code = s:run("reload")
        assert.equal(0, code, out)
        assert.matches("cluster.name stays as it was: it needs a restart", out)
        assert.matches("cluster.profile stays as it was", out)
        assert.is_nil(out:find("cluster.key", 1, true))
        assert.is_nil(out:find("cluster.seeds", 1, true))
        body = json.decode((s:get("/c/cluster")))
        assert.same({ "a:1" }, body.seeds)
        assert.equal("sdlua", body.name)
        assert.is_nil(body.key)

        -- The socket is open to others: the key cannot go.
        s:write("config/cluster.lua", "return {}")
        out, code = s:run("reload")
        assert.equal(1, code)
        assert.matches("cluster.bind: 0.0.0.0:7946 is open to others", out)
        assert.is_nil(s:output():find(A, 1, true))
    end)

    it("reads the file of keys anew", function()
        s = server.start({
            ["config/server.lua"] = SERVER,
            ["config/cluster.lua"] = "return {\n key_file = 'keys' }",
            ["keys"] = A,
        })
        local function reload(keys)
            s:write("keys", keys)
            local out, code = s:run("reload")
            return code, out
        end
        assert.equal(0, reload(A .. "\n" .. B))
        local code, out = reload("nonsense")
        assert.equal(1, code)
        assert.equal("sdlua: config/cluster.lua:2: cluster.key_file: "
            .. "no base64 of 32 bytes" .. MAKE .. "\n", out)
        assert.equal(0, reload(B))
    end)
end)
