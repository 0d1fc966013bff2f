-- One line an event: to stderr, or to run/sdlua.log with `start -d`.
return {
    level = "info",
    format = "text", -- or "json"
}
