-- Where clients come in. Both ports listen on this machine only; to serve
-- others (in a container, say) set the environment:
--     SD_PORTS_CHAT_LISTEN=0.0.0.0:9091 SD_PORTS_WEB_LISTEN=0.0.0.0:8081
return {
    -- Programs: packets of JSON behind a length of four bytes, big endian,
    -- that counts itself.
    chat = {
        listen = "127.0.0.1:9091",
        protocol = "tcp",
        frame = { type = "length", max = "64k" },
        codec = "json",
        controllers = { "login", "chat" },
        middlewares = { "auth" },
        auth_timeout = "10s",
    },

    -- Browsers: the page of scripts/public, calls as POST /login/enter, and a
    -- WebSocket for the talk itself.
    web = {
        listen = "127.0.0.1:8081",
        protocol = "http",
        public = "scripts/public",
        max_body = "64k",
        controllers = { "login", "chat", "history" },
        middlewares = { "live", "auth" },
        websocket = { path = "/ws", codec = "json", max = "64k" },
    },
}
