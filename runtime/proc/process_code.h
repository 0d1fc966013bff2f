/* process_code.h - the code a process runs: another generation is made beside
 * the one that serves, committed or dropped; a fresh vm of the same one takes
 * over when memory is short.  For process.c alone. */
#ifndef SD_PROC_PROCESS_CODE_H
#define SD_PROC_PROCESS_CODE_H

#include "proc/process.h"

/* The log as the configuration has it, which may be another one now. */
void process_open_log(const struct process *p);

/* The master asks for a generation, whose bundle is in `fd` (borrowed); it is
 * told whether it stands by. */
void process_build(struct process *p, const struct leash_msg *m, int fd);

/* It does not come. */
void process_drop(struct process *p, unsigned generation);

/* The agent: no code of scripts, but their names and limits. */
void process_take_config(struct process *p, unsigned generation, int fd);

/* At each heartbeat, with its time. */
void process_look_at_memory(struct process *p, uint64_t now);

/* Before the vms end: no generation is made any more. */
void process_rest_code(struct process *p);

/* After the vms have ended. */
void process_end_code(struct process *p);

#endif
