--- The HTTP/1.1 parser for specs: feed a request in portions, get a summary.
local c = require("spec.support.c")
local ffi = require("ffi")

local lib = c.use("codec/http1.h")
c.use("base/err.h")

local http1 = { lib = lib }

local methods = {
    [0] = "other",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
}

local function text(head, span)
    return ffi.string(head.base + span.off, span.len)
end

local function summary(head)
    local r = {
        status = 0,
        size = head.size,
        method = methods[tonumber(head.method)],
        method_name = text(head, head.method_name),
        target = text(head, head.target),
        path = text(head, head.path),
        query = text(head, head.query),
        host = text(head, head.host),
        length = tonumber(head.content_length),
        minor = head.minor,
        chunked = head.chunked,
        keep_alive = head.keep_alive,
        expect = head.expect_continue,
        upgrade = head.upgrade,
        websocket = head.websocket,
        headers = {},
    }
    for i = 0, head.count - 1 do
        local h = head.headers[i]
        r.headers[i + 1] = { text(head, h.name), text(head, h.value) }
    end
    return r
end

--- Parse `request`, given in portions that end at the offsets of `cuts` and
--- at its end. Each portion moves to fresh memory, so a slice that was kept
--- is a use after free.
---@param request string
---@param cuts? integer[]
---@param limits? {headers: integer?, head: integer?}
---@return table summary `{status = 0, ...}`, `{status = 400}`, or
---`{status = "more"}`
function http1.parse(request, cuts, limits)
    limits = limits or {}
    local headers = limits.headers or 100
    local array = ffi.new("struct http1_header[?]", headers)
    local head = ffi.new("struct http1_head")
    lib.http1_init(head, array, headers, limits.head or 16384)

    local ends = {}
    for _, n in ipairs(cuts or {}) do
        ends[#ends + 1] = n
    end
    ends[#ends + 1] = #request
    local lowered = request
    for _, n in ipairs(ends) do
        local portion = ffi.new("char[?]", math.max(n, 1))
        ffi.copy(portion, lowered, n)
        local err = lib.http1_parse(head, portion, n)
        if err == 0 then
            return summary(head)
        elseif err ~= lib.SD_EAGAIN then
            assert(err == lib.SD_EPROTO and head.status >= 400)
            return { status = head.status }
        end
        assert(head.status == 0)
        lowered = ffi.string(portion, n) .. request:sub(n + 1)
    end
    return { status = "more" }
end

return http1
