-- The node: its processes and their limits. docs/config.md lists every key.
return {
    -- One worker: a room is a topic, and a topic reaches the conns of its own
    -- worker only. With two, half of a room would not hear the other half.
    workers = 1,

    -- Tasks write transcripts and throw old rooms away, and may block.
    tasks = 1,

    -- A node started by root serves as this user; by default as the owner of
    -- this folder.
    -- user = "www-data",

    stop_timeout = "10s",
}
