/* ctl.c - few clients, short lines: one small struct each.
 *
 * The master must not be held up by a client, so all reading is on the loop
 * and a client that does not take its answer at once loses it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "proc/ctl.h"
#include "proc/instance.h"

enum {
    CTL_MAGIC = 0x63746c73,
    CLIENT_MAGIC = 0x63746c63,
    CLIENTS_MAX = 32,
    LINE_MAX = 256,
    ANSWER_WAIT = 120000, /* ms a client waits for an answer */
};

struct ctl {
    unsigned magic;
    struct loop *loop;
    const struct user *user;
    int fd;
    struct pollfd_watch *watch;
    void (*on_line)(void *arg, const char *line, struct buf *reply);
    void *arg;
    struct list clients;
    unsigned nclients;
    struct client *asking; /* while on_line() runs */
};

struct client {
    unsigned magic;
    struct list node;
    struct ctl *ctl;
    int fd;
    struct pollfd_watch *watch;
    struct ctl_call *call; /* its answer comes later; NULL: nothing is owed */
    size_t len;
    char line[LINE_MAX];
};

struct ctl_call {
    struct client *client; /* NULL: it has gone */
};

static struct sockaddr_un address(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", instance_control());
    return a;
}

static void client_free(struct client *c)
{
    if (c->call != NULL)
        c->call->client = NULL;
    pollfd_close(&c->watch);
    close(c->fd);
    list_del(&c->node);
    c->ctl->nclients--;
    c->magic = 0;
    mem_free(c);
}

static void send_reply(struct client *c, struct buf *reply)
{
    struct slice s;

    buf_append_str(reply, "\n");
    s = buf_slice(reply);
    if (send(c->fd, s.p, s.len, MSG_NOSIGNAL) != (ssize_t)s.len)
        log_warn("a client of the control socket did not take its answer");
}

static void answer(struct client *c)
{
    struct buf reply = {0};

    c->ctl->asking = c;
    c->ctl->on_line(c->ctl->arg, c->line, &reply);
    c->ctl->asking = NULL;
    if (c->call == NULL && reply.len == 0)
        client_free(c); /* it speaks with somebody else now */
    else if (c->call == NULL)
        send_reply(c, &reply);
    buf_fini(&reply);
}

int ctl_client(const struct ctl *ctl)
{
    sd_check(ctl, CTL_MAGIC);
    sd_assert(ctl->asking != NULL);
    return ctl->asking->fd;
}

struct ctl_call *ctl_defer(struct ctl *ctl)
{
    struct ctl_call *call = mem_zalloc(sizeof(*call));

    sd_check(ctl, CTL_MAGIC);
    sd_assert(ctl->asking != NULL && ctl->asking->call == NULL);
    call->client = ctl->asking;
    ctl->asking->call = call;
    return call;
}

void ctl_answer(struct ctl_call **cp, struct buf *reply)
{
    struct ctl_call *call = *cp;

    *cp = NULL;
    if (call == NULL)
        return;
    if (call->client != NULL) {
        call->client->call = NULL;
        send_reply(call->client, reply);
    }
    mem_free(call);
}

static void on_client(void *arg)
{
    struct client *c = arg;
    char *end;
    ssize_t n;

    sd_check(c, CLIENT_MAGIC);
    n = recv(c->fd, c->line + c->len, LINE_MAX - 1 - c->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(c);
        return;
    }
    if (c->call != NULL)
        return; /* it may ask again when it was answered */
    c->len += (size_t)n;
    c->line[c->len] = '\0';
    end = strchr(c->line, '\n');
    if (end != NULL) {
        *end = '\0';
        c->len = 0;
        answer(c);
    } else if (c->len == LINE_MAX - 1) {
        client_free(c);
    }
}

static bool is_allowed(const struct ctl *ctl, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid() ||
            peer.uid == ctl->user->uid);
}

static void on_connect(void *arg)
{
    struct ctl *ctl = arg;
    struct client *c;
    int fd;

    sd_check(ctl, CTL_MAGIC);
    fd = accept4(ctl->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (ctl->nclients == CLIENTS_MAX || !is_allowed(ctl, fd)) {
        close(fd);
        return;
    }
    c = mem_zalloc(sizeof(*c));
    c->magic = CLIENT_MAGIC;
    c->ctl = ctl;
    c->fd = fd;
    list_add(&ctl->clients, &c->node);
    ctl->nclients++;
    if (pollfd_open(&c->watch, ctl->loop, fd, on_client, c) < 0)
        client_free(c);
}

static int listen_here(const struct user *user)
{
    struct sockaddr_un a = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;
    int err;

    if (fd < 0)
        return -errno;
    user_enter(user);
    unlink(instance_control());
    mask = umask(0177);
    err = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    umask(mask);
    user_leave(user);
    if (err == 0 && listen(fd, CLIENTS_MAX) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

int ctl_open(struct ctl **out, struct loop *l, const struct user *user,
             void (*on_line)(void *arg, const char *line, struct buf *reply),
             void *arg)
{
    struct ctl *ctl;
    int fd = listen_here(user);
    int err;

    if (fd < 0)
        return fd;
    ctl = mem_zalloc(sizeof(*ctl));
    ctl->magic = CTL_MAGIC;
    ctl->loop = l;
    ctl->user = user;
    ctl->fd = fd;
    ctl->on_line = on_line;
    ctl->arg = arg;
    list_init(&ctl->clients);
    err = pollfd_open(&ctl->watch, l, fd, on_connect, ctl);
    if (err < 0) {
        ctl_close(&ctl);
        return err;
    }
    *out = ctl;
    return 0;
}

void ctl_close(struct ctl **cp)
{
    struct ctl *ctl = *cp;
    struct list *it, *tmp;

    if (ctl == NULL)
        return;
    sd_check(ctl, CTL_MAGIC);
    list_each_safe (it, tmp, &ctl->clients)
        client_free(list_entry(it, struct client, node));
    pollfd_close(&ctl->watch);
    user_enter(ctl->user);
    unlink(instance_control());
    user_leave(ctl->user);
    close(ctl->fd);
    ctl->magic = 0;
    mem_free(ctl);
    *cp = NULL;
}

/* 1 when readable, 0 at the end of `ms`. */
static int wait_readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

static int read_line(int fd, struct buf *reply)
{
    ssize_t n;

    for (;;) {
        char *p = buf_reserve(reply, 4096);

        if (!wait_readable(fd, ANSWER_WAIT))
            return SD_ETIMEOUT;
        n = recv(fd, p, 4096, 0);
        if (n < 0)
            return -errno;
        if (n == 0)
            return SD_ECLOSED;
        buf_commit(reply, (size_t)n);
        if (p[n - 1] == '\n')
            return 0;
    }
}

static int send_line(int fd, const char *line)
{
    char text[LINE_MAX];
    int n = snprintf(text, sizeof(text), "%s\n", line);

    sd_assert(n < LINE_MAX);
    return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -errno;
}

int ctl_ask_again(int fd, const char *line, struct buf *reply)
{
    int err = send_line(fd, line);

    return err < 0 ? err : read_line(fd, reply);
}

static int tell(const char *line, int flags)
{
    struct sockaddr_un a = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    int err;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        err = -errno;
    else
        err = send_line(fd, line);
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

int ctl_tell(const char *line)
{
    return tell(line, 0);
}

int ctl_tell_soon(const char *line)
{
    return tell(line, SOCK_NONBLOCK);
}

int ctl_ask(const char *line, struct buf *reply)
{
    int fd = ctl_tell(line);
    int err = fd < 0 ? fd : read_line(fd, reply);

    if (err == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return err;
}

int ctl_wait_end(int fd, int ms)
{
    int ended = wait_readable(fd, ms);

    close(fd);
    return ended ? 0 : SD_ETIMEOUT;
}
