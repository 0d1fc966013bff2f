/* kick.c - see kick.h.
 *
 * A kick may not get lost, because two conns would keep one uid; so it waits
 * when a ring is full.  It names the conn and the number of its binding: who
 * has bound the conn anew since does not mean this kick. */
#include "vm/kick.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/net.h"
#include "net/reason.h"
#include "vm/letter.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/state.h"

struct kick {
    struct list link;
    unsigned slot;
    uint16_t epoch;
    struct msg_conn_number who;
    char reason[REASON_TEXT + 1];
};

void kicks_init(struct kicks *ks, struct vms *all)
{
    ks->all = all;
    list_init(&ks->late);
}

void kicks_fini(struct kicks *ks)
{
    while (!list_empty(&ks->late)) {
        struct kick *k = list_entry(ks->late.next, struct kick, link);

        list_del(&k->link);
        mem_free(k);
    }
}

/* False: not now.  A process whose predecessor's death the mesh has still to
 * tell us of cannot be reached yet either. */
static bool send_one(struct vms *all, struct kick *k)
{
    const struct slots *slots = mesh_slots(all->env.mesh);
    struct slice v[3] = {{NULL, 0},
                         {(const char *)&k->who, sizeof(k->who)},
                         slice_str(k->reason)};
    int rc = letter_send(all, k->slot, MSG_KICK, v, 3);

    return rc != SD_EBUSY &&
           (rc != SD_EGONE || !slots_is_alive(slots, k->slot, k->epoch));
}

/* Does the same one wait already?  Each names one binding, so their order is
 * of no account. */
static bool is_late(const struct kicks *ks, const struct kick *kick)
{
    struct list *it;

    list_each (it, &ks->late) {
        const struct kick *k = list_entry(it, struct kick, link);

        if (k->slot == kick->slot && k->epoch == kick->epoch &&
            k->who.conn == kick->who.conn && k->who.number == kick->who.number)
            return true;
    }
    return false;
}

void kicks_send(struct kicks *ks, const struct uidmap_binding *b,
                const char *reason)
{
    struct kick kick = {
        .slot = b->slot, .epoch = b->epoch, .who = {b->conn, b->number}};
    struct slice text = reason_fit(slice_str(reason));
    struct kick *late;

    memcpy(kick.reason, text.p, text.len);
    if (is_late(ks, &kick) || send_one(ks->all, &kick))
        return;
    late = mem_alloc(sizeof(*late));
    *late = kick;
    list_add(&ks->late, &late->link);
}

struct kick_all {
    struct kicks *kicks;
    const char *reason;
    unsigned n;
};

static bool on_kick(void *arg, const struct uidmap_binding *b)
{
    struct kick_all *k = arg;

    if (b->slot != k->kicks->all->env.slot) {
        kicks_send(k->kicks, b, k->reason);
        k->n++;
    }
    return true;
}

unsigned kicks_uid(struct kicks *ks, struct slice uid, const char *reason)
{
    struct kick_all k = {ks, reason, 0};

    if (ks->all->env.uids != NULL)
        uidmap_find(ks->all->env.uids, uid, on_kick, &k);
    return k.n;
}

void kicks_turn(struct kicks *ks)
{
    unsigned full = SLOTS_MAX; /* the last that had no room */
    struct list *it, *next;

    list_each_safe (it, next, &ks->late) {
        struct kick *k = list_entry(it, struct kick, link);

        if (k->slot == full)
            continue;
        if (!send_one(ks->all, k)) {
            full = k->slot;
            continue;
        }
        list_del(&k->link);
        mem_free(k);
    }
}

void kicks_take(struct kicks *ks, struct slice body)
{
    char reason[REASON_TEXT + 1] = "";
    const struct member *m = NULL;
    struct msg_conn_number who;
    struct conn *c = NULL;

    if (body.len < sizeof(who) || ks->all->env.net == NULL)
        return;
    memcpy(&who, body.p, sizeof(who));
    body = slice_skip(body, sizeof(who));
    memcpy(reason, body.p, body.len < REASON_TEXT ? body.len : REASON_TEXT);
    c = net_find(ks->all->env.net, who.conn);
    if (c != NULL)
        m = people_find(c);
    else
        moves_kick(ks->all->moves, who.conn, who.number, slice_str(reason));
    if (m == NULL || !uids_is_bound(&m->binding) || m->number != who.number)
        return;
    vms_close_conn(ks->all, c, reason);
}
