/* relay.c - a loop that carries messages between the workers of all nodes.
 *
 * Peers: the master by the leash (dispatch below); workers of every node, also
 * of our own, by links, over which cluster/hub.h hands their messages on.
 *
 * It keeps nothing that matters: whoever sends keeps what he sent until it was
 * answered, so a relay may be killed at any moment. */
#include "proc/relay.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/hub.h"
#include "cluster/link.h"
#include "cluster/proof.h"
#include "cluster/refusal.h"
#include "proc/child.h"
#include "proc/process.h"
#include "proc/relay_door.h"
#include "proc/tables.h"

enum {
    RELAY_MAGIC = 0x72656c61,
    COMPLAIN_AGAIN = 1000, /* ms */
    END_WAIT = 10,         /* ms for goodbyes to leave */
    BOARD = 500 /* ms from one telling how the links are to the next */
};

struct relay {
    struct process process;
    unsigned magic;
    struct proof *proof;
    struct links *links;
    struct hub *hub;
    struct list peers;
    struct relay_door *door;
    struct loop_hook hook;
    struct timer end, board;
    uint64_t complained;
    unsigned unsaid; /* complaints since then */
    unsigned npeers;
    uint64_t refused[REFUSAL_COUNT];
};

/* A link and who it leads to. */
struct peer {
    struct list node;
    struct relay *relay;
    struct link *link;
    struct hub_link *in; /* NULL: it has not proved yet who it is */
    struct identity who;
    uint64_t received, sent; /* messages */
};

/* --- links ---------------------------------------------------------------- */

static void count(struct relay *r, int change)
{
    r->npeers += (unsigned)change;
    slots_set(r->process.slots, r->process.h->slot, SLOT_CONNS, r->npeers);
}

/* A process that has lost its link may be back before we know. */
static void replace(struct relay *r, const struct place *place)
{
    struct list *it;

    list_each (it, &r->peers) {
        struct peer *p = list_entry(it, struct peer, node);

        if (p->in != NULL && p->who.place.boot == place->boot &&
            p->who.place.slot == place->slot &&
            p->who.place.epoch == place->epoch)
            link_close(p->link, "it has linked anew");
    }
}

static bool on_open(void *arg, struct link *l, struct slice identity)
{
    struct peer *p = arg;
    struct relay *r = p->relay;

    sd_check(r, RELAY_MAGIC);
    if (identity_read(&p->who, identity) < 0)
        return false;
    replace(r, &p->who.place);
    p->in = hub_open(r->hub, p, &p->who.place);
    count(r, 1);
    log_debug("linked to worker %u of %s at %s", p->who.place.slot, p->who.name,
              link_peer(l));
    return true;
}

static void on_batch(void *arg, const struct stream_frame *f, unsigned n)
{
    const struct peer *p = arg;

    hub_expect(p->relay->hub, f, n);
}

static void on_frame(void *arg, struct link *l, const struct stream_frame *f)
{
    struct peer *p = arg;
    uint32_t waited = 0;

    sd_check(p->relay, RELAY_MAGIC);
    if (f->type == FRAMES_BYE)
        return;
    if (frames_is_data(f->type)) {
        p->received++;
        waited = link_waited(l);
    }
    if (hub_take(p->relay->hub, p->in, f->type, f->payload, waited) < 0)
        link_close(l, "a frame that is none");
}

/* Strangers may fill no log. */
static void complain(struct relay *r, const struct link *l, const char *why)
{
    uint64_t now = clock_ms();
    char more[48] = "";

    if (now - r->complained < COMPLAIN_AGAIN) {
        r->unsaid++;
        return;
    }
    if (r->unsaid > 0)
        snprintf(more, sizeof(more), " (and %u more before)", r->unsaid);
    r->complained = now;
    r->unsaid = 0;
    log_warn("a link from %s was refused: %s%s", link_peer(l), why, more);
}

/* A worker that ends is told of by its node. */
static void say_closed(const struct peer *p, const char *why)
{
    bool is_usual = strcmp(why, LINK_CLOSED) == 0;

    log_event(is_usual ? LOG_DEBUG : LOG_INFO, NULL, NULL,
              "the link to worker %u of %s at %s is closed: %s",
              p->who.place.slot, p->who.name, link_peer(p->link), why);
}

static void on_close(void *arg, struct link *l, const char *why)
{
    struct peer *p = arg;
    struct relay *r = p->relay;

    sd_check(r, RELAY_MAGIC);
    if (p->in != NULL) {
        hub_close(r->hub, p->in);
        count(r, -1);
        say_closed(p, why);
    } else if (r->door != NULL) { /* else we stop, and close all */
        complain(r, l, why);
        r->refused[refusal_of(why)]++;
    }
    list_del(&p->node);
    mem_free(p);
}

static const struct link_ops link_ops = {.on_open = on_open,
                                         .on_batch = on_batch,
                                         .on_frame = on_frame,
                                         .on_close = on_close};

_Static_assert((int)LINK_BATCH <= (int)HUB_EXPECT, "no room");

static void on_emit(void *arg, void *owner, unsigned type,
                    const struct slice *v, unsigned n)
{
    struct peer *p = owner;

    (void)arg;
    p->sent += frames_is_data(type);
    sd_assert(link_write(p->link, (uint8_t)type, v, n) == 0);
}

static void on_fd(void *arg, int fd)
{
    struct relay *r = arg;
    struct peer *p = mem_zalloc(sizeof(*p));

    sd_check(r, RELAY_MAGIC);
    p->relay = r;
    p->link = link_accept(r->links, fd, p);
    if (p->link == NULL)
        mem_free(p);
    else
        list_add(&r->peers, &p->node);
}

/* Answers leave once a turn. */
static bool on_turn(struct loop_hook *hook)
{
    hub_turn(list_entry(hook, struct relay, hook)->hub);
    return false;
}

/* Of each node one link, the one that was heard last: nodes have many. */
static void note(struct linkboard_list *list, const struct peer *p)
{
    struct hub_wants wants = hub_wants(p->in);
    uint64_t heard = link_heard(p->link);
    struct linkboard_link *l;
    unsigned i = 0;

    while (i < list->n && list->link[i].boot != p->who.place.boot)
        i++;
    if (i == LINKBOARD_MAX)
        return;
    l = &list->link[i];
    if (i == list->n)
        list->n++;
    l->received += p->received;
    l->sent += p->sent;
    l->filters += wants.filters;
    l->is_flooded |= wants.is_flooded;
    if (l->heard >= heard)
        return;
    l->boot = p->who.place.boot;
    l->heard = heard;
    l->index = p->who.place.slot;
    l->unsent = (uint32_t)link_unsent(p->link);
    l->round_trip = link_round_trip(p->link);
}

static void on_board(struct timer *t)
{
    struct relay *r = list_entry(t, struct relay, board);
    const struct process *p = &r->process;
    struct linkboard_list list = {0};
    struct list *it;

    list_each (it, &r->peers) {
        const struct peer *peer = list_entry(it, struct peer, node);

        if (peer->in != NULL)
            note(&list, peer);
    }
    linkboard_write(tables_links(p->mesh, p->conf, p->h->slot),
                    (uint16_t)p->h->epoch, &list);
    timer_start(p->loop, t, BOARD);
}

/* --- life ----------------------------------------------------------------- */

static void on_end_wait(struct timer *t)
{
    process_finish(&list_entry(t, struct relay, end)->process);
}

/* Who is told goodbye goes to another relay at once. */
static void drain(struct relay *r)
{
    struct process *p = &r->process;
    struct list *it;

    slots_set_state(p->slots, p->h->slot, SLOT_DRAINING);
    relay_door_close(&r->door);
    list_each (it, &r->peers) {
        struct peer *peer = list_entry(it, struct peer, node);

        (void)link_write(peer->link, FRAMES_BYE, NULL, 0);
        link_close(peer->link, "the relay stops");
    }
    timer_start(p->loop, &r->end, END_WAIT);
}

static void on_leash(struct process *p, const struct leash_msg *m)
{
    switch ((enum leash_type)m->type) {
    case LEASH_DRAIN:
        drain(list_entry(p, struct relay, process));
        break;
    default:
        sd_panic(__FILE__, __LINE__, __func__, "no message for a relay");
    }
}

static void on_config(struct process *p)
{
    struct relay *r = list_entry(p, struct relay, process);
    const char *why = NULL;

    if (proof_take(r->proof, p->conf, &why) < 0)
        log_error("cluster.key: %s", why);
    else
        links_judge_keys(r->links);
}

static void count_refusals(const struct relay *r, uint64_t *v)
{
    _Static_assert((int)REFUSAL_COUNT <= (int)COUNTERS_REFUSALS, "no room");
    for (unsigned i = 0; i < REFUSAL_COUNT; i++)
        v[COUNT_LINKS_REFUSED + i] = r->refused[i];
}

static void on_count(struct process *p, uint64_t *v)
{
    const struct relay *r = list_entry(p, struct relay, process);
    const struct links_figures *f = links_figures(r->links);

    v[COUNT_LINK_BYTES_IN] = f->received;
    v[COUNT_LINK_BYTES_OUT] = f->sent;
    v[COUNT_LINKS_OPENED] = f->opened;
    v[COUNT_LINKS_CLOSED] = f->closed;
    v[COUNT_FAR_TAKEN] = hub_figures(r->hub)->taken;
    v[COUNT_FAR_FRAMES] = hub_figures(r->hub)->sent;
    v[COUNT_FAR_BUSY] = hub_figures(r->hub)->busy;
    v[COUNT_FAR_EXPIRED] = hub_figures(r->hub)->expired;
    count_refusals(r, v);
}

static void on_end(struct process *p)
{
    struct relay *r = list_entry(p, struct relay, process);

    relay_door_close(&r->door);
    if (r->hook.fn != NULL)
        loop_hook_del(&r->hook);
    timer_stop(p->loop, &r->end);
    timer_stop(p->loop, &r->board);
    links_free(&r->links);
    while (!list_empty(&r->peers)) {
        struct peer *peer = list_entry(r->peers.next, struct peer, node);

        list_del(&peer->node);
        mem_free(peer);
    }
    hub_free(&r->hub);
    proof_free(&r->proof);
}

static int open_proof(struct relay *r, const char **why)
{
    const struct heritage *h = r->process.h;
    struct identity self = {.place = {.boot = h->boot,
                                      .slot = (uint8_t)h->slot,
                                      .epoch = (uint16_t)h->epoch}};

    snprintf(self.name, sizeof(self.name), "%.64s", h->node);
    return proof_new(&r->proof, r->process.conf, &self, why);
}

static int start(struct relay *r, const char **why)
{
    struct process *p = &r->process;
    struct hub_calls calls = {.arg = r, .emit = on_emit};
    struct links_config config = {
        .loop = p->loop, .role = HAND_RELAY, .ops = &link_ops};
    struct relay_door_config door = {.loop = p->loop,
                                     .fd = p->h->cluster.relay[p->h->index],
                                     .on_fd = on_fd,
                                     .arg = r};
    struct hash_key key;
    int err = open_proof(r, why);

    if (err < 0)
        return err;
    config.hand = proof_hand(r->proof);
    key = proof_hash_key(r->proof);
    r->links = links_new(&config);
    r->hub = hub_new(&calls, &(struct hub_limits){0}, &key);
    r->hook = (struct loop_hook){.fn = on_turn, .rank = LOOP_WORK};
    loop_hook_add(p->loop, &r->hook);
    timer_start(p->loop, &r->board, BOARD);
    door.links = r->links;
    err = relay_door_open(&r->door, &door);
    *why = err_str(err);
    return err;
}

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    (void)data;
    log_warn("no message for a relay: %u", m->type);
    return MESH_DONE;
}

int relay_run(const struct heritage *h)
{
    struct relay r = {.magic = RELAY_MAGIC,
                      .process = {.on_leash = on_leash,
                                  .on_config = on_config,
                                  .on_count = on_count,
                                  .on_end = on_end},
                      .end.fn = on_end_wait,
                      .board.fn = on_board};
    struct mesh_hooks hooks = {.on_msg = on_msg, .data = &r};
    const char *why = NULL;

    list_init(&r.peers);
    if (process_open(&r.process, h) < 0)
        return CHILD_FAILED;
    process_join(&r.process, &hooks);
    if (start(&r, &why) < 0)
        process_refuse(&r.process, why);
    else
        process_ready(&r.process);
    return process_run(&r.process);
}
