/* peer.h - what is between the two clients of W6, and how they speak to it.
 *
 * A peer has two connections: one that sends, one that receives.  Messages are
 * handed over whole; how they are framed, sealed and answered is the peer's.
 * Every failure ends the program. */
#ifndef SD_BENCH_RELAY_PEER_H
#define SD_BENCH_RELAY_PEER_H

#include <stdbool.h>
#include <stddef.h>

typedef void peer_message_fn(const char *p, size_t len);

struct peer_options {
    int port;
    bool plain; /* links: without encryption */
    const char *key, *cluster;
};

struct peer {
    const char *name;
    /* Connect and say who we are, blocking; fd[0] sends, fd[1] receives. */
    void (*open)(const struct peer_options *options, int fd[2]);
    /* Queue a message. */
    void (*put)(const char *p, size_t len);
    /* Bytes that have come on a connection: those of the receiver's are
     * messages, and may have to be answered. */
    void (*feed)(int side, const char *p, size_t len, peer_message_fn *fn);
    /* The bytes to be written on a connection, and that so many were. */
    const char *(*queued)(int side, size_t *len);
    void (*sent)(int side, size_t len);
    /* At the end: was all answered that had to be? */
    bool (*is_settled)(void);
};

extern const struct peer peer_link, peer_nats, peer_floor;

#endif
