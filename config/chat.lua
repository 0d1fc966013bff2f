-- The application's own: not checked by sdlua, read as sd.config.chat.
return {
    -- Signs the passes. Without one the first start makes one up and keeps it
    -- in Redis.
    secret = os.getenv("CHAT_SECRET"),

    pass_days = 1, -- how long a name is yours
    history = 200, -- lines kept of a room
    shown = 50, -- of these, lines shown to who comes in
}
