/* uplink_relays.c - the relays that the roster knows, and a link to each.
 *
 * The roster is looked at a few times a second.  A relay that it does not know
 * any more is let go of when its link ends, not before: a link that works says
 * more than what was heard of it.
 *
 * A link that fails is tried again, sooner at first, and after random waits, so
 * that a relay which comes back is not met by everybody at once. */
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/address.h"
#include "cluster/uplink_state.h"

enum {
    LOOK = 100,       /* ms */
    WAIT_LEAST = 100, /* until a link is tried again; doubles */
    WAIT_MOST = 3000,
    COMPLAIN_FIRST =
        6, /* failure in succession, some seconds after the first */
    COMPLAIN_EVERY = 16
};

/* --- links ---------------------------------------------------------------- */

static uint64_t at_random(uint32_t below)
{
    uint32_t n = 0;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
        n = (uint32_t)clock_ns();
    return n % below;
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
    r->failures = 0;
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
        err = inbox_take(u->inbox, r->in, f->type, f->payload, link_waited(l),
                         link_heard(l));
    } else if (f->type == FRAMES_BYE) {
        link_close(l, "the relay stops");
        return;
    } else {
        err = outbox_take(u->outbox, r->out, f->type, f->payload, clock_ms());
    }
    if (err < 0)
        link_close(l, "a frame that is none");
}

void relay_free(struct relay *r)
{
    list_del(&r->node);
    mem_free(r);
}

/* One that has died is forgotten before this; then about every 50 s. */
static void complain(struct relay *r, const struct link *l, const char *why)
{
    bool is_said = ++r->failures % COMPLAIN_EVERY == COMPLAIN_FIRST;

    log_event(is_said ? LOG_WARN : LOG_DEBUG, NULL, NULL,
              "no link to relay %u of %s at %s: %s", r->at.index,
              r->at.dispatch, link_peer(l), why);
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
        uplink_arm(u);
    } else {
        complain(r, l, why);
    }
    r->in = NULL;
    r->out = NULL;
    r->link = NULL;
    r->next = clock_ms() + r->wait / 2 + at_random(r->wait);
    r->wait = r->wait * 2 < WAIT_MOST ? r->wait * 2 : WAIT_MOST;
    if (!r->is_known)
        relay_free(r);
}

const struct link_ops uplink_link_ops = {
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

void uplink_on_look(struct timer *t)
{
    struct uplink *u = list_entry(t, struct uplink, look);
    uint64_t now = clock_ms();
    struct list *it;

    sd_check(u, UPLINK_MAGIC);
    if (roster_serial(u->config.roster) != u->serial)
        read_roster(u);
    list_each (it, &u->relays) {
        struct relay *r = list_entry(it, struct relay, node);

        if (r->link == NULL && now >= r->next)
            connect_to(r);
    }
    timer_start(u->config.loop, t, LOOK);
}
