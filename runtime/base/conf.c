/* conf.c - see conf.h.
 *
 * The struct is filled from the schema: a path says which struct is meant, a
 * key where in it its value stands (conf_set.c).  The first mention of a port,
 * redis or timer makes its struct with all its defaults. */
#include "base/conf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/conf_schema.h"
#include "base/conf_set.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    NAMES_MAX = 4096,          /* ports, redis and timers together */
    LIST_MAX = 4096,           /* items of one list */
    FRAME_MAX = 2000000,       /* default of the largest packet */
    FRAME_MAX_LINE = 64 * 1024 /* the same for lines */
};

enum {
    PATH_SHOWN = 100 /* of a path, in a complaint */
};

static char why_text[CONF_WHY_MAX + PATH_SHOWN]; /* the last complaint */

/* Undo the escapes of a value where it stands; its length. */
static size_t unescape(char *value)
{
    const char *from = value;
    char *to = value;

    while (*from != '\0') {
        if (*from == '\\' && from[1] == '0') {
            *to++ = '\0';
            from += 2;
        } else {
            from += *from == '\\' && from[1] == '\\';
            *to++ = *from++;
        }
    }
    *to = '\0';
    return (size_t)(to - value);
}

/* Put one text where its key says; why_text tells what is wrong with it. */
static int set(struct conf *c, void *section, const struct conf_key *key,
               const char *text, size_t len)
{
    return conf_set(c->arena, section, key, (struct conf_text){text, len},
                    why_text);
}

/* --- sections ------------------------------------------------------------- */

/* Cut the next part off a path. */
static struct slice next_part(struct slice *path)
{
    const char *dot = memchr(path->p, '.', path->len);
    size_t n = dot != NULL ? (size_t)(dot - path->p) : path->len;
    struct slice part = slice_make(path->p, n);

    *path = slice_skip(*path, n + (dot != NULL));
    return part;
}

/* One more struct at the end of an array; the array may move. */
static void *grow(void *array, unsigned *n, size_t size)
{
    char *p = mem_realloc(array, (*n + 1) * size);

    memset(p + *n * size, 0, size);
    ++*n;
    return p;
}

static struct conf_port *find_port(struct conf *c, struct slice name)
{
    struct conf_port *port;
    unsigned i;

    for (i = 0; i < c->nports; i++) {
        if (slice_is(name, c->ports[i].name))
            return &c->ports[i];
    }
    if (c->nports == NAMES_MAX)
        return NULL;
    c->ports = grow(c->ports, &c->nports, sizeof(*c->ports));
    port = &c->ports[c->nports - 1];
    port->name = conf_arena_keep(c->arena, mem_dup(name.p, name.len));
    conf_set_defaults(c->arena, port, "ports.");
    return port;
}

static struct conf_redis *find_redis(struct conf *c, struct slice name)
{
    struct conf_redis *redis;
    unsigned i;

    for (i = 0; i < c->nredis; i++) {
        if (slice_is(name, c->redis[i].name))
            return &c->redis[i];
    }
    if (c->nredis == NAMES_MAX)
        return NULL;
    c->redis = grow(c->redis, &c->nredis, sizeof(*c->redis));
    redis = &c->redis[c->nredis - 1];
    redis->name = conf_arena_keep(c->arena, mem_dup(name.p, name.len));
    conf_set_defaults(c->arena, redis, "redis.");
    return redis;
}

static unsigned read_index(struct slice part)
{
    unsigned n = 0;

    if (part.len == 0 || part.len > 6)
        return 0;
    for (; part.len > 0; part = slice_skip(part, 1)) {
        if (*part.p < '0' || *part.p > '9')
            return 0;
        n = n * 10 + (unsigned)(*part.p - '0');
    }
    return n;
}

/* Timers are a list: each comes right behind the one before. */
static struct conf_timer *find_timer(struct conf *c, struct slice part)
{
    unsigned n = read_index(part);
    struct conf_timer *timer;

    if (n == 0 || n > c->ntimers + 1 || n > NAMES_MAX)
        return NULL;
    if (n <= c->ntimers)
        return &c->timers[n - 1];
    c->timers = grow(c->timers, &c->ntimers, sizeof(*c->timers));
    timer = &c->timers[n - 1];
    timer->from = timer->to = -1;
    timer->delay = UINT64_MAX;
    conf_set_defaults(c->arena, timer, "timers.");
    return timer;
}

/* The struct that a path's value belongs in.  NULL with *err 0: nowhere yet;
 * with *err < 0: a name that cannot be. */
static void *find_section(struct conf *c, struct slice path, int *err)
{
    struct slice head = next_part(&path);
    void *found;

    *err = 0;
    if (slice_is(head, "server"))
        return &c->server;
    if (slice_is(head, "log"))
        return &c->log;
    if (slice_is(head, "admin"))
        return &c->admin;
    if (slice_is(head, "dispatch"))
        return &c->dispatch;
    if (slice_is(head, "cluster"))
        return &c->cluster;
    if (slice_is(head, "ports"))
        found = find_port(c, next_part(&path));
    else if (slice_is(head, "redis"))
        found = find_redis(c, next_part(&path));
    else if (slice_is(head, "timers"))
        found = find_timer(c, next_part(&path));
    else
        return NULL;
    *err = found != NULL ? 0 : SD_EINVALID;
    return found;
}

/* --- entries -------------------------------------------------------------- */

/* The key of a path, also of "path.3" where "path" is a list: *index is 3
 * then, else 0. */
static const struct conf_key *find_key(struct slice path, unsigned *index)
{
    const struct conf_key *key = conf_key_find(path);
    const char *dot = memrchr(path.p, '.', path.len);

    *index = 0;
    if (key != NULL || dot == NULL)
        return key;
    *index = read_index(slice_skip(path, (size_t)(dot + 1 - path.p)));
    key = conf_key_find(slice_make(path.p, (size_t)(dot - path.p)));
    if (*index == 0 || key == NULL ||
        (key->type != CONF_LIST && key->type != CONF_WORDS))
        return NULL;
    return key;
}

/* Lists lose their default at their first item and have no holes. */
static int start_list(struct conf_list *l, unsigned index)
{
    if (index <= 1)
        l->n = 0;
    else if (index != l->n + 1 || index > LIST_MAX)
        return SD_EINVALID;
    return 0;
}

static int set_entry(struct conf *c, struct slice path, char *value)
{
    unsigned index;
    const struct conf_key *key = find_key(path, &index);
    size_t len = unescape(value);
    void *section;
    int err;

    snprintf(why_text, sizeof(why_text), "no such key");
    if (key == NULL)
        return SD_EINVALID;
    section = find_section(c, path, &err);
    if (section == NULL)
        return err;
    if (key->store == CONF_AS_LIST) {
        char *list = (char *)section + key->offset;

        err = start_list((struct conf_list *)(void *)list, index);
        if (err < 0 || (index == 0 && len == 0))
            return err;
    }
    return set(c, section, key, value, len);
}

static int set_entries(struct conf *c)
{
    size_t len;
    char *text = conf_arena_text(c->arena, &len);
    struct slice rest = slice_make(text, len);
    char why[CONF_WHY_MAX];

    while (rest.len > 0) {
        struct slice path = slice_make(rest.p, strnlen(rest.p, rest.len));
        char *value = text + (path.p - text) + path.len + 1;

        if (path.len + 1 >= rest.len || text[len - 1] != '\0') {
            snprintf(why_text, sizeof(why_text), "cut off");
            return SD_EINVALID;
        }
        rest = slice_skip(rest, path.len + 1);
        rest = slice_skip(rest, strlen(value) + 1);
        if (set_entry(c, path, value) < 0) {
            snprintf(why, sizeof(why), "%.*s", CONF_WHY_MAX - 3, why_text);
            snprintf(why_text, sizeof(why_text), "%.*s: %s",
                     path.len < PATH_SHOWN ? (int)path.len : PATH_SHOWN, path.p,
                     why);
            return SD_EINVALID;
        }
    }
    return 0;
}

/* What depends on other values, and what nobody can do without. */
static int finish(struct conf *c)
{
    unsigned i;

    for (i = 0; i < c->nports; i++) {
        struct conf_frame *f = &c->ports[i].frame;

        if (c->ports[i].listen == NULL) {
            snprintf(why_text, sizeof(why_text), "ports.%s.listen: missing",
                     c->ports[i].name);
            return SD_EINVALID;
        }
        if (f->max == 0)
            f->max = strcmp(f->type, "line") == 0 ? FRAME_MAX_LINE : FRAME_MAX;
        if (strcmp(f->type, "fixed") == 0 && f->max < f->size)
            f->max = f->size;
    }
    for (i = 0; i < c->ntimers; i++) {
        struct conf_timer *t = &c->timers[i];

        if (t->method == NULL) {
            snprintf(why_text, sizeof(why_text), "timers.%u.method: missing",
                     i + 1);
            return SD_EINVALID;
        }
        if (t->delay == UINT64_MAX)
            t->delay = t->every;
    }
    return 0;
}

/* --- public --------------------------------------------------------------- */

int conf_open(struct conf **out, struct slice entries, const char **why)
{
    struct conf *c = mem_zalloc(sizeof(*c));

    c->arena = conf_arena_new(entries);
    conf_set_defaults(c->arena, &c->server, "server.");
    conf_set_defaults(c->arena, &c->log, "log.");
    conf_set_defaults(c->arena, &c->admin, "admin.");
    conf_set_defaults(c->arena, &c->dispatch, "dispatch.");
    conf_set_defaults(c->arena, &c->cluster, "cluster.");
    if (set_entries(c) < 0 || finish(c) < 0) {
        *why = why_text;
        conf_close(&c);
        return SD_EINVALID;
    }
    *out = c;
    return 0;
}

void conf_close(struct conf **cp)
{
    struct conf *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    conf_arena_free(&c->arena);
    mem_free(c->ports);
    mem_free(c->redis);
    mem_free(c->timers);
    mem_free(c);
}

const char *conf_cluster_bind(const struct conf *conf)
{
    if (conf->cluster.bind != NULL)
        return conf->cluster.bind;
    return conf->cluster.key.n > 0 ? "0.0.0.0:7946" : "127.0.0.1:7946";
}

const char *conf_protocol_name(enum conf_protocol p)
{
    switch (p) {
    case CONF_TCP:
        return "tcp";
    case CONF_UDP:
        return "udp";
    case CONF_HTTP:
        break;
    }
    return "http";
}

uint64_t conf_timer_key(const struct conf *conf, unsigned i)
{
    static const struct hash_key key = {0x7364, 0x6c7561};
    const struct conf_timer *t = &conf->timers[i];
    struct buf text = {0};
    uint64_t h;

    buf_printf(&text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %d %d %d %d %s",
               t->every, t->delay, t->max_runs, t->from, t->to, t->overlap,
               t->is_cluster, t->name != NULL ? t->name : "");
    h = hash_bytes(&key, buf_slice(&text));
    buf_fini(&text);
    return h != 0 ? h : 1;
}
