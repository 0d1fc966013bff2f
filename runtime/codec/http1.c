/* http1.c - see http1.h.
 *
 * A verdict may depend on complete lines only, and lines are judged in order:
 * that makes it the same in whatever portions the bytes come.  So the parser
 * is a loop that finds a line end and hands the line to request_line() or
 * header_line(); what it must remember between calls is where the line at
 * hand began and how far no line end was found.  The one look at an incomplete
 * line is at its first byte, so that a TLS hello is refused at once instead of
 * waiting for a deadline.
 *
 * Two parties that read one request differently are how smuggling works, so
 * wherever the RFC lets a recipient choose between repairing and refusing, we
 * refuse: a line ends with CRLF, framing headers come once, Content-Length is
 * digits, Transfer-Encoding is the word chunked. */
#include "codec/http1.h"

#include "base/assert.h"
#include "base/err.h"
#include "codec/http_target.h"
#include "codec/http_text.h"

#define MAX_METHOD 32
#define MAX_LENGTH (INT64_C(1) << 53) /* what a Lua number holds exactly */

enum {
    SEEN_BLANK = 1,     /* the one empty line allowed in front */
    SEEN_REQUEST = 2,   /* the request line */
    SEEN_HOST = 4,      /* a Host header */
    SEEN_AUTHORITY = 8, /* the target is absolute: its host counts */
    SEEN_CODING = 16,   /* a Transfer-Encoding header */
    SEEN_CLOSE = 32,
    SEEN_KEEP_ALIVE = 64,
    SEEN_UPGRADE = 128,  /* in Connection */
    SEEN_PROTOCOL = 256, /* an Upgrade header */
    SEEN_WEBSOCKET = 512,
};

void http1_init(struct http1_head *h, struct http1_header *headers,
                uint32_t max_headers, uint32_t max_head)
{
    sd_assert(max_head < UINT32_MAX / 2);
    *h = (struct http1_head){
        .headers = headers,
        .max_headers = max_headers,
        .max_head = max_head,
        .content_length = -1,
    };
}

static int refuse(struct http1_head *h, int status)
{
    h->status = status;
    return SD_EPROTO;
}

static struct http1_span span_of(const struct http1_head *h, struct slice s)
{
    return (struct http1_span){(uint32_t)(s.p - h->base), (uint32_t)s.len};
}

/* --- the request line -------------------------------------------------- */

static enum http1_method method_of(struct slice name)
{
    static const char *const names[] = {
        [HTTP1_GET] = "GET",       [HTTP1_HEAD] = "HEAD",
        [HTTP1_POST] = "POST",     [HTTP1_PUT] = "PUT",
        [HTTP1_DELETE] = "DELETE", [HTTP1_OPTIONS] = "OPTIONS",
        [HTTP1_PATCH] = "PATCH",   [HTTP1_TRACE] = "TRACE",
    };
    unsigned i;

    for (i = HTTP1_GET; i <= HTTP1_TRACE; i++) {
        if (slice_is(name, names[i]))
            return (enum http1_method)i;
    }
    return HTTP1_OTHER;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cut " HTTP/1.x" off the end of *line. */
static int version(struct http1_head *h, struct slice *line)
{
    const char *v;

    if (line->len < 9)
        return refuse(h, 400);
    v = line->p + line->len - 9;
    if (memcmp(v, " HTTP/", 6) != 0 || !is_digit(v[6]) || v[7] != '.' ||
        !is_digit(v[8]))
        return refuse(h, 400);
    if (v[6] != '1' || v[8] > '1')
        return refuse(h, 505);
    h->minor = v[8] - '0';
    line->len -= 9;
    return 0;
}

static int target(struct http1_head *h, struct slice text)
{
    struct http_target t;

    h->target = span_of(h, text);
    if (h->method == HTTP1_OPTIONS && slice_is(text, "*")) {
        h->path = h->target;
        return 0;
    }
    if (http_target_parse(&t, text) < 0)
        return refuse(h, 400);
    h->path = span_of(h, t.path);
    h->query = span_of(h, t.query);
    if (t.host.len > 0) {
        h->host = span_of(h, t.host);
        h->seen |= SEEN_AUTHORITY;
    }
    return 0;
}

static int request_line(struct http1_head *h, struct slice line)
{
    struct slice name = slice_make(line.p, 0);
    int err;

    while (name.len < line.len && http_text_lower[(uint8_t)line.p[name.len]])
        name.len++;
    if (name.len == 0 || name.len == line.len || line.p[name.len] != ' ')
        return refuse(h, 400);
    err = version(h, &line);
    if (err < 0)
        return err;
    if (line.len <= name.len)
        return refuse(h, 400);
    if (name.len > MAX_METHOD || slice_is(name, "CONNECT"))
        return refuse(h, 501);
    h->method_name = span_of(h, name);
    h->method = method_of(name);
    h->seen |= SEEN_REQUEST;
    return target(h, slice_skip(line, name.len + 1));
}

/* --- headers that mean something to us ----------------------------------- */

static int content_length(struct http1_head *h, struct slice value)
{
    int64_t n = 0;
    size_t i;

    if (value.len == 0 || h->content_length >= 0 || (h->seen & SEEN_CODING))
        return refuse(h, 400);
    for (i = 0; i < value.len; i++) {
        if (!is_digit(value.p[i]))
            return refuse(h, 400);
        if (n <= MAX_LENGTH)
            n = n * 10 + (value.p[i] - '0');
    }
    if (n > MAX_LENGTH)
        return refuse(h, 413);
    h->content_length = n;
    return 0;
}

/* Of a list that is not "chunked": 501 when we could frame the body but not
 * decode it, 400 when its end cannot be known. */
static int unknown_coding(struct slice list)
{
    struct slice coding;
    bool last = false;
    int before = -1; /* codings in front of the last */

    for (; http_text_next(&coding, &list); before++) {
        if (last || !http_text_is_token(coding))
            return 400;
        last = http_text_eq(coding, "chunked");
    }
    return last && before > 0 ? 501 : 400;
}

static int transfer_encoding(struct http1_head *h, struct slice value)
{
    if (h->minor == 0 || h->content_length >= 0 || (h->seen & SEEN_CODING))
        return refuse(h, 400);
    if (!http_text_eq(value, "chunked"))
        return refuse(h, unknown_coding(value));
    h->seen |= SEEN_CODING;
    h->chunked = true;
    return 0;
}

static int host(struct http1_head *h, struct slice value)
{
    if ((h->seen & SEEN_HOST) || !http_target_is_host(value))
        return refuse(h, 400);
    h->seen |= SEEN_HOST;
    if (!(h->seen & SEEN_AUTHORITY))
        h->host = span_of(h, value);
    return 0;
}

static void connection(struct http1_head *h, struct slice list)
{
    struct slice token;

    while (http_text_next(&token, &list)) {
        if (http_text_eq(token, "keep-alive"))
            h->seen |= SEEN_KEEP_ALIVE;
        else if (http_text_eq(token, "close"))
            h->seen |= SEEN_CLOSE;
        else if (http_text_eq(token, "upgrade"))
            h->seen |= SEEN_UPGRADE;
    }
}

static int expect(struct http1_head *h, struct slice value)
{
    if (h->minor == 0)
        return 0; /* a 1.0 client does not know the answer */
    if (!http_text_eq(value, "100-continue"))
        return refuse(h, 417);
    h->expect_continue = true;
    return 0;
}

static bool named(struct slice name, const char *lower)
{
    return memcmp(name.p, lower, name.len) == 0;
}

static int known(struct http1_head *h, struct slice name, struct slice value)
{
    switch (name.len) {
    case 4:
        return named(name, "host") ? host(h, value) : 0;
    case 6:
        return named(name, "expect") ? expect(h, value) : 0;
    case 7:
        if (named(name, "upgrade") && value.len > 0) {
            h->seen |= SEEN_PROTOCOL;
            if (http1_has_token(value, "websocket"))
                h->seen |= SEEN_WEBSOCKET;
        }
        return 0;
    case 10:
        if (named(name, "connection"))
            connection(h, value);
        return 0;
    case 14:
        return named(name, "content-length") ? content_length(h, value) : 0;
    case 17:
        return named(name, "transfer-encoding") ? transfer_encoding(h, value)
                                                : 0;
    default:
        return 0;
    }
}

/* --- lines ---------------------------------------------------------------- */

/* The CR behind the line, no token byte, ends the loop over the name. */
static int header_line(struct http1_head *h, char *p, size_t len)
{
    struct http1_header *header;
    struct slice name, value;
    size_t n = 0;
    char c;

    while ((c = http_text_lower[(uint8_t)p[n]]) != 0)
        p[n++] = c;
    if (n == 0 || p[n] != ':')
        return refuse(h, 400);
    name = slice_make(p, n);
    value = http_text_trim(slice_make(p + n + 1, len - n - 1));
    if (!http_text_is_value(value))
        return refuse(h, 400);
    if (h->count == h->max_headers)
        return refuse(h, 431);
    header = &h->headers[h->count++];
    header->name = span_of(h, name);
    header->value = span_of(h, value);
    return known(h, name, value);
}

static int finish(struct http1_head *h)
{
    bool offers = (h->seen & SEEN_UPGRADE) && (h->seen & SEEN_PROTOCOL);

    if (h->minor == 1 && !(h->seen & SEEN_HOST))
        return refuse(h, 400);
    h->keep_alive = !(h->seen & SEEN_CLOSE) &&
                    (h->minor == 1 || (h->seen & SEEN_KEEP_ALIVE));
    h->upgrade = h->minor == 1 && offers;
    h->websocket = h->upgrade && (h->seen & SEEN_WEBSOCKET);
    return 0;
}

/* One line from h->line, its LF at `nl`.  0: that was the last; SD_EAGAIN. */
static int take_line(struct http1_head *h, char *nl)
{
    char *p = h->base + h->line;
    size_t len = (size_t)(nl - p);
    int err = 0;

    if (len == 0 || nl[-1] != '\r')
        return refuse(h, 400);
    len--;
    h->line = h->scanned = (uint32_t)(nl + 1 - h->base);
    if (h->seen & SEEN_REQUEST) {
        if (len == 0) {
            h->size = h->line;
            return finish(h);
        }
        err = header_line(h, p, len);
    } else if (len > 0) {
        err = request_line(h, slice_make(p, len));
    } else if (h->seen & SEEN_BLANK) {
        return refuse(h, 400);
    } else {
        h->seen |= SEEN_BLANK;
    }
    return err < 0 ? err : SD_EAGAIN;
}

/* All complete lines are taken, `end` bytes may belong to the head. */
static int starve(struct http1_head *h, uint32_t end)
{
    const char *p = h->base + h->line;
    uint32_t have = end - h->line;

    h->scanned = end;
    if (have > 0 && !(h->seen & SEEN_REQUEST)) {
        bool blank = p[0] == '\r' && have == 1 && !(h->seen & SEEN_BLANK);

        if (http_text_lower[(uint8_t)p[0]] == 0 && !blank)
            return refuse(h, 400);
    }
    if (end == h->max_head)
        return refuse(h, (h->seen & SEEN_REQUEST) ? 431 : 414);
    return SD_EAGAIN;
}

int http1_parse(struct http1_head *h, char *p, size_t len)
{
    uint32_t end = len < h->max_head ? (uint32_t)len : h->max_head;
    int err;

    if (h->status != 0)
        return SD_EPROTO;
    h->base = p;
    if (h->size > 0)
        return 0;
    do {
        char *nl = NULL;

        if (h->scanned < end)
            nl = memchr(p + h->scanned, '\n', end - h->scanned);
        if (nl == NULL)
            return starve(h, end);
        err = take_line(h, nl);
    } while (err == SD_EAGAIN);
    return err;
}

/* --- the answer ----------------------------------------------------------- */

bool http1_find(struct slice *out, const struct http1_head *h, const char *name)
{
    size_t len = strlen(name);
    uint32_t i;

    for (i = 0; i < h->count; i++) {
        struct slice s = http1_slice(h, h->headers[i].name);

        if (s.len == len && memcmp(s.p, name, len) == 0) {
            *out = http1_slice(h, h->headers[i].value);
            return true;
        }
    }
    return false;
}

bool http1_has_token(struct slice list, const char *token)
{
    struct slice element;

    while (http_text_next(&element, &list)) {
        if (http_text_eq(element, token))
            return true;
    }
    return false;
}
