/* gossip_msg.h - the packets of gossip, as bytes.  Pure.
 *
 * A packet is a head, what its type needs, and updates about members up to
 * its end.  It is read whole or refused: after gossip_msg_read() every field
 * is within its limits and every update can be walked.
 *
 * docs/protocol.md has the layout. */
#ifndef SD_CLUSTER_GOSSIP_MSG_H
#define SD_CLUSTER_GOSSIP_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cluster/gossip_member.h"

enum {
    GOSSIP_VERSION = 1,
    GOSSIP_PACKET = 1354, /* 1,400 bytes less what sealing adds */
    GOSSIP_BUCKETS = 32,  /* of a digest */
    GOSSIP_ACCUSERS = 3,  /* that a suspicion names */
    GOSSIP_SHORTEST = 10  /* bytes of the shortest update */
};

/* What an incarnation may not reach, so that it can always be raised. */
#define GOSSIP_INCARNATIONS ((uint64_t)1 << 48)

enum gossip_type {
    GOSSIP_PING = 1, /* are you there? */
    GOSSIP_ACK,      /* `subject` is */
    GOSSIP_NACK,     /* the one you asked about did not answer me yet */
    GOSSIP_PROXY,    /* ping somebody for me */
    GOSSIP_NEWS,     /* updates alone */
    GOSSIP_ASK,      /* here is my digest: how is yours? */
    GOSSIP_HELLO,    /* the answer, of the same size */
    GOSSIP_STATE     /* all I know in some buckets */
};

struct gossip_packet {
    enum gossip_type type;
    uint64_t boot;              /* of the sender */
    struct gossip_address from; /* where it takes answers */
    uint32_t age_ms;            /* how long it runs */
    uint64_t nonce;             /* of the question */
    uint64_t subject; /* PING, PROXY: whom it means; ACK: who answers; HELLO:
                          the challenge that STATE has to repeat as nonce */
    uint32_t digest[GOSSIP_BUCKETS]; /* ASK, HELLO */
    uint32_t mask;                   /* STATE: the buckets in question */
    bool wants;                      /* STATE: answer with yours */
    struct slice updates;            /* of a packet that was read */
};

/* One update.  With `is_full` it is about somebody alive and says all there
 * is; else only boot, state and incarnation, and who accuses. */
struct gossip_update {
    enum gossip_state state;
    bool is_full;
    uint64_t boot;
    uint64_t incarnation;
    uint64_t edition; /* alive: the incarnation its content is from */
    unsigned naccusers;
    uint32_t accusers[GOSSIP_ACCUSERS]; /* suspect: low halves of boots */
    uint8_t kind;
    struct gossip_address address;
    struct slice name;
    struct slice meta;
};

/* Write all but updates to `out`, which has room for GOSSIP_PACKET bytes; how
 * many these are. */
size_t gossip_msg_begin(char *out, const struct gossip_packet *p);

/* Append an update to a packet of `len` bytes; its new length, or `len` when
 * it would be over GOSSIP_PACKET. */
size_t gossip_msg_add(char *out, size_t len, const struct gossip_update *u);

/* 0 or SD_EPROTO.  Borrows `bytes` as long as *p is used. */
int gossip_msg_read(struct gossip_packet *p, struct slice bytes);

/* Take the next update from `rest`, at first p->updates.  False: none is
 * left.  Its texts point into the packet. */
bool gossip_msg_next(struct slice *rest, struct gossip_update *u);

/* May this be a member's address?  Not unspecified, and with a port. */
bool gossip_address_is_sound(const struct gossip_address *a);
bool gossip_address_eq(const struct gossip_address *a,
                       const struct gossip_address *b);

/* May this be a name?  1 to GOSSIP_NAME bytes, no control characters. */
bool gossip_name_is_sound(struct slice name);

#endif
