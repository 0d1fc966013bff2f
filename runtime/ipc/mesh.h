/* mesh.h - the processes of a node, joined by rings in one shared memory.
 *
 * One ring per ordered pair that talks (worker-worker, worker-task,
 * worker-relay, agent and master with all), one wakeup and one socket for large
 * bodies per process.  Numbers of slots: workers first, two per task, relays,
 * the agent, the master.
 *
 * A message is seen whole or not at all; messages of one pair arrive in order;
 * a full ring is SD_EBUSY, never loss; a call reserves room for its answer;
 * what a dead reader had not popped comes back to its writer.  What it *had*
 * popped the mesh cannot know: callers keep a list of their unanswered calls
 * by (slot, epoch) and end those when on_gone says so. */
#ifndef SD_IPC_MESH_H
#define SD_IPC_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ipc/counters.h"
#include "ipc/slots.h"

enum {
    MESH_INLINE = 64 * 1024, /* longer messages travel as memfds */
    MESH_HEAD_MAX = 192,     /* bytes of v[0], that always travel inline */
    MESH_CALLS_MAX = 192,    /* unanswered calls to one process */
    MESH_FDS_MAX = 2 + 2 * SLOTS_MAX
};

struct mesh;

struct mesh_shape {
    unsigned workers;
    unsigned tasks;
    unsigned relays; /* a worker or a relay there is at least */
    size_t extra;    /* bytes for tables of upper layers, see mesh_extra() */
};

enum mesh_kind {
    MESH_PLAIN,
    MESH_CALL,  /* reserves room for its answer */
    MESH_ANSWER /* to a MESH_CALL: exactly one for each */
};

struct mesh_msg {
    unsigned from;
    uint16_t epoch; /* of the sender */
    uint32_t type;  /* enum msg_type */
    bool dead;      /* the sender has died since */
    bool answer;
    int err; /* SD_ECRASHED: the large part is lost, body is v[0] alone */
    struct slice body; /* borrowed until on_msg returns or mesh_pop_now() */
};

enum mesh_verdict {
    MESH_DONE, /* handed on: pop it */
    MESH_HOLD  /* not now: it and what follows wait for mesh_resume() */
};

/* Called from mesh_poll() only.  Any may send; none may poll. */
struct mesh_hooks {
    enum mesh_verdict (*on_msg)(void *data, const struct mesh_msg *m);
    /* `m` (from: the dead reader, epoch: its) was not popped by its reader. */
    void (*on_back)(void *data, const struct mesh_msg *m);
    /* Last word of that process; all it sent has been handed to on_msg. */
    void (*on_gone)(void *data, unsigned slot, uint16_t epoch);
    void *data;
};

/* Master.  Make everything; the caller is slot mesh_master().  On error
 * nothing is left open and *out is untouched. */
int mesh_create(struct mesh **out, const struct mesh_shape *shape);

/* The descriptors that `slot` inherits, as mesh_attach() wants them; borrowed,
 * close-on-exec.  `fds` has MESH_FDS_MAX places; returns how many. */
unsigned mesh_fds(const struct mesh *m, unsigned slot, int *fds);

/* Child.  Takes the descriptors, also on error. */
int mesh_attach(struct mesh **out, const int *fds, unsigned n, unsigned slot);
void mesh_close(struct mesh **mp);

void mesh_set_hooks(struct mesh *m, const struct mesh_hooks *hooks);

/* Send the bytes of v[0..n) as one message; v[0] is the wire head.  0;
 * SD_EBUSY: no room, nothing happened; SD_EGONE: nobody is ready there, or no
 * ring leads there; SD_ETOOLARGE; SD_EUNAVAILABLE as of body_send(). */
int mesh_send(struct mesh *m, unsigned to, uint32_t type, enum mesh_kind kind,
              const struct slice *v, unsigned n);

/* Send a descriptor ahead of the message that names it by *number; the caller
 * keeps its own.  0, SD_EBUSY, SD_EGONE, SD_EUNAVAILABLE.  Its reader claims it
 * while it has that message: the descriptor; SD_ECRASHED; or SD_EBUSY, too many
 * others wait in front: it must answer MESH_HOLD, and has the message again
 * when one of those was claimed, but for the message of a dead process. */
int mesh_send_fd(struct mesh *m, unsigned to, int fd, uint64_t *number);
int mesh_claim_fd(struct mesh *m, unsigned from, uint64_t number);

/* Wake readers at the end of the turn (mesh_before_sleep() and this), not with
 * each message: they find many at once then.  For processes that turn often. */
void mesh_set_lazy(struct mesh *m);
void mesh_ring_doors(struct mesh *m);

/* Would mesh_send() find room for a MESH_PLAIN of `len` bytes?  0; SD_EBUSY;
 * SD_EGONE.  Of a longer one than MESH_INLINE: for its memfd, which only a
 * burst of other senders can take away. */
int mesh_room(struct mesh *m, unsigned to, size_t len);

/* The same of two, one behind the other. */
int mesh_room_for_two(struct mesh *m, unsigned to, size_t len);

/* Hand on up to about `max` waiting messages, in turns of at most 32 per
 * sender, and all there is to say of dead processes.  Returns how many. */
unsigned mesh_poll(struct mesh *m, unsigned max);

/* How far each process had written to us at some moment. */
struct mesh_marks {
    uint16_t epoch[SLOTS_MAX]; /* 0: nothing of it waited */
    uint32_t at[SLOTS_MAX];
};

/* Mark that; the next poll looks into all rings, also where the writer has not
 * rung.  Later: was everything up to the marks handed on?  Of a process that
 * has died since it was. */
void mesh_mark(struct mesh *m, struct mesh_marks *marks);
bool mesh_is_read(const struct mesh *m, const struct mesh_marks *marks);

/* Inside on_msg: free this message's room now, and with it its inline body. */
void mesh_pop_now(struct mesh *m);
void mesh_resume(struct mesh *m); /* look at held messages again */

/* Show the messages of `from` that wait, until `fn` returns non-zero; true
 * when it did.  A task looks for a cancel so. */
bool mesh_walk(struct mesh *m, unsigned from,
               int (*fn)(void *arg, const struct mesh_msg *m), void *arg);

/* The loop: poll until mesh_before_sleep() is true, then block with mesh_fd();
 * call mesh_after_wake() when epoll returned, mesh_on_wake() when readable. */
int mesh_fd(const struct mesh *m);
bool mesh_before_sleep(struct mesh *m);
void mesh_after_wake(struct mesh *m);
void mesh_on_wake(struct mesh *m);

/* Master: a process fills a slot; it was reaped: everyone is woken. */
void mesh_slot_filled(struct mesh *m, unsigned slot, int pid);
void mesh_slot_died(struct mesh *m, unsigned slot);

unsigned mesh_self(const struct mesh *m);
unsigned mesh_master(const struct mesh *m);
struct slots *mesh_slots(const struct mesh *m);
struct counters *mesh_counters(const struct mesh *m, unsigned slot);
void *mesh_extra(const struct mesh *m); /* page aligned, zeroed at start */

/* What became of all messages this process has sent: accepted is always the
 * sum of the others.  Dropped: their reader died before it read them. */
struct mesh_sent {
    uint64_t accepted, delivered, dropped, in_flight;
};

void mesh_count_sent(const struct mesh *m, struct mesh_sent *out);

/* Unanswered calls to `slot`; messages dropped as garbage. */
unsigned mesh_calls(const struct mesh *m, unsigned slot);
uint64_t mesh_garbage(const struct mesh *m);

#endif
