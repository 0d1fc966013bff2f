--- What one key cannot know: checks that look at several values at once, and
--- at the scripts they name. Values are typed and complete here.
local address = require("sd.conf.address")
local cluster = require("sd.conf.cluster")
local routes = require("sd.conf.routes")

local cross = {}

local CODECS = { json = true, msgpack = true, raw = true }
local ROUTES = { normal = true, jsonrpc = true }
local SLOTS = 256
local PORTS = 64
local TIMERS = 256

---@class sd.conf.Cross
---@field tree table
---@field scripts table<string, boolean> names of script files
---@field report fun(path: string, text: string)
---@field warn fun(path: string, text: string)
---@field lower fun(path: string, value: any)
---@field fd_limit integer
---@field redis_url fun(url: string): string? what is wrong with it
---@field is_dispatch boolean? a dispatch alone, which needs no Redis
---@field cluster_key fun(text: string): string? the same
---@field is_set fun(path: string): boolean

local function file_exists(c, folder, name)
    return c.scripts[("scripts/%s/%s.lua"):format(folder, name)]
end

local function need_file(c, path, folder, name, builtin)
    if not (builtin and builtin[name]) and not file_exists(c, folder, name) then
        c.report(
            path,
            ("%s: there is no scripts/%s/%s.lua"):format(path, folder, name)
        )
    end
end

local function check_listen(c, name, port, taken)
    local path = "ports." .. name .. ".listen"
    if port.listen == nil then
        c.report("ports." .. name, path .. ": missing")
        return
    end
    local host, number = address.split(port.listen)
    if not host then
        local text = '%s: "%s" is no address like "0.0.0.0:9091" or "[::]:9091"'
        c.report(path, text:format(path, port.listen))
        return
    end
    local kind = port.protocol == "udp" and "udp" or "tcp"
    local id = kind .. " " .. host .. " " .. tostring(number)
    if number ~= 0 and taken[id] then
        c.report(
            path,
            ("%s: %s is the address of ports.%s too"):format(
                path,
                port.listen,
                taken[id]
            )
        )
    end
    taken[id] = taken[id] or name
end

local function check_length(c, path, port)
    local frame = port.frame
    local plain = port.codec == "json" or port.codec == "msgpack"
    if frame.bytes == "varint" and frame.includes_header then
        c.report(
            path .. ".bytes",
            path .. '.bytes: "varint" needs includes_header = false'
        )
    end
    for _, key in ipairs({ "offset", "add" }) do
        if plain and frame[key] ~= 0 then
            c.report(
                path .. "." .. key,
                ("%s.%s: codec %s needs 0"):format(path, key, port.codec)
            )
        end
    end
    if plain and frame.whole then
        c.report(
            path .. ".whole",
            ("%s.whole: codec %s takes no whole " .. "packets"):format(
                path,
                port.codec
            )
        )
    end
end

local function check_frame(c, name, port)
    local path = "ports." .. name .. ".frame"
    local kind = port.frame.type
    if kind == "length" then
        check_length(c, path, port)
    elseif kind == "fixed" and not port.frame.size then
        c.report(path, path .. ".size: missing")
    elseif kind == "line" and port.frame.delimiter == "" then
        c.report(path .. ".delimiter", path .. ".delimiter: is empty")
    elseif kind == "pack" and CODECS[port.codec] then
        c.report(
            path,
            ('%s: "pack" needs a codec with a `length`, not %s'):format(
                path,
                port.codec
            )
        )
    end
end

local function check_controllers(c, path, patterns)
    for _, pattern in ipairs(patterns or {}) do
        local found = pattern == "*"
        for script in pairs(c.scripts) do
            local name = script:match("^scripts/controllers/(.+)%.lua$")
            found = found or name and routes.serves(pattern, name)
        end
        if not found then
            c.report(
                path,
                ('%s: no controller is named "%s"'):format(path, pattern)
            )
        end
    end
end

--- Words that are kept for later: to go on without what was asked for would
--- surprise, without TLS most of all.
local function check_later(c, path, port)
    local function refuse(key, what)
        c.report(
            path .. "." .. key,
            ("%s.%s: %s not served yet"):format(path, key, what)
        )
    end
    if port.listen and port.listen:find("^unix:") then
        refuse("listen", "Unix sockets are")
    end
    if port.protocol == "udp" then
        refuse("protocol", "udp is")
    end
    if port.tls and (port.tls.cert or port.tls.key) then
        refuse("tls", "TLS is")
    end
end

local function check_port(c, name, port, taken)
    local path = "ports." .. name
    check_listen(c, name, port, taken)
    check_later(c, path, port)
    if port.protocol ~= "http" then
        need_file(c, path .. ".codec", "packs", port.codec, CODECS)
        check_frame(c, name, port)
    elseif port.websocket.enabled then
        local ws = port.websocket
        need_file(c, path .. ".websocket.codec", "packs", ws.codec, CODECS)
        need_file(c, path .. ".websocket.route", "routes", ws.route, ROUTES)
    end
    need_file(c, path .. ".route", "routes", port.route, ROUTES)
    for _, middleware in ipairs(port.middlewares or {}) do
        need_file(c, path .. ".middlewares", "middlewares", middleware)
    end
    check_controllers(c, path .. ".controllers", port.controllers)
    if port.slow_client.low > port.slow_client.high then
        c.report(
            path .. ".slow_client.low",
            path .. ".slow_client: low is above high"
        )
    end
end

--- Ticks of the cluster are shared out in the Redis that all nodes have.
local function check_scope(c, path, timer)
    if timer.scope ~= "cluster" or c.is_dispatch then
        return
    elseif not c.tree.cluster.enable then
        c.report(
            path .. ".scope",
            path .. '.scope: "cluster" needs cluster.enable = true'
        )
    elseif not timer.every then
        c.report(path .. ".scope", path .. '.scope: "cluster" needs every')
    elseif timer.max_runs > 0 then
        c.report(
            path .. ".max_runs",
            path .. '.max_runs: needs scope = "node", whose runs it counts'
        )
    end
end

local function check_timer(c, i, timer, names)
    local path = "timers." .. i
    if (timer.model == nil) == (timer.task == nil) then
        c.report(path, path .. ": needs exactly one of model and task")
    elseif timer.model then
        need_file(c, path .. ".model", "models", timer.model)
    else
        need_file(c, path .. ".task", "tasks", timer.task)
    end
    if timer.method == nil then
        c.report(path, path .. ".method: missing")
    end
    if (timer.every == nil) == (timer.cron == nil) then
        c.report(path, path .. ": needs exactly one of every and cron")
    end
    check_scope(c, path, timer)
    if names[timer.name] then
        c.report(
            path,
            ('%s: "%s" is the name of timer %d too'):format(
                path,
                timer.name,
                names[timer.name]
            )
        )
    end
    names[timer.name] = names[timer.name] or i
end

local function check_server(c, server)
    local slots = server.workers + 2 * server.tasks + 2
    if slots > SLOTS then
        local text = "server: workers + 2 x tasks + 2 is %d, more than %d"
        c.report("server.workers", text:format(slots, SLOTS))
    end
    if
        server.hang_timeout > 0
        and server.max_run > server.hang_timeout / 2
        and server.watchdog
    then
        c.warn(
            "server.max_run",
            "server.max_run: more than half of hang_timeout: a worker may be "
                .. "killed before its script is stopped"
        )
    end
end

--- Descriptors a worker needs besides (FD_RESERVE of proc/master.c).
local RESERVE = 128

--- A list with a hole ends there for Lua: what is behind would not run.
local function check_holes(c, timers)
    local count = 0
    for _ in pairs(timers) do
        count = count + 1
    end
    if count ~= #timers then
        c.report("timers", "timers: expected a list without holes")
    elseif count > TIMERS then
        c.report("timers", ("timers: more than %d"):format(TIMERS))
    end
end

--- What the limit of open files leaves for conns of one worker, which may have
--- all that the node may have: it holds the listening sockets of all slots, two
--- descriptors per slot of the mesh, links and files as well. A dispatch has no
--- conns.
local function check_conns(c, server)
    local ports = 0
    for _ in pairs(c.tree.ports or {}) do
        ports = ports + 1
    end
    local slots = server.workers + 2 * server.tasks + 2
    local fits = c.fd_limit - RESERVE - 2 * slots - ports * server.workers
    if c.is_dispatch or server.max_conns <= fits then
        return
    elseif c.is_set("server.max_conns") or fits < 1 then
        c.report(
            "server.max_conns",
            (
                "server.max_conns: %d does not fit the "
                .. "limit of %d open files: at most %d"
            ):format(server.max_conns, c.fd_limit, fits)
        )
        return
    end
    c.warn(
        "",
        (
            "server.max_conns: lowered from %d to %d, the limit of open "
            .. "files is %d"
        ):format(server.max_conns, fits, c.fd_limit)
    )
    c.lower("server.max_conns", fits)
end

local function check_admin(c, admin)
    if admin.listen == "off" then
        return
    end
    local host = address.split(admin.listen)
    if not host then
        c.report(
            "admin.listen",
            ('admin.listen: "%s" is no address'):format(admin.listen)
        )
    elseif
        not admin.token
        and host ~= "unix"
        and host ~= "::1"
        and host ~= "localhost"
        and not host:find("^127%.")
    then
        c.report(
            "admin.listen",
            "admin.listen: "
                .. admin.listen
                .. " is open to others and needs admin.token"
        )
    end
end

local function check_url(c, name, redis)
    local path = ("redis.%s.url"):format(name)
    local why = c.redis_url(redis.url)
    if why then
        c.report(path, path .. ": " .. why)
    end
end

---@param c sd.conf.Cross
function cross.check(c)
    local taken, names = {}, {}
    check_server(c, c.tree.server)
    check_conns(c, c.tree.server)
    check_admin(c, c.tree.admin)
    cluster.check(c)
    local ports = 0
    for name, port in pairs(c.tree.ports or {}) do
        check_port(c, name, port, taken)
        ports = ports + 1
    end
    if ports > PORTS then
        c.report("ports", ("ports: more than %d"):format(PORTS))
    end
    for name, mysql in pairs(c.tree.mysql or {}) do
        if mysql.url == nil then
            c.report("mysql." .. name, ("mysql.%s.url: missing"):format(name))
        end
    end
    for name, redis in pairs(c.tree.redis or {}) do
        check_url(c, name, redis)
    end
    for i, timer in ipairs(c.tree.timers or {}) do
        check_timer(c, i, timer, names)
    end
    check_holes(c, c.tree.timers or {})
end

return cross
