/* spawn.h - start a child: fork, arrange, exec. */
#ifndef SD_PROC_SPAWN_H
#define SD_PROC_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "proc/user.h"

struct spawn {
    int binary; /* open executable; < 0: argv[0] is looked up in PATH */
    char *const *argv;
    const int *fds; /* stay open across exec, under their numbers */
    unsigned nfds;
    const struct user *user;
    uint64_t stack;   /* soft RLIMIT_STACK, 0: as ours */
    int output;       /* becomes stdout and stderr; -1: as ours */
    int death_signal; /* sent to the child when we die */
};

/* The child's pid, or -errno when fork failed.  A child whose exec failed
 * exits with 127.  All is borrowed. */
pid_t spawn_child(const struct spawn *s);

/* For people: "exit status 3", "signal 9 (Killed)". */
void spawn_status_text(int status, char *text, size_t size);

#endif
