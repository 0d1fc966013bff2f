-- What the documentation says can be typed, is typed here.
local docs = require("spec.support.docs")

describe("documentation", function()
    local pipe = io.popen("pwd")
    local root = pipe:read("*l")
    pipe:close()
    local build = root .. "/" .. (os.getenv("SD_BUILD") or "build/release")

    local pages = io.popen("ls README.md docs/*.md docs/why/*.md 2>/dev/null")
    for page in pages:lines() do
        it("of " .. page .. " does what it says", function()
            assert.is_nil(docs.run(page, build))
        end)
    end
    pages:close()
end)
