-- Relays and nodes, as the agent hands them to everybody.
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("ipc/roster.h")

describe("the roster", function()
    local r, keep, list, out

    before_each(function()
        keep = ffi.new("uint8_t[?]", tonumber(lib.roster_size()) + 64)
        local at = tonumber(ffi.cast("uintptr_t", keep) % 64ULL)
        r = ffi.cast("struct roster *", keep + (64 - at) % 64)
        list, out = ffi.new("struct roster_list"), ffi.new("struct roster_list")
    end)

    local function write(boots)
        list.nnodes = #boots
        for i, boot in ipairs(boots) do
            list.nodes[i - 1] = boot
        end
        lib.roster_write(r, list)
    end

    --- The first n of those in `out`; none is outside of it.
    local function names(n)
        local texts, name = {}, ffi.cast("const char *", out.names)
        for i = 1, n do
            assert.is_true(name >= out.names and name < out.names + 65536)
            texts[i] = ffi.string(name)
            name = lib.roster_next_name(out, name)
        end
        return texts
    end

    it("is empty at first", function()
        lib.roster_read(r, out)
        assert.equal(0, out.nrelays)
        assert.equal(0, out.nnodes)
        assert.is_false(lib.roster_has(out, 0))
    end)

    it("is read as it was written last", function()
        local before = lib.roster_serial(r)
        list.nrelays = 1
        list.relays[0].boot, list.relays[0].port = 7, 4001
        ffi.copy(list.relays[0].dispatch, "d1")
        write({ 1, 5, 9 })
        assert.is_true(lib.roster_serial(r) ~= before)
        lib.roster_read(r, out)
        assert.equal(1, out.nrelays)
        assert.equal(4001, out.relays[0].port)
        assert.equal("d1", ffi.string(out.relays[0].dispatch))
        assert.equal(3, out.nnodes)
    end)

    it("knows which nodes live", function()
        write({ 1, 5, 9 })
        lib.roster_read(r, out)
        for boot = 0, 10 do
            local lives = boot == 1 or boot == 5 or boot == 9
            assert.equal(lives, lib.roster_has(out, boot))
        end
    end)

    it("names them, as far as it can", function()
        ffi.copy(list.names, "ann\0\0ben\0")
        write({ 1, 5, 9 })
        lib.roster_read(r, out)
        assert.same({ "ann", "", "ben", "" }, names(4))
    end)

    it("keeps its bounds whatever was written", function()
        list.nrelays, list.nnodes = 100000, 100000
        ffi.fill(list.relays[3].dispatch, 64, 65)
        ffi.fill(list.names, 65536, 65)
        lib.roster_write(r, list)
        lib.roster_read(r, out)
        assert.equal(256, out.nrelays)
        assert.equal(4096, out.nnodes)
        assert.equal(63, #ffi.string(out.relays[3].dispatch))
        assert.same({ ("A"):rep(65535), "", "" }, names(3))
    end)
end)
