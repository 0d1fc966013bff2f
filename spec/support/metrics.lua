--- Reads Prometheus text, 0.0.4, and is strict about it: what this takes, every
--- scraper takes.

local metrics = {}

local ESCAPES = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

local function labels_of(text, line)
    local map, at = {}, 1
    while at <= #text do
        local name, value, last = text:match('^([%a_][%w_]*)="([^"\\]*)"()', at)
        if not name then -- with escapes
            local raw
            name, raw, last = text:match('^([%a_][%w_]*)="(.-[^\\])"()', at)
            assert(name, "bad labels: " .. line)
            value = raw:gsub("\\.", function(e)
                return assert(ESCAPES[e], "bad escape: " .. line)
            end)
        end
        assert(map[name] == nil, "a label twice: " .. line)
        map[name] = value
        if last <= #text then
            assert(text:sub(last, last) == ",", "bad labels: " .. line)
            last = last + 1
        end
        at = last
    end
    return map
end

local function take_sample(self, line)
    local name, labels, value = line:match("^([%a_:][%w_:]*){(.*)} (%S+)$")
    assert(name, "no sample: " .. line)
    assert(name == self.current, "not behind its TYPE: " .. line)
    local key = name .. "{" .. labels .. "}"
    assert(not self.seen[key], "twice: " .. line)
    self.seen[key] = true
    value = assert(tonumber(value), "no number: " .. line)
    assert(self.types[name] ~= "counter" or value >= 0, "a negative counter: " .. line)
    table.insert(self.samples, { name = name, labels = labels_of(labels, line), value = value })
end

local function take_comment(self, line)
    local what, name, rest = line:match("^# (%u+) ([%a_:][%w_:]*) (.+)$")
    assert(what == "HELP" or what == "TYPE", "no comment: " .. line)
    if what == "HELP" then
        assert(not self.helped[name], "helped twice: " .. line)
        self.helped[name] = true
        self.help = name
        return
    end
    assert(self.help == name, "not behind its HELP: " .. line)
    assert(rest == "counter" or rest == "gauge", "no type: " .. line)
    assert((name:find("_total$") ~= nil) == (rest == "counter"), "no such name: " .. line)
    assert(not self.types[name], "typed twice: " .. line)
    self.types[name] = rest
    self.current = name
end

---@class spec.metrics
---@field types table<string, string>
---@field samples table[] name, labels, value
local Metrics = {}
Metrics.__index = Metrics

--- Fails where the text is none.
---@param text string
---@return spec.metrics
function metrics.parse(text)
    local self = setmetatable({ types = {}, samples = {}, seen = {}, helped = {} }, Metrics)
    assert(text:sub(-1) == "\n", "no end of line at its end")
    for line in text:gmatch("(.-)\n") do
        if line:sub(1, 1) == "#" then
            take_comment(self, line)
        else
            take_sample(self, line)
        end
    end
    return self
end

--- The sum of all samples of a name that have these labels, and how many.
---@param name string behind "sdlua_"
---@param labels table<string, string>|nil
---@return number sum, integer count
function Metrics:sum(name, labels)
    local sum, count = 0, 0
    assert(self.types["sdlua_" .. name], "no such name: " .. name)
    for _, s in ipairs(self.samples) do
        local fits = s.name == "sdlua_" .. name
        for label, value in pairs(labels or {}) do
            fits = fits and s.labels[label] == value
        end
        if fits then
            sum, count = sum + s.value, count + 1
        end
    end
    return sum, count
end

return metrics
