--- The configuration child's work: evaluate, check, compile, hand over.
---
--- Runs in a Lua state of its own, made by runtime/vm/conf_lua.c, in a process
--- of its own; nothing of it reaches the processes that serve. Each step goes
--- on after an error, so that all errors are reported at once; only what needs
--- sound values waits for them.
local cluster = require("sd.conf.cluster")
local cross = require("sd.conf.cross")
local env = require("sd.conf.env")
local eval = require("sd.conf.eval")
local keep = require("sd.conf.keep")
local nested = require("sd.conf.nested")
local resolve = require("sd.conf.resolve")
local routes = require("sd.conf.routes")
local schema = require("sd.conf.schema")
local scripts = require("sd.conf.scripts")

local conf = {}

---@class sd.conf.Note
---@field severity "error"|"warning"
---@field file string
---@field line integer?
---@field text string

local function new_notes()
    local notes = { failed = false }
    function notes.add(severity, file, line, text)
        notes.failed = notes.failed or severity == "error"
        notes[#notes + 1] = {
            severity = severity,
            file = file,
            line = line,
            text = text,
        }
    end
    return notes
end

--- By file and line, so that a run's report never depends on table order.
local function sort_notes(notes)
    table.sort(notes, function(a, b)
        if a.file ~= b.file then
            return a.file < b.file
        elseif (a.line or 0) ~= (b.line or 0) then
            return (a.line or 0) < (b.line or 0)
        end
        return a.text < b.text
    end)
end

--- Is this the name of a known file of config/?
local function known_sections(keys)
    local known = {}
    for _, key in ipairs(keys) do
        known[key.path:match("^[^.]+")] = true
        key.http = key.doc:find("^http:") or key.path:find("%.websocket%.")
    end
    return known
end

--- Say where: the variable that set it, else file and line.
local function reporter(c, severity)
    return function(path, text)
        local variable = (c.sources[path] or ""):match("^environment (.*)$")
        if variable then
            c.notes.add(severity, variable, nil, text)
            return
        end
        local file, line = resolve.place(c.layers, path)
        c.notes.add(severity, file or "", line, text)
    end
end

local function check_trees(c, known)
    local root = schema.tree(c.keys)
    for name, tree in pairs(c.trees) do
        if known[name] then
            schema.walk(
                c.host,
                root.children[name],
                tree,
                name,
                reporter(c, "error")
            )
        end
    end
end

local function overrides(c)
    for _, o in ipairs(env.overrides(c.host, c.notes.add, c.keys, c.trees)) do
        env.apply(c.trees, o)
        c.sources[o.path] = o.source
    end
end

local function route_text(list)
    local out = {}
    for _, r in ipairs(list) do
        out[#out + 1] =
            table.concat({ r.port, r.controller, r.method, r.place, "" }, "\0")
    end
    return table.concat(out)
end

local function cross_check(c, resolved, files)
    local names = {}
    for _, file in ipairs(files) do
        names[file.name] = true
    end
    cross.check({
        tree = resolved.tree,
        scripts = names,
        report = reporter(c, "error"),
        warn = reporter(c, "warning"),
        fd_limit = c.host.fd_limit,
        redis_url = c.host.redis_url,
        is_dispatch = c.host.is_dispatch,
        cluster_key = c.host.cluster_key,
        lower = function(path, value)
            env.apply(c.trees, { path = path, value = value })
            c.sources[path] = "default, lowered"
        end,
        is_set = function(path)
            return c.sources[path] ~= nil or nested.get(c.trees, path) ~= nil
        end,
    })
end

--- What scripts see as `sd.config`, and a reload compares with. The keys of
--- the cluster are nobody's business there: the agent reads them from `conf`.
local function visible(tree)
    local copy = nested.copy(tree)
    copy.cluster.key = nil
    return copy
end

--- What goes into the bundle in front of the scripts.
local function hand_over(c, resolved, methods, files)
    local all = {
        { name = "conf", text = resolved.entries },
        { name = "config", text = c.host.msgpack(visible(resolved.tree)) },
        { name = "origin", text = resolved.origin },
        {
            name = "routes",
            text = route_text(routes.all(resolved.tree.ports, methods)),
        },
    }
    for _, file in ipairs(files) do
        all[#all + 1] = file
    end
    return all
end

--- A timer without a name has that of what it calls.
local function name_timers(c)
    local timers = c.trees.timers
    for i, timer in ipairs(type(timers) == "table" and timers or {}) do
        if type(timer) == "table" and timer.name == nil then
            timer.name = ("%s.%s"):format(
                tostring(timer.model or timer.task),
                tostring(timer.method)
            )
            c.sources[("timers.%d.name"):format(i)] = "default"
        end
    end
end

--- A dispatch in the folder of a node has nothing to do with these.
local function leave_to_nodes(trees)
    for _, name in ipairs({ "ports", "redis", "mysql", "timers" }) do
        trees[name] = nil
    end
end

--- Evaluate, override, check; nil where values are not sound.
local function configure(c)
    local known = known_sections(c.keys)
    c.trees, c.layers =
        eval.all(c.host, c.notes.add, c.host.environ.SD_CONFIG_DIR)
    check_trees(c, known)
    overrides(c)
    if c.host.is_dispatch then
        leave_to_nodes(c.trees)
    end
    if not c.notes.failed then
        cluster.read_keys(c, reporter(c, "error"))
    end
    if c.notes.failed then
        return nil
    end
    name_timers(c)
    if not c.host.running then
        return resolve.all(c)
    end
    keep.names(c, c.host.running, reporter(c, "warning"))
    local resolved = resolve.all(c)
    local warn = reporter(c, "warning")
    if resolved and keep.values(c, resolved, c.host.running, warn) then
        return resolve.all(c)
    end
    return resolved
end

---@param host table what C provides: read list keys key_read ...
---@return { notes: sd.conf.Note[], files: sd.conf.Script[]? }
function conf.build(host)
    local notes = new_notes()
    local c = { host = host, keys = host.keys, notes = notes, sources = {} }
    local resolved = configure(c)
    local files, methods = {}, {}
    if not host.is_dispatch then
        files, methods = scripts.all(host, notes.add)
    end
    local all
    if resolved then
        cross_check(c, resolved, files)
        resolved = not notes.failed and resolve.all(c)
        all = resolved and hand_over(c, resolved, methods, files)
    end
    sort_notes(notes)
    return { notes = notes, files = all or nil }
end

return conf
