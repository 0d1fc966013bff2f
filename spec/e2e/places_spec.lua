-- Limits of conns hold for all workers of a node together.
local server = require("spec.support.server")
local socket = require("socket")

local WORKERS = 4

local files = {
    ["config/server.lua"] = [[
return { workers = 4, tasks = 1, name = "n", max_conns = 30 }]],
    ["config/ports.lua"] = [[
return {
    all = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line" },
    few = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        max_conns = 10 },
    alone = { listen = "127.0.0.1:0", protocol = "tcp", frame = "line",
        max_conns_per_address = 6 },
}]],
}

local ASK = '{"controller_name":"probe","method_name":"who","id":1}\r\n'

describe("places of a node", function()
    local s, ports, open

    before_each(function()
        s = server.start(files)
        ports, open = {}, {}
        for _, p in ipairs(s:status().ports) do
            ports[p.name] = p.port
        end
    end)

    after_each(function()
        for _, tcp in ipairs(open) do
            tcp:close()
        end
        s:stop()
    end)

    --- A conn of that address; the slot that serves it, nil: it was refused.
    local function connect(port, address)
        local tcp = assert(socket.tcp())
        tcp:settimeout(20)
        assert(tcp:bind(address or "127.0.0.1", 0))
        assert(tcp:connect("127.0.0.1", ports[port]))
        open[#open + 1] = tcp
        tcp:send(ASK)
        local line = tcp:receive("*l")
        return line and tonumber(line:match('"slot":(%d+)')), tcp
    end

    --- Connect until `tries` were made; how many are served, by how many
    --- workers.
    local function fill(port, tries, address)
        local served, workers, slots = 0, 0, {}
        for _ = 1, tries do
            local slot = connect(port, address)
            if slot then
                served = served + 1
                workers = workers + (slots[slot] and 0 or 1)
                slots[slot] = true
            end
        end
        return served, workers
    end

    --- The last conn of `port` that is served leaves; another one finds its
    --- place.
    local function replace_one(port, address)
        for i = #open, 1, -1 do
            open[i]:send(ASK)
            if open[i]:receive("*l") then
                open[i]:close()
                table.remove(open, i)
                break
            end
        end
        server.until_(function()
            return connect(port, address)
        end, "a place")
        assert.is_nil((connect(port, address)))
    end

    it("are max_conns of a port, whoever serves them", function()
        local served, workers = fill("few", 40)
        assert.equal(10, served)
        assert.is_true(workers > 1)
        replace_one("few")
        assert.truthy((connect("all")))
    end)

    it("are server.max_conns of all ports", function()
        fill("few", 10)
        assert.equal(20, (fill("all", 40)))
        replace_one("all")
    end)

    it("are max_conns_per_address of each address", function()
        assert.equal(6, (fill("alone", 20, "127.0.0.1")))
        assert.equal(6, (fill("alone", 20, "127.0.0.2")))
        replace_one("alone", "127.0.0.2")
        assert.is_nil((connect("alone", "127.0.0.1")))
    end)

    it("are free again when a worker dies that held some", function()
        assert.equal(10, (fill("few", 40)))
        for index = 0, WORKERS - 1 do
            local old = s:process("worker", index).pid
            s:kill("KILL", old)
            server.until_(function()
                local p = s:process("worker", index)
                return p.pid ~= old and p.state == "ready"
            end, "worker " .. index .. " is replaced")
        end
        assert.equal(10, (fill("few", 40)))
    end)
end)
