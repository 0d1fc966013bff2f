/* body.h - message bodies too large for a ring: sealed memfds sent beside.
 *
 * One datagram socket pair per process: all processes hold the sending end,
 * the process itself the receiving one.  The descriptor is sent before the
 * ring record that names it; a reader that finds the record but not the
 * descriptor knows that the sender's kernel refused it or the sender died in
 * between. */
#ifndef SD_IPC_BODY_H
#define SD_IPC_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    BODY_MAX = 8 * 1024 * 1024 + 64 * 1024, /* bytes of one body */
    BODY_QUEUE = 64 /* descriptors an inbox holds unclaimed */
};

/* Names one body while it travels; unique per sender's epoch. */
struct body_name {
    uint64_t number;   /* counted by the sender */
    uint32_t size;     /* bytes */
    uint16_t epoch;    /* of the sender */
    uint16_t to_epoch; /* of the receiver */
    uint32_t slot;     /* of the sender */
    uint32_t reserved; /* 0 */
};

/* Both ends, non-blocking and close-on-exec: fds[0] receives. */
int body_pair(int fds[2]);

/* Copy `v` into a sealed memfd and send it.  0; SD_EBUSY when the receiver's
 * queue is full; SD_ETOOLARGE; SD_EUNAVAILABLE when the kernel gives no
 * descriptor or memory.  name->size is set. */
int body_send(int sock, struct body_name *name, const struct slice *v,
              unsigned n);

/* Would body_send() find room, also when others send at the same time? */
bool body_room(int sock);

/* Send a descriptor itself, no body: name->size is 0.  The caller keeps its
 * own.  0, SD_EBUSY, SD_EUNAVAILABLE. */
int body_send_fd(int sock, struct body_name *name, int fd);

struct body_box; /* descriptors received and not yet claimed */

struct body_box *body_box_new(void);
void body_box_free(struct body_box **box);

/* Receive what has arrived, up to BODY_QUEUE unclaimed in all; those sent to
 * another epoch than `my_epoch`, or forgotten, are closed.  Returns how many
 * were received; SD_EFULL when the box is full and more may wait. */
int body_receive(struct body_box *box, int sock, uint16_t my_epoch);

/* Map the named body, read-only and private: out->p stays valid until
 * body_unmap(out).  SD_ECRASHED when it has not arrived or is not what the
 * name says (not sealed, shorter). */
int body_claim(struct body_box *box, const struct body_name *name,
               struct slice *out);
void body_unmap(struct slice *body);

/* The descriptor of that name that body_send_fd() has sent: the caller's.
 * SD_ECRASHED when it has not arrived. */
int body_claim_fd(struct body_box *box, const struct body_name *name);

/* That process is gone: close everything that `slot` sent in `epoch`, and what
 * is received later of that epoch or an older one. */
void body_forget(struct body_box *box, unsigned slot, uint16_t epoch);

/* Unclaimed descriptors. */
unsigned body_box_count(const struct body_box *box);

#endif
