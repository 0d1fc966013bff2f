-- The page of the example application, in a real browser.
local browser = require("spec.support.browser")
local chat = require("spec.support.chat")
local server = require("spec.support.server")

describe("the chat's page", function()
    local s, b

    setup(function()
        s = chat.start(chat.new())
        b = browser.open(s.dir)
    end)

    teardown(function()
        b:close()
        s:stop()
    end)

    local function visit(page)
        b:go("about:blank")
        b:go("http://127.0.0.1:" .. s.ports.web .. page)
    end

    --- Come as somebody new.
    local function enter(name)
        visit("/")
        b:forget_cookies()
        visit("/")
        b:until_("!document.querySelector('#door').hidden")
        b:type("#name", name .. "\n")
        b:until_("document.querySelector('#state').textContent === 'online'")
    end

    local lines = "document.querySelector('#lines').textContent"

    it("says why a name is not free", function()
        chat.enter(s, "taken")
        visit("/")
        b:forget_cookies()
        visit("/")
        b:until_("!document.querySelector('#door').hidden")
        b:type("#name", "taken\n")
        b:until_("document.querySelector('#door-error').textContent")
        local error = b:eval("document.querySelector('#door-error').textContent")
        assert.truthy(error:find("taken", 1, true), error)
    end)

    it("lets people in, shows what others say, and comes back", function()
        enter("ada")
        b:until_("document.querySelector('#people').textContent === 'ada'")

        local tcp = chat.tcp(s)
        tcp:call("login/enter", { name = "brian" })
        tcp:call("chat/join", { room = "lobby" })
        b:until_(lines .. ".includes('brian came in')")
        tcp:call("chat/say", { text = "<i>hello</i> from a program" })
        b:until_(lines .. ".includes('<i>hello</i> from a program')")

        b:type("#text", "hello from a browser\n")
        tcp:expect({ line = { name = "ada", text = "hello from a browser" } })
        b:until_(lines .. ".includes('hello from a browser')")

        -- A reload of the page: the cookie opens the door, history is there.
        visit("/")
        b:until_(lines .. ".includes('hello from a browser')")
        assert.is_true(b:eval("document.querySelector('#door').hidden"))
        tcp:close()
        b:until_(lines .. ".includes('brian left')")

        -- Another room is another talk.
        b:type("#room", "garden\n")
        b:until_("document.querySelector('#title').textContent === 'garden'")
        assert.is_false(b:eval(lines .. ".includes('browser')"))

        -- The same person by another conn: this one must not come back.
        local ws = chat.ws(s, "chat_pass=" .. b:cookie("chat_pass"))
        b:until_("!document.querySelector('#notice').hidden")
        local notice = b:eval("document.querySelector('#notice').textContent")
        assert.truthy(notice:find("another window", 1, true), notice)
        ws:close()
    end)

    it("finds its server again after a restart", function()
        enter("carol")
        for i = 0, 1 do -- whichever has the page's conn
            s:kill("KILL", s:process("worker", i).pid)
        end
        b:until_("document.querySelector('#state').textContent === 'offline'")
        b:until_("document.querySelector('#state').textContent === 'online'")
        b:type("#text", "back\n")
        b:until_(lines .. ".includes('back')")
        server.until_(function()
            return s:process("worker", 0).restarts == 1
                and s:process("worker", 1).restarts == 1
        end)
    end)
end)
