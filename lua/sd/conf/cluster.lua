--- The cluster's part of a configuration: where its keys come from, where it
--- listens when nobody said, and what does not go together.
local address = require("sd.conf.address")

local cluster = {}

local KEYS = 3
local NAME = 64
local MAKE = ' ("sdlua key" makes one)'

--- Who said so, as a number: files, environment, flags.
local function rank(c, path)
    local source = c.sources[path]
    if not source then
        return 1
    end
    return source == "flag" and 3 or 2
end

--- The keys in a file: one a line, or by comma.
local function keys_in(text)
    local list = {}
    for item in text:gmatch("[^,\r\n]+") do
        item = item:match("^%s*(.-)%s*$")
        if item ~= "" then
            list[#list + 1] = item
        end
    end
    return list
end

--- Put the keys of `key_file` where those of `key` would be. When both are set
--- the later layer wins, as everywhere: SD_CLUSTER_KEY over a `key_file` of
--- config/, SD_CLUSTER_KEY_FILE over a `key`.
---@param c table the builder of sd.conf
---@param report fun(path: string, text: string)
function cluster.read_keys(c, report)
    local tree = type(c.trees.cluster) == "table" and c.trees.cluster or {}
    local file = tree.key_file
    if file == nil then
        return
    end
    if tree.key ~= nil then
        local by = rank(c, "cluster.key") - rank(c, "cluster.key_file")
        if by == 0 then
            report("cluster.key_file", "cluster: key and key_file are both set")
            return
        elseif by > 0 then
            tree.key_file = nil
            return
        end
    end
    local text, err = c.host.secret(file)
    if not text then
        report(
            "cluster.key_file",
            ("cluster.key_file: %s: %s"):format(file, err)
        )
        return
    end
    tree.key = keys_in(text)
    c.sources["cluster.key"] = c.sources["cluster.key_file"] or file
end

local function list_of(value)
    return type(value) == "table" and value or { value }
end

--- Where membership listens when nobody chose: conf_cluster_bind() of C.
function cluster.default_bind(trees)
    local tree = type(trees.cluster) == "table" and trees.cluster or {}
    local has_key = #list_of(tree.key) > 0
    return has_key and "0.0.0.0:7946" or "127.0.0.1:7946"
end

local function check_key(c, key)
    local from_file = c.tree.cluster.key_file ~= nil
    local path = from_file and "cluster.key_file" or "cluster.key"
    local function report(text)
        c.report(path, path .. ": " .. text)
    end
    local list, first = list_of(key), {}
    if key ~= nil and #list == 0 then
        report("is empty" .. MAKE)
    elseif #list > KEYS then
        report(("%d keys, at most %d"):format(#list, KEYS))
    end
    for i, text in ipairs(list) do
        local which = #list > 1 and ("item %d: "):format(i) or ""
        local why = c.cluster_key(text)
        if why then
            report(which .. why .. MAKE)
        elseif first[text] then
            report(("%sthe same as item %d"):format(which, first[text]))
        end
        first[text] = first[text] or i
    end
end

--- An address of a machine; without a key of this one.
local function check_address(c, path, text, has_key)
    local host, port = address.split(text)
    if not host or not address.is_ip(host) then
        local what = '%s: "%s" is no address like "10.0.0.1:7946" or "[::1]:0"'
        c.report(path, what:format(path, text))
    elseif not has_key and not address.is_loopback(host) then
        local what = "%s: %s is open to others and needs cluster.key%s"
        c.report(path, what:format(path, text, MAKE))
    end
    return port
end

local function check_seeds(c, seeds)
    for i, seed in ipairs(seeds or {}) do
        local host, port = address.split(seed)
        if not host or host == "unix" or port == 0 then
            c.report(
                "cluster.seeds",
                ('cluster.seeds: item %d: "%s" is no "host:port"'):format(
                    i,
                    seed
                )
            )
        end
    end
end

--- Where people are is kept in Redis: two nodes with a Redis each would not
--- find each other's.
local function check_redis(c)
    local path = "redis.default.url"
    local redis = (c.tree.redis or {}).default
    if redis and redis.url ~= "embedded" then
        return
    end
    local now = redis and '"embedded", of this node alone' or "missing"
    local what = "cluster.enable: %s is %s: set it to a Redis that all "
        .. "nodes share"
    c.report(redis and path or "cluster.enable", what:format(path, now))
end

---@param c sd.conf.Cross
function cluster.check(c)
    local tree = c.tree.cluster
    local has_key = #list_of(tree.key) > 0
    if tree.name == "" or #tree.name > NAME then
        c.report(
            "cluster.name",
            ("cluster.name: 1 to %d bytes expected"):format(NAME)
        )
    end
    check_key(c, tree.key)
    check_address(c, "cluster.bind", tree.bind, has_key)
    if tree.advertise then
        check_address(c, "cluster.advertise", tree.advertise, has_key)
        local host = address.split(tree.advertise)
        if host == "0.0.0.0" or host == "::" then
            c.report(
                "cluster.advertise",
                ("cluster.advertise: nobody is reached at %s"):format(host)
            )
        end
    end
    check_seeds(c, tree.seeds)
    if tree.discovery == "dns" and #(tree.seeds or {}) == 0 then
        c.report(
            "cluster.discovery",
            'cluster.discovery: "dns" needs names in cluster.seeds'
        )
    end
    if tree.enable and not c.is_dispatch then
        check_redis(c)
    end
end

return cluster
