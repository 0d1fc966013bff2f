-- Short runs of the stress programs of ipc; by hand they run for hours.
local build = os.getenv("SD_BUILD") or "build/dev"

local function run(command)
    local pipe = io.popen(("timeout 300 %s/spec/stress/%s 2>&1; echo rc $?")
        :format(build, command))
    local out = pipe:read("*a")
    pipe:close()
    return out
end

describe("ipc under stress", function()
    for what, command in pairs({
        ["carries messages between threads whole and in order"] =
            "ring_stress 300000",
        ["shows nothing of killed writers, returns all of killed readers"] =
            "ring_kill 300",
        ["ends every call once while processes are killed"] = "mesh_kill 100",
        ["shows whole bindings while their writers are killed"] =
            "uidmap_kill 80",
        ["tells one of two that end at once that it was the last"] =
            "uidmap_last 10000",
    }) do
        it(what, function()
            local out = run(command)
            assert.is_truthy(out:find("rc 0\n$"), out)
        end)
    end
end)
