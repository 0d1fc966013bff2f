/* uplink.c - see uplink.h: the two boxes, and their time.
 *
 * What leaves goes into links at once and out at the end of the turn; answers
 * are gathered until then.  The relays themselves are in uplink_relays.c. */
#include "cluster/uplink.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/proof.h"
#include "cluster/uplink_state.h"

enum {
    INBOX_TICK = 1000 /* ms */
};

/* --- time ----------------------------------------------------------------- */

void uplink_arm(struct uplink *u)
{
    uint64_t now = clock_ms(), next = outbox_next(u->outbox);
    uint64_t most = now + INBOX_TICK;

    if (next > most)
        next = most;
    u->armed = next;
    timer_start(u->config.loop, &u->tick, next > now ? next - now : 1);
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
    uplink_arm(u);
}

/* Answers leave once a turn.  What was sent in it may have to wait, shorter
 * than anything before. */
static bool on_turn(struct loop_hook *hook)
{
    struct uplink *u = list_entry(hook, struct uplink, hook);

    inbox_turn(u->inbox);
    if (outbox_next(u->outbox) < u->armed)
        uplink_arm(u);
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
        .loop = config->loop, .role = HAND_WORKER, .ops = &uplink_link_ops};
    int err;

    u->magic = UPLINK_MAGIC;
    u->config = *config;
    u->look.fn = uplink_on_look;
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
    uplink_arm(u);
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
    int err;

    sd_check(u, UPLINK_MAGIC);
    err = proof_take(u->proof, conf, why);
    if (err == 0)
        links_judge_keys(u->links);
    return err;
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

const struct links_figures *uplink_links(const struct uplink *u)
{
    return links_figures(u->links);
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
                                     .index = r->at.index,
                                     .received = r->received,
                                     .sent = r->sent};
        if (r->link == NULL || r->out == NULL)
            return true;
        out->heard = link_heard(r->link);
        out->unsent = link_unsent(r->link);
        out->relay = (void *)(uintptr_t)r;
        out->round_trip = link_round_trip(r->link);
        return true;
    }
    return false;
}
