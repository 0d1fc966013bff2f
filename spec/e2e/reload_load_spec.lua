-- Reloads under load, with processes that die in the middle, and many of them:
-- nothing is lost, doubled, reordered or closed, and nothing grows.
-- SPEC_RELOADS and SPEC_RELOAD_CONNS make it long (spec/soak.sh).
local cjson = require("cjson")
local client = require("spec.support.client")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

local RELOADS = tonumber(os.getenv("SPEC_RELOADS")) or 10
local CONNS = tonumber(os.getenv("SPEC_RELOAD_CONNS")) or 90
local RATE = tonumber(os.getenv("SPEC_RELOAD_RATE")) or 1500
local PAUSE = tonumber(os.getenv("SPEC_RELOAD_PAUSE")) or 0.3

-- Bytes that a process may have more after many reloads. ASan keeps what was
-- freed for a while: there only the other builds judge.
local SLACK = os.getenv("SD_PRELOAD") and 2 ^ 40 or 4 * 2 ^ 20

local FILES = {
    ["config/server.lua"] = "return { workers = 2, tasks = 1, name = 'n' }",
    ["config/redis.lua"] = 'return { default = { url = "embedded" } }',
    ["config/ports.lua"] = [[
return {
    game = { listen = "127.0.0.1:0", protocol = "tcp" },
    web = { listen = "127.0.0.1:0", protocol = "http" },
}]],
    ["scripts/controllers/c.lua"] = [[
local sd = require("sd")
local C = {}
function C:bind(p) assert(self:bind_uid(p.uid)) return { n = 0, gen = 0 } end
function C:count(p)
    if tonumber(p.n) % 50 == 0 then sd.sleep(0.05) end
    return { n = p.n, gen = sd.generation }
end
function C:poke(p)
    local ok, err = sd.send_to_uid(p.to, { push = p.push, from = self.uid })
    while err == "busy" do
        sd.sleep(0.01)
        ok, err = sd.send_to_uid(p.to, { push = p.push, from = self.uid })
    end
    if not ok then return nil, err end
    return { n = p.n, gen = sd.generation }
end
return C]],
}

--- Start the load; what it gives ends it and returns its books.
local function load_of(s, conns, rate)
    local ports = client.ports(s)
    local fifo = s.dir .. "/fifo"
    server.shell("mkfifo " .. fifo)
    -- Opened for both, so that neither side waits for the other here.
    local run = ("python3 spec/support/ledger.py %d %d %d %d < %s > %s 2> %s")
        :format(ports.game, ports.web, conns, rate, fifo, s.dir .. "/books",
            s.dir .. "/books.err")
    server.shell("{ env -u LD_PRELOAD " .. run .. "; } > /dev/null 2>&1 &")
    local hold = assert(io.open(fifo, "w"))
    until_(function()
        return (s:read("books") or ""):find("ready\n")
    end, "the load runs")
    return function()
        hold:write("end\n")
        hold:close()
        until_(function()
            return s:read("books"):find("}\n")
        end, "all answers")
        return cjson.decode(s:read("books"):match("(%b{})")),
            s:read("books.err")
    end
end

local function fds_of(pid)
    return tonumber((server.shell("ls /proc/" .. pid .. "/fd | wc -l")))
end

local function reload(s)
    local out, code = s:run("reload")
    assert.equal(0, code, out)
end

describe("reloads under load", function()
    local s

    after_each(function()
        s:stop()
    end)

    it("lose nothing and close nobody", function()
        s = server.start(FILES)
        local finish = load_of(s, CONNS, RATE)
        for _ = 1, RELOADS do
            socket.sleep(PAUSE)
            reload(s)
        end
        local books, errors = finish()
        assert.is_true(books.calls > 100 and books.pushes > 10)
        books.calls, books.pushes = nil, nil
        print(("\n%d reloads, %d conns: the slowest answer took %d ms")
            :format(RELOADS, CONNS, books.worst_ms))
        books.worst_ms = nil
        assert.same({ lost = 0, doubled = 0, reordered = 0, errors = 0,
            closed = 0, stale = 0 }, books, errors)
        assert.equal(RELOADS + 1, s:status().generation)
    end)

    it("are whole or not at all when a process dies in the middle", function()
        s = server.start(FILES)
        local ports = client.ports(s)
        local gen = 1
        for i = 1, 12 do
            local victim = s:process(i % 3 == 0 and "task" or "worker",
                i % 3 == 0 and 0 or i % 2).pid
            -- Somewhere between its begin and its end, which takes 30 ms.
            server.shell(("{ sleep 0.0%02d; kill -KILL %d; } > /dev/null 2>&1 &")
                :format(math.random(0, 60), victim))
            local out, code = s:run("reload")
            if code == 0 then
                gen = gen + 1
                assert.matches("^generation " .. gen .. ": ", out)
            else
                assert.equal(1, code)
                assert.matches("sdlua: %a+ %d: ", out)
            end
            until_(function()
                return not server.is_alive(victim)
            end, "the victim is dead")
            until_(function()
                local ok = true
                for _, p in ipairs(s:status().processes) do
                    ok = ok and p.state == "ready"
                        and (p.role == "redis" or p.generation == gen)
                end
                return ok
            end, "everybody runs generation " .. gen)
            for _ = 1, 4 do
                local c = client.open(ports.game)
                assert.equal(gen, c:call("c/count", { n = 1 }).result.gen)
            end
        end
    end)

    it("let nothing grow", function()
        s = server.start(FILES)
        local c = client.open(client.ports(s).game)
        local function figures()
            local all = {}
            until_(function()
                all = {}
                local quiet = true
                for _, p in ipairs(s:status().processes) do
                    if p.role ~= "redis" then
                        local key = p.role .. p.index
                        all[key] = { fds = fds_of(p.pid), memory = p.memory }
                        quiet = quiet and p.vm_memory < 3e6
                    end
                end
                return quiet
            end, "old vms have ended")
            return all
        end
        for _ = 1, 10 do
            reload(s)
        end
        local before = figures()
        for i = 1, RELOADS * 5 do
            reload(s)
            assert.equal(i + 11, c:call("c/count", { n = 1 }).result.gen)
        end
        until_(function()
            local after = figures()
            local flat = true
            for key, was in pairs(before) do
                flat = flat and after[key].fds <= was.fds
                    and after[key].memory <= was.memory + SLACK
            end
            return flat
        end, "descriptors and memory as before")
    end)
end)
