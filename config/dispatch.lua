-- A dispatch carries messages between nodes: `sdlua dispatch start`, or
-- `sdlua start --dispatch` inside a node. docs/cluster.md. Shown are defaults.
return {
    -- Relay processes. A worker links to each relay of each dispatch, to at
    -- most 64.
    -- relays = "auto", -- one per usable core

    -- TCP port of the first relay; the next ones follow. 0: any that are free,
    -- nodes are told. Behind a firewall or in a container say which.
    -- port = 0,
}
