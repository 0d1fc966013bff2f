--- Bytes and cryptography: what C does, with its annotations.

local core = require("sd.core")

---@class sd.bytes
local bytes = {}

--- Pack values into bytes, by a format of Lua 5.3's string.pack. Integers
--- beyond 2^53 are given as strings of digits. What does not fit raises.
---@param format string
---@param ... string|number
---@return string
function bytes.pack(format, ...)
    return core.pack(format, ...)
end

--- The values in bytes, and the position behind the last of them. Integers
--- beyond 2^53 are strings of digits. Raises when `s` is too short.
---@param format string
---@param s string
---@param pos? integer where to begin, default 1
---@return any ... values, then the next position
function bytes.unpack(format, s, pos)
    return core.unpack(format, s, pos)
end

--- Lower-case hexadecimal text of bytes.
---@param s string
---@return string
function bytes.hex(s)
    return core.hex(s)
end

---@param text string
---@return string? bytes
---@return string? err "invalid: ..."
function bytes.unhex(text)
    return core.unhex(text)
end

--- Base64 with padding.
---@param s string
---@return string
function bytes.base64(s)
    return core.base64(s)
end

--- Takes both alphabets, with padding or without.
---@param text string
---@return string? bytes
---@return string? err "invalid: ..."
function bytes.unbase64(text)
    return core.unbase64(text)
end

---@param s string
---@param kind "modbus"|"ccitt"
---@return integer
function bytes.crc16(s, kind)
    return core.crc16(s, kind)
end

---@param s string
---@return integer
function bytes.crc32(s)
    return core.crc32(s)
end

---@class sd.crypto
local crypto = {}

--- Bytes that nobody can guess.
---@param n integer
---@return string
function crypto.random(n)
    return core.random(n)
end

--- The digest as raw bytes: `sd.bytes.hex(sd.crypto.hash("sha256", s))`.
---@param algorithm string "sha256", "sha1", "md5" ...
---@param s string
---@return string
function crypto.hash(algorithm, s)
    return core.hash(algorithm, s)
end

--- The keyed digest as raw bytes.
---@param algorithm string
---@param key string
---@param s string
---@return string
function crypto.hmac(algorithm, key, s)
    return core.hmac(algorithm, key, s)
end

--- Are two secrets equal? Takes a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b)
    return core.equal(a, b)
end

return { bytes = bytes, crypto = crypto }
