/* slots.c - see slots.h.
 *
 * A slot is four cache lines apart from its neighbours' hot ones: what the
 * master writes on the first, what the process writes at every loop turn on
 * those behind.  All loads and stores of figures are relaxed: they are read by
 * `status` and by the choice of a task, where a value of a moment ago is as
 * good.  State and epoch are released by whoever stores them, so that a reader
 * who sees `ready` also sees what was set up before. */
#include "ipc/slots.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define SLOTS_MAGIC 0x534c4f54u

struct slot {
    alignas(64) _Atomic uint32_t role;
    _Atomic uint32_t index;
    _Atomic uint32_t state;
    _Atomic uint32_t epoch;
    _Atomic int32_t pid;
    alignas(64) _Atomic uint64_t figure[SLOT_FIGURES];
};

struct slots {
    unsigned magic;
    unsigned n;
    struct slot slot[];
};

static const char *const role_names[SLOT_ROLES] = {
    [SLOT_NONE] = "none",   [SLOT_WORKER] = "worker", [SLOT_TASK] = "task",
    [SLOT_RELAY] = "relay", [SLOT_AGENT] = "agent",   [SLOT_MASTER] = "master",
};

static const char *const state_names[SLOT_STATES] = {
    [SLOT_EMPTY] = "empty", [SLOT_STARTING] = "starting",
    [SLOT_READY] = "ready", [SLOT_DRAINING] = "draining",
    [SLOT_DEAD] = "dead",   [SLOT_BROKEN] = "broken",
};

static uint32_t load(const _Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_acquire);
}

static void store(_Atomic uint32_t *p, uint32_t v)
{
    atomic_store_explicit(p, v, memory_order_release);
}

static const struct slot *slot_of(const struct slots *s, unsigned i)
{
    sd_check(s, SLOTS_MAGIC);
    sd_assert(i < s->n);
    return &s->slot[i];
}

static struct slot *slot_to(struct slots *s, unsigned i)
{
    sd_check(s, SLOTS_MAGIC);
    sd_assert(i < s->n);
    return &s->slot[i];
}

size_t slots_size(unsigned n)
{
    return sizeof(struct slots) + n * sizeof(struct slot);
}

struct slots *slots_init(void *mem, unsigned n)
{
    struct slots *s = mem;
    unsigned i;

    sd_assert(n > 0 && n <= SLOTS_MAX);
    s->magic = SLOTS_MAGIC;
    s->n = n;
    for (i = 0; i < n; i++)
        store(&s->slot[i].epoch, 1);
    return s;
}

unsigned slots_count(const struct slots *s)
{
    sd_check(s, SLOTS_MAGIC);
    return s->n;
}

void slots_assign(struct slots *s, unsigned i, enum slot_role role,
                  unsigned index)
{
    struct slot *slot = slot_to(s, i);

    store(&slot->role, role);
    store(&slot->index, index);
}

void slots_fill(struct slots *s, unsigned i, int pid, uint64_t now_ms)
{
    struct slot *slot = slot_to(s, i);
    uint64_t restarts = slots_get(s, i, SLOT_RESTARTS);
    unsigned f;

    if (load(&slot->state) != SLOT_EMPTY)
        restarts++;
    for (f = 0; f < SLOT_FIGURES; f++)
        slots_set(s, i, f, 0);
    slots_set(s, i, SLOT_STARTED, now_ms);
    slots_set(s, i, SLOT_RESTARTS, restarts);
    atomic_store_explicit(&slot->pid, pid, memory_order_relaxed);
    store(&slot->state, SLOT_STARTING);
}

uint16_t slots_end(struct slots *s, unsigned i)
{
    struct slot *slot = slot_to(s, i);
    uint16_t old = (uint16_t)load(&slot->epoch);
    uint16_t next = (uint16_t)(old + 1);

    store(&slot->state, SLOT_DEAD);
    atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
    store(&slot->epoch, next == 0 ? 1 : next);
    return old;
}

void slots_set_state(struct slots *s, unsigned i, enum slot_state state)
{
    store(&slot_to(s, i)->state, state);
}

enum slot_state slots_state(const struct slots *s, unsigned i)
{
    return load(&slot_of(s, i)->state);
}

enum slot_role slots_role(const struct slots *s, unsigned i)
{
    return load(&slot_of(s, i)->role);
}

uint16_t slots_epoch(const struct slots *s, unsigned i)
{
    return (uint16_t)load(&slot_of(s, i)->epoch);
}

void slots_set(struct slots *s, unsigned i, enum slot_figure f, uint64_t v)
{
    sd_assert(f < SLOT_FIGURES);
    atomic_store_explicit(&slot_to(s, i)->figure[f], v, memory_order_relaxed);
}

uint64_t slots_get(const struct slots *s, unsigned i, enum slot_figure f)
{
    sd_assert(f < SLOT_FIGURES);
    return atomic_load_explicit(&slot_of(s, i)->figure[f],
                                memory_order_relaxed);
}

void slots_read(const struct slots *s, unsigned i, struct slot_info *out)
{
    const struct slot *slot = slot_of(s, i);
    unsigned f;

    out->role = load(&slot->role);
    out->index = load(&slot->index);
    out->state = load(&slot->state);
    out->epoch = load(&slot->epoch);
    out->pid = atomic_load_explicit(&slot->pid, memory_order_relaxed);
    for (f = 0; f < SLOT_FIGURES; f++)
        out->figure[f] = slots_get(s, i, f);
}

int slots_is_alive(const struct slots *s, unsigned i, uint16_t epoch)
{
    enum slot_state state = slots_state(s, i);

    return slots_epoch(s, i) == epoch && state >= SLOT_STARTING &&
           state <= SLOT_DRAINING;
}

void slots_name(char *out, size_t size, const struct slots *s, unsigned i)
{
    enum slot_role role = slots_role(s, i);

    if (role == SLOT_AGENT || role == SLOT_MASTER)
        snprintf(out, size, "%s", slot_role_name(role));
    else
        snprintf(out, size, "%s %u", slot_role_name(role),
                 load(&slot_of(s, i)->index));
}

const char *slot_role_name(enum slot_role role)
{
    return role < SLOT_ROLES ? role_names[role] : "unknown";
}

const char *slot_state_name(enum slot_state state)
{
    return state < SLOT_STATES ? state_names[state] : "unknown";
}
