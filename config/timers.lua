-- What runs by the clock: once per node, or once in the cluster when this node
-- is in one. (Each node alone would do no harm here, only the same work again.)
local scope = os.getenv("SD_CLUSTER_ENABLE") == "true" and "cluster" or "node"

return {
    -- Tell everybody which rooms there are and how many people are in them.
    -- A model runs in a worker, where the conns are.
    {
        name = "census",
        model = "room",
        method = "census",
        every = "10s",
        scope = scope,
    },

    -- Take those out of their rooms whose node has died.
    {
        name = "sweep",
        model = "room",
        method = "sweep",
        every = "10s",
        scope = scope,
    },

    -- Throw rooms away that nobody used for a week. A task runs in a process
    -- of its own.
    {
        name = "prune",
        scope = scope,
        task = "history",
        method = "prune",
        args = { days = 7, keep = 200 },
        every = "1h",
        delay = "1m",
    },
}
