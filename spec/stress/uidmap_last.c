/* uidmap_last.c - two workers end their bindings of one uid at the same time.
 *
 *   uidmap_last [rounds]
 *
 * Two threads, each the writer of a slot, meet before every round, bind the
 * same uid, meet again, and unbind it at once.  Exactly one of them must hear
 * that it was the last, whoever was first. */
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ipc/slots.h"
#include "ipc/uidmap.h"

enum {
    CONNS = 1024,
    WORKERS = 2
};

static long rounds = 200000;
static struct slots *slots;
static void *block;
static atomic_long met;
static atomic_bool *lasts[WORKERS];

/* Wait for the other one; `n` counts the meetings. */
static void meet(long n)
{
    long spins = 0;

    atomic_fetch_add(&met, 1);
    while (atomic_load(&met) < 2 * n) {
        if (++spins % 1000 == 0)
            sched_yield();
    }
}

/* A moment, so that the two cross at every point of their ways. */
static void dally(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    for (volatile unsigned i = (unsigned)(*seed >> 40) % 256; i > 0; i--)
        continue;
}

/* On a core of its own, if there are two: else the two would take turns. */
static void stay_apart(unsigned self)
{
    cpu_set_t core;

    CPU_ZERO(&core);
    CPU_SET(self, &core);
    (void)pthread_setaffinity_np(pthread_self(), sizeof(core), &core);
}

static void *work(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    struct uidmap *map =
        uidmap_attach(block, slots, self, slots_epoch(slots, self));
    uint64_t conn = (uint64_t)1 << 20 | self;
    struct uidmap_dead dead;
    char text[32];
    uint64_t seed = self;
    long i, n = 0;

    stay_apart(self);
    while (!uidmap_own(map, &dead))
        uidmap_told(map, &dead);
    for (i = 0; i < rounds; i++) {
        bool last = false;
        struct slice uid;

        uid = slice_make(text,
                         (size_t)snprintf(text, sizeof(text), "u%ld", i % 100));
        uidmap_bind(map, uid, conn, (uint64_t)i + 1);
        meet(++n);
        dally(&seed);
        uidmap_unbind(map, uid, conn, &last);
        atomic_store(&lasts[self][i], last);
        meet(++n);
    }
    uidmap_close(&map);
    return NULL;
}

/* On pages of its own, zeroed. */
static void *memory(size_t size)
{
    void *p = aligned_alloc(4096, (size + 4095) / 4096 * 4096);

    if (p == NULL)
        exit(2);
    for (size_t i = 0; i < size; i++)
        ((char *)p)[i] = 0;
    return p;
}

static void make_node(void)
{
    slots = slots_init(memory(slots_size(WORKERS)), WORKERS);
    block = memory(uidmap_size(WORKERS, CONNS));
    uidmap_init(block, WORKERS, CONNS);
    for (unsigned i = 0; i < WORKERS; i++) {
        slots_assign(slots, i, SLOT_WORKER, i);
        slots_fill(slots, i, 1000 + (int)i, 1);
        lasts[i] = memory((size_t)rounds * sizeof(*lasts[i]));
    }
}

int main(int argc, char **argv)
{
    pthread_t other;
    long i, none = 0, both = 0;

    if (argc > 1)
        rounds = atol(argv[1]);
    make_node();
    pthread_create(&other, NULL, work, (void *)(uintptr_t)1);
    work(NULL);
    pthread_join(other, NULL);
    for (i = 0; i < rounds; i++) {
        none += !lasts[0][i] && !lasts[1][i];
        both += lasts[0][i] && lasts[1][i];
    }
    printf("%ld rounds: none was the last in %ld, both in %ld\n", rounds, none,
           both);
    return none + both > 0;
}
