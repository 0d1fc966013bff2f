/* abroad.c - see abroad.h.
 *
 * cluster/outbox.h keeps what is sent until it is known what became of it; here
 * is kept what is to be done then.  What comes is in abroad_take.c, calls that
 * have an answer in abroad_calls.c, what tasks send in abroad_post.c. */
#include "vm/abroad.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/uplink.h"
#include "ipc/msg.h"
#include "ipc/uidmap.h"
#include "net/uids.h"
#include "vm/abroad_state.h"
#include "vm/deliver.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/spread.h"
#include "vm/state.h"
#include "vm/task_state.h"
#include "vm/undelivered.h"

/* A send to a uid whose hook is to be told when nobody took it. */
struct uid_send {
    struct pending pending; /* first */
    uint32_t uid_len, len;
    char bytes[]; /* uid, struct msg_uid_send, value */
};

/* --- out ------------------------------------------------------------------ */

/* Who misses that a uid has come into a group stays wrong about it. */
static uint32_t life_of(struct vms *all, uint32_t type)
{
    const struct conf *conf = vms_now(all)->env.conf;

    return type == MSG_GROUP ? OUTBOX_LIFE_MAX
                             : (uint32_t)conf->server.call_timeout;
}

static struct wire_head head_of(struct vms *all, uint32_t type)
{
    return (struct wire_head){
        .boot = all->env.boot,
        .life_ms = life_of(all, type),
        .type = (uint16_t)type,
        .epoch = (uint16_t)all->env.epoch,
        .slot = (uint8_t)all->env.slot,
    };
}

static void drop_uid_send(struct abroad *a, struct pending *p)
{
    struct uid_send *s = (struct uid_send *)(void *)p;

    (void)a;
    list_del(&p->node);
    mem_free(s);
}

static void end_uid_send(struct abroad *a, struct pending *p, int outcome)
{
    struct uid_send *s = (struct uid_send *)(void *)p;
    struct slice uid = {s->bytes, s->uid_len};
    struct slice body = {s->bytes + s->uid_len, s->len};

    if (outcome != 0)
        undelivered_tell_one(reach_undelivered(a->all->reach), uid, outcome,
                             slice_skip(body, sizeof(struct msg_uid_send)));
    drop_uid_send(a, p);
}

static struct pending *add_uid_send(struct abroad *a,
                                    const struct abroad_letter *l)
{
    struct slice uid = l->to.name;
    struct uid_send *s;
    size_t len = 0;
    unsigned i;

    for (i = 0; i < l->n; i++)
        len += l->body[i].len;
    s = mem_alloc(sizeof(*s) + uid.len + len);
    s->pending = (struct pending){.done = end_uid_send, .drop = drop_uid_send};
    s->uid_len = (uint32_t)uid.len;
    s->len = (uint32_t)len;
    memcpy(s->bytes, uid.p, uid.len);
    for (i = 0, len = uid.len; i < l->n; len += l->body[i++].len) {
        if (l->body[i].len > 0)
            memcpy(s->bytes + len, l->body[i].p, l->body[i].len);
    }
    list_add(&a->pending, &s->pending.node);
    return &s->pending;
}

static void on_settled(void *arg, uint64_t token, int outcome)
{
    struct abroad *a = arg;
    struct pending *p = (struct pending *)(uintptr_t)token;

    sd_check(a, ABROAD_MAGIC);
    if (outcome != 0)
        a->dropped[outcome_of(outcome)]++;
    if (token == ABROAD_SILENT)
        return;
    if ((token & ABROAD_CALL) != 0) {
        abroad_call_settled(a, token >> 1, outcome);
        return;
    }
    if (outcome != 0)
        people_count_lost(a->all->people, outcome);
    if (p != NULL)
        p->done(a, p, outcome);
}

/* NULL: nobody waits for the outcome, or the letter has a token. */
static struct pending *wait_for(struct abroad *a, const struct abroad_letter *l)
{
    switch (l->wants) {
    case ABROAD_HOOK:
        return add_uid_send(a, l);
    case ABROAD_CHANGE:
        return abroad_add_change(a, l->to.name);
    case ABROAD_NOTHING:
        break;
    }
    return NULL;
}

/* A task's worker comes here for it, too: only who has links knows which groups
 * are changing. */
int abroad_send(struct abroad *a, const struct abroad_letter *l)
{
    struct wire_head h = head_of(a->all, l->type);
    struct outbox_to to = l->to;
    uint64_t token = l->token;
    struct pending *p;
    int rc;

    if (a->uplink == NULL)
        return abroad_post(a, l);
    h.counter = l->counter != 0 ? l->counter : ++a->all->tasks->counter;
    if (l->life != 0)
        h.life_ms = l->life < UINT32_MAX ? (uint32_t)l->life : UINT32_MAX;
    if (to.type == FRAMES_PUBLISH && to.kind == FRAMES_GROUP &&
        abroad_is_changing(a, to.name))
        to.kind = FRAMES_EVENT;
    p = wait_for(a, l);
    if (p != NULL)
        token = (uint64_t)(uintptr_t)p;
    rc = uplink_send(a->uplink, &to, &h, l->body, l->n, token);
    if (rc < 0 && p != NULL)
        p->drop(a, p);
    return rc;
}

static const enum frames_kind kinds[] = {[SPREAD_TOPIC] = FRAMES_TOPIC,
                                         [SPREAD_GROUP] = FRAMES_GROUP,
                                         [SPREAD_ALL] = FRAMES_ALL};

int abroad_spread(struct abroad *a, const struct spread *s)
{
    struct msg_publish p = {.kind = s->kind,
                            .name_len = (uint32_t)s->name.len,
                            .except_len = (uint32_t)s->except.len,
                            .is_volatile = s->is_volatile,
                            .key = s->key};
    struct slice v[4] = {
        {(const char *)&p, sizeof(p)}, s->name, s->except, s->value};
    struct abroad_letter l = {
        .to = {.type = FRAMES_PUBLISH, .kind = kinds[s->kind], .name = s->name},
        .type = MSG_PUBLISH,
        .body = v,
        .n = 4};
    char text[PEOPLE_GROUP_TOPIC];

    if (a == NULL || (s->kind == SPREAD_GROUP &&
                      !people_group_topic(&l.to.name, text, s->name)))
        return 0; /* or nobody can be in such a group */
    return abroad_send(a, &l);
}

int abroad_group(struct abroad *a, uint32_t verb, struct slice group,
                 struct slice changes)
{
    struct msg_group m = {verb, (uint32_t)group.len};
    struct slice v[3] = {{(const char *)&m, sizeof(m)}, group, changes};
    struct abroad_letter l = {
        .to = {.type = FRAMES_PUBLISH, .kind = FRAMES_EVENT},
        .type = MSG_GROUP,
        .wants = verb == MSG_GROUP_ENTER ? ABROAD_CHANGE : ABROAD_NOTHING,
        .body = v,
        .n = 3};
    char text[PEOPLE_GROUP_TOPIC];

    if (a == NULL || !people_group_topic(&l.to.name, text, group))
        return 0;
    return abroad_send(a, &l);
}

int abroad_event(struct abroad *a, const struct slice *body, unsigned n)
{
    struct abroad_letter l = {
        .to = {.type = FRAMES_PUBLISH, .kind = FRAMES_EVENT},
        .type = MSG_EVENT,
        .body = body,
        .n = n};
    char name[FRAMES_PLACE_SIZE]; /* order is kept among those of a name */
    struct place self;

    if (a == NULL)
        return 0;
    self = (struct place){a->all->env.boot, (uint16_t)a->all->env.epoch,
                          (uint8_t)a->all->env.slot};
    l.to.name = slice_make(name, frames_write_place(name, &self));
    return abroad_send(a, &l);
}

int abroad_send_uid(struct abroad *a, const struct deliver *d, struct slice uid,
                    enum abroad_uid how)
{
    struct msg_uid_send m = {
        .key = d->key, .is_volatile = d->is_volatile, .done_there = how};
    struct slice v[2] = {{(const char *)&m, sizeof(m)}, d->value};
    struct abroad_letter l = {.to = {.type = FRAMES_UID, .name = uid},
                              .type = MSG_UID_SEND,
                              .body = v,
                              .n = 2};

    l.to.is_beside = how != ABROAD_ALONE;
    if (how == ABROAD_TOO)
        l.token = ABROAD_SILENT;
    else if (!d->is_volatile)
        l.wants = ABROAD_HOOK;
    return a == NULL ? SD_EOFFLINE : abroad_send(a, &l);
}

bool abroad_is_near(const struct abroad *a, struct slice uid)
{
    const struct vms *all = a->all;

    return uids_first(all->people->uids, uid) != NULL ||
           (all->env.uids != NULL && uidmap_is_online(all->env.uids, uid));
}

/* With nobody to bring them they do not hold up what is for our own node. */
bool abroad_owes(struct abroad *a, struct slice uid)
{
    struct outbox *o;

    if (a == NULL || a->uplink == NULL)
        return a != NULL && abroad_has_posted(a, uid);
    o = uplink_outbox(a->uplink);
    return outbox_owes(o, uid) &&
           (outbox_is_linked(o) || !abroad_is_near(a, uid) ||
            !outbox_drop(o, uid, clock_ms()));
}

int abroad_send_place(struct abroad *a, const struct place *place,
                      uint32_t type, const struct slice *body, unsigned n)
{
    struct abroad_letter l = {.to = {.type = FRAMES_PLACE, .place = *place},
                              .type = type,
                              .body = body,
                              .n = n};

    return a == NULL ? SD_EOFFLINE : abroad_send(a, &l);
}

int abroad_reply(struct abroad *a, const struct place *to, uint64_t counter,
                 uint32_t kind, struct slice body)
{
    struct msg_far_reply m = {counter, kind, 0};
    struct slice v[2] = {{(const char *)&m, sizeof(m)}, body};
    struct abroad_letter l = {.to = {.type = FRAMES_PLACE, .place = *to},
                              .type = MSG_FAR_REPLY,
                              .token = ABROAD_SILENT,
                              .body = v,
                              .n = 2};

    return a == NULL ? SD_EGONE : abroad_send(a, &l);
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
        .calls = {.has = abroad_on_has,
                  .deliver = abroad_on_deliver,
                  .resolve = abroad_on_resolve,
                  .settled = on_settled,
                  .lives = abroad_on_lives,
                  .on_relay = abroad_on_relay,
                  .on_relay_gone = abroad_on_relay_gone},
    };
    const char *why = NULL;

    if (env->roster == NULL || !conf->cluster.enable)
        return NULL;
    a = mem_zalloc(sizeof(*a));
    a->magic = ABROAD_MAGIC;
    a->all = all;
    list_init(&a->pending);
    list_init(&a->left);
    list_init(&a->changes);
    abroad_calls_init(a);
    if (env->role != VM_WORKER)
        return a;
    abroad_open_interest(a);
    config.calls.arg = a;
    snprintf(config.self.name, sizeof(config.self.name), "%.64s", env->node);
    /* The configuration child has read the keys. */
    sd_assert(uplink_open(&a->uplink, &config, &why) == 0);
    abroad_open_board(a);
    return a;
}

static void close_links(struct abroad *a)
{
    abroad_close_interest(a);
    abroad_close_board(a);
    uplink_close(&a->uplink);
}

void abroad_free(struct abroad **ap)
{
    struct abroad *a = *ap;

    if (a == NULL)
        return;
    sd_check(a, ABROAD_MAGIC);
    if (a->uplink != NULL)
        close_links(a);
    abroad_calls_fini(a);
    while (!list_empty(&a->pending)) {
        struct pending *p = list_entry(a->pending.next, struct pending, node);

        p->drop(a, p);
    }
    abroad_drop_changes(a);
    abroad_drop_left(a);
    mem_free(a->posted);
    mem_free(a->roster);
    a->magic = 0;
    mem_free(a);
    *ap = NULL;
}

void abroad_take(struct abroad *a, const struct conf *conf)
{
    const char *why = NULL;

    if (a != NULL && a->uplink != NULL &&
        uplink_take(a->uplink, conf, &why) < 0)
        log_error("cluster.key: %s", why);
}

unsigned abroad_count(const struct abroad *a)
{
    if (a == NULL || a->uplink == NULL)
        return 0;
    return outbox_figures(uplink_outbox(a->uplink))->count +
           !list_empty(&a->posts);
}

const struct roster_list *abroad_roster(struct abroad *a)
{
    const struct roster *r = a->all->env.roster;

    if (a->uplink != NULL)
        return uplink_roster(a->uplink);
    if (a->roster == NULL) {
        a->roster = mem_zalloc(sizeof(*a->roster));
        a->serial = ~roster_serial(r);
    }
    if (a->serial != roster_serial(r)) {
        a->serial = roster_serial(r);
        roster_read(r, a->roster);
    }
    return a->roster;
}
