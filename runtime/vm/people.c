/* people.c - see people.h.
 *
 * The end of a binding is an event for the application.  It is told later, at
 * the end of the turn, because it may come in the middle of anything: inside
 * another conn's bind, or while the net layer closes. */
#include "vm/people.h"

#include "base/assert.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "vm/move.h"
#include "vm/rivals.h"
#include "vm/state.h"

#define PEOPLE_MAGIC 0x9e0b1e01u

void people_count_lost(struct people *p, int err)
{
    p->counters.accepted++;
    if (err == SD_EBUSY)
        p->counters.busy++;
    else
        p->counters.gone++;
}

struct people *people_new(void)
{
    struct people *p = mem_zalloc(sizeof(*p));

    p->magic = PEOPLE_MAGIC;
    p->uids = uids_new();
    p->topics = topics_new();
    p->groups = topics_new();
    p->hash_key = hash_key_random();
    list_init(&p->members);
    list_init(&p->ends);
    list_init(&p->kicked);
    list_init(&p->parted);
    return p;
}

static void free_member(struct member *m)
{
    list_del(&m->binding.link);
    list_del(&m->link);
    asks_drop(m);
    mem_free(m->reason);
    mem_free(m->heard);
    move_wait_free(&m->wait);
    buf_fini(&m->parted_uid);
    mem_free(m);
}

void people_free(struct people **pp)
{
    struct people *p = *pp;
    struct people_end *end;

    sd_check(p, PEOPLE_MAGIC);
    while ((end = people_take_end(p)) != NULL)
        people_drop_end(end);
    while (!list_empty(&p->members)) {
        struct member *m = list_entry(p->members.next, struct member, link);

        uids_unbind(p->uids, &m->binding);
        topics_drop(p->topics, &m->topics);
        topics_drop(p->groups, &m->groups);
        free_member(m);
    }
    uids_free(&p->uids);
    topics_free(&p->topics);
    topics_free(&p->groups);
    p->magic = 0;
    mem_free(p);
    *pp = NULL;
}

struct member *people_find(const struct conn *c)
{
    return conn_user(c);
}

struct member *people_add(struct people *p, struct conn *c)
{
    struct member *m = people_find(c);

    if (m != NULL)
        return m;
    m = mem_zalloc(sizeof(*m));
    m->conn = c;
    m->id = conn_id(c);
    list_init(&m->binding.link);
    list_init(&m->asks);
    list_add(&p->members, &m->link);
    conn_set_user(c, m);
    return m;
}

static void settle(struct people *p, uint32_t debt)
{
    if (debt != 0)
        uidmap_settle(p->map, debt);
}

static void add_end(struct people *p, struct slice uid, uint64_t conn,
                    bool last, const char *reason, uint32_t debt)
{
    struct slice why = slice_str(reason);
    struct people_end *end;
    char *text;

    if (p->on_end == NULL) {
        settle(p, debt);
        return;
    }
    end = mem_alloc(sizeof(*end) + uid.len + why.len);
    text = (char *)(end + 1);
    memcpy(text, uid.p, uid.len);
    memcpy(text + uid.len, why.p, why.len);
    end->uid = slice_make(text, uid.len);
    end->reason = slice_make(text + uid.len, why.len);
    end->conn = conn;
    end->last = last;
    list_add(&p->ends, &end->link);
    if (!p->on_end(p->arg, debt)) {
        list_del(&end->link);
        people_drop_end(end);
        settle(p, debt);
    }
}

void people_drop_end(struct people_end *end)
{
    mem_free(end);
}

struct people_end *people_take_end(struct people *p)
{
    struct people_end *end;

    if (list_empty(&p->ends))
        return NULL;
    end = list_entry(p->ends.next, struct people_end, link);
    list_del(&end->link);
    return end;
}

/* In the map of the node, where it may have ended before (rivals_bind()). */
static uint32_t end_in_map(struct people *p, struct member *m, struct slice uid,
                           bool *last)
{
    uint32_t debt = m->debt;

    if (!m->has_ended)
        return uidmap_end(p->map, uid, m->id, last);
    *last = m->was_last;
    m->has_ended = false;
    m->debt = 0;
    return debt;
}

static void tell_left(struct people *p, const struct member *m,
                      struct slice uid)
{
    if (p->on_left != NULL)
        p->on_left(p->arg, uid, m->id, m->number);
}

static void end_binding(struct people *p, struct member *m, const char *reason)
{
    char name[UIDS_LENGTH];
    uint32_t debt = 0;
    struct slice uid;
    bool last;

    if (!uids_is_bound(&m->binding))
        return;
    uid = uids_name(&m->binding);
    memcpy(name, uid.p, uid.len);
    last = uids_unbind(p->uids, &m->binding);
    if (p->map != NULL) {
        bool of_node = false;

        debt = end_in_map(p, m, slice_make(name, uid.len), &of_node);
        last = last &&
               (of_node || move_is_last(m, p->map, slice_make(name, uid.len)));
    }
    last = last && !m->is_elsewhere;
    m->is_elsewhere = false;
    people_drop_groups(p, m);
    tell_left(p, m, slice_make(name, uid.len));
    add_end(p, slice_make(name, uid.len), m->id, last, reason, debt);
}

/* It has lost its uid and is to be closed. */
static void put_out(struct people *p, struct member *m)
{
    topics_drop(p->groups, &m->groups);
    m->is_leaving = true;
    list_del(&m->binding.link);
    list_add(&p->kicked, &m->binding.link);
}

void people_tell_end(struct people *p, struct slice uid, uint64_t conn,
                     bool last, const char *reason)
{
    add_end(p, uid, conn, last, reason, 0);
}

int people_bind(struct people *p, struct member *m, struct slice uid,
                enum uids_policy policy)
{
    struct list kicked, *it, *next;

    sd_check(p, PEOPLE_MAGIC);
    if (policy == UIDS_REFUSE && uids_is_taken(p->uids, &m->binding, uid))
        return SD_EREFUSED;
    if (p->map != NULL) {
        int rc = rivals_bind(p, m, uid, policy);

        if (rc < 0)
            return rc;
    }
    if (uids_is_bound(&m->binding) && !slice_eq(uids_name(&m->binding), uid))
        end_binding(p, m, "unbound");
    list_init(&kicked);
    sd_assert(uids_bind(p->uids, &m->binding, uid, policy, &kicked) == 0);
    conn_set_uid(m->conn, uid);
    list_each_safe (it, next, &kicked) {
        struct member *old = list_entry(it, struct member, binding.link);
        uint32_t debt = 0;
        bool last;

        if (p->map != NULL)
            debt = end_in_map(p, old, uid, &last);
        put_out(p, old);
        tell_left(p, old, uid);
        add_end(p, uid, old->id, false, "replaced", debt);
    }
    if (p->map != NULL && policy == UIDS_KICK && rivals_kick(p, m, uid)) {
        end_binding(p, m, "replaced");
        put_out(p, m);
    }
    return 0;
}

unsigned people_kick(struct people *p, struct slice uid, const char *reason)
{
    struct uids_binding *b;
    unsigned n = 0;

    while ((b = uids_first(p->uids, uid)) != NULL) {
        struct member *m = list_entry(b, struct member, binding);

        end_binding(p, m, reason);
        put_out(p, m);
        n++;
    }
    return n;
}

struct member *people_next_kicked(struct people *p)
{
    struct member *m;

    if (list_empty(&p->kicked))
        return NULL;
    m = list_entry(p->kicked.next, struct member, binding.link);
    list_del(&m->binding.link);
    return m;
}

void people_unbind(struct people *p, struct member *m)
{
    end_binding(p, m, "unbound");
    conn_set_uid(m->conn, slice_make(NULL, 0));
}

void people_leave(struct people *p, struct member *m, const char *reason)
{
    sd_check(p, PEOPLE_MAGIC);
    move_lose_waiting(m);
    end_binding(p, m, reason);
    topics_drop(p->topics, &m->topics);
}

void people_remove(struct people *p, struct member *m, struct conn *c)
{
    people_leave(p, m, "closed");
    if (c != NULL)
        conn_set_user(c, NULL);
    free_member(m);
}

int people_subscribe(struct people *p, struct member *m, struct slice filter)
{
    unsigned max = conn_conf(m->conn)->max_subscriptions;

    if (max > 0 && m->topics.count >= max &&
        !topics_has(p->topics, &m->topics, filter))
        return SD_ETOOLARGE;
    topics_subscribe(p->topics, &m->topics, filter);
    return 0;
}

int people_subscribe_uid(struct people *p, struct slice uid,
                         struct slice filter)
{
    struct uids_binding *b = uids_first(p->uids, uid);
    int rc = b != NULL ? 0 : SD_EGONE, one;

    for (; b != NULL; b = uids_next(b)) {
        one =
            people_subscribe(p, list_entry(b, struct member, binding), filter);
        rc = one < 0 ? one : rc;
    }
    return rc;
}

int people_unsubscribe_uid(struct people *p, struct slice uid,
                           struct slice filter)
{
    struct uids_binding *b = uids_first(p->uids, uid);
    int rc = b != NULL ? 0 : SD_EGONE;

    for (; b != NULL; b = uids_next(b)) {
        struct member *m = list_entry(b, struct member, binding);

        topics_unsubscribe(p->topics, &m->topics, filter);
    }
    return rc;
}

void people_begin_fanout(struct people *p)
{
    p->fanouts++;
}

void people_pass_over(struct people *p, struct slice uid)
{
    struct uids_binding *b = uids_first(p->uids, uid);

    for (; b != NULL; b = uids_next(b))
        list_entry(b, struct member, binding)->passed_over = p->fanouts;
    people_pass_over_parted(p, uid);
}

bool people_is_passed_over(const struct people *p, const struct member *m)
{
    return m->passed_over == p->fanouts;
}
