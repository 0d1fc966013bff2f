-- The example application, by clients that share no code with the program.
local chat = require("spec.support.chat")
local server = require("spec.support.server")

describe("the chat", function()
    local s

    setup(function()
        s = chat.start(chat.new())
    end)

    teardown(function()
        s:stop()
    end)

    it("knows who speaks for one who is there", function()
        local ann = chat.ws(s, chat.enter(s, "ann-back"))
        local bob = chat.ws(s, chat.enter(s, "bob-back"))
        ann:call("chat/join", { room = "back" })
        bob:call("chat/join", { room = "back" })
        local out = server.shell("redis-cli -s " .. s.dir
            .. "/run/redis.sock hdel 'chat:{back}:people' ann-back")
        assert.equal("1\n", out)
        ann:call("chat/say", { text = "I am here" })
        bob:expect({ event = "joined", name = "ann-back" })
        bob:expect({ event = "line", line = { text = "I am here" } })
        -- The younger first: it has the elder's input open, too.
        bob:close()
        ann:close()
    end)

    it("lends a name to the first who asks", function()
        local cookie = chat.enter(s, "first")
        local body, status = chat.curl(s, "/login/enter", "-d name=First")
        assert.equal(409, status)
        assert.truthy(body:find("taken", 1, true))
        -- The holder may come again.
        local again = "-d name=first -b " .. cookie
        body, status = chat.curl(s, "/login/enter", again)
        assert.equal(200, status, body)
        body = chat.curl(s, "/login/me", "-b " .. cookie)
        assert.equal('{"name":"first"}', body)
    end)

    it("enters by POST only, with a plain name", function()
        local _, status = chat.curl(s, "/login/enter?name=eve")
        assert.equal(405, status)
        for _, name in ipairs({ "", "a/b", "%23", "a%20b", ("x"):rep(25) }) do
            local body
            body, status = chat.curl(s, "/login/enter", "-d name=" .. name)
            assert.equal(400, status, body)
        end
    end)

    it("sets a cookie that scripts of a page cannot read", function()
        local _, _, head = chat.curl(s, "/login/enter", "-d name=cook")
        local cookie = head:match("[Ss]et%-[Cc]ookie: ([^\r]*)")
        assert.truthy(cookie:find("HttpOnly", 1, true), cookie)
        assert.truthy(cookie:find("SameSite=Strict", 1, true), cookie)
        assert.truthy(cookie:find("Path=/", 1, true), cookie)
    end)

    it("opens no WebSocket without a pass of its own", function()
        local cookie = chat.enter(s, "mallory")
        local forged = cookie:gsub("mallory", "admin")
        local old = cookie:gsub("%.%d+%.", ".1000000000.")
        for _, bad in ipairs({ false, "chat_pass=x", forged, old }) do
            local ws, first = chat.ws(s, bad or nil)
            assert.equal("refused 401", first)
            ws.input:close()
        end
        local _, status = chat.curl(s, "/login/me", "-b " .. forged)
        assert.equal(401, status)
    end)

    it("asks TCP clients to log in first", function()
        local tcp = chat.tcp(s)
        local _, err = tcp:call("chat/join", { room = "den" })
        assert.equal(401, err.code)
        assert.equal("tess", tcp:call("login/enter", { name = "tess" }).name)
        _, err = tcp:call("login/enter", { name = "tess2" })
        assert.equal(409, err.code)
        tcp:close()
    end)

    it("logs a TCP client in again by its pass", function()
        local tcp = chat.tcp(s)
        local pass = tcp:call("login/enter", { name = "pat" }).pass
        tcp:close()
        local other = chat.tcp(s)
        local _, err = other:call("login/enter", { name = "pat" })
        assert.equal(409, err.code)
        local login = { name = "pat", pass = pass }
        assert.equal("pat", other:call("login/enter", login).name)
        other:close()
    end)

    it("lets TCP and WebSocket clients talk in a room", function()
        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "ann" })
        local view = tcp:call("chat/join", { room = "tea" })
        assert.same({ "ann" }, view.people)

        local ws, first = chat.ws(s, chat.enter(s, "bob"))
        assert.equal("open", first)
        view = ws:call("chat/join", { room = "tea" })
        assert.same({ "ann", "bob" }, view.people)
        tcp:expect({ event = "joined", room = "tea", name = "bob" })

        tcp:call("chat/say", { text = "grüß dich" })
        local said = { name = "ann", text = "grüß dich" }
        ws:expect({ event = "line", room = "tea", line = said })
        ws:call("chat/say", { text = "<b>hi</b>" })
        said = { name = "bob", text = "<b>hi</b>" }
        tcp:expect({ event = "line", room = "tea", line = said })

        ws:close()
        tcp:expect({ event = "left", room = "tea", name = "bob" })
        tcp:close()
    end)

    it("keeps what is said in a room inside it", function()
        local a, b = chat.tcp(s), chat.tcp(s)
        a:call("login/enter", { name = "in" })
        b:call("login/enter", { name = "out" })
        a:call("chat/join", { room = "one" })
        b:call("chat/join", { room = "two" })
        for _, room in ipairs({ "#", "+", "one/#", "", ("r"):rep(33) }) do
            local _, err = b:call("chat/join", { room = room })
            assert.equal(400, err.code)
        end
        a:call("chat/say", { text = "secret" })
        b:call("chat/rooms")
        for _, message in ipairs(b.kept) do
            assert.not_equal("line", message.event)
        end
        -- A refused join left b where it was.
        b:call("chat/say", { text = "still here" })
        b:expect({ event = "line", room = "two" })
        a:close()
        b:close()
    end)

    it("refuses empty and overlong lines, and those said nowhere", function()
        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "quiet" })
        local _, err = tcp:call("chat/say", { text = "hello?" })
        assert.equal(409, err.code)
        tcp:call("chat/join", { room = "hall" })
        for _, text in ipairs({ "", " \n ", ("x"):rep(2001) }) do
            _, err = tcp:call("chat/say", { text = text })
            assert.equal(400, err.code)
        end
        tcp:close()
    end)

    it("lists rooms with how many are in them", function()
        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "lister" })
        tcp:call("chat/join", { room = "counted" })
        local seen
        for _, room in ipairs(tcp:call("chat/rooms")) do
            seen = room.name == "counted" and room or seen
        end
        assert.same({ name = "counted", people = 1 }, seen)
        tcp:call("chat/leave")
        tcp:close()
    end)

    it("knows who is left when a worker has died", function()
        local function conns(worker)
            return s:process("worker", worker).conns
        end
        server.until_(function()
            return conns(0) + conns(1) == 0
        end, "those of before are gone")
        local people, count = {}, 0
        repeat -- until each worker has somebody
            local tcp = chat.tcp(s)
            count = count + 1
            tcp.name = "guest" .. count
            tcp:call("login/enter", { name = tcp.name })
            tcp:call("chat/join", { room = "party" })
            people[count] = tcp
            assert.is_true(count < 1000)
        until conns(0) > 0 and conns(1) > 0
        local pid = s:process("worker", 0).pid
        s:kill("KILL", pid)
        local rest, gone, names = {}, {}, {}
        for _, tcp in ipairs(people) do
            local ok = pcall(tcp.call, tcp, "chat/rooms")
            table.insert(ok and rest or gone, tcp)
            names[#names + 1] = ok and tcp.name or nil
        end
        assert.is_true(#rest > 0 and #gone > 0)
        table.sort(names)
        for _, tcp in ipairs(rest) do
            for _, other in ipairs(gone) do
                tcp:expect({ event = "left", room = "party", name = other.name })
            end
        end
        assert.same(names, rest[1]:call("chat/join", { room = "party" }).people)
        for _, tcp in ipairs(people) do
            tcp:close()
        end
        server.until_(function()
            local p = s:process("worker", 0)
            return p.state == "ready" and p.pid ~= pid
        end, "the worker is replaced")
    end)

    it("does not talk over plain HTTP", function()
        local cookie = chat.enter(s, "plain")
        local options = "-d text=x -b " .. cookie
        local _, status = chat.curl(s, "/chat/say", options)
        assert.equal(426, status)
        _, status = chat.curl(s, "/chat/_leave_room", options)
        assert.equal(404, status)
    end)

    it("gives a transcript to those who are logged in", function()
        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "scribe" })
        tcp:call("chat/join", { room = "minutes" })
        tcp:call("chat/say", { text = "first\nitem" })
        tcp:call("chat/say", { text = "second item" })
        tcp:close()
        local path = "/history/text?room=minutes"
        local _, status = chat.curl(s, path)
        assert.equal(401, status)
        local body, code, head =
            chat.curl(s, path, "-b " .. chat.enter(s, "reader"))
        assert.equal(200, code, body)
        assert.truthy(head:find('filename="minutes.txt"', 1, true))
        local line = "%d+%-%d+%-%d+ %d+:%d+  scribe: "
        local all = "^" .. line .. "first item\n" .. line .. "second item\n$"
        assert.truthy(body:find(all), body)
    end)

    it("tells everybody about the rooms by a timer", function()
        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "waiter" })
        tcp:call("chat/join", { room = "waiting" })
        local got = server.until_(function()
            local text = tcp:receive(20)
            return text and text:find('"rooms"', 1, true) and text
        end)
        assert.truthy(got:find('"waiting"', 1, true))
        tcp:close()
    end)

    it("serves the page and its files, and 304 to who has them", function()
        local kinds = {
            ["/"] = "text/html",
            ["/chat.css"] = "text/css",
            ["/chat.js"] = "text/javascript",
            ["/icon.svg"] = "image/svg%+xml",
        }
        for path, kind in pairs(kinds) do
            local body, status, head = chat.curl(s, path)
            assert.equal(200, status)
            assert.truthy(#body > 100)
            local found = head:match("[Cc]ontent%-[Tt]ype: ([^\r]*)")
            assert.truthy(found:find("^" .. kind), found)
            local etag = head:match("[Ee][Tt]ag: ([^\r]*)")
            local options = "-H 'If-None-Match: " .. etag .. "'"
            body, status = chat.curl(s, path, options)
            assert.equal(304, status)
            assert.equal("", body)
        end
        local _, status = chat.curl(s, "/../config/chat.lua", "--path-as-is")
        assert.is_true(status == 400 or status == 404)
    end)
end)

describe("the chat's history", function()
    it("survives a restart, and people do not", function()
        local s = chat.start(chat.new())
        finally(function()
            s:stop()
        end)
        local tcp = chat.tcp(s)
        local pass = tcp:call("login/enter", { name = "old" }).pass
        tcp:call("chat/join", { room = "attic" })
        for i = 1, 60 do
            tcp:call("chat/say", { text = "line " .. i })
        end
        local output, status = s:run("stop")
        assert.equal(0, status, output)
        tcp:close()

        chat.start(s)
        tcp = chat.tcp(s)
        local login = { name = "old", pass = pass }
        assert.equal("old", tcp:call("login/enter", login).name)
        local view = tcp:call("chat/join", { room = "attic" })
        assert.same({ "old" }, view.people)
        assert.equal(50, #view.lines)
        assert.equal("line 11", view.lines[1].text)
        assert.equal("line 60", view.lines[50].text)
        tcp:close()
    end)
end)
