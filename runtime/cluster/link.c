/* link.c - see link.h: the life of a link, from dialing to its last word.
 *
 * One hook writes for all links of the process: those that were written to are
 * on a list, so an idle one costs nothing.  A link that is to be closed waits
 * on another list for the end of the turn, so that nobody who has it in hand
 * is surprised.
 *
 * What a stranger can do: hold a place among those of cluster/strangers.h for
 * PROOF_WAIT, or until others came behind him, and have us answer one message
 * of his with one that is no longer.  So those who say nothing, however many,
 * keep nobody out whose proof takes a moment. */
#include "cluster/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/link_inner.h"
#include "store/dial.h"

enum {
    PROOF_WAIT = 5000, /* ms */
    BEAT = 1000,
    LOOK = 250,
};

/* --- the end -------------------------------------------------------------- */

void link_close(struct link *l, const char *why)
{
    sd_check(l, LINK_MAGIC);
    if (l->state == LINK_CLOSING)
        return;
    if (l->stranger.crowd != NULL)
        l->links->figures.strangers++;
    strangers_del(&l->stranger);
    l->state = LINK_CLOSING;
    l->why = why;
    list_del(&l->dirty);
    list_add(&l->links->closing, &l->dirty);
}

static void link_free(struct link *l)
{
    timer_stop(l->links->config.loop, &l->timer);
    dial_close(&l->dial);
    pollfd_close(&l->watch);
    if (l->fd >= 0)
        close(l->fd);
    hand_free(&l->hand);
    stream_free(&l->stream);
    buf_fini(&l->out);
    list_del(&l->dirty);
    strangers_del(&l->stranger);
    list_del(&l->node);
    l->magic = 0;
    mem_free(l);
}

/* A goodbye that was written may still leave. */
static void end(struct link *l)
{
    struct links *ls = l->links;

    if (l->stream != NULL)
        (void)link_send(l);
    ls->figures.closed++;
    ls->config.ops->on_close(l->arg, l, l->why);
    link_free(l);
}

/* --- a turn --------------------------------------------------------------- */

void link_mark(struct link *l)
{
    if (list_empty(&l->dirty))
        list_add(&l->links->dirty, &l->dirty);
}

static void flush(struct link *l)
{
    int err;

    list_del(&l->dirty);
    err = link_send(l);
    if (err < 0)
        link_close(l, err_str(err));
}

/* Writing may close, and closing may write. */
static bool on_turn(struct loop_hook *hook)
{
    struct links *ls = list_entry(hook, struct links, hook);
    bool worked = false;

    while (!list_empty(&ls->dirty))
        flush(list_entry(ls->dirty.next, struct link, dirty));
    while (!list_empty(&ls->closing)) {
        end(list_entry(ls->closing.next, struct link, dirty));
        worked = true;
    }
    return worked;
}

static void on_look(struct timer *t)
{
    struct link *l = list_entry(t, struct link, timer);
    uint64_t now = clock_ms();

    sd_check(l, LINK_MAGIC);
    if (l->state == LINK_CLOSING)
        return;
    if (l->state != LINK_OPEN && now - l->began >= PROOF_WAIT)
        link_close(l, l->state == LINK_DIALING ? "no connection in time"
                                               : "no proof in time");
    else if (l->state == LINK_OPEN && now - link_heard(l) >= LINK_SILENCE)
        link_close(l, "silent");
    else if (l->state == LINK_OPEN && now - l->beaten >= BEAT)
        link_beat(l, now);
    timer_start(l->links->config.loop, t, LOOK);
}

static void on_ready(void *arg)
{
    struct link *l = arg;

    sd_check(l, LINK_MAGIC);
    if (l->state != LINK_CLOSING)
        link_receive(l);
}

/* --- the beginning -------------------------------------------------------- */

static struct link *link_new(struct links *ls, void *arg)
{
    struct link *l = mem_zalloc(sizeof(*l));

    l->magic = LINK_MAGIC;
    l->links = ls;
    l->arg = arg;
    l->fd = -1;
    l->began = clock_ms();
    l->timer.fn = on_look;
    list_init(&l->dirty);
    list_add(&ls->all, &l->node);
    timer_start(ls->config.loop, &l->timer, LOOK);
    return l;
}

/* The socket is there; takes it. */
static int begin_proof(struct link *l, int fd)
{
    unsigned char entropy[HAND_ENTROPY];
    int err;

    l->fd = fd;
    link_socket_name(l->peer, fd);
    err = link_socket_tune(fd);
    if (err == 0)
        err = pollfd_open(&l->watch, l->links->config.loop, fd, on_ready, l);
    if (err == 0 &&
        getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        err = -errno;
    if (err < 0)
        return err;
    l->state = LINK_PROVING;
    l->began = clock_ms();
    l->hand = hand_create(l->links->config.role, l->links->config.hand, entropy,
                          &l->out);
    link_mark(l);
    return 0;
}

/* A key may have been taken away since the link has begun. */
static bool has_key(const struct links *ls, const unsigned char *id)
{
    const struct hand_conf *hand = ls->config.hand;

    for (unsigned i = 0; i < hand->nkeys; i++)
        if (memcmp(hand->keys[i].id, id, HAND_KEY_ID) == 0)
            return true;
    return false;
}

bool link_begin(struct link *l, const struct hand_session *s)
{
    struct links *ls = l->links;
    bool is_welcome = has_key(ls, s->key_id);

    l->stream = stream_create(s->encrypted ? s->send : NULL,
                              s->encrypted ? s->receive : NULL);
    memcpy(l->key_id, s->key_id, sizeof(l->key_id));
    strangers_del(&l->stranger);
    l->state = LINK_OPEN;
    ls->figures.opened++;
    if (is_welcome)
        is_welcome = ls->config.ops->on_open(l->arg, l, s->peer);
    hand_free(&l->hand);
    if (!is_welcome)
        link_close(l, "not welcome");
    else if (l->state == LINK_OPEN)
        link_beat(l, clock_ms());
    return l->state == LINK_OPEN;
}

static void on_dialed(void *arg, int fd)
{
    struct link *l = arg;
    int err;

    sd_check(l, LINK_MAGIC);
    dial_close(&l->dial);
    err = fd < 0 ? fd : begin_proof(l, fd);
    if (err < 0)
        link_close(l, err_str(err));
}

struct link *link_connect(struct links *ls, const char *host, unsigned port,
                          void *arg)
{
    struct dial_to to = {.path = "", .host = host, .port = port};
    struct link *l;

    sd_check(ls, LINKS_MAGIC);
    l = link_new(ls, arg);
    snprintf(l->peer, sizeof(l->peer), "%s:%u", host, port);
    dial_open(&l->dial, ls->config.loop, to, on_dialed, l);
    return l;
}

void link_drop(struct stranger *one, const char *why)
{
    struct link *l;

    if (one == NULL)
        return;
    l = list_entry(one, struct link, stranger);
    sd_check(l, LINK_MAGIC);
    l->links->figures.strangers++;
    l->links->figures.crowded++;
    link_close(l, why);
}

struct link *link_accept(struct links *ls, int fd, void *arg)
{
    struct link *l;

    sd_check(ls, LINKS_MAGIC);
    l = link_new(ls, arg);
    if (begin_proof(l, fd) < 0) {
        link_free(l);
        return NULL;
    }
    link_drop(
        strangers_add(&ls->strangers, &l->stranger, link_socket_origin(fd)),
        "too many that prove nothing");
    return l;
}

/* --- all of a process ----------------------------------------------------- */

struct links *links_new(const struct links_config *config)
{
    struct links *ls = mem_zalloc(sizeof(*ls));

    ls->magic = LINKS_MAGIC;
    ls->config = *config;
    list_init(&ls->all);
    list_init(&ls->dirty);
    list_init(&ls->closing);
    strangers_init(&ls->strangers);
    ls->hook = (struct loop_hook){.fn = on_turn, .rank = LOOP_FLUSH};
    loop_hook_add(config->loop, &ls->hook);
    return ls;
}

void links_free(struct links **lp)
{
    struct links *ls = *lp;

    if (ls == NULL)
        return;
    sd_check(ls, LINKS_MAGIC);
    while (!list_empty(&ls->all))
        link_free(list_entry(ls->all.next, struct link, node));
    loop_hook_del(&ls->hook);
    ls->magic = 0;
    mem_free(ls);
    *lp = NULL;
}

void links_judge_keys(struct links *ls)
{
    struct list *it;

    sd_check(ls, LINKS_MAGIC);
    list_each (it, &ls->all) {
        struct link *l = list_entry(it, struct link, node);

        if (l->state == LINK_OPEN && !has_key(ls, l->key_id))
            link_close(l, "it was proved with a key that is ours no more");
    }
}

bool links_give_up_one(struct links *ls)
{
    struct stranger *one = strangers_oldest(&ls->strangers);

    sd_check(ls, LINKS_MAGIC);
    if (one != NULL)
        link_close(list_entry(one, struct link, stranger),
                   "too many that prove nothing, no descriptors");
    return one != NULL;
}

const struct links_figures *links_figures(const struct links *ls)
{
    return &ls->figures;
}

/* --- what others ask ------------------------------------------------------ */

size_t link_unsent(const struct link *l)
{
    return l->out.len;
}

uint32_t link_round_trip(const struct link *l)
{
    return l->beats.round_trip;
}

uint64_t link_heard(const struct link *l)
{
    return l->heard_us / 1000;
}

const char *link_peer(const struct link *l)
{
    return l->peer;
}
