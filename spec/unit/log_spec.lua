local ffi = require("ffi")
local c = require("spec.support.c")
local json = require("cjson")

local lib = c.use("base/log.h")
c.use("base/clock.h")
ffi.cdef([[
int open(const char *path, int flags, ...);
int pipe2(int *fds, int flags);
int close(int fd);
long read(int fd, void *p, size_t n);
]])

local O_NONBLOCK = 2048

describe("log", function()
    local fds

    local function open(as_json, level)
        fds = ffi.new("int[2]")
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        lib.log_open(fds[1], level or lib.LOG_INFO, as_json, "worker 0")
        lib.log_generation(3)
    end

    local function drain()
        local buf, out = ffi.new("char[65536]"), {}
        while true do
            local n = tonumber(ffi.C.read(fds[0], buf, 65536))
            if n <= 0 then
                return table.concat(out)
            end
            out[#out + 1] = ffi.string(buf, n)
        end
    end

    local function say(text, fields, id)
        lib.log_event(lib.LOG_WARN, id, fields, "%s", text)
    end

    after_each(function()
        lib.log_open(2, lib.LOG_NONE, false, "spec")
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    it("writes a text line with level, process, generation and id", function()
        open(false)
        say("hello", '{"a":1}', "r7")
        local line = drain()
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ ", line)
        assert.matches(' warn worker 0#%d+ g3 %[r7%] hello {"a":1}\n$', line)
    end)

    it("writes a JSON line with every key", function()
        open(true)
        say('say "hi" \\ there', '{"a":1}', "r7")
        local line = json.decode(drain())
        assert.equal("warn", line.level)
        assert.equal("worker 0", line.process)
        assert.is_number(line.pid)
        assert.equal(3, line.generation)
        assert.equal("r7", line.request_id)
        assert.equal('say "hi" \\ there', line.text)
        assert.same({ a = 1 }, line.fields)
        assert.matches("Z$", line.time)
    end)

    it("keeps the shape of a JSON line without id and fields", function()
        open(true)
        say("x")
        local line = json.decode(drain())
        assert.equal(json.null, line.request_id)
        assert.same({}, line.fields)
    end)

    it("escapes what could forge or colour a line", function()
        open(false)
        say("a\nb\rc\27[31m\194\133\127\255é")
        assert.matches(" a\\nb\\rc\\x1b%[31m\\xc2\\x85\\x7f\\xffé\n$", drain())
    end)

    it("writes valid JSON for any bytes", function()
        open(true)
        local bytes = {}
        for i = 1, 255 do
            bytes[i] = string.char(i)
        end
        say(table.concat(bytes))
        local text = json.decode(drain()).text
        assert.matches("^\1\2\3", text)
        assert.matches("\239\191\189", text)
    end)

    it("cuts a long line and keeps its end valid", function()
        open(true)
        say(("\1é"):rep(5000), '{"k":"v"}', ("i"):rep(500))
        local line = drain()
        assert.is_true(#line <= lib.LOG_LINE_MAX)
        local decoded = json.decode(line)
        assert.matches("%.%.%.$", decoded.text)
        assert.same({ k = "v" }, decoded.fields)
        assert.equal(64, #decoded.request_id)
    end)

    it("leaves out fields that are too long or hold controls", function()
        open(true)
        say("one", '{"k":"' .. ("v"):rep(4000) .. '"}')
        assert.same({}, json.decode(drain()).fields)
        say("two", '{\n"k":1}')
        assert.same({}, json.decode(drain()).fields)
    end)

    it("is silent below its level", function()
        open(false, lib.LOG_ERROR)
        say("x")
        assert.equal("", drain())
        assert.is_false(lib.log_enabled(lib.LOG_WARN))
        assert.is_true(lib.log_enabled(lib.LOG_ERROR))
    end)

    it("limits one format and counts what it left out", function()
        open(false)
        for i = 1, 30 do
            lib.log_event(lib.LOG_WARN, nil, nil, "n %d", ffi.cast("int", i))
        end
        say("other")
        local _, lines = drain():gsub("\n", "")
        assert.equal(11, lines)
        lib.clock_advance(1100)
        lib.log_event(lib.LOG_WARN, nil, nil, "n %d", ffi.cast("int", 31))
        assert.matches("n 31 %(20 more left out%)\n$", drain())
    end)

    it("takes each text given as %s for a format of its own", function()
        open(false)
        for i = 1, 40 do
            say("text " .. i)
        end
        local _, lines = drain():gsub("\n", "")
        assert.equal(40, lines)
    end)

    it("drops and counts while nobody reads, then says so", function()
        open(false)
        local long = ("x"):rep(3900)
        for i = 1, 100 do
            say(i .. long)
        end
        local _, passed = drain():gsub("\n", "")
        assert.is_true(passed < 100)
        say("again")
        local text = drain()
        assert.matches(("%d log lines were dropped\n"):format(100 - passed), text)
        assert.matches("again\n$", text)
        say("and on")
        assert.not_matches("dropped", drain())
    end)

    it("drops on a full disk", function()
        open(false)
        lib.log_reopen(ffi.C.open("/dev/full", 1))
        say("lost")
        say("lost too")
        lib.log_reopen(fds[1])
        say("back")
        assert.matches("2 log lines were dropped\n.*back\n$", drain())
    end)

    it("knows its levels by name", function()
        open(false)
        assert.equal(lib.LOG_DEBUG, lib.log_level_parse("debug"))
        assert.equal(lib.LOG_NONE, lib.log_level_parse("none"))
        assert.equal(-1, lib.log_level_parse("loud"))
    end)
end)
