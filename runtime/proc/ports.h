/* ports.h - the listening sockets of a node, open as long as its master. */
#ifndef SD_PROC_PORTS_H
#define SD_PROC_PORTS_H

#include <stdbool.h>

#include "base/conf.h"
#include "net/listener.h"
#include "proc/heritage.h"

struct ports {
    unsigned count, workers;
    char address[HERITAGE_PORTS][LISTENER_ADDRESS]; /* really bound */
    int fds[HERITAGE_PORTS][HERITAGE_WORKERS];      /* [port][slot] */
};

/* Open one socket per port and worker slot.  `patient`: an address in use may
 * become free within seconds (the last master was killed, its workers are
 * just ending).  0, or a negative code with one line in `why`; then nothing
 * is open. */
int ports_open(struct ports *p, const struct conf *conf, bool patient,
               char *why, size_t size);
void ports_close(struct ports *p);

/* Into the heritage of a child. */
void ports_bequeath(const struct ports *p, struct heritage *h);

#endif
