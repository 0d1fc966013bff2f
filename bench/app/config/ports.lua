local tcp = os.getenv("BENCH_TCP_PORT") or "19091"
local http = os.getenv("BENCH_HTTP_PORT") or "18081"

return {
    bench = {
        listen = "127.0.0.1:" .. tcp,
        protocol = "tcp",
        frame = {
            type = "length",
            bytes = 4,
            endian = "big",
            includes_header = true,
            max = 65536,
        },
        codec = "json",
        route = "normal",
        controllers = { "bench" },
        idle_timeout = "10m",
    },
    web = {
        listen = "127.0.0.1:" .. http,
        protocol = "http",
        controllers = { "bench" },
        idle_timeout = "10m",
        websocket = { path = "/ws", codec = "raw", route = "echo" },
    },
}
