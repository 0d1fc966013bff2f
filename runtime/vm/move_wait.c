/* move_wait.c - see move.h; here: the order of what is sent to a conn before
 * and after it has come.
 *
 * Who sends to its uid finds the new worker as soon as the conn is bound there,
 * when earlier sends may still be on their way by the old one.  So the new one
 * keeps what comes to it.  The old one has sent after what it kept when it was
 * told that the conn has come; it looks into all its rings once more, for who
 * sent the next one to the new worker has written this one before, and then
 * says that nothing follows.
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

enum {
    BYTES_MAX = 4 << 20, /* that wait for one conn */
    END_TURNS = 2        /* of the loop: all rings are looked into between */
};

struct waiting {
    struct list link;
    uint64_t key;
    bool is_volatile, tells;
    struct buf value;
};

struct move_wait {
    unsigned slot; /* the conn's old worker */
    uint16_t epoch;
    struct list values;
    size_t bytes;
};

/* --- the new worker --------------------------------------------------------------- */

void move_wait(struct member *m, unsigned slot, uint16_t epoch)
{
    m->wait = mem_zalloc(sizeof(*m->wait));
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

/* Everything from its old worker has come. */
static void stop_waiting(struct vm *vm, struct member *m)
{
    struct move_wait *wait = m->wait;
    struct deliver d;

    m->wait = NULL;
    while (!list_empty(&wait->values)) {
        struct waiting *w = list_entry(wait->values.next, struct waiting, link);

        deliver_begin(&d, vm, vm->L, buf_slice(&w->value));
        d.key = w->key;
        d.is_volatile = w->is_volatile;
        d.tells = w->tells;
        d.is_single = true;
        (void)deliver_to(&d, m->conn);
        deliver_end(&d);
        drop(w);
    }
    move_wait_free(&wait);
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

/* --- the old worker --------------------------------------------------------------- */

static int tell_end(struct move *mv)
{
    struct msg_conn to = {mv->id};
    struct slice v[2] = {{NULL, 0}, {(const char *)&to, sizeof(to)}};

    return letter_send(mv->moves->vms, mv->slot, MSG_MOVE_END, v, 2);
}

/* Told again when there is no room now. */
void moves_on_turn(struct loop_job *job)
{
    struct moves *ms = list_entry(job, struct moves, turn);
    bool is_left = false;
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->turns > 1)
            mesh_look_everywhere(ms->vms->env.mesh);
        if (mv->turns > 1 || (mv->turns == 1 && tell_end(mv) != SD_EBUSY))
            mv->turns--;
        is_left |= mv->turns > 0;
    }
    if (is_left)
        loop_defer(ms->vms->env.loop, job);
}

void move_tell_end(struct move *mv)
{
    struct moves *ms = mv->moves;

    mv->turns = END_TURNS;
    loop_defer(ms->vms->env.loop, &ms->turn);
}
