local http1 = require("spec.support.http1")

local good = "POST /chat/join?a=b HTTP/1.1\r\nHost: example.org:81\r\n"
    .. "User-Agent: Spec/1\r\nX-Empty:\r\nContent-Length: 5\r\n"
    .. "Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
    .. "Expect: 100-continue\r\n\r\n"

local function every_byte(request)
    local cuts = {}
    for i = 0, #request - 1 do
        cuts[i + 1] = i
    end
    return cuts
end

describe("http1_parse", function()
    for i, case in ipairs(require("spec.support.http1_table")) do
        local name, verdict, request, expected = unpack(case)

        it(("answers %s to %s (%d)"):format(verdict, name, i), function()
            local whole = http1.parse(request)
            assert.equal(verdict, whole.status)
            for field, value in pairs(expected or {}) do
                assert.equal(value, whole[field], field)
            end
        end)

        it(("answers the same to any split of %s (%d)"):format(name, i), function()
            local whole = http1.parse(request)
            assert.same(whole, http1.parse(request, every_byte(request)))
            for cut = 0, #request do
                assert.same(whole, http1.parse(request, { cut }))
            end
        end)
    end

    it("tells everything about a request", function()
        assert.same({
            status = 0,
            size = #good,
            method = "POST",
            method_name = "POST",
            target = "/chat/join?a=b",
            path = "/chat/join",
            query = "a=b",
            host = "example.org:81",
            length = 5,
            minor = 1,
            chunked = false,
            keep_alive = false,
            expect = true,
            upgrade = true,
            websocket = true,
            headers = {
                { "host", "example.org:81" },
                { "user-agent", "Spec/1" },
                { "x-empty", "" },
                { "content-length", "5" },
                { "connection", "Upgrade, close" },
                { "upgrade", "websocket" },
                { "expect", "100-continue" },
            },
        }, http1.parse(good))
    end)

    it("stops at the end of the head", function()
        local r = http1.parse(good .. "hello" .. good)
        assert.equal(#good, r.size)
        assert.equal(5, r.length)
    end)

    it("judges lines as they come, before the head is complete", function()
        assert.equal(400, http1.parse("GET / HTTP/1.1\r\nHost : a\r\nA").status)
        assert.equal(505, http1.parse("GET / HTTP/3.1\r\n").status)
        assert.equal(400, http1.parse("\r\n ").status)
    end)
end)

describe("the limits of http1_parse", function()
    it("let a head of exactly max_head bytes pass", function()
        assert.equal(0, http1.parse(good, nil, { head = #good }).status)
        assert.equal(0, http1.parse(good .. "x", nil, { head = #good }).status)
    end)

    it("refuse a head of one byte more with 431, in any portions", function()
        local limits = { head = #good - 1 }
        assert.equal(431, http1.parse(good, nil, limits).status)
        assert.equal(431, http1.parse(good, every_byte(good), limits).status)
        assert.equal(431, http1.parse(good:sub(1, -2), nil, limits).status)
        assert.equal("more", http1.parse(good:sub(1, -3), nil, limits).status)
    end)

    it("refuse a request line that fills the head with 414", function()
        local long = "GET /" .. ("a"):rep(300)
        local limits = { head = 256 }
        assert.equal(414, http1.parse(long, nil, limits).status)
        assert.equal(414, http1.parse(long, every_byte(long), limits).status)
        assert.equal("more", http1.parse(long:sub(1, 255), nil, limits).status)
    end)

    it("count headers", function()
        assert.equal(0, http1.parse(good, nil, { headers = 7 }).status)
        assert.equal(431, http1.parse(good, nil, { headers = 6 }).status)
        assert.equal(431, http1.parse(good, every_byte(good), { headers = 6 }).status)
    end)

    it("hold against 100,000 headers", function()
        local many = "GET / HTTP/1.1\r\nHost: a\r\n" .. ("a:\r\n"):rep(100000) .. "\r\n"
        assert.equal(431, http1.parse(many).status)
        assert.equal(431, http1.parse(many, { 9000, 20000 }).status)
    end)
end)

describe("http1_find", function()
    local ffi = require("ffi")

    it("finds the first header of a name", function()
        local text = "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
        local array = ffi.new("struct http1_header[8]")
        local head = ffi.new("struct http1_head")
        local bytes = ffi.new("char[?]", #text)
        ffi.copy(bytes, text, #text)
        http1.lib.http1_init(head, array, 8, 4096)
        assert.equal(0, http1.lib.http1_parse(head, bytes, #text))
        local value = ffi.new("struct slice")
        assert.is_true(http1.lib.http1_find(value, head, "x-a"))
        assert.equal("1", ffi.string(value.p, value.len))
        assert.is_false(http1.lib.http1_find(value, head, "x-"))
    end)
end)
