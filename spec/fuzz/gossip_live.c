/* gossip_live.c - any packets, at any times, into a machine that runs.
 *
 * The input is a row of steps: a byte that says what, a byte of time, and for
 * a packet its length in two bytes and its bytes.  The head of a packet is
 * made good, so that more of them get past the door; what it says is not.
 * Whatever comes, we are never dead for ourselves, the table keeps its bounds,
 * and no answer is longer than it may be. */
#include <string.h>

#include "base/assert.h"
#include "cluster/gossip.h"
#include "cluster/gossip_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STEPS = 256,
    SELF = 7,
    HEAD = 32
};

struct test {
    struct gossip *g;
    uint64_t now;
    uint64_t nonce; /* of what was sent last: answers may use it */
    uint64_t challenge;
};

static void on_send(void *arg, const struct gossip_address *to,
                    const char *bytes, size_t len)
{
    struct test *t = arg;
    struct gossip_packet p;

    sd_assert(gossip_address_is_sound(to) && len <= GOSSIP_PACKET);
    sd_assert(gossip_msg_read(&p, slice_make(bytes, len)) == 0);
    sd_assert(p.boot == SELF);
    if (p.type == GOSSIP_HELLO)
        t->challenge = p.subject;
    else if (p.nonce != 0)
        t->nonce = p.nonce;
}

static void on_change(void *arg, const struct gossip_member *m,
                      enum gossip_event what)
{
    const struct test *t = arg;

    sd_assert(what <= GOSSIP_CONFLICT && m->boot != SELF);
    sd_assert(gossip_find(t->g, m->boot) == m);
    sd_assert(gossip_name_is_sound(m->name) && m->meta.len <= GOSSIP_META);
}

static struct gossip *make(struct test *t)
{
    struct gossip_self self = {.name = slice_str("self"),
                               .meta = slice_str("meta"),
                               .boot = SELF,
                               .kind = GOSSIP_NODE};
    struct gossip_hooks hooks = {t, on_send, on_change};
    struct gossip_conf conf;

    memset(self.address.ip, 1, sizeof(self.address.ip));
    self.address.port = 1;
    sd_assert(gossip_profile(&conf, "lan"));
    return gossip_new(&conf, &self, &hooks, 1, t->now);
}

/* Its head as if from member `boot`, its nonce one that we wait for. */
static void receive(struct test *t, const uint8_t *bytes, size_t len)
{
    char packet[GOSSIP_PACKET + 1];
    size_t n = len < sizeof(packet) ? len : sizeof(packet);
    uint64_t nonce = t->nonce;

    memcpy(packet, bytes, n);
    if (n >= HEAD) {
        packet[0] = GOSSIP_VERSION;
        packet[1] = (char)(1 + (unsigned char)packet[1] % GOSSIP_STATE);
        memset(packet + 3, 0, 7);
        memset(packet + 10, 2, 18);
    }
    if (n >= HEAD + 8 && packet[HEAD] == 0) {
        if (packet[1] == GOSSIP_STATE)
            nonce = t->challenge;
        memcpy(packet + HEAD, &nonce, 8);
    }
    gossip_receive(t->g, t->now, packet, n);
}

static void check(const struct test *t)
{
    unsigned i, n = gossip_count(t->g);

    sd_assert(n < GOSSIP_MEMBERS && gossip_living(t->g) <= n);
    sd_assert(gossip_self(t->g)->state != GOSSIP_DEAD &&
              gossip_self(t->g)->state != GOSSIP_SUSPECT);
    for (i = 0; i < n; i++) {
        const struct gossip_member *m = gossip_at(t->g, i);

        sd_assert((m->state <= GOSSIP_SUSPECT) == (i < gossip_living(t->g)));
        sd_assert(m->incarnation < GOSSIP_INCARNATIONS);
    }
}

/* One step; how many bytes it took. */
static size_t step(struct test *t, const uint8_t *p, size_t left)
{
    size_t len;

    t->now += (uint64_t)p[1] << (p[0] >> 5) * 2;
    switch (p[0] % 8) {
    case 0:
        gossip_vouch(t->g, t->now, p[1] & 15, (uint64_t)(p[1] >> 4) * 300);
        if (p[1] % 3 == 0)
            gossip_vouch_end(t->g, t->now);
        return 2;
    case 1:
        (void)gossip_set_meta(t->g, t->now, slice_make(p, left < 9 ? left : 9));
        return 2;
    case 2:
        if (p[1] == 255)
            gossip_leave(t->g, t->now);
        return 2;
    case 3:
        gossip_tick(t->g, t->now);
        return 2;
    default:
        break;
    }
    if (left < 4)
        return left;
    len = (size_t)p[2] << 8 | p[3];
    if (len > left - 4)
        len = left - 4;
    receive(t, p + 4, len);
    gossip_tick(t->g, t->now);
    return 4 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct test t = {.now = 1000};
    unsigned steps = 0;
    size_t at = 0;

    t.g = make(&t);
    while (size - at >= 2 && steps++ < STEPS)
        at += step(&t, data + at, size - at);
    check(&t);
    gossip_free(&t.g);
    return 0;
}
