/* membership.c - see membership.h.
 *
 * What this instance says of itself is looked at twice a second, and told only
 * when it has changed: every change costs every member some packets.  So the
 * number of conns is told roughly. */
#include "proc/membership.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/address.h"
#include "cluster/gossip_udp.h"
#include "cluster/meta.h"
#include "loop/timer.h"
#include "proc/census.h"
#include "proc/cluster_status.h"
#include "proc/instance.h"
#include "proc/tables.h"

enum {
    MEMBERSHIP_MAGIC = 0x6d656d62,
    LOOK = 500,         /* ms */
    SETTLE_MOST = 1000, /* ms, when nobody answers */
    SETTLE = 200,       /* ms from the first answer: others tell of others */
    SETTLE_LOOK = 50,
    FORMER = 10000, /* ms that the former agent's word holds */
    WARN_AGAIN = 60000
};

struct membership {
    unsigned magic;
    struct process *process;
    struct membership_hooks hooks;
    struct gossip_udp *udp;
    struct census census;
    struct timer timer;  /* looks at ourselves */
    struct timer settle; /* while it has not */
    struct loop_job changed;
    struct buf meta; /* as it was told last */
    bool is_settling, is_settled, is_draining;
    uint64_t redis;  /* ours; 0: not known */
    uint64_t warned; /* clock_ms() of the last word on another one */
    uint64_t began;
};

/* --- what we say ---------------------------------------------------------- */

static uint32_t roughly(uint64_t n)
{
    uint64_t step = 1;

    while (n / step >= 32)
        step *= 2;
    return (uint32_t)(n / step * step);
}

static void fill_meta(const struct membership *m, struct meta *out)
{
    const struct process *p = m->process;
    uint64_t conns = 0;
    unsigned i;

    *out = (struct meta){.generation = p->code->generation,
                         .is_draining = m->is_draining};
    snprintf(out->version, sizeof(out->version), "%s", p->h->version);
    for (i = 0; i < slots_count(p->slots); i++) {
        if (slots_role(p->slots, i) != SLOT_WORKER)
            continue;
        conns += slots_get(p->slots, i, SLOT_CONNS);
        out->is_draining |= slots_state(p->slots, i) == SLOT_DRAINING;
        if (slots_get(p->slots, i, SLOT_REDIS) != 0)
            out->redis = slots_get(p->slots, i, SLOT_REDIS);
    }
    out->conns = roughly(conns);
    for (i = 0; i < p->h->relays; i++)
        out->relays[out->nrelays++] = p->h->cluster.relay_port[i];
}

static void tell(struct membership *m)
{
    struct buf bytes = {0};
    struct meta meta;

    fill_meta(m, &meta);
    if (meta.redis == 0)
        meta.redis = m->redis; /* workers that start have still to ask */
    if (m->redis != meta.redis)
        loop_defer(m->process->loop, &m->changed);
    m->redis = meta.redis;
    meta_write(&bytes, &meta);
    if (!slice_eq(buf_slice(&bytes), buf_slice(&m->meta))) {
        buf_truncate(&m->meta, 0);
        buf_append(&m->meta, bytes.p + bytes.head, bytes.len);
        sd_assert(gossip_udp_set_meta(m->udp, buf_slice(&bytes)) == 0);
    }
    buf_fini(&bytes);
}

/* Whoever gave a link of ours a frame lately is alive, whatever is heard. */
static void vouch(struct membership *m, const struct linkboard_list *list)
{
    uint64_t now = clock_ms();

    for (unsigned i = 0; i < list->n; i++)
        if (list->link[i].heard != 0)
            gossip_udp_vouch(m->udp, list->link[i].boot,
                             now - list->link[i].heard);
}

static void look_at_links(struct membership *m)
{
    const struct process *p = m->process;
    struct linkboard_list list;

    for (unsigned i = 0; i < slots_count(p->slots); i++) {
        enum slot_role role = slots_role(p->slots, i);

        if ((role == SLOT_WORKER || role == SLOT_RELAY) &&
            linkboard_read(tables_links(p->mesh, p->conf, i),
                           slots_epoch(p->slots, i), &list))
            vouch(m, &list);
    }
    gossip_udp_vouch_end(m->udp);
}

static void on_look(struct timer *t)
{
    struct membership *m = list_entry(t, struct membership, timer);

    sd_check(m, MEMBERSHIP_MAGIC);
    tell(m);
    look_at_links(m);
    if (m->census.former != NULL && clock_ms() - m->began > FORMER) {
        census_forget(&m->census);
        loop_defer(m->process->loop, &m->changed);
    }
    timer_start(m->process->loop, t, LOOK);
}

/* --- what we hear --------------------------------------------------------- */

/* Two Redises know nothing of each other's uids: nodes of different ones have
 * nothing to say to each other. */
static bool has_other_redis(struct membership *m, const struct gossip_member *o)
{
    char at[ADDRESS_TEXT], text[256];
    struct meta meta;

    if (o->kind != GOSSIP_NODE || meta_read(&meta, o->meta) < 0 ||
        m->redis == 0 || meta.redis == 0 || meta.redis == m->redis)
        return false;
    if (m->warned != 0 && clock_ms() - m->warned < WARN_AGAIN)
        return true;
    m->warned = clock_ms();
    address_write(at, &o->address);
    snprintf(text, sizeof(text),
             "node \"%.*s\" at %s uses another Redis: set redis.default.url "
             "to the same one on all nodes",
             (int)o->name.len, o->name.p, at);
    m->hooks.on_conflict(m->hooks.arg, text);
    return true;
}

static bool is_wanted(void *arg, const struct gossip_member *o)
{
    return !has_other_redis(arg, o);
}

static void write_roster(struct membership *m)
{
    census_write(&m->census, gossip_udp_look(m->udp));
}

/* Which Redis is ours the workers know a moment after they have begun; one of
 * our name, by which we may be refused, gets the time to answer. */
static void on_settle(struct timer *t)
{
    struct membership *m = list_entry(t, struct membership, settle);
    bool is_node = (m->process->h->parts & INSTANCE_NODE) != 0;
    bool is_open;

    tell(m);
    is_open =
        (is_node && m->redis == 0) || gossip_has_rival(gossip_udp_look(m->udp));
    if (is_open && clock_ms() - m->began < SETTLE_MOST) {
        timer_start(m->process->loop, t, SETTLE_LOOK);
        return;
    }
    m->is_settled = true;
    write_roster(m); /* maybe somebody has another one */
    m->hooks.on_settled(m->hooks.arg);
}

/* At the end of the turn, for all that has changed in it. */
static void on_changed(struct loop_job *job)
{
    struct membership *m = list_entry(job, struct membership, changed);

    sd_check(m, MEMBERSHIP_MAGIC);
    write_roster(m);
    if (m->is_settling || !gossip_is_joined(gossip_udp_look(m->udp)))
        return;
    m->is_settling = true;
    if (!m->is_settled)
        timer_start(m->process->loop, &m->settle, SETTLE);
}

static void on_conflict(struct membership *m, const struct gossip_member *other)
{
    const struct gossip_member *self = gossip_self(gossip_udp_look(m->udp));
    char theirs[ADDRESS_TEXT], ours[ADDRESS_TEXT], text[256];

    address_write(theirs, &other->address);
    address_write(ours, &self->address);
    snprintf(text, sizeof(text),
             "the cluster has a \"%.*s\" at %s already (this one is at %s): "
             "set server.name or SD_NODE_NAME",
             (int)self->name.len, self->name.p, theirs, ours);
    m->hooks.on_conflict(m->hooks.arg, text);
}

static const char *const event_words[] = {
    [GOSSIP_JOINED] = "has joined",   [GOSSIP_UPDATED] = NULL,
    [GOSSIP_SUSPECTED] = "is silent", [GOSSIP_RETURNED] = "is back",
    [GOSSIP_DIED] = "is dead",        [GOSSIP_DEPARTED] = "has left",
    [GOSSIP_CONFLICT] = NULL,
};

static void on_member(void *arg, const struct gossip_member *member,
                      enum gossip_event what)
{
    struct membership *m = arg;
    char at[ADDRESS_TEXT];

    sd_check(m, MEMBERSHIP_MAGIC);
    address_write(at, &member->address);
    if (event_words[what] != NULL)
        log_info("%s %.*s at %s %s",
                 member->kind == GOSSIP_NODE ? "node" : "dispatch",
                 (int)member->name.len, member->name.p, at, event_words[what]);
    if (what == GOSSIP_CONFLICT)
        on_conflict(m, member);
    if (what == GOSSIP_DIED || what == GOSSIP_DEPARTED)
        m->hooks.on_lost(m->hooks.arg, member->boot, event_words[what]);
    loop_defer(m->process->loop, &m->changed);
}

static int on_roll(void *arg, struct slice bytes)
{
    struct membership *m = arg;

    sd_check(m, MEMBERSHIP_MAGIC);
    return m->hooks.on_roll(m->hooks.arg, bytes);
}

/* --- open and close ------------------------------------------------------- */

static int open_udp(struct membership *m, const char **why)
{
    const struct heritage *h = m->process->h;
    bool is_node = (h->parts & INSTANCE_NODE) != 0;
    struct gossip_udp_config config = {
        .loop = m->process->loop,
        .conf = m->process->conf,
        .socket = h->cluster.gossip,
        .announce = h->cluster.announce,
        .self = {.name = slice_str(h->node),
                 .meta = buf_slice(&m->meta),
                 .boot = h->boot,
                 .age = clock_ms() - h->started,
                 .address = {.port = h->cluster.port},
                 .kind = is_node ? GOSSIP_NODE : GOSSIP_DISPATCH},
        .on_change = on_member,
        .on_roll = on_roll,
        .arg = m,
    };

    memcpy(config.self.address.ip, h->cluster.ip, sizeof(h->cluster.ip));
    return gossip_udp_open(&m->udp, &config, why);
}

int membership_open(struct membership **out, struct process *p,
                    const struct membership_hooks *hooks, const char **why)
{
    struct membership *m = mem_zalloc(sizeof(*m));
    struct meta meta;
    int err;

    m->magic = MEMBERSHIP_MAGIC;
    m->process = p;
    m->hooks = *hooks;
    m->began = clock_ms();
    m->census = (struct census){.roster = tables_roster(p->mesh, p->conf),
                                .is_wanted = is_wanted,
                                .arg = m};
    census_open(&m->census);
    m->timer.fn = on_look;
    m->settle.fn = on_settle;
    m->changed.fn = on_changed;
    fill_meta(m, &meta);
    meta_write(&m->meta, &meta);
    *why = "membership cannot begin";
    err = open_udp(m, why);
    if (err < 0) {
        membership_close(&m);
        return err;
    }
    write_roster(m);
    timer_start(p->loop, &m->timer, LOOK);
    timer_start(p->loop, &m->settle, SETTLE_MOST);
    *out = m;
    return 0;
}

void membership_close(struct membership **mp)
{
    struct membership *m = *mp;

    if (m == NULL)
        return;
    sd_check(m, MEMBERSHIP_MAGIC);
    timer_stop(m->process->loop, &m->timer);
    timer_stop(m->process->loop, &m->settle);
    loop_undefer(&m->changed);
    census_close(&m->census);
    gossip_udp_close(&m->udp);
    buf_fini(&m->meta);
    m->magic = 0;
    mem_free(m);
    *mp = NULL;
}

void membership_take(struct membership *m)
{
    const char *why = NULL;

    sd_check(m, MEMBERSHIP_MAGIC);
    if (gossip_udp_take(m->udp, m->process->conf, &why) < 0)
        log_error("cluster.key: %s", why);
    tell(m);
}

void membership_drain(struct membership *m)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    m->is_draining = true;
    tell(m);
}

bool membership_leave(struct membership *m)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    if (gossip_self(gossip_udp_look(m->udp))->state != GOSSIP_LEFT)
        gossip_udp_leave(m->udp);
    return gossip_has_left(gossip_udp_look(m->udp));
}

const struct gossip *membership_look(const struct membership *m)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    return gossip_udp_look(m->udp);
}

const struct gossip_udp *membership_udp(const struct membership *m)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    return m->udp;
}

void membership_send(struct membership *m, uint64_t boot, struct slice bytes)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    gossip_udp_send(m->udp, boot, bytes);
}

/* --- for people ----------------------------------------------------------- */

void membership_json(const struct membership *m, struct buf *out)
{
    sd_check(m, MEMBERSHIP_MAGIC);
    cluster_status_json(m->udp, m->process, out);
}
