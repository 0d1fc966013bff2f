/* heritage.c - a plain struct, because both ends are the same binary. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "proc/heritage.h"
#include "proc/install.h"

static const int seals =
    F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

void heritage_init(struct heritage *h)
{
    memset(h, 0, sizeof(*h));
    h->size = sizeof(*h);
    snprintf(h->build, sizeof(h->build), "%s", install_build_id());
    h->binary = h->leash = h->bundle = h->running = h->log_fd = h->admin = -1;
    memset(h->secret, -1, sizeof(h->secret));
    memset(h->listeners, -1, sizeof(h->listeners));
    h->cluster.gossip = h->cluster.announce = -1;
    memset(h->cluster.relay, -1, sizeof(h->cluster.relay));
}

int heritage_write(const struct heritage *h)
{
    int fd = memfd_create("sdlua-heritage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0)
        return -errno;
    if (write(fd, h, sizeof(*h)) == (ssize_t)sizeof(*h) &&
        fcntl(fd, F_ADD_SEALS, seals) == 0)
        return fd;
    err = errno != 0 ? -errno : -EIO;
    close(fd);
    return err;
}

/* Only a file that nobody can change any more, and as long as ours. */
static bool is_heritage(int fd)
{
    struct stat st;

    return fcntl(fd, F_GET_SEALS) == seals && fstat(fd, &st) == 0 &&
           st.st_size == (off_t)sizeof(struct heritage);
}

int heritage_read(struct heritage **out, int fd)
{
    struct heritage *h;
    ssize_t n;

    if (!is_heritage(fd)) {
        close(fd);
        return SD_EPROTO;
    }
    h = mem_alloc(sizeof(*h));
    n = pread(fd, h, sizeof(*h), 0);
    close(fd);
    if (n != (ssize_t)sizeof(*h) || h->size != sizeof(*h) ||
        strncmp(h->build, install_build_id(), sizeof(h->build)) != 0) {
        mem_free(h);
        return SD_EPROTO;
    }
    *out = h;
    return 0;
}

static unsigned add(int *fds, unsigned n, int fd)
{
    if (fd >= 0)
        fds[n++] = fd;
    return n;
}

unsigned heritage_fds(const struct heritage *h, int *fds)
{
    unsigned n = 0;

    sd_assert(h->workers <= HERITAGE_WORKERS && h->ports <= HERITAGE_PORTS);
    sd_assert(h->secrets <= HERITAGE_SECRETS);
    n = add(fds, n, h->leash);
    n = add(fds, n, h->bundle);
    n = add(fds, n, h->running);
    n = add(fds, n, h->log_fd);
    for (unsigned i = 0; i < h->secrets; i++)
        n = add(fds, n, h->secret[i]);
    for (unsigned i = 0; i < h->mesh_count; i++)
        n = add(fds, n, h->mesh[i]);
    if (h->role == ROLE_AGENT) {
        n = add(fds, n, h->admin);
        n = add(fds, n, h->cluster.gossip);
        n = add(fds, n, h->cluster.announce);
    }
    if (h->role == ROLE_RELAY)
        n = add(fds, n, h->cluster.relay[h->index]);
    if (h->role != ROLE_WORKER)
        return n;
    for (unsigned slot = 0; slot < h->workers; slot++)
        for (unsigned port = 0; port < h->ports; port++)
            n = add(fds, n, h->listeners[slot][port]);
    return n;
}
