/* running.h - what a worker's Lua is at, as it has told when it was asked.
 *
 * One page of shared memory per worker (ipc/page.h), with the epoch of the
 * process: of one that is no more, nothing is read. */
#ifndef SD_IPC_RUNNING_H
#define SD_IPC_RUNNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RUNNING_UID = 128,  /* with NUL; longer ones are cut */
    RUNNING_ROUTE = 64, /* the same */
    RUNNING_TEXT = RUNNING_UID + RUNNING_ROUTE + 128
};

enum running_kind {
    RUNNING_NOTHING, /* C is at something of its own */
    RUNNING_WORK,    /* what scripts began themselves */
    RUNNING_PACKET,
    RUNNING_REQUEST,
    RUNNING_HOOK,
    RUNNING_TIMER,
    RUNNING_LOAD, /* scripts of a generation that is made */
    RUNNING_KINDS
};

#define RUNNING_NO_PORT 0xffffu

/* The master asks by this one; a process that does not know it ignores it. */
#define RUNNING_SIGNAL SIGURG

/* A multiple of 8 bytes, without gaps. */
struct running_info {
    uint64_t told; /* monotonic ms: when this was true */
    uint32_t kind; /* enum running_kind */
    uint32_t port; /* index in the configuration, or RUNNING_NO_PORT */
    char uid[RUNNING_UID];
    char route[RUNNING_ROUTE]; /* what runs: "chat/say", "on_close" */
};

struct running; /* the page of one worker, zeroed at first */

/* Bytes of one page; pages lie one behind the other, 64-byte aligned. */
size_t running_size(void);

/* Owner; fit for a signal handler. */
void running_tell(struct running *r, uint16_t epoch,
                  const struct running_info *info);

/* Everybody: what the process of that epoch has told at or after `since`.
 * False: nothing. */
bool running_read(struct running *r, uint16_t epoch, uint64_t since,
                  struct running_info *out);

/* "packet chat/say of port game, uid ann"; `port` its name or NULL. */
void running_text(char *out, size_t size, const struct running_info *info,
                  const char *port);

#endif
