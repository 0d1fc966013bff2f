/* abroad.c - see abroad.h.
 *
 * cluster/outbox.h keeps what is sent until it is known what became of it; here
 * is kept what a hook is to be told then.  What comes is handed on as if
 * another worker of our node had sent it: its body is the same, little-endian
 * as on the wire.
 *
 * A task process has no links.  It gives what it sends to a worker of its node
 * (MSG_ABROAD), always the same one for a name, so that order is kept. */
#include "vm/abroad.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/uplink.h"
#include "ipc/linkboard.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/uids.h"
#include "vm/abroad_state.h"
#include "vm/deliver.h"
#include "vm/event.h"
#include "vm/letter.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/spread.h"
#include "vm/state.h"
#include "vm/task_state.h"
#include "vm/undelivered.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "bodies of messages are little-endian");

enum {
    ABROAD_MAGIC = 0x61627264,
    BOARD = 500 /* ms from one telling how the links are to the next */
};

/* A send to a uid whose hook is to be told when nobody took it. */
struct uid_send {
    struct pending pending; /* first */
    struct buf uid, value;
};

/* --- out ------------------------------------------------------------------ */

static struct wire_head head_of(struct vms *all, uint32_t type)
{
    const struct conf *conf = vms_now(all)->env.conf;

    return (struct wire_head){
        .boot = all->env.boot,
        .counter = ++all->tasks->counter,
        .life_ms = (uint32_t)conf->server.call_timeout,
        .type = (uint16_t)type,
        .epoch = (uint16_t)all->env.epoch,
        .slot = (uint8_t)all->env.slot,
    };
}

static int send(struct abroad *a, const struct outbox_to *to, uint32_t type,
                const struct slice *body, unsigned n, struct pending *p)
{
    struct wire_head h = head_of(a->all, type);

    return uplink_send(a->uplink, to, &h, body, n, (uint64_t)(uintptr_t)p);
}

static void drop_uid_send(struct abroad *a, struct pending *p)
{
    struct uid_send *s = (struct uid_send *)(void *)p;

    (void)a;
    list_del(&p->node);
    buf_fini(&s->uid);
    buf_fini(&s->value);
    mem_free(s);
}

static void end_uid_send(struct abroad *a, struct pending *p, int outcome)
{
    struct uid_send *s = (struct uid_send *)(void *)p;

    if (outcome != 0)
        undelivered_tell_one(reach_undelivered(a->all->reach),
                             buf_slice(&s->uid), outcome, buf_slice(&s->value));
    drop_uid_send(a, p);
}

static struct pending *add_uid_send(struct abroad *a, struct slice uid,
                                    struct slice value)
{
    struct uid_send *s = mem_zalloc(sizeof(*s));

    s->pending.done = end_uid_send;
    s->pending.drop = drop_uid_send;
    buf_append(&s->uid, uid.p, uid.len);
    buf_append(&s->value, value.p, value.len);
    list_add(&a->pending, &s->pending.node);
    return &s->pending;
}

static void on_settled(void *arg, uint64_t token, int outcome)
{
    struct abroad *a = arg;
    struct pending *p = (struct pending *)(uintptr_t)token;

    sd_check(a, ABROAD_MAGIC);
    if (outcome != 0)
        people_count_lost(a->all->people, outcome);
    if (p != NULL)
        p->done(a, p, outcome);
}

/* False: nobody can be in such a group. */
static bool aim(struct abroad *a, struct outbox_to *to, char *text,
                const struct spread *s)
{
    *to = (struct outbox_to){.type = FRAMES_PUBLISH, .name = s->name};
    switch (s->kind) {
    case SPREAD_TOPIC:
        to->kind = FRAMES_TOPIC;
        break;
    case SPREAD_GROUP:
        if (!people_group_topic(&to->name, text, s->name))
            return false;
        to->kind =
            abroad_is_changing(a, to->name) ? FRAMES_EVENT : FRAMES_GROUP;
        break;
    case SPREAD_ALL:
        to->kind = FRAMES_ALL;
        break;
    }
    return true;
}

int abroad_spread(struct abroad *a, const struct spread *s)
{
    struct msg_publish p = {.kind = s->kind,
                            .name_len = (uint32_t)s->name.len,
                            .except_len = (uint32_t)s->except.len,
                            .is_volatile = s->is_volatile,
                            .key = s->key};
    struct slice v[4] = {
        {(const char *)&p, sizeof(p)}, s->name, s->except, s->value};
    char text[PEOPLE_GROUP_TOPIC];
    struct outbox_to to;

    if (a == NULL || !aim(a, &to, text, s))
        return 0;
    return send(a, &to, MSG_PUBLISH, v, 4, NULL);
}

int abroad_group(struct abroad *a, uint32_t verb, struct slice group,
                 struct slice changes)
{
    struct msg_group m = {verb, (uint32_t)group.len};
    struct slice v[3] = {{(const char *)&m, sizeof(m)}, group, changes};
    struct outbox_to to = {.type = FRAMES_PUBLISH, .kind = FRAMES_EVENT};
    char text[PEOPLE_GROUP_TOPIC];
    struct pending *p = NULL;
    int rc;

    if (a == NULL || !people_group_topic(&to.name, text, group))
        return 0;
    if (verb == MSG_GROUP_ENTER)
        p = abroad_add_change(a, to.name);
    rc = send(a, &to, MSG_GROUP, v, 3, p);
    if (rc < 0 && p != NULL)
        p->drop(a, p);
    return rc;
}

int abroad_event(struct abroad *a, const struct slice *body, unsigned n)
{
    struct outbox_to to = {.type = FRAMES_PUBLISH, .kind = FRAMES_EVENT};
    char name[FRAMES_PLACE_SIZE]; /* order is kept among those of a name */
    struct place self;

    if (a == NULL)
        return 0;
    self = (struct place){a->all->env.boot, (uint16_t)a->all->env.epoch,
                          (uint8_t)a->all->env.slot};
    to.name = slice_make(name, frames_write_place(name, &self));
    return send(a, &to, MSG_EVENT, body, n, NULL);
}

int abroad_send_uid(struct abroad *a, const struct deliver *d, struct slice uid,
                    enum abroad_uid how)
{
    struct msg_uid_send m = {.key = d->key,
                             .is_volatile = d->is_volatile,
                             .is_done_there = how == ABROAD_TOO};
    struct slice v[2] = {{(const char *)&m, sizeof(m)}, d->value};
    struct outbox_to to = {.type = FRAMES_UID, .name = uid};
    struct pending *p = NULL;
    int rc;

    if (a == NULL)
        return SD_EOFFLINE;
    if (how == ABROAD_ALONE && !d->is_volatile)
        p = add_uid_send(a, uid, d->value);
    rc = send(a, &to, MSG_UID_SEND, v, 2, p);
    if (rc < 0 && p != NULL)
        p->drop(a, p);
    return rc;
}

static bool is_of_our_node(const struct vms *all, struct slice uid)
{
    return uids_first(all->people->uids, uid) != NULL ||
           (all->env.uids != NULL && uidmap_is_online(all->env.uids, uid));
}

/* With nobody to bring them they do not hold up what is for our own node. */
bool abroad_owes(struct abroad *a, struct slice uid)
{
    struct outbox *o = a != NULL ? uplink_outbox(a->uplink) : NULL;

    return o != NULL && outbox_owes(o, uid) &&
           !(is_of_our_node(a->all, uid) && outbox_drop(o, uid, clock_ms()));
}

int abroad_send_place(struct abroad *a, const struct place *at, uint32_t type,
                      const struct slice *body, unsigned n)
{
    struct outbox_to to = {.type = FRAMES_PLACE, .place = *at};

    return a == NULL ? SD_EOFFLINE : send(a, &to, type, body, n, NULL);
}

/* --- in ------------------------------------------------------------------- */

static bool on_has(void *arg, const struct slice *uid)
{
    struct abroad *a = arg;

    sd_check(a, ABROAD_MAGIC);
    return uids_first(a->all->people->uids, *uid) != NULL;
}

/* 0 when one of its conns took it. */
static int send_here(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->all->people->uids, uid);
    int rc = SD_EOFFLINE, one;

    for (; b != NULL; b = uids_next(b)) {
        one = deliver_to(d, list_entry(b, struct member, binding)->conn);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

static int take_uid(struct vm *vm, const struct frames_data *f)
{
    struct msg_uid_send m;
    struct deliver d;
    int rc;

    if (f->type != FRAMES_UID || f->body.len < sizeof(m))
        return SD_EINVALID;
    memcpy(&m, f->body.p, sizeof(m));
    if (m.is_done_there != 0 && f->head.boot == vm->env.boot)
        return 0; /* it was sent to all of our node */
    deliver_begin(&d, vm, vm->L, slice_skip(f->body, sizeof(m)));
    d.is_volatile = m.is_volatile != 0;
    d.key = m.key;
    d.is_single = true;
    rc = send_here(&d, f->name);
    deliver_end(&d);
    return rc;
}

static int on_deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    struct abroad *a = arg;
    struct vm *vm;

    sd_check(a, ABROAD_MAGIC);
    (void)token;
    vm = vms_now(a->all);
    switch (d->head.type) {
    case MSG_PUBLISH:
        spread_take(vm, d->body);
        return 0;
    case MSG_GROUP:
        spread_take_group(vm, d->body);
        return 0;
    case MSG_EVENT:
        return events_take_far(a->all->events, d->body);
    case MSG_UID_SEND:
        return take_uid(vm, d);
    case MSG_SEND:
    case MSG_CLOSE_CONN:
        return people_take_far(vm, d->head.type, d->body);
    case MSG_OUST:
        return abroad_take_oust(a, d->body);
    default:
        log_warn("message of type %u from another node is not known",
                 d->head.type);
        return SD_EINVALID;
    }
}

/* --- how the links are ---------------------------------------------------- */

static void on_board(struct timer *t)
{
    struct abroad *a = list_entry(t, struct abroad, board);
    const struct vm_env *env = &a->all->env;
    const struct people *people = a->all->people;
    struct linkboard_list list = {0};
    struct uplink_state s;
    unsigned i;

    sd_check(a, ABROAD_MAGIC);
    for (i = 0; uplink_state(a->uplink, i, &s) && list.n < LINKBOARD_MAX; i++)
        list.link[list.n++] = (struct linkboard_link){
            .boot = s.boot,
            .heard = s.heard,
            .index = s.index,
            .unsent = (uint32_t)(s.unsent < UINT32_MAX ? s.unsent : UINT32_MAX),
            .round_trip = s.round_trip,
            .is_relay = true,
            .received = s.received,
            .sent = s.sent,
            .filters =
                topics_filters(people->topics) + topics_filters(people->groups),
            .is_flooded = !teller_knows(a->teller, s.relay)};
    linkboard_write(env->links, (uint16_t)env->epoch, &list);
    timer_start(env->loop, t, BOARD);
}

/* --- life ----------------------------------------------------------------- */

struct abroad *abroad_new(struct vms *all, const struct conf *conf)
{
    const struct vm_env *env = &all->env;
    struct abroad *a;
    struct uplink_config config = {
        .loop = env->loop,
        .conf = conf,
        .roster = env->roster,
        .self.place = {.boot = env->boot,
                       .slot = (uint8_t)env->slot,
                       .epoch = (uint16_t)env->epoch},
        .calls = {.has = on_has,
                  .deliver = on_deliver,
                  .resolve = abroad_on_resolve,
                  .settled = on_settled,
                  .on_relay = abroad_on_relay,
                  .on_relay_gone = abroad_on_relay_gone},
    };
    const char *why = NULL;

    if (env->roster == NULL || !conf->cluster.enable || env->role != VM_WORKER)
        return NULL;
    a = mem_zalloc(sizeof(*a));
    a->magic = ABROAD_MAGIC;
    a->all = all;
    list_init(&a->pending);
    list_init(&a->left);
    list_init(&a->changes);
    abroad_open_interest(a);
    config.calls.arg = a;
    snprintf(config.self.name, sizeof(config.self.name), "%.64s", env->node);
    /* The configuration child has read the keys. */
    sd_assert(uplink_open(&a->uplink, &config, &why) == 0);
    a->board.fn = on_board;
    timer_start(env->loop, &a->board, 1);
    return a;
}

void abroad_free(struct abroad **ap)
{
    struct abroad *a = *ap;

    if (a == NULL)
        return;
    sd_check(a, ABROAD_MAGIC);
    abroad_close_interest(a);
    timer_stop(a->all->env.loop, &a->board);
    uplink_close(&a->uplink);
    while (!list_empty(&a->pending)) {
        struct pending *p = list_entry(a->pending.next, struct pending, node);

        p->drop(a, p);
    }
    abroad_drop_changes(a);
    abroad_drop_left(a);
    a->magic = 0;
    mem_free(a);
    *ap = NULL;
}

void abroad_take(struct abroad *a, const struct conf *conf)
{
    const char *why = NULL;

    if (a != NULL && uplink_take(a->uplink, conf, &why) < 0)
        log_error("cluster.key: %s", why);
}

unsigned abroad_count(const struct abroad *a)
{
    return a == NULL ? 0 : outbox_figures(uplink_outbox(a->uplink))->count;
}
