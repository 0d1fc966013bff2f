/* redis_url.c - see redis_url.h. */
#include "store/redis_url.h"

#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/slice.h"

enum {
    PORT = 6379,
    PORT_MAX = 65535,
    DB_MAX = 1000000
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copy `s`, its %XX decoded when `escaped`, into `out` of `cap` bytes. */
static bool copy(char *out, size_t cap, struct slice s, bool escaped)
{
    size_t i, n = 0;

    for (i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (escaped && c == '%') {
            int high = i + 2 < s.len ? hex_digit(s.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;

            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (n + 1 >= cap || c == '\0')
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

static bool read_number(unsigned *out, struct slice s, unsigned max)
{
    unsigned n = 0;

    if (s.len == 0 || s.len > 7)
        return false;
    for (; s.len > 0; s = slice_skip(s, 1)) {
        if (*s.p < '0' || *s.p > '9')
            return false;
        n = n * 10 + (unsigned)(*s.p - '0');
    }
    *out = n;
    return n <= max;
}

/* What stands before the first `c`, cut off *s together with it; all of *s
 * when there is none. */
static bool cut(struct slice *before, struct slice *s, char c)
{
    const char *at = memchr(s->p, c, s->len);

    if (at == NULL) {
        *before = *s;
        *s = slice_make(s->p + s->len, 0);
        return false;
    }
    *before = slice_make(s->p, (size_t)(at - s->p));
    *s = slice_skip(*s, before->len + 1);
    return true;
}

/* [user][:password] */
static const char *parse_login(struct redis_url *u, struct slice s)
{
    struct slice user;

    if (!cut(&user, &s, ':'))
        return "a password is written \":password@\" or \"user:password@\"";
    if (!copy(u->user, sizeof(u->user), user, true))
        return "bad user name";
    if (s.len == 0 || !copy(u->password, sizeof(u->password), s, true))
        return "bad password";
    return NULL;
}

/* host[:port], [v6 address][:port] */
static const char *parse_host(struct redis_url *u, struct slice s)
{
    struct slice host;
    bool has_port;

    if (s.len > 0 && *s.p == '[') {
        s = slice_skip(s, 1);
        if (!cut(&host, &s, ']') || (s.len > 0 && *s.p != ':'))
            return "bad address in brackets";
        has_port = s.len > 0;
        s = slice_skip(s, has_port ? 1 : 0);
    } else {
        has_port = cut(&host, &s, ':');
    }
    if (host.len == 0 || !copy(u->host, sizeof(u->host), host, false))
        return "no host name, or a bad one";
    u->port = PORT;
    if (has_port && (!read_number(&u->port, s, PORT_MAX) || u->port == 0))
        return "bad port";
    return NULL;
}

/* [login@]host[:port][/db] */
static const char *parse_tcp(struct redis_url *u, struct slice s)
{
    struct slice place;

    cut(&place, &s, '/');
    if (s.len > 0 && !read_number(&u->db, s, DB_MAX))
        return "bad database number";
    return parse_host(u, place);
}

/* path[?db=n] */
static const char *parse_unix(struct redis_url *u, struct slice s)
{
    struct slice path, db = {"", 0};

    if (cut(&path, &s, '?')) {
        if (!cut(&db, &s, '=') || !slice_is(db, "db") ||
            !read_number(&u->db, s, DB_MAX))
            return "only \"?db=\" and a number may follow the path";
    }
    if (path.len == 0 || !copy(u->path, sizeof(u->path), path, false))
        return "no path of a socket, or one over 107 bytes";
    return NULL;
}

/* The last @ ends the login: a password may contain others. */
static const char *parse_place(struct redis_url *u, struct slice s, bool is_tcp)
{
    const char *at = memrchr(s.p, '@', s.len), *why;

    if (at != NULL) {
        why = parse_login(u, slice_make(s.p, (size_t)(at - s.p)));
        if (why != NULL)
            return why;
        s = slice_skip(s, (size_t)(at - s.p) + 1);
    }
    return is_tcp ? parse_tcp(u, s) : parse_unix(u, s);
}

static bool skip(struct slice *s, const char *prefix)
{
    size_t n = strlen(prefix);

    if (s->len < n || memcmp(s->p, prefix, n) != 0)
        return false;
    *s = slice_skip(*s, n);
    return true;
}

static const char *parse(struct redis_url *u, const char *url,
                         const char *embedded)
{
    struct slice s = slice_str(url);

    if (slice_is(s, "embedded")) {
        if (embedded == NULL)
            return "this process has no embedded Redis";
        s = slice_str(embedded);
        return copy(u->path, sizeof(u->path), s, false)
                   ? NULL
                   : "the path of the embedded socket is over 107 bytes";
    }
    if (skip(&s, "redis://"))
        return parse_place(u, s, true);
    if (skip(&s, "unix://"))
        return parse_place(u, s, false);
    if (skip(&s, "redis+sentinel://"))
        return "redis+sentinel is not supported yet";
    if (skip(&s, "redis+cluster://"))
        return "redis+cluster is not supported yet";
    return "a url is \"embedded\", redis://host or unix:///path";
}

int redis_url_parse(struct redis_url *out, const char *url,
                    const char *embedded, const char **why)
{
    const char *text;

    memset(out, 0, sizeof(*out));
    text = parse(out, url, embedded);
    if (text == NULL)
        return 0;
    *why = text;
    return SD_EINVALID;
}
