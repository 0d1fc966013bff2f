/* ring.h - one-writer, one-reader message ring in shared memory.
 *
 * A ring carries whole messages one way between two processes.  It never
 * blocks, never allocates and wakes nobody: the mesh (ipc/mesh.h) decides who
 * owns which end and whom to wake.  Both ends hold a `struct ring` of their
 * own; only the control block and the data are shared, and nothing read from
 * them is trusted.
 *
 * A ring is used in sessions: (epoch of the writer, epoch of the reader).
 * Each end enters a session before it may move anything; what an end left
 * behind from an older session is invisible to the new one. */
#ifndef SD_IPC_RING_H
#define SD_IPC_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_CTL_SIZE = 128, /* bytes of a control block; zeroed = never used */
    RING_REC_HEAD = 8    /* bytes in front of each record's data */
};

struct ring_ctl;

/* One end of a ring.  Private: filled by ring_open(). */
struct ring {
    unsigned magic;
    uint32_t session; /* entered, 0: none */
    struct ring_ctl *ctl;
    unsigned char *data;
    uint32_t cap;
    uint32_t keep;      /* bytes only answers may fill */
    uint32_t head;      /* reader: own; writer: last seen */
    uint32_t tail;      /* writer: own; reader: last seen */
    uint32_t next;      /* reader: behind the peeked record; writer: reserved */
    uint32_t room;      /* writer: bytes reserved for data */
    uint64_t committed; /* writer: messages of this session */
};

/* Messages of one session: all committed were popped or wait. */
struct ring_count {
    uint64_t committed, popped, waiting;
};

struct ring_msg {
    uint32_t type; /* enum msg_type, ipc/msg.h */
    uint32_t len;
    const void *data; /* borrowed from the ring until ring_pop() */
};

/* Return non-zero to end the walk; the walk returns it. */
typedef int (*ring_fn)(void *arg, const struct ring_msg *m);

/* Take hold of one end.  `cap`, a power of two, is the size of `data`; both
 * places are kept.  The last `keep` bytes are for answers only. */
void ring_open(struct ring *r, void *ctl, void *data, uint32_t cap,
               uint32_t keep);

uint32_t ring_session(uint16_t writer_epoch, uint16_t reader_epoch);

/* The longest message a ring of this shape takes, at any time it is empty. */
uint32_t ring_max(uint32_t cap, uint32_t keep);

/* Writer.  Enter `session`: first every record of this writer's last session
 * that its reader has not popped is given to `fn` (NULL: dropped), in order,
 * once.  0 when the ring is open; SD_EBUSY while the reader has not entered:
 * ask again.  Messages are not accepted before it is open (SD_EGONE). */
int ring_write_enter(struct ring *r, uint32_t session, ring_fn fn, void *arg);

/* Writer.  Room for `len` bytes of a message, *out the place to write them.
 * `answer`: may also fill the kept bytes.  Nothing is visible, and nothing is
 * taken, before ring_commit(); a new reservation forgets the old one.
 * SD_EFULL: try later.  SD_ETOOLARGE: can never fit.  SD_EGONE: not open. */
int ring_reserve(struct ring *r, void **out, uint32_t len, bool answer);

/* Writer.  Make the first `len` reserved bytes a message. */
void ring_commit(struct ring *r, uint32_t type, uint32_t len);

/* Writer.  Are `bytes` or more in use? */
bool ring_has_much(struct ring *r, uint32_t bytes);

/* Writer.  Each of the three is counted by itself; a reader that is just
 * popping is waited for a moment. */
void ring_count(const struct ring *r, struct ring_count *out);

/* Writer.  Both at once, from a copy of `data`. */
int ring_push(struct ring *r, uint32_t type, const void *data, uint32_t len);

/* Reader.  Enter `session`, dropping what is left of an older one.  0, or
 * SD_EBUSY while a living writer still has to take back what an earlier
 * reader left: ask again. */
int ring_read_enter(struct ring *r, uint32_t session);

/* Reader.  1 and the first message, 0 when there is none, SD_EPROTO when the
 * ring holds garbage (ring_drop() it).  The message stays valid, and its room
 * taken, until ring_pop(), which must follow a peek that returned 1. */
int ring_peek(struct ring *r, struct ring_msg *m);
void ring_pop(struct ring *r);

/* Reader.  Show every message waiting, without taking any. */
int ring_walk(struct ring *r, ring_fn fn, void *arg);

/* Reader.  The end of what is committed by now; is everything up to there, in
 * the same session, popped? */
uint32_t ring_read_mark(struct ring *r);
bool ring_has_read(const struct ring *r, uint32_t mark);

/* Reader.  Forget everything that waits. */
void ring_drop(struct ring *r);

#endif
