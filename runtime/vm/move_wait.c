/* move_wait.c - see move.h; here: the order of what is sent to a conn before
 * and after it has come.
 *
 * Who sends to its uid finds the new worker as soon as the conn is bound there,
 * when earlier sends may still be on their way by the old one.  So the new one
 * keeps what comes to it.  The old one has sent after what it kept when it was
 * told that the conn has come; then it reads all its rings as far as they are
 * written by now, for who sent the next one to the new worker has written this
 * one before, and says that nothing follows.  Conns that have come meanwhile
 * wait for the next such reading together.
 *
 * XXX: a sender that stops for that long between looking the uid up and
 * writing may find its next send in front. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "net/net.h"
#include "vm/deliver.h"
#include "vm/letter.h"
#include "vm/move_state.h"
#include "vm/reach.h"
#include "vm/undelivered.h"

enum {
    BYTES_MAX = 4 << 20, /* that wait for one conn */
    TURNS_MAX = 16,      /* in vain at once, then every ... */
    AGAIN_MS = 5         /* ... for a ring is full, or held */
};

struct waiting {
    struct list link;
    uint64_t key;
    bool is_volatile, tells;
    struct buf value;
};

struct move_wait {
    struct vms *vms;
    unsigned slot; /* the conn's old worker */
    uint16_t epoch;
    struct list values;
    size_t bytes;
};

/* --- the new worker ------------------------------------------------------- */

void move_wait(struct vms *all, struct member *m, unsigned slot, uint16_t epoch)
{
    m->wait = mem_zalloc(sizeof(*m->wait));
    m->wait->vms = all;
    m->wait->slot = slot;
    m->wait->epoch = epoch;
    list_init(&m->wait->values);
}

bool move_is_awaited(const struct conn *c)
{
    const struct member *m = people_find(c);

    return m != NULL && m->wait != NULL;
}

int move_await(struct conn *c, const struct deliver *d)
{
    struct move_wait *wait = people_find(c)->wait;
    struct waiting *w;

    if (wait->bytes + d->value.len > BYTES_MAX) {
        people_count_lost(d->vm->all->people, SD_EBUSY);
        return SD_EBUSY;
    }
    w = mem_zalloc(sizeof(*w));
    w->key = d->key;
    w->is_volatile = d->is_volatile;
    w->tells = d->tells;
    buf_append(&w->value, d->value.p, d->value.len);
    wait->bytes += d->value.len;
    list_add(&wait->values, &w->link);
    return 0;
}

struct others {
    const struct member *member;
    bool is_any;
};

static bool on_other(void *arg, const struct uidmap_binding *b)
{
    struct others *o = arg;

    o->is_any |=
        b->slot != o->member->wait->slot || b->number != o->member->number;
    return !o->is_any;
}

bool move_is_last(const struct member *m, const struct uidmap *map,
                  struct slice uid)
{
    struct others o = {m, false};

    if (m->wait == NULL)
        return false;
    (void)uidmap_find(map, uid, on_other, &o);
    return !o.is_any;
}

static void drop(struct waiting *w)
{
    list_del(&w->link);
    buf_fini(&w->value);
    mem_free(w);
}

void move_wait_free(struct move_wait **wp)
{
    struct move_wait *wait = *wp;

    if (wait == NULL)
        return;
    while (!list_empty(&wait->values))
        drop(list_entry(wait->values.next, struct waiting, link));
    mem_free(wait);
    *wp = NULL;
}

/* --- what did not get through --------------------------------------------- */

static bool on_stranger(void *arg, const struct uidmap_binding *b)
{
    struct others *o = arg;

    o->is_any |= b->number != o->member->number;
    return !o->is_any;
}

/* Who waited was taken for reached.  So who is to hear now that it was not: the
 * uid, if no other conn of it has been sent the same.  Of a publish nobody. */
static struct slice told_of(const struct member *m, const struct waiting *w)
{
    const struct uidmap *map = m->wait->vms->people->map;
    struct others o = {m, false};
    struct slice uid = slice_make("", 0);

    if (w->tells || !uids_is_bound(&m->binding))
        return uid;
    uid = uids_name(&m->binding);
    if (map != NULL)
        (void)uidmap_find(map, uid, on_stranger, &o);
    return o.is_any ? slice_make("", 0) : uid;
}

void move_lose_waiting(struct member *m)
{
    while (m->wait != NULL && !list_empty(&m->wait->values)) {
        struct waiting *w =
            list_entry(m->wait->values.next, struct waiting, link);

        move_lost(m->wait->vms, told_of(m, w), SD_EGONE, buf_slice(&w->value));
        drop(w);
    }
}

/* --- when all has come ---------------------------------------------------- */

static void hand_over(struct vm *vm, struct member *m, const struct waiting *w)
{
    struct slice value = buf_slice(&w->value), uid = told_of(m, w);
    struct deliver d;
    int rc;

    deliver_begin(&d, vm, vm->L, value);
    d.key = w->key;
    d.is_volatile = w->is_volatile;
    d.tells = w->tells;
    d.is_single = d.follows = true;
    rc = deliver_to(&d, m->conn);
    deliver_end(&d);
    if (move_is_told(rc, w->is_volatile))
        undelivered_tell_one(reach_undelivered(vm->all->reach), uid, rc, value);
}

static void stop_waiting(struct vm *vm, struct member *m)
{
    while (!list_empty(&m->wait->values)) {
        struct waiting *w =
            list_entry(m->wait->values.next, struct waiting, link);

        hand_over(vm, m, w);
        drop(w);
    }
    move_wait_free(&m->wait);
}

void moves_take_end(struct vm *vm, struct slice body)
{
    struct msg_conn to;
    struct conn *c = NULL;

    memcpy(&to, body.p, sizeof(to));
    if (vm->env.net != NULL)
        c = net_find(vm->env.net, to.conn);
    if (c != NULL && move_is_awaited(c))
        stop_waiting(vm, people_find(c));
}

void moves_stop_waiting(struct vm *vm, unsigned slot, uint16_t epoch)
{
    struct list *it, *next;

    list_each_safe (it, next, &vm->all->people->members) {
        struct member *m = list_entry(it, struct member, link);

        if (m->wait != NULL && m->conn != NULL && m->wait->slot == slot &&
            m->wait->epoch == epoch)
            stop_waiting(vm, m);
    }
}

/* --- the old worker ------------------------------------------------------- */

static int tell_end(struct move *mv)
{
    struct msg_conn to = {mv->id};
    struct slice v[2] = {{NULL, 0}, {(const char *)&to, sizeof(to)}};

    return letter_send(mv->moves->vms, mv->slot, MSG_MOVE_END, v, 2);
}

/* Move all from one step to the next.  How many. */
static unsigned step(struct moves *ms, enum move_end from, enum move_end to)
{
    unsigned n = 0;
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->ending != from)
            continue;
        mv->ending = to;
        n++;
    }
    return n;
}

static void read_on(struct moves *ms)
{
    struct mesh *mesh = ms->vms->env.mesh;

    if (ms->is_reading && mesh_is_read(mesh, &ms->marks)) {
        step(ms, MOVE_END_READING, MOVE_END_DUE);
        ms->is_reading = false;
    }
    if (!ms->is_reading && step(ms, MOVE_END_NEXT, MOVE_END_READING) > 0) {
        mesh_mark(mesh, &ms->marks);
        ms->is_reading = true;
    }
}

/* Those that are due.  How many have not been told yet. */
static unsigned tell_ends(struct moves *ms)
{
    unsigned left = 0;
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->ending == MOVE_END_DUE && tell_end(mv) != SD_EBUSY) {
            mv->ending = MOVE_END_NONE;
            ms->turns = 0;
        }
        left += mv->ending != MOVE_END_NONE;
    }
    return left;
}

void moves_on_turn(struct loop_job *job)
{
    struct moves *ms = list_entry(job, struct moves, turn);

    read_on(ms);
    if (tell_ends(ms) == 0)
        return;
    if (++ms->turns < TURNS_MAX)
        loop_defer(ms->vms->env.loop, job);
    else
        timer_start(ms->vms->env.loop, &ms->again, AGAIN_MS);
}

void moves_on_again(struct timer *t)
{
    struct moves *ms = list_entry(t, struct moves, again);

    moves_on_turn(&ms->turn);
}

void move_tell_end(struct move *mv)
{
    struct moves *ms = mv->moves;

    mv->ending = MOVE_END_NEXT;
    ms->turns = 0;
    loop_defer(ms->vms->env.loop, &ms->turn);
}
