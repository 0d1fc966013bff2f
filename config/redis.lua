-- "embedded" is a private redis-server of this node, on a socket in run/; what
-- it holds survives a restart. Another one: SD_REDIS_DEFAULT_URL=redis://host
return {
    default = { url = "embedded" },
}
