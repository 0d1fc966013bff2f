/* move.c - see move.h; here: the worker that a conn leaves.
 *
 * The descriptor travels by the socket for large bodies, ahead of the message
 * that names it (a call, so its answer always has room).  When that message
 * does not fit any more a short one takes its place, so that the descriptor is
 * not left lying. */
#include "vm/move.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/msgpack.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/reason.h"
#include "vm/letter.h"
#include "vm/move_image.h"
#include "vm/move_state.h"
#include "vm/task_state.h"

enum {
    LOOK_MS = 500,
    FOLLOW_MS = 10 * 1000 /* that something may come for its old place */
};

/* --- what is written down ------------------------------------------------- */

struct list_of {
    struct buf values;
    uint32_t n;
};

static void add_text(void *arg, struct slice text)
{
    struct list_of *list = arg;

    sd_assert(msgpack_write_string(&list->values, text) == 0);
    list->n++;
}

static void put_list(struct buf *out, struct list_of *list)
{
    msgpack_write_array(out, list->n);
    buf_append(out, buf_slice(&list->values).p, list->values.len);
    buf_fini(&list->values);
}

/* What it has heard here, or where it came from. */
static void put_heard(struct buf *out, const struct moves *ms,
                      const struct member *m)
{
    msgpack_write_array(out, ms->nslots);
    for (unsigned i = 0; i < ms->nslots; i++) {
        uint64_t at = ms->heard.at[i];

        if (m != NULL && m->heard != NULL && m->heard[i] > at)
            at = m->heard[i];
        msgpack_write_uint(out, at);
    }
}

static void put_member(struct buf *topics, struct buf *groups, struct people *p,
                       const struct member *m)
{
    struct list_of list = {{0}, 0};

    topics_each(p->topics, &m->topics, add_text, &list);
    put_list(topics, &list);
    list = (struct list_of){{0}, 0};
    people_each_group(p, m, add_text, &list);
    put_list(groups, &list);
}

static int write_down(struct vm *vm, struct move *mv, struct conn *c)
{
    struct buf conn = {0}, topics = {0}, groups = {0}, heard = {0};
    const struct member *m = people_find(c);
    struct move_image image = {.version = MOVE_VERSION};
    int rc = conn_pack(c, &conn);

    if (rc == 0 && m != NULL) {
        put_member(&topics, &groups, vm->all->people, m);
        image.group_number = m->group_number;
        image.number = uids_is_bound(&m->binding) ? m->number : 0;
        image.policy = m->policy;
    }
    if (rc == 0) {
        put_heard(&heard, vm->all->moves, m);
        image.conn = buf_slice(&conn);
        image.topics = buf_slice(&topics);
        image.groups = buf_slice(&groups);
        image.heard = buf_slice(&heard);
        move_image_write(&mv->image, &image);
        mv->number = image.number;
    }
    buf_fini(&conn);
    buf_fini(&topics);
    buf_fini(&groups);
    buf_fini(&heard);
    return rc;
}

/* --- sending -------------------------------------------------------------- */

/* It came for nothing: claim it and close it. */
static void call_off(struct vm *vm, unsigned slot, const struct msg_move *m)
{
    struct slice v[2] = {{NULL, 0}, {(const char *)m, sizeof(*m)}};

    if (letter_send(vm->all, slot, MSG_MOVE, v, 2) < 0)
        log_warn("a descriptor is left at slot %u", slot);
}

static int send(struct vm *vm, struct move *mv)
{
    struct slice image = buf_slice(&mv->image);
    struct msg_move m = {.conn = mv->place.id};
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->all->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .len = (uint32_t)(sizeof(m) + image.len),
                          .type = MSG_MOVE,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    char head[WIRE_HEAD + sizeof(m)];
    struct slice v[2] = {{head, sizeof(head)}, image};
    int rc;

    if (sizeof(m) + image.len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    rc = mesh_room(vm->env.mesh, mv->slot, sizeof(head) + image.len);
    if (rc == 0)
        rc = mesh_send_fd(vm->env.mesh, mv->slot, mv->fd, &m.fd);
    if (rc < 0)
        return rc;
    wire_encode(head, &h);
    memcpy(head + WIRE_HEAD, &m, sizeof(m));
    rc = mesh_send(vm->env.mesh, mv->slot, MSG_MOVE, MESH_CALL, v, 2);
    if (rc < 0 && rc != SD_EGONE)
        call_off(vm, mv->slot, &m);
    return rc;
}

/* --- life ----------------------------------------------------------------- */

static void close_fd(struct move *mv)
{
    if (mv->fd >= 0)
        close(mv->fd);
    mv->fd = -1;
    buf_fini(&mv->image);
}

static void free_move(struct move *mv)
{
    close_fd(mv);
    move_drop_follows(mv);
    buf_fini(&mv->close);
    list_del(&mv->link);
    mem_free(mv);
}

static struct move *new_move(struct vm *vm, struct conn *c, unsigned slot)
{
    struct move *mv = mem_zalloc(sizeof(*mv));

    mv->moves = vm->all->moves;
    mv->slot = slot;
    mv->epoch = slots_epoch(mesh_slots(vm->env.mesh), slot);
    mv->place.id = conn_id(c);
    mv->fd = -1;
    list_init(&mv->link);
    list_init(&mv->follows);
    return mv;
}

/* Nothing follows it any more. */
static void end_move(struct move *mv)
{
    struct people *p = mv->moves->vms->people;

    people_drop_groups(p, mv->member);
    people_remove(p, mv->member, NULL);
    free_move(mv);
}

static void on_look(struct timer *t)
{
    struct moves *ms = list_entry(t, struct moves, look);
    uint64_t now = loop_now(ms->vms->env.loop);
    struct list *it, *next;

    list_each_safe (it, next, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->id != 0 && now >= mv->end && mv->ending == MOVE_END_NONE)
            end_move(mv);
        else if (mv->id != 0)
            move_hush(mv);
    }
    if (!list_empty(&ms->all))
        timer_start(ms->vms->env.loop, t, LOOK_MS);
}

struct moves *moves_new(struct vms *all)
{
    struct moves *ms = mem_zalloc(sizeof(*ms));

    ms->vms = all;
    if (all->env.mesh != NULL)
        ms->nslots = slots_count(mesh_slots(all->env.mesh));
    ms->now.slot = all->env.slot;
    ms->look.fn = on_look;
    ms->turn.fn = moves_on_turn;
    ms->again.fn = moves_on_again;
    list_init(&ms->all);
    return ms;
}

void moves_free(struct moves **mp)
{
    struct moves *ms = *mp;

    timer_stop(ms->vms->env.loop, &ms->look);
    timer_stop(ms->vms->env.loop, &ms->again);
    loop_undefer(&ms->turn);
    while (!list_empty(&ms->all)) {
        struct move *mv = list_entry(ms->all.next, struct move, link);

        if (mv->id == 0)
            net_leave_place(ms->vms->env.net, &mv->place);
        end_move(mv);
    }
    mem_free(ms);
    *mp = NULL;
}

/* --- leaving -------------------------------------------------------------- */

/* Scripts keep nothing for it any more (ENTRY_GONE). */
static void tell_scripts(struct vm *vm, double handle, unsigned port)
{
    struct co *co = vm_enter(vm, vm->entry[ENTRY_GONE], CO_CALL, 0);

    if (co == NULL)
        return;
    co->on_end = vm_log_end;
    lua_pushnumber(co->L, handle);
    lua_pushinteger(co->L, (lua_Integer)port + 1);
    co_start(co, 2);
}

/* Lua runs last: whatever it sends meets a conn that has gone. */
static void leave(struct vm *vm, struct move *mv, struct conn *c)
{
    bool has_state = (conn_mark(c) & VM_MARK_STATE) != 0;
    double handle = vm_handle(c);

    mv->member = people_add(vm->all->people, c);
    people_part(vm->all->people, mv->member, mv);
    conn_forget(c, &mv->place);
    list_add(&vm->all->moves->all, &mv->link);
    if (mv->link.prev == &vm->all->moves->all)
        timer_start(vm->env.loop, &vm->all->moves->look, LOOK_MS);
    if (has_state)
        tell_scripts(vm, handle, mv->place.port);
}

static int may_leave(const struct vm *vm, const struct conn *c)
{
    const struct member *m = people_find(c);

    if (conn_is_open(c) &&
        ((conn_mark(c) & ~VM_MARK_STATE) != 0 || c == vm->sending ||
         move_is_awaited(c) || (m != NULL && m->is_leaving)))
        return SD_EBUSY;
    return conn_may_move(c);
}

int move_conn(struct vm *vm, struct conn *c, unsigned slot)
{
    struct move *mv;
    int rc = may_leave(vm, c);

    if (vm->env.mesh == NULL || slot == vm->env.slot ||
        slot >= vm->all->moves->nslots ||
        slots_role(mesh_slots(vm->env.mesh), slot) != SLOT_WORKER)
        return SD_EGONE;
    if (rc < 0)
        return rc;
    mv = new_move(vm, c, slot);
    rc = write_down(vm, mv, c);
    if (rc == 0)
        mv->fd = fcntl(conn_descriptor(c), F_DUPFD_CLOEXEC, 0);
    if (rc == 0)
        rc = mv->fd < 0 ? SD_EBUSY : send(vm, mv);
    if (rc < 0)
        free_move(mv);
    else
        leave(vm, mv, c);
    return rc;
}

/* --- what becomes of it --------------------------------------------------- */

/* Its binding and its place are another conn's.  When the uid is not bound any
 * more, that one has ended and told so (move_is_last()), unless `tells`. */
static void settle(struct move *mv, bool tells)
{
    struct vm *vm = vms_now(mv->moves->vms);
    struct slice uid = buf_slice(&mv->member->parted_uid);
    bool last = false, was_bound = mv->number != 0;

    if (was_bound && vm->all->people->map != NULL)
        was_bound =
            uidmap_unbind(vm->all->people->map, uid, mv->place.id, &last);
    if (mv->number != 0 && vm->all->people->on_left != NULL)
        vm->all->people->on_left(vm->all->people->arg, uid, mv->place.id,
                                 mv->number);
    if (was_bound && last && tells)
        people_tell_end(vm->all->people, uid, mv->place.id, true,
                        reason_word(REASON_ERROR));
    net_leave_place(vm->env.net, &mv->place);
}

/* The other worker has not taken it: it goes on here. */
static void come_home(struct move *mv, int err)
{
    struct vm *vm = vms_now(mv->moves->vms);
    struct conn *c = NULL;
    int fd = mv->fd, rc;

    mv->fd = -1;
    rc = move_arrive(vm, &c, buf_slice(&mv->image), fd, &mv->place);
    log_info("a conn did not move to slot %u: %s", mv->slot, err_str(err));
    settle(mv, true);
    if (rc < 0)
        log_error("a conn that was to move is lost: %s", err_str(rc));
    move_follow_home(mv, c);
    end_move(mv);
}

static struct move *find(struct moves *ms, uint64_t id)
{
    struct list *it;

    list_each (it, &ms->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->place.id == id && mv->id == 0)
            return mv;
    }
    return NULL;
}

static void take_heard(struct move *mv, struct slice list)
{
    unsigned i;

    for (i = 0; i < mv->moves->nslots && list.len >= sizeof(uint64_t); i++) {
        memcpy(&mv->heard[i], list.p, sizeof(uint64_t));
        list = slice_skip(list, sizeof(uint64_t));
    }
}

void moves_on_end(struct vm *vm, const struct mesh_msg *m)
{
    struct slice body =
        slice_skip(m->body, m->body.len < WIRE_HEAD ? m->body.len : WIRE_HEAD);
    struct msg_moved moved;
    struct move *mv;

    if (body.len < sizeof(moved))
        return;
    memcpy(&moved, body.p, sizeof(moved));
    mv = find(vm->all->moves, moved.conn);
    if (mv == NULL || mv->slot != m->from || mv->epoch != m->epoch)
        return;
    if (moved.err < 0) {
        come_home(mv, moved.err);
        return;
    }
    mv->id = moved.id;
    mv->end = loop_now(vm->env.loop) + FOLLOW_MS;
    take_heard(mv, slice_skip(body, sizeof(moved)));
    settle(mv, !slots_is_alive(mesh_slots(vm->env.mesh), mv->slot, mv->epoch));
    close_fd(mv);
    move_follow(mv);
    move_tell_end(mv);
}

void moves_on_gone(struct vm *vm, unsigned slot, uint16_t epoch)
{
    struct list *it, *next;

    list_each_safe (it, next, &vm->all->moves->all) {
        struct move *mv = list_entry(it, struct move, link);

        if (mv->slot == slot && mv->epoch == epoch && mv->id == 0)
            come_home(mv, SD_ECRASHED);
    }
    moves_stop_waiting(vm, slot, epoch);
}
