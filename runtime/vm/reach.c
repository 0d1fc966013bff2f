/* reach.c - see reach.h.
 *
 * A send is all or nothing: room is looked for in every ring first, so that
 * "busy" means that nobody got it.
 *
 * A uid travels with a byte that says whether we sent for it to one worker
 * only, and as far as a byte can to which (for vm/move.h): if to one, that
 * worker reports when none of its conns takes it.  With several, us among them,
 * each tells us when it misses, and we report when all of them have
 * (vm/misses.h). */
#include "vm/reach.h"

#include <lauxlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "vm/deliver.h"
#include "vm/letter.h"
#include "vm/misses.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/task_state.h"
#include "vm/uidlist.h"
#include "vm/undelivered.h"

enum {
    LIST_KEEP = 4096,   /* larger lists of uids are given back */
    LATE_MAX = 16 << 20 /* bytes of misses that wait for room */
};

/* The uids that one worker is told of. */
struct uid_list {
    struct buf text; /* with 1: no other worker is told of it */
    bool is_used;
};

struct reach {
    struct vms *all;
    unsigned n; /* slots */
    struct uid_list *to;
    unsigned *used; /* slots of the lists in use */
    unsigned nused;
    unsigned *found; /* of one uid */
    unsigned nfound;
    uint64_t send; /* counts them */
    struct misses misses;
    struct undelivered undelivered;
    struct list late; /* misses to be told, of ... */
    size_t late_bytes;
};

/* For its sender, when there is room. */
struct late_miss {
    struct list link;
    unsigned slot;
    uint16_t epoch;
    struct msg_missed head;
    struct buf uids, value;
};

struct reach *reach_new(struct vms *all)
{
    struct reach *r = mem_zalloc(sizeof(*r));

    r->all = all;
    if (all->env.mesh != NULL)
        r->n = slots_count(mesh_slots(all->env.mesh));
    r->to = mem_zalloc((r->n + 1) * sizeof(*r->to));
    r->used = mem_zalloc((r->n + 1) * sizeof(*r->used));
    r->found = mem_zalloc((r->n + 1) * sizeof(*r->found));
    misses_init(&r->misses);
    list_init(&r->late);
    undelivered_init(&r->undelivered, all);
    return r;
}

static void drop_miss(struct reach *r, struct late_miss *l)
{
    r->late_bytes -= l->uids.len + l->value.len;
    list_del(&l->link);
    buf_fini(&l->uids);
    buf_fini(&l->value);
    mem_free(l);
}

void reach_free(struct reach **rp)
{
    struct reach *r = *rp;

    while (!list_empty(&r->late))
        drop_miss(r, list_entry(r->late.next, struct late_miss, link));
    misses_fini(&r->misses);
    undelivered_fini(&r->undelivered);
    for (unsigned i = 0; i < r->n; i++)
        buf_fini(&r->to[i].text);
    mem_free(r->to);
    mem_free(r->used);
    mem_free(r->found);
    mem_free(r);
    *rp = NULL;
}

struct undelivered *reach_undelivered(struct reach *r)
{
    return &r->undelivered;
}

void reach_dropped(struct reach *r, struct slice uid, struct slice value)
{
    undelivered_tell_one(&r->undelivered, uid, SD_ESLOW, value);
}

/* --- sends ---------------------------------------------------------------- */

void reach_begin(struct reach *r, uint32_t uids)
{
    r->send++;
    misses_reserve(&r->misses, uids);
    for (unsigned i = 0; i < r->nused; i++) {
        struct uid_list *to = &r->to[r->used[i]];

        to->is_used = false;
        if (to->text.cap > LIST_KEEP)
            buf_fini(&to->text);
        else
            buf_truncate(&to->text, 0);
    }
    r->nused = 0;
}

static bool on_found(void *arg, const struct uidmap_binding *b)
{
    struct reach *r = arg;

    for (unsigned i = 0; i < r->nfound; i++) {
        if (r->found[i] == b->slot)
            return true;
    }
    if (b->slot < r->n)
        r->found[r->nfound++] = b->slot;
    return true;
}

unsigned reach_told(const struct reach *r)
{
    unsigned told = r->nfound == 1 ? REACH_ONLY : 0;

    for (unsigned i = 0; i < r->nfound; i++)
        told |= 2u << r->found[i] % REACH_BITS;
    return told;
}

bool reach_add(struct reach *r, struct slice uid)
{
    bool is_far = false;

    r->nfound = 0;
    if (r->all->env.uids != NULL)
        uidmap_find(r->all->env.uids, uid, on_found, r);
    for (unsigned i = 0; i < r->nfound; i++) {
        struct uid_list *to = &r->to[r->found[i]];

        if (r->found[i] == r->all->env.slot)
            continue;
        if (!to->is_used)
            r->used[r->nused++] = r->found[i];
        to->is_used = is_far = true;
        uidlist_add(&to->text, uid, reach_told(r));
    }
    if (r->nfound > 1)
        misses_expect(&r->misses, r->send, uid, r->nfound);
    return is_far;
}

bool reach_is_here(const struct reach *r)
{
    for (unsigned i = 0; i < r->nfound; i++) {
        if (r->found[i] == r->all->env.slot)
            return true;
    }
    return false;
}

bool reach_missed_here(struct reach *r, struct slice uid)
{
    return misses_note(&r->misses, r->send, uid);
}

static int find_room(const struct reach *r, size_t len)
{
    for (unsigned i = 0; i < r->nused; i++) {
        size_t all = WIRE_HEAD + len + r->to[r->used[i]].text.len;

        if (all > WIRE_HEAD + WIRE_BODY_MAX)
            return SD_ETOOLARGE;
        /* Gone: it was filled anew since the mesh has looked. */
        if (mesh_room(r->all->env.mesh, r->used[i], all) < 0)
            return SD_EBUSY;
    }
    return 0;
}

/* 0 when one of its conns took it. */
static int send_here(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->all->people->uids, uid);
    int rc = SD_EGONE, one;

    for (; b != NULL; b = uids_next(b)) {
        one = deliver_to(d, list_entry(b, struct member, binding)->conn);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

/* The list in use, for one slot. */
static int send_list(struct reach *r, const struct deliver *d, unsigned slot)
{
    struct slice uids = buf_slice(&r->to[slot].text);
    struct msg_uids m = {(uint32_t)uids.len, d->is_volatile, d->key, r->send};
    struct slice v[4] = {
        {NULL, 0}, {(const char *)&m, sizeof(m)}, uids, d->value};

    return letter_send(r->all, slot, MSG_SEND_UIDS, v, 4);
}

/* Nobody reads this list of a send of ours.  Where the uids are by now does not
 * matter: what was sent to them later may be there already, and order is
 * kept. */
static void tell_lost(struct reach *r, const struct msg_uids *m,
                      struct slice list, struct slice value, int rc)
{
    struct buf lost = {0};
    struct slice uid;
    unsigned told;

    while (uidlist_next(&list, &uid, &told)) {
        people_count_lost(r->all->people, rc);
        if ((told & REACH_ONLY) != 0 || misses_note(&r->misses, m->send, uid))
            undelivered_add(&lost, uid, rc);
    }
    undelivered_tell(&r->undelivered, buf_slice(&lost), value);
    buf_fini(&lost);
}

/* To one worker: it has room, or nobody was told. */
static int send_alone(struct reach *r, const struct deliver *d)
{
    int rc = send_list(r, d, r->used[0]);

    return rc == SD_EGONE ? SD_EBUSY : rc;
}

int reach_send(struct reach *r, const struct deliver *d)
{
    int rc;

    if (r->nused == 1)
        return send_alone(r, d);
    rc = find_room(r, sizeof(struct msg_uids) + d->value.len);

    for (unsigned i = 0; i < r->nused && rc == 0; i++) {
        struct msg_uids m = {.send = r->send};
        int one = send_list(r, d, r->used[i]);

        if (one < 0)
            tell_lost(r, &m, buf_slice(&r->to[r->used[i]].text), d->value,
                      one == SD_EGONE ? SD_EOFFLINE : one);
    }
    return rc;
}

static bool open_uids(struct slice body, struct msg_uids *m, struct slice *uids,
                      struct slice *value)
{
    if (body.len < sizeof(*m))
        return false;
    memcpy(m, body.p, sizeof(*m));
    body = slice_skip(body, sizeof(*m));
    if (m->uids_len > body.len)
        return false;
    *uids = slice_make(body.p, m->uids_len);
    *value = slice_skip(body, m->uids_len);
    return true;
}

/* --- misses --------------------------------------------------------------- */

static int send_miss(struct reach *r, struct late_miss *l)
{
    struct slots *slots = mesh_slots(r->all->env.mesh);
    struct slice v[4] = {{NULL, 0},
                         {(const char *)&l->head, sizeof(l->head)},
                         buf_slice(&l->uids),
                         buf_slice(&l->value)};

    if (slots_epoch(slots, l->slot) != l->epoch)
        return SD_EGONE; /* who asked is no more */
    return letter_send(r->all, l->slot, MSG_MISSED, v, 4);
}

/* To whom `m` came from: `uids` were missed here. */
static void tell_missed(struct reach *r, const struct mesh_msg *from,
                        uint64_t send, struct slice uids, struct slice value)
{
    struct late_miss *l;

    if (uids.len == 0 || from->dead)
        return;
    if (r->late_bytes + uids.len + value.len > LATE_MAX) {
        log_warn("on_undeliverable is not told of all: senders do not read");
        return;
    }
    l = mem_zalloc(sizeof(*l));
    l->slot = from->from;
    l->epoch = from->epoch;
    l->head = (struct msg_missed){send, (uint32_t)uids.len, 0};
    buf_append(&l->uids, uids.p, uids.len);
    buf_append(&l->value, value.p, value.len);
    r->late_bytes += uids.len + value.len;
    list_add(&r->late, &l->link);
}

void reach_turn(struct reach *r)
{
    struct list *it, *next;

    list_each_safe (it, next, &r->late) {
        struct late_miss *l = list_entry(it, struct late_miss, link);

        if (send_miss(r, l) != SD_EBUSY)
            drop_miss(r, l);
    }
}

void reach_take_missed(struct reach *r, struct slice body)
{
    struct slice uids, value, uid;
    struct buf lost = {0};
    struct msg_missed m;
    unsigned why;

    if (body.len < sizeof(m))
        return;
    memcpy(&m, body.p, sizeof(m));
    body = slice_skip(body, sizeof(m));
    if (m.uids_len > body.len)
        return;
    uids = slice_make(body.p, m.uids_len);
    value = slice_skip(body, m.uids_len);
    while (uidlist_next(&uids, &uid, &why)) {
        if (misses_note(&r->misses, m.send, uid))
            uidlist_add(&lost, uid, why);
    }
    undelivered_tell(&r->undelivered, buf_slice(&lost), value);
    buf_fini(&lost);
}

/* --- what comes from others ----------------------------------------------- */

/* Frees both lists: `lost` were sent for to us only. */
static void tell_misses(struct reach *r, const struct mesh_msg *from,
                        uint64_t send, struct buf *lost, struct buf *missed,
                        struct slice value)
{
    undelivered_tell(&r->undelivered, buf_slice(lost), value);
    tell_missed(r, from, send, buf_slice(missed), value);
    buf_fini(lost);
    buf_fini(missed);
}

void reach_take_send(struct reach *r, const struct mesh_msg *from,
                     struct slice body)
{
    struct buf lost = {0}, missed = {0};
    struct slice uids, value, uid;
    struct msg_uids m;
    struct deliver d;
    unsigned told;

    if (!open_uids(body, &m, &uids, &value))
        return;
    deliver_begin(&d, vms_now(r->all), vms_now(r->all)->L, value);
    d.is_volatile = m.is_volatile != 0;
    d.key = m.key;
    d.is_single = uids.len <= 2 + UIDMAP_UID; /* at least nearly */
    while (uidlist_next(&uids, &uid, &told)) {
        int rc = send_here(&d, uid);

        if (moves_send(r->all->moves, uid, &d, told, rc < 0) == 0)
            rc = 0;
        if (rc < 0 && !(rc == SD_ESLOW && d.is_volatile))
            undelivered_add((told & REACH_ONLY) != 0 ? &lost : &missed, uid,
                            rc);
    }
    deliver_end(&d);
    tell_misses(r, from, m.send, &lost, &missed, value);
}

void reach_take_unread(struct reach *r, const struct mesh_msg *from,
                       struct slice body)
{
    struct buf lost = {0}, missed = {0};
    struct slice uids, value, uid;
    struct msg_uids m;
    unsigned told;

    if (!open_uids(body, &m, &uids, &value)) {
        log_warn("a send to uids is lost with its list: %s",
                 err_str(from->err));
        return;
    }
    while (uidlist_next(&uids, &uid, &told)) {
        people_count_lost(r->all->people, from->err);
        undelivered_add((told & REACH_ONLY) != 0 ? &lost : &missed, uid,
                        from->err);
    }
    tell_misses(r, from, m.send, &lost, &missed, value);
}

void reach_on_back(struct reach *r, struct slice body)
{
    struct slice uids, value;
    struct msg_uids m;

    if (open_uids(body, &m, &uids, &value))
        tell_lost(r, &m, uids, value, SD_EOFFLINE);
}
