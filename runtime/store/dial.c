/* dial.c - see dial.h.
 *
 * The look-up runs in a thread that cannot be stopped, so its request is a
 * block of its own: a dial that is closed meanwhile leaves it behind, without
 * a way back.  Addresses are copied out at once and tried in the order the
 * resolver gave; a connect that ends at once still reports through the loop,
 * so that callers see one order of events. */
#include "store/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"
#include "loop/pollfd.h"

#define DIAL_MAGIC 0xd1a10001u

enum {
    ADDRESSES_MAX = 8,
    USER_TIMEOUT_MS = 10000, /* unacknowledged bytes: the peer is gone */
    KEEPALIVE_S = 15
};

struct address {
    struct sockaddr_storage at;
    socklen_t len;
};

struct lookup {
    uv_getaddrinfo_t req;
    struct dial *dial; /* NULL: nobody waits any more */
};

struct dial {
    unsigned magic;
    struct loop *loop;
    dial_fn *fn;
    void *arg;
    struct lookup *lookup;
    struct address address[ADDRESSES_MAX];
    unsigned n, next;
    int fd, err;
    struct pollfd_watch *watch;
    struct loop_job job;
};

static void attempt(struct dial *d);

static void finish(struct dial *d, int err)
{
    d->err = err;
    loop_defer(d->loop, &d->job);
}

static void on_job(struct loop_job *job)
{
    struct dial *d = list_entry(job, struct dial, job);

    sd_check(d, DIAL_MAGIC);
    d->fn(d->arg, d->err);
}

static void hang_up(struct dial *d)
{
    pollfd_close(&d->watch);
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static void on_ready(void *arg)
{
    struct dial *d = arg;
    socklen_t len = sizeof(d->err);
    int fd;

    sd_check(d, DIAL_MAGIC);
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &d->err, &len) < 0)
        d->err = errno;
    if (d->err != 0) {
        d->err = -d->err;
        hang_up(d);
        attempt(d);
        return;
    }
    fd = d->fd;
    d->fd = -1;
    pollfd_close(&d->watch);
    d->fn(d->arg, fd);
}

static void set_options(int fd)
{
    int on = 1, user_timeout = USER_TIMEOUT_MS, idle = KEEPALIVE_S;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout,
               sizeof(user_timeout));
}

/* Begin to connect to one address; 0 or a code. */
static int try_one(struct dial *d, const struct address *a)
{
    int family = a->at.ss_family, err;

    d->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return -errno;
    if (family != AF_UNIX)
        set_options(d->fd);
    if (connect(d->fd, (const void *)&a->at, a->len) < 0 &&
        errno != EINPROGRESS) {
        err = -errno;
        hang_up(d);
        return err;
    }
    err = pollfd_open(&d->watch, d->loop, d->fd, on_ready, d);
    if (err < 0) {
        hang_up(d);
        return err;
    }
    pollfd_want(d->watch, false);
    pollfd_want_write(d->watch, true);
    return 0;
}

static void attempt(struct dial *d)
{
    while (d->next < d->n) {
        int err = try_one(d, &d->address[d->next++]);

        if (err == 0)
            return;
        d->err = err;
    }
    finish(d, d->err);
}

static void add(struct dial *d, const void *at, size_t len)
{
    struct address *a = &d->address[d->n++];

    memcpy(&a->at, at, len);
    a->len = (socklen_t)len;
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct lookup *lookup = req->data;
    struct dial *d = lookup->dial;
    struct addrinfo *ai;

    if (d != NULL) {
        sd_check(d, DIAL_MAGIC);
        d->lookup = NULL;
        d->err = status < 0 ? status : UV_EAI_NONAME;
        for (ai = res; ai != NULL && d->n < ADDRESSES_MAX; ai = ai->ai_next)
            add(d, ai->ai_addr, ai->ai_addrlen);
        attempt(d);
    }
    uv_freeaddrinfo(res);
    mem_free(lookup);
}

static void look_up(struct dial *d, const char *host, unsigned port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    char service[8];
    int err;

    snprintf(service, sizeof(service), "%u", port);
    d->lookup = mem_zalloc(sizeof(*d->lookup));
    d->lookup->dial = d;
    d->lookup->req.data = d->lookup;
    err = uv_getaddrinfo(loop_uv(d->loop), &d->lookup->req, on_lookup, host,
                         service, &hints);
    if (err < 0) {
        mem_free(d->lookup);
        d->lookup = NULL;
        finish(d, err);
    }
}

static bool is_numeric(struct dial *d, const char *host, unsigned port)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (uv_ip4_addr(host, (int)port, &in) == 0)
        add(d, &in, sizeof(in));
    else if (uv_ip6_addr(host, (int)port, &in6) == 0)
        add(d, &in6, sizeof(in6));
    return d->n > 0;
}

void dial_open(struct dial **out, struct loop *l, struct dial_to to,
               dial_fn *fn, void *arg)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct dial *d = mem_zalloc(sizeof(*d));

    *out = d;
    d->magic = DIAL_MAGIC;
    d->loop = l;
    d->fn = fn;
    d->arg = arg;
    d->fd = -1;
    d->job.fn = on_job;
    if (to.path[0] != '\0') {
        sd_assert(strlen(to.path) < sizeof(un.sun_path));
        memcpy(un.sun_path, to.path, strlen(to.path));
        add(d, &un, sizeof(un));
    } else if (!is_numeric(d, to.host, to.port)) {
        look_up(d, to.host, to.port);
        return;
    }
    attempt(d);
}

void dial_close(struct dial **dp)
{
    struct dial *d = *dp;

    if (d == NULL)
        return;
    sd_check(d, DIAL_MAGIC);
    *dp = NULL;
    if (d->lookup != NULL) {
        d->lookup->dial = NULL;
        uv_cancel((uv_req_t *)&d->lookup->req);
    }
    loop_undefer(&d->job);
    hang_up(d);
    d->magic = 0;
    mem_free(d);
}
