/* uplink.c - see uplink.h.
 *
 * The roster is looked at a few times a second.  A relay that it does not know
 * any more is let go of when its link ends, not before: a link that works says
 * more than what was heard of it.
 *
 * A link that fails is tried again, sooner at first, and after random waits, so
 * that a relay which comes back is not met by everybody at once. */
#include "cluster/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/address.h"
#include "cluster/link.h"
#include "cluster/proof.h"
#include "loop/timer.h"

enum {
    UPLINK_MAGIC = 0x75706c6b,
    LOOK = 100, /* ms */
    WAIT_LEAST = 100,
    WAIT_MOST = 3000,
    INBOX_TICK = 1000
};

struct relay {
    struct list node;
    struct uplink *uplink;
    struct roster_relay at;
    bool is_known;     /* by the roster */
    struct link *link; /* NULL: none */
    struct outbox_link *out;
    struct inbox_link *in;
    uint64_t received, sent; /* messages, also by its earlier links */
    uint32_t wait;
    uint64_t next; /* try to link */
};

struct uplink {
    unsigned magic;
    struct uplink_config config;
    struct proof *proof;
    struct links *links;
    struct outbox *outbox;
    struct inbox *inbox;
    struct list relays;
    struct roster_list *roster;
    uint64_t serial; /* of what was read of it */
    struct loop_hook hook;
    struct timer look, tick;
    uint64_t ticked, armed; /* last and next tick */
    bool has_left;
};

/* --- links ---------------------------------------------------------------- */

static uint64_t at_random(uint32_t below)
{
    uint32_t n = 0;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
        n = (uint32_t)clock_ns();
    return n % below;
}

static void arm_tick(struct uplink *u)
{
    uint64_t now = clock_ms(), next = outbox_next(u->outbox);
    uint64_t most = now + INBOX_TICK;

    if (next > most)
        next = most;
    u->armed = next;
    timer_start(u->config.loop, &u->tick, next > now ? next - now : 1);
}

static bool on_open(void *arg, struct link *l, struct slice identity)
{
    struct relay *r = arg;
    struct uplink *u = r->uplink;
    struct identity who;

    sd_check(u, UPLINK_MAGIC);
    if (identity_read(&who, identity) < 0)
        return false;
    if (who.place.boot != r->at.boot) { /* its port was given to another one */
        log_info("at %s there is another dispatch than %s", link_peer(l),
                 r->at.dispatch);
        return false;
    }
    r->wait = WAIT_LEAST;
    r->out = outbox_open(u->outbox, r, identity_relay(r->at.boot, r->at.index),
                         clock_ms());
    r->in = inbox_open(u->inbox, r);
    if (r->out == NULL || r->in == NULL)
        return false;
    log_info("linked to relay %u of %s at %s", r->at.index, r->at.dispatch,
             link_peer(l));
    u->config.calls.on_relay(u->config.calls.arg, r);
    return true;
}

static void on_frame(void *arg, struct link *l, const struct stream_frame *f)
{
    struct relay *r = arg;
    struct uplink *u = r->uplink;
    int err;

    sd_check(u, UPLINK_MAGIC);
    if (frames_is_data(f->type)) {
        r->received++;
        err = inbox_take(u->inbox, r->in, f->type, f->payload, clock_ms());
    } else if (f->type == FRAMES_BYE) {
        link_close(l, "the relay stops");
        return;
    } else {
        err = outbox_take(u->outbox, r->out, f->type, f->payload, clock_ms());
        arm_tick(u);
    }
    if (err < 0)
        link_close(l, "a frame that is none");
}

static void relay_free(struct relay *r)
{
    list_del(&r->node);
    mem_free(r);
}

static void on_close(void *arg, struct link *l, const char *why)
{
    struct relay *r = arg;
    struct uplink *u = r->uplink;

    sd_check(u, UPLINK_MAGIC);
    if (r->in != NULL)
        inbox_close(u->inbox, r->in);
    if (r->out != NULL) {
        log_info("the link to relay %u of %s is closed: %s", r->at.index,
                 r->at.dispatch, why);
        outbox_close(u->outbox, r->out, clock_ms());
        u->config.calls.on_relay_gone(u->config.calls.arg, r);
        arm_tick(u);
    } else {
        log_debug("no link to relay %u of %s at %s: %s", r->at.index,
                  r->at.dispatch, link_peer(l), why);
    }
    r->in = NULL;
    r->out = NULL;
    r->link = NULL;
    r->next = clock_ms() + r->wait / 2 + at_random(r->wait);
    r->wait = r->wait * 2 < WAIT_MOST ? r->wait * 2 : WAIT_MOST;
    if (!r->is_known)
        relay_free(r);
}

static const struct link_ops link_ops = {
    .on_open = on_open, .on_frame = on_frame, .on_close = on_close};

static void connect_to(struct relay *r)
{
    struct gossip_address a = {.port = r->at.port};
    char host[ADDRESS_TEXT];

    memcpy(a.ip, r->at.ip, sizeof(a.ip));
    address_write_host(host, &a);
    r->link = link_connect(r->uplink->links, host, r->at.port, r);
}

/* --- the roster ----------------------------------------------------------- */

static struct relay *find(struct uplink *u, const struct roster_relay *at)
{
    struct list *it;

    list_each (it, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (r->at.boot == at->boot && r->at.index == at->index)
            return r;
    }
    return NULL;
}

static void know(struct uplink *u, const struct roster_relay *at)
{
    struct relay *r = find(u, at);

    if (r == NULL) {
        r = mem_zalloc(sizeof(*r));
        r->uplink = u;
        r->wait = WAIT_LEAST;
        list_add(&u->relays, &r->node);
    }
    r->at = *at;
    r->is_known = true;
}

static void read_roster(struct uplink *u)
{
    struct list *it, *tmp;
    unsigned i;

    u->serial = roster_serial(u->config.roster);
    roster_read(u->config.roster, u->roster);
    list_each (it, &u->relays)
        list_entry(it, struct relay, node)->is_known = false;
    for (i = 0; i < u->roster->nrelays; i++)
        know(u, &u->roster->relays[i]);
    list_each_safe (it, tmp, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (!r->is_known && r->link == NULL)
            relay_free(r);
    }
}

static void on_look(struct timer *t)
{
    struct uplink *u = list_entry(t, struct uplink, look);
    uint64_t now = clock_ms();
    struct list *it;

    sd_check(u, UPLINK_MAGIC);
    if (u->has_left)
        return;
    if (roster_serial(u->config.roster) != u->serial)
        read_roster(u);
    list_each (it, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (r->link == NULL && now >= r->next)
            connect_to(r);
    }
    timer_start(u->config.loop, t, LOOK);
}

static void on_tick(struct timer *t)
{
    struct uplink *u = list_entry(t, struct uplink, tick);
    uint64_t now = clock_ms();

    sd_check(u, UPLINK_MAGIC);
    outbox_tick(u->outbox, now);
    if (now - u->ticked >= INBOX_TICK) {
        u->ticked = now;
        inbox_tick(u->inbox, now);
    }
    arm_tick(u);
}

/* Answers leave once a turn.  What was sent in it may have to wait, shorter
 * than anything before. */
static bool on_turn(struct loop_hook *hook)
{
    struct uplink *u = list_entry(hook, struct uplink, hook);

    inbox_turn(u->inbox);
    if (outbox_next(u->outbox) < u->armed)
        arm_tick(u);
    return false;
}

/* --- open and close ------------------------------------------------------- */

static void on_emit(void *arg, void *relay, unsigned type,
                    const struct slice *v, unsigned n)
{
    struct relay *r = relay;

    (void)arg;
    r->sent += frames_is_data(type);
    sd_assert(link_write(r->link, (uint8_t)type, v, n) == 0);
}

static void make_boxes(struct uplink *u)
{
    const struct uplink_calls *calls = &u->config.calls;
    struct hash_key key = proof_hash_key(u->proof);
    struct outbox_calls out = {.arg = calls->arg,
                               .emit = on_emit,
                               .resolve = calls->resolve,
                               .settled = calls->settled,
                               .lives = calls->lives};
    struct inbox_calls in = {.arg = calls->arg,
                             .emit = on_emit,
                             .has = calls->has,
                             .deliver = calls->deliver};

    u->outbox = outbox_new(&out, &(struct outbox_limits){0}, &key,
                           u->config.self.place.boot);
    u->inbox = inbox_new(&in, &(struct inbox_limits){0});
}

int uplink_open(struct uplink **out, const struct uplink_config *config,
                const char **why)
{
    struct uplink *u = mem_zalloc(sizeof(*u));
    struct links_config links = {
        .loop = config->loop, .role = HAND_WORKER, .ops = &link_ops};
    int err;

    u->magic = UPLINK_MAGIC;
    u->config = *config;
    u->look.fn = on_look;
    u->tick.fn = on_tick;
    list_init(&u->relays);
    u->roster = mem_zalloc(sizeof(*u->roster));
    u->serial = UINT64_MAX;
    err = proof_new(&u->proof, config->conf, &config->self, why);
    if (err < 0) {
        uplink_close(&u);
        return err;
    }
    links.hand = proof_hand(u->proof);
    u->links = links_new(&links);
    make_boxes(u);
    u->hook = (struct loop_hook){.fn = on_turn, .rank = LOOP_WORK};
    loop_hook_add(config->loop, &u->hook);
    timer_start(config->loop, &u->look, 1);
    arm_tick(u);
    *out = u;
    return 0;
}

void uplink_close(struct uplink **up)
{
    struct uplink *u = *up;

    if (u == NULL)
        return;
    sd_check(u, UPLINK_MAGIC);
    timer_stop(u->config.loop, &u->look);
    timer_stop(u->config.loop, &u->tick);
    if (u->hook.fn != NULL)
        loop_hook_del(&u->hook);
    links_free(&u->links);
    while (!list_empty(&u->relays))
        relay_free(list_entry(u->relays.next, struct relay, node));
    outbox_free(&u->outbox);
    inbox_free(&u->inbox);
    proof_free(&u->proof);
    mem_free(u->roster);
    u->magic = 0;
    mem_free(u);
    *up = NULL;
}

int uplink_take(struct uplink *u, const struct conf *conf, const char **why)
{
    sd_check(u, UPLINK_MAGIC);
    return proof_take(u->proof, conf, why);
}

void uplink_leave(struct uplink *u)
{
    struct list *it;

    sd_check(u, UPLINK_MAGIC);
    u->has_left = true;
    list_each (it, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (r->link == NULL)
            continue;
        (void)link_write(r->link, FRAMES_BYE, NULL, 0);
        link_close(r->link, "this process leaves");
    }
}

/* --- what others ask and say ---------------------------------------------- */

struct outbox *uplink_outbox(const struct uplink *u)
{
    return u->outbox;
}

struct inbox *uplink_inbox(struct uplink *u)
{
    return u->inbox;
}

int uplink_send(struct uplink *u, const struct outbox_to *to,
                const struct wire_head *head, const struct slice *body,
                unsigned pieces, uint64_t token)
{
    struct outbox_mail mail = {
        .head = head, .body = body, .pieces = pieces, .token = token};

    return outbox_send(u->outbox, to, &mail, clock_ms());
}

void uplink_tell_one(void *relay, unsigned type, struct slice payload)
{
    struct relay *r = relay;

    sd_check(r->uplink, UPLINK_MAGIC);
    sd_assert(link_write(r->link, (uint8_t)type, &payload, 1) == 0);
}

size_t uplink_unsent(void *relay)
{
    struct relay *r = relay;

    sd_check(r->uplink, UPLINK_MAGIC);
    return link_unsent(r->link);
}

void uplink_tell(struct uplink *u, unsigned type, struct slice payload)
{
    struct list *it;

    sd_check(u, UPLINK_MAGIC);
    list_each (it, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (r->out != NULL)
            uplink_tell_one(r, type, payload);
    }
}

const struct roster_list *uplink_roster(const struct uplink *u)
{
    return u->roster;
}

bool uplink_state(const struct uplink *u, unsigned i, struct uplink_state *out)
{
    struct list *it;

    list_each (it, &u->relays) {
        const struct relay *r = list_entry(it, struct relay, node);

        if (i-- > 0)
            continue;
        *out = (struct uplink_state){.dispatch = r->at.dispatch,
                                     .boot = r->at.boot,
                                     .index = r->at.index};
        if (r->link == NULL || r->out == NULL)
            return true;
        out->heard = link_heard(r->link);
        out->unsent = link_unsent(r->link);
        out->received = r->received;
        out->sent = r->sent;
        out->relay = (void *)(uintptr_t)r;
        out->round_trip = link_round_trip(r->link);
        return true;
    }
    return false;
}
