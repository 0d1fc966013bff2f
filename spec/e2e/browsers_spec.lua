-- Two people talk in the example application, each in a real browser of his
-- own, on two workers.
--
-- SD_SCREENSHOT=docs/img/chat.png renews the picture of the docs.
local browser = require("spec.support.browser")
local chat = require("spec.support.chat")
local mime = require("mime")
local server = require("spec.support.server")

--- Said by turns, before and after bob fetches the tea.
local before = {
    { "ada", "Good morning! Is anybody here?" },
    { "bob", "I am, from another browser, and on another worker." },
    { "bob", "Back in a minute, the kettle boils." },
}
local after = {
    { "ada", "So a room is just a topic that both of us hear?" },
    { "bob", "Yes: one sd.publish() reaches everybody who listens." },
    { "ada", "Tea, then. Bring <b>sugar</b>, s'il te plaît :-)" },
}

describe("two browsers", function()
    local s
    local pages = {}

    --- The chat, with a line in its log about who is where.
    local function start()
        s = chat.new()
        local text = s:read("scripts/app.lua")
        local hook = [[
function app.on_connect(self)
    if self.uid then
        sd.log.info(self.uid .. " is on worker " .. sd.slot)
    end
end

return app]]
        s:write("scripts/app.lua", (text:gsub("return app%s*$", hook)))
        chat.start(s)
    end

    setup(function()
        start()
        for _, name in ipairs({ "ada", "bob" }) do
            local dir = s.dir .. "/" .. name
            server.shell("mkdir " .. dir)
            pages[name] = browser.open(dir)
        end
    end)

    teardown(function()
        for _, page in pairs(pages) do
            page:close()
        end
        s:stop()
    end)

    local function is_online(page)
        page:until_("document.querySelector('#state').textContent === 'online'")
    end

    local function go(page)
        page:go("about:blank")
        page:go("http://127.0.0.1:" .. s.ports.web .. "/")
    end

    local function enter(name)
        local page = pages[name]
        go(page)
        page:until_("!document.querySelector('#door').hidden")
        page:type("#name", name .. "\n")
        is_online(page)
    end

    --- The worker of somebody's newest conn, and how many he had.
    local function worker_of(name)
        local worker, n
        local seen = name .. " is on worker (%d)"
        server.until_(function()
            n = 0
            for digit in s:output():gmatch(seen) do
                worker, n = digit, n + 1
            end
            return worker
        end, name .. " is on a worker")
        return worker, n
    end

    --- Load bob's page again until he is elsewhere than ada.
    local function part()
        local ada = worker_of("ada")
        for _ = 1, 50 do
            local bob, n = worker_of("bob")
            if bob ~= ada then
                return
            end
            go(pages.bob)
            is_online(pages.bob)
            server.until_(function()
                return select(2, worker_of("bob")) > n
            end, "bob comes again")
        end
        error("ada and bob are always on one worker")
    end

    local function sees(name, text)
        pages[name]:until_(("document.querySelector('#lines').textContent"
            .. ".includes(%q)"):format(text))
    end

    local function open(name, room)
        pages[name]:type("#room", room .. "\n")
        pages[name]:until_(
            "document.querySelector('#title').textContent === '" .. room .. "'"
        )
    end

    local function people(name, list)
        pages[name]:until_(
            "document.querySelector('#people').textContent === '" .. list .. "'"
        )
    end

    local function say(lines)
        for _, line in ipairs(lines) do
            local name, text = unpack(line)
            pages[name]:type("#text", text .. "\n")
            sees("ada", text)
            sees("bob", text)
        end
    end

    local rooms = "document.querySelector('#rooms').textContent"

    local function keep(page)
        local path = os.getenv("SD_SCREENSHOT")
        if path then
            local file = assert(io.open(path, "wb"))
            file:write((mime.unb64(page:screenshot())))
            file:close()
        end
    end

    it("show what people do in a room, to each of them", function()
        enter("ada")
        enter("bob")
        part()
        open("bob", "garden")
        open("ada", "garden")
        sees("bob", "ada came in")
        say(before)
        people("ada", "ada, bob")
        people("bob", "ada, bob")

        open("bob", "kitchen")
        sees("ada", "bob left")
        people("ada", "ada")
        open("bob", "garden")
        sees("ada", "bob came in")
        sees("bob", "Is anybody here?") -- what was said before
        say(after)

        pages.ada:until_(rooms .. ".includes('kitchen')")
        keep(pages.ada)

        pages.ada:go("about:blank")
        sees("bob", "ada left")
        people("bob", "bob")
    end)
end)
