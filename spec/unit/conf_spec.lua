local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("base/conf.h")
c.use("base/conf_schema.h")
c.use("base/conf_value.h")
c.use("base/conf_doc.h")
c.use("base/err.h")

local out = ffi.new("struct conf *[1]")
local why = ffi.new("const char *[1]")

--- Entries as conf_open() takes them, from a list of { path, value }.
local function entries(list)
    local parts = {}
    for _, e in ipairs(list) do
        parts[#parts + 1] = e[1] .. "\0" .. e[2] .. "\0"
    end
    return table.concat(parts)
end

local function open_text(text)
    return lib.conf_open(out, ffi.new("struct slice", { text, #text }), why)
end

local function open(list)
    assert.equal(0, open_text(entries(list)), "refused")
    return out[0]
end

local function refused(list, pattern)
    assert.equal(lib.SD_EINVALID, open_text(entries(list)))
    assert.matches(pattern, ffi.string(why[0]))
end

local function str(p)
    return p ~= nil and ffi.string(p) or nil
end

local function list(l)
    local t = {}
    for i = 0, l.n - 1 do
        t[i + 1] = ffi.string(l.at[i])
    end
    return t
end

describe("conf", function()
    after_each(function()
        lib.conf_close(out)
    end)

    it("has the documented defaults of the server", function()
        local s = open({}).server
        assert.is_nil(str(s.name))
        assert.equal(lib.conf_cores(), s.workers)
        assert.equal(2, s.tasks)
        assert.equal(5000ULL, s.call_timeout)
        assert.equal(300000ULL, s.task_timeout)
        assert.equal(1000ULL, s.task_grace)
        assert.equal(30000ULL, s.reload_timeout)
        assert.equal(30000ULL, s.stop_timeout)
        assert.equal(268435456ULL, s.vm_memory)
        assert.equal(65536ULL, s.session_max)
        assert.equal(268435456ULL, s.queue_memory)
        assert.equal(1000ULL, s.max_run)
        assert.equal(10000ULL, s.hang_timeout)
        assert.is_true(s.watchdog)
        assert.is_false(s.dev)
        assert.equal("127.0.0.1:9180", str(out[0].admin.listen))
        assert.equal(1, out[0].log.level)
        assert.is_false(out[0].log.json)
    end)

    it("has the documented defaults of a port", function()
        local p = open({ { "ports.game.listen", "0.0.0.0:0" } }).ports[0]
        assert.equal("game", str(p.name))
        assert.equal(lib.CONF_TCP, tonumber(p.protocol))
        assert.equal("length", str(p.frame.type))
        assert.equal(4, p.frame.bytes)
        assert.is_true(p.frame.includes_header)
        assert.is_false(p.frame.little)
        assert.equal(2000000ULL, p.frame.max)
        assert.equal("\r\n", ffi.string(p.frame.delimiter, p.frame.delimiter_len))
        assert.equal("json", str(p.codec))
        assert.equal("normal", str(p.route))
        assert.equal("", str(p.method_prefix))
        assert.same({}, list(p.middlewares))
        assert.same({ "*" }, list(p.controllers))
        assert.equal(0ULL, p.auth_timeout)
        assert.equal(30000ULL, p.timeout)
        assert.equal(120000ULL, p.idle_timeout)
        assert.equal(1, p.max_inflight)
        assert.equal(64, p.backlog)
        assert.equal(262144ULL, p.slow_low)
        assert.equal(1048576ULL, p.slow_high)
        assert.equal(0, p.rate_messages)
        assert.equal("scripts/public", str(p.public_dir))
        assert.equal(1048576ULL, p.max_body)
        assert.equal(16384ULL, p.max_head)
        assert.equal(100, p.max_headers)
        assert.same({ "same" }, list(p.origins))
        assert.same({ "GET", "POST" }, list(p.http_methods))
        assert.is_true(p.websocket.enabled)
        assert.equal("/ws", str(p.websocket.path))
        assert.equal(1048576ULL, p.websocket.max)
    end)

    it("takes values of every kind", function()
        local conf = open({
            { "server.workers", "3" },
            { "server.call_timeout", "250ms" },
            { "server.stop_timeout", "1.5" },
            { "server.vm_memory", "64M" },
            { "server.dev", "true" },
            { "ports.a.listen", "127.0.0.1:0" },
            { "ports.a.frame.bytes", "varint" },
            { "ports.a.frame.endian", "little" },
            { "ports.a.frame.add", "-2" },
            { "ports.a.slow_client.policy", "drop_old" },
            { "ports.a.rate.messages", "0.5" },
            { "ports.a.public", "" },
            { "ports.a.middlewares.1", "auth" },
            { "ports.a.middlewares.2", "log" },
            { "ports.a.controllers", "" },
            { "ports.b.listen", "127.0.0.1:0" },
            { "ports.b.protocol", "http" },
            { "redis.default.url", "unix:///x" },
            { "timers.1.method", "step" },
            { "timers.1.every", "10s" },
            { "timers.1.from", "08:30" },
            { "timers.1.overlap", "allow" },
            { "log.level", "debug" },
            { "log.format", "json" },
        })
        assert.equal(3, conf.server.workers)
        assert.equal(250ULL, conf.server.call_timeout)
        assert.equal(1500ULL, conf.server.stop_timeout)
        assert.equal(67108864ULL, conf.server.vm_memory)
        assert.is_true(conf.server.dev)
        local p = conf.ports[0]
        assert.equal(2, conf.nports)
        assert.equal(0, p.frame.bytes)
        assert.is_true(p.frame.little)
        assert.equal(-2LL, p.frame.add)
        assert.equal(lib.CONF_DROP_OLD, tonumber(p.slow_policy))
        assert.equal(0.5, p.rate_messages)
        assert.is_nil(str(p.public_dir))
        assert.same({ "auth", "log" }, list(p.middlewares))
        assert.same({}, list(p.controllers))
        assert.equal(lib.CONF_HTTP, tonumber(conf.ports[1].protocol))
        assert.equal("default", str(conf.redis[0].name))
        assert.equal("unix:///x", str(conf.redis[0].url))
        local t = conf.timers[0]
        assert.equal(10000ULL, t.every)
        assert.equal(10000ULL, t.delay)
        assert.equal(510, t.from)
        assert.equal(-1, t.to)
        assert.is_true(t.overlap)
        assert.equal(0, conf.log.level)
        assert.is_true(conf.log.json)
    end)

    it("takes bytes that were escaped", function()
        local f = open({
            { "ports.a.listen", "127.0.0.1:0" },
            { "ports.a.frame.type", "line" },
            { "ports.a.frame.delimiter", "\\0\\\\;" },
        }).ports[0].frame
        assert.equal("\0\\;", ffi.string(f.delimiter, f.delimiter_len))
        assert.equal(65536ULL, f.max)
    end)

    it("has the documented defaults of a cluster", function()
        local conf = open({})
        local cl = conf.cluster
        assert.is_false(cl.enable)
        assert.equal("sdlua", str(cl.name))
        assert.same({}, list(cl.key))
        assert.same({}, list(cl.seeds))
        assert.is_nil(str(cl.key_file))
        assert.is_nil(str(cl.bind))
        assert.is_nil(str(cl.advertise))
        assert.equal("127.0.0.1:7946", str(lib.conf_cluster_bind(conf)))
        assert.equal(lib.CONF_BY_LAN, tonumber(cl.discovery))
        assert.equal(lib.CONF_LAN, tonumber(cl.profile))
        assert.is_true(cl.encrypt)
        assert.equal(lib.conf_cores(), conf.dispatch.relays)
    end)

    it("takes one key of a cluster, or several", function()
        local conf = open({ { "cluster.key", "k" }, { "cluster.profile", "fast" } })
        assert.same({ "k" }, list(conf.cluster.key))
        assert.equal(lib.CONF_FAST, tonumber(conf.cluster.profile))
        assert.equal("0.0.0.0:7946", str(lib.conf_cluster_bind(conf)))
        lib.conf_close(out)
        conf = open({ { "cluster.key.1", "k" }, { "cluster.key.2", "l" },
            { "cluster.bind", "[::1]:0" }, { "cluster.seeds.1", "a:1" },
            { "cluster.discovery", "dns" }, { "dispatch.relays", "3" } })
        assert.same({ "k", "l" }, list(conf.cluster.key))
        assert.same({ "a:1" }, list(conf.cluster.seeds))
        assert.equal("[::1]:0", str(lib.conf_cluster_bind(conf)))
        assert.equal(lib.CONF_BY_DNS, tonumber(conf.cluster.discovery))
        assert.equal(3, conf.dispatch.relays)
    end)

    it("accepts keys that nobody reads yet", function()
        open({ { "timers.1.method", "m" }, { "timers.1.tz", "UTC" },
            { "mysql.default.pool", "4" } })
    end)

    it("names the first bad entry", function()
        refused({ { "server.wrkers", "1" } }, "^server.wrkers: no such key")
        refused({ { "server.workers", "none" } },
            '^server.workers: expected a whole number or auto, got "none"')
        refused({ { "server.workers", "999" } }, "999 is not in 1 .. 254")
        refused({ { "server.workers", "1.5" } }, "a whole number")
        refused({ { "server.call_timeout", "5x" } }, "expected a duration")
        refused({ { "server.call_timeout", "-1" } }, "is not in")
        refused({ { "server.call_timeout", "nan" } }, "expected a duration")
        refused({ { "server.vm_memory", "1e999" } }, "expected a size")
        refused({ { "server.dev", "yes" } }, "expected true or false")
        refused({ { "log.level", "loud" } }, "one of debug|info")
        refused({ { "timers.2.method", "x" } }, "timers.2.method")
        refused({ { "timers.1.from", "25:00" } }, "time of the day")
        refused({ { "ports.a.codec", "json" } }, "ports.a.listen: missing")
        refused({ { "ports.a.middlewares.2", "x" } }, "middlewares.2")
        refused({ { "server.workers.1", "x" } }, "no such key")
    end)

    it("refuses entries that are cut off", function()
        local text = entries({ { "server.name", "a" }, { "server.user", "b" } })
        for n = 1, #text - 1 do
            local err = open_text(text:sub(1, n))
            if n ~= 14 then
                assert.equal(lib.SD_EINVALID, err)
            end
            lib.conf_close(out)
        end
    end)
end)

describe("the schema", function()
    it("has defaults that its own rules accept, and words for all", function()
        local value = ffi.new("struct conf_value")
        local text = ffi.new("char[256]")
        local seen, i = {}, 0
        while true do
            local key = lib.conf_key_at(i)
            if key == nil then
                break
            end
            local path = ffi.string(key.path)
            assert.is_nil(seen[path], path)
            seen[path] = true
            assert.is_true(#ffi.string(key.doc) > 10, path)
            if key.fallback ~= nil then
                local ok = lib.conf_value_read(value, key, key.fallback, text, 256)
                assert.equal(0, ok, path)
            end
            local concrete = path:gsub("%*", "1")
            local found = lib.conf_key_find({ concrete, #concrete })
            assert.equal(key, found, path)
            i = i + 1
        end
        assert.is_true(i > 90)
    end)

    it("is what docs/config.md says (make docs)", function()
        local b = ffi.gc(ffi.new("struct buf"), lib.buf_fini)
        lib.conf_markdown(b)
        local f = assert(io.open("docs/config.md"))
        local text = f:read("*a")
        f:close()
        assert.is_true(text == ffi.string(b.p + b.head, b.len), "stale")
    end)
end)
