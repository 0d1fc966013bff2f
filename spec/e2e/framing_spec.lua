-- Every framing of a TCP port over real sockets: what comes in whole, in
-- pieces and in bulk is the same packets; what goes out is framed alike; a
-- broken frame ends that conn alone.
local client = require("spec.support.client")
local server = require("spec.support.server")

local number = client.number

local function varint(n)
    local s = ""
    while n >= 128 do
        s = s .. string.char(n % 128 + 128)
        n = math.floor(n / 128)
    end
    return s .. string.char(n)
end

-- name = { configuration, codec, packets as the client writes them and what
-- comes back for each }. The controller echoes what the codec saw, its size in
-- front where bodies differ from packets.
local cases = {}

local function length(name, conf, encode)
    cases[#cases + 1] = {
        name = name,
        frame = '{ type = "length", ' .. conf .. " }",
        encode = encode,
        bodies = { "a", "hello", ("x"):rep(100), "" },
    }
end

for _, little in ipairs({ false, true }) do
    local endian = little and "little" or "big"
    for _, bytes in ipairs({ 1, 2, 3, 4, 8 }) do
        for _, own in ipairs({ true, false }) do
            length(
                ("l%d%s%s"):format(bytes, endian, own and "h" or "b"),
                ('bytes = %d, endian = "%s", includes_header = %s'):format(
                    bytes, endian, tostring(own)),
                function(body)
                    return number(#body + (own and bytes or 0), bytes, little)
                        .. body
                end
            )
        end
    end
end

length("lvarint", 'bytes = "varint", includes_header = false',
    function(body)
        return varint(#body) .. body
    end)

-- `add`: two bytes behind that the number leaves out.
length("ladd", "bytes = 2, add = 2, includes_header = false", function(body)
    return number(#body - 2, 2) .. body
end)
cases[#cases].bodies = { "abCR", "CR", ("x"):rep(90) .. "CR" }

-- The codec gets and makes whole packets.
length("lwhole", "bytes = 2, whole = true", function(body)
    return number(#body + 2, 2) .. body
end)
cases[#cases].whole = true
length("loffset", "offset = 3, bytes = 2", function(body)
    return "ABC" .. number(#body + 5, 2) .. body
end)
cases[#cases].whole = true
length("loffadd",
    "offset = 1, bytes = 1, add = 2, includes_header = false",
    function(body)
        return "A" .. number(#body - 2, 1) .. body
    end)
cases[#cases].whole = true
cases[#cases].bodies = { "abCR", "CR" }

cases[#cases + 1] = {
    name = "line",
    frame = '"line"',
    encode = function(body)
        return body .. "\r\n"
    end,
    bodies = { "a", "one\rtwo", "x\ny", "" },
}
cases[#cases + 1] = {
    name = "lineown",
    frame = '{ type = "line", delimiter = "||" }',
    encode = function(body)
        return body .. "||"
    end,
    bodies = { "a|b", "\r\n", "" },
}
cases[#cases + 1] = {
    name = "fixed",
    frame = '{ type = "fixed", size = 8 }',
    encode = function(body)
        return body
    end,
    bodies = { "12345678", "abcdefgh" },
}
cases[#cases + 1] = {
    name = "pack",
    frame = '{ type = "pack", max = 1000 }',
    codec = "star",
    encode = function(body)
        return "*" .. #body .. ":" .. body
    end,
    bodies = { "a", "", ("y"):rep(300) },
}

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["scripts/controllers/frames.lua"] = [[
local Frames = {}
function Frames:echo(p) return p end
function Frames:bad(p) return p .. "more\r\n" end
return Frames]],
    ["scripts/routes/echo.lua"] = [[
local Route = {}
function Route.request(_, packet)
    local method = packet:find("bad", 1, true) and "bad" or "echo"
    return { controller = "frames", method = method, params = packet, id = 1 }
end
function Route.reply(_, result) return result end
function Route.fail(_, code, message) return ("E" .. code .. "......."):sub(1, 8) end
return Route]],
    ["scripts/packs/star.lua"] = [[
local Star = {}
function Star.decode(bytes) return (bytes:gsub("^%*%d+:", "")) end
function Star.encode(packet) return "*" .. #packet .. ":" .. packet end
function Star.length(head)
    if head:sub(1, 1) ~= "*" then return false end
    local n = head:match("^%*(%d+):")
    if n then return #n + 2 + tonumber(n) end
    if #head > 8 then return false end
    return nil
end
return Star]],
}

local function ports_lua()
    local out = { "return {" }
    local function port(name, frame, codec, more)
        out[#out + 1] = ('%s = { listen = "127.0.0.1:0", protocol = "tcp", '
            .. 'frame = %s, codec = "%s", route = "echo"%s },'):format(
            name, frame, codec or "raw", more or "")
    end
    for _, case in ipairs(cases) do
        port(case.name, case.frame, case.codec)
    end
    port("raw", '"raw"')
    port("l4max", '{ type = "length", max = 100 }')
    port("l4nohead",
        '{ type = "length", max = 100, includes_header = false }')
    port("vmax", '{ type = "length", bytes = "varint", max = 100, '
        .. "includes_header = false }")
    port("linemax", '{ type = "line", max = 20 }')
    port("addneg", '{ type = "length", bytes = 2, add = -1 }')
    out[#out + 1] = "}"
    return table.concat(out, "\n")
end

files["config/ports.lua"] = ports_lua()

describe("a TCP port frames", function()
    local s, ports

    setup(function()
        s = server.start(files)
        ports = client.ports(s)
    end)

    teardown(function()
        s:stop()
    end)

    for _, case in ipairs(cases) do
        it(case.frame .. (case.codec or ""), function()
            local all = {}
            for i, body in ipairs(case.bodies) do
                all[i] = case.encode(body)
            end
            local text = table.concat(all)

            -- In bulk, and byte by byte.
            for _, step in ipairs({ #text, 1, 7 }) do
                local sock = client.tcp(ports[case.name])
                for i = 1, #text, step do
                    assert(sock:send(text:sub(i, i + step - 1)))
                end
                assert.equal(text, sock:receive(#text))
                sock:close()
            end
        end)
    end

    it('"raw" hands over what one read brought', function()
        local sock = client.tcp(ports.raw)
        for _, text in ipairs({ "a", ("b"):rep(5000), "\0" }) do
            sock:send(text)
            assert.equal(text, sock:receive(#text))
        end
        sock:close()
    end)

    -- What the client writes after a good packet, and how the conn ends.
    local broken = {
        { "l4max", number(101, 4), "a packet over max" },
        { "l4max", number(2 ^ 31, 4), "a number beyond 31 bits" },
        { "l4max", "\255\255\255\255", "a negative number" },
        { "l4max", number(3, 4), "a number smaller than its head" },
        { "l4max", number(0, 4), "the number 0" },
        { "l4nohead", number(97, 4), "a body that makes it over max" },
        { "vmax", "\128\128\128\128\128\1", "a varint of 6 bytes" },
        { "vmax", "\255\255\255\255\127", "a varint over max" },
        { "linemax", ("x"):rep(21), "a line over max" },
        { "l8bigh", ("\255"):rep(8), "a 64-bit number that is negative" },
        { "pack", "nonsense", "what the pack calls broken" },
        { "pack", "*99999:", "a pack's packet over max" },
    }

    local good = {
        l4max = number(6, 4) .. "ok",
        l4nohead = number(2, 4) .. "ok",
        vmax = "\2ok",
        linemax = "ok\r\n",
        l8bigh = number(10, 8) .. "ok",
        pack = "*2:ok",
    }

    for _, case in ipairs(broken) do
        it("and ends a conn for " .. case[3] .. " (" .. case[1] .. ")",
            function()
                local sock = client.tcp(ports[case[1]])
                local other = client.tcp(ports[case[1]])
                local packet = good[case[1]]
                sock:send(packet .. case[2])
                assert.equal(packet, sock:receive(#packet))
                local text, why, rest = sock:receive(1)
                assert.equal("closed", why, text)
                assert.equal("", rest)
                other:send(packet)
                assert.equal(packet, other:receive(#packet))
                other:close()
                sock:close()
            end)
    end

    it("the largest packet of max bytes and no more", function()
        local sock = client.tcp(ports.l4max)
        local packet = number(100, 4) .. ("x"):rep(96)
        sock:send(packet)
        assert.equal(packet, sock:receive(#packet))
        sock:close()
    end)

    it("no reply that breaks the frame, but an error", function()
        for name, packet in pairs({
            line = "bad\r\n",
            linemax = "bad\r\n",
            fixed = "badbadba",
        }) do
            local sock = client.tcp(ports[name])
            sock:send(packet)
            assert.equal("E500", sock:receive(4), name)
            sock:close()
        end
    end)

    it("no reply over max, but an error", function()
        local sock = client.tcp(ports.l4max)
        sock:send(number(98, 4) .. "bad" .. ("x"):rep(91))
        local head = sock:receive(4)
        assert.equal(12, client.value(head or ""))
        assert.matches("^E[45]", sock:receive(8))
        sock:close()
    end)
end)
