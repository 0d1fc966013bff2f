-- Many machines: one name and one key for all of them, and one Redis. Without
-- `enable` this node is alone. docs/cluster.md
return {
    enable = false,
    -- name = "chat",
    -- key_file = "/run/secrets/cluster_key", -- `sdlua key` makes one
    -- seeds = { "10.0.0.5:7946" }, -- where announcements do not get through
}
