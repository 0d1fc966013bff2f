/* people.c - conns and their uids, the truth about them, and who takes what is
 * sent to them. */
#include "sim.h"

#include <string.h>

#include "base/err.h"

static unsigned uid_of(struct slice name)
{
    return (unsigned)(name.p[1] - '0');
}

static bool has_conn(unsigned w, unsigned uid)
{
    unsigned i;

    for (i = 0; i < world->conns; i++) {
        const struct conn *c = &world->conn[i];

        if (c->is_open && c->w == w && c->uid == uid)
            return true;
    }
    return false;
}

bool has_uid(void *arg, const struct slice *name)
{
    return has_conn((unsigned)(uintptr_t)arg, uid_of(*name));
}

static int take_uid(unsigned w, unsigned uid, struct message *m, uint64_t token)
{
    bool any = false;
    unsigned i;

    if (chance(world->faults > 0 ? 2 : 0))
        return chance(50) ? SD_ESLOW : SD_EBUSY;
    if (chance(1)) { /* it takes a while to fail */
        after(below(300 * MS), SETTLE, w, world->worker[w].place.epoch,
              (unsigned)-SD_ESLOW, token);
        return INBOX_LATER;
    }
    for (i = 0; i < world->conns; i++) {
        struct conn *c = &world->conn[i];

        if (c->is_open && c->w == w && c->uid == uid &&
            m->counter > c->mark[m->w][m->epoch % 64]) {
            take_on_conn(c, m);
            any = true;
        }
    }
    if (!any)
        return SD_ECLOSED; /* perhaps they had it where they come from */
    if (!chance(5))
        return 0;
    after(below(300 * MS), SETTLE, w, world->worker[w].place.epoch, 0, token);
    return INBOX_LATER;
}

int deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    unsigned w = (unsigned)(uintptr_t)arg;
    struct worker *me = &world->worker[w];
    struct message *m;
    uint32_t index;

    memcpy(&index, d->body.p, sizeof(index));
    m = &world->message[index];
    if (m->counter != d->head.counter || m->w != d->head.slot)
        wrong("message %u is another", index);
    if (d->type == FRAMES_UID)
        return take_uid(w, uid_of(d->name), m, token);
    if (d->type == FRAMES_PLACE) {
        if (m->to != w || m->to_epoch != me->place.epoch)
            wrong("message %u at the wrong place", index);
        taken(m, w * 1000 + me->place.epoch);
        return 0;
    }
    if (me->since[m->to] > 0)
        taken(m, w * 1000 + me->place.epoch);
    return 0;
}

/* --- where uids are ---- */

static void tell_locate(unsigned w, const struct conn *c, bool is_here)
{
    struct worker *me = &world->worker[w];
    struct frames_locate told = {is_here, world->is_sole, c->bind,
                                 slice_str(world->uid[c->uid].name)};
    struct chan *owner = outbox_owner(me->out, told.uid);
    char payload[FRAMES_CONTROL_MAX];
    struct slice p = {payload, frames_write_locate(payload, &told)};
    unsigned r;

    if (world->is_sole && owner != NULL)
        chan_send(owner, 0, FRAMES_LOCATE, &p, 1);
    for (r = 0; r < world->relays && !world->is_sole; r++) {
        if (me->chan[r] >= 0)
            chan_send(&world->chan[me->chan[r]], 0, FRAMES_LOCATE, &p, 1);
    }
}

void forget_conn(unsigned i)
{
    struct uid *u = &world->uid[world->conn[i].uid];
    unsigned k;

    for (k = 0; k < u->count; k++) {
        if (u->at[k].conn == i)
            u->at[k--] = u->at[--u->count];
    }
}

void close_conn(unsigned i)
{
    struct conn *c = &world->conn[i];

    if (!c->is_open)
        return;
    c->is_open = false;
    after(below(5 * MS), FORGET, i, 0, 0, 0);
    if (world->worker[c->w].is_alive &&
        c->epoch == world->worker[c->w].place.epoch && !has_conn(c->w, c->uid))
        tell_locate(c->w, c, false);
}

void open_conn(unsigned uid, unsigned w)
{
    struct uid *u = &world->uid[uid];
    struct conn *c = &world->conn[world->conns];
    unsigned i, epoch = world->worker[w].place.epoch;
    uint64_t bind = now_ms();

    if (!world->worker[w].is_alive || world->conns == CONNS || u->count == 60)
        return;
    u->bind = bind > u->bind ? bind : u->bind + 1;
    *c = (struct conn){
        .is_open = true, .uid = uid, .w = w, .epoch = epoch, .bind = u->bind};
    for (i = 0; world->is_sole && i < world->conns; i++) {
        if (world->conn[i].is_open && world->conn[i].uid == uid)
            after(below(chance(50) ? 3 * MS : 100 * MS), CLOSE_CONN, i, 0, 0,
                  0);
    }
    if (world->is_sole)
        u->count = 0;
    u->at[u->count++] = (struct entry){w, epoch, world->conns++, u->bind};
    tell_locate(w, c, true);
}

static struct conn *hopping;

static void note_hop(void *arg, const struct inbox_note *n)
{
    uint64_t *mark = &hopping->mark[n->from.slot][n->from.epoch % 64];

    inbox_note(arg, n, now_ms());
    if (*mark < n->last)
        *mark = n->last;
}

/* A conn goes to the other worker of its node, with what it has got. */
static void hop(unsigned i)
{
    struct conn *c = &world->conn[i];
    struct worker *from = &world->worker[c->w], *to;
    struct uid *u = &world->uid[c->uid];
    unsigned other = c->w ^ 1, k;

    if (other >= world->workers || !world->worker[other].is_alive ||
        inbox_figures(from->in)->pending > 0)
        return;
    to = &world->worker[other];
    hopping = c;
    inbox_show(from->in, slice_str(u->name), note_hop, to->in);
    c->w = other;
    c->epoch = to->place.epoch;
    if (!has_conn(other ^ 1, c->uid))
        tell_locate(other ^ 1, c, false);
    c->bind = ++u->bind;
    for (k = 0; k < u->count; k++) {
        if (u->at[k].conn == i)
            u->at[k] = (struct entry){other, c->epoch, i, c->bind};
    }
    tell_locate(other, c, true);
}

static int open_conn_of(unsigned uid)
{
    unsigned start = world->conns > 0 ? below(world->conns) : 0, i;

    for (i = 0; i < world->conns; i++) {
        unsigned k = (start + i) % world->conns;

        if (world->conn[k].is_open && world->conn[k].uid == uid)
            return (int)k;
    }
    return -1;
}

void hop_some(unsigned uid)
{
    int i = open_conn_of(uid);

    if (i >= 0 && !world->is_quiet)
        hop((unsigned)i);
}

void move_uid(unsigned uid)
{
    int old = open_conn_of(uid);

    if (old >= 0 && chance(world->is_sole ? 40 : 50)) {
        close_conn((unsigned)old);
        if (chance(60))
            return;
    }
    open_conn(uid, below(world->workers));
}

/* Members learn late who has ended, and may be wrong. */
bool lives(void *arg, const struct place *place)
{
    const struct worker *w = &world->worker[place->slot];

    (void)arg;
    if (w->is_alive && w->place.epoch == place->epoch)
        return !world->members_err || chance(80);
    return chance(50);
}

void resolve(void *arg, const struct slice *name)
{
    unsigned w = (unsigned)(uintptr_t)arg;
    uint64_t us = 200 + below(chance(90) ? 3 * MS : 200 * MS);

    after(us, RESOLVED, w, world->worker[w].place.epoch, uid_of(*name), 0);
}

void resolved(const struct event *e)
{
    struct worker *me = &world->worker[e->a];
    struct uid *u = &world->uid[e->c];
    struct frames_spot spots[64];
    struct outbox_places found = {OUTBOX_AT, world->is_sole, 0, spots};
    unsigned n = 0, i, k;

    if (!me->is_alive || me->place.epoch != e->b)
        return;
    if (world->now < world->bad_until) {
        found.found = world->floods ? OUTBOX_FLOOD : OUTBOX_UNAVAILABLE;
        outbox_resolved(me->out, slice_str(u->name), &found, now_ms());
        return;
    }
    for (i = 0; i < u->count; i++) {
        struct place at = world->worker[u->at[i].w].place;

        at.epoch = (uint16_t)u->at[i].epoch;
        for (k = 0; k < n; k++) {
            if (spots[k].place.slot == at.slot &&
                spots[k].place.epoch == at.epoch)
                break;
        }
        if (k == n)
            spots[n++] = (struct frames_spot){at, u->at[i].bind};
        else if (spots[k].bind < u->at[i].bind)
            spots[k].bind = u->at[i].bind;
    }
    found.count = n;
    outbox_resolved(me->out, slice_str(u->name), &found, now_ms());
}
