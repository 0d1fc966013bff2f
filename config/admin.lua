-- The port of operators, never of users: loopback, or with a token.
return {
    listen = "127.0.0.1:9180",
    -- token = os.getenv("CHAT_ADMIN_TOKEN"),
}
