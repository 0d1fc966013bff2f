-- Print docs/config.md from the schema in the library: `make docs`.
package.path = "./?.lua;" .. package.path
local ffi = require("ffi")
local c = require("spec.support.c")

local lib = c.use("base/conf_doc.h")
local b = ffi.new("struct buf")
lib.conf_markdown(b)
io.write(ffi.string(b.p + b.head, b.len))
lib.buf_fini(b)
