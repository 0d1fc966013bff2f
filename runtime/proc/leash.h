/* leash.h - the socket between the master and one child.
 *
 * Whole messages, in order.  End of file is news too: in the child that the
 * master is gone, in the master that the child has let go. */
#ifndef SD_PROC_LEASH_H
#define SD_PROC_LEASH_H

#include <stddef.h>
#include <stdint.h>

enum leash_type {
    LEASH_NONE,
    /* master -> child */
    LEASH_GO,         /* first of all: your slot is filled, begin */
    LEASH_ADOPT,      /* serve the listeners of slot `number` too */
    LEASH_RELEASE,    /* no longer */
    LEASH_DRAIN,      /* end in order, within `number` milliseconds */
    LEASH_LEAVE,      /* accept no more, close `number` conns in 1000 s; the
                         agent tells the others that the node drains */
    LEASH_REOPEN_LOG, /* the log file was moved away */
    LEASH_BUILD,      /* make generation `number` of the bundle that comes with
                         it, beside the one that serves, and say BUILT */
    LEASH_COMMIT,     /* `number` serves from now on; for the agent its bundle
                         comes with it */
    LEASH_DROP,       /* generation `number` will not come */
    LEASH_CONSOLE,    /* with a descriptor: somebody wants to look inside, or
                         asks the agent for `number`, enum agent_ask */
    /* child -> master */
    LEASH_READY,
    LEASH_REFUSED, /* cannot start; text says why */
    LEASH_BUILT,   /* generation `number` stands by */
    LEASH_UNBUILT, /* it cannot; text says why */
    /* configuration child -> master */
    LEASH_FILE, /* text: the file it is about to run */
    LEASH_NOTE, /* text: what is wrong; `number` 1: an error, 0: a warning */
    LEASH_TYPES
};

enum {
    LEASH_TEXT = 4000
};

struct leash_msg {
    uint32_t type; /* enum leash_type */
    uint32_t number;
    uint32_t serial;       /* of a vote: BUILD and its answer have the same */
    char text[LEASH_TEXT]; /* NUL-terminated */
};

/* Both ends, close-on-exec and non-blocking: fds[0] is the master's. */
int leash_pair(int fds[2]);

/* 0 or -errno; text may be NULL and is cut. */
int leash_send(int fd, enum leash_type type, uint32_t number, const char *text);

/* Send a whole message, with a descriptor, which is borrowed; -1: without. */
int leash_send_msg(int fd, const struct leash_msg *m, int passed);

/* 1: *m is filled; 0: nothing waits; negative: the other end is gone. */
int leash_receive(int fd, struct leash_msg *m);

/* The same, and the descriptor that came with it: yours; -1: none. */
int leash_receive_fd(int fd, struct leash_msg *m, int *passed);

/* Child: wait for LEASH_GO.  0 or negative. */
int leash_wait_go(int fd);

#endif
