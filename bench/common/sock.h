/* sock.h - sockets of the bench programs; every failure ends the program. */
#ifndef SD_BENCH_SOCK_H
#define SD_BENCH_SOCK_H

/* A listening, non-blocking socket on 127.0.0.1.  *port 0 takes a free one
 * and is set to it. */
int sock_listen(int *port);

/* A connected, blocking socket with no delay and a deadline of 10 s on each
 * call.  `spread` >= 0 picks one of 32 source addresses, because one address
 * pair has 28,000 ports only; -1 leaves the choice to the kernel. */
int sock_connect(const char *address, int port, int spread);

void sock_set_nonblocking(int fd);
void sock_set_nodelay(int fd);

#endif
