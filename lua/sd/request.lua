--- HTTP: the request as scripts read it, and the response they write.

local core = require("sd.core")
local fault = require("sd.fault")
local go = require("sd.go")

---@class sd.request
local request = {}

---@class sd.Request
---@field method string
---@field path string
---@field query table<string, string>
---@field query_all table<string, string[]>
---@field headers table<string, string> names in lower case
---@field cookies table<string, string>
---@field body string
---@field form table<string, string>
---@field form_all table<string, string[]>
---@field files table<string, table>
---@field protocol string

local fields = {}

local function read_pairs(self, name, text)
    local last, all = core.pairs(text)
    if not last then
        fault.fail(400, "unreadable " .. name)
    end
    rawset(self, name, last)
    rawset(self, name .. "_all", all)
end

function fields.query(self)
    read_pairs(self, "query", self.raw_query)
    return rawget(self, "query")
end

function fields.query_all(self)
    read_pairs(self, "query", self.raw_query)
    return rawget(self, "query_all")
end

local function read_form(self)
    local kind = self.headers["content-type"] or ""
    local is_form = kind:find("^application/x%-www%-form%-urlencoded")
    read_pairs(self, "form", is_form and self.body or "")
end

function fields.form(self)
    read_form(self)
    return rawget(self, "form")
end

function fields.form_all(self)
    read_form(self)
    return rawget(self, "form_all")
end

function fields.cookies(self)
    local cookies = core.cookies(self.headers.cookie or "")
    rawset(self, "cookies", cookies)
    return cookies
end

function fields.files(self)
    rawset(self, "files", {})
    return rawget(self, "files")
end

local Request = {
    __index = function(self, key)
        local get = fields[key]
        return get and get(self)
    end,
}

--- What was asked, whole: it can be read after the answer too.
---@param number integer
---@return sd.Request
function request.new(number)
    local method, path = core.http_call(number)
    local query, headers, protocol = core.http_head(number)
    return setmetatable({
        method = method,
        path = path,
        raw_query = query,
        headers = headers,
        body = core.http_body(number),
        protocol = protocol,
    }, Request)
end

--- The first that sends wins; the others do nothing.
---@class sd.Response
---@field private number integer
---@field private lines string[]
local Response = {}
Response.__index = Response

---@param number integer
---@return sd.Response
function request.response(number)
    return setmetatable({ number = number, code = 200, lines = {} }, Response)
end

--- Status of the answer, 200 if not set.
---@param code integer
function Response:status(code)
    if type(code) ~= "number" or code < 200 or code > 599 or code % 1 ~= 0 then
        fault.misuse("bad status (200 to 599 expected)")
    end
    self.code = code
    self.has_code = true
    return self
end

--- Text as it goes out; what is neither text nor a number raises.
---@param value any
---@param what string for the message
---@return string
local function text_of(value, what)
    if type(value) ~= "string" and type(value) ~= "number" then
        fault.misuse(
            "bad " .. what .. " (text expected, got " .. type(value) .. ")"
        )
    end
    return tostring(value)
end

--- Add a header. Framing (Content-Length ...) is not yours to set.
---@param name string
---@param value string|number
function Response:header(name, value)
    name, value = text_of(name, "header"), text_of(value, "header")
    local line = core.http_line(name, value)
    if not line then
        fault.misuse("bad header '" .. name .. "'")
    end
    if name:lower() == "content-type" then
        self.kind = value
    else
        table.insert(self.lines, line)
    end
    return self
end

local same_sites = { lax = true, strict = true, none = true }

--- Set a cookie.
---@param name string
---@param value string|number
---@param opts? {http_only?: boolean, secure?: boolean, max_age?: integer,
---  same_site?: string, path?: string, domain?: string} http_only and
---  same_site = "lax" unless said otherwise
function Response:cookie(name, value, opts)
    local all = { http_only = true, same_site = "lax" }
    for key, own in pairs(fault.options(opts)) do
        all[key] = own
    end
    if not same_sites[all.same_site] then
        fault.misuse("bad same_site (lax, strict or none expected)")
    end
    name, value = text_of(name, "cookie"), text_of(value, "cookie")
    local text = core.cookie(name, value, all)
    if not text then
        fault.misuse("bad cookie '" .. name .. "'")
    end
    return self:header("Set-Cookie", text)
end

local function send(self, kind, body)
    return core.http_respond(
        self.number,
        self.code,
        self.kind or kind,
        table.concat(self.lines),
        body
    )
end

function Response:json(value)
    if self.kind then
        return send(self, self.kind, core.json_encode(value))
    end
    local lines = table.concat(self.lines)
    return core.http_value(self.number, self.code, lines, value)
end

function Response:text(text)
    return send(self, "text/plain; charset=utf-8", text_of(text, "text"))
end

function Response:html(text)
    return send(self, "text/html; charset=utf-8", text_of(text, "text"))
end

--- Send elsewhere.
---@param url string
---@param code? integer 302 if not given
function Response:redirect(url, code)
    code = code or 302
    if type(code) ~= "number" or code < 300 or code > 399 then
        fault.misuse("bad redirect (300 to 399 expected)")
    end
    self:header("Location", url)
    self:status(code)
    return send(self, nil, "")
end

--- A file below `public` or `run/`.
---@param path string
---@param opts? {name?: string, type?: string}
---@return true? ok
---@return string? err
function Response:file(path, opts)
    opts = fault.options(opts)
    path = text_of(path, "path")
    local kind = opts.type or self.kind
    if kind and not core.http_line("content-type", kind) then
        fault.misuse("bad content type")
    end
    if opts.name then
        local name = text_of(opts.name, "name"):gsub('[%c"\\]', "_")
        self:header(
            "Content-Disposition",
            'attachment; filename="' .. name .. '"'
        )
    end
    local root, relative = core.public(self.number), path
    if path:find("^run/") then
        root, relative = "run", path:sub(5)
    elseif root and path:sub(1, #root + 1) == root .. "/" then
        relative = path:sub(#root + 2)
    end
    if not root then
        return nil, "offline: no such file"
    end
    local lines = table.concat(self.lines)
    return core.http_file(self.number, root, relative, kind, lines)
end

--- Send a piece of the body now; the rest follows.
---@async
---@param chunk string
---@return true? ok
---@return string? err "gone", "timeout"
function Response:write(chunk)
    local kind = self.kind or "text/plain; charset=utf-8"
    local ok, err = core.http_write(
        self.number,
        self.code,
        kind,
        table.concat(self.lines),
        text_of(chunk, "chunk")
    )
    while ok and core.http_is_slow(self.number) do
        local rested, why = go.sleep(0.01)
        if not rested then
            return nil, why
        elseif core.http_is_gone(self.number) then
            return nil, "gone"
        end
    end
    return ok, err
end

return request
