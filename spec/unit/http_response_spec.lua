local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/http_response.h")
c.use("base/err.h")

local date = "Sun, 06 Nov 1994 08:49:37 GMT"

local function slice(s)
    return ffi.new("struct slice", { ffi.cast("const char *", s), #s })
end

--- What `fn(buf)` writes.
local function written(fn)
    local buf = ffi.new("struct buf")
    local err = fn(buf)
    local text = ffi.string(buf.p + buf.head, buf.len)
    lib.buf_fini(buf)
    return text, err
end

local function head(fields)
    local r = ffi.new("struct http_response")
    r.status, r.minor, r.keep_alive = 200, 1, true
    for name, value in pairs(fields) do
        r[name] = type(value) == "string" and name ~= "date" and slice(value) or value
    end
    return written(function(buf)
        lib.http_response_head(buf, r)
    end)
end

describe("http_response_head", function()
    it("writes a whole head", function()
        local text = head({
            length = 12,
            date = date,
            type = "text/plain",
            headers = "X-A: b\r\n",
        })
        assert.equal(
            "HTTP/1.1 200 OK\r\nDate: "
                .. date
                .. "\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nX-A: b\r\n\r\n",
            text
        )
    end)

    it("says what happens to the connection", function()
        assert.truthy(head({ keep_alive = false }):find("\r\nConnection: close\r\n", 1, true))
        assert.falsy(head({}):find("Connection", 1, true))
        assert.truthy(head({ minor = 0 }):find("\r\nConnection: keep-alive\r\n", 1, true))
    end)

    it("frames bodies of unknown length", function()
        local text = head({ length = lib.HTTP_BODY_CHUNKED })
        assert.truthy(text:find("\r\nTransfer-Encoding: chunked\r\n", 1, true))
        assert.falsy(text:find("Content-Length", 1, true))
        text = head({ length = lib.HTTP_BODY_CLOSE, keep_alive = false })
        assert.equal("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", text)
    end)

    it("gives bodiless statuses no length", function()
        assert.equal("HTTP/1.1 204 No Content\r\n\r\n", head({ status = 204 }))
        assert.equal("HTTP/1.1 304 Not Modified\r\n\r\n", head({ status = 304 }))
        assert.equal(
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            head({ status = 101, keep_alive = false })
        )
    end)

    it("writes lengths up to 2^53", function()
        assert.truthy(head({ length = 2 ^ 53 }):find(": 9007199254740992\r\n", 1, true))
        assert.truthy(head({ length = 0 }):find("Content-Length: 0\r\n", 1, true))
    end)

    it("writes a status without a name", function()
        assert.equal("HTTP/1.1 599 Unknown\r\nContent-Length: 0\r\n\r\n", head({ status = 599 }))
        assert.equal("HTTP/1.1 299 Unknown\r\nContent-Length: 0\r\n\r\n", head({ status = 299 }))
    end)
end)

describe("http_response_reason", function()
    it("names statuses", function()
        local function reason(status)
            local s = lib.http_response_reason(status)
            return ffi.string(s.p, s.len)
        end
        assert.equal("OK", reason(200))
        assert.equal("Request Header Fields Too Large", reason(431))
        assert.equal("Unknown", reason(299))
        assert.equal("Unknown", reason(99))
        assert.equal("Unknown", reason(1000))
    end)
end)

describe("http_response_write", function()
    it("writes head and body together", function()
        local r = ffi.new("struct http_response")
        r.status, r.minor, r.keep_alive = 404, 1, true
        local text = written(function(buf)
            lib.http_response_write(buf, r, slice("gone\0!"))
            lib.http_response_write(buf, r, slice(""))
        end)
        assert.equal(
            "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\ngone\0!"
                .. "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            text
        )
    end)
end)

describe("http_response_header", function()
    local function add(name, value)
        local text, err = written(function(buf)
            lib.buf_append_str(buf, "A: b\r\n")
            return lib.http_response_header(buf, slice(name), slice(value))
        end)
        if err < 0 then
            assert.equal("A: b\r\n", text)
        end
        return err, text
    end

    it("appends a line", function()
        local err, text = add("X-Thing", "a\tb \195\164")
        assert.equal(0, err)
        assert.equal("A: b\r\nX-Thing: a\tb \195\164\r\n", text)
        err, text = add("x", "")
        assert.equal(0, err)
        assert.equal("A: b\r\nx: \r\n", text)
    end)

    it("refuses what could end or split a line", function()
        for _, bad in ipairs({ "\r", "\n", "\r\n", "\0", "\27", "\127", "\11", "\31" }) do
            for at = 0, 20 do
                local padded = ("x"):rep(at) .. bad .. ("y"):rep(20 - at)
                assert.equal(lib.SD_EINVALID, (add("X", padded)))
                assert.equal(lib.SD_EINVALID, (add(padded, "x")))
            end
        end
        for _, name in ipairs({ "", "a b", "a:", "a/b", "\195\164", '"a"', "(a)" }) do
            assert.equal(lib.SD_EINVALID, (add(name, "x")))
        end
    end)

    it("refuses headers that are the server's to write", function()
        for _, name in ipairs({
            "Content-Length",
            "TRANSFER-ENCODING",
            "connection",
            "Keep-Alive",
            "Date",
            "Trailer",
            "Upgrade",
        }) do
            assert.equal(lib.SD_EREFUSED, (add(name, "x")))
        end
    end)
end)

describe("http_response_chunk", function()
    it("frames chunks, skips empty ones, and ends", function()
        local text = written(function(buf)
            lib.http_response_chunk(buf, slice("hello"))
            lib.http_response_chunk(buf, slice(""))
            lib.http_response_chunk(buf, slice(("x"):rep(26)))
            lib.http_response_chunk_end(buf)
        end)
        assert.equal("5\r\nhello\r\n1a\r\n" .. ("x"):rep(26) .. "\r\n0\r\n\r\n", text)
    end)
end)

describe("http_response_continue", function()
    it("is an interim answer", function()
        local text = written(function(buf)
            lib.http_response_continue(buf)
        end)
        assert.equal("HTTP/1.1 100 Continue\r\n\r\n", text)
    end)
end)
