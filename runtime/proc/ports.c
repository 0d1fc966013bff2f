/* ports.c - one row of sockets per port; net/listener.c knows how. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proc/ports.h"

enum {
    PATIENCE = 5000, /* ms */
    STEP = 20000,    /* us */
};

static int open_one(struct ports *p, unsigned i, const struct conf_port *port,
                    char *why, size_t size)
{
    return listener_open(p->fds[i], p->workers, port->listen, p->address[i],
                         why, size);
}

int ports_open(struct ports *p, const struct conf *conf, bool patient,
               char *why, size_t size)
{
    uint64_t limit = clock_ms() + (patient ? PATIENCE : 0);
    char text[256];
    int err;

    *p = (struct ports){.workers = conf->server.workers};
    while (p->count < conf->nports) {
        const struct conf_port *port = &conf->ports[p->count];

        err = open_one(p, p->count, port, text, sizeof(text));
        if (err == -EADDRINUSE && clock_ms() < limit) {
            usleep(STEP);
        } else if (err < 0) {
            snprintf(why, size, "port \"%s\": %s", port->name, text);
            ports_close(p);
            return err;
        } else {
            p->count++;
        }
    }
    return 0;
}

void ports_close(struct ports *p)
{
    for (unsigned i = 0; i < p->count; i++)
        for (unsigned k = 0; k < p->workers; k++)
            close(p->fds[i][k]);
    p->count = 0;
}

void ports_bequeath(const struct ports *p, struct heritage *h)
{
    h->ports = p->count;
    for (unsigned i = 0; i < p->count; i++)
        for (unsigned k = 0; k < p->workers; k++)
            h->listeners[k][i] = p->fds[i][k];
}
