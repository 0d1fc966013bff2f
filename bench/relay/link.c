/* link.c - two workers of two nodes, by the protocol of links
 * (docs/protocol-links.md).  The sender sends to a uid; the receiver has said
 * that the uid is there, and acknowledges once per read what it got, as workers
 * do. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/assert.h"
#include "cluster/frames.h"
#include "cluster/hand.h"
#include "cluster/identity.h"
#include "cluster/keys.h"
#include "cluster/stream.h"
#include "common/sock.h"
#include "common/util.h"
#include "relay/peer.h"

#define UID "receiver"

enum {
    SENDER,
    RECEIVER,
    TYPE = 24 /* MSG_UID_SEND; a relay does not look at it */
};

struct end {
    struct stream *stream;
    struct buf out;
    struct place place;
};

static struct end ends[2];
static struct hand_key key;
static uint64_t counter, acked; /* of the sender */
static uint64_t got, answered;  /* of the receiver */

static void read_all(int fd, char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, p, len);

        if (n <= 0)
            util_die("the relay has closed the link");
        p += n;
        len -= (size_t)n;
    }
}

static void write_all(int fd, struct buf *out)
{
    struct slice s = buf_slice(out);

    if (write(fd, s.p, s.len) != (ssize_t)s.len)
        util_die("write to the relay");
    buf_consume(out, s.len);
}

static void shake(int fd, struct end *e, const struct hand_conf *conf)
{
    unsigned char entropy[HAND_ENTROPY];
    const struct hand_session *s = NULL;
    struct hand *h;
    char c;

    if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
        util_die("no random bytes");
    h = hand_create(HAND_WORKER, conf, entropy, &e->out);
    while (s == NULL) {
        write_all(fd, &e->out);
        read_all(fd, &c, 1);
        if (hand_feed(h, slice_make(&c, 1), &e->out) < 0)
            util_die("handshake: %s", hand_why_text(hand_why(h)));
        s = hand_session(h);
    }
    write_all(fd, &e->out);
    if (s->encrypted == conf->plain)
        util_die("the relay is %sencrypted", s->encrypted ? "" : "not ");
    e->stream = stream_create(s->encrypted ? s->send : NULL,
                              s->encrypted ? s->receive : NULL);
    hand_free(&h);
}

static void open_end(int side, int fd, struct hand_conf *conf)
{
    struct identity self = {.place = {(uint64_t)side + 1, 1, 0}};
    struct buf identity = {0};

    snprintf(self.name, sizeof(self.name), "node %d", side);
    identity_write(&identity, &self);
    conf->identity = buf_slice(&identity);
    ends[side].place = self.place;
    shake(fd, &ends[side], conf);
    buf_fini(&identity);
}

static void open_link(const struct peer_options *o, int fd[2])
{
    struct keys *ring = keys_new(slice_str(o->cluster));
    const char *texts[] = {o->key}, *why;
    struct conf_list list = {.n = 1, .at = texts};
    struct hand_conf conf = {.keys = &key, .nkeys = 1, .plain = o->plain};
    struct frames_locate l = {
        .is_here = true, .is_sole = true, .bind = 1, .uid = slice_str(UID)};
    char bytes[FRAMES_CONTROL_MAX];
    struct slice v;

    if (keys_set(ring, &list, &why) < 0)
        util_die("key: %s", why);
    memcpy(key.id, keys_at(ring, 0)->id, sizeof(key.id));
    memcpy(key.key, keys_at(ring, 0)->secret, sizeof(key.key));
    memcpy(conf.cluster, keys_name(ring), sizeof(conf.cluster));
    for (int side = 1; side >= 0; side--) {
        fd[side] = sock_connect("127.0.0.1", o->port, -1);
        open_end(side, fd[side], &conf);
    }
    v = slice_make(bytes, frames_write_locate(bytes, &l));
    sd_assert(stream_write(ends[RECEIVER].stream, &ends[RECEIVER].out,
                           FRAMES_LOCATE, &v, 1) == 0);
    stream_seal(ends[RECEIVER].stream, &ends[RECEIVER].out);
    write_all(fd[RECEIVER], &ends[RECEIVER].out);
    usleep(100000); /* the relay has read it */
    keys_free(&ring);
}

static void put(const char *p, size_t len)
{
    struct frames_data d = {.type = FRAMES_UID,
                            .order = {.term = 1, .prev_back = counter > 0},
                            .name = slice_str(UID)};
    const struct place *self = &ends[SENDER].place;
    struct wire_head h = {.boot = self->boot,
                          .counter = ++counter,
                          .life_ms = 10000,
                          .len = (uint32_t)len,
                          .type = TYPE,
                          .epoch = self->epoch,
                          .slot = self->slot};
    char head[FRAMES_HEAD_MAX], wire[WIRE_HEAD];
    struct slice v[3] = {
        {head, frames_write_head(head, &d)}, {wire, sizeof(wire)}, {p, len}};

    wire_encode(wire, &h);
    sd_assert(stream_write(ends[SENDER].stream, &ends[SENDER].out, FRAMES_UID,
                           v, 3) == 0);
}

static void take_ack(struct slice rest)
{
    struct frames_range r;

    while (frames_next_ack(&r, &rest) == 1)
        acked += r.count;
}

static void take(int side, const struct stream_frame *f, peer_message_fn *fn)
{
    struct frames_data d;

    if (f->type == FRAMES_NACK) {
        util_die("the relay did not deliver");
    } else if (f->type == FRAMES_ACK) {
        take_ack(f->payload);
    } else if (frames_is_data(f->type)) {
        if (side != RECEIVER || frames_read_data(&d, f->type, f->payload) < 0)
            util_die("a frame that is none");
        got++;
        fn(d.body.p, d.body.len);
    }
}

static void answer(void)
{
    struct frames_range r = {answered + 1, (uint32_t)(got - answered)};
    char bytes[FRAMES_ACK_SIZE];
    struct slice v = {bytes, frames_write_ack(bytes, &r)};

    if (r.count == 0)
        return;
    sd_assert(stream_write(ends[RECEIVER].stream, &ends[RECEIVER].out,
                           FRAMES_ACK, &v, 1) == 0);
    answered = got;
}

static void feed(int side, const char *p, size_t len, peer_message_fn *fn)
{
    struct stream_frame f;
    int rc;

    stream_feed(ends[side].stream, slice_make(p, len));
    while ((rc = stream_next(ends[side].stream, &f)) == 1)
        take(side, &f, fn);
    if (rc < 0)
        util_die("a record was changed");
    if (side == RECEIVER)
        answer();
}

static const char *queued(int side, size_t *len)
{
    struct slice s;

    stream_seal(ends[side].stream, &ends[side].out);
    s = buf_slice(&ends[side].out);
    *len = s.len;
    return s.p;
}

static void sent(int side, size_t len)
{
    buf_consume(&ends[side].out, len);
}

static bool is_settled(void)
{
    return acked == counter;
}

const struct peer peer_link = {"link", open_link, put,       feed,
                               queued, sent,      is_settled};
