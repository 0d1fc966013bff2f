-- The bench's figures are worth what its judge is worth: it must accept a
-- right server on every workload and notice one spoiled byte in thousands.
local server = require("spec.support.server")

local dir = (os.getenv("SD_BUILD") or "build/release") .. "/bench/"

--- Run one workload; its exit status and what it printed, complaints too.
local function load(flags)
    local command = "%sload %s --seconds 5 2>&1; echo status=$?"
    local pipe = io.popen(command:format(dir, flags))
    local text = pipe:read("*a")
    pipe:close()
    return tonumber(text:match("status=(%d+)")), text
end

--- Start a floor on free ports; it ends by itself after 30 s at the latest.
local function start(program, flags)
    local command = "exec %s%s --life 30 %s"
    local pipe = io.popen(command:format(dir, program, flags or ""))
    local line = pipe:read("*l")
    return {
        pid = line:match('"pid":(%d+)'),
        tcp = line:match('"tcp":(%d+)'),
        http = line:match('"http":(%d+)'),
        stop = function(self)
            os.execute("kill " .. self.pid)
            pipe:close()
        end,
    }
end

local workloads = {
    { "W1", "http", "--workload W1" },
    { "W2 at depth 1", "tcp", "--workload W2" },
    { "W2 at depth 16", "tcp", "--workload W2 --depth 16" },
    { "W3 at depth 1", "http", "--workload W3" },
    { "W3 at depth 16", "http", "--workload W3 --depth 16" },
    { "W4", "tcp", "--workload W4 --conns 3" },
    { "W4 with 16 at one go", "tcp", "--workload W4 --conns 3 --depth 16" },
    { "W8", "http", "--workload W8" },
}

for _, program in ipairs({ "floor_epoll", "floor_uv" }) do
    describe("bench/load against " .. program, function()
        local floor

        before_each(function()
            floor = start(program)
        end)

        after_each(function()
            floor:stop()
        end)

        for _, w in ipairs(workloads) do
            it("accepts the answers of " .. w[1], function()
                local flags = "%s --requests 2000 --port %s --pid %s"
                local status, text =
                    load(flags:format(w[3], floor[w[2]], floor.pid))

                assert.equal(0, status, text)
                assert.truthy(text:find('"errors":0', 1, true), text)
                assert.truthy(text:find('"cpu_us":%d'), text)
            end)
        end

        it("measures the memory of idle conns", function()
            local flags = "--workload W7 --conns 200 --port %s --pid %s"
            local status, text = load(flags:format(floor.tcp, floor.pid))

            assert.equal(0, status, text)
            assert.truthy(text:find('"bytes_per_conn":'), text)
        end)
    end)
end

describe("bench/load", function()
    for _, w in ipairs(workloads) do
        it("notices one spoiled answer in 3000 of " .. w[1], function()
            local floor = start("floor_epoll", "--corrupt-every 3000")
            local flags = "%s --requests 10000 --port %s"
            local status, text = load(flags:format(w[3], floor[w[2]]))
            floor:stop()

            assert.equal(1, status, text)
            assert.truthy(text:find("wrong reply"), text)
            assert.truthy(text:find('"errors":1', 1, true), text)
        end)
    end

    it("fails when nobody listens", function()
        local floor = start("floor_epoll")
        local flags = "--workload W1 --port %s"
        floor:stop()
        local status, text = load(flags:format(floor.http))

        assert.equal(1, status, text)
    end)

    it("refuses flags it does not know", function()
        assert.equal(2, (load("--nonsense")))
        assert.equal(2, (load("--workload W1")))
        assert.equal(1, (load("--workload W9 --port 1")))
    end)
end)

describe("bench/load against sdlua", function()
    local app = assert(io.open("bench/app/scripts/controllers/bench.lua"))
    local files = {
        ["config/ports.lua"] = [[
return {
    bench = { listen = "127.0.0.1:0", protocol = "tcp", idle_timeout = "10m",
        slow_client = { low = "64k", high = "256k", policy = "drop_old" } },
}]],
        ["scripts/controllers/bench.lua"] = app:read("*a"),
    }
    local s

    app:close()

    local function start_workers(n)
        local text = "return { workers = %d, tasks = 1, name = 'n' }"
        files["config/server.lua"] = text:format(n)
        s = server.start(files)
    end

    after_each(function()
        s:stop()
    end)

    for _, depth in ipairs({ 1, 16 }) do
        it("accepts what comes from the other worker, depth " .. depth,
            function()
                start_workers(2)
                local flags = "--workload UID --conns 4 --depth %d"
                    .. " --requests 2000 --port %d --pid %d"
                local status, text =
                    load(flags:format(depth, s:port("bench"), s.pid))

                assert.equal(0, status, text)
                assert.truthy(text:find('"cpu_us":%d'), text)
            end)
    end

    it("measures memory while clients do not read", function()
        start_workers(1)
        local flags = "--workload SLOW --conns 8 --port %d --pid %d"
        local status, text = load(flags:format(s:port("bench"), s.pid))

        assert.equal(0, status, text)
        assert.truthy(text:find('"rss_peak":%d'), text)
    end)
end)
