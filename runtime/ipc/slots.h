/* slots.h - the table of a node's processes, in shared memory.
 *
 * A slot is a fixed number; the processes that fill it one after the other
 * differ by epoch.  The master writes epoch, pid and the states starting,
 * dead and broken; the process in the slot writes the rest of its own line.
 * Everyone reads, without locks: each number is atomic by itself. */
#ifndef SD_IPC_SLOTS_H
#define SD_IPC_SLOTS_H

#include <stddef.h>
#include <stdint.h>

enum {
    SLOTS_MAX = 256
};

enum slot_role {
    SLOT_NONE,
    SLOT_WORKER,
    SLOT_TASK,
    SLOT_RELAY,
    SLOT_AGENT,
    SLOT_MASTER,
    SLOT_ROLES
};

enum slot_state {
    SLOT_EMPTY, /* never filled */
    SLOT_STARTING,
    SLOT_READY,
    SLOT_DRAINING,
    SLOT_DEAD,   /* reaped, to be filled again */
    SLOT_BROKEN, /* its breaker is open */
    SLOT_STATES
};

/* What a process says of itself. */
enum slot_figure {
    SLOT_STARTED,    /* monotonic ms when it was filled (by the master) */
    SLOT_RESTARTS,   /* times it was filled again (by the master) */
    SLOT_HEARTBEAT,  /* monotonic ms of the last loop turn */
    SLOT_LOOP_LAG,   /* microseconds a due timer waited, smoothed */
    SLOT_CONNS,      /* open conns */
    SLOT_MEMORY,     /* bytes resident */
    SLOT_VM_MEMORY,  /* bytes of the vm */
    SLOT_BUSY,       /* tasks: calls taken and not answered */
    SLOT_GENERATION, /* of the code it runs */
    SLOT_ABROAD,     /* workers: percent of what may wait for other nodes */
    SLOT_VOTE,       /* master: the one that its generation came of; 0: none */
    SLOT_REDIS,      /* workers: which Redis keeps the cluster; 0: not known */
    SLOT_FIGURES
};

struct slots; /* in shared memory; zeroed, then slots_init() by the master */

/* A slot at one moment. */
struct slot_info {
    uint32_t role;  /* enum slot_role */
    uint32_t index; /* within its role */
    uint32_t state; /* enum slot_state */
    uint32_t epoch; /* 16 bits, never 0 */
    int32_t pid;    /* 0: none */
    uint64_t figure[SLOT_FIGURES];
};

size_t slots_size(unsigned n);
struct slots *slots_init(void *mem, unsigned n);
unsigned slots_count(const struct slots *s);

/* Master, before any process runs: what slot `i` is for. */
void slots_assign(struct slots *s, unsigned i, enum slot_role role,
                  unsigned index);

/* Master.  A process was put into slot `i`: starting, figures zeroed. */
void slots_fill(struct slots *s, unsigned i, int pid, uint64_t now_ms);

/* Master.  The process of slot `i` was reaped: the state is dead, the epoch
 * the next process's.  Returns the epoch that ended. */
uint16_t slots_end(struct slots *s, unsigned i);

void slots_set_state(struct slots *s, unsigned i, enum slot_state state);
enum slot_state slots_state(const struct slots *s, unsigned i);
enum slot_role slots_role(const struct slots *s, unsigned i);
uint16_t slots_epoch(const struct slots *s, unsigned i);

/* Owner of the slot. */
void slots_set(struct slots *s, unsigned i, enum slot_figure f, uint64_t v);
uint64_t slots_get(const struct slots *s, unsigned i, enum slot_figure f);

void slots_read(const struct slots *s, unsigned i, struct slot_info *out);

/* Is the process of this (slot, epoch) alive as far as the master knows? */
int slots_is_alive(const struct slots *s, unsigned i, uint16_t epoch);

/* "worker 0"; "agent" and "master", of which there is one. */
void slots_name(char *out, size_t size, const struct slots *s, unsigned i);

const char *slot_role_name(enum slot_role role);
const char *slot_state_name(enum slot_state state);

#endif
