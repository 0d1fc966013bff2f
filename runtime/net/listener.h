/* listener.h - opens the sockets of a port: the master's side of listening.
 *
 * Per worker slot one SO_REUSEPORT socket, so that the kernel spreads conns
 * and a dead worker's queue survives in a socket that a neighbour serves. */
#ifndef SD_NET_LISTENER_H
#define SD_NET_LISTENER_H

#include <stddef.h>

enum {
    LISTENER_ADDRESS = 64
};

/* Open `n` listening TCP sockets on `listen` ("0.0.0.0:9091", "[::]:9091",
 * "localhost:0"; a free port when it is 0, the same for all), close-on-exec
 * and non-blocking, into fds[0..n-1].  A port somebody else has is noticed,
 * also when he allows sharing.  `address` gets the address really bound,
 * LISTENER_ADDRESS bytes with NUL.
 * 0, or a negative code with one sentence in `why`; then nothing is open. */
int listener_open(int *fds, unsigned n, const char *listen, char *address,
                  char *why, size_t why_size);

/* Port number of a bound address's text ("127.0.0.1:80" -> 80); 0: none. */
unsigned listener_port(const char *address);

#endif
