/* figures.c - see figures.h.
 *
 * What was seen last lies in an array by the index in a conn's id, with the
 * id's low half beside it: a conn that came to an index since is new, and all
 * it has counted is since the last look. */
#include "net/figures.h"

#include <string.h>

#include "net/inner.h"

#define INDEX_OF(id) ((uint32_t)((id) >> CONNS_GENERATION_BITS) % CONNS_MAX)

struct seen {
    uint32_t id; /* its low half, which holds the generation */
    uint32_t packets;
    uint64_t bytes;
};

struct busiest {
    struct seen *at;
    uint32_t cap;
};

void conn_figures(const struct conn *c, struct conn_figures *out)
{
    uint64_t now = conn_now(c);

    sd_check(c, CONN_MAGIC);
    *out = (struct conn_figures){
        .age_ms = now - c->opened_at,
        .idle_ms = now - c->last_in,
        .bytes = c->bytes,
        .packets_in = c->packets_in,
        .packets_out = c->packets_out,
        .inflight = c->inflight + (c->request != NULL),
        .waiting = c->waiting,
    };
}

struct conn *net_each(struct net *n, uint32_t *cursor)
{
    sd_check(n, NET_MAGIC);
    return conns_next(n->conns, cursor);
}

struct busiest *busiest_new(void)
{
    return mem_zalloc(sizeof(struct busiest));
}

void busiest_free(struct busiest **bp)
{
    if (*bp == NULL)
        return;
    mem_free((*bp)->at);
    mem_free(*bp);
    *bp = NULL;
}

static struct seen *seen_at(struct busiest *b, uint32_t index)
{
    uint32_t cap = b->cap > 0 ? b->cap : 64;

    while (cap <= index)
        cap *= 2;
    if (cap > b->cap) {
        b->at = mem_realloc(b->at, cap * sizeof(*b->at));
        memset(b->at + b->cap, 0, (cap - b->cap) * sizeof(*b->at));
        b->cap = cap;
    }
    return &b->at[index];
}

/* What happened since the last look, which this one becomes. */
static struct busy_conn since(struct busiest *b, struct conn *c)
{
    struct seen *s = seen_at(b, INDEX_OF(c->id));
    struct seen now = {(uint32_t)c->id, c->packets_in + c->packets_out,
                       c->bytes};
    struct busy_conn busy = {c, now.bytes, now.packets};

    if (s->id == now.id) {
        busy.bytes -= s->bytes;
        busy.packets -= s->packets;
    }
    *s = now;
    return busy;
}

static bool is_busier(const struct busy_conn *a, const struct busy_conn *b)
{
    return a->packets != b->packets ? a->packets > b->packets
                                    : a->bytes > b->bytes;
}

/* Into the sorted list of `n`, of which the last falls out when it is full. */
static unsigned insert(struct busy_conn *list, unsigned n, unsigned max,
                       struct busy_conn busy)
{
    unsigned i = n < max ? n++ : max;

    if (i == max && (max == 0 || !is_busier(&busy, &list[--i])))
        return n;
    for (; i > 0 && is_busier(&busy, &list[i - 1]); i--)
        list[i] = list[i - 1];
    list[i] = busy;
    return n;
}

unsigned busiest_look(struct busiest *b, struct net *n, struct busy_conn *out,
                      unsigned max)
{
    uint32_t cursor = 0;
    unsigned count = 0;
    struct conn *c;

    while ((c = net_each(n, &cursor)) != NULL) {
        struct busy_conn busy = since(b, c);

        if (busy.packets > 0 || busy.bytes > 0)
            count = insert(out, count, max, busy);
    }
    return count;
}
