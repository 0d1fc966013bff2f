local netserver = require("spec.support.netserver")
local socket = require("socket")

local read_response = netserver.read_response

describe("an HTTP port", function()
    local server, folder

    local function start(options)
        options = options or {}
        options.protocol = "http"
        server = netserver.start(options)
        return server:connect()
    end

    local function get(s, path, more)
        s:send("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n" .. (more or "")
            .. "\r\n")
        return read_response(s)
    end

    local function with_files()
        folder = os.tmpname()
        os.remove(folder)
        assert(os.execute("mkdir -p " .. folder .. "/sub"))
        local function put(name, text)
            local f = assert(io.open(folder .. "/" .. name, "w"))
            f:write(text)
            f:close()
        end
        put("index.html", "<p>home</p>")
        put("sub/page.txt", "page")
        put("big.bin", ("0123456789"):rep(200000))
        put(".secret", "no")
        assert(os.execute("ln -s /etc/passwd " .. folder .. "/out"))
        return start({ public = folder })
    end

    after_each(function()
        if server then
            server:stop()
            server = nil
        end
        if folder then
            os.execute("rm -rf " .. folder)
            folder = nil
        end
    end)

    it("answers request after request on one conn", function()
        local s = start()
        for _ = 1, 3 do
            local status, headers, body = get(s, "/hi")
            assert.equal(200, status)
            assert.equal("application/json", headers["content-type"])
            assert.truthy(headers.date:find("GMT$"))
            assert.equal('{"hello":"world"}', body)
        end
    end)

    it("answers pipelined requests in order and in one write", function()
        local s = start()
        local all = {}
        for i = 1, 50 do
            all[i] = "GET /echo?" .. i .. " HTTP/1.1\r\nHost: x\r\n\r\n"
        end
        s:send(table.concat(all))
        for i = 1, 50 do
            local _, _, body = read_response(s)
            assert.truthy(body:find('"query":"' .. i .. '"', 1, true))
        end
        s:close()
        local counters = server:stop()
        server = nil
        assert.equal(50, counters.requests)
        assert.is_true(counters.writes <= 3)
    end)

    it("keeps the order when some answers come later", function()
        local s = start()
        local all = {}
        for i = 1, 10 do
            all[i] = ("POST /%s?%d HTTP/1.1\r\nHost: x\r\n"
                .. "Content-Length: 4\r\n\r\nbo%02d"):format(
                i % 3 == 0 and "async" or "echo", i, i)
        end
        s:send(table.concat(all))
        for i = 1, 10 do
            local _, _, body = read_response(s)
            assert.truthy(body:find('"query":"' .. i .. '"', 1, true))
            assert.truthy(body:find(('"body":"bo%02d"'):format(i), 1, true))
        end
    end)

    it("gives the same answer however the bytes are cut", function()
        local s = start()
        local text = "POST /echo?q HTTP/1.1\r\nHost: x\r\nX-Some: Thing\r\n"
            .. "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n"
            .. "0\r\nT: u\r\n\r\nPOST /async HTTP/1.1\r\nHOST: x\r\n"
            .. "Content-Length: 3\r\n\r\nxyz"
        local function check()
            local _, _, one = read_response(s)
            assert.truthy(one:find('"body":"abcde"', 1, true))
            assert.truthy(one:find('"x-some":"Thing"', 1, true))
            local _, _, two = read_response(s)
            assert.truthy(two:find('"body":"xyz"', 1, true))
            assert.truthy(two:find('"host":"x"', 1, true))
        end
        for cut = 1, #text - 1 do
            s:send(text:sub(1, cut))
            if cut % 5 == 0 then
                socket.sleep(0.001)
            end
            s:send(text:sub(cut + 1))
            check()
        end
        for i = 1, #text do
            s:send(text:sub(i, i))
        end
        check()
    end)

    it("takes bodies up to max_body, with a length or in chunks", function()
        local s = start({ max_body = 200000 })
        local body = ("x"):rep(200000)
        s:send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
            .. body)
        local status, _, answer = read_response(s)
        assert.equal(200, status)
        assert.truthy(answer:find(body, 1, true))
        s:send("POST /echo HTTP/1.1\r\nHost: x\r\n"
            .. "Transfer-Encoding: chunked\r\n\r\n30d40\r\n" .. body
            .. "\r\n0\r\n\r\n")
        status, _, answer = read_response(s)
        assert.equal(200, status)
        assert.truthy(answer:find(body, 1, true))
    end)

    it("answers HEAD with the head of GET", function()
        local s = start()
        s:send("HEAD /hi HTTP/1.1\r\nHost: x\r\n\r\n")
        local status, headers = read_response(s, true)
        assert.equal(200, status)
        assert.equal("17", headers["content-length"])
        s:send("HEAD /inplace?5000 HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = read_response(s, true)
        assert.equal(200, status)
        assert.equal("5000", headers["content-length"])
        s:send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert.equal(200, (read_response(s, true)))
        assert.equal(200, (get(s, "/hi")))
    end)

    for _, n in ipairs({ 0, 1, 9, 10, 99, 100, 999, 1000, 99999 }) do
        it("says the length of a body of " .. n .. " made in place", function()
            local s = start()
            s:send(("GET /inplace?%d HTTP/1.1\r\nHost: x\r\n\r\n"):format(n):rep(2))
            for _ = 1, 2 do
                local _, headers, body = read_response(s)
                assert.equal(tostring(n), headers["content-length"])
                assert.equal(("y"):rep(n), body)
            end
        end)
    end

    it("says what it allows", function()
        local s = start({ origins = "https://a.example" })
        s:send("OPTIONS /hi HTTP/1.1\r\nHost: x\r\n"
            .. "Origin: https://a.example\r\n"
            .. "Access-Control-Request-Headers: x-y\r\n\r\n")
        local status, headers = read_response(s)
        assert.equal(204, status)
        assert.equal("GET, POST, HEAD, OPTIONS", headers.allow)
        assert.equal("https://a.example",
            headers["access-control-allow-origin"])
        assert.equal("x-y", headers["access-control-allow-headers"])
        status, headers = get(s, "/hi", "Origin: https://b.example\r\n")
        assert.equal(200, status)
        assert.is_nil(headers["access-control-allow-origin"])
        s:send("DELETE /hi HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = read_response(s)
        assert.equal(405, status)
        assert.equal("GET, POST, HEAD, OPTIONS", headers.allow)
    end)

    it("streams in chunks, and to HTTP/1.0 until the end", function()
        local s = start()
        local _, _, body = get(s, "/stream")
        assert.equal("onetwothree", body)
        s:send("GET /stream HTTP/1.0\r\n\r\n")
        local all = netserver.read_all(s)
        assert.equal("onetwothree", all:match("\r\n\r\n(.*)$"))
        assert.truthy(all:find("Connection: close", 1, true))
    end)

    it("honours Connection", function()
        local s = start()
        local _, headers = get(s, "/hi", "Connection: close\r\n")
        assert.equal("close", headers.connection)
        assert.equal("", (netserver.read_all(s)))
        s = server:connect()
        s:send("GET /hi HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert.equal(200, (read_response(s)))
        s:send("GET /hi HTTP/1.0\r\n\r\n")
        assert.equal(200, (read_response(s)))
        assert.equal("", (netserver.read_all(s)))
    end)

    it("answers 429 to requests over the port's rate", function()
        local s = start({ rate = 2 })
        s:send(("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n"):rep(4))
        for _, status in ipairs({ 200, 200, 429, 429 }) do
            assert.equal(status, (read_response(s)))
        end
        netserver.until_(function()
            s:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n")
            return read_response(s) == 200
        end)
    end)

    it("answers a client that has shut its side", function()
        local s = start()
        s:send("GET /async HTTP/1.1\r\nHost: x\r\n\r\n")
        s:shutdown("send")
        assert.equal(200, (read_response(s)))
        assert.equal("", (netserver.read_all(s)))
    end)

    it("answers all requests of a client that has shut its side", function()
        local s = start()
        s:send(("GET /async HTTP/1.1\r\nHost: x\r\n\r\n"
            .. "GET /hi HTTP/1.1\r\nHost: x\r\n\r\n"):rep(20) .. "GET /half")
        s:shutdown("send")
        for _ = 1, 40 do
            assert.equal(200, (read_response(s)))
        end
        assert.equal("", (netserver.read_all(s)))
    end)

    for _, path in ipairs({ "/hi", "/async" }) do
        it("stops reading a client that pipelines " .. path .. " and reads "
            .. "nothing", function()
            local s = start({ delay = 2000, slow_low = 10000 })
            local many = ("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
                :rep(5000)
            s:settimeout(0.2)
            for _ = 1, 200 do
                local _, err = s:send(many)
                if err == "timeout" then
                    return -- it does not read on, so it holds no more
                end
                assert(not err, err)
            end
            error("it took a million requests without an answer being read")
        end)
    end

    it("asks for the body of a client that waits for it", function()
        local s = start({ max_body = 10 })
        s:send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            .. "Content-Length: 3\r\n\r\n")
        assert.equal("HTTP/1.1 100 Continue", s:receive("*l"))
        assert.equal("", s:receive("*l"))
        s:send("abc")
        assert.equal(200, (read_response(s)))
        s:send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            .. "Content-Length: 11\r\n\r\n")
        assert.equal(413, (read_response(s)))
        assert.equal("", (netserver.read_all(s)))
    end)

    it("learns that the client has gone", function()
        local s = start()
        s:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n"
            .. "GET /async?gone HTTP/1.1\r\nHost: x\r\n\r\n")
        read_response(s)
        server:wait_for("asked")
        s:setoption("linger", { on = true, timeout = 0 })
        s:close()
        server:wait_for("gone")
    end)

    local refused = {
        { "no request at all", "rubbish\r\n\r\n", 400 },
        { "a missing Host", "GET / HTTP/1.1\r\n\r\n", 400 },
        { "a space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400 },
        { "a bare LF", "GET / HTTP/1.1\nHost: x\n\n", 400 },
        { "a folded header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
            400 },
        { "two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
            .. "Content-Length: 2\r\n\r\na", 400 },
        { "a signed length", "POST / HTTP/1.1\r\nHost: x\r\n"
            .. "Content-Length: +1\r\n\r\na", 400 },
        { "a length and chunks", "POST / HTTP/1.1\r\nHost: x\r\n"
            .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "a bad chunk size", "POST / HTTP/1.1\r\nHost: x\r\n"
            .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400 },
        { "a body over max_body", "POST / HTTP/1.1\r\nHost: x\r\n"
            .. "Content-Length: 2000000\r\n\r\n", 413 },
        { "a chunk over max_body", "POST / HTTP/1.1\r\nHost: x\r\n"
            .. "Transfer-Encoding: chunked\r\n\r\nffffff\r\n", 413 },
        { "a long request line", "GET /" .. ("a"):rep(20000), 414 },
        { "another expectation", "GET / HTTP/1.1\r\nHost: x\r\n"
            .. "Expect: gold\r\n\r\n", 417 },
        { "100,000 headers", "GET / HTTP/1.1\r\nHost: x\r\n"
            .. ("a: b\r\n"):rep(100000), 431 },
        { "a long header", "GET / HTTP/1.1\r\nHost: x\r\nA: "
            .. ("a"):rep(20000), 431 },
        { "CONNECT", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501 },
        { "HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505 },
    }
    for _, case in ipairs(refused) do
        it("answers " .. case[3] .. " to " .. case[1], function()
            local s = start()
            s:send(case[2])
            local status, headers, body = read_response(s)
            assert.equal(case[3], status)
            assert.equal("close", headers.connection)
            assert.truthy(body:find('{"error":{"code":' .. case[3], 1, true))
            assert.equal("", (netserver.read_all(s)))
            assert.equal(200, (get(server:connect(), "/hi")))
        end)
    end

    it("answers 408 to slow heads and slow bodies", function()
        local s = start({ head_timeout = 60, body_timeout = 60 })
        local other = server:connect()
        s:send("GET /hi HTTP/1.1\r\nHo")
        other:send("POST /echo HTTP/1.1\r\nHost: x\r\n"
            .. "Content-Length: 10\r\n\r\nabc")
        assert.equal(408, (read_response(s)))
        assert.equal(408, (read_response(other)))
        assert.equal("", (netserver.read_all(server:connect())))
    end)

    it("closes idle conns, not those that are answered slowly", function()
        local s = start({ idle_timeout = 50 })
        assert.equal(200, (get(s, "/async")))
        assert.equal("", (netserver.read_all(s)))
    end)

    it("serves files below its folder", function()
        local s = with_files()
        local status, headers, body = get(s, "/")
        assert.equal(200, status)
        assert.equal("<p>home</p>", body)
        assert.truthy(headers["content-type"]:find("^text/html"))
        assert.equal(304, (get(s, "/",
            "If-None-Match: " .. headers.etag .. "\r\n")))
        assert.equal(304, (get(s, "/",
            "If-Modified-Since: " .. headers["last-modified"] .. "\r\n")))
        status, headers, body = get(s, "/sub/page.txt")
        assert.equal(200, status)
        assert.equal("page", body)
        assert.truthy(headers["content-type"]:find("^text/plain"))
        s:send("HEAD /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = read_response(s, true)
        assert.equal(200, status)
        assert.equal("2000000", headers["content-length"])
        local got = { get(s, "/big.bin") }
        assert.equal(200, got[1])
        assert.is_true(got[3] == ("0123456789"):rep(200000))
        assert.equal(200, (get(s, "/hi")))
    end)

    for _, path in ipairs({ "/../etc/passwd", "/%2e%2e/etc/passwd", "/out",
        "/sub/..%2f..%2fetc/passwd", "/.secret", "/sub", "/sub/", "/none",
        "/index.html%2f", "//index.html", "/%5c..%5cx", "/sub/./page.txt" }) do
        it("has nothing at " .. path, function()
            assert.equal(404, (get(with_files(), path)))
        end)
    end

    it("answers 400 to NUL in a path", function()
        assert.equal(400, (get(with_files(), "/index.html%00.txt")))
    end)

    it("lets requests end when it stops", function()
        local s = start()
        local idle = server:connect()
        get(idle, "/hi")
        s:send("GET /hi HTTP/1.1\r\nHost: x\r\n\r\n"
            .. "GET /async HTTP/1.1\r\nHost: x\r\n\r\n")
        read_response(s)
        server:shut()
        local status, headers = read_response(s)
        assert.equal(200, status)
        assert.equal("close", headers.connection)
        assert.equal("", (netserver.read_all(idle)))
    end)
end)
