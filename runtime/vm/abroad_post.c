/* abroad_post.c - what task processes send to other nodes.
 *
 * A task has no links.  It gives what it sends to a worker of its node, for one
 * name always to the same one while that lives, so that order is kept.
 *
 * A uid may come to our node while that worker still has messages to it.  Who
 * sent them goes on by the same way for as long as they may live, and so does
 * not overtake them; when none is under way any more, the worker sends what
 * follows itself, to conns of our node.
 *
 * A worker that cannot send it at once keeps it, in order, and says in its slot
 * that it is full: then tasks are told "busy".  What comes until they see that
 * is no more than was in the rings. */
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/owner.h"
#include "cluster/uplink.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "vm/abroad_state.h"
#include "vm/deliver.h"
#include "vm/letter.h"
#include "vm/people.h"
#include "vm/reach.h"
#include "vm/state.h"
#include "vm/undelivered.h"

enum {
    FULL = 50,  /* percent of an outbox, beyond which tasks wait */
    PIECES = 8, /* of a letter */
    POSTED = 1 << 12,
    KEY = FRAMES_NAME_LENGTH
};

/* One that waits. */
struct post {
    struct list node;
    uint64_t due;
    struct buf body; /* as of MSG_ABROAD */
};

/* What is read of such a body; all borrowed. */
struct parts {
    struct msg_abroad head;
    struct slice name, body;
};

/* --- the task ------------------------------------------------------------- */

static const struct hash_key key = {1, 2};

/* While the node drains its tasks go on, and may send. */
static bool is_serving(const struct slots *slots, unsigned i)
{
    enum slot_state state = slots_state(slots, i);

    return state == SLOT_READY || state == SLOT_DRAINING;
}

int abroad_worker(struct abroad *a, struct slice name)
{
    const struct slots *slots = mesh_slots(a->all->env.mesh);
    uint64_t hash = hash_bytes(&key, name), high = 0;
    int best = -1;

    for (unsigned i = 0; i < slots_count(slots); i++) {
        uint64_t score = owner_score(hash, i + 1);

        if (slots_role(slots, i) == SLOT_WORKER && is_serving(slots, i) &&
            (best < 0 || score > high)) {
            best = (int)i;
            high = score;
        }
    }
    return best;
}

/* Until when uids with that hash may have messages under way.  One that has
 * none takes the longer way, no harm is done. */
static void note_post(struct abroad *a, const struct abroad_letter *l)
{
    const struct conf *conf = vms_now(a->all)->env.conf;

    if (l->to.type != FRAMES_UID || l->to.is_beside)
        return;
    if (a->posted == NULL)
        a->posted = mem_zalloc(POSTED * sizeof(*a->posted));
    a->posted[hash_bytes(&key, l->to.name) % POSTED] =
        clock_ms() +
        2 * conf->server.call_timeout; /* in posts, in the outbox */
}

bool abroad_has_posted(const struct abroad *a, struct slice uid)
{
    return a->posted != NULL &&
           a->posted[hash_bytes(&key, uid) % POSTED] > clock_ms();
}

int abroad_post(struct abroad *a, const struct abroad_letter *l)
{
    const struct slots *slots = mesh_slots(a->all->env.mesh);
    struct msg_abroad m = {.boot = l->to.place.boot,
                           .type = l->type,
                           .name_len = (uint32_t)l->to.name.len,
                           .epoch = l->to.place.epoch,
                           .slot = l->to.place.slot,
                           .to = (uint8_t)l->to.type,
                           .kind = (uint8_t)l->to.kind,
                           .wants = (uint8_t)l->wants,
                           .is_beside = l->to.is_beside,
                           .is_silent = l->token == ABROAD_SILENT};
    struct slice v[3 + PIECES] = {
        {NULL, 0}, {(const char *)&m, sizeof(m)}, l->to.name};
    char bytes[FRAMES_PLACE_SIZE];
    struct slice name = l->to.name;
    int slot, rc;

    sd_assert(l->n <= PIECES);
    if (l->to.type == FRAMES_PLACE)
        name = slice_make(bytes, frames_write_place(bytes, &l->to.place));
    slot = abroad_worker(a, name);
    if (slot < 0 || slots_get(slots, (unsigned)slot, SLOT_ABROAD) >= FULL)
        return SD_EBUSY;
    memcpy(v + 3, l->body, l->n * sizeof(*v));
    rc = letter_send(a->all, (unsigned)slot, MSG_ABROAD, v, 3 + l->n);
    if (rc == 0)
        note_post(a, l);
    /* gone: filled anew, which the mesh has not seen yet */
    return rc == SD_EGONE || rc == SD_EUNAVAILABLE ? SD_EBUSY : rc;
}

/* --- the worker ----------------------------------------------------------- */

static bool read_parts(struct parts *p, struct slice body)
{
    if (body.len < sizeof(p->head))
        return false;
    memcpy(&p->head, body.p, sizeof(p->head));
    body = slice_skip(body, sizeof(p->head));
    if (p->head.name_len > body.len || p->head.name_len > KEY)
        return false;
    p->name = slice_make(body.p, p->head.name_len);
    p->body = slice_skip(body, p->head.name_len);
    return true;
}

/* It was not sent, and will not be. */
static void lose(struct vms *all, const struct parts *p, int err)
{
    struct slice value = p->body;

    if (p->head.is_silent == 0)
        people_count_lost(all->people, err);
    if (p->head.wants != ABROAD_HOOK)
        return;
    value = value.len < sizeof(struct msg_uid_send)
                ? slice_make(NULL, 0) /* it was lost with its reader */
                : slice_skip(value, sizeof(struct msg_uid_send));
    undelivered_tell_one(reach_undelivered(all->reach), p->name, err, value);
}

/* Is it for a uid of our own node by now, and may go there? */
static bool is_near(struct abroad *a, const struct parts *p)
{
    struct msg_uid_send m;

    if (p->head.type != MSG_UID_SEND || p->body.len < sizeof(m))
        return false;
    memcpy(&m, p->body.p, sizeof(m));
    return m.done_there == ABROAD_ALONE && abroad_is_near(a, p->name) &&
           !abroad_owes(a, p->name);
}

static int send_near(struct abroad *a, const struct parts *p)
{
    struct vm *vm = vms_now(a->all);
    bool is_told = false;
    struct msg_uid_send m;
    struct deliver d;
    int rc;

    memcpy(&m, p->body.p, sizeof(m));
    deliver_begin(&d, vm, vm->L, slice_skip(p->body, sizeof(m)));
    d.is_volatile = m.is_volatile != 0;
    d.key = m.key;
    d.is_single = true;
    rc = vm_send_one(&d, p->name, &is_told);
    deliver_end(&d);
    if (is_told && !(rc == SD_ESLOW && d.is_volatile))
        undelivered_tell_one(reach_undelivered(a->all->reach), p->name, rc,
                             slice_skip(p->body, sizeof(m)));
    return is_told ? 0 : rc;
}

static int send_parts(struct abroad *a, const struct parts *p, uint64_t life)
{
    struct abroad_letter l = {
        .to = {.type = (enum frames_type)p->head.to,
               .kind = (enum frames_kind)p->head.kind,
               .place = {p->head.boot, p->head.epoch, p->head.slot},
               .name = p->name,
               .is_beside = p->head.is_beside != 0},
        .type = p->head.type,
        .life = life,
        .token = p->head.is_silent != 0 ? ABROAD_SILENT : ABROAD_NOBODY,
        .wants = (enum abroad_want)p->head.wants,
        .body = &p->body,
        .n = 1};

    return is_near(a, p) ? send_near(a, p) : abroad_send(a, &l);
}

static void keep(struct abroad *a, struct slice body)
{
    const struct conf *conf = vms_now(a->all)->env.conf;
    struct post *post = mem_zalloc(sizeof(*post));

    post->due = clock_ms() + conf->server.call_timeout;
    buf_append(&post->body, body.p, body.len);
    list_add(&a->posts, &post->node);
    abroad_look(a);
}

void abroad_take_post(struct abroad *a, struct slice body)
{
    struct parts p;
    int rc = SD_EBUSY;

    if (a == NULL || !read_parts(&p, body)) {
        log_warn("a message of a task for other nodes is unreadable");
        return;
    }
    if (list_empty(&a->posts))
        rc = send_parts(a, &p, 0);
    if (rc == SD_EBUSY)
        keep(a, body);
    else if (rc < 0)
        lose(a->all, &p, rc);
}

static void drop(struct post *post)
{
    list_del(&post->node);
    buf_fini(&post->body);
    mem_free(post);
}

bool abroad_send_posts(struct abroad *a)
{
    uint64_t now = clock_ms();
    int rc = 0;

    while (rc != SD_EBUSY && !list_empty(&a->posts)) {
        struct post *post = list_entry(a->posts.next, struct post, node);
        struct parts p;

        sd_assert(read_parts(&p, buf_slice(&post->body))); /* it was before */
        rc = now < post->due ? send_parts(a, &p, post->due - now) : SD_ETIMEOUT;
        if (rc == SD_EBUSY)
            break;
        if (rc < 0)
            lose(a->all, &p, rc == SD_ETIMEOUT ? SD_EBUSY : rc);
        drop(post);
    }
    return !list_empty(&a->posts);
}

void abroad_drop_posts(struct abroad *a)
{
    while (!list_empty(&a->posts))
        drop(list_entry(a->posts.next, struct post, node));
}

void abroad_turn(struct abroad *a)
{
    unsigned fill;
    struct slots *slots;

    if (a == NULL || a->uplink == NULL)
        return;
    slots = mesh_slots(a->all->env.mesh);
    fill = outbox_fill(uplink_outbox(a->uplink));
    if (!list_empty(&a->posts) && abroad_send_posts(a))
        fill = 100;
    if (slots_get(slots, a->all->env.slot, SLOT_ABROAD) != fill)
        slots_set(slots, a->all->env.slot, SLOT_ABROAD, fill);
}

void abroad_on_back(struct vms *all, struct slice body)
{
    struct parts p;

    if (read_parts(&p, body))
        lose(all, &p, SD_EOFFLINE); /* as of a worker that has the uid */
}
