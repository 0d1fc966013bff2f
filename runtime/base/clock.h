/* clock.h - the one place that reads the time.
 *
 * Everything that waits, expires or stamps asks here, so a spec that calls
 * clock_advance() moves all of it together. */
#ifndef SD_BASE_CLOCK_H
#define SD_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CLOCK_TICK_MS = 10 /* at the lowest rate that Linux has */
};

/* Monotonic time; starts anywhere, never goes back. */
uint64_t clock_ns(void);
uint64_t clock_ms(void);

/* clock_ns() as of the kernel's last tick, up to CLOCK_TICK_MS old, for a fifth
 * of the cost. */
uint64_t clock_tick_ns(void);

/* Milliseconds since 1970, UTC. */
int64_t clock_wall_ms(void);

/* User and system time that a process has burnt.  False: nobody can say. */
bool clock_cpu_ms(int pid, uint64_t *ms);

/* Move both clocks forward, in this process only.  For specs. */
void clock_advance(uint64_t ms);

#endif
