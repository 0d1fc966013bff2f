-- The port of operators, never of users: loopback, or with a token. Without
-- `listen` it is 127.0.0.1:9180, or none when another node has that.
return {
    -- listen = "127.0.0.1:9180",
    -- token = os.getenv("CHAT_ADMIN_TOKEN"),
}
