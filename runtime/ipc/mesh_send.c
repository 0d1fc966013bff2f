/* mesh_send.c - the writing half of a mesh, see mesh.h.
 *
 * A message goes into the ring as it is, or, when it is long, as a memfd with
 * a short record that names it.  Room for that record is reserved before the
 * descriptor is sent and committed after, so a full ring never leaves a
 * descriptor behind that nobody will ask for.
 *
 * Answers.  A process that calls counts the answers it has not popped yet and
 * stops at MESH_CALLS_MAX; for each the ring back keeps MESH_ROOM bytes that
 * nothing else may fill.  A longer answer takes the common room, and when that
 * is full travels as a memfd, whose record fits into MESH_ROOM.  So the only
 * thing an answer can wait for is the queue of descriptors. */
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "ipc/mesh_peer.h"

enum {
    MUCH = MAP_RING_CAP / 8, /* bytes that the reader should begin with */
    PER_RECORD = 16          /* that one in a ring is longer than its data */
};

static struct peer *peer_of(struct mesh *m, unsigned to)
{
    sd_check(m, MESH_MAGIC);
    sd_assert(to < m->map.n);
    return &m->peers[to];
}

void mesh_ring_door(struct mesh *m, unsigned to)
{
    uint64_t one = 1;

    if (mesh_door_ring(&m->map, to, m->self) &&
        write(m->wake[to], &one, sizeof(one)) < 0)
        return; /* the counter is full: it is readable, which is enough */
}

/* Is there room for one more answer?  The ring it will come by must be open
 * before the call is made: its writer would find no room in it else. */
static bool may_call(struct mesh *m, struct peer *p)
{
    return p->calls < MESH_CALLS_MAX &&
           ring_read_enter(&p->in, ring_session(p->epoch, m->epoch)) == 0;
}

/* Does that process read?  One that is starting has the answers to its own
 * calls in mind (on_start may call a task), and nothing else. */
static bool is_reading(enum slot_state state, enum mesh_kind kind)
{
    return state == SLOT_READY || state == SLOT_DRAINING ||
           (state == SLOT_STARTING && kind == MESH_ANSWER);
}

/* May we write to slot `to` now? */
static int may_send(struct mesh *m, struct peer *p, unsigned to,
                    enum mesh_kind kind)
{
    const struct slots *slots = mesh_map_slots(&m->map);
    enum slot_state state = slots_state(slots, to);

    if (!p->talks || !is_reading(state, kind) ||
        slots_epoch(slots, to) != p->epoch)
        return SD_EGONE;
    if (kind == MESH_CALL && !may_call(m, p))
        return SD_EBUSY;
    return ring_write_enter(&p->out, ring_session(m->epoch, p->epoch), NULL,
                            NULL);
}

static int reserve(struct peer *p, void **out, size_t len, enum mesh_kind kind)
{
    bool answer = kind == MESH_ANSWER && len <= MESH_ROOM;
    int err = ring_reserve(&p->out, out, (uint32_t)len, answer);

    return err == SD_EFULL ? SD_EBUSY : err;
}

/* The message is in the ring: count it and make its reader look. */
static void commit(struct mesh *m, unsigned to, uint32_t type,
                   enum mesh_kind kind, size_t len)
{
    struct peer *p = &m->peers[to];

    sd_assert((type & ~(uint32_t)(MESH_TYPE_MASK | MESH_FAR_BIT)) == 0);
    if (kind == MESH_CALL)
        p->calls++;
    if (kind == MESH_ANSWER)
        type |= MESH_ANSWER_BIT;
    ring_commit(&p->out, type, (uint32_t)len);
    if (m->is_lazy && !ring_has_much(&p->out, MUCH))
        mesh_bit_set(m->unrung, to);
    else
        mesh_ring_door(m, to);
}

void mesh_set_lazy(struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    m->is_lazy = true;
}

void mesh_ring_doors(struct mesh *m)
{
    unsigned w;

    for (w = 0; w < MAP_WORDS; w++) {
        for (; m->unrung[w] != 0; m->unrung[w] &= m->unrung[w] - 1)
            mesh_ring_door(m, w * 64 + (unsigned)__builtin_ctzll(m->unrung[w]));
    }
}

static int send_near(struct mesh *m, unsigned to, uint32_t type,
                     enum mesh_kind kind, const struct slice *v, unsigned n)
{
    size_t len = 0;
    unsigned i;
    char *at;
    void *room;
    int err;

    for (i = 0; i < n; i++)
        len += v[i].len;
    err = reserve(&m->peers[to], &room, len, kind);
    if (err != 0)
        return err;
    for (i = 0, at = room; i < n; at += v[i++].len)
        if (v[i].len > 0)
            memcpy(at, v[i].p, v[i].len);
    commit(m, to, type, kind, len);
    return 0;
}

static int send_far(struct mesh *m, unsigned to, uint32_t type,
                    enum mesh_kind kind, const struct slice *v, unsigned n)
{
    struct body_name name = {.number = m->bodies + 1,
                             .slot = m->self,
                             .epoch = m->epoch,
                             .to_epoch = m->peers[to].epoch};
    size_t len = sizeof(name) + v[0].len;
    void *room;
    int err;

    sd_assert(v[0].len <= MESH_HEAD_MAX);
    err = reserve(&m->peers[to], &room, len, kind);
    if (err != 0)
        return err;
    err = body_send(m->body_out[to], &name, v, n);
    if (err != 0)
        return err;
    m->bodies++;
    memcpy(room, &name, sizeof(name));
    if (v[0].len > 0)
        memcpy((char *)room + sizeof(name), v[0].p, v[0].len);
    commit(m, to, type | MESH_FAR_BIT, kind, len);
    return 0;
}

int mesh_send(struct mesh *m, unsigned to, uint32_t type, enum mesh_kind kind,
              const struct slice *v, unsigned n)
{
    struct peer *p = peer_of(m, to);
    size_t len = 0;
    unsigned i;
    int err;

    for (i = 0; i < n; i++) {
        if (v[i].len > BODY_MAX - len)
            return SD_ETOOLARGE;
        len += v[i].len;
    }
    err = may_send(m, p, to, kind);
    if (err != 0)
        return err;
    if (len > MESH_INLINE)
        return send_far(m, to, type, kind, v, n);
    err = send_near(m, to, type, kind, v, n);
    if (err == SD_EBUSY && kind == MESH_ANSWER && len > MESH_ROOM)
        err = send_far(m, to, type, kind, v, n);
    return err;
}

int mesh_send_fd(struct mesh *m, unsigned to, int fd, uint64_t *number)
{
    struct peer *p = peer_of(m, to);
    struct body_name name = {.number = m->bodies + 1,
                             .slot = m->self,
                             .epoch = m->epoch,
                             .to_epoch = p->epoch};
    int err = may_send(m, p, to, MESH_PLAIN);

    if (err == 0)
        err = body_send_fd(m->body_out[to], &name, fd);
    if (err == 0)
        *number = ++m->bodies;
    return err;
}

static int room(struct mesh *m, unsigned to, size_t len, unsigned times)
{
    struct peer *p = peer_of(m, to);
    int err = may_send(m, p, to, MESH_PLAIN);
    void *at;

    if (err == 0 && len > MESH_INLINE && !body_room(m->body_out[to]))
        return SD_EBUSY;
    if (len > MESH_INLINE)
        len = sizeof(struct body_name) + MESH_HEAD_MAX;
    /* A reservation that is not committed is forgotten by the next one. */
    len = len * times + (size_t)(times - 1) * PER_RECORD;
    return err != 0 ? err : reserve(p, &at, len, MESH_PLAIN);
}

int mesh_room(struct mesh *m, unsigned to, size_t len)
{
    return room(m, to, len, 1);
}

int mesh_room_for_two(struct mesh *m, unsigned to, size_t len)
{
    return room(m, to, len, 2);
}
