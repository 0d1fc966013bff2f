-- What the example's config/ shows behind "--" is so: the defaults are the
-- defaults, and the examples are good.
local json = require("cjson")
local server = require("spec.support.server")

local KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="

describe("the example's configuration", function()
    for _, name in ipairs({ "cluster", "dispatch" }) do
        it("of the " .. name .. " shows what holds", function()
            local path = "config/" .. name .. ".lua"
            local f = assert(io.open(path))
            local text = f:read("*a")
            f:close()
            local s = server.new({
                [path] = text,
                ["config/redis.lua"] = 'return { default = { url = "redis://h" } }',
            })
            finally(function()
                server.shell("rm -rf " .. s.dir)
            end)
            s.env = "SD_CLUSTER_KEY=" .. KEY

            local function values()
                local out, status = s:run("config --json " .. name)
                assert.equal(0, status, out)
                local list = {}
                for key, v in pairs(json.decode(out)) do
                    list[key] = v.value
                end
                return list
            end

            --- Take "-- " away where the line is one of these.
            local function uncomment(with_examples)
                local shown = 0
                s:write(path, (text:gsub("(    )%-%- (%l[%w_]* = [^\n]*)", function(space, line)
                    local is_example = line:find("-- an example", 1, true)
                    if line:find("^key") or is_example and not with_examples then
                        return nil
                    end
                    shown = shown + 1
                    return space .. line
                end)))
                return shown
            end

            local defaults = values()
            assert.is_true(uncomment(false) >= 2)
            assert.same(defaults, values())
            uncomment(true)
            assert.equal(0, select(2, s:run("check")), (s:run("check")))

            -- Every key of the file is there, set or shown.
            for key in pairs(defaults) do
                local field = key:match("%.([%w_]+)$")
                assert.truthy(text:find("\n    " .. field .. " = ")
                    or text:find("\n    %-%- " .. field .. " = "), key)
            end
        end)
    end
end)
