-- The node: its processes and their limits. docs/config.md lists every key.
return {
    -- A room is a topic, and a topic reaches the conns of all workers, so there
    -- may be as many as the machine has cores.
    workers = 2,

    -- Tasks write transcripts and throw old rooms away, and may block.
    tasks = 1,

    -- A node started by root serves as this user; by default as the owner of
    -- this folder.
    -- user = "www-data",

    stop_timeout = "10s",
}
