-- What bad HTTP gets: its status, on that conn alone, in bounded memory, with
-- few lines in the log.
local server = require("spec.support.server")
local socket = require("socket")
local web = require("spec.support.web")

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["config/ports.lua"] = [[
return {
    web = { listen = "127.0.0.1:0", protocol = "http" },
    tight = { listen = "127.0.0.1:0", protocol = "http", max_head = "1k",
        max_headers = 10, max_body = "1k" },
    short = { listen = "127.0.0.1:0", protocol = "http",
        head_timeout = "150ms", body_timeout = "150ms",
        idle_timeout = "150ms" },
    lazy = { listen = "127.0.0.1:0", protocol = "http",
        slow_client = { timeout = "2s" } },
}]],
    ["scripts/controllers/probe.lua"] = [[
local sd = require("sd")
local Probe = { calls = 0 }
function Probe:call(p) Probe.calls = Probe.calls + 1 return { ok = true } end
function Probe:calls_so_far() return { n = Probe.calls } end
function Probe:body() return { n = #self.request.body } end
function Probe:nap() sd.sleep(0.3) return { ok = true } end
function Probe:flood()
    for _ = 1, 200 do
        local ok, err = self.response:write(("x"):rep(65536))
        if not ok then Probe.err = err return end
    end
end
function Probe:much() return ("x"):rep(3e7) end
function Probe:flood_err() return { err = Probe.err } end
return Probe]],
}

--- "POST /probe/call" with these header lines and this body.
local function post(lines, body)
    return "POST /probe/call HTTP/1.1\r\nHost: x\r\n"
        .. lines .. "\r\n\r\n" .. (body or "")
end

local bad = {
    { "a length and chunks", 400,
        post("Content-Length: 5\r\nTransfer-Encoding: chunked",
            "0\r\n\r\nGET /probe/call HTTP/1.1\r\nHost: x\r\n\r\n") },
    { "chunks and a length", 400,
        post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n") },
    { "two lengths", 400,
        post("Content-Length: 3\r\nContent-Length: 4", "abcd") },
    { "two equal lengths", 400,
        post("Content-Length: 3\r\nContent-Length: 3", "abc") },
    { "a list of lengths", 400, post("Content-Length: 3, 3", "abc") },
    { "a signed length", 400, post("Content-Length: +3", "abc") },
    { "a negative length", 400, post("Content-Length: -3", "abc") },
    { "a hex length", 400, post("Content-Length: 0x3", "abc") },
    { "an empty length", 400, post("Content-Length: ", "abc") },
    { "a length beyond 64 bits", { [400] = true, [413] = true },
        post("Content-Length: 99999999999999999999", "abc") },
    { "a length just over 2^63", { [400] = true, [413] = true },
        post("Content-Length: 9223372036854775808", "abc") },
    { "a space before the colon", 400,
        post("Content-Length : 3", "abc") },
    { "a folded header", 400, post("X-A: b\r\n c") },
    { "a folded first header", 400,
        "GET /probe/call HTTP/1.1\r\n Host: x\r\n\r\n" },
    { "bare LF", 400, "GET /probe/call HTTP/1.1\nHost: x\n\n" },
    { "bare LF in a header", 400, post("X-A: b\nX-C: d") },
    { "bare CR in a header", 400, post("X-A: b\rX-C: d") },
    { "NUL in a header", 400, post("X-A: b\0c") },
    { "a control character in a name", 400, post("X\1A: b") },
    { "an empty name", 400, post(": b") },
    { "no colon", 400, post("X-A") },
    { "no Host", 400, "GET /probe/call HTTP/1.1\r\n\r\n" },
    { "two Hosts", 400, "GET /probe/call HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" },
    { "a Host that is none", 400,
        "GET /probe/call HTTP/1.1\r\nHost: a b\r\n\r\n" },
    { "chunked twice", { [400] = true, [501] = true },
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n") },
    { "chunked not last", { [400] = true, [501] = true },
        post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n") },
    { "an unknown coding", { [400] = true, [501] = true },
        post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n") },
    { "xchunked", { [400] = true, [501] = true },
        post("Transfer-Encoding: xchunked", "0\r\n\r\n") },
    { "chunked with a control character", { [400] = true, [501] = true },
        post("Transfer-Encoding: \vchunked", "0\r\n\r\n") },
    { "chunks in HTTP/1.0", 400,
        "POST /probe/call HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "0\r\n\r\n" },
    { "a chunk size of no hex", 400,
        post("Transfer-Encoding: chunked", "zz\r\nab\r\n0\r\n\r\n") },
    { "a negative chunk size", 400,
        post("Transfer-Encoding: chunked", "-1\r\nab\r\n0\r\n\r\n") },
    { "a chunk size with 0x", 400,
        post("Transfer-Encoding: chunked", "0x1\r\na\r\n0\r\n\r\n") },
    { "a chunk size beyond 64 bits", { [400] = true, [413] = true },
        post("Transfer-Encoding: chunked", "fffffffffffffffff\r\na") },
    { "a chunk longer than it says", 400,
        post("Transfer-Encoding: chunked", "1\r\nabc\r\n0\r\n\r\n") },
    { "chunks with bare LF", 400,
        post("Transfer-Encoding: chunked", "1\na\n0\n\n") },
    { "an unknown version", 505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n" },
    { "a version of junk", 400, "GET / HTTP/1.x\r\nHost: x\r\n\r\n" },
    { "no version", 400, "GET /\r\nHost: x\r\n\r\n" },
    { "two spaces", 400, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n" },
    { "a tab", 400, "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n" },
    { "a path without a slash", 400, "GET a HTTP/1.1\r\nHost: x\r\n\r\n" },
    { "a path with NUL", 400, "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n" },
    { "a path with a broken escape", { [400] = true, [404] = true },
        "GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" },
    { "garbage", 400, ("\1\2\3\255"):rep(100) },
    { "a TLS hello", 400, "\22\3\1\2\0\1\0\1\252\3\3" .. ("x"):rep(200)
        .. "\r\n\r\n" },
    { "an unknown method", { [501] = true, [405] = true },
        "BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" },
    { "a method of junk", 400, "G@T / HTTP/1.1\r\nHost: x\r\n\r\n" },
    { "an unknown expectation", 417, post("Expect: tea\r\nContent-Length: 1",
        "a") },
}

describe("bad HTTP", function()
    local s, port, worker

    setup(function()
        s = server.start(files)
        port = {}
        for _, p in ipairs(s:status().ports) do
            port[p.name] = p.port
        end
        worker = s:process("worker").pid
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    --- KiB the worker has in memory.
    local function resident()
        return server.memory(worker) / 1024
    end

    local function assert_well()
        local status, value = web.call(port.web, "/probe/call", {})
        assert.equal(200, status)
        assert.is_true(value.ok)
        assert.is_true(server.is_alive(worker))
    end

    describe("shape", function()
        local good

        setup(function()
            good = web.open(port.web)
        end)

        teardown(function()
            good:close()
        end)

        for _, case in ipairs(bad) do
            it("of " .. case[1] .. " is refused alone", function()
                local before = web.json(good:ask("/probe/calls_so_far")).n
                local c = web.open(port.web)
                c:send(case[3])
                local r = assert(c:reply())
                local want = case[2]
                if type(want) == "table" then
                    assert.is_true(want[r.status], r.status)
                else
                    assert.equal(want, r.status)
                end
                assert.equal("application/json", r.headers["content-type"])
                assert.equal("close", r.headers.connection)
                assert.is_true(c:is_closed())
                c:close()
                -- nothing was called, also not by what came behind
                assert.equal(before,
                    web.json(good:ask("/probe/calls_so_far")).n)
            end)
        end

        it("is refused the same in single bytes", function()
            for i = 1, #bad, 6 do
                local c = web.open(port.web)
                for at = 1, #bad[i][3] do
                    if not c:send(bad[i][3]:sub(at, at)) then
                        break
                    end
                end
                local r = c:reply()
                if r then -- else reset: it went on sending behind the answer
                    assert.is_true(r.status >= 400, bad[i][1])
                end
                c:close()
            end
            assert_well()
        end)
    end)

    describe("size", function()
        it("of the head is 431, of the target 414", function()
            for _, case in ipairs({
                { 431, web.text("/probe/call",
                    { headers = { "X: " .. ("a"):rep(2000) } }) },
                { 414, web.text("/probe/call?" .. ("a"):rep(2000)) },
                { 414, "GET /" .. ("a"):rep(2000) },
                { 431, web.text("/probe/call",
                    { headers = { ("X: 1\r\n"):rep(11) .. "X: 1" } }) },
                { 431, "GET / HTTP/1.1\r\nX: " .. ("a"):rep(2000) },
            }) do
                local c = web.open(port.tight)
                c:send(case[2])
                assert.equal(case[1], c:reply().status)
                assert.is_true(c:is_closed())
                c:close()
            end
            local fits = web.ask(port.tight, "/probe/call",
                { headers = { ("X: 1\r\n"):rep(8) .. "X: 1" } })
            assert.equal(200, fits.status)
        end)

        it("of the body is 413, before it is read", function()
            local c = web.open(port.tight)
            c:send("POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                .. "Content-Length: 1025\r\n\r\n")
            assert.equal(413, c:reply().status)
            c:close()
            c = web.open(port.tight)
            c:send("POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                .. "Transfer-Encoding: chunked\r\n\r\n401\r\n")
            assert.equal(413, c:reply().status)
            c:close()
            c = web.open(port.tight)
            c:send("POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                .. "Transfer-Encoding: chunked\r\n\r\n"
                .. ("80\r\n" .. ("x"):rep(128) .. "\r\n"):rep(9))
            assert.equal(413, c:reply().status)
            c:close()
            local fits = web.ask(port.tight, "/probe/body",
                { body = ("x"):rep(1024) })
            assert.same({ n = 1024 }, web.json(fits))
        end)

        it("of a chunk's extension or of trailers is bounded", function()
            for _, rest in ipairs({
                "1;" .. ("x"):rep(2000000),
                "0\r\n" .. ("X: y\r\n"):rep(300000),
                ("0"):rep(2000000),
            }) do
                local before = resident()
                local c = web.open(port.web)
                c:send("POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                    .. "Transfer-Encoding: chunked\r\n\r\n" .. rest)
                local r = c:reply()
                if r then
                    assert.is_true(r.status >= 400, r.status)
                end
                c:close()
                assert.is_true(resident() - before < 4096)
            end
            assert_well()
        end)

        it("of 100,000 headers is refused in flat memory", function()
            local text = "GET /probe/call HTTP/1.1\r\nHost: x\r\n"
                .. ("X-Header: value\r\n"):rep(100000) .. "\r\n"
            local before = resident()
            for _ = 1, 5 do
                local c = web.open(port.web)
                c:send(text)
                local r = c:reply()
                if r then
                    assert.equal(431, r.status)
                end
                c:close()
            end
            assert_well()
            assert.is_true(resident() - before < 4096)
        end)
    end)

    describe("slowness", function()
        it("of head and body is 408", function()
            for _, text in ipairs({
                "G", "GET / HTTP/1.1\r\nHost:",
                "POST /probe/body HTTP/1.1\r\nHost: x\r\nContent-Length: 9"
                    .. "\r\n\r\nabc",
                "POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                    .. "Transfer-Encoding: chunked\r\n\r\n3\r\na",
            }) do
                local c = web.open(port.short)
                c:send(text)
                assert.equal(408, c:reply().status, text)
                assert.is_true(c:is_closed())
                c:close()
            end
        end)

        it("of a head that comes byte by byte is 408", function()
            local c = web.open(port.short)
            local text = "GET / HTTP/1.1\r\nX: " .. ("y"):rep(1000)
            local at = 0
            server.until_(function()
                at = at + 1
                return not c:send(text:sub(at, at)) or c:has_more(0.02)
            end)
            local r = c:reply()
            assert.equal(408, r and r.status)
            c:close()
        end)

        it("between requests ends without a word", function()
            local c = web.open(port.short)
            assert.equal(200, c:ask("/probe/call").status)
            assert.is_true(c:is_closed())
            c:close()
            c = web.open(port.short)
            assert.is_true(c:is_closed())
            c:close()
        end)

        it("of a script does not count", function()
            local c = web.open(port.short)
            assert.equal(200, c:ask("/probe/nap").status)
            c:close()
        end)

        it("of the reader of a stream takes no memory", function()
            local before = resident()
            local c = web.open(port.web)
            c:send(web.text("/probe/flood"))
            c:has_more(5)
            assert_well()
            assert.is_true(resident() - before < 8192, resident() - before)
            local r = assert(c:reply())
            assert.equal(200 * 65536, #r.body)
            c:close()
        end)

        it("of a reader that takes nothing closes its conn", function()
            for _, path in ipairs({ "/probe/much", "/probe/flood" }) do
                local c = web.open(port.lazy)
                c:send(web.text(path))
                server.until_(function()
                    local _, n = s:output():gsub("port lazy: closed", "")
                    return n == (path == "/probe/much" and 1 or 2)
                end, "it is closed")
                c:close()
            end
            assert_well()
        end)

        it("of a reader that takes a little each time is borne", function()
            local c = web.open(port.lazy)
            c:send(web.text("/probe/much"))
            repeat
                local line = c.sock:receive("*l")
            until line == ""
            local got = 0
            for _ = 1, 20 do
                got = got + #c.sock:receive(65536)
                socket.sleep(0.04) -- the reader's own pace
            end
            got = got + #c.sock:receive(3e7 - got)
            assert.equal(3e7, got)
            c:close()
        end)

        it("of a reader that goes away ends the stream", function()
            local c = web.open(port.web)
            c:send(web.text("/probe/flood"))
            c:has_more(5)
            c:close()
            server.until_(function()
                local _, value = web.call(port.web, "/probe/flood_err")
                return value.err == "gone"
            end, "the script learns it")
        end)
    end)

    it("comes in thousands: flat memory and few lines", function()
        local function storm(n)
            for i = 1, n do
                local c = web.open(port.web)
                c:send(bad[i % #bad + 1][3])
                c:reply()
                c:close()
            end
        end
        storm(200)
        local before, lines = resident(), select(2, s:output():gsub("\n", ""))
        storm(1000)
        assert_well()
        local grown = resident() - before
        assert.is_true(grown < 4096, "grown by " .. grown .. " KiB")
        local more = select(2, s:output():gsub("\n", "")) - lines
        assert.is_true(more <= 60, more .. " lines")
    end)

    it("leaves a half request of nobody behind", function()
        local list = {}
        for i = 1, 200 do
            list[i] = web.open(port.web)
            list[i]:send("POST /probe/body HTTP/1.1\r\nHost: x\r\n"
                .. "Content-Length: 1000\r\n\r\nabc")
        end
        assert_well()
        for _, c in ipairs(list) do
            c:close()
        end
        server.until_(function()
            return s:process("worker").conns == 0
        end, "all conns end")
    end)
end)

describe("a worker out of file descriptors", function()
    it("accepts later and keeps who is in", function()
        local s = server.start({
            ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
            ["config/ports.lua"] = files["config/ports.lua"],
            ["scripts/controllers/probe.lua"] =
                files["scripts/controllers/probe.lua"],
        })
        finally(function()
            s:stop()
        end)
        local port, pid = s:port("web"), s:process("worker").pid
        local old = web.open(port)
        assert.equal(200, old:ask("/probe/call").status)
        local open = tonumber(server.shell("ls /proc/" .. pid
            .. "/fd | wc -l"):match("%d+"))
        local set = "prlimit --pid " .. pid .. " --nofile="
        server.shell(set .. (open + 10) .. ":20000")
        local list = {}
        for i = 1, 40 do
            list[i] = web.open(port) -- the kernel's queue takes them
            list[i]:send(web.text("/probe/call"))
        end
        server.until_(function()
            return s:output():find("accepting pauses", 1, true)
        end, "it says so")
        for _ = 1, 20 do
            assert.equal(200, old:ask("/probe/call").status)
        end
        local limit = socket.gettime() + 0.5
        repeat
            assert.equal(200, old:ask("/probe/call").status)
        until socket.gettime() > limit
        local lines = select(2, s:output():gsub("accepting pauses", ""))
        assert.is_true(lines <= 12, lines .. " lines")
        server.shell(set .. "20000:20000")
        for _, c in ipairs(list) do
            assert.equal(200, c:reply().status)
            c:close()
        end
        assert.equal(200, old:ask("/probe/call").status)
        old:close()
    end)
end)
