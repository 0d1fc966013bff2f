-- Many machines as one: docs/cluster.md. Without `enable` this node is alone.
-- Nodes and dispatches have the same file; what differs between them comes
-- from the environment (SD_NODE_NAME, SD_CLUSTER_ADVERTISE ...). Shown are
-- defaults, and examples where it says so.
return {
    -- Be a member. Nodes need a Redis that all share (config/redis.lua).
    enable = false,

    -- Members of a cluster of another name are not heard.
    -- name = "sdlua",

    -- The key that all members have: `sdlua key` makes one. In a file, a line
    -- each, or here; up to three while they change, of which the first is used
    -- and all are accepted. Without one the cluster is of this machine only.
    -- key_file = "/run/secrets/cluster_key", -- an example
    -- key = { "...", "..." }, -- an example

    -- Where membership listens, by UDP. When nothing is said and the port is
    -- taken, any other one; without a key 127.0.0.1.
    -- bind = "0.0.0.0:7946",

    -- What others are told instead, where they cannot see it: NAT, containers.
    -- advertise = "203.0.113.7:7946", -- an example

    -- How members find each other: "lan", announcements on the local network
    -- (UDP, one port above `bind`), and seeds; "seeds" alone; "dns", seeds
    -- whose names have many addresses and are looked up again and again.
    -- discovery = "lan",
    -- seeds = { "10.0.0.5:7946", "cluster.example:7946" }, -- an example

    -- How soon a silent member counts as dead: "lan", 5 to 6 seconds, 10
    -- among 100; "fast", 2 to 3, for quick networks of up to 100 members.
    -- profile = "lan",

    -- Encrypt links. Both ends must say false to do without; what agents say
    -- to each other is always encrypted.
    -- encrypt = true,
}
