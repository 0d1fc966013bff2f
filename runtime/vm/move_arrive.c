/* move_arrive.c - see move.h; here: the worker that a conn comes to.
 *
 * The answer is written in the same turn as the conn is made, before a byte is
 * read from its socket or written to it: who has not got the answer when we
 * die may make the conn anew from what it has.  When it is the old worker that
 * has died, the conn is here all the same. */
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/wire.h"
#include "ipc/mesh.h"
#include "net/conn.h"
#include "vm/abroad.h"
#include "vm/move_image.h"
#include "vm/move_state.h"
#include "vm/task_state.h"

enum {
    ANSWER_HEAD = WIRE_HEAD + sizeof(struct msg_moved)
};

/* --- what the vm keeps with a conn ---------------------------------------- */

struct joining {
    struct people *people;
    struct member *member;
};

static void on_topic(void *arg, struct slice filter)
{
    struct joining *j = arg;

    topics_subscribe(j->people->topics, &j->member->topics, filter);
}

static void on_group(void *arg, struct slice name)
{
    struct joining *j = arg;

    people_add_group(j->people, j->member, name);
}

/* Publishes that its old worker is ahead of us with would come again. */
static void keep_heard(struct moves *ms, struct member *m,
                       const struct move_image *image)
{
    uint64_t at[SLOTS_MAX] = {0};
    bool is_ahead = false;
    unsigned i, n;

    n = move_image_numbers(image->heard, at, ms->nslots);
    at[ms->vms->env.slot] = 0;
    for (i = 0; i < n; i++)
        is_ahead |= at[i] > ms->heard.at[i];
    if (!is_ahead)
        return;
    m->heard = mem_alloc(ms->nslots * sizeof(at[0]));
    memcpy(m->heard, at, ms->nslots * sizeof(at[0]));
}

static int join(struct vm *vm, struct conn *c, const struct move_image *image)
{
    struct joining j = {vm->all->people, people_add(vm->all->people, c)};
    int rc = image->number != 0
                 ? people_join(vm->all->people, j.member, image->number)
                 : 0;

    if (rc < 0)
        return rc;
    if (image->number != 0)
        moves_outdate(vm->all->moves, image->number);
    move_image_texts(image->topics, on_topic, &j);
    if (image->number != 0)
        move_image_texts(image->groups, on_group, &j);
    j.member->group_number = image->group_number;
    j.member->policy = image->policy <= UIDS_ALLOW
                           ? (enum uids_policy)image->policy
                           : UIDS_KICK;
    keep_heard(vm->all->moves, j.member, image);
    if (image->number != 0 && vm->all->people->on_doubt != NULL)
        vm->all->people->on_doubt(vm->all->people->arg, j.member);
    return 0;
}

int move_arrive(struct vm *vm, struct conn **out, struct slice bytes, int fd,
                const struct conn_place *home)
{
    struct conn_place place;
    struct move_image image;
    struct conn *c = NULL;
    int rc = vm->env.net != NULL ? 0 : SD_EGONE;

    if (rc == 0)
        rc = move_image_read(&image, bytes);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = net_unpack(&c, vm->env.net, image.conn, fd, home);
    if (rc < 0)
        return rc;
    rc = join(vm, c, &image);
    if (rc < 0) {
        people_remove(vm->all->people, people_find(c), c);
        conn_forget(c, &place);
        net_leave_place(vm->env.net, &place);
        return rc;
    }
    if (image.number != 0)
        abroad_arrived(vm->all->abroad, c);
    *out = c;
    return 0;
}

/* --- the answer ----------------------------------------------------------- */

/* How far we have come with everybody's publishes; with our own up to now. */
static struct slice heard_list(struct moves *ms)
{
    const struct vm *vm = vms_now(ms->vms);

    ms->heard.at[vm->env.slot] =
        heard_at(vm->env.epoch, vm->all->tasks->counter);
    return slice_make(ms->heard.at, ms->nslots * sizeof(ms->heard.at[0]));
}

static int answer(struct vm *vm, unsigned to, const struct msg_moved *moved,
                  struct slice list)
{
    struct wire_head h = {.boot = vm->env.boot,
                          .counter = ++vm->all->tasks->counter,
                          .life_ms = UINT32_MAX,
                          .len = (uint32_t)(sizeof(*moved) + list.len),
                          .type = MSG_MOVED,
                          .flags = WIRE_ANSWER,
                          .epoch = (uint16_t)vm->env.epoch,
                          .slot = (uint8_t)vm->env.slot};
    char head[ANSWER_HEAD];
    struct slice v[2] = {{head, sizeof(head)}, list};

    wire_encode(head, &h);
    memcpy(head + WIRE_HEAD, moved, sizeof(*moved));
    return mesh_send(vm->env.mesh, to, MSG_MOVED, MESH_ANSWER, v, 2);
}

/* What says that it is not here is short and always has room. */
static void tell(struct vm *vm, unsigned to, const struct msg_moved *moved)
{
    struct slice list = slice_make("", 0);
    int rc;

    if (moved->err == 0)
        list = heard_list(vm->all->moves);
    rc = answer(vm, to, moved, list);
    if (rc < 0 && rc != SD_EGONE)
        log_error("slot %u is not told of a conn: %s", to, err_str(rc));
}

/* Is there no room for saying that the conn is here?  Without the list of what
 * we have heard its old worker would send no publish after it.  One whose
 * sender is dead is taken in any case: nobody waits for the answer. */
static bool is_too_busy(const struct vm *vm, unsigned to)
{
    const struct moves *ms = vm->all->moves;
    size_t len = ANSWER_HEAD + ms->nslots * sizeof(ms->heard.at[0]);

    return ms->refuses || mesh_room(vm->env.mesh, to, len) == SD_EBUSY;
}

enum mesh_verdict moves_take(struct vm *vm, const struct mesh_msg *m)
{
    struct slice body =
        slice_skip(m->body, m->body.len < WIRE_HEAD ? m->body.len : WIRE_HEAD);
    struct msg_moved moved = {0};
    struct conn *c = NULL;
    struct msg_move move;
    int fd, rc = m->err;

    if (body.len < sizeof(move))
        return MESH_DONE;
    memcpy(&move, body.p, sizeof(move));
    body = slice_skip(body, sizeof(move));
    fd = mesh_claim_fd(vm->env.mesh, m->from, move.fd);
    if (fd == SD_EBUSY && !m->dead)
        return MESH_HOLD;
    if (rc == 0 && body.len > 0 && is_too_busy(vm, m->from))
        rc = SD_EBUSY;
    if (fd >= 0 && (rc < 0 || body.len == 0))
        close(fd);
    if (rc == 0 && body.len == 0)
        return MESH_DONE; /* it was called off */
    if (rc == 0)
        rc = fd < 0 ? fd : move_arrive(vm, &c, body, fd, NULL);
    moved.conn = move.conn;
    moved.id = rc == 0 ? conn_id(c) : 0;
    moved.err = rc;
    if (rc == 0)
        move_wait(vm->all, people_find(c), m->from, m->epoch);
    vm->all->moves->arrived += rc == 0;
    tell(vm, m->from, &moved);
    return MESH_DONE;
}
