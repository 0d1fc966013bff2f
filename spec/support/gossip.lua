--- A few members of gossip, in virtual time, for specs that look closely.
--- spec/stress/gossip_sim.c does it for many.
local ffi = require("ffi")
local c = require("spec.support.c")
local lib = c.use("cluster/gossip.h")
c.use("cluster/gossip_msg.h")

local gossip = { lib = lib, ALIVE = 0, SUSPECT = 1, DEAD = 2, LEFT = 3 }

local STEP = 5 -- ms
local EVENTS = {
    [0] = "joined", "updated", "suspected", "returned", "died", "departed", "conflict",
}
local TYPES = { "ping", "ack", "nack", "proxy", "news", "ask", "hello", "state" }

local cluster = {}
cluster.__index = cluster
local member = {}
member.__index = member
local members = {} -- by the number that C hands back

local function text(s)
    return ffi.string(s.p, s.len)
end

--- 10.0.0.`i`:7946, or another port.
function gossip.address(i, port)
    local a = ffi.new("struct gossip_address")
    a.ip[10], a.ip[11], a.ip[12], a.ip[15] = 255, 255, 10, i
    a.port = port or 7946
    return a
end

function gossip.slice(s)
    return ffi.new("struct slice", s, #s)
end

--- What a packet says, or nil: it was refused.
function gossip.read(bytes)
    local p = ffi.new("struct gossip_packet[1]")
    if lib.gossip_msg_read(p, gossip.slice(bytes)) ~= 0 then
        return nil
    end
    local rest, u = ffi.new("struct slice[1]", p[0].updates), ffi.new("struct gossip_update[1]")
    local out = { type = TYPES[tonumber(p[0].type)], boot = tonumber(p[0].boot), len = #bytes }
    while lib.gossip_msg_next(rest, u) do
        out[#out + 1] = {
            state = ffi.string(lib.gossip_state_name(u[0].state)),
            boot = tonumber(u[0].boot),
            incarnation = tonumber(u[0].incarnation),
            is_full = u[0].is_full,
            name = u[0].is_full and text(u[0].name) or nil,
        }
    end
    return out
end

local function fill_update(u, update)
    u.boot, u.incarnation = update.boot, update.incarnation or 1
    u.edition, u.state = update.edition or 1, update.state or 0
    for i, accuser in ipairs(update.accusers or {}) do
        u.accusers[i - 1], u.naccusers = accuser, i
    end
    if update.name then
        u.is_full, u.kind = true, update.kind or 1
        u.name, u.meta = gossip.slice(update.name), gossip.slice(update.meta or "")
        u.address = update.address or gossip.address(update.boot % 256)
    end
end

--- A packet from `boot`, at 10.0.0.`boot`, with updates: {boot =, state =,
--- incarnation =, accusers =} or, with a name, {boot =, name =, meta =}.
function gossip.packet(type, boot, fields, updates)
    local p = ffi.new("struct gossip_packet[1]")
    local out, u = ffi.new("char[1354]"), ffi.new("struct gossip_update[1]")
    for i, name in ipairs(TYPES) do
        p[0].type = name == type and i or p[0].type
    end
    p[0].boot, p[0].from = boot, gossip.address(boot % 256)
    for key, value in pairs(fields or {}) do
        p[0][key] = value
    end
    local len = lib.gossip_msg_begin(out, p)
    for _, update in ipairs(updates or {}) do
        ffi.fill(u, ffi.sizeof(u))
        fill_update(u[0], update)
        local more = lib.gossip_msg_add(out, len, u)
        assert(more > len, "the packet is full")
        len = more
    end
    return ffi.string(out, len)
end

--- A packet with updates, from somebody.
function gossip.news(...)
    return gossip.packet("news", 9, nil, { ... })
end

--- What a member has sent, by type.
function gossip.sent(cluster_, m, type)
    local list = {}
    for _, packet in ipairs(cluster_.log) do
        local p = gossip.read(packet.bytes)
        if packet.from == m and p.type == type then
            p.to = packet.to
            list[#list + 1] = p
        end
    end
    return list
end

local function on_send(arg, to, bytes, len)
    local m = members[tonumber(ffi.cast("uintptr_t", arg))]
    local packet = { from = m, to = to.ip[15], bytes = ffi.string(bytes, len) }
    m.cluster.log[#m.cluster.log + 1] = packet
    if m.cluster.is_cut(m.index, packet.to) then
        return
    end
    packet.due = m.cluster.now + 1
    table.insert(m.cluster.wire, packet)
end

local function on_change(arg, about, what)
    local m = members[tonumber(ffi.cast("uintptr_t", arg))]
    local event = {
        at = m.cluster.now,
        what = EVENTS[tonumber(what)],
        boot = tonumber(about.boot),
        name = text(about.name),
        meta = text(about.meta),
        host = about.address.ip[15],
        port = about.address.port,
    }
    table.insert(m.events, event)
end

local hooks = ffi.new("struct gossip_hooks")
hooks.send, hooks.change = on_send, on_change
jit.off(on_send, true)
jit.off(on_change, true)

--- `log` has all packets that were sent; `is_cut(from, to)` may be replaced.
function gossip.cluster(profile)
    local conf = ffi.new("struct gossip_conf[1]")
    assert(lib.gossip_profile(conf, profile or "lan"))
    return setmetatable({
        now = 1000000,
        conf = conf,
        members = {},
        wire = {},
        log = {},
        is_cut = function()
            return false
        end,
    }, cluster)
end

--- A member at 10.0.0.`index`; options: name, boot, age, meta, seeds, port.
function cluster:start(index, options)
    options = options or {}
    local m = setmetatable({ cluster = self, index = index, events = {} }, member)
    members[#members + 1] = m
    hooks.arg = ffi.cast("void *", #members)
    local name, meta = options.name or ("m" .. index), options.meta or ""
    local me = ffi.new("struct gossip_self", {
        name = gossip.slice(name),
        meta = gossip.slice(meta),
        boot = options.boot or index,
        age = options.age or 0,
        address = gossip.address(index, options.port),
        kind = options.kind or 1,
    })
    m.g = ffi.new("struct gossip *[1]", lib.gossip_new(self.conf, me, hooks, index, self.now))
    ffi.gc(m.g, lib.gossip_free)
    m.due = self.now
    m:seeds(options.seeds or {})
    table.insert(self.members, m)
    return m
end

--- Tell the member where to begin: indexes of others.
function member:seeds(list)
    local seeds = ffi.new("struct gossip_address[?]", 8)
    for i, index in ipairs(list) do
        seeds[i - 1] = gossip.address(index)
    end
    lib.gossip_seeds(self.g[0], seeds, #list)
end

--- `n` members that know each other.
function cluster:grow(n)
    local list = {}
    for i = 1, n do
        list[i] = self:start(i, { seeds = { 1 } })
    end
    self:run(3000)
    for _, m in ipairs(list) do
        assert(m:living() == n - 1, "they did not find together")
        m.events = {}
    end
    self.log = {}
    return unpack(list)
end

local function deliver(self)
    local wire = self.wire
    self.wire = {}
    for _, packet in ipairs(wire) do
        if packet.due > self.now then
            table.insert(self.wire, packet)
        else
            for _, m in ipairs(self.members) do
                if m.index == packet.to and not m.is_stopped then
                    m:receive(packet.bytes)
                end
            end
        end
    end
end

function cluster:run(ms)
    for _ = 1, ms / STEP do
        self.now = self.now + STEP
        deliver(self)
        for _, m in ipairs(self.members) do
            if not m.is_stopped and m.due <= self.now then
                m:tick()
            end
        end
    end
end

--- Until `f` holds; ms that passed, or nil after `limit` of them.
function cluster:until_(limit, f)
    local from = self.now
    while self.now - from <= limit do
        if f() then
            return self.now - from
        end
        self:run(STEP)
    end
    return nil
end

function member:tick()
    self.due = self.cluster.now + lib.gossip_tick(self.g[0], self.cluster.now)
end

function member:receive(bytes)
    lib.gossip_receive(self.g[0], self.cluster.now, bytes, #bytes)
    self:tick()
end

--- It crashes; what it knows can still be looked at.
function member:stop()
    self.is_stopped = true
end

function member:living()
    return lib.gossip_living(self.g[0])
end

function member:counters()
    return lib.gossip_counters(self.g[0])
end

--- "alive", "suspect" ..., or nil.
function member:state_of(boot)
    local m = lib.gossip_find(self.g[0], boot)
    return m ~= nil and ffi.string(lib.gossip_state_name(m.state)) or nil
end

--- What was told of `boot`, as words.
function member:told(boot)
    local list = {}
    for _, event in ipairs(self.events) do
        if event.boot == boot then
            list[#list + 1] = event.what
        end
    end
    return table.concat(list, " ")
end

return gossip
