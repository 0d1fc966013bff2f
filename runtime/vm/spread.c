/* spread.c - see spread.h.
 *
 * All or nothing: room is looked for in every ring before the first message
 * is written, so that "busy" means that nobody got it.  Only a value too
 * large for the rings (it travels as a file) can still meet a full queue
 * behind the first; what is lost then is counted and logged. */
#include "vm/spread.h"

#include <lua.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/msgpack.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"
#include "net/net.h"
#include "vm/deliver.h"
#include "vm/move.h"
#include "vm/people.h"
#include "vm/state.h"
#include "vm/task_state.h"

/* --- the sending side ----------------------------------------------------- */

/* Is this slot a worker that can take messages, other than we? */
static bool is_other_worker(const struct vm *vm, unsigned slot)
{
    const struct slots *slots = mesh_slots(vm->env.mesh);
    enum slot_state state = slots_state(slots, slot);

    return slot != vm->env.slot && slots_role(slots, slot) == SLOT_WORKER &&
           (state == SLOT_READY || state == SLOT_DRAINING);
}

/* Is `slot` one of those that are meant by `to`? */
static bool is_meant(const struct vm *vm, int to, unsigned slot)
{
    return to == SPREAD_EVERY_WORKER ? is_other_worker(vm, slot)
                                     : (unsigned)to == slot;
}

static int find_room(const struct vm *vm, int to, uint32_t len, bool is_double)
{
    unsigned i, n = slots_count(mesh_slots(vm->env.mesh));

    for (i = 0; i < n; i++) {
        int rc = 0;

        if (is_meant(vm, to, i))
            rc = is_double ? mesh_room_for_two(vm->env.mesh, i, len)
                           : mesh_room(vm->env.mesh, i, len);
        if (rc < 0) /* gone: it was filled anew since the mesh has looked */
            return SD_EBUSY;
    }
    return 0;
}

int spread_message(struct vm *vm, int to, uint32_t type, struct slice *v,
                   unsigned n)
{
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->all->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .type = (uint16_t)type,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    char head[WIRE_HEAD];
    unsigned i, slots;
    size_t len = 0;

    if (vm->env.mesh == NULL)
        return 0;
    for (i = 1; i < n; i++)
        len += v[i].len;
    if (len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    if (find_room(vm, to, (uint32_t)(WIRE_HEAD + len), false) < 0)
        return SD_EBUSY;
    h.len = (uint32_t)len;
    wire_encode(head, &h);
    v[0] = slice_make(head, sizeof(head));
    slots = slots_count(mesh_slots(vm->env.mesh));
    for (i = 0; i < slots; i++) {
        int rc = 0;

        if (is_meant(vm, to, i))
            rc = mesh_send(vm->env.mesh, i, type, MESH_PLAIN, v, n);
        if (rc < 0 && rc != SD_EGONE) {
            people_count_lost(vm->all->people, SD_EBUSY);
            log_warn("a message did not reach slot %u: %s", i, err_str(rc));
        }
    }
    v[0] = slice_make(NULL, 0); /* head is ours */
    return 0;
}

int spread_fits(const struct vm *vm, size_t len, bool is_double)
{
    if (len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    return vm->env.mesh == NULL
               ? 0
               : find_room(vm, SPREAD_EVERY_WORKER, (uint32_t)(WIRE_HEAD + len),
                           is_double);
}

int spread_room(const struct vm *vm, const struct spread *s)
{
    return spread_fits(vm,
                       sizeof(struct msg_publish) + s->name.len +
                           s->except.len + s->value.len,
                       false);
}

int spread_far(struct vm *vm, const struct spread *s)
{
    struct msg_publish p = {.kind = s->kind,
                            .name_len = (uint32_t)s->name.len,
                            .except_len = (uint32_t)s->except.len,
                            .is_volatile = s->is_volatile,
                            .key = s->key};
    struct slice v[5] = {
        {NULL, 0}, {(const char *)&p, sizeof(p)}, s->name, s->except, s->value};

    return spread_message(vm, SPREAD_EVERY_WORKER, MSG_PUBLISH, v, 5);
}

enum {
    CHANGE_HEAD = sizeof(uint64_t) + 1
};

void spread_add_change(struct buf *changes, struct slice uid, uint64_t number)
{
    char len = (char)uid.len;

    if (uid.len > UIDS_LENGTH)
        return; /* nobody can be bound to it */
    buf_append(changes, &number, sizeof(number));
    buf_append(changes, &len, 1);
    buf_append(changes, uid.p, uid.len);
}

static void change_group(struct people *p, bool enters, struct slice group,
                         struct slice changes)
{
    while (changes.len >= CHANGE_HEAD) {
        size_t len = (unsigned char)changes.p[CHANGE_HEAD - 1];
        uint64_t number;

        memcpy(&number, changes.p, sizeof(number));
        changes = slice_skip(changes, CHANGE_HEAD);
        if (len > changes.len)
            return;
        people_change_group(p, slice_make(changes.p, len), group, enters,
                            number);
        changes = slice_skip(changes, len);
    }
}

int spread_group(struct vm *vm, uint32_t verb, struct slice group,
                 struct slice changes)
{
    struct msg_group m = {verb, (uint32_t)group.len};
    struct slice v[4] = {
        {NULL, 0}, {(const char *)&m, sizeof(m)}, group, changes};
    int rc = spread_message(vm, SPREAD_EVERY_WORKER, MSG_GROUP, v, 4);

    if (rc == 0)
        change_group(vm->all->people, verb == MSG_GROUP_ENTER, group, changes);
    return rc;
}

void spread_take_group(struct vm *vm, struct slice body)
{
    struct msg_group m;

    if (body.len < sizeof(m))
        return;
    memcpy(&m, body.p, sizeof(m));
    body = slice_skip(body, sizeof(m));
    if (m.group_len > body.len)
        return;
    change_group(vm->all->people, m.verb == MSG_GROUP_ENTER,
                 slice_make(body.p, m.group_len),
                 slice_skip(body, m.group_len));
}

/* --- the conns of this process -------------------------------------------- */

static void send_to(struct deliver *d, const struct member *m)
{
    if (people_is_passed_over(d->vm->all->people, m) ||
        moves_was_heard(d->vm->all->moves, m))
        return;
    if (m->move != NULL)
        move_hear(m->move, d);
    else
        (void)deliver_to(d, m->conn);
}

static void on_visit(void *arg, struct topics_holder *h)
{
    send_to(arg, list_entry(h, struct member, topics));
}

static void send_all(struct deliver *d)
{
    struct conn *c;
    uint32_t cursor = 0;

    while (d->vm->env.net != NULL &&
           (c = net_next(d->vm->env.net, &cursor)) != NULL) {
        const struct member *m = people_find(c);

        if (m == NULL)
            (void)deliver_to(d, c);
        else
            send_to(d, m);
    }
    moves_hear_all(d->vm->all->moves, d);
}

static void on_visit_group(void *arg, struct topics_holder *h)
{
    send_to(arg, list_entry(h, struct member, groups));
}

void spread_here(struct deliver *d, enum spread_kind kind, struct slice name)
{
    d->tells = true;
    switch (kind) {
    case SPREAD_TOPIC:
        topics_visit(d->vm->all->people->topics, name, on_visit, d);
        break;
    case SPREAD_GROUP:
        people_visit_group(d->vm->all->people, name, on_visit_group, d);
        break;
    case SPREAD_ALL:
        send_all(d);
        break;
    }
}

/* --- the receiving side --------------------------------------------------- */

static void pass_over(struct people *p, struct slice except)
{
    struct msgpack m;

    people_begin_fanout(p);
    if (except.len == 0)
        return;
    msgpack_init(&m, except);
    for (int token = msgpack_next(&m); token > MSGPACK_END;
         token = msgpack_next(&m)) {
        if (msgpack_is_text(token))
            people_pass_over(p, m.text);
    }
}

void spread_take(struct vm *vm, struct slice body)
{
    struct msg_publish p;
    struct slice name, except;
    struct deliver d;

    if (body.len < sizeof(p))
        return;
    memcpy(&p, body.p, sizeof(p));
    body = slice_skip(body, sizeof(p));
    if (p.kind > SPREAD_ALL || p.name_len > body.len ||
        p.except_len > body.len - p.name_len)
        return;
    name = slice_make(body.p, p.name_len);
    except = slice_make(body.p + p.name_len, p.except_len);
    pass_over(vm->all->people, except);
    deliver_begin(&d, vm, vm->L, slice_skip(body, p.name_len + p.except_len));
    d.is_volatile = p.is_volatile != 0;
    d.key = p.key;
    spread_here(&d, (enum spread_kind)p.kind, name);
    deliver_end(&d);
}
