--- A real browser: Chromium, by the WebDriver protocol of chromedriver.

local cjson = require("cjson")
local http = require("socket.http")
local ltn12 = require("ltn12")
local server = require("spec.support.server")

---@class spec.Browser
local browser = {}
browser.__index = browser

--- The name WebDriver gives to references to elements.
local ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

local flags = {
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1100,720",
}

local function request(self, method, path, data)
    local body, answer = data and cjson.encode(data), {}
    local ok, status = http.request({
        url = "http://127.0.0.1:" .. self.port .. path,
        method = method,
        headers = {
            ["Content-Type"] = "application/json",
            ["Content-Length"] = body and #body or 0,
        },
        source = body and ltn12.source.string(body),
        sink = ltn12.sink.table(answer),
    })
    assert(ok, status)
    local value = cjson.decode(table.concat(answer)).value
    if status ~= 200 then
        error(method .. " " .. path .. ": " .. value.message, 2)
    end
    return value
end

--- Start chromedriver and one window.
---@param dir string a folder of the spec's own
---@param extra string[]? more flags
---@return spec.Browser
function browser.open(dir, extra)
    local out = dir .. "/chromedriver.out"
    local pid = server.shell(("env -u LD_PRELOAD HOME=%s chromedriver "
        .. "--port=0 > %s 2>&1 & echo $!"):format(dir, out))
    local self = setmetatable({ pid = tonumber(pid) }, browser)
    self.port = server.until_(function()
        local file = assert(io.open(out))
        local text = file:read("*a")
        file:close()
        return text:match("started successfully on port (%d+)")
    end, "chromedriver listens")
    local args = {}
    for _, list in ipairs({ flags, extra or {} }) do
        for _, flag in ipairs(list) do
            args[#args + 1] = flag
        end
    end
    args[#args + 1] = "--user-data-dir=" .. dir .. "/chromium"
    local session = request(self, "POST", "/session", {
        capabilities = {
            alwaysMatch = { ["goog:chromeOptions"] = { args = args } },
        },
    })
    self.session = "/session/" .. session.sessionId
    return self
end

function browser:go(url)
    request(self, "POST", self.session .. "/url", { url = url })
end

local function element(self, css)
    local found = request(self, "POST", self.session .. "/element", {
        using = "css selector",
        value = css,
    })
    return self.session .. "/element/" .. found[ELEMENT]
end

--- Type into the element, as with a keyboard. "\n" is Enter.
function browser:type(css, text)
    text = text:gsub("\n", "\238\128\135")
    request(self, "POST", element(self, css) .. "/value", { text = text })
end

function browser:click(css)
    request(self, "POST", element(self, css) .. "/click", cjson.decode("{}"))
end

--- The value of an expression of JavaScript.
function browser:eval(code)
    local value = request(self, "POST", self.session .. "/execute/sync", {
        script = "return " .. code,
        args = { 0 }, -- an empty one would be written as a map
    })
    if value ~= cjson.null then
        return value
    end
end

--- Wait until the expression is true.
function browser:until_(code)
    server.until_(function()
        return self:eval("!!(" .. code .. ")")
    end, code)
end

--- A cookie's value, also of one that scripts of the page cannot read.
function browser:cookie(name)
    return request(self, "GET", self.session .. "/cookie/" .. name).value
end

function browser:forget_cookies()
    request(self, "DELETE", self.session .. "/cookie")
end

--- The window as PNG, in base64.
function browser:screenshot()
    return request(self, "GET", self.session .. "/screenshot")
end

function browser:close()
    pcall(request, self, "DELETE", self.session)
    server.shell("kill " .. self.pid)
    server.until_(function()
        return not server.is_alive(self.pid)
    end, "chromedriver ends")
end

return browser
