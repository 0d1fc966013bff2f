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
#include "vm/people.h"
#include "vm/state.h"
#include "vm/task_state.h"

/* --- the sending side ------------------------------------------------------- */

/* Is this slot a worker that can take messages, other than we? */
static bool is_other_worker(const struct vm *vm, unsigned slot)
{
    const struct slots *slots = mesh_slots(vm->env.mesh);
    enum slot_state state = slots_state(slots, slot);

    return slot != vm->env.slot && slots_role(slots, slot) == SLOT_WORKER &&
           (state == SLOT_READY || state == SLOT_DRAINING);
}

static int find_room(const struct vm *vm, uint32_t len)
{
    unsigned i, n = slots_count(mesh_slots(vm->env.mesh));
    void *place;

    for (i = 0; i < n && len <= MESH_INLINE; i++) {
        if (is_other_worker(vm, i) &&
            mesh_reserve(vm->env.mesh, i, MESH_PLAIN, len, &place) == SD_EBUSY)
            return SD_EBUSY;
    }
    return 0;
}

int spread_far(struct vm *vm, const struct spread *s)
{
    struct msg_publish p = {.topic_len = (uint32_t)s->topic.len,
                            .except_len = (uint32_t)s->except.len,
                            .is_volatile = s->is_volatile};
    size_t len = sizeof(p) + s->topic.len + s->except.len + s->value.len;
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .len = (uint32_t)len,
                          .type = MSG_PUBLISH,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    char head[WIRE_HEAD];
    struct slice v[5] = {{head, sizeof(head)},
                         {(const char *)&p, sizeof(p)},
                         s->topic,
                         s->except,
                         s->value};
    unsigned i, n;

    if (vm->env.mesh == NULL)
        return 0;
    if (len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    if (find_room(vm, (uint32_t)(WIRE_HEAD + len)) < 0)
        return SD_EBUSY;
    wire_encode(head, &h);
    n = slots_count(mesh_slots(vm->env.mesh));
    for (i = 0; i < n; i++) {
        int rc = 0;

        if (is_other_worker(vm, i))
            rc = mesh_send(vm->env.mesh, i, MSG_PUBLISH, MESH_PLAIN, v, 5);
        if (rc < 0 && rc != SD_EGONE) {
            vm->people->counters.busy++;
            log_warn("a publish did not reach slot %u: %s", i, err_str(rc));
        }
    }
    return 0;
}

/* --- the conns of this process ---------------------------------------------- */

static void send_to(struct deliver *d, const struct member *m)
{
    if (!people_is_passed_over(d->vm->people, m))
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
}

void spread_here(struct deliver *d, struct slice topic)
{
    if (topic.len > 0)
        topics_visit(d->vm->people->topics, topic, on_visit, d);
    else
        send_all(d);
}

/* --- the receiving side ----------------------------------------------------- */

static void pass_over(struct people *p, struct slice except)
{
    struct msgpack m;

    people_begin_fanout(p);
    if (except.len == 0)
        return;
    msgpack_init(&m, except);
    for (int token = msgpack_next(&m); token > MSGPACK_END;
         token = msgpack_next(&m)) {
        if (token == MSGPACK_STR || token == MSGPACK_BIN)
            people_pass_over(p, m.text);
    }
}

void spread_take(struct vm *vm, struct slice body)
{
    struct msg_publish p;
    struct slice topic, except;
    struct deliver d;

    if (body.len < sizeof(p))
        return;
    memcpy(&p, body.p, sizeof(p));
    body = slice_skip(body, sizeof(p));
    if (p.topic_len > body.len || p.except_len > body.len - p.topic_len)
        return;
    topic = slice_make(body.p, p.topic_len);
    except = slice_make(body.p + p.topic_len, p.except_len);
    pass_over(vm->people, except);
    deliver_begin(&d, vm, vm->L, slice_skip(body, p.topic_len + p.except_len));
    d.is_volatile = p.is_volatile != 0;
    spread_here(&d, topic);
    deliver_end(&d);
}
