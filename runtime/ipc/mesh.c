/* mesh.c - life of a mesh and the loop's side of it, see mesh.h.
 *
 * The master makes the shared memory (mesh_map.c), one eventfd and one socket
 * pair for large bodies per slot, and keeps all of them: a process that dies
 * takes nothing with it that its successor or its neighbours need.  A child
 * inherits the memory, every wakeup, every sending end, and its own receiving
 * end.  Each process holds the whole memory mapped and, for each process it
 * talks with, one end of two rings (mesh_peer.h); mesh_send.c writes,
 * mesh_poll.c reads. */
#include "ipc/mesh.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/mesh_peer.h"

/* --- life ----------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static struct mesh *new_mesh(void)
{
    struct mesh *m = mem_zalloc(sizeof(*m));

    m->magic = MESH_MAGIC;
    m->memory_fd = -1;
    memset(m->body_in, 0xff, sizeof(m->body_in));
    memset(m->body_out, 0xff, sizeof(m->body_out));
    memset(m->wake, 0xff, sizeof(m->wake));
    return m;
}

void mesh_close(struct mesh **mp)
{
    struct mesh *m = *mp;
    unsigned i;

    if (m == NULL)
        return;
    sd_check(m, MESH_MAGIC);
    sd_assert(!m->polling);
    for (i = 0; i < SLOTS_MAX; i++) {
        close_fd(&m->body_in[i]);
        close_fd(&m->body_out[i]);
        close_fd(&m->wake[i]);
        if (m->peers != NULL && i < m->map.n)
            body_unmap(&m->peers[i].far);
    }
    close_fd(&m->memory_fd);
    body_box_free(&m->box);
    mesh_map_close(&m->map);
    mem_free(m->peers);
    m->magic = 0;
    mem_free(m);
    *mp = NULL;
}

/* Take this process's end of every ring.  A ring that cannot be entered yet
 * is tried again when its writer knocks (visit), or at the next send. */
static void join(struct mesh *m, unsigned self)
{
    const struct slots *slots = mesh_map_slots(&m->map);
    struct peer *p;
    unsigned i;

    m->self = self;
    m->epoch = slots_epoch(slots, self);
    m->deaths = mesh_map_deaths(&m->map);
    m->box = body_box_new();
    m->peers = mem_zalloc(m->map.n * sizeof(*m->peers));
    for (i = 0; i < m->map.n; i++) {
        p = &m->peers[i];
        p->epoch = slots_epoch(slots, i);
        p->talks = mesh_map_talks(&m->map, i, self);
        if (!p->talks)
            continue;
        mesh_map_ring(&m->map, i, self, &p->in);
        mesh_map_ring(&m->map, self, i, &p->out);
        ring_read_enter(&p->in, ring_session(p->epoch, m->epoch));
        mesh_bit_set(m->pending, i);
    }
}

int mesh_create(struct mesh **out, const struct mesh_shape *shape)
{
    struct mesh *m = new_mesh();
    int err, pair[2] = {-1, -1};
    unsigned i;

    err = mesh_map_make(&m->map, shape, &m->memory_fd);
    for (i = 0; err == 0 && i < m->map.n; i++) {
        m->wake[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        err = m->wake[i] < 0 ? -errno : body_pair(pair);
        if (err == 0) {
            m->body_in[i] = pair[0];
            m->body_out[i] = pair[1];
        }
    }
    if (err != 0) {
        mesh_close(&m);
        return err;
    }
    join(m, m->map.n - 1);
    slots_fill(mesh_slots(m), m->self, getpid(), clock_ms());
    slots_set_state(mesh_slots(m), m->self, SLOT_READY);
    *out = m;
    return 0;
}

unsigned mesh_fds(const struct mesh *m, unsigned slot, int *fds)
{
    unsigned n = m->map.n;

    sd_check(m, MESH_MAGIC);
    sd_assert(slot < n && m->self == mesh_master(m));
    fds[0] = m->memory_fd;
    fds[1] = m->body_in[slot];
    memcpy(fds + 2, m->wake, n * sizeof(*fds));
    memcpy(fds + 2 + n, m->body_out, n * sizeof(*fds));
    return 2 + 2 * n;
}

int mesh_attach(struct mesh **out, const int *fds, unsigned n, unsigned slot)
{
    struct mesh *m = new_mesh();
    unsigned slots = (n - 2) / 2;
    int err;

    sd_assert(n >= 4 && n <= MESH_FDS_MAX && n % 2 == 0 && slot < slots);
    m->memory_fd = fds[0];
    m->body_in[slot] = fds[1];
    memcpy(m->wake, fds + 2, slots * sizeof(*fds));
    memcpy(m->body_out, fds + 2 + slots, slots * sizeof(*fds));
    err = mesh_map_open(&m->map, m->memory_fd);
    if (err == 0 && m->map.n != slots)
        err = SD_EPROTO;
    if (err != 0) {
        mesh_close(&m);
        return err;
    }
    join(m, slot);
    /* Close what was sent to the process before us. */
    (void)body_receive(m->box, m->body_in[slot], m->epoch);
    *out = m;
    return 0;
}

void mesh_set_hooks(struct mesh *m, const struct mesh_hooks *hooks)
{
    sd_check(m, MESH_MAGIC);
    m->hooks = *hooks;
}

/* --- sleeping ------------------------------------------------------------- */

int mesh_fd(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return m->wake[m->self];
}

bool mesh_before_sleep(struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    mesh_ring_doors(m);
    return !mesh_has_work(m) && mesh_door_sleep(&m->map, m->self, m->deaths);
}

void mesh_after_wake(struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    mesh_door_awake(&m->map, m->self);
}

void mesh_on_wake(struct mesh *m)
{
    uint64_t count;

    sd_check(m, MESH_MAGIC);
    if (read(m->wake[m->self], &count, sizeof(count)) < 0)
        return; /* nothing there: woken by a count read before */
}

/* --- the master, and who asks --------------------------------------------- */

void mesh_slot_filled(struct mesh *m, unsigned slot, int pid)
{
    sd_check(m, MESH_MAGIC);
    slots_fill(mesh_slots(m), slot, pid, clock_ms());
}

void mesh_slot_died(struct mesh *m, unsigned slot)
{
    uint64_t one = 1;
    unsigned i;

    sd_check(m, MESH_MAGIC);
    sd_assert(slot < m->map.n && slot != m->self);
    slots_end(mesh_slots(m), slot);
    mesh_map_count_death(&m->map);
    for (i = 0; i < m->map.n; i++)
        if (mesh_door_wake(&m->map, i) &&
            write(m->wake[i], &one, sizeof(one)) < 0)
            continue; /* full, so readable */
}

unsigned mesh_self(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return m->self;
}

unsigned mesh_master(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return m->map.n - 1;
}

struct counters *mesh_counters(const struct mesh *m, unsigned slot)
{
    sd_check(m, MESH_MAGIC);
    return mesh_map_counters(&m->map, slot);
}

struct slots *mesh_slots(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return mesh_map_slots(&m->map);
}

void *mesh_extra(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return m->map.base + m->map.extra;
}

void mesh_count_sent(const struct mesh *m, struct mesh_sent *out)
{
    struct ring_count count;
    unsigned i;

    sd_check(m, MESH_MAGIC);
    *out = m->sent;
    for (i = 0; i < m->map.n; i++) {
        if (!m->peers[i].talks)
            continue;
        ring_count(&m->peers[i].out, &count);
        out->accepted += count.committed;
        out->delivered += count.popped;
        out->in_flight += count.waiting;
    }
}

unsigned mesh_calls(const struct mesh *m, unsigned slot)
{
    sd_check(m, MESH_MAGIC);
    sd_assert(slot < m->map.n);
    return m->peers[slot].calls;
}

uint64_t mesh_garbage(const struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    return m->garbage;
}
