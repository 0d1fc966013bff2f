-- W6's clients judge what they measure: each message once, in order.
local server = require("spec.support.server")

local dir = (os.getenv("SD_BUILD") or "build/release") .. "/bench/"

--- A TCP port nobody listens on at the moment.
local function free_port()
    return tonumber((server.shell([[python3 -c "
import socket
s = socket.socket()
s.bind(('127.0.0.1', 0))
print(s.getsockname()[1])"]])))
end

--- Run the clients; the exit status and what they printed.
local function load(port, pid, flags)
    local text, status = server.shell(
        ("timeout 60 %srelay_load --port %d --pid %s --seconds 0.2 %s 2>&1")
            :format(dir, port, pid, flags))
    return status, text
end

local function accepts(port, pid, flags)
    for _, how in ipairs({ "--size 64", "--size 1024 --window 16", "--rate 500" }) do
        local status, text = load(port, pid, flags .. " " .. how)
        assert.equal(0, status, text)
        assert.matches('"messages":[1-9]', text)
    end
end

describe("bench/relay_load", function()
    it("accepts the floor", function()
        local port = free_port()
        local pid = server.shell(("timeout 60 %srelay_floor --port %d > /dev/null 2>&1 & echo $!")
            :format(dir, port)):match("%d+")
        server.until_(function()
            return load(port, pid, "--peer floor --size 64") == 0
        end, "the floor listens")
        accepts(port, pid, "--peer floor")
        server.shell("kill " .. pid)
    end)

    for _, encrypt in ipairs({ true, false }) do
        it("accepts a relay, encrypted: " .. tostring(encrypt), function()
            local port = free_port()
            local s = server.new({
                ["config/dispatch.lua"] =
                    ("return { relays = 1, port = %d }"):format(port),
                ["config/ports.lua"] = false,
                ["scripts/controllers/probe.lua"] = false,
            })
            local key = s:run("key"):gsub("%s", "")
            s:write("config/cluster.lua", ([[return { enable = true, key = "%s",
                bind = "127.0.0.1:0", discovery = "seeds", encrypt = %s }]])
                :format(key, tostring(encrypt)))
            assert.equal(0, select(2, s:run("dispatch start -d")))
            local flags = ("--peer link --key %s --plain %s")
                :format(key, encrypt and "no" or "yes")
            accepts(port, s:read("run/dispatch.pid"):match("%d+"), flags)
            s:run("dispatch stop --now")
            s:stop()
        end)
    end
end)
