/* mime.c - see mime.h.
 *
 * Text types carry their charset because browsers guess otherwise, and guess
 * differently.  A table of some forty entries is searched linearly: opening
 * the file costs a hundred times more. */
#include "codec/mime.h"

#include "codec/http_text.h"

static const struct {
    const char *extension;
    const char *type;
} types[] = {
    {"html", "text/html; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"json", "application/json"},
    {"png", "image/png"},
    {"svg", "image/svg+xml"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/x-icon"},
    {"bmp", "image/bmp"},
    {"woff2", "font/woff2"},
    {"woff", "font/woff"},
    {"ttf", "font/ttf"},
    {"otf", "font/otf"},
    {"htm", "text/html; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"map", "application/json"},
    {"webmanifest", "application/manifest+json"},
    {"wasm", "application/wasm"},
    {"txt", "text/plain; charset=utf-8"},
    {"log", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"xml", "application/xml"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"pdf", "application/pdf"},
    {"mp3", "audio/mpeg"},
    {"ogg", "audio/ogg"},
    {"wav", "audio/wav"},
    {"m4a", "audio/mp4"},
    {"mp4", "video/mp4"},
    {"webm", "video/webm"},
    {"zip", "application/zip"},
    {"gz", "application/gzip"},
    {"tar", "application/x-tar"},
    {"bin", "application/octet-stream"},
};

const char *mime_type(struct slice name)
{
    size_t dot = name.len, i;

    while (dot > 0 && name.p[dot - 1] != '.' && name.p[dot - 1] != '/')
        dot--;
    if (dot > 0 && name.p[dot - 1] == '.') {
        for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            if (http_text_eq(slice_skip(name, dot), types[i].extension))
                return types[i].type;
        }
    }
    return "application/octet-stream";
}

bool mime_is(struct slice content_type, const char *type)
{
    const char *semicolon = NULL;

    if (content_type.len > 0)
        semicolon = memchr(content_type.p, ';', content_type.len);
    if (semicolon != NULL)
        content_type.len = (size_t)(semicolon - content_type.p);
    return http_text_eq(http_text_trim(content_type), type);
}
