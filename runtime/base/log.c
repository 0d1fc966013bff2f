/* log.c - see log.h.
 *
 * A line is built in a fixed array on the stack and leaves in one write(), so
 * processes that share a descriptor never mix their lines: LOG_LINE_MAX is
 * what a pipe takes whole.  The descriptor is asked with poll() before, not
 * made non-blocking: that flag would belong to everyone who shares it, the
 * user's shell among them.
 *
 * Kinds of lines are told apart by a hash of their format in a small table
 * with four places for each hash.  When a fifth kind needs a place, the one
 * that was quiet longest leaves it; what it still had to report is added to
 * the dropped lines, so no line goes missing without being counted. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    LOG_KINDS = 256,
    LOG_WAYS = 4,
    LOG_FIELDS_MAX = LOG_LINE_MAX / 2,
    LOG_ID_MAX = 64, /* of a request's id, before it is cut */
    LOG_TAIL = 64,   /* room for "...", a count, braces and the newline */
};

struct kind {
    uint64_t hash;
    uint64_t since; /* ms: when its current second began */
    unsigned passed, skipped;
};

struct line {
    char p[LOG_LINE_MAX];
    size_t len, max; /* max: nothing may be put beyond */
    bool cut;
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn",
    [LOG_ERROR] = "error", [LOG_NONE] = "none",
};

static struct {
    int fd;
    enum log_level level;
    bool json, torn; /* torn: the last write ended inside a line */
    int pid;
    unsigned generation;
    uint64_t dropped;
    char process[32];
    struct kind kinds[LOG_KINDS];
} state = {.fd = STDERR_FILENO, .level = LOG_INFO, .process = "sdlua"};

/* --- building a line ------------------------------------------------------ */

static void put(struct line *l, const char *p, size_t n)
{
    if (l->cut || n > l->max - l->len) {
        l->cut = true;
        return;
    }
    memcpy(l->p + l->len, p, n);
    l->len += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

__attribute__((format(printf, 2, 3))) static void
put_format(struct line *l, const char *fmt, ...)
{
    char part[128];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(part, sizeof(part), fmt, ap);
    va_end(ap);
    if (n > 0)
        put(l, part, (size_t)n < sizeof(part) ? (size_t)n : sizeof(part) - 1);
}

/* Length of the printable UTF-8 character at `s`, 0 for anything else: C0 and
 * C1 controls, surrogates, overlong and broken sequences. */
static size_t printable(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if ((s[1] & 0xc0) != 0x80)
        return 0;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ||
        s[0] < 0xe0 || s[0] > 0xf4 || (s[2] & 0xc0) != 0x80)
        return 0;
    if (s[0] < 0xf0)
        return 3;
    return (s[3] & 0xc0) == 0x80 ? 4 : 0;
}

static void put_escape(struct line *l, unsigned char c)
{
    if (c == '\n')
        put_str(l, "\\n");
    else if (c == '\t')
        put_str(l, "\\t");
    else if (c == '\r')
        put_str(l, "\\r");
    else if (!state.json)
        put_format(l, "\\x%02x", c);
    else
        put_format(l, "\\u%04x", c < 0x80 ? c : 0xfffd);
}

/* `s` with everything escaped that could end the line, move a cursor or end
 * the JSON string around it. */
static void put_text(struct line *l, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    while (*p != '\0' && !l->cut) {
        size_t n = printable(p);

        if (n == 0) {
            put_escape(l, *p++);
            continue;
        }
        if (state.json && (*p == '"' || *p == '\\'))
            put_str(l, *p == '"' ? "\\\"" : "\\\\");
        else
            put(l, s + (p - (const unsigned char *)s), n);
        p += n;
    }
}

static void put_time(struct line *l)
{
    int64_t ms = clock_wall_ms();
    time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    gmtime_r(&sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    put_format(l, "%s.%03dZ", text, (int)(ms % 1000));
}

static void put_head(struct line *l, enum log_level level, const char *id)
{
    put_time(l);
    put_format(l, " %s %s#%d g%u ", level_names[level], state.process,
               state.pid, state.generation);
    if (id != NULL) {
        put_str(l, "[");
        put_text(l, id);
        put_str(l, "] ");
    }
}

static void put_head_json(struct line *l, enum log_level level, const char *id)
{
    put_str(l, "{\"time\":\"");
    put_time(l);
    put_format(l, "\",\"level\":\"%s\",\"process\":\"", level_names[level]);
    put_text(l, state.process);
    put_format(l, "\",\"pid\":%d,\"generation\":%u,\"request_id\":", state.pid,
               state.generation);
    if (id != NULL) {
        put_str(l, "\"");
        put_text(l, id);
        put_str(l, "\",\"text\":\"");
    } else {
        put_str(l, "null,\"text\":\"");
    }
}

static void put_tail(struct line *l, const char *fields, unsigned skipped)
{
    bool cut = l->cut;

    l->cut = false;
    l->max = LOG_LINE_MAX;
    if (cut)
        put_str(l, "...");
    if (skipped > 0)
        put_format(l, " (%u more left out)", skipped);
    if (state.json)
        put_str(l, "\",\"fields\":");
    else if (fields != NULL)
        put_str(l, " ");
    if (fields != NULL || state.json)
        put_str(l, fields != NULL ? fields : "{}");
    put_str(l, state.json ? "}\n" : "\n");
}

/* Fields as they may stand in a line, or NULL. */
static const char *fit_fields(const char *fields)
{
    const char *p;

    for (p = fields; p != NULL && *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || p - fields >= LOG_FIELDS_MAX)
            return NULL;
    }
    return fields;
}

/* --- writing it ----------------------------------------------------------- */

static bool write_all(const char *p, size_t n)
{
    struct pollfd ready = {.fd = state.fd, .events = POLLOUT};
    ssize_t done;

    if (poll(&ready, 1, 0) == 0)
        return false;
    do
        done = write(state.fd, p, n);
    while (done < 0 && errno == EINTR);
    if (done > 0)
        state.torn = (size_t)done < n;
    return done == (ssize_t)n;
}

static bool write_line(enum log_level level, const char *id, const char *fields,
                       const char *text, unsigned skipped)
{
    struct line l = {.max = LOG_LINE_MAX};
    char short_id[LOG_ID_MAX + 1];

    if (id != NULL) {
        snprintf(short_id, sizeof(short_id), "%s", id);
        id = short_id;
    }
    fields = fit_fields(fields);
    if (state.json)
        put_head_json(&l, level, id);
    else
        put_head(&l, level, id);
    l.max -= LOG_TAIL + (fields != NULL ? strlen(fields) : 0);
    put_text(&l, text);
    put_tail(&l, fields, skipped);

    if (state.torn && !write_all("\n", 1))
        return false;
    return write_all(l.p, l.len);
}

/* Say what went missing, once writing works again. */
static bool report_dropped(void)
{
    char text[80];

    if (state.dropped == 0)
        return true;
    snprintf(text, sizeof(text), "%" PRIu64 " log lines were dropped",
             state.dropped);
    if (!write_line(LOG_WARN, NULL, NULL, text, 0))
        return false;
    state.dropped = 0;
    return true;
}

/* --- how often ------------------------------------------------------------ */

static uint64_t hash_text(const char *s)
{
    uint64_t h = 14695981039346656037u;

    while (*s != '\0')
        h = (h ^ (unsigned char)*s++) * 1099511628211u;
    return h | 1; /* 0 is an empty place */
}

static struct kind *find_kind(uint64_t hash)
{
    struct kind *set, *oldest;
    unsigned i;

    set = &state.kinds[(hash >> 8) % (LOG_KINDS / LOG_WAYS) * LOG_WAYS];
    oldest = set;
    for (i = 0; i < LOG_WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].since < oldest->since)
            oldest = &set[i];
    }
    state.dropped += oldest->skipped;
    *oldest = (struct kind){.hash = hash};
    return oldest;
}

/* Whether a line of this kind may pass, and how many were held back. */
static bool may_pass(uint64_t hash, unsigned *skipped)
{
    struct kind *k = find_kind(hash);
    uint64_t now = clock_ms();

    if (k->since == 0 || now - k->since >= 1000) {
        k->since = now > 0 ? now : 1;
        k->passed = 0;
    }
    if (k->passed >= LOG_PER_SECOND) {
        k->skipped++;
        return false;
    }
    k->passed++;
    *skipped = k->skipped;
    k->skipped = 0;
    return true;
}

/* --- public --------------------------------------------------------------- */

void log_open(int fd, enum log_level level, bool json, const char *process)
{
    state.fd = fd;
    state.level = level;
    state.json = json;
    state.torn = false;
    state.pid = getpid();
    state.dropped = 0;
    snprintf(state.process, sizeof(state.process), "%s", process);
    memset(state.kinds, 0, sizeof(state.kinds));
}

void log_reopen(int fd)
{
    state.fd = fd;
    state.torn = false;
}

void log_generation(unsigned generation)
{
    state.generation = generation;
}

bool log_enabled(enum log_level level)
{
    return level >= state.level && level < LOG_NONE;
}

int log_level_parse(const char *name)
{
    int i;

    for (i = LOG_DEBUG; i <= LOG_NONE; i++) {
        if (strcmp(name, level_names[i]) == 0)
            return i;
    }
    return -1;
}

void log_event(enum log_level level, const char *request_id, const char *fields,
               const char *fmt, ...)
{
    char text[LOG_LINE_MAX];
    unsigned skipped = 0;
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!may_pass(hash_text(strcmp(fmt, "%s") == 0 ? text : fmt), &skipped))
        return;
    if (state.pid == 0)
        state.pid = getpid();
    if (!report_dropped() ||
        !write_line(level, request_id, fields, text, skipped))
        state.dropped += skipped + 1;
}
