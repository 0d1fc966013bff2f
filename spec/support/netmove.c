/* netmove.c - see netmove.h.
 *
 * A conn is written down and forgotten in one net and made anew in the other,
 * from an image and a descriptor that came out of a socket.  Some are refused
 * there, or are said to be, and come back.  Images are tried with wrong bytes
 * in them besides. */
#include "netmove.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/body.h"
#include "loop/loop.h"
#include "loop/timer.h"
#include "net/conn_image.h"
#include "net/conn_move.h"
#include "net/inner.h"

enum {
    MANY = 4096,
    ABUSED_MAX = 16384, /* larger images only move */
    REFUSED = 8,        /* one in so many comes back */
    RARELY = 50
};

static struct {
    struct loop *loop;
    struct net *net[2];
    uint64_t ms;
    struct timer timer;
    int pair[2];
    struct body_box *box;
    struct body_name name;
} mover;

static void refused(void)
{
    static bool is_said;

    if (!is_said)
        printf("refused\n");
    fflush(stdout);
    is_said = true;
}

/* Has it been taken? */
static bool arrive(struct net *to, struct body_name *fd_name,
                   struct body_name *name)
{
    struct slice image;
    struct conn *c;
    int fd, rc = SD_EBUSY;

    sd_assert(body_receive(mover.box, mover.pair[0], 1) == 2);
    fd = body_claim_fd(mover.box, fd_name);
    sd_assert(fd >= 0 && body_claim(mover.box, name, &image) == 0);
    if (random() % REFUSED == 0) {
        close(fd);
    } else {
        rc = net_unpack(&c, to, image, fd, NULL);
        if (rc < 0)
            refused();
    }
    body_unmap(&image);
    return rc == 0;
}

/* An image that was tampered with, and a socket of nobody: refused or taken,
 * nothing may be left of it. */
static void abuse(struct net *to, struct slice image)
{
    char *copy = mem_dup(image.p, image.len), byte;
    size_t len = image.len, changes = (size_t)random() % 4;
    struct conn_place place;
    struct conn *c;
    int pair[2];

    sd_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    for (; changes > 0 && len > 0; changes--)
        copy[(size_t)random() % len] = (char)random();
    if (random() % 4 == 0)
        len = (size_t)random() % len;
    if (net_unpack(&c, to, slice_make(copy, len), pair[0], NULL) == 0) {
        conn_forget(c, &place);
        net_leave_place(to, &place);
    }
    sd_assert(read(pair[1], &byte, 1) == 0);
    close(pair[1]);
    mem_free(copy);
}

static int try_image(struct conn **c, struct net *to,
                     const struct conn_image *image)
{
    struct buf copy = {0};
    int pair[2], rc;

    sd_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    conn_image_write(&copy, image);
    rc = net_unpack(c, to, buf_slice(&copy), pair[0], NULL);
    close(pair[1]);
    buf_fini(&copy);
    return rc;
}

/* What no client can owe is cut. */
static void overstate(struct net *to, struct conn_image image)
{
    double owed = 3e9, most;
    struct conn_place place;
    struct conn *c;

    image.paid_messages = image.paid_bytes = owed;
    image.throttled = (uint64_t)owed;
    if (try_image(&c, to, &image) < 0)
        return; /* its format has changed */
    most = (double)conn_now(c) + owed / 2;
    sd_assert((double)c->throttled_until < most && c->paid_bytes < most &&
              c->paid_messages < most);
    conn_forget(c, &place);
    net_leave_place(to, &place);
}

/* A packet that no client may send is refused. */
static void overload(const struct conn *from, struct net *to,
                     struct conn_image image)
{
    size_t size = (size_t)conn_packet_max(from) + 1;
    char *packet = mem_zalloc(size);
    struct buf list = {0};
    struct conn *c;

    msgpack_write_array(&list, 1);
    sd_assert(msgpack_write_string(&list, slice_make(packet, size)) == 0);
    image.packets = buf_slice(&list);
    sd_assert(try_image(&c, to, &image) == SD_EINVALID);
    buf_fini(&list);
    mem_free(packet);
}

static void exaggerate(const struct conn *c, struct net *to, struct slice bytes)
{
    struct conn_image image;

    sd_assert(conn_image_read(&image, bytes) == 0);
    overstate(to, image);
    if (random() % RARELY == 0 && c->proto != &proto_http)
        overload(c, to, image);
}

static void move(struct conn *c, struct net *to)
{
    struct body_name name = {.number = ++mover.name.number, .to_epoch = 1};
    struct body_name fd_name = {.number = ++mover.name.number, .to_epoch = 1};
    struct net *from = conn_net(c);
    struct conn_place place;
    struct buf image = {0};
    struct slice bytes;
    int err = conn_pack(c, &image), fd;

    sd_assert(err == 0 || err == SD_EBUSY);
    if (err < 0 || image.len > BODY_MAX) {
        buf_fini(&image);
        return;
    }
    bytes = buf_slice(&image);
    sd_assert(body_send_fd(mover.pair[1], &fd_name, conn_descriptor(c)) == 0);
    sd_assert(body_send(mover.pair[1], &name, &bytes, 1) == 0);
    if (image.len < ABUSED_MAX) {
        abuse(to, bytes);
        exaggerate(c, to, bytes);
    }
    fd = fcntl(conn_descriptor(c), F_DUPFD_CLOEXEC, 0);
    conn_forget(c, &place);
    sd_assert(net_find(from, place.id) == NULL);
    if (arrive(to, &fd_name, &name))
        close(fd);
    else
        sd_assert(net_unpack(&c, from, bytes, fd, &place) == 0);
    net_leave_place(from, &place);
    buf_fini(&image);
}

static void on_tick(struct timer *t)
{
    static struct conn *conns[MANY];
    unsigned i, k, n = 0, half = 0;
    uint32_t cursor;

    for (k = 0; k < 2; k++) {
        cursor = 0;
        while (n < MANY && (conns[n] = net_next(mover.net[k], &cursor)) != NULL)
            n++;
        half = k == 0 ? n : half;
    }
    for (i = 0; i < n; i++) {
        if (random() % 2 == 0)
            move(conns[i], mover.net[i < half ? 1 : 0]);
    }
    timer_start(mover.loop, t, mover.ms);
}

void netmove_open(struct loop *loop, struct net *a, struct net *b, uint64_t ms)
{
    mover.loop = loop;
    mover.net[0] = a;
    mover.net[1] = b;
    mover.ms = ms;
    mover.box = body_box_new();
    sd_assert(body_pair(mover.pair) == 0);
    srandom((unsigned)getpid());
    mover.timer.fn = on_tick;
    timer_start(loop, &mover.timer, ms);
}

void netmove_close(void)
{
    if (mover.loop == NULL)
        return;
    timer_stop(mover.loop, &mover.timer);
    body_box_free(&mover.box);
    close(mover.pair[0]);
    close(mover.pair[1]);
}
