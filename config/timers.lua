-- What runs by the clock, once per node.
return {
    -- Tell everybody which rooms there are and how many people are in them.
    -- A model runs in a worker, where the conns are.
    { name = "census", model = "room", method = "census", every = "10s" },

    -- Throw rooms away that nobody used for a week. A task runs in a process
    -- of its own.  In a cluster: scope = "cluster", and one node does it.
    {
        name = "prune",
        task = "history",
        method = "prune",
        args = { days = 7, keep = 200 },
        every = "1h",
        delay = "1m",
    },
}
