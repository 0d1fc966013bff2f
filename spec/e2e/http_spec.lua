-- HTTP through Lua controllers: what a request is, what answers it, and what
-- comes of each way to answer. What is wrong on the wire: http_bad_spec.
local cjson = require("cjson")
local server = require("spec.support.server")
local web = require("spec.support.web")

local PORTS = [[
return {
    web = { listen = "127.0.0.1:0", protocol = "http", max_body = "64k" },
    cors = { listen = "127.0.0.1:0", protocol = "http",
        origins = { "https://ok.example" } },
    any = { listen = "127.0.0.1:0", protocol = "http", origins = "*" },
    rest = { listen = "127.0.0.1:0", protocol = "http",
        http_methods = { "GET", "PUT", "DELETE" } },
    brief = { listen = "127.0.0.1:0", protocol = "http", timeout = "100ms" },
    bare = { listen = "127.0.0.1:0", protocol = "http", public = false,
        controllers = { "answer" } },
}]]

local ANSWER = [[
local sd = require("sd")
local Answer = {}
function Answer:map() return { a = 1, b = { true, sd.null } } end
function Answer:list() return { 1, 2 } end
function Answer:text() return "h\u{fc}llo" end
function Answer:empty_text() return "" end
function Answer:empty() end
function Answer:no() return false end
function Answer:number() return 7 end
function Answer:params(p) return { p = p } end
function Answer:err(p) return nil, p.text, p.code end
function Answer:fail(p) sd.fail(p.code, p.text) end
function Answer:raise() error("secret") end
function Answer:raise_table() error({}) end
function Answer:nan() return { 0 / 0 } end
function Answer:binary() return { "\255" } end
function Answer:bytes() return "\0\255" end
function Answer:nap(p) sd.sleep(tonumber(p.s)) return { s = p.s } end
function Answer:_private() return "no" end
function Answer:status() self.response:status(201) return { made = true } end
function Answer:status_text() self.response:status(202) return "x" end
function Answer:headers()
    self.response:header("X-One", 1):header("X-Two", "two")
    return { ok = true }
end
function Answer:kind()
    self.response:header("Content-Type", "text/csv")
    return "a,b"
end
function Answer:json() self.response:json({ j = 1 }) return { not_me = 1 } end
function Answer:json_list() self.response:json(sd.array()) end
function Answer:txt() self.response:text("t") self.response:text("again") end
function Answer:html() self.response:status(203):html("<p>") end
function Answer:to() self.response:redirect("/x?y=1") end
function Answer:to_for_good() self.response:redirect("https://a.b/", 301) end
function Answer:cookie()
    self.response:cookie("a", "1", { http_only = true, same_site = "lax" })
    self.response:cookie("b", "2", { max_age = 60, secure = true })
    return { ok = true }
end
function Answer:sent_then_raises() self.response:text("sent") error("late") end
function Answer:sent_then_err() self.response:text("sent") return nil, "x" end
function Answer:stream()
    for i = 1, 3 do self.response:write("part " .. i .. "\n") end
end
function Answer:stream_kind()
    self.response:status(206):header("Content-Type", "text/event-stream")
    self.response:write("data: 1\n\n")
    sd.sleep(0.01)
    self.response:write("")
    self.response:write("data: 2\n\n")
end
function Answer:stream_text()
    self.response:write("a")
    self.response:text("b")
    return "c"
end
function Answer:stream_raises() self.response:write("a") error("late") end
function Answer:late()
    local response = self.response
    sd.after(0.05, function()
        Answer.said = { pcall(response.text, response, "late") }
    end)
    return { ok = true }
end
function Answer:late_said() return { said = Answer.said } end
function Answer:bad(p)
    local r = self.response
    local calls = {
        header_value = function() r:header("X-A", "b\r\nSet-Cookie: c=1") end,
        header_name = function() r:header("X-A\r\nX-B", "b") end,
        header_lf = function() r:header("X-A", "b\nX-B: c") end,
        header_nul = function() r:header("X-A", "b\0") end,
        header_space = function() r:header("X A", "b") end,
        header_empty = function() r:header("", "b") end,
        header_type = function() r:header("Content-Type", "a\r\nX: b") end,
        header_length = function() r:header("Content-Length", "3") end,
        header_coding = function() r:header("transfer-encoding", "x") end,
        redirect = function() r:redirect("/a\r\nX: b") end,
        cookie_value = function() r:cookie("a", "b\r\nX: c") end,
        cookie_name = function() r:cookie("a\r\nb", "c") end,
        cookie_semicolon = function() r:cookie("a", "b; domain=evil") end,
        cookie_path = function() r:cookie("a", "b", { path = "/\r\nX: y" }) end,
        header_nil = function() r:header("X-B") end,
        header_table = function() r:header("X-B", {}) end,
        cookie_nil = function() r:cookie("a") end,
        redirect_nil = function() r:redirect() end,
        redirect_code = function() r:redirect("/x", 200) end,
        text_nil = function() r:text() end,
        html_table = function() r:html({}) end,
        write_nil = function() r:write() end,
        file_nil = function() r:file() end,
        file_name = function() r:file("a.txt", { name = {} }) end,
        json_function = function() r:json(print) end,
        status_low = function() r:status(42) end,
        status_text = function() r:status("ok") end,
    }
    local ok, why = pcall(calls[p.what])
    return { ok = ok, why = why }
end
return Answer]]

local ASKED = [[
local sd = require("sd")
local Asked = {}
local names = { "method", "path", "query", "query_all", "headers", "cookies",
    "body", "form", "form_all", "protocol", "files" }
function Asked:all()
    local out = {}
    for _, name in ipairs(names) do out[name] = self.request[name] end
    return out
end
function Asked:after_wait()
    sd.sleep(0.02)
    return { body = self.request.body, q = self.request.query.q,
        h = self.request.headers["x-h"] }
end
function Asked:after_answer()
    local r = self.request
    self.response:text("done")
    Asked.kept = { r.body, r.query.q, r.headers.host }
end
function Asked:kept() return Asked.kept end
function Asked:me()
    return { peer = self.peer, port = self.port, uid = self.uid,
        id = self.context.request_id, deadline = self.context.deadline }
end
function Asked:word(p)
    local ok, why = pcall(function()
        if p.word == "session" then return self.session end
        return self[p.word](self, "x")
    end)
    return { ok = ok, why = why }
end
function Asked:inner() return { who = self:model("who"):name() } end
return Asked]]

local files = {
    ["config/server.lua"] = "return { workers = 1, tasks = 0 }",
    ["config/ports.lua"] = PORTS,
    ["scripts/controllers/answer.lua"] = ANSWER,
    ["scripts/controllers/asked.lua"] = ASKED,
    ["scripts/controllers/shop/cart.lua"] = [[
return { list = function() return "cart" end }]],
    ["scripts/models/who.lua"] = [[
return { name = function(self) return self.context.request_id ~= nil end }]],
    ["scripts/controllers/files.lua"] = [[
local Files = {}
function Files:get(p)
    local opts = { name = p.name, type = p.type }
    local ok, err = self.response:file(p.path, opts)
    if not ok then return nil, err end
end
return Files]],
    ["scripts/public/index.html"] = "<h1>home</h1>",
    ["scripts/public/answer/map"] = "hidden",
    ["scripts/public/sub/index.html"] = "sub",
    ["scripts/public/a.txt"] = "text",
    ["scripts/public/empty.css"] = "",
    ["scripts/public/sp ace.js"] = "js",
    ["scripts/public/.hidden"] = "dot",
    ["scripts/secret.txt"] = "secret",
}

describe("HTTP", function()
    local s, port

    setup(function()
        s = server.new(files)
        s:write("scripts/public/big.bin", ("0123456789abcdef"):rep(65536))
        s:write("run/upload/u.txt", "uploaded")
        s:write("run/other.txt", "other")
        server.shell(("cd %s/scripts/public && ln -s ../secret.txt out.txt && "
            .. "ln -s a.txt in.txt && ln -s /etc/hostname abs.txt"):format(s.dir))
        s:launch()
        s:wait_ready()
        port = {}
        for _, p in ipairs(s:status().ports) do
            port[p.name] = p.port
        end
    end)

    teardown(function()
        assert.equal(0, s:stop())
    end)

    local function call(path, params, name)
        return web.call(port[name or "web"], path, params)
    end

    local function error_of(path, params, name)
        local status, value = call(path, params, name)
        return status, value.error.code, value.error.message
    end

    describe("a request", function()
        it("has the fields of the page", function()
            local reply = web.ask(port.web, "/asked/all?a=1&b=2&a=3&c=%20x+y", {
                body = "f=1&f=2&g=%C3%BC&h",
                headers = {
                    "Content-Type: application/x-www-form-urlencoded",
                    "X-Twice: one", "X-twice: two",
                    "Cookie: k=v; l=\"w\"; m=",
                },
            })
            local r = web.json(reply)
            assert.equal("POST", r.method)
            assert.equal("/asked/all", r.path)
            assert.same({ a = "3", b = "2", c = " x y" }, r.query)
            assert.same({ a = { "1", "3" }, b = { "2" }, c = { " x y" } },
                r.query_all)
            assert.equal("one, two", r.headers["x-twice"])
            assert.equal("x", r.headers.host)
            assert.equal("v", r.cookies.k)
            assert.equal("", r.cookies.m)
            assert.equal("f=1&f=2&g=%C3%BC&h", r.body)
            assert.same({ f = "2", g = "ü", h = "" }, r.form)
            assert.same({ "1", "2" }, r.form_all.f)
            assert.equal("HTTP/1.1", r.protocol)
            assert.same({}, r.files)
        end)

        it("has empty fields when there is nothing", function()
            local r = web.json(web.ask(port.web, "/asked/all"))
            assert.equal("GET", r.method)
            assert.equal("", r.body)
            for _, name in ipairs({ "query", "query_all", "form", "form_all",
                "cookies", "files" }) do
                assert.same({}, r[name], name)
            end
        end)

        it("can be read after a wait and after the answer", function()
            local opts = { body = "B", headers = { "X-H: h" } }
            local r = web.ask(port.web, "/asked/after_wait?q=Q", opts)
            assert.same({ body = "B", q = "Q", h = "h" }, web.json(r))
            r = web.ask(port.web, "/asked/after_answer?q=Q", opts)
            assert.equal("done", r.body)
            assert.same({ "B", "Q", "x" },
                select(2, call("/asked/kept")))
        end)

        it("knows who is calling, by which port and until when", function()
            local _, me = call("/asked/me")
            assert.equal("127.0.0.1", me.peer.address)
            assert.equal("web", me.port)
            assert.is_nil(me.uid)
            assert.is_truthy(me.id)
            assert.is_number(me.deadline)
            local _, again = call("/asked/me")
            assert.not_equal(me.id, again.id)
        end)

        it("shares its context with models", function()
            assert.same({ who = true }, select(2, call("/asked/inner")))
        end)

        it("raises on what needs a conn", function()
            for _, word in ipairs({ "session", "send", "ask", "bind_uid",
                "join_group", "subscribe" }) do
                local _, r = call("/asked/word?word=" .. word)
                assert.is_false(r.ok, word)
                assert.matches("asked%.lua:%d+: ", r.why, word)
                assert.matches(word, r.why)
            end
        end)
    end)

    describe("params", function()
        it("are the JSON body", function()
            for _, value in ipairs({ 7, "x", true, false }) do
                local _, r = call("/answer/params", value)
                assert.same({ p = value }, r)
            end
            local _, r = call("/answer/params", { a = { b = 1 } })
            assert.same({ p = { a = { b = 1 } } }, r)
        end)

        it("are query and form in one map", function()
            local reply = web.ask(port.web, "/answer/params?a=1&b=2", {
                body = "b=3&c=4",
                headers = { ["Content-Type"] =
                    "application/x-www-form-urlencoded; charset=utf-8" },
            })
            assert.same({ p = { a = "1", b = "3", c = "4" } }, web.json(reply))
        end)

        it("are the JSON body whatever the case of its type", function()
            local reply = web.ask(port.web, "/answer/params", {
                body = '{"a":1}',
                headers = { ["Content-Type"] =
                    "Application/JSON;charset=utf-8" },
            })
            assert.same({ p = { a = 1 } }, web.json(reply))
        end)

        for _, case in ipairs({
            { "half an object", '{"a":' },
            { "nothing", "" },
            { "two values", "1 2" },
            { "a trailing comma", "[1,]" },
            { "bad UTF-8", '"\255"' },
            { "too deep", ("["):rep(100) .. ("]"):rep(100) },
            { "NaN", "NaN" },
        }) do
            it("are refused with 400 when JSON is " .. case[1], function()
                local reply = web.ask(port.web, "/answer/params", {
                    body = case[2],
                    headers = { "Content-Type: application/json" },
                })
                assert.equal(400, reply.status, reply.body)
                assert.equal(400, web.json(reply).error.code)
            end)
        end

        it("are refused with 400 when escapes are broken", function()
            for _, query in ipairs({ "a=%", "a=%4", "a=%zz", "%=a" }) do
                local status = call("/answer/params?" .. query)
                assert.equal(400, status, query)
            end
            local reply = web.ask(port.web, "/answer/params", {
                body = "a=%zz",
                headers = { "Content-Type: application/x-www-form-urlencoded" },
            })
            assert.equal(400, reply.status)
        end)
    end)

    describe("what is returned", function()
        for _, case in ipairs({
            { "map", 200, "application/json", '^{.*}$' },
            { "list", 200, "application/json", "^%[1,2%]$" },
            { "text", 200, "text/plain; charset=utf-8", "^hüllo$" },
            { "empty_text", 200, "text/plain; charset=utf-8", "^$" },
            { "bytes", 200, "text/plain; charset=utf-8", "^%z\255$" },
            { "no", 200, "application/json", "^false$" },
            { "number", 200, "application/json", "^7$" },
            { "empty", 204, nil, "^$" },
            { "status", 201, "application/json", '^{"made":true}$' },
            { "status_text", 202, "text/plain; charset=utf-8", "^x$" },
            { "kind", 200, "text/csv", "^a,b$" },
            { "json", 200, "application/json", '^{"j":1}$' },
            { "json_list", 200, "application/json", "^%[%]$" },
            { "txt", 200, "text/plain; charset=utf-8", "^t$" },
            { "html", 203, "text/html; charset=utf-8", "^<p>$" },
            { "sent_then_raises", 200, "text/plain; charset=utf-8", "^sent$" },
            { "sent_then_err", 200, "text/plain; charset=utf-8", "^sent$" },
            { "stream", 200, nil, "^part 1\npart 2\npart 3\n$" },
            { "stream_kind", 206, "text/event-stream",
                "^data: 1\n\ndata: 2\n\n$" },
            { "stream_text", 200, nil, "^a$" },
        }) do
            it("goes out right for " .. case[1], function()
                local c = web.open(port.web)
                local r = assert(c:ask("/answer/" .. case[1]))
                assert.equal(case[2], r.status, r.body)
                if case[3] or case[2] == 204 then
                    assert.equal(case[3], r.headers["content-type"])
                end
                assert.matches(case[4], r.body)
                -- nothing more comes, and the conn is as good as new
                r = assert(c:ask("/answer/number"))
                assert.equal("7", r.body)
                c:close()
            end)
        end

        it("goes out with its headers", function()
            local r = web.ask(port.web, "/answer/headers")
            assert.equal("1", r.headers["x-one"])
            assert.equal("two", r.headers["x-two"])
            assert.is_truthy(r.headers.date)
        end)

        it("goes out with cookies", function()
            local r = web.ask(port.web, "/answer/cookie")
            local list = {}
            for line in r.head:gmatch("[Ss]et%-[Cc]ookie: ([^\n]*)") do
                list[#list + 1] = line:lower()
            end
            assert.equal(2, #list)
            assert.matches("^a=1;", list[1])
            assert.matches("; httponly", list[1])
            assert.matches("; samesite=lax", list[1])
            assert.matches("^b=2;", list[2])
            assert.matches("; max%-age=60", list[2])
            assert.matches("; secure", list[2])
        end)

        it("sends elsewhere", function()
            local r = web.ask(port.web, "/answer/to")
            assert.equal(302, r.status)
            assert.equal("/x?y=1", r.headers.location)
            r = web.ask(port.web, "/answer/to_for_good")
            assert.equal(301, r.status)
            assert.equal("https://a.b/", r.headers.location)
        end)

        it("does nothing after the answer", function()
            call("/answer/late")
            local said = server.until_(function()
                return select(2, call("/answer/late_said")).said
            end)
            assert.is_true(said[1], tostring(said[2]))
        end)

        it("is cut short when a stream's script raises", function()
            local c = web.open(port.web)
            c:send(web.text("/answer/stream_raises"))
            local r = c:reply()
            -- the client must be able to tell that the body is not whole
            assert.is_nil(r)
            c:close()
        end)
    end)

    describe("a response", function()
        for _, what in ipairs({ "header_value", "header_name", "header_lf",
            "header_nul", "header_space", "header_empty", "header_type",
            "header_length", "header_coding", "redirect", "cookie_value",
            "cookie_name", "cookie_semicolon", "cookie_path", "status_low",
            "status_text", "header_nil", "header_table", "cookie_nil",
            "redirect_nil", "redirect_code", "text_nil", "html_table",
            "write_nil", "file_nil", "file_name", "json_function" }) do
            it("raises at the script's line for " .. what, function()
                local status, r, reply = call("/answer/bad", { what = what })
                assert.equal(200, status)
                assert.is_false(r.ok)
                assert.matches("answer%.lua:%d+: ", r.why)
                assert.is_nil(reply.headers["x-b"])
                assert.is_nil(reply.headers["set-cookie"])
            end)
        end
    end)

    describe("a failure", function()
        for word, status in pairs({ invalid = 400, refused = 409, offline = 404,
            gone = 410, too_large = 413, busy = 503, slow = 503,
            unavailable = 503, timeout = 504, closed = 502, crashed = 502,
            cancelled = 503, ["no money"] = 400, ["busy: ask later"] = 503 }) do
            it("of '" .. word .. "' is " .. status, function()
                local got, code, text = error_of("/answer/err", { text = word })
                assert.equal(status, got)
                assert.equal(status, code)
                assert.equal(word, text)
            end)
        end

        for _, case in ipairs({
            { 400, 400 }, { 418, 418 }, { 503, 503 }, { 599, 599 },
            { 200, 400 }, { 399, 400 }, { 600, 400 }, { 10042, 400 },
            { -1, 400 }, { 0, 400 },
        }) do
            it("of sd.fail with " .. case[1] .. " is " .. case[2], function()
                local got, code, text =
                    error_of("/answer/fail", { code = case[1], text = "no" })
                assert.equal(case[2], got)
                assert.equal(case[1], code)
                assert.equal("no", text)
            end)
        end

        it("of a failed call elsewhere has its code", function()
            local got, code, text =
                error_of("/answer/err", { text = "failed: x", code = 451 })
            assert.equal(451, got)
            assert.equal(451, code)
            assert.equal("x", text)
        end)

        it("of Lua is 500 without a word of it", function()
            for _, path in ipairs({ "raise", "raise_table", "nan", "binary" }) do
                local got, code, text = error_of("/answer/" .. path)
                assert.equal(500, got)
                assert.equal(500, code)
                assert.not_matches("secret", text)
            end
            assert.matches("answer%.lua:%d+: secret[^\n]*stack", s:output())
        end)

        it("of a wait past the port's timeout is 504", function()
            local got, code = error_of("/answer/nap?s=5", nil, "brief")
            assert.equal(504, got)
            assert.equal(504, code)
        end)
    end)

    describe("precedence", function()
        it("is a method before a file before 404", function()
            assert.equal("application/json", web.ask(port.web,
                "/answer/map").headers["content-type"])
            assert.equal("text", web.ask(port.web, "/a.txt").body)
            local got, code = error_of("/nothing")
            assert.equal(404, got)
            assert.equal(404, code)
        end)

        it("finds controllers in folders", function()
            assert.equal("cart", select(2, call("/shop/cart/list")))
        end)

        for _, path in ipairs({ "/answer", "/answer/", "/answer/map/",
            "//answer/map", "/answer//map", "/Answer/map", "/answer/_private",
            "/answer/__index", "/answer/map.x", "/../answer/map", "/x/y/z",
            "/string/rep", "/shop/cart", "/shop/../answer/map" }) do
            it("has no method at " .. path, function()
                local reply = web.ask(port.bare, path)
                assert.equal(404, reply.status, reply.body)
            end)
        end

        it("serves only the port's controllers", function()
            assert.equal(404, (call("/asked/me", nil, "bare")))
            assert.equal(200, (call("/answer/map", nil, "bare")))
        end)

        it("has no files without a folder", function()
            assert.equal(404, (call("/a.txt", nil, "bare")))
        end)
    end)

    describe("methods", function()
        it("answer HEAD as GET without the body", function()
            for _, path in ipairs({ "/answer/map", "/answer/text", "/a.txt",
                "/big.bin", "/answer/txt", "/files/get?path=a.txt" }) do
                local c = web.open(port.web)
                local get = c:ask(path)
                local head = c:ask(path, { method = "HEAD" })
                assert.equal(200, head.status, path)
                assert.equal(#get.body,
                    tonumber(head.headers["content-length"]), path)
                assert.equal(get.headers["content-type"],
                    head.headers["content-type"])
                assert.equal("7", c:ask("/answer/number").body)
                c:close()
            end
            local c = web.open(port.web)
            assert.equal(200, c:ask("/answer/stream", { method = "HEAD" }).status)
            assert.equal("7", c:ask("/answer/number").body)
            assert.equal(404, c:ask("/nothing", { method = "HEAD" }).status)
            assert.equal("7", c:ask("/answer/number").body)
            c:close()
        end)

        it("say what they allow to OPTIONS and with 405", function()
            local c = web.open(port.rest)
            local r = c:ask("/answer/map", { method = "OPTIONS" })
            assert.equal(204, r.status)
            for _, word in ipairs({ "GET", "PUT", "DELETE", "HEAD",
                "OPTIONS" }) do
                assert.matches(word, r.headers.allow)
            end
            assert.not_matches("POST", r.headers.allow)
            for _, method in ipairs({ "POST", "PATCH" }) do
                r = c:ask("/answer/map", { method = method, body = "" })
                assert.equal(405, r.status)
                assert.matches("PUT", r.headers.allow)
            end
            for _, method in ipairs({ "PUT", "DELETE" }) do
                r = c:ask("/asked/all", { method = method, body = "x" })
                assert.equal(method, web.json(r).method)
            end
            c:close()
        end)

        it("never call what is unknown", function()
            for method, status in pairs({ DELETE = 405, PUT = 405, PATCH = 405,
                BREW = 501, get = 501, TRACE = 405 }) do
                local r = web.ask(port.web, "/answer/map", { method = method })
                assert.is_true(r.status == status or r.status == 501
                    or r.status == 405, method .. " " .. r.status)
                assert.not_matches('"a":1', r.body)
            end
        end)
    end)

    describe("origins", function()
        local function origin_of(name, origin, method)
            local r = web.ask(port[name], "/answer/map", {
                method = method,
                headers = { ["Origin"] = origin,
                    ["Access-Control-Request-Method"] = "POST",
                    ["Access-Control-Request-Headers"] = "content-type" },
            })
            return r.headers["access-control-allow-origin"], r
        end

        it("that are listed may read, others not", function()
            for _, method in ipairs({ "GET", "OPTIONS" }) do
                assert.equal("https://ok.example",
                    (origin_of("cors", "https://ok.example", method)))
                assert.is_nil((origin_of("cors", "https://bad.example", method)))
                assert.is_nil((origin_of("cors", "http://ok.example", method)))
                assert.is_nil((origin_of("cors", "https://ok.example.evil",
                    method)))
                assert.is_nil((origin_of("cors", "null", method)))
                assert.equal("*", (origin_of("any", "https://x.y", method)))
                assert.is_nil((origin_of("web", "https://x.y", method)))
            end
        end)

        it("are told the methods and headers before", function()
            local _, r = origin_of("cors", "https://ok.example", "OPTIONS")
            assert.equal(204, r.status)
            assert.matches("POST", r.headers["access-control-allow-methods"])
            assert.equal("content-type",
                r.headers["access-control-allow-headers"])
            assert.matches("Origin", r.headers.vary)
        end)

        it("are told of errors too", function()
            local r = web.ask(port.cors, "/nothing",
                { headers = { Origin = "https://ok.example" } })
            assert.equal(404, r.status)
            assert.equal("https://ok.example",
                r.headers["access-control-allow-origin"])
        end)
    end)

    describe("pipelining", function()
        it("answers in order behind a slow one", function()
            local c = web.open(port.web)
            local text = web.text("/answer/nap?s=0.2")
            for i = 1, 20 do
                text = text .. web.text("/answer/params?i=" .. i)
            end
            c:send(text .. web.text("/a.txt") .. web.text("/nothing"))
            assert.same({ s = "0.2" }, web.json(c:reply()))
            for i = 1, 20 do
                assert.equal(tostring(i), web.json(c:reply()).p.i)
            end
            assert.equal("text", c:reply().body)
            assert.equal(404, c:reply().status)
            c:close()
        end)

        it("carries bodies of both kinds and files between calls", function()
            local c = web.open(port.web)
            local chunked = "POST /asked/all HTTP/1.1\r\nHost: x\r\n"
                .. "Transfer-Encoding: chunked\r\n\r\n"
                .. "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
            c:send(web.text("/asked/all", { body = "one" }) .. chunked
                .. web.text("/big.bin") .. chunked)
            assert.equal("one", web.json(c:reply()).body)
            assert.equal("hello world", web.json(c:reply()).body)
            assert.equal(1048576, #c:reply().body)
            assert.equal("hello world", web.json(c:reply()).body)
            c:close()
        end)
    end)

    describe("a conn", function()
        it("is kept or closed as the client says", function()
            for _, case in ipairs({
                { "1.1", nil, true }, { "1.1", "close", false },
                { "1.1", "Close", false }, { "1.0", nil, false },
                { "1.0", "keep-alive", true }, { "1.1", "foo, close", false },
            }) do
                for _, path in ipairs({ "/answer/map", "/a.txt", "/nothing",
                    "/answer/empty", "/answer/txt" }) do
                    local c = web.open(port.web)
                    local r = c:ask(path, { version = case[1],
                        headers = { Connection = case[2] } })
                    assert.is_number(r.status)
                    if case[3] then
                        assert.equal("7", c:ask("/answer/number").body)
                    else
                        assert.is_true(c:is_closed())
                    end
                    c:close()
                end
            end
        end)

        it("ends a stream to HTTP/1.0 by closing", function()
            local c = web.open(port.web)
            local r = c:ask("/answer/stream", { version = "1.0" })
            assert.is_nil(r.headers["transfer-encoding"])
            assert.equal("part 1\npart 2\npart 3\n", r.body)
            c:close()
        end)

        it("is told to go on when it waits for that", function()
            local c = web.open(port.web)
            c:send("POST /asked/all HTTP/1.1\r\nHost: x\r\n"
                .. "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert.equal(100, c:reply().status)
            c:send("abc")
            assert.equal("abc", web.json(c:reply()).body)
            c:send("POST /asked/all HTTP/1.1\r\nHost: x\r\n"
                .. "Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n")
            assert.equal(413, c:reply().status)
            c:close()
        end)

        it("may be shut by the client before the answer", function()
            local c = web.open(port.web)
            c:send(web.text("/answer/nap?s=0.05"))
            c.sock:shutdown("send")
            assert.equal(200, c:reply().status)
            assert.is_true(c:is_closed())
            c:close()
        end)
    end)

    describe("files", function()
        local types = {
            ["/"] = "text/html", ["/index.html"] = "text/html",
            ["/a.txt"] = "text/plain", ["/empty.css"] = "text/css",
            ["/sp%20ace.js"] = "javascript", ["/sub/"] = "text/html",
            ["/in.txt"] = "text/plain", ["/a.txt?x=1"] = "text/plain",
            ["/%61.txt"] = "text/plain",
        }
        for path, kind in pairs(types) do
            it("have the type of " .. path, function()
                local r = web.ask(port.web, path)
                assert.equal(200, r.status)
                assert.matches(kind, r.headers["content-type"])
            end)
        end

        it("are not sent again when known", function()
            local c = web.open(port.web)
            local first = c:ask("/a.txt")
            local tag = first.headers.etag
            assert.matches('^"[^"]+"$', tag)
            for value, status in pairs({
                [tag] = 304, ["W/" .. tag] = 304, ["*"] = 304,
                ['"x", ' .. tag] = 304, ['"x"'] = 200, ["junk"] = 200,
            }) do
                local r = c:ask("/a.txt", { headers = { ["If-None-Match"] =
                    value } })
                assert.equal(status, r.status, value)
                assert.equal(tag, r.headers.etag)
            end
            local r = c:ask("/a.txt", { headers = { ["If-Modified-Since"] =
                first.headers["last-modified"] } })
            assert.equal(304, r.status)
            assert.equal("text", c:ask("/a.txt").body)
            c:close()
        end)

        it("have a new tag when they change", function()
            s:write("scripts/public/changing.txt", "one")
            local one = web.ask(port.web, "/changing.txt")
            s:write("scripts/public/changing.txt", "three")
            local two = web.ask(port.web, "/changing.txt",
                { headers = { ["If-None-Match"] = one.headers.etag } })
            assert.equal(200, two.status)
            assert.equal("three", two.body)
        end)

        for _, path in ipairs({
            "/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt",
            "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/.%2e/secret.txt",
            "/..%5csecret.txt", "/..\\secret.txt", "/out.txt", "/abs.txt",
            "/sub/%2e%2e/%2e%2e/secret.txt", "/....//secret.txt",
            "//etc/passwd", "/%2fetc/passwd", "/./../secret.txt", "/sub",
            "/a.txt/", "/a.txt/x", "/nope/", "/a.txt%20", "/a.txt.",
            "/sub/%2e%2e%2f%2e%2e%2fsecret.txt", "/%c0%ae%c0%ae/secret.txt",
        }) do
            it("are not found at " .. path, function()
                local r = web.ask(port.web, path)
                assert.is_true(r.status == 404 or r.status == 400
                    or (path == "/sub" and r.status == 301), r.status)
                assert.not_matches("secret", r.body)
            end)
        end

        for _, path in ipairs({ "/a.txt%00", "/%00", "/a.txt%00.html" }) do
            it("answer 400 or 404 to " .. path, function()
                local r = web.ask(port.web, path)
                assert.is_true(r.status == 400 or r.status == 404)
            end)
        end

        it("are only read", function()
            for _, method in ipairs({ "POST", "DELETE", "PUT" }) do
                local r = web.ask(port.web, "/a.txt",
                    { method = method, body = "" })
                assert.is_true(r.status == 405 or r.status == 404)
            end
        end)

        it("are sent by scripts from public and run", function()
            local function get(path, more)
                return web.ask(port.web, "/files/get",
                    { json = { path = path, name = more and more.name,
                        type = more and more.type } })
            end
            assert.equal("text", get("a.txt").body)
            assert.equal("text", get("scripts/public/a.txt").body)
            assert.equal("uploaded", get("run/upload/u.txt").body)
            assert.equal("other", get("run/other.txt").body)
            local r = get("a.txt", { name = 'x"\r\ny.txt', type = "text/x" })
            assert.equal("text/x", r.headers["content-type"])
            assert.matches("^attachment; filename=", r.headers[
                "content-disposition"])
            for _, path in ipairs({ "../secret.txt", "/etc/passwd",
                "scripts/secret.txt", "run/../scripts/secret.txt", "out.txt",
                "nope", "", "sub", "a.txt\0", "scripts/public/../secret.txt",
                "config/server.lua" }) do
                r = get(path)
                assert.is_true(r.status >= 400 and r.status < 500,
                    path .. " " .. r.status)
                assert.not_matches("secret", r.body)
            end
        end)

        it("reach a client that reads late whole", function()
            local c = web.open(port.web)
            local n = 12 -- more than the kernel's buffers take
            c:send(web.text("/big.bin"):rep(n))
            assert.equal(200, web.ask(port.web, "/a.txt").status)
            for _ = 1, n do
                local r = c:reply()
                assert.equal(("0123456789abcdef"):rep(65536), r.body)
            end
            c:close()
        end)
    end)

    it("answers curl and Python", function()
        local base = "http://127.0.0.1:" .. port.web
        local out = server.shell("env -u LD_PRELOAD curl -s --compressed "
            .. "-H 'Content-Type: application/json' -d '{\"a\":1}' " .. base
            .. "/answer/params " .. base .. "/answer/params")
        assert.equal('{"p":{"a":1}}{"p":{"a":1}}', out)
        local path = os.tmpname()
        local f = assert(io.open(path, "w"))
        f:write(([[
import http.client, json
c = http.client.HTTPConnection("127.0.0.1", %d, timeout=10)
for i in range(3):
    c.request("POST", "/answer/params", json.dumps({"i": i}),
              {"Content-Type": "application/json"})
    r = c.getresponse()
    assert r.status == 200, r.status
    assert json.loads(r.read()) == {"p": {"i": i}}
c.request("POST", "/asked/all", iter([b"ab", b"cd"]), encode_chunked=True,
          headers={"Transfer-Encoding": "chunked"})
assert json.loads(c.getresponse().read())["body"] == "abcd"
c.request("GET", "/answer/stream")
assert c.getresponse().read() == b"part 1\npart 2\npart 3\n"
c.request("GET", "/answer/empty")
r = c.getresponse()
assert r.status == 204 and r.read() == b""
c.request("HEAD", "/big.bin")
r = c.getresponse()
assert r.headers["Content-Length"] == "1048576" and r.read() == b""
print("fine")
]]):format(port.web))
        f:close()
        out = server.shell("env -u LD_PRELOAD /usr/bin/python3 " .. path)
        os.remove(path)
        assert.equal("fine\n", out)
    end)

    it("logs each Lua error once, with the request's id", function()
        call("/answer/raise")
        local line = s:output():match("\n([^\n]*answer%.lua:%d+: secret[^\n]*)")
        assert.is_truthy(line)
        assert.matches(" error ", line)
        assert.matches("worker", line)
    end)
end)

describe("HTTP with server.dev", function()
    it("tells clients what a script raised", function()
        local s = server.start({
            ["config/server.lua"] =
                "return { workers = 1, tasks = 0, dev = true }",
            ["config/ports.lua"] = PORTS,
            ["scripts/controllers/answer.lua"] = ANSWER,
        })
        finally(function()
            s:stop()
        end)
        local reply = web.ask(s:port("web"), "/answer/raise")
        assert.equal(500, reply.status)
        assert.matches("answer%.lua:%d+: secret",
            cjson.decode(reply.body).error.message)
    end)
end)
