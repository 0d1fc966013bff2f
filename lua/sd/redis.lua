--- Redis: every command by its name, as a method.
---
---     local redis = sd.redis()
---     redis:set("visits", 1)
---     local visits, err = redis:incr("visits")
---
--- Commands of all coroutines share one connection, so what would change the
--- connection for the others raises, and what makes Redis wait goes over a
--- connection of its own.

local core = require("sd.core")
local fault = require("sd.fault")
local wait = require("sd.wait")

local command, encode = core.redis_command, core.redis_encode
local settle = wait.settle

local MAP, OWN = 1, 2
local FOR_EVER = -1

local shared = "the connection is shared by all coroutines"
local subscription = "subscriptions are not supported yet"
local transaction = shared .. ": use redis:eval() for what belongs together"
local writes = "it would wait for the writes of a connection of its own, which "
    .. "has none: see min-replicas-to-write in Redis's configuration"
local secret = "the password belongs into the url of config/redis.lua"

--- Commands that would break the connection for everybody, and why.
local refused = {
    subscribe = subscription,
    psubscribe = subscription,
    ssubscribe = subscription,
    unsubscribe = subscription,
    punsubscribe = subscription,
    sunsubscribe = subscription,
    monitor = shared .. ": use redis-cli",
    select = "the database belongs into the url of config/redis.lua",
    multi = transaction,
    exec = transaction,
    discard = transaction,
    watch = transaction,
    unwatch = transaction,
    auth = secret,
    hello = secret,
    quit = shared,
    reset = shared,
    wait = writes,
    waitaof = writes,
    sync = shared,
    psync = shared,
}

--- Where commands that block say for how long: the place of the argument,
--- from the end when negative, and how many milliseconds its unit has.
local blocking = {
    blpop = { -1, 1000 },
    brpop = { -1, 1000 },
    brpoplpush = { -1, 1000 },
    blmove = { -1, 1000 },
    bzpopmin = { -1, 1000 },
    bzpopmax = { -1, 1000 },
    blmpop = { 1, 1000 },
    bzmpop = { 1, 1000 },
}

--- Milliseconds Redis may wait; what is no number it will refuse itself.
local function block_ms(value, unit)
    local n = tonumber(value) or 1
    return n > 0 and math.min(n * unit, 2 ^ 42) or FOR_EVER
end

--- The value behind BLOCK in the arguments of XREAD and XREADGROUP.
local function block_of(first, ...)
    for i = first, select("#", ...) - 1 do
        local word = tostring((select(i, ...))):lower()
        if word == "streams" then
            return nil
        elseif word == "block" then
            return (select(i + 1, ...))
        end
    end
end

--- How long this command may make Redis wait; nil: it does not.
local function waits(name, ...)
    local rule = blocking[name]
    if rule then
        local n = select("#", ...)
        local at = rule[1] < 0 and n or rule[1]
        return block_ms(at >= 1 and (select(at, ...)) or nil, rule[2])
    elseif name == "xread" or name == "xreadgroup" then
        local value = block_of(name == "xread" and 1 or 4, ...)
        return value and block_ms(value, 1)
    end
end

---@param name string lower case
local function refuse(name, why)
    fault.misuse(("redis:%s(): %s"):format(name, why))
end

--- Raise for a command that may not go over the shared connection.
local function check(name, ...)
    if refused[name] then
        refuse(name, refused[name])
    elseif name == "client" and tostring((...)):lower() == "reply" then
        refuse(name, shared)
    end
end

--- Does the reply list keys and values?
local function is_map(name, ...)
    return name == "hgetall"
        or name == "config" and tostring((...)):lower() == "get"
end

--- A configured server. Commands are methods, in either case of letters:
--- missing values are nil, failures `nil, err`.
---@class sd.Redis
---@field [string] fun(self: sd.Redis, ...: string|number): any, string?
local Redis = {}

---@class sd.Pipeline
---@field [string] fun(self: sd.Pipeline, ...: string|number)
local Pipeline = {}

local function number_of(self, name)
    local number = type(self) == "table" and rawget(self, 1)
    if not number then
        fault.misuse(("call it with a colon: redis:%s(...)"):format(name))
    end
    return number
end

local function block(server, ms, word, ...)
    local ticket = core.ticket()
    local mark, err = command(server, OWN, ms, word, ...)
    if mark == core.CANCELLED then
        core.redis_abandon(server, ticket)
    end
    return settle(mark, err)
end

--- The method of a command that always is what its name says.
local function simple(word, flags)
    return function(self, ...)
        local server = number_of(self, word)
        return settle(command(server, flags, 0, word, ...))
    end
end

--- The method of a command that depends on its arguments.
local function special(word, name)
    return function(self, ...)
        local server = number_of(self, word)
        check(name, ...)
        local ms = waits(name, ...)
        if ms then
            return block(server, ms, word, ...)
        end
        local flags = is_map(name, ...) and MAP or 0
        return settle(command(server, flags, 0, word, ...))
    end
end

local depends =
    { xread = true, xreadgroup = true, config = true, client = true }

local function method_of(word)
    local name = word:lower()
    if refused[name] or blocking[name] or depends[name] then
        return special(word, name)
    end
    return simple(word, name == "hgetall" and MAP or 0)
end

--- Like method_of(), for the recorder of a pipeline.
local function recorder_of(word)
    local name = word:lower()
    return function(self, ...)
        number_of(self, word)
        check(name, ...)
        if waits(name, ...) then
            refuse(name, "it may block, which a pipeline cannot")
        end
        local n = self.n + 1
        self.bytes[n] = encode(word, ...)
        self.maps[n] = is_map(name, ...) or nil
        self.n = n
    end
end

--- Make methods when they are first asked for.
local function by_name(class, make)
    return setmetatable(class, {
        __index = function(methods, word)
            if type(word) ~= "string" or not word:find("^%a[%w_.-]*$") then
                return nil
            end
            local method = make(word)
            methods[word] = method
            return method
        end,
    })
end

local redis_meta = { __index = by_name(Redis, method_of) }
local pipeline_meta = { __index = by_name(Pipeline, recorder_of) }

local function map_of(list)
    if type(list) ~= "table" or list.err then
        return list
    end
    local map = {}
    for i = 1, #list - 1, 2 do
        map[list[i]] = list[i + 1]
    end
    return map
end

--- Send the commands that `fn` makes in one go.
---@async
---@param fn fun(p: sd.Pipeline)
---@return any[]? replies in order, a failed one as `{err=}`
---@return string? err
function Redis:pipeline(fn)
    local server = number_of(self, "pipeline")
    if type(fn) ~= "function" then
        fault.misuse("bad argument #1 to 'pipeline' (a function expected)")
    end
    local p = { server, n = 0, bytes = {}, maps = {} }
    setmetatable(p, pipeline_meta)
    fn(p)
    if p.n == 0 then
        return core.array()
    end
    local bytes = table.concat(p.bytes)
    local list, err = settle(core.redis_pipeline(server, p.n, bytes))
    if not list then
        return nil, err
    end
    for i in pairs(p.maps) do
        list[i] = map_of(list[i])
    end
    return list
end

local servers = {}

--- The Redis server of that name in config/redis.lua.
---@param name? string default "default"
---@return sd.Redis
local function redis(name)
    name = name or "default"
    local server = servers[name]
    if not server then
        local number = core.redis_servers[name]
        if not number then
            fault.misuse(
                ("no redis '%s' in config/redis.lua"):format(tostring(name))
            )
        end
        server = setmetatable({ number }, redis_meta)
        servers[name] = server
    end
    return server
end

return redis
