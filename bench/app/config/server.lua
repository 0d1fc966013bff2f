-- One worker, so that a request's cost is that of one process; one task,
-- because there is always at least one.
return {
    name = "bench",
    workers = 1,
    tasks = 1,
    max_conns = 15000,
}
