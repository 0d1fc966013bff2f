/* body.c - see body.h.
 *
 * The sender writes its slices into a memfd with one call and seals it: from
 * then on nobody, also not the sender, can change or shorten it, so the reader
 * may map it without fear of SIGBUS and parse it without copying.  The memory
 * is freed by the kernel when the last descriptor and mapping are gone; a
 * process that dies on either side leaves nothing behind.
 *
 * A datagram keeps name and descriptor together and either arrives whole or
 * not at all.  The kernel bounds how many wait in the socket
 * (net.unix.max_dgram_qlen); the box bounds those that were taken out while
 * looking for another one.  A sender never blocks: a full queue is SD_EBUSY.
 *
 * The box is a plain array in order of arrival: it holds a handful. */
#include "ipc/body.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/slots.h"

#define BOX_MAGIC  0x424f4459u
#define SEALS      (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SLICES_MAX 8

struct body_box {
    unsigned magic;
    unsigned n;
    uint16_t gone[SLOTS_MAX]; /* epochs of each up to this one; 0: none */
    struct {
        struct body_name name;
        int fd;
    } item[BODY_QUEUE];
};

union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int body_pair(int fds[2])
{
    int type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

    return socketpair(AF_UNIX, type, 0, fds) < 0 ? -errno : 0;
}

/* --- the sender ----------------------------------------------------------- */

static int write_all(int fd, const struct slice *v, unsigned n, size_t size)
{
    struct iovec iov[SLICES_MAX];
    union {
        const void *in;
        void *out;
    } base;
    unsigned i;

    for (i = 0; i < n; i++) {
        base.in = v[i].p;
        iov[i] = (struct iovec){base.out, v[i].len};
    }
    return writev(fd, iov, (int)n) == (ssize_t)size ? 0 : SD_EUNAVAILABLE;
}

/* A sealed memfd with these bytes, or an error. */
static int make_sealed(const struct slice *v, unsigned n, size_t size)
{
    int fd = memfd_create("sdlua-body", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return SD_EUNAVAILABLE;
    if (write_all(fd, v, n, size) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
        close(fd);
        return SD_EUNAVAILABLE;
    }
    return fd;
}

static int send_named(int sock, const struct body_name *name, int fd)
{
    struct body_name copy = *name;
    struct iovec iov = {&copy, sizeof(copy)};
    union fd_control control = {.bytes = {0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    ssize_t sent;

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    do {
        sent = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof(copy))
        return 0;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
        return SD_EBUSY;
    return SD_EUNAVAILABLE;
}

int body_send(int sock, struct body_name *name, const struct slice *v,
              unsigned n)
{
    size_t size = 0;
    unsigned i;
    int fd, err;

    sd_assert(n <= SLICES_MAX);
    for (i = 0; i < n; i++) {
        if (v[i].len > BODY_MAX - size)
            return SD_ETOOLARGE;
        size += v[i].len;
    }
    fd = make_sealed(v, n, size);
    if (fd < 0)
        return fd;
    name->size = (uint32_t)size;
    err = send_named(sock, name, fd);
    close(fd);
    return err;
}

int body_send_fd(int sock, struct body_name *name, int fd)
{
    name->size = 0;
    return send_named(sock, name, fd);
}

/* The kernel calls a datagram socket writable while a quarter of its buffer
 * is in use at most; the rest is for who comes in between. */
bool body_room(int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

/* --- the reader ----------------------------------------------------------- */

struct body_box *body_box_new(void)
{
    struct body_box *box = mem_zalloc(sizeof(*box));

    box->magic = BOX_MAGIC;
    return box;
}

void body_box_free(struct body_box **box)
{
    struct body_box *b = *box;

    if (b == NULL)
        return;
    sd_check(b, BOX_MAGIC);
    while (b->n > 0)
        close(b->item[--b->n].fd);
    b->magic = 0;
    mem_free(b);
    *box = NULL;
}

/* The one descriptor of a received message, -1 when it has none.  More than
 * one was never sent by us; the control buffer has room for one only, and the
 * kernel closes what does not fit. */
static int fd_of(struct msghdr *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    int fd;

    if (c == NULL || c->cmsg_level != SOL_SOCKET ||
        c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        return -1;
    memcpy(&fd, CMSG_DATA(c), sizeof(int));
    return fd;
}

/* 1 and a descriptor, 0 when nothing waits; *fd is -1 when what came was no
 * body. */
static int receive_one(int sock, struct body_name *name, int *fd)
{
    struct iovec iov = {name, sizeof(*name)};
    union fd_control control = {.bytes = {0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t got;

    do {
        got = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return 0;
    *fd = fd_of(&msg);
    if (got != (ssize_t)sizeof(*name) && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return 1;
}

/* From a process that is gone; epochs wrap around, and 0 is none. */
static bool is_from_dead(const struct body_box *box,
                         const struct body_name *name)
{
    uint16_t gone = name->slot < SLOTS_MAX ? box->gone[name->slot] : 0;

    return gone != 0 && (int16_t)(uint16_t)(name->epoch - gone) <= 0;
}

int body_receive(struct body_box *box, int sock, uint16_t my_epoch)
{
    struct body_name name;
    int fd, got = 0;

    sd_check(box, BOX_MAGIC);
    while (box->n < BODY_QUEUE) {
        if (!receive_one(sock, &name, &fd))
            return got;
        if (fd < 0)
            continue;
        if (name.to_epoch != my_epoch || is_from_dead(box, &name)) {
            close(fd);
            continue;
        }
        box->item[box->n].name = name;
        box->item[box->n++].fd = fd;
        got++;
    }
    return SD_EFULL;
}

static int remove_at(struct body_box *box, unsigned i)
{
    int fd = box->item[i].fd;

    box->n--;
    memmove(&box->item[i], &box->item[i + 1],
            (box->n - i) * sizeof(box->item[0]));
    return fd;
}

static bool same(const struct body_name *a, const struct body_name *b)
{
    return a->number == b->number && a->slot == b->slot &&
           a->epoch == b->epoch && a->to_epoch == b->to_epoch &&
           a->size == b->size;
}

/* Sealed against change, and of the size that was said. */
static bool is_sound(int fd, uint32_t size)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & SEALS) == SEALS && fstat(fd, &st) == 0 &&
           st.st_size == (off_t)size && size > 0 && size <= BODY_MAX;
}

int body_claim_fd(struct body_box *box, const struct body_name *name)
{
    unsigned i = 0;

    sd_check(box, BOX_MAGIC);
    while (i < box->n && !same(&box->item[i].name, name))
        i++;
    return i < box->n ? remove_at(box, i) : SD_ECRASHED;
}

int body_claim(struct body_box *box, const struct body_name *name,
               struct slice *out)
{
    void *p = MAP_FAILED;
    int fd = body_claim_fd(box, name);

    if (fd < 0)
        return fd;
    if (is_sound(fd, name->size))
        p = mmap(NULL, name->size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return SD_ECRASHED;
    *out = slice_make(p, name->size);
    return 0;
}

void body_unmap(struct slice *body)
{
    union {
        const void *in;
        void *out;
    } p = {.in = body->p};

    if (body->len > 0)
        munmap(p.out, body->len);
    *body = slice_make("", 0);
}

void body_forget(struct body_box *box, unsigned slot, uint16_t epoch)
{
    unsigned i = 0;

    sd_check(box, BOX_MAGIC);
    sd_assert(slot < SLOTS_MAX);
    box->gone[slot] = epoch;
    while (i < box->n) {
        if (box->item[i].name.slot == slot && box->item[i].name.epoch == epoch)
            close(remove_at(box, i));
        else
            i++;
    }
}

unsigned body_box_count(const struct body_box *box)
{
    sd_check(box, BOX_MAGIC);
    return box->n;
}
