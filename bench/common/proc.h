/* proc.h - what a group of server processes has used, read from /proc.
 *
 * A server is named by one or more pids; their children count too. */
#ifndef SD_BENCH_PROC_H
#define SD_BENCH_PROC_H

#include <stdint.h>

enum {
    PROC_MAX = 512
};

struct proc_group {
    unsigned count;
    int pid[PROC_MAX];
};

struct proc_usage {
    uint64_t cpu_ns;  /* time on a CPU, all threads, to the nanosecond */
    uint64_t user_ns; /* its user part, to the clock tick */
    uint64_t reads;   /* read, readv, pread calls; recv is not counted */
    uint64_t writes;  /* write, writev, pwrite calls; send is not counted */
};

/* Parse "12,34" and add the processes and all their descendants as they are
 * now.  Dies when one does not exist. */
void proc_group_add(struct proc_group *g, const char *list);

/* 0, or -1 when a process of the group has ended. */
int proc_usage_read(struct proc_usage *out, const struct proc_group *g);

/* Proportional set size of all, in bytes; -1 when one has ended. */
int64_t proc_pss(const struct proc_group *g);

/* Resident set size of all, the same; what two share counts twice. */
int64_t proc_rss(const struct proc_group *g);

#endif
