-- Links between workers and relays when something is amiss: no descriptors, a
-- key that is gone, another version, a wall between, a process that stands
-- still; and how soon a dispatch that has died is out of use.
local client = require("spec.support.client")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local ledger = require("spec.support.cluster_ledger")
local server = require("spec.support.server")
local socket = require("socket")

local until_ = server.until_

local PORT = 7960
-- Than promised this machine may be; sanitizers take their part, too.
local SLOWER = os.getenv("SD_PRELOAD") and 15 or 5
local UIDS = 24 -- so that every relay is somebody's
local FAR = 3 -- seconds of waiting that must not cost a relay anything

local files = {}
for path, text in pairs(ledger.files) do
    files[path] = text
end
files["config/server.lua"] = [[
return { workers = 2, tasks = 1, name = os.getenv("SD_NODE_NAME"), call_timeout = 30 }]]
files["scripts/controllers/flood.lua"] = [[
local sd = require("sd")
local Flood = {}
--- Sends until there is no room, at most so many: how many, and what ended it.
function Flood:to(p)
    local text = ("x"):rep(p.size)
    for i = 1, p.most do
        local ok, err = sd.send_to_uid(p.uid, { text = text })
        if not ok then
            return { sent = i - 1, err = err }
        end
    end
    return { sent = p.most }
end
return Flood]]

describe("links", function()
    local bed, c, a, b, d, e

    lazy_setup(function()
        bed = hosts.start(4)
        c = cluster.new(bed)
        c:redis(bed.switch)
        a, b = c:new_node("a", bed[1], files), c:new_node("b", bed[2], files)
        a.env, b.env = "SD_NODE_NAME=a", "SD_NODE_NAME=b"
        d = c:new_dispatch("d", bed[3], {
            ["config/dispatch.lua"] = "return { relays = 1, port = " .. PORT .. " }",
            ["config/server.lua"] = "return { hang_timeout = '1s' }",
        })
        e = c:new_dispatch("e", bed[4])
        c:launch()
        c:wait_members({ "a", "b", "d", "e" })
        c:wait_linked()
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    after_each(function()
        bed:heal()
        for i = 1, #bed do
            bed[i]:run("nft flush ruleset")
        end
    end)

    local function relay(s)
        return s:process("relay")
    end

    --- Resident bytes of all relays.
    local function memory()
        local sum = 0
        for _, s in ipairs({ d, e }) do
            for _, p in ipairs(s:status().processes) do
                if p.role == "relay" then
                    local f = assert(io.open("/proc/" .. p.pid .. "/statm"))
                    sum = sum + select(2, f:read("*n", "*n")) * 4096
                    f:close()
                end
            end
        end
        return sum
    end

    local function descriptors(pid)
        return tonumber((server.shell("ls /proc/" .. pid .. "/fd | wc -l")))
    end

    --- A conn that says nothing, or that.
    local function stranger(text)
        return bed.switch:inside(function()
            local t = assert(socket.connect(d.host.address, PORT))
            t:settimeout(20)
            if text then
                t:send(text)
            end
            return t
        end)
    end

    describe("of a relay without descriptors", function()
        it("do not cost it its time, and come when there are some", function()
            local pid = relay(d).pid
            local limit = descriptors(pid) + 4
            server.shell(("prlimit --pid %d --nofile=%d:%d"):format(pid, limit, limit))
            -- Members that are in stay; new ones get the place of a stranger.
            local quiet = {}
            for i = 1, 40 do
                quiet[i] = stranger()
            end
            until_(function()
                return d:output():find("accepting links pauses", 1, true)
            end, "it says so")
            local before, begun = server.cpu(pid), socket.gettime()
            local worker = a:process("worker", 1)
            a:kill("KILL", worker.pid)
            socket.sleep(FAR)
            local used, took = server.cpu(pid) - before, socket.gettime() - begun
            print(("without descriptors a relay used %.2f s of CPU in %.1f s"):format(used, took))
            assert.is_true(used < took / 10)
            for _, t in ipairs(quiet) do
                t:close()
            end
            cluster.wait_links(d, 4)
            assert.equal(pid, relay(d).pid)
            local _, n = d:output():gsub("accepting links pauses", "")
            assert.is_true(n <= socket.gettime() - begun + 3, n .. " complaints")
        end)
    end)

    it("are all that a dispatch has to show", function()
        local status = d:status()
        assert.same({ "dispatch", "node" }, { status.kind, a:status().kind })
        assert.is_nil(relay(d).sends)
        assert.is_nil(d:output():find("max_conns", 1, true), d:output())
    end)

    it("say which version a stranger speaks", function()
        until_(function() -- one line a second
            local t = stranger("sdlk\2" .. ("x"):rep(111))
            assert.is_nil((t:receive(1)))
            t:close()
            return d:output():find(
                "10.77.0.254:%d+ was refused: speaks another version of the protocol: 2, "
                    .. "we speak 1")
        end, "it is said")
    end)

    it("that cannot be made are complained of, now and then", function()
        local out, status = bed[3]:run("nft -f - <<'END'\ntable ip wall {\nchain in {\n"
            .. "type filter hook input priority 0\n"
            .. "ip saddr 10.77.0.1 tcp dport " .. PORT .. " reject with tcp reset\n}\n}\nEND")
        assert.equal(0, status, out)
        bed:reset(a.host, d.host)
        until_(function()
            return a:output():find("warn [^\n]*no link to relay 0 of d at 10.77.0.3:" .. PORT)
        end, "it complains:\n" .. a:output())
        local _, n = a:output():gsub("warn [^\n]*no link to relay 0 of d", "")
        assert.is_true(n <= 2, n .. " complaints of two workers")
        bed[3]:run("nft flush ruleset")
        cluster.wait_links(d, 4)
    end)

    it("are made anew when a relay that hangs was killed", function()
        local before = relay(d).pid
        local out, status = server.shell(
            "env -u LD_PRELOAD /usr/bin/python3 spec/support/hang.py " .. before)
        assert.equal(0, status, out)
        until_(function()
            return relay(d).pid ~= before and cluster.are_linked(d, 4)
        end, "there is another one")
        assert.truthy(d:output():find("relay 0 %(pid " .. before .. "%) has not answered for "
            .. "[^\n]* of CPU: killed"), d:output())
    end)

    describe("between uids", function()
        local sender, people

        local function bind(s, uid)
            local conn = bed.switch:inside(client.open, s:at("game"))
            conn.sock:settimeout(60)
            assert.is_true(conn:call("ledger/bind", { uid = uid }).result)
            return conn
        end

        before_each(function()
            sender, people = bind(a, "sender"), {}
            for i = 1, UIDS do
                people[i] = bind(b, "far" .. i)
            end
        end)

        after_each(function()
            sender:close()
            for _, one in ipairs(people) do
                one:close()
            end
        end)

        --- A message to everybody, all at once, and wait until each has it.
        --- Returns how long that took.
        local function round(mark)
            local begun = socket.gettime()
            for i = 1, UIDS do
                sender:cast("ledger/post", { to = "far" .. i, data = { mark = mark } })
            end
            for _, one in ipairs(people) do
                local packet, why = one:receive()
                assert(packet, why)
                assert.equal(mark, packet.mark)
            end
            return socket.gettime() - begun
        end

        --- `calm` is what a round takes here when nothing is wrong.
        local function figure(what, begun, promised, calm)
            local took = socket.gettime() - begun
            print(("%s is out of use after %.3f s (%g promised; in calm %.3f)"):format(
                what, took, promised, calm))
            assert.is_true(took < promised * SLOWER + 5 * calm, took .. " s")
        end

        it("go another way at once when links break", function()
            local calm = round("calm")
            local pids = table.concat(d:pids(), " ")
            local begun = socket.gettime()
            server.shell("kill -KILL " .. pids)
            round("killed")
            figure("a dispatch that was killed", begun, 0.1, calm)
            d:launch()
            d:wait_ready()
            c:wait_linked()
        end)

        it("go another way when a dispatch stops", function()
            local calm = round("calm")
            local begun = socket.gettime()
            assert.equal(0, (select(2, d:run("stop"))))
            print(("a dispatch stops in %.3f s"):format(socket.gettime() - begun))
            begun = socket.gettime()
            round("stopped")
            figure("a dispatch that has stopped", begun, 0.1, calm)
            d:launch()
            d:wait_ready()
            c:wait_linked()
        end)

        it("go another way when a dispatch falls silent", function()
            local calm = round("calm")
            local pids, begun = d:pids(), socket.gettime()
            for _, pid in ipairs(pids) do
                bed:freeze(pid)
            end
            round("frozen")
            figure("a dispatch that fell silent", begun, 3, calm)
            bed:heal()
            c:wait_linked()
        end)

        it("go another way when packets are dropped", function()
            local calm = round("calm")
            local begun = socket.gettime()
            bed:isolate(d.host)
            round("cut off")
            figure("a dispatch that was cut off", begun, 7, calm)
            bed:heal()
            c:wait_linked()
        end)

        it("reach a node that is new", function()
            local f = c:new_node("f", bed[4], files)
            f.env = "SD_NODE_NAME=f"
            f:launch()
            f:wait_ready()
            local begun = socket.gettime()
            local one = bind(f, "newcomer")
            local reply = sender:call("ledger/deliver", { to = "newcomer", data = { n = 1 } })
            local took = socket.gettime() - begun
            assert.is_true(reply.result)
            assert.equal(1, one:receive().n)
            one:close()
            print(("a new node is reachable %.3f s after it is ready (1 promised)"):format(took))
            assert.is_true(took < SLOWER, took .. " s")
            assert.equal(0, f:stop())
            c.members[#c.members] = nil
            c:wait_linked()
        end)

        it("hold up who sends to one that stands still, and grow nothing", function()
            round("calm")
            local before, most, sent, busy = memory(), 0, 0, 0
            for i = 0, 1 do
                bed:freeze(b:process("worker", i).pid)
            end
            local stop = socket.gettime() + FAR
            while socket.gettime() < stop do
                local r = sender:call("flood/to", {
                    uid = "far" .. math.random(UIDS),
                    size = 16384,
                    most = 100000,
                }).result
                sent = sent + r.sent
                busy = busy + (r.err == "busy" and 1 or 0)
                most = math.max(most, memory() - before)
            end
            print(("%d messages of 16 KiB to frozen workers, %d times busy; relays grew by %.1f MB")
                :format(sent, busy, most / 2 ^ 20))
            assert.is_true(busy > 0 and sent > 10)
            assert.is_true(most < 64 * 2 ^ 20, most .. " bytes more")
            bed:heal()
            c:wait_linked()
            -- It goes on where it stood still.
            until_(function()
                return sender:call("ledger/post", { to = "far2", data = { again = 1 } }).result
            end, "there is room again")
        end)
    end)

    it("end when their key is taken away", function()
        local old, new = c.options.key, cluster.key()
        local function keys(s, list)
            s:write("config/cluster.lua", c:conf({ key = list }))
            local out, status = s:run("reload")
            assert.equal(0, status, out)
        end
        keys(d, { old, new })
        cluster.wait_links(d, 4)
        -- Who has the old one alone belongs here no more.
        keys(d, { new })
        cluster.wait_links(d, 0)
        assert.truthy(d:output():find("uses a key that is not among ours", 1, true)
            or until_(function()
                return d:output():find("uses a key that is not among ours", 1, true)
            end))
        for _, s in ipairs({ a, b, e }) do
            keys(s, { new, old })
        end
        cluster.wait_links(d, 4)
        for _, s in ipairs({ a, b, e }) do
            keys(s, { new })
        end
        c:wait_linked()
        c.options.key = new
    end)
end)
