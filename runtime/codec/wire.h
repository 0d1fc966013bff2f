/* wire.h - the envelope of messages between processes and between nodes.
 *
 * A head of fixed size, little-endian, then the body: usually one msgpack
 * value.  Who sent it is (boot, slot, epoch); with the counter that makes the
 * message's id, by which receivers drop duplicates.  What the type means is
 * said by the list of messages of whoever talks (ipc/msg.h). */
#ifndef SD_CODEC_WIRE_H
#define SD_CODEC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    WIRE_VERSION = 1,
    WIRE_HEAD = 44, /* bytes of an encoded head */
    WIRE_BODY_MAX = 8 * 1024 * 1024 + 64 * 1024
};

enum wire_flag {
    WIRE_ANSWER = 1, /* answers the ticket instead of opening one */
    WIRE_ERROR = 2,  /* the body is an error text, not a value */
    WIRE_FD = 4,     /* the body travels beside, as a file descriptor */
    WIRE_FLAGS = 7   /* all that this version knows */
};

/* Which coroutine waits for the answer.  All zero: nobody. */
struct wire_ticket {
    uint32_t vm; /* generation of the code it runs */
    uint32_t index;
    uint32_t generation; /* of the index */
};

struct wire_head {
    uint64_t boot; /* id of the sending node's boot */
    uint64_t counter;
    struct wire_ticket ticket;
    uint32_t life_ms; /* remaining life; UINT32_MAX: no end */
    uint32_t len;     /* bytes of the body, also when it travels beside */
    uint16_t type;
    uint16_t flags; /* of enum wire_flag */
    uint16_t epoch;
    uint8_t slot;
};

/* Write `h`, whose fields are within their limits, as WIRE_HEAD bytes. */
void wire_encode(char *out, const struct wire_head *h);

/* Change the remaining life in an encoded head. */
void wire_set_life(char *head, uint32_t life_ms);

/* Append head and body.  SD_ETOOLARGE when the body is over WIRE_BODY_MAX;
 * then nothing was written.  h->len is taken from the body. */
int wire_write(struct buf *out, const struct wire_head *h, struct slice body);

/* Read a head alone, when its body is lost or elsewhere.  0, SD_EAGAIN or
 * SD_EPROTO as wire_read(). */
int wire_decode(struct wire_head *h, struct slice bytes);

/* Read the message at the start of `bytes`.  The number of bytes it takes;
 * *h and *body are set, the body borrowed from `bytes` and empty with
 * WIRE_FD.  SD_EAGAIN: more bytes are needed.  SD_EPROTO: another version,
 * unknown flags, or a body over WIRE_BODY_MAX: close the link. */
int wire_read(struct wire_head *h, struct slice *body, struct slice bytes);

/* Take `waited_ms` from the message's life, as each queue does when it hands
 * the message on.  False when nothing of it is left: drop it. */
bool wire_age(struct wire_head *h, uint64_t waited_ms);

#endif
