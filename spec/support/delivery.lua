--- An outbox, a hub or an inbox with what they emit written down.
local ffi = require("ffi")
local c = require("spec.support.c")

jit.off(true, true) -- C calls back into Lua here

local lib = c.use("cluster/frames.h")
c.use("cluster/outbox.h")
c.use("cluster/hub.h")
c.use("cluster/inbox.h")
c.use("base/err.h")

local delivery = { lib = lib }

local kept = {} -- callbacks and texts live as long as the specs

local function keep(x)
    kept[#kept + 1] = x
    return x
end

function delivery.slice(text)
    keep(text)
    return ffi.new("struct slice", text, #text)
end

function delivery.place(boot, epoch, slot)
    return ffi.new("struct place", { boot = boot, epoch = epoch or 1, slot = slot or 0 })
end

local function text_of(v, n)
    local parts = {}
    for i = 0, n - 1 do
        parts[#parts + 1] = ffi.string(v[i].p, v[i].len)
    end
    return table.concat(parts)
end

--- A frame as a table: data with its fields, answers as "3+2 7:gap".
function delivery.read(type, payload)
    local f = { type = tonumber(type), payload = payload }
    local p = delivery.slice(payload)
    if f.type < lib.FRAMES_DATA_END then
        local d = keep(ffi.new("struct frames_data[1]"))
        f.rc = lib.frames_read_data(d, f.type, p)
        f.data = d[0]
        f.flags = d[0].order.flags
        f.counter = tonumber(d[0].head.counter)
        f.prev = d[0].order.prev_back
        f.base = d[0].order.base_back
        f.term = d[0].order.term
        f.body = f.rc == 0 and ffi.string(d[0].body.p, d[0].body.len) or nil
        f.life = d[0].head.life_ms
        f.spots = tonumber(d[0].spots.len) / lib.FRAMES_SPOT_SIZE
    elseif f.type == lib.FRAMES_ACK then
        local r, rest = ffi.new("struct frames_range[1]"), ffi.new("struct slice[1]", p)
        f.acks = {}
        while lib.frames_next_ack(r, rest) > 0 do
            f.acks[#f.acks + 1] = ("%d+%d"):format(tonumber(r[0].first), r[0].count)
        end
        f.text = table.concat(f.acks, " ")
    elseif f.type == lib.FRAMES_NACK then
        local n, rest = ffi.new("struct frames_nack[1]"), ffi.new("struct slice[1]", p)
        f.nacks = {}
        while lib.frames_next_nack(n, rest) > 0 do
            f.nacks[#f.nacks + 1] = ("%d:%d/%d"):format(
                tonumber(n[0].number), tonumber(n[0].reason), n[0].flags)
        end
        f.text = table.concat(f.nacks, " ")
    end
    return f
end

local function emitter(frames)
    return keep(ffi.cast(
        "void (*)(void *, void *, unsigned, const struct slice *, unsigned)",
        function(_, owner, type, v, n)
            local f = delivery.read(type, text_of(v, n))
            f.to = tonumber(ffi.cast("intptr_t", owner))
            frames[#frames + 1] = f
        end))
end

--- Take all frames out of a list.
function delivery.drain(frames)
    local all = {}
    for i = 1, #frames do
        all[i] = frames[i]
        frames[i] = nil
    end
    return all
end

function delivery.owner(n)
    return ffi.cast("void *", n)
end

local key = ffi.new("struct hash_key", { 1, 2 })

function delivery.outbox(limits)
    local o = { frames = {}, asked = {}, settled = {}, counter = 0 }
    local calls = ffi.new("struct outbox_calls")
    calls.emit = emitter(o.frames)
    calls.resolve = keep(ffi.cast("void (*)(void *, const struct slice *)", function(_, uid)
        o.asked[#o.asked + 1] = ffi.string(uid.p, uid.len)
    end))
    calls.settled = keep(ffi.cast("void (*)(void *, uint64_t, int)", function(_, token, rc)
        o.settled[#o.settled + 1] = ("%d:%s"):format(tonumber(token),
            rc == 0 and "ok" or ffi.string(lib.err_word(rc)))
    end))
    o.dead = {} -- boots of nodes
    calls.lives = keep(ffi.cast("bool (*)(void *, const struct place *)", function(_, p)
        return not o.dead[tonumber(p.boot)]
    end))
    o.box = ffi.gc(ffi.new("struct outbox *[1]",
        lib.outbox_new(calls, ffi.new("struct outbox_limits", limits or {}), key, 1)),
        lib.outbox_free)

    function o:open(n, id, now)
        return lib.outbox_open(self.box[0], delivery.owner(n), id, now)
    end

    --- The relay of `link` says that it covers these places.
    function o:cover(link, places, now, op, losses)
        local cover = ffi.new("struct frames_cover",
            { op = op or lib.FRAMES_ADD, losses = losses or 1 })
        local out = ffi.new("char[?]", 16 + 16 * #places)
        local len = tonumber(lib.frames_write_cover(out, cover))
        for _, place in ipairs(places) do
            len = len + tonumber(lib.frames_write_place(out + len, place))
        end
        assert(lib.outbox_take(self.box[0], link, lib.FRAMES_COVER,
            delivery.slice(ffi.string(out, len)), now) == 0)
    end

    function o:send(to, body, now, life)
        self.counter = self.counter + 1
        local head = ffi.new("struct wire_head", {
            boot = 1, epoch = 1, counter = self.counter, life_ms = life or 5000,
        })
        local v = ffi.new("struct slice[1]", { delivery.slice(body) })
        local mail = ffi.new("struct outbox_mail", { head, v, 1, self.counter })
        local rc = lib.outbox_send(self.box[0], to, mail, now)
        return rc == 0 and "ok" or ffi.string(lib.err_word(rc))
    end

    --- `how`: "newest" or "beside".
    function o:uid(name, body, now, life, how)
        local to = ffi.new("struct outbox_to",
            { type = lib.FRAMES_UID, name = delivery.slice(name) })
        to.is_newest, to.is_beside = how == "newest", how == "beside"
        return self:send(to, body, now, life)
    end

    function o:topic(name, body, now, life)
        local to = ffi.new("struct outbox_to", {
            type = lib.FRAMES_PUBLISH, kind = lib.FRAMES_TOPIC, name = delivery.slice(name),
        })
        return self:send(to, body, now, life)
    end

    function o:to_place(place, body, now, life)
        local to = ffi.new("struct outbox_to", { type = lib.FRAMES_PLACE, place = place })
        return self:send(to, body, now, life)
    end

    function o:ack(link, first, count, now)
        return lib.outbox_take(self.box[0], link, lib.FRAMES_ACK,
            delivery.ack(first, count), now)
    end

    function o:nack(link, number, reason, now, flags)
        return lib.outbox_take(self.box[0], link, lib.FRAMES_NACK,
            delivery.nack(number, reason, flags), now)
    end

    function o:resolved(uid, places, now, found)
        local spots = ffi.new("struct frames_spot[?]", #places + 1)
        for i, place in ipairs(places) do
            spots[i - 1].place = place
            spots[i - 1].bind = i
        end
        local at = ffi.new("struct outbox_places",
            { found or lib.OUTBOX_AT, true, #places, spots })
        lib.outbox_resolved(self.box[0], delivery.slice(uid), at, now)
    end

    function o:figures()
        return lib.outbox_figures(self.box[0])
    end

    --- The bodies that were sent since, in order, and the frames.
    function o:sent()
        local frames, bodies = delivery.drain(self.frames), {}
        for i, f in ipairs(frames) do
            bodies[i] = f.body
        end
        return table.concat(bodies, " "), frames
    end

    return o
end

function delivery.ack(first, count)
    local out = ffi.new("char[?]", lib.FRAMES_ACK_SIZE)
    local r = ffi.new("struct frames_range", { first, count or 1 })
    return delivery.slice(ffi.string(out, lib.frames_write_ack(out, r)))
end

function delivery.nack(number, reason, flags)
    local out = ffi.new("char[?]", lib.FRAMES_NACK_SIZE)
    local n = ffi.new("struct frames_nack",
        { number = number, reason = reason, flags = flags or 0 })
    return delivery.slice(ffi.string(out, lib.frames_write_nack(out, n)))
end

local function spots_of(list)
    local out, len = ffi.new("char[?]", 32 * #list), 0
    for i, spot in ipairs(list) do
        local has_bind = type(spot) == "table"
        local s = ffi.new("struct frames_spot", { bind = has_bind and spot[2] or i })
        s.place = has_bind and spot[1] or spot
        len = len + tonumber(lib.frames_write_spot(out + len, s))
    end
    return delivery.slice(ffi.string(out, len))
end

local defaults = {
    type = lib.FRAMES_UID, name = "", body = "x", counter = 1, life = 5000, flags = 0,
    term = 0, base = 0, prev = 0, kind = 0, losses = 1, spots = {},
    from = delivery.place(1), place = delivery.place(0),
}

--- The payload of a data frame; see `defaults` for the fields of `given`, whose
--- spots are places, or pairs of a place and a bind number.
function delivery.data(given)
    local t = setmetatable({}, {
        __index = function(_, k)
            return given[k] == nil and defaults[k] or given[k]
        end,
    })
    local d = ffi.new("struct frames_data", { type = t.type })
    d.order = { t.term, t.base, t.prev, t.flags }
    d.name = delivery.slice(t.name)
    d.place, d.kind, d.losses, d.spots = t.place, t.kind, t.losses, spots_of(t.spots)
    local out = ffi.new("char[?]", lib.FRAMES_HEAD_MAX + 2048)
    local n = tonumber(lib.frames_write_head(out, d))
    local head = ffi.new("struct wire_head", {
        boot = t.from.boot, epoch = t.from.epoch, slot = t.from.slot, counter = t.counter,
        life_ms = t.life, len = #t.body,
    })
    lib.wire_encode(out + n, head)
    return delivery.slice(ffi.string(out, n + lib.WIRE_HEAD) .. t.body)
end

function delivery.hub(limits)
    local h = { frames = {} }
    local calls = ffi.new("struct hub_calls")
    calls.emit = emitter(h.frames)
    h.hub = ffi.gc(ffi.new("struct hub *[1]",
        lib.hub_new(calls, ffi.new("struct hub_limits", limits or {}), key)), lib.hub_free)

    function h:open(n, place)
        return lib.hub_open(self.hub[0], delivery.owner(n), place)
    end

    function h:take(link, type, payload, waited)
        return lib.hub_take(self.hub[0], link, type, payload, waited or 0)
    end

    function h:data(link, t)
        return self:take(link, t.type or lib.FRAMES_UID, delivery.data(t), t.waited)
    end

    function h:ack(link, first, count)
        return self:take(link, lib.FRAMES_ACK, delivery.ack(first, count))
    end

    function h:nack(link, number, reason, flags)
        return self:take(link, lib.FRAMES_NACK, delivery.nack(number, reason, flags))
    end

    function h:locate(link, uid, bind, is_here, is_sole)
        local l = ffi.new("struct frames_locate", {
            is_here = is_here ~= false, is_sole = is_sole ~= false, bind = bind,
            uid = delivery.slice(uid),
        })
        local out = ffi.new("char[?]", lib.FRAMES_CONTROL_MAX)
        local n = lib.frames_write_locate(out, l)
        return self:take(link, lib.FRAMES_LOCATE, delivery.slice(ffi.string(out, n)))
    end

    function h:interest(link, op, name, kind)
        local i = ffi.new("struct frames_interest", {
            op = op, kind = kind or lib.FRAMES_TOPIC, name = delivery.slice(name or ""),
        })
        local out = ffi.new("char[?]", 2048)
        local n = lib.frames_write_interest(out, i)
        return self:take(link, lib.FRAMES_INTEREST, delivery.slice(ffi.string(out, n)))
    end

    --- What was emitted since, as "owner:body" and "owner:answers"; answers
    --- are those of the turn that ends here.
    function h:turn()
        lib.hub_turn(self.hub[0])
        local out = {}
        for _, f in ipairs(delivery.drain(self.frames)) do
            if f.type ~= lib.FRAMES_COVER then
                out[#out + 1] = f.to .. "<" .. (f.body or f.text)
            end
        end
        return table.concat(out, " ")
    end

    function h:figures()
        return lib.hub_figures(self.hub[0])
    end

    return h
end

function delivery.inbox(limits)
    local i = { frames = {}, got = {}, here = {}, tokens = {}, outcome = 0 }
    local calls = ffi.new("struct inbox_calls")
    calls.emit = emitter(i.frames)
    calls.has = keep(ffi.cast("bool (*)(void *, const struct slice *)", function(_, uid)
        return i.here[ffi.string(uid.p, uid.len)] or false
    end))
    calls.deliver = keep(ffi.cast(
        "int (*)(void *, const struct frames_data *, uint64_t)",
        function(_, d, token)
            i.got[#i.got + 1] = ffi.string(d.body.p, d.body.len)
            i.tokens[#i.tokens + 1] = token
            i.life = d.head.life_ms -- of the last one
            return i.outcome
        end))
    i.box = ffi.gc(ffi.new("struct inbox *[1]",
        lib.inbox_new(calls, ffi.new("struct inbox_limits", limits or {}))), lib.inbox_free)

    function i:open(n)
        return lib.inbox_open(self.box[0], delivery.owner(n))
    end

    function i:data(link, t, now)
        return lib.inbox_take(self.box[0], link, t.type or lib.FRAMES_UID, delivery.data(t),
            t.waited or 0, now or 0)
    end

    --- What was handed over, and the answers as "owner:text", since.
    function i:turn()
        lib.inbox_turn(self.box[0])
        local out = {}
        for _, f in ipairs(delivery.drain(self.frames)) do
            out[#out + 1] = f.to .. "<" .. f.text
        end
        return table.concat(delivery.drain(self.got), " "), table.concat(out, " ")
    end

    function i:figures()
        return lib.inbox_figures(self.box[0])
    end

    return i
end

return delivery
