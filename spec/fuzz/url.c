/* url.c - what is read out of targets and headers: percent coding, forms,
 * static paths, cookies, hosts, dates, tags. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "codec/cookie.h"
#include "codec/etag.h"
#include "codec/http_date.h"
#include "codec/http_target.h"
#include "codec/mime.h"
#include "codec/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct slice part, struct slice whole)
{
    sd_assert(part.p >= whole.p && part.p + part.len <= whole.p + whole.len);
}

static void decode(struct slice in)
{
    struct buf plain = {0}, coded = {0}, again = {0};

    if (url_decode(&plain, in, true) == 0) {
        sd_assert(plain.len <= in.len);
        url_encode(&coded, buf_slice(&plain));
        sd_assert(url_decode(&again, buf_slice(&coded), true) == 0);
        sd_assert(slice_eq(buf_slice(&plain), buf_slice(&again)));
    } else {
        sd_assert(plain.len == 0);
    }
    buf_fini(&plain);
    buf_fini(&coded);
    buf_fini(&again);
}

/* Whatever was accepted stays below its folder. */
static void path(struct slice in)
{
    struct buf out = {0};

    if (url_path(&out, in) == 0) {
        struct slice s = buf_slice(&out);

        sd_assert(s.len <= URL_MAX_PATH);
        sd_assert(s.len == 0 || s.p[0] != '/');
        buf_append(&out, "", 1);
        sd_assert(strlen(out.p) == out.len - 1);
        sd_assert(strstr(out.p, "//") == NULL);
        sd_assert(strstr(out.p, "/.") == NULL);
        sd_assert(strchr(out.p, '\\') == NULL);
        sd_assert(strncmp(out.p, "..", 2) != 0);
    } else {
        sd_assert(out.len == 0);
    }
    buf_fini(&out);
}

static void lists(struct slice in)
{
    struct slice name, value, rest;

    for (rest = in; url_next_pair(&name, &value, &rest);) {
        check_inside(name, in);
        check_inside(value, in);
    }
    for (rest = in; cookie_next(&name, &value, &rest);) {
        check_inside(name, in);
        check_inside(value, in);
        sd_assert(name.len > 0);
    }
}

static void target(struct slice in)
{
    struct http_target t;

    if (http_target_parse(&t, in) < 0)
        return;
    check_inside(t.host, in);
    check_inside(t.path, in);
    check_inside(t.query, in);
    sd_assert(t.path.p[0] == '/');
    sd_assert(t.host.len == 0 || http_target_is_host(t.host));
}

static void date(struct slice in)
{
    char text[HTTP_DATE_LEN];
    int64_t t;

    if (http_date_parse(&t, in) == 0) {
        http_date_write(text, t);
        sd_assert(memcmp(text, in.p, HTTP_DATE_LEN) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    struct slice in = slice_make(copy, size);

    if (size > 0)
        memcpy(copy, data, size);
    decode(in);
    path(in);
    lists(in);
    target(in);
    date(in);
    (void)etag_match(in, slice_str("\"a\""));
    (void)mime_is(in, "text/html");
    sd_assert(mime_type(in) != NULL);
    free(copy);
    return 0;
}
