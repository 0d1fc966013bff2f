-- Frames over a link: records, chunks, and what was done to them on the way.
local bit = require("bit")
local ffi = require("ffi")
local bytes = require("spec.support.bytes")
local c = require("spec.support.c")
local links = require("spec.support.links")

local lib = c.use("cluster/stream.h")
c.use("base/err.h")

local RECORD, FRAME, TAG = lib.STREAM_RECORD_MAX, lib.STREAM_FRAME_MAX, lib.STREAM_TAG
local EPROTO = -5001
local A, B = ("a"):rep(32), ("b"):rep(32)

local function free(s)
    lib.stream_free(ffi.new("struct stream *[1]", s))
end

local function stream(send, receive)
    if not send then
        return ffi.gc(lib.stream_create(nil, nil), free)
    end
    return ffi.gc(lib.stream_create(bytes.exact(send), bytes.exact(receive)), free)
end

--- Both ends of a link.
local function pair(plain)
    if plain then
        return stream(), stream()
    end
    return stream(A, B), stream(B, A)
end

local function out()
    return ffi.gc(ffi.new("struct buf"), lib.buf_fini)
end

local function taken(b)
    local s = ffi.string(b.p + b.head, b.len)
    lib.buf_consume(b, b.len)
    return s
end

--- Append { type, piece, piece... }.
local function write(s, b, frame)
    local v = ffi.new("struct slice[?]", #frame)
    local blocks = {}
    for i = 2, #frame do
        blocks[i] = bytes.exact(frame[i])
        v[i - 2].p, v[i - 2].len = blocks[i], #frame[i]
    end
    return lib.stream_write(s, b, frame[1], v, #frame - 1)
end

--- What leaves when each of `turns` is a list of frames and one seal.
local function sent(s, turns)
    local records, b = {}, out()
    for i, frames in ipairs(turns) do
        for _, f in ipairs(frames) do
            assert.equal(0, write(s, b, f))
        end
        lib.stream_seal(s, b)
        records[i] = b.len > 0 and taken(b) or ""
    end
    return records
end

--- Feed pieces; the frames as "type:payload", and the last answer.
local function received(s, pieces)
    local frames, f, err = {}, ffi.new("struct stream_frame"), 0
    for _, piece in ipairs(pieces) do
        local block = bytes.slice(piece)
        lib.stream_feed(s, block)
        repeat
            err = lib.stream_next(s, f)
            if err == 1 then
                frames[#frames + 1] = f.type .. ":" .. ffi.string(f.payload.p, f.payload.len)
            end
        until err ~= 1
    end
    return frames, err
end

local function expected(turns)
    local frames = {}
    for _, turn in ipairs(turns) do
        for _, f in ipairs(turn) do
            frames[#frames + 1] = f[1] .. ":" .. table.concat(f, "", 2)
        end
    end
    return frames
end

--- Lengths of the records in `s`, heads and tags not counted.
local function records_of(s, tag)
    local lengths, at = {}, 1
    while at <= #s do
        local a, b, d, e = s:byte(at, at + 3)
        local len = a + b * 256 + d * 65536 + e * 16777216
        lengths[#lengths + 1] = len - tag
        at = at + 4 + len
    end
    assert.equal(#s + 1, at)
    return lengths
end

--- `n` bytes that differ from those of another seed.
local function noise(n, seed)
    local unit = {}
    for i = 1, 251 do
        unit[i] = string.char((i * 7 + (seed or 0)) % 256)
    end
    local s = table.concat(unit)
    return s:rep(math.floor(n / #s)) .. s:sub(1, n % #s)
end

local function u32(n)
    return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256,
        math.floor(n / 16777216))
end

local MIXED = {
    { { 1, "one" }, { 2 }, { 255, "three ", "pieces", "" } },
    {},
    { { 0, noise(100) } },
    { { 7, noise(40, 1) }, { 8, "" } },
}

for _, plain in ipairs({ false, true }) do
    local tag = plain and 0 or TAG

    describe(plain and "plain stream" or "stream", function()
        it("gives the frames back in order, both ways", function()
            local x, y = pair(plain)
            assert.same({ expected(MIXED), 0 }, { received(y, sent(x, MIXED)) })
            assert.same({ expected(MIXED), 0 }, { received(x, sent(y, MIXED)) })
            assert.same({ expected(MIXED), 0 }, { received(y, sent(x, MIXED)) })
        end)

        it("gives the same frames for any chunks", function()
            local whole = table.concat(sent(pair(plain), MIXED))
            for split in bytes.splits(whole) do
                local _, y = pair(plain)
                assert.same({ expected(MIXED), 0 }, { received(y, split) })
            end
        end)

        it("packs a turn into one record", function()
            local x = pair(plain)
            local r = sent(x, MIXED)
            for i, turn in ipairs(MIXED) do
                local n = 0
                for _, f in ipairs(turn) do
                    n = n + 5 + #table.concat(f, "", 2)
                end
                assert.same(n > 0 and { n } or {}, records_of(r[i], tag))
            end
        end)

        local sizes = { RECORD - 6, RECORD - 5, RECORD - 4, RECORD, RECORD + 1,
            3 * RECORD - 5, 1000000 }
        for _, n in ipairs(sizes) do
            it(("carries a frame of %d bytes among others"):format(n), function()
                local x, y = pair(plain)
                local turns = { { { 1, "before" }, { 2, noise(n) }, { 3, "after" } },
                    { { 4, "next" } } }
                local all = table.concat(sent(x, turns))
                for _, len in ipairs(records_of(all, tag)) do
                    assert.is_true(len >= 1 and len <= RECORD)
                end
                local pieces, seed = {}, n
                local at = 1
                while at <= #all do
                    seed = (seed * 1103515245 + 12345) % 2 ^ 31
                    local len = 1 + math.floor(seed / 7) % 70000
                    pieces[#pieces + 1] = all:sub(at, at + len - 1)
                    at = at + len
                end
                local frames, err = received(y, pieces)
                assert.equal(0, err)
                assert.is_true(#frames == 4 and frames[2] == "2:" .. noise(n))
                assert.same({ "1:before", "3:after", "4:next" },
                    { frames[1], frames[3], frames[4] })
            end)
        end

        it("lets only frames span that fit into no record", function()
            local x = pair(plain)
            local third = math.floor(RECORD / 3)
            local turn = {}
            for i = 1, 7 do
                turn[i] = { i, noise(third) }
            end
            assert.same({ 2 * (third + 5), 2 * (third + 5), 2 * (third + 5), third + 5 },
                records_of(sent(x, { turn })[1], tag))
            local full, small = { 1, noise(RECORD - 5) }, { 2, "aaaaa" }
            assert.same({ RECORD, 10 }, records_of(sent(x, { { full, small } })[1], tag))
            assert.same({ 10, RECORD }, records_of(sent(x, { { small, full } })[1], tag))
        end)

        it("carries a frame of the greatest size, and none above", function()
            local x, y = pair(plain)
            local b = out()
            local half = noise(FRAME / 2)
            assert.equal(0, write(x, b, { 9, half, half }))
            local before = tonumber(b.len)
            assert.equal(-5015, write(x, b, { 9, half, half, "x" }))
            assert.equal(before, tonumber(b.len))
            assert.equal(0, write(x, b, { 10 }))
            lib.stream_seal(x, b)
            local frames, err = received(y, { taken(b) })
            assert.equal(0, err)
            assert.is_true(frames[1] == "9:" .. half .. half)
            assert.equal("10:", frames[2])
        end)

        it("lets sealed bytes leave while a record is open", function()
            local x, y = pair(plain)
            local b = out()
            assert.equal(0, tonumber(lib.stream_sealed(x, b)))
            write(x, b, { 1, "first" })
            assert.equal(0, tonumber(lib.stream_sealed(x, b)))
            lib.stream_seal(x, b)
            local n = tonumber(lib.stream_sealed(x, b))
            assert.equal(n, tonumber(b.len))
            write(x, b, { 2, "second" })
            assert.equal(n, tonumber(lib.stream_sealed(x, b)))
            local all = ffi.string(b.p + b.head, n)
            lib.buf_consume(b, n)
            -- Over the capacity, so that the open record is moved.
            write(x, b, { 3, noise(5000) })
            lib.stream_seal(x, b)
            lib.stream_seal(x, b)
            assert.same({ { "1:first", "2:second", "3:" .. noise(5000) }, 0 },
                { received(y, { all, taken(b) }) })
        end)

        local lengths = { 0, RECORD + tag + 1, 0x7fffffff, 0xffffffff }
        for n = 1, tag do
            lengths[#lengths + 1] = n
        end
        it("refuses a record's length out of bounds at once", function()
            for _, n in ipairs(lengths) do
                for split in bytes.splits(u32(n)) do
                    local _, y = pair(plain)
                    local frames, err = received(y, split)
                    assert.same({ 0, EPROTO }, { #frames, err })
                    local _, again = received(y, { sent(pair(plain), MIXED)[1] })
                    assert.equal(EPROTO, again)
                end
            end
        end)

        it("gives the frames before a fault, then the fault", function()
            local x, y = pair(plain)
            local r = sent(x, MIXED)
            local frames, err = received(y, { r[1] .. r[3] .. u32(0) .. r[4] })
            assert.equal(EPROTO, err)
            assert.same(expected({ MIXED[1], MIXED[3] }), frames)
        end)

        it("refuses a frame's length over the limit when it is read", function()
            for _, n in ipairs({ FRAME + 1, 0xffffffff }) do
                local content = u32(3) .. "\1abc" .. u32(n) .. "\1"
                local _, y = pair(plain)
                local record = plain and u32(#content) .. content
                    or links.run("record", links.hex(A), 0, links.hex(content))[1]
                local frames, err = received(y, { record })
                assert.same({ { "1:abc" }, EPROTO }, { frames, err })
                assert.same({ {}, EPROTO }, { received(y, { "x" }) })
            end
        end)

        it("grows by what came, not by what was announced", function()
            local function resident()
                local f = io.open("/proc/self/statm")
                local pages = f:read("*a"):match("^%d+ (%d+)")
                f:close()
                return tonumber(pages) * 4096
            end
            -- One record that announces a frame of 8 MiB, and the head of a
            -- second that announces 64 KiB.
            local x = pair(plain)
            local b = out()
            write(x, b, { 1, noise(FRAME) })
            local first = taken(b):sub(1, 4 + RECORD + tag + 5)
            local streams = {}
            local before = resident()
            for i = 1, 100 do
                local _, y = pair(plain)
                streams[i] = y
                local frames, err = received(y, { first })
                assert.same({ 0, 0 }, { #frames, err })
            end
            assert.is_true(resident() - before < #streams * 1024 * 1024)
        end)
    end)
end

describe("sealed stream", function()
    local three = { { { 1, "first" }, { 2, "second" } }, { { 3, "third" } },
        { { 4, "fourth" } } }

    it("makes the records of a second implementation", function()
        local x = stream(A, B)
        local turns = { { { 1, "" } }, { { 2, noise(20) } }, { { 3, noise(300) } } }
        for i, record in ipairs(sent(x, turns)) do
            local payload = turns[i][1][2]
            local content = u32(#payload) .. string.char(turns[i][1][1]) .. payload
            assert.equal(links.run("record", links.hex(A), i - 1, links.hex(content))[1],
                record)
        end
    end)

    it("shows nothing of what it carries", function()
        local x = stream(A, B)
        local secret = "a long enough secret"
        local r = table.concat(sent(x, { { { 1, secret } }, { { 1, secret } } }))
        assert.is_nil(r:find(secret, 1, true))
        assert.not_equal(r:sub(5, #r / 2), r:sub(#r / 2 + 5))
    end)

    it("gives nothing from the record on in which a bit is another", function()
        local r = sent(stream(A, B), three)
        local all = table.concat(r)
        for at = 1, #all do
            for i = 0, 7 do
                local y = stream(B, A)
                local changed = all:sub(1, at - 1) ..
                    string.char(bit.bxor(all:byte(at), bit.lshift(1, i))) .. all:sub(at + 1)
                local frames, err = received(y, { changed .. ("x"):rep(70000) })
                local good = at <= #r[1] and 0 or at <= #r[1] + #r[2] and 2 or 3
                assert.equal(EPROTO, err)
                assert.equal(good, #frames)
                for k = 1, good do
                    assert.equal(expected(three)[k], frames[k])
                end
            end
        end
    end)

    local orders = {
        { "reordered", { 2, 1, 3 }, 0 },
        { "repeated", { 1, 1, 2 }, 2 },
        { "repeated later", { 1, 2, 3, 1 }, 4 },
        { "missing", { 1, 3 }, 2 },
        { "missing in front", { 2, 3 }, 0 },
    }
    for _, case in ipairs(orders) do
        it("ends at a record that is " .. case[1], function()
            local r = sent(stream(A, B), three)
            local pieces = {}
            for i, k in ipairs(case[2]) do
                pieces[i] = r[k]
            end
            local frames, err = received(stream(B, A), pieces)
            assert.same({ case[3], EPROTO }, { #frames, err })
        end)
    end

    it("ends at its own records, sent back", function()
        local x = stream(A, B)
        local r = sent(x, three)
        assert.same({ {}, EPROTO }, { received(x, r) })
    end)

    it("ends at records of another session, or plain ones", function()
        local other = sent(stream(("c"):rep(32), B), three)
        assert.same({ {}, EPROTO }, { received(stream(B, A), other) })
        assert.same({ {}, EPROTO }, { received(stream(B, A), sent(stream(), three)) })
    end)
end)

describe("link_cost", function()
    it("measures every row of docs/protocol-links.md", function()
        local f = io.popen(os.getenv("SD_BUILD") .. "/spec/stress/link_cost 5 2>&1")
        local text = f:read("*a")
        f:close()
        local _, rows = text:gsub("%d+ +%d+ +[%a]+ +%-?[%d.]+ +%-?[%d.]+\n", "")
        assert.equal(12, rows, text)
        assert.is_truthy(text:find("refusing a stranger"), text)
    end)
end)
