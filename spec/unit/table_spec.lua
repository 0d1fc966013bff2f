local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("base/table.h")

jit.off(true, true) -- C calls back into Lua here

local function seeded()
    local seed = os.time() % 100000
    math.randomseed(seed)
    return "seed " .. seed
end

local function new_table()
    return ffi.gc(ffi.new("struct table"), lib.table_fini)
end

--- All nodes with a hash, by number, how often each.
local function with_hash(t, hash)
    local found = {}
    local node = lib.table_first(t, hash)
    while node ~= nil do
        found[node.number] = (found[node.number] or 0) + 1
        node = lib.table_next(node)
    end
    return found
end

--- Does the table hold exactly what the model does?
local function compare(t, hash_of, seed)
    local by_hash, n = {}, 0
    for number, hash in pairs(hash_of) do
        by_hash[hash] = by_hash[hash] or {}
        by_hash[hash][number] = 1
        n = n + 1
    end
    assert.equal(n, t.count, seed)
    for hash, want in pairs(by_hash) do
        assert.same(want, with_hash(t, hash), seed)
    end
end

describe("base/table", function()
    it("agrees with a Lua table while it grows and shrinks", function()
        local seed = seeded()
        local t = new_table()
        local nodes = ffi.new("struct table_node[?]", 4000)
        local hash_of = {}
        for step = 1, 40000 do
            local i = math.random(0, 3999)
            local fill = step < 15000 or (step > 25000 and step < 30000)
            if hash_of[i] and (not fill or math.random() < 0.2) then
                lib.table_del(t, nodes + i)
                hash_of[i] = nil
            elseif not hash_of[i] and fill then
                hash_of[i] = math.random(0, 1500) * 2654435
                nodes[i].number = i
                lib.table_add(t, nodes + i, hash_of[i])
            end
            if step % 500 == 0 then
                compare(t, hash_of, seed)
            end
        end
        assert.is_true(t.buckets <= math.max(8, t.count * 4 + 4))
    end)

    it("shows in a scan what stays, exactly once", function()
        local seed = seeded()
        local t = new_table()
        local nodes = ffi.new("struct table_node[?]", 3000)
        for i = 0, 999 do
            nodes[i].number = i
            lib.table_add(t, nodes + i, math.random(0, 2 ^ 32 - 1))
        end
        for _, change in ipairs({ "none", "grow", "shrink" }) do
            local seen = {}
            local show = ffi.cast("void (*)(void *, struct table_node *)", function(_, node)
                seen[node.number] = (seen[node.number] or 0) + 1
            end)
            local cursor = ffi.new("uint64_t[1]")
            local moved = 1000
            repeat
                lib.table_scan(t, cursor, show, nil)
                for _ = 1, 5 do
                    if change == "grow" and moved < 3000 then
                        nodes[moved].number = moved
                        lib.table_add(t, nodes + moved, math.random(0, 2 ^ 32 - 1))
                        moved = moved + 1
                    elseif change == "shrink" and moved < 3000 then
                        lib.table_del(t, nodes + moved)
                        moved = moved + 1
                    end
                end
            until cursor[0] == 0
            if change == "grow" then
                while moved < 3000 do
                    lib.table_add(t, nodes + moved, math.random(0, 2 ^ 32 - 1))
                    moved = moved + 1
                end
            end
            show:free()
            for i = 0, 999 do
                assert.equal(1, seen[i], seed .. " " .. change)
            end
        end
    end)
end)
