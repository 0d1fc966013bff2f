/* http_response.c - see http_response.h.
 *
 * A head is mostly constant text, so one reservation for all of it and a
 * moving pointer beat formatted printing by an order of magnitude: the small
 * answer of a script is a handful of memcpy. */
#include "codec/http_response.h"

#include "base/assert.h"
#include "base/err.h"
#include "codec/http_date.h"
#include "codec/http_text.h"

/* Room for every part but the slices: the longest status line, Date, length,
 * Connection and the names in front. */
#define HEAD_ROOM 256

struct status_line {
    const char *text; /* "HTTP/1.1 200 OK\r\n" */
    size_t len;
};

#define STATUS(code, reason)                             \
    [(code)-100] = {"HTTP/1.1 " #code " " reason "\r\n", \
                    sizeof("HTTP/1.1 " #code " " reason "\r\n") - 1}

static const struct status_line status_lines[] = {
    STATUS(100, "Continue"),
    STATUS(101, "Switching Protocols"),
    STATUS(200, "OK"),
    STATUS(201, "Created"),
    STATUS(202, "Accepted"),
    STATUS(203, "Non-Authoritative Information"),
    STATUS(204, "No Content"),
    STATUS(205, "Reset Content"),
    STATUS(206, "Partial Content"),
    STATUS(300, "Multiple Choices"),
    STATUS(301, "Moved Permanently"),
    STATUS(302, "Found"),
    STATUS(303, "See Other"),
    STATUS(304, "Not Modified"),
    STATUS(307, "Temporary Redirect"),
    STATUS(308, "Permanent Redirect"),
    STATUS(400, "Bad Request"),
    STATUS(401, "Unauthorized"),
    STATUS(402, "Payment Required"),
    STATUS(403, "Forbidden"),
    STATUS(404, "Not Found"),
    STATUS(405, "Method Not Allowed"),
    STATUS(406, "Not Acceptable"),
    STATUS(408, "Request Timeout"),
    STATUS(409, "Conflict"),
    STATUS(410, "Gone"),
    STATUS(411, "Length Required"),
    STATUS(412, "Precondition Failed"),
    STATUS(413, "Content Too Large"),
    STATUS(414, "URI Too Long"),
    STATUS(415, "Unsupported Media Type"),
    STATUS(416, "Range Not Satisfiable"),
    STATUS(417, "Expectation Failed"),
    STATUS(421, "Misdirected Request"),
    STATUS(422, "Unprocessable Content"),
    STATUS(423, "Locked"),
    STATUS(425, "Too Early"),
    STATUS(426, "Upgrade Required"),
    STATUS(428, "Precondition Required"),
    STATUS(429, "Too Many Requests"),
    STATUS(431, "Request Header Fields Too Large"),
    STATUS(451, "Unavailable For Legal Reasons"),
    STATUS(500, "Internal Server Error"),
    STATUS(501, "Not Implemented"),
    STATUS(502, "Bad Gateway"),
    STATUS(503, "Service Unavailable"),
    STATUS(504, "Gateway Timeout"),
    STATUS(505, "HTTP Version Not Supported"),
    STATUS(507, "Insufficient Storage"),
    STATUS(511, "Network Authentication Required"),
};

#define STATUS_COUNT (int)(sizeof(status_lines) / sizeof(status_lines[0]))

static bool has_name(int status)
{
    int i = status - 100;

    return i >= 0 && i < STATUS_COUNT && status_lines[i].text != NULL;
}

struct slice http_response_reason(int status)
{
    const struct status_line *line;

    if (!has_name(status))
        return slice_str("Unknown");
    line = &status_lines[status - 100];
    return slice_make(line->text + 13, line->len - 15);
}

static char *put(char *to, const void *from, size_t n)
{
    memcpy(to, from, n);
    return to + n;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, uint64_t n, unsigned base)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n > 0);
    return put(to, digits + i, sizeof(digits) - i);
}

static char *put_status(char *to, int status)
{
    sd_assert(status >= 100 && status <= 599);
    if (has_name(status)) {
        const struct status_line *line = &status_lines[status - 100];

        return put(to, line->text, line->len);
    }
    to = PUT(to, "HTTP/1.1 ");
    to = put_number(to, (uint64_t)status, 10);
    return PUT(to, " Unknown\r\n");
}

static char *put_connection(char *to, const struct http_response *r)
{
    if (r->status < 200)
        return to; /* an interim answer says nothing about the connection */
    if (!r->keep_alive)
        return PUT(to, "Connection: close\r\n");
    return r->minor == 0 ? PUT(to, "Connection: keep-alive\r\n") : to;
}

static char *put_length(char *to, const struct http_response *r)
{
    if (http_response_is_bodiless(r->status))
        return to;
    if (r->length >= 0) {
        to = PUT(to, "Content-Length: ");
        to = put_number(to, (uint64_t)r->length, 10);
        return PUT(to, "\r\n");
    }
    if (r->length == HTTP_BODY_CHUNKED) {
        sd_assert(r->minor > 0);
        return PUT(to, "Transfer-Encoding: chunked\r\n");
    }
    sd_assert(r->length == HTTP_BODY_CLOSE && !r->keep_alive);
    return to;
}

static char *put_head(char *to, const struct http_response *r)
{
    to = put_status(to, r->status);
    if (r->date != NULL) {
        to = PUT(to, "Date: ");
        to = put(to, r->date, HTTP_DATE_LEN);
        to = PUT(to, "\r\n");
    }
    if (r->type.len > 0) {
        to = PUT(to, "Content-Type: ");
        to = put(to, r->type.p, r->type.len);
        to = PUT(to, "\r\n");
    }
    to = put_length(to, r);
    to = put_connection(to, r);
    if (r->headers.len > 0)
        to = put(to, r->headers.p, r->headers.len);
    return PUT(to, "\r\n");
}

void http_response_head(struct buf *out, const struct http_response *r)
{
    char *start = buf_reserve(out, HEAD_ROOM + r->type.len + r->headers.len);

    buf_commit(out, (size_t)(put_head(start, r) - start));
}

void http_response_write(struct buf *out, const struct http_response *r,
                         struct slice body)
{
    struct http_response whole = *r;
    char *start, *end;

    sd_assert(body.len == 0 || !http_response_is_bodiless(r->status));
    whole.length = (int64_t)body.len;
    start =
        buf_reserve(out, HEAD_ROOM + r->type.len + r->headers.len + body.len);
    end = put_head(start, &whole);
    if (body.len > 0)
        end = put(end, body.p, body.len);
    buf_commit(out, (size_t)(end - start));
}

static bool is_ours(struct slice name)
{
    static const char *const ours[] = {
        "connection", "content-length",    "date",    "keep-alive",
        "trailer",    "transfer-encoding", "upgrade",
    };
    size_t i;

    for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (http_text_eq(name, ours[i]))
            return true;
    }
    return false;
}

int http_response_header(struct buf *lines, struct slice name,
                         struct slice value)
{
    char *p, *end;

    if (!http_text_is_token(name) || !http_text_is_value(value))
        return SD_EINVALID;
    if (is_ours(name))
        return SD_EREFUSED;
    p = buf_reserve(lines, name.len + value.len + 4);
    end = put(p, name.p, name.len);
    end = PUT(end, ": ");
    if (value.len > 0)
        end = put(end, value.p, value.len);
    end = PUT(end, "\r\n");
    buf_commit(lines, (size_t)(end - p));
    return 0;
}

void http_response_chunk(struct buf *out, struct slice data)
{
    char *p, *end;

    if (data.len == 0)
        return; /* an empty chunk would end the body */
    p = buf_reserve(out, data.len + 20);
    end = put_number(p, data.len, 16);
    end = PUT(end, "\r\n");
    end = put(end, data.p, data.len);
    end = PUT(end, "\r\n");
    buf_commit(out, (size_t)(end - p));
}

void http_response_chunk_end(struct buf *out)
{
    buf_append_str(out, "0\r\n\r\n");
}

void http_response_continue(struct buf *out)
{
    buf_append_str(out, "HTTP/1.1 100 Continue\r\n\r\n");
}
