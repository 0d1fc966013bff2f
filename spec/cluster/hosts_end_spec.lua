-- The end of a test bed, whoever brings it about: nothing is left.
local ffi = require("ffi")
local hosts = require("spec.support.hosts")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local until_ = server.until_

describe("the end of a bed", function()
    -- What prints the pid of its bed, of two programs in it, and its folder.
    local SCRIPT = [[
package.path = "?.lua;" .. package.path
local bed = require("spec.support.hosts").start(2)
bed:delay({ delay = 1 })
bed[1]:spawn("sleep 1000")
bed[2]:spawn("setsid sleep 1000")
print(table.concat({ bed.pid, bed.dir, bed.mark, #bed:pids() }, " "))
io.stdout:flush()
while true do require("socket").sleep(1000) end
]]

    --- Run the script in a process of its own. Returns its pid, and the bed as
    --- far as one can see it from outside.
    local function start()
        local dir = server.shell("mktemp -d"):gsub("%s", "")
        local f = assert(io.open(dir .. "/script.lua", "w"))
        f:write(SCRIPT)
        f:close()
        local pid = server.shell(("{ exec luajit %s/script.lua; } > %s/out 2>&1 & echo $!"):format(
            dir, dir))
        local words = until_(function()
            return (redis.read(dir .. "/out") or ""):match("^(.*)\n")
        end, "the bed of the script stands")
        server.shell("rm -r " .. dir)
        local holder, folder, mark, count = words:match("^(%d+) (%S+) (%x+) (%d+)$")
        assert(holder, words)
        assert.equal(4, tonumber(count)) -- two programs, hosts.py, wire.py
        local bed = { pid = tonumber(holder), dir = folder, mark = mark }
        return tonumber(pid), bed
    end

    local function is_gone(bed)
        local _, status = server.shell("test -e " .. bed.dir)
        return status == 1 and #hosts.pids(bed.mark) == 0 and not server.is_alive(bed.pid)
    end

    it("takes processes and files along", function()
        local bed = hosts.start(2)
        local pid = bed[1]:spawn("sleep 1000")
        bed[2]:spawn("setsid sleep 1000")
        redis.start("", 6379, bed[2])
        server.new({}, bed[1])
        bed:delay({ delay = 1 })
        -- The three, hosts.py and wire.py.
        assert.equal(5, #bed:pids())
        bed:stop()
        until_(function()
            return is_gone(bed) and not server.is_alive(pid)
        end, "all have ended")
        bed:stop()
    end)

    it("comes with the end of the process that asked for it", function()
        local pid, bed = start()
        assert.is_false(is_gone(bed))
        server.shell("kill -KILL " .. pid)
        until_(function()
            return is_gone(bed)
        end, "the bed ends with its spec")
    end)

    it("is made up for by the next one", function()
        local pid, bed = start()
        server.shell("kill -KILL " .. bed.pid .. " " .. pid)
        until_(function()
            return not server.is_alive(bed.pid)
        end)
        -- Somebody else's next one may have begun to, as well.
        local next_one = hosts.start(1)
        until_(function()
            return is_gone(bed)
        end, "the bed is swept")
        next_one:stop()
        until_(function()
            return is_gone(next_one)
        end, "the next one ends, too")
    end)
end)

describe("a bed without the right to make namespaces", function()
    it("is refused, with what is missing", function()
        local out, status = server.shell(
            "env -u LD_PRELOAD setpriv --reuid 65534 --regid 65534 --clear-groups "
                .. "/usr/bin/python3 spec/support/hosts.py 1 " .. ffi.C.getpid()
        )
        assert.equal(1, status)
        assert.truthy(out:find("Operation not permitted", 1, true), out)
        assert.truthy(out:find("CAP_SYS_ADMIN", 1, true), out)
    end)
end)
