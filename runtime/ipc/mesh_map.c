/* mesh_map.c - see mesh_map.h.
 *
 * Doors.  A writer commits to the ring, then sets its bit in the reader's
 * door, then looks whether the reader sleeps; a reader says that it sleeps,
 * then looks at the bits once more, then blocks.  Both sides store one thing
 * and load another, the one order in which a CPU may let the load pass the
 * store: without a full fence in between both could miss each other, and the
 * message would lie until the next one.  With a sequentially consistent fence
 * on both sides at least one of them sees the other's store.
 *
 * The same holds between the ring's tail and the bit: the reader clears the
 * bit, fence, reads the tail; the writer stores the tail, fence, reads the bit
 * and sets it only if it is clear.  So a busy pair costs the writer one fence
 * and two loads of lines that rarely change, and no atomic operation.
 *
 * Of several writers that see the reader asleep one takes the flag by an
 * exchange and writes the eventfd, the others do not: one system call per
 * sleep.
 *
 * Rings.  Control blocks are a matrix with the reader's row together, so that
 * they share pages; the data of rings that exist is packed by reader. */
#include "ipc/mesh_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"

#define MAP_MAGIC   0x4d534831u
#define MAP_PAGE    4096u
#define MAP_SEALS   (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)
#define MAP_EXTRA   ((size_t)1 << 40) /* sparse */
#define AGENT(map)  ((map)->n - 2)
#define MASTER(map) ((map)->n - 1)

struct head {
    uint64_t extra;
    uint64_t size;
    uint32_t magic;
    uint32_t workers;
    uint32_t tasks;
    uint32_t relays;
    _Atomic uint32_t deaths; /* the only one that changes, and rarely */
};

struct door {
    alignas(64) _Atomic uint32_t sleeping;
    alignas(64) _Atomic uint64_t ready[MAP_WORDS];
};

static size_t pages(size_t n)
{
    return (n + MAP_PAGE - 1) & ~(size_t)(MAP_PAGE - 1);
}

static struct head *head_of(const struct mesh_map *map)
{
    return (struct head *)(void *)map->base;
}

static struct door *door_of(const struct mesh_map *map, unsigned slot)
{
    sd_assert(slot < map->n);
    return (struct door *)(void *)(map->base + map->doors) + slot;
}

/* Tasks and relays: they do not talk among themselves. */
static unsigned aside(const struct mesh_map *map)
{
    return 2 * map->tasks + map->relays;
}

/* Workers, agent and master hear everybody else. */
static size_t heard_aside(const struct mesh_map *map)
{
    return map->workers + 2;
}

static size_t rings(const struct mesh_map *map)
{
    return (size_t)(map->workers + 2) * (map->n - 1) +
           aside(map) * heard_aside(map);
}

static bool fits(const struct mesh_shape *shape)
{
    return shape->workers <= SLOTS_MAX && shape->tasks <= SLOTS_MAX &&
           shape->relays <= SLOTS_MAX && shape->extra <= MAP_EXTRA &&
           shape->workers + shape->relays > 0 &&
           shape->workers + 2 * shape->tasks + shape->relays + 2 <= SLOTS_MAX;
}

static int lay_out(struct mesh_map *map, const struct mesh_shape *shape)
{
    if (!fits(shape))
        return SD_EINVALID;
    map->workers = shape->workers;
    map->tasks = shape->tasks;
    map->relays = shape->relays;
    map->n = map->workers + aside(map) + 2;
    map->doors = pages(sizeof(struct head));
    map->slots = map->doors + pages(map->n * sizeof(struct door));
    map->counters = map->slots + pages(slots_size(map->n));
    map->extra = map->counters + pages(map->n * counters_size());
    map->ctls = map->extra + pages(shape->extra);
    map->data = map->ctls + pages((size_t)map->n * map->n * RING_CTL_SIZE);
    map->size = map->data + rings(map) * MAP_RING_CAP;
    return 0;
}

static int map_memory(struct mesh_map *map, int fd)
{
    void *p = mmap(NULL, map->size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE, fd, 0);

    if (p == MAP_FAILED)
        return -errno;
    map->base = p;
    return 0;
}

static void assign_slots(struct mesh_map *map)
{
    struct slots *s = slots_init(map->base + map->slots, map->n);
    unsigned i, slot = 0;

    for (i = 0; i < map->workers; i++)
        slots_assign(s, slot++, SLOT_WORKER, i);
    for (i = 0; i < 2 * map->tasks; i++)
        slots_assign(s, slot++, SLOT_TASK, i / 2); /* two each */
    for (i = 0; i < map->relays; i++)
        slots_assign(s, slot++, SLOT_RELAY, i);
    slots_assign(s, AGENT(map), SLOT_AGENT, 0);
    slots_assign(s, MASTER(map), SLOT_MASTER, 0);
}

int mesh_map_make(struct mesh_map *map, const struct mesh_shape *shape, int *fd)
{
    struct head *head;
    int err, memory;

    memset(map, 0, sizeof(*map));
    err = lay_out(map, shape);
    if (err != 0)
        return err;
    memory = memfd_create("sdlua-mesh", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0)
        return -errno;
    if (ftruncate(memory, (off_t)map->size) < 0 ||
        fcntl(memory, F_ADD_SEALS, MAP_SEALS) < 0)
        err = -errno;
    if (err == 0)
        err = map_memory(map, memory);
    if (err != 0) {
        close(memory);
        return err;
    }
    head = head_of(map);
    head->workers = map->workers;
    head->tasks = map->tasks;
    head->relays = map->relays;
    head->extra = shape->extra;
    head->size = map->size;
    assign_slots(map);
    head->magic = MAP_MAGIC;
    *fd = memory;
    return 0;
}

int mesh_map_open(struct mesh_map *map, int fd)
{
    struct mesh_shape shape;
    struct head head;
    struct stat st;
    int err;

    memset(map, 0, sizeof(*map));
    if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        head.magic != MAP_MAGIC || fstat(fd, &st) < 0)
        return SD_EPROTO;
    shape = (struct mesh_shape){.workers = head.workers,
                                .tasks = head.tasks,
                                .relays = head.relays,
                                .extra = head.extra};
    err = lay_out(map, &shape);
    if (err != 0 || map->size != head.size || (off_t)map->size != st.st_size)
        return SD_EPROTO;
    return map_memory(map, fd);
}

void mesh_map_close(struct mesh_map *map)
{
    if (map->base != NULL)
        munmap(map->base, map->size);
    map->base = NULL;
}

static bool is_aside(const struct mesh_map *map, unsigned slot)
{
    return slot >= map->workers && slot < AGENT(map);
}

bool mesh_map_talks(const struct mesh_map *map, unsigned a, unsigned b)
{
    return a < map->n && b < map->n && a != b &&
           !(is_aside(map, a) && is_aside(map, b));
}

/* How many rings lie before those of reader `to`. */
static size_t rings_before(const struct mesh_map *map, unsigned to)
{
    size_t all = map->n - 1, w = map->workers;

    if (to < w)
        return to * all;
    if (is_aside(map, to))
        return w * all + (to - w) * heard_aside(map);
    return w * all + aside(map) * heard_aside(map) + (to - AGENT(map)) * all;
}

void mesh_map_ring(const struct mesh_map *map, unsigned from, unsigned to,
                   struct ring *out)
{
    size_t rank = from < to ? from : from - 1;
    size_t cell = (size_t)to * map->n + from;

    sd_assert(mesh_map_talks(map, from, to));
    if (is_aside(map, to) && from >= map->workers)
        rank = map->workers + (from - AGENT(map));
    ring_open(out, map->base + map->ctls + cell * RING_CTL_SIZE,
              map->base + map->data +
                  (rings_before(map, to) + rank) * MAP_RING_CAP,
              MAP_RING_CAP, MAP_RING_KEEP);
}

struct counters *mesh_map_counters(const struct mesh_map *map, unsigned slot)
{
    sd_assert(slot < map->n);
    return (struct counters *)(void *)(map->base + map->counters +
                                       slot * counters_size());
}

struct slots *mesh_map_slots(const struct mesh_map *map)
{
    return (struct slots *)(void *)(map->base + map->slots);
}

uint32_t mesh_map_deaths(const struct mesh_map *map)
{
    return atomic_load_explicit(&head_of(map)->deaths, memory_order_acquire);
}

void mesh_map_count_death(struct mesh_map *map)
{
    atomic_fetch_add(&head_of(map)->deaths, 1);
}

/* --- doors ---------------------------------------------------------------- */

static bool take_sleep(struct door *d)
{
    return atomic_load_explicit(&d->sleeping, memory_order_relaxed) != 0 &&
           atomic_exchange(&d->sleeping, 0) != 0;
}

bool mesh_door_ring(struct mesh_map *map, unsigned to, unsigned from)
{
    struct door *d = door_of(map, to);
    _Atomic uint64_t *word = &d->ready[from / 64];
    uint64_t bit = UINT64_C(1) << (from % 64);

    atomic_thread_fence(memory_order_seq_cst);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        atomic_fetch_or(word, bit);
        atomic_thread_fence(memory_order_seq_cst);
    }
    return take_sleep(d);
}

bool mesh_door_wake(struct mesh_map *map, unsigned to)
{
    atomic_thread_fence(memory_order_seq_cst);
    return take_sleep(door_of(map, to));
}

void mesh_door_take(struct mesh_map *map, unsigned self, uint64_t *bits)
{
    struct door *d = door_of(map, self);
    unsigned w;

    for (w = 0; w < MAP_WORDS; w++)
        if (atomic_load_explicit(&d->ready[w], memory_order_relaxed) != 0) {
            bits[w] |= atomic_exchange(&d->ready[w], 0);
            atomic_thread_fence(memory_order_seq_cst);
        }
}

bool mesh_door_sleep(struct mesh_map *map, unsigned self, uint32_t deaths)
{
    struct door *d = door_of(map, self);
    bool busy = false;
    unsigned w;

    atomic_store_explicit(&d->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    for (w = 0; w < MAP_WORDS; w++)
        busy |= atomic_load_explicit(&d->ready[w], memory_order_relaxed) != 0;
    busy |= mesh_map_deaths(map) != deaths;
    if (busy)
        mesh_door_awake(map, self);
    return !busy;
}

void mesh_door_awake(struct mesh_map *map, unsigned self)
{
    struct door *d = door_of(map, self);

    if (atomic_load_explicit(&d->sleeping, memory_order_relaxed) != 0)
        atomic_store_explicit(&d->sleeping, 0, memory_order_relaxed);
}
