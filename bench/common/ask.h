/* ask.h - single calls of bench/... on a blocking socket, before and after
 * what is measured. */
#ifndef SD_BENCH_ASK_H
#define SD_BENCH_ASK_H

#include <stddef.h>

/* Call, and have the JSON of the reply.  0, or -1: none came, or it is longer
 * than `size`. */
int ask(char *reply, size_t size, int fd, const char *method,
        const char *params);

/* Connect as sock_connect() and call; dies unless the reply is `want`. */
int ask_connect(const char *address, int port, int spread, const char *method,
                const char *params, const char *want);

/* Wait until the server's loop has come round: it has seen all that was
 * closed before, and whoever is measured next finds it idle. */
void ask_settle(const char *address, int port);

#endif
