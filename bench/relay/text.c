/* text.c - the peers that need no handshake: nats-server, by its text
 * protocol, and the floor, by frames of a length and a place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/sock.h"
#include "common/util.h"
#include "relay/peer.h"

enum {
    SENDER,
    RECEIVER,
    LINE = 512
};

static struct bytes out[2], in[2];

static const char *queued(int side, size_t *len)
{
    *len = out[side].len;
    return out[side].p;
}

static void sent(int side, size_t len)
{
    bytes_drop(&out[side], len);
}

static bool is_settled(void)
{
    return true;
}

static void say(int fd, const char *text, size_t len)
{
    if (write(fd, text, len) != (ssize_t)len)
        util_die("write");
}

/* Feed `in` through `one`, which takes a message off its front: its length, 0
 * while it is incomplete. */
static void feed_by(int side, const char *p, size_t len,
                    size_t (*one)(const char *p, size_t len,
                                  peer_message_fn *fn),
                    peer_message_fn *fn)
{
    struct bytes *b = &in[side];
    size_t at = 0, n;

    bytes_add(b, p, len);
    while (at < b->len && (n = one(b->p + at, b->len - at, fn)) > 0)
        at += n;
    bytes_drop(b, at);
}

/* --- nats-server ---------------------------------------------------------- */

static void hear(int fd, const char *word)
{
    char text[8192];
    size_t len = 0;

    do {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

        if (n <= 0)
            util_die("nats-server has closed");
        len += (size_t)n;
        text[len] = '\0';
    } while (strstr(text, word) == NULL && len < sizeof(text) - 1);
}

static void nats_open(const struct peer_options *o, int fd[2])
{
    static const char hello[] =
        "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
    static const char subscribe[] = "SUB w6.receiver 1\r\nPING\r\n";

    for (int side = 0; side < 2; side++) {
        fd[side] = sock_connect("127.0.0.1", o->port, -1);
        hear(fd[side], "INFO ");
        say(fd[side], hello, sizeof(hello) - 1);
        hear(fd[side], "PONG\r\n");
    }
    say(fd[RECEIVER], subscribe, sizeof(subscribe) - 1);
    hear(fd[RECEIVER], "PONG\r\n");
}

static void nats_put(const char *p, size_t len)
{
    char head[64];
    int n = snprintf(head, sizeof(head), "PUB w6.receiver %zu\r\n", len);

    bytes_add(&out[SENDER], head, (size_t)n);
    bytes_add(&out[SENDER], p, len);
    bytes_add(&out[SENDER], "\r\n", 2);
}

static size_t nats_one(const char *p, size_t len, peer_message_fn *fn)
{
    const char *end = memchr(p, '\n', len), *size;
    size_t head, body;

    if (end == NULL)
        return 0;
    head = (size_t)(end - p) + 1;
    if (strncmp(p, "MSG ", 4) != 0) {
        if (strncmp(p, "PING", 4) != 0 && strncmp(p, "PONG", 4) != 0)
            util_die("nats-server: %.*s", (int)head, p);
        return head;
    }
    size = end;
    while (size > p && size[-1] != ' ')
        size--;
    body = strtoul(size, NULL, 10);
    if (len < head + body + 2)
        return 0;
    fn(p + head, body);
    return head + body + 2;
}

static void nats_feed(int side, const char *p, size_t len, peer_message_fn *fn)
{
    feed_by(side, p, len, nats_one, fn);
}

const struct peer peer_nats = {"nats", nats_open, nats_put,  nats_feed,
                               queued, sent,      is_settled};

/* --- the floor ------------------------------------------------------------ */

static void floor_open(const struct peer_options *o, int fd[2])
{
    for (int side = 0; side < 2; side++) {
        char who = (char)side;

        fd[side] = sock_connect("127.0.0.1", o->port, -1);
        say(fd[side], &who, 1);
    }
    usleep(100000); /* it knows both */
}

static void floor_put(const char *p, size_t len)
{
    unsigned head[2] = {(unsigned)len, RECEIVER};

    bytes_add(&out[SENDER], head, sizeof(head));
    bytes_add(&out[SENDER], p, len);
}

static size_t floor_one(const char *p, size_t len, peer_message_fn *fn)
{
    unsigned head[2];

    if (len < sizeof(head))
        return 0;
    memcpy(head, p, sizeof(head));
    if (len < sizeof(head) + head[0])
        return 0;
    fn(p + sizeof(head), head[0]);
    return sizeof(head) + head[0];
}

static void floor_feed(int side, const char *p, size_t len, peer_message_fn *fn)
{
    feed_by(side, p, len, floor_one, fn);
}

const struct peer peer_floor = {"floor", floor_open, floor_put, floor_feed,
                                queued,  sent,       is_settled};
