/* move_follow.c - see move.h; here: what comes for conns that have moved.
 *
 * A conn's member stays behind, visited as before, until its new worker has
 * surely heard for it.  Of the publishes of one process that worker was up to a
 * certain one when the conn came; those before it are sent after the conn, the
 * others it hears itself.  And the other way round: what was heard here and
 * not yet there is passed over there. */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/mesh.h"
#include "net/conn.h"
#include "net/net.h"
#include "vm/deliver.h"
#include "vm/letter.h"
#include "vm/move_state.h"
#include "vm/reach.h"
#include "vm/undelivered.h"

enum {
    BYTES_MAX = 16 << 20 /* that follow conns on their way */
};

static const struct slice nobody = {"", 0};

/* --- sending after -------------------------------------------------------- */

static void send_close(const struct move *mv, struct slice reason)
{
    struct msg_conn to = {mv->id};
    struct slice v[3] = {{NULL, 0}, {(const char *)&to, sizeof(to)}, reason};
    int rc = letter_send(mv->moves->vms, mv->slot, MSG_CLOSE_CONN, v, 3);

    if (rc < 0 && rc != SD_EGONE)
        log_warn("a close did not follow its conn: %s", err_str(rc));
}

void move_lost(struct vms *all, struct slice uid, int err, struct slice value)
{
    people_count_lost(all->people, err);
    undelivered_tell_one(reach_undelivered(all->reach), uid, err, value);
}

/* A value for its uid: only while it has that binding. */
static void send_after(const struct move *mv, enum follow_kind kind,
                       const struct deliver *d, bool tells)
{
    struct vms *all = mv->moves->vms;
    bool is_uid = kind == FOLLOW_UID;
    struct slice uid = is_uid ? buf_slice(&mv->member->parted_uid) : nobody;
    struct msg_follow m = {.conn = mv->id,
                           .number = is_uid ? mv->number : 0,
                           .key = d->key,
                           .uid_len = (uint32_t)uid.len,
                           .is_volatile = d->is_volatile,
                           .tells = tells};
    struct slice v[4] = {
        {NULL, 0}, {(const char *)&m, sizeof(m)}, uid, d->value};
    int rc = letter_send(all, mv->slot, MSG_FOLLOW, v, 4);

    if (rc < 0)
        move_lost(all, tells ? uid : nobody,
                  rc == SD_EGONE ? SD_EGONE : SD_EBUSY, d->value);
    if (rc < 0 && rc != SD_EGONE)
        log_warn("a message did not follow its conn: %s", err_str(rc));
}

/* Keep a value for a conn on its way. */
static int keep(struct move *mv, const struct deliver *d, enum follow_kind kind,
                bool tells)
{
    struct moves *ms = mv->moves;
    struct follow *f;

    if (ms->bytes + d->value.len > BYTES_MAX) {
        people_count_lost(ms->vms->people, SD_EBUSY);
        return SD_EBUSY;
    }
    f = mem_zalloc(sizeof(*f));
    f->kind = kind;
    f->tells = tells;
    f->is_volatile = d->is_volatile;
    f->key = d->key;
    f->id = ms->now;
    buf_append(&f->value, d->value.p, d->value.len);
    ms->bytes += f->value.len;
    list_add(&mv->follows, &f->link);
    return 0;
}

static void drop(struct move *mv, struct follow *f)
{
    mv->moves->bytes -= f->value.len;
    list_del(&f->link);
    buf_fini(&f->value);
    mem_free(f);
}

void move_drop_follows(struct move *mv)
{
    while (!list_empty(&mv->follows))
        drop(mv, list_entry(mv->follows.next, struct follow, link));
}

/* Is it for us to send after, now that the conn has arrived?  Its new worker's
 * own publishes come by the ring that its answer came by: those behind the
 * answer are later.  Ours reach it behind the conn. */
static bool is_ours(const struct move *mv, const struct heard_id *id)
{
    return heard_has(mv->heard, id);
}

void move_follow(struct move *mv)
{
    struct list *it;

    list_each (it, &mv->follows) {
        const struct follow *f = list_entry(it, struct follow, link);
        struct deliver d = {.value = buf_slice(&f->value),
                            .key = f->key,
                            .is_volatile = f->is_volatile};

        if (f->kind != FOLLOW_PUBLISH || is_ours(mv, &f->id))
            send_after(mv, f->kind, &d, f->tells);
    }
    move_drop_follows(mv);
    mv->heard[mv->slot] = mv->heard[mv->moves->vms->env.slot] = 0;
    move_hush(mv);
    if (mv->close.len > 0)
        send_close(mv, buf_slice(&mv->close));
}

void move_hush(struct move *mv)
{
    const struct moves *ms = mv->moves;
    struct people *p = ms->vms->people;
    unsigned i;

    for (i = 0; i < ms->nslots; i++) {
        if (mv->heard[i] > ms->heard.at[i])
            return;
    }
    memset(mv->heard, 0, sizeof(mv->heard));
    topics_drop(p->topics, &mv->member->topics);
    people_drop_groups(p, mv->member);
}

static void follow_home(const struct move *mv, const struct follow *f,
                        struct conn *c)
{
    struct vm *vm = vms_now(mv->moves->vms);
    struct slice value = buf_slice(&f->value);
    struct deliver d;
    int rc;

    deliver_begin(&d, vm, vm->L, value);
    d.key = f->key;
    d.is_volatile = f->is_volatile;
    d.is_single = d.follows = true;
    d.tells = f->kind != FOLLOW_UID;
    rc = deliver_to(&d, c);
    deliver_end(&d);
    if (f->tells && move_is_told(rc, f->is_volatile))
        undelivered_tell_one(reach_undelivered(vm->all->reach),
                             buf_slice(&mv->member->parted_uid), rc, value);
}

void move_follow_home(struct move *mv, struct conn *c)
{
    struct vms *all = mv->moves->vms;
    struct slice uid = buf_slice(&mv->member->parted_uid);

    while (!list_empty(&mv->follows)) {
        struct follow *f = list_entry(mv->follows.next, struct follow, link);

        if (c != NULL)
            follow_home(mv, f, c);
        else
            move_lost(all, f->tells ? uid : nobody, SD_EGONE,
                      buf_slice(&f->value));
        drop(mv, f);
    }
    if (c != NULL && mv->close.len > 0) {
        buf_append(&mv->close, "", 1);
        vms_close_conn(all, c, buf_slice(&mv->close).p);
    }
}

/* --- publishes ------------------------------------------------------------ */

void moves_begin_publish(struct moves *ms, unsigned slot, uint16_t epoch,
                         uint64_t counter)
{
    ms->now = (struct heard_id){slot, heard_at(epoch, counter)};
}

void moves_end_publish(struct moves *ms)
{
    if (ms->now.at > ms->heard.at[ms->now.slot])
        ms->heard.at[ms->now.slot] = ms->now.at;
    ms->now = (struct heard_id){ms->vms->env.slot, 0};
}

bool moves_was_heard(const struct moves *ms, const struct member *m)
{
    return m->heard != NULL && heard_has(m->heard, &ms->now);
}

/* Our own reach its new worker behind the conn itself; should it come home,
 * they are wanted. */
void move_hear(struct move *mv, const struct deliver *d)
{
    if (mv->id == 0)
        (void)keep(mv, d, FOLLOW_PUBLISH, false);
    else if (is_ours(mv, &mv->moves->now))
        send_after(mv, FOLLOW_PUBLISH, d, false);
}

void moves_hear_all(struct moves *ms, const struct deliver *d)
{
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (!people_is_passed_over(ms->vms->people, mv->member) &&
            !moves_was_heard(ms, mv->member))
            move_hear(mv, d);
    }
}

/* --- sends ---------------------------------------------------------------- */

int moves_send(struct moves *ms, struct slice uid, const struct deliver *d,
               unsigned told, bool tells)
{
    int rc = SD_EGONE, one = 0;
    struct list *it;

    /* To several workers: who sends counts who has missed it. */
    tells = tells && (told & REACH_ONLY) != 0;
    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (!slice_eq(buf_slice(&mv->member->parted_uid), uid) ||
            reach_may_be_told(told, mv->slot))
            continue;
        one = 0;
        if (mv->id == 0)
            one = keep(mv, d, FOLLOW_UID, tells);
        else
            send_after(mv, FOLLOW_UID, d, tells);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

void moves_outdate(struct moves *ms, uint64_t number)
{
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->id != 0 && mv->number == number)
            buf_truncate(&mv->member->parted_uid, 0);
    }
}

static struct move *find(struct moves *ms, uint64_t id)
{
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->place.id == id)
            return mv;
    }
    return NULL;
}

bool moves_send_to(struct moves *ms, uint64_t id, struct slice value)
{
    struct move *mv = find(ms, id);
    struct deliver d = {.value = value};

    if (mv == NULL)
        return false;
    if (mv->id == 0)
        (void)keep(mv, &d, FOLLOW_CONN, false);
    else
        send_after(mv, FOLLOW_CONN, &d, false);
    return true;
}

/* It may have moved on from here. */
static int follow_on(struct moves *ms, const struct msg_follow *m,
                     struct slice value)
{
    enum follow_kind kind = m->number != 0 ? FOLLOW_UID : FOLLOW_CONN;
    struct move *mv = find(ms, m->conn);
    struct deliver d = {
        .value = value, .key = m->key, .is_volatile = m->is_volatile != 0};

    if (mv == NULL ||
        (kind == FOLLOW_UID &&
         (mv->number != m->number || mv->member->parted_uid.len == 0))) {
        people_count_lost(ms->vms->people, SD_EGONE);
        return SD_EGONE;
    }
    if (mv->id == 0)
        return keep(mv, &d, kind, m->tells != 0);
    send_after(mv, kind, &d, m->tells != 0);
    return 0;
}

/* Is it for this conn? */
static bool is_for(const struct msg_follow *m, const struct conn *c)
{
    const struct member *member = people_find(c);

    return m->number == 0 ||
           (member != NULL && uids_is_bound(&member->binding) &&
            member->number == m->number);
}

static int follow_to(struct vm *vm, const struct msg_follow *m,
                     struct slice value)
{
    struct conn *c = net_find(vm->env.net, m->conn);
    struct deliver d;
    int rc;

    if (c == NULL || !is_for(m, c))
        return follow_on(vm->all->moves, m, value);
    deliver_begin(&d, vm, vm->L, value);
    d.key = m->key;
    d.is_volatile = m->is_volatile != 0;
    d.is_single = d.follows = true;
    d.tells = m->number == 0;
    rc = deliver_to(&d, c);
    deliver_end(&d);
    return rc;
}

static bool read_follow(struct msg_follow *m, struct slice *uid,
                        struct slice *value, struct slice body)
{
    if (body.len < sizeof(*m))
        return false;
    memcpy(m, body.p, sizeof(*m));
    body = slice_skip(body, sizeof(*m));
    if (m->uid_len > body.len)
        return false;
    *uid = slice_make(body.p, m->uid_len);
    *value = slice_skip(body, m->uid_len);
    return true;
}

void moves_take_follow(struct vm *vm, struct slice body)
{
    struct slice uid, value;
    struct msg_follow m;
    int rc;

    if (!read_follow(&m, &uid, &value, body) || vm->env.net == NULL)
        return;
    rc = follow_to(vm, &m, value);
    if (m.tells != 0 && move_is_told(rc, m.is_volatile != 0))
        undelivered_tell_one(reach_undelivered(vm->all->reach), uid, rc, value);
}

void moves_lose_follow(struct vm *vm, struct slice body, int err)
{
    struct slice uid, value;
    struct msg_follow m;

    if (read_follow(&m, &uid, &value, body))
        move_lost(vm->all, m.tells != 0 ? uid : nobody, err, value);
}

/* --- closes --------------------------------------------------------------- */

static void close_there(struct move *mv, struct slice reason)
{
    if (mv->close.len == 0)
        buf_append(&mv->close, reason.p, reason.len);
}

bool moves_close(struct moves *ms, uint64_t id, struct slice reason)
{
    struct move *mv = find(ms, id);

    if (mv == NULL)
        return false;
    if (mv->id != 0)
        send_close(mv, reason);
    else
        close_there(mv, reason);
    return true;
}

void moves_kick(struct moves *ms, uint64_t id, uint64_t number,
                struct slice reason)
{
    struct move *mv = find(ms, id);
    struct msg_conn_number who = {0, number};
    struct slice v[3] = {{NULL, 0}, {(const char *)&who, sizeof(who)}, reason};

    if (mv == NULL || mv->number != number)
        return;
    if (mv->id == 0) {
        close_there(mv, reason);
        return;
    }
    who.conn = mv->id;
    if (letter_send(ms->vms, mv->slot, MSG_KICK, v, 3) == SD_EBUSY)
        log_warn("a kick did not follow its conn");
}

unsigned moves_count(struct moves *ms, struct slice uid, const char *reason)
{
    unsigned n = 0;
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->id != 0 || mv->number == 0 ||
            !slice_eq(buf_slice(&mv->member->parted_uid), uid))
            continue;
        if (reason != NULL)
            close_there(mv, slice_str(reason));
        n++;
    }
    return n;
}
