local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("net/uids.h")

jit.off(true, true) -- C calls back into Lua here

local texts = setmetatable({}, { __mode = "k" }) -- kept as long as slices

local function slice(text)
    local s = ffi.new("struct slice", text, #text)
    texts[s] = text
    return s
end

local function text_of(s)
    return ffi.string(s.p, s.len)
end

local function new_uids()
    local u = ffi.new("struct uids *[1]", lib.uids_new())
    return ffi.gc(u, lib.uids_free)
end

local function new_list()
    local l = ffi.new("struct list[1]")
    l[0].next, l[0].prev = l, l
    return l
end

--- Indexes of a uid's bindings, oldest first.
local function bound(u, all, uid)
    local list = {}
    local b = lib.uids_first(u[0], slice(uid))
    while b ~= nil do
        list[#list + 1] = tonumber(b - all)
        b = lib.uids_next(b)
    end
    return list
end

--- Bind; the indexes of those who lost the uid, or nil and the code.
local function bind(u, all, i, uid, policy)
    local kicked = new_list()
    local rc = lib.uids_bind(u[0], all + i, slice(uid), policy, kicked)
    if rc ~= 0 then
        return nil, rc
    end
    local list = {}
    while kicked[0].next ~= kicked + 0 do
        local b = ffi.cast("struct uids_binding *", kicked[0].next)
        kicked[0].next = b.link.next
        list[#list + 1] = tonumber(b - all)
    end
    return list
end

--- Does every uid have the bindings the model gives it?
local function compare(u, all, order, message)
    local count = 0
    for uid, list in pairs(order) do
        count = count + (#list > 0 and 1 or 0)
        assert.same(list, bound(u, all, uid), message)
    end
    assert.equal(count, lib.uids_count(u[0]), message)
end

local KICK, REFUSE, ALLOW = lib.UIDS_KICK, lib.UIDS_REFUSE, lib.UIDS_ALLOW

describe("net/uids", function()
    it("follows the policy", function()
        local u = new_uids()
        local all = ffi.new("struct uids_binding[5]")
        assert.same({}, bind(u, all, 0, "ann", REFUSE))
        assert.same({}, bind(u, all, 0, "ann", REFUSE))
        local ok, rc = bind(u, all, 1, "ann", REFUSE)
        assert.is_nil(ok)
        assert.equal(-5012, rc)
        assert.is_false(lib.uids_is_bound(all + 1))
        assert.same({}, bind(u, all, 1, "ann", ALLOW))
        assert.same({}, bind(u, all, 2, "ann", ALLOW))
        assert.same({ 0, 1, 2 }, bound(u, all, "ann"))
        assert.same({ 0, 1, 2 }, bind(u, all, 3, "ann", KICK))
        assert.same({ 3 }, bound(u, all, "ann"))
        assert.is_true(lib.uids_is_taken(u[0], all + 4, slice("ann")))
        assert.is_false(lib.uids_is_taken(u[0], all + 3, slice("ann")))
        assert.equal("ann", text_of(lib.uids_name(all + 3)))
    end)

    it("does not let a late close take a newer binding away", function()
        local u = new_uids()
        local all = ffi.new("struct uids_binding[2]")
        bind(u, all, 0, "bob", KICK)
        bind(u, all, 1, "bob", KICK)
        assert.is_false(lib.uids_unbind(u[0], all + 0))
        assert.same({ 1 }, bound(u, all, "bob"))
        assert.is_true(lib.uids_unbind(u[0], all + 1))
        assert.is_false(lib.uids_unbind(u[0], all + 1))
        assert.equal(0, lib.uids_count(u[0]))
    end)

    it("agrees with a naive model", function()
        local seed = os.time() % 100000
        math.randomseed(seed)
        local u = new_uids()
        local n = 60
        local all = ffi.new("struct uids_binding[?]", n)
        local uid_of, order = {}, {}
        local function remove(i)
            local list = order[uid_of[i]]
            for k, other in ipairs(list) do
                if other == i then
                    table.remove(list, k)
                end
            end
            uid_of[i] = nil
            return #list == 0
        end
        for step = 1, 20000 do
            local message = "seed " .. seed .. " step " .. step
            local i = math.random(0, n - 1)
            if uid_of[i] then
                assert.equal(remove(i), lib.uids_unbind(u[0], all + i), message)
            else
                local uid = ("u"):rep(math.random(20))
                local policy = math.random(0, 2)
                local list = order[uid] or {}
                order[uid] = list
                local kicked, rc = bind(u, all, i, uid, policy)
                if policy == REFUSE and #list > 0 then
                    assert.equal(-5012, rc, message)
                else
                    assert.same(policy == KICK and list or {}, kicked, message)
                    for _, other in ipairs(kicked) do
                        remove(other)
                    end
                    table.insert(list, i)
                    uid_of[i] = uid
                end
            end
            if step % 50 == 0 then
                compare(u, all, order, message)
            end
        end
    end)
end)
