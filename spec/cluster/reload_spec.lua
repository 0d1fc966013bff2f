-- `sdlua reload --cluster`: node by node, until one fails.
local cjson = require("cjson")
local cluster = require("spec.support.cluster")
local hosts = require("spec.support.hosts")
local server = require("spec.support.server")

local until_ = server.until_

local CONTROLLER = "scripts/controllers/who.lua"

local function who(word)
    return ("return { say = function() return { word = %q } end }"):format(word)
end

-- Its on_start takes as long as a file is there.
local SLOW = [[
local sd = require("sd")
local app = {}
function app.on_start(why)
    if why == "reload" then
        io.open("has_begun", "w"):close()
        while io.open("go_on") == nil do sd.sleep(0.05) end
    end
end
return app]]

describe("a reload of the cluster", function()
    local bed, c, nodes

    lazy_setup(function()
        bed = hosts.start(3)
        c = cluster.new(bed)
        c:redis(bed.switch)
    end)

    lazy_teardown(function()
        c:stop()
        bed:stop()
    end)

    before_each(function()
        nodes = {}
        for i, name in ipairs({ "a", "b", "c" }) do
            nodes[name] = c:new_node(name, bed[i], {
                [CONTROLLER] = who("old"),
                ["scripts/app.lua"] = "return {}",
            })
        end
        c:launch()
        c:wait_members({ "a", "b", "c" })
    end)

    after_each(function()
        bed:heal()
        local store = c.store
        c.store = nil
        c:stop()
        c.store = store
    end)

    local function write(word)
        for _, s in pairs(nodes) do
            s:write(CONTROLLER, who(word))
        end
    end

    local function generations()
        local list = {}
        for name, s in pairs(nodes) do
            list[name] = (s:status() or {}).generation
        end
        return list
    end

    --- Its outcome: the exit status, and the last line, decoded.
    local function reload(s)
        local text, code = s:run("reload --cluster --json 2> /dev/null")
        return code, cjson.decode(text)
    end

    --- The same beside us: `words`, `code` in the folder of the node.
    local function begin(s)
        server.shell(("{ %s; echo $? > %s/code; } > %s/words 2>&1 &"):format(
            s:command("reload --cluster --json 2> " .. s.dir .. "/complaints"), s.dir, s.dir))
    end

    local function outcome(s)
        until_(function()
            return (s:read("code") or ""):find("\n")
        end, "it ends")
        return tonumber(s:read("code")), cjson.decode((s:read("words")))
    end

    local function states(answer)
        local map = {}
        for _, n in ipairs(answer.nodes) do
            map[n.node] = n.state .. " " .. n.generation
        end
        return map
    end

    it("is one of each node, and says so", function()
        write("new")
        local text, code = nodes.b:run("reload --cluster")
        assert.equal(0, code, text)
        assert.equal("a: generation 2\nb: generation 2\nc: generation 2\n", text)
        assert.same({ a = 2, b = 2, c = 2 }, generations())
        local status, answer = reload(nodes.c)
        assert.equal(0, status)
        assert.same({ a = "reloaded 3", b = "reloaded 3", c = "reloaded 3" }, states(answer))
        assert.same({}, answer.errors)
        assert.same({ a = 3, b = 3, c = 3 }, generations())
    end)

    it("stops at the first node that fails, with file and line", function()
        write("new")
        nodes.b:write(CONTROLLER, "return {\n\n}}")
        local text, code = nodes.a:run("reload --cluster 2>&1")
        assert.equal(1, code)
        assert.matches("sdlua: b: scripts/controllers/who.lua:3: ", text, 1, true)
        assert.matches("\na +2 +reloaded\nb +1 +failed\nc +1 +untouched\n", text)
        local status, answer = reload(nodes.c)
        assert.equal(1, status)
        assert.same({ a = "reloaded 3", b = "failed 1", c = "untouched 1" }, states(answer))
        assert.matches("b: scripts/controllers/who.lua:3: ", answer.errors[1], 1, true)
        assert.same({ a = 3, b = 1, c = 1 }, generations())
    end)

    it("stops when a node dies amid its reload", function()
        nodes.b:write("scripts/app.lua", SLOW)
        begin(nodes.c)
        until_(function()
            return nodes.b:has("has_begun")
        end, "b has begun")
        nodes.b:kill("KILL")
        for _, pid in ipairs(nodes.b:pids()) do
            nodes.b:kill("KILL", pid)
        end
        local status, answer = outcome(nodes.c)
        assert.equal(1, status)
        assert.equal(1, #answer.errors)
        assert.matches("^b: i", answer.errors[1])
        assert.truthy(answer.errors[1]:find("does not answer any more", 1, true)
            or answer.errors[1]:find("is dead", 1, true), answer.errors[1])
        local list = states(answer)
        assert.equal("reloaded 2", list.a)
        assert.equal("untouched 1", list.c)
        nodes.b = nil
        assert.same({ a = 2, c = 1 }, generations())
    end)

    it("begins nowhere when a node cannot be reached", function()
        bed:cut(bed[2], bed[1])
        bed:cut(bed[2], bed[3])
        local status, answer = reload(nodes.a)
        assert.equal(1, status)
        assert.equal(1, #answer.errors)
        assert.truthy(({
            ["b: it does not answer; nothing was reloaded"] = true,
            ["b: it is dead; nothing was reloaded"] = true,
        })[answer.errors[1]], answer.errors[1])
        assert.same({ a = 1, b = 1, c = 1 }, generations())
    end)

    it("is the only one at a time, and ends when who asks goes away", function()
        nodes.a:write("scripts/app.lua", SLOW)
        begin(nodes.c)
        until_(function()
            return nodes.a:has("has_begun")
        end, "a has begun")
        local status, answer = reload(nodes.b)
        assert.equal(1, status)
        assert.matches("a rolling reload is under way, begun by c$", answer.errors[1])
        status, answer = reload(nodes.c)
        assert.equal(1, status)
        assert.equal("a rolling reload is under way, begun here", answer.errors[1])
        assert.same({ a = 1, b = 1, c = 1 }, generations())
        -- Without what sanitized specs preload.
        local pid = server.shell("env -u LD_PRELOAD pgrep -n -f '[-]C " .. nodes.c.dir
            .. " reload'"):match("%d+")
        server.shell("kill -INT " .. pid)
        until_(function()
            return server.is_alive(tonumber(pid)) == false
        end, "the verb has ended")
        nodes.a:write("go_on", "")
        until_(function()
            return generations().a == 2
        end, "a goes on")
        until_(function()
            return nodes.c:output():find("who asked for it has gone", 1, true)
        end, "it ends behind a")
        assert.same({ a = 2, b = 1, c = 1 }, generations())
        status = reload(nodes.b)
        assert.equal(0, status)
        assert.same({ a = 3, b = 2, c = 2 }, generations())
    end)
end)
