/* net.c - see net.h.
 *
 * Two hooks end each turn of the loop.  The first looks after the conns on the
 * ready list: packets that waited, input that could not be worked on, closes
 * to be told.  The second writes what was queued, one system call a conn.
 * Whatever a handler does, it only appends to buffers and puts the conn on one
 * of the two lists, so nothing recurses and all replies of a turn leave
 * together. */
#include "net/net.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/inner.h"

enum {
    BUF_FIRST = 2048,
    SLICE = 256,           /* conns; a turn has a few rounds, see loop.c */
    ADDRESSES_MAX = 65536, /* counted, where max_conns says nothing */
};

static struct list *pop(struct list *head)
{
    struct list *it = head->next;

    list_del(it);
    return it;
}

static bool on_work(struct loop_hook *hook)
{
    struct net *n = list_entry(hook, struct net, work);
    bool worked;

    if (!list_empty(&n->ready))
        net_wake(n);
    worked = !list_empty(&n->ready) && !n->is_held;

    while (!n->is_held && !list_empty(&n->ready)) {
        struct conn *c = list_entry(pop(&n->ready), struct conn, ready);

        sd_check(c, CONN_MAGIC);
        c->is_ready = false;
        conn_ref(c);
        conn_work(c);
        conn_unref(c);
    }
    return worked;
}

static void flush_list(struct list *conns, unsigned max)
{
    while (max-- > 0 && !list_empty(conns)) {
        struct conn *c = list_entry(pop(conns), struct conn, dirty);

        sd_check(c, CONN_MAGIC);
        c->is_dirty = c->is_bulk = false;
        conn_flush(c);
    }
}

/* Ten thousand conns that are pushed to at once take the kernel a good part of
 * a second.  So replies are written first, and of the pushes one slice a
 * round; between the turns the loop looks at everybody else. */
static bool on_flush(struct loop_hook *hook)
{
    struct net *n = list_entry(hook, struct net, flush);

    flush_list(&n->dirty, UINT_MAX);
    flush_list(&n->bulk, SLICE);
    if (net_is_over_budget(n)) {
        flush_list(&n->bulk, UINT_MAX); /* maybe it can just be written */
        net_keep_budget(n);
    }
    return (!list_empty(&n->ready) && !n->is_held) || !list_empty(&n->bulk);
}

static void net_free(struct net *n)
{
    net_ports_close(n);
    buf_fini(&n->scratch);
    while (n->npool > 0)
        buf_fini(&n->pool[--n->npool]);
    ranks_fini(&n->ranks);
    ranks_fini(&n->gifts);
    requests_free(n);
    outq_pool_fini(&n->outqs);
    conns_free(&n->conns);
    if (n->own_tally != NULL)
        tally_close(&n->tally);
    mem_free(n->own_tally);
    n->magic = 0;
    mem_free(n);
}

void net_unref(struct net *n)
{
    sd_check(n, NET_MAGIC);
    sd_assert(n->refs > 0);
    if (--n->refs == 0)
        net_free(n);
}

struct tally_shape net_tally_shape(const struct conf *conf)
{
    uint32_t max = conf->server.max_conns;

    return (struct tally_shape){
        .workers = conf->server.workers,
        .numbers = NET_TALLY_PORT + conf->nports,
        .keys = max > 0 ? max : ADDRESSES_MAX,
    };
}

/* Nobody else counts. */
static void open_own_tally(struct net *n)
{
    struct tally_shape shape = net_tally_shape(n->conf);
    uintptr_t at;

    shape.workers = 1;
    n->own_tally = mem_zalloc(tally_size(&shape) + TALLY_ALIGN);
    at = (uintptr_t)n->own_tally + TALLY_ALIGN - 1;
    at -= at % TALLY_ALIGN;
    tally_init((void *)at, &shape);
    n->tally = tally_open((void *)at, NULL, 0, 1);
}

int net_open(struct net **out, const struct net_config *config,
             const char **why)
{
    struct net *n = mem_zalloc(sizeof(*n));
    int err;

    n->magic = NET_MAGIC;
    n->refs = 1;
    n->loop = config->loop;
    n->conf = config->conf;
    n->ops = config->ops;
    n->arg = config->arg;
    n->conns = conns_new(config->slot, config->epoch);
    n->tally = config->tally;
    if (n->tally == NULL)
        open_own_tally(n);
    list_init(&n->all);
    list_init(&n->ready);
    list_init(&n->dirty);
    list_init(&n->bulk);
    list_init(&n->doors);
    list_init(&n->requests);
    list_init(&n->formats);
    err = net_ports_open(n, why);
    if (err < 0) {
        net_free(n);
        return err;
    }
    n->work.fn = on_work;
    n->work.rank = LOOP_WORK;
    n->flush.fn = on_flush;
    n->flush.rank = LOOP_FLUSH;
    loop_hook_add(n->loop, &n->work);
    loop_hook_add(n->loop, &n->flush);
    *out = n;
    return 0;
}

void net_set_ops(struct net *n, const struct conn_ops *ops, void *arg)
{
    sd_check(n, NET_MAGIC);
    n->ops = ops;
    n->arg = arg;
}

void net_hold(struct net *n)
{
    sd_check(n, NET_MAGIC);
    n->is_held = true;
}

void net_unhold(struct net *n)
{
    struct list *it;

    sd_check(n, NET_MAGIC);
    n->is_held = false;
    list_each (it, &n->all)
        net_ready(list_entry(it, struct conn, all));
}

void net_close(struct net **np)
{
    struct net *n = *np;

    if (n == NULL)
        return;
    sd_check(n, NET_MAGIC);
    n->is_closing = true;
    doors_close(n);
    while (!list_empty(&n->all)) {
        struct conn *c = list_entry(n->all.next, struct conn, all);

        list_del(&c->all);
        conn_ref(c);
        conn_cut(c, REASON_STOP);
        c->owes_close = false;
        if (c->is_up) {
            c->is_up = false;
            conn_unref(c);
        }
        conn_unref(c);
    }
    loop_hook_del(&n->work);
    loop_hook_del(&n->flush);
    *np = NULL;
    net_unref(n);
}

struct conn *net_find(struct net *n, uint64_t id)
{
    sd_check(n, NET_MAGIC);
    return conns_find(n->conns, id);
}

struct conn *net_next(struct net *n, uint32_t *cursor)
{
    struct conn *c;

    sd_check(n, NET_MAGIC);
    while ((c = conns_next(n->conns, cursor)) != NULL) {
        if (c->is_up && conn_is_alive(c))
            return c;
    }
    return NULL;
}

const struct net_counters *net_counters(const struct net *n)
{
    sd_check(n, NET_MAGIC);
    return &n->counters;
}

unsigned net_conns(const struct net *n)
{
    sd_check(n, NET_MAGIC);
    return n->alive;
}

unsigned net_port_conns(const struct net *n, unsigned port)
{
    sd_check(n, NET_MAGIC);
    return tally_own(n->tally, NET_TALLY_PORT + port);
}

const char *net_date(struct net *n)
{
    int64_t second = (int64_t)(loop_now(n->loop) / 1000);

    if (n->date[0] == '\0' || second != n->date_second) {
        n->date_second = second;
        http_date_write(n->date, clock_wall_ms() / 1000);
    }
    return n->date;
}

void net_take_buf(struct net *n, struct buf *b)
{
    if (b->p != NULL)
        return;
    if (n->npool > 0)
        *b = n->pool[--n->npool];
    else
        buf_reserve(b, BUF_FIRST);
}

void net_give_buf(struct net *n, struct buf *b)
{
    if (b->p == NULL)
        return;
    if (b->cap > POOL_BYTES || n->npool == POOL_MAX) {
        buf_fini(b);
        return;
    }
    buf_consume(b, b->len);
    n->pool[n->npool++] = *b;
    *b = (struct buf){0};
}

void net_ready(struct conn *c)
{
    if (c->is_ready || c->net->is_closing)
        return;
    c->is_ready = true;
    list_add(&c->net->ready, &c->ready);
}
