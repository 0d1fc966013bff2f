/* gossip_udp.c - see gossip_udp.h.
 *
 * The socket is the master's, so what comes while no agent runs waits there
 * for the next one.  That one seals under another salt (cluster/seal.h), so
 * nothing has to be remembered.
 *
 * What cannot be opened is counted and, some of it, logged with its address. */
#include "cluster/gossip_udp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/address.h"
#include "cluster/announce.h"
#include "cluster/roll_msg.h"
#include "cluster/seal.h"
#include "cluster/seeds.h"
#include "loop/pollfd.h"
#include "loop/timer.h"

enum {
    UDP_MAGIC = 0x67756470,
    DATAGRAMS_MAX = 64,     /* in one turn, so that others get theirs */
    DATAGRAM_MAX = 2048,    /* longer ones are none of ours */
    COMPLAIN_OFTEN = 1000,  /* ms between two complaints at first, ... */
    COMPLAIN_RARELY = 60000 /* ... when there is no end to them */
};

struct gossip_udp {
    unsigned magic;
    struct gossip_udp_config config;
    int family; /* of the socket */
    struct keys *keys;
    struct seal *seal;
    struct gossip *gossip;
    struct announce *announce;
    struct seeds *seeds;
    struct pollfd_watch *watch;
    struct timer timer;
    struct buf plain, sealed;
    uint64_t complained, patience; /* ms: at, and until the next */
    unsigned unsaid;               /* since then */
};

/* --- out ------------------------------------------------------------------ */

/* What is lost here is as lost on the way: gossip lives with it. */
static void on_send(void *arg, const struct gossip_address *to,
                    const char *bytes, size_t len)
{
    struct gossip_udp *u = arg;
    struct sockaddr_storage a;
    socklen_t n = address_to(&a, to, u->family);

    sd_check(u, UDP_MAGIC);
    buf_truncate(&u->sealed, 0);
    if (n > 0 && seal_wrap(u->seal, slice_make(bytes, len), &u->sealed) == 0)
        (void)sendto(u->config.socket, u->sealed.p + u->sealed.head,
                     u->sealed.len, MSG_DONTWAIT, (const struct sockaddr *)&a,
                     n);
}

static void on_change(void *arg, const struct gossip_member *m,
                      enum gossip_event what)
{
    struct gossip_udp *u = arg;

    sd_check(u, UDP_MAGIC);
    u->config.on_change(u->config.arg, m, what);
}

static void tick(struct gossip_udp *u)
{
    uint32_t ms = gossip_tick(u->gossip, clock_ms());

    timer_start(u->config.loop, &u->timer, ms);
}

static void on_timer(struct timer *t)
{
    tick(list_entry(t, struct gossip_udp, timer));
}

/* --- in ------------------------------------------------------------------- */

/* What people can do about it. */
static const char *hint_for(enum seal_verdict why)
{
    if (why == SEAL_BAD_KEY)
        return " (its sender has another cluster.key)";
    if (why == SEAL_BAD_TAG)
        return " (its sender has another cluster.name, or it is forged)";
    return "";
}

/* Another cluster on the same network announces itself for ever: who has been
 * told of it is told less and less often. */
static bool may_complain(struct gossip_udp *u)
{
    uint64_t now = clock_ms(), since = now - u->complained;

    if (since < u->patience)
        return false;
    u->complained = now;
    u->patience *= 2;
    if (since > 2 * (uint64_t)COMPLAIN_RARELY || u->patience == 0)
        u->patience = COMPLAIN_OFTEN;
    if (u->patience > COMPLAIN_RARELY)
        u->patience = COMPLAIN_RARELY;
    return true;
}

static void complain(struct gossip_udp *u, const char *why, const char *hint,
                     const struct sockaddr *from)
{
    char text[ADDRESS_TEXT] = "?", more[48] = "";
    struct gossip_address a;

    if (!may_complain(u)) {
        u->unsaid++;
        return;
    }
    if (address_from(&a, from))
        address_write(text, &a);
    if (u->unsaid > 0)
        snprintf(more, sizeof(more), " (and %u more before)", u->unsaid);
    log_warn("a datagram from %s was dropped: %s%s%s", text, why, hint, more);
    u->unsaid = 0;
}

/* It was sealed with our key. */
static void complain_content(struct gossip_udp *u, const struct sockaddr *from)
{
    complain(u, "content", " (its sender has another version)", from);
}

/* The plain text of a datagram, in u->plain.  Else it is dropped; `ignored`
 * is no reason to say or count so. */
static bool open_datagram(struct gossip_udp *u, struct slice bytes,
                          const struct sockaddr *from,
                          enum seal_verdict ignored)
{
    enum seal_verdict v;

    buf_truncate(&u->plain, 0);
    v = seal_unwrap(u->seal, clock_ms(), bytes, &u->plain);
    if (v == ignored)
        seal_excuse(u->seal, v);
    else if (v != SEAL_OPENED && v != SEAL_OWN)
        complain(u, seal_word(v), hint_for(v), from);
    return v == SEAL_OPENED;
}

/* Our own broadcasts come back. */
static void take(struct gossip_udp *u, struct slice bytes,
                 const struct sockaddr *from)
{
    struct slice plain;
    int err;

    if (!open_datagram(u, bytes, from, SEAL_OWN))
        return;
    plain = buf_slice(&u->plain);
    err = roll_msg_is(plain)
              ? u->config.on_roll(u->config.arg, plain)
              : gossip_receive(u->gossip, clock_ms(), plain.p, plain.len);
    if (err < 0)
        complain_content(u, from);
}

static void on_readable(void *arg)
{
    struct gossip_udp *u = arg;
    char bytes[DATAGRAM_MAX];
    unsigned i;

    sd_check(u, UDP_MAGIC);
    for (i = 0; i < DATAGRAMS_MAX; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(u->config.socket, bytes, sizeof(bytes),
                             MSG_DONTWAIT, (struct sockaddr *)&from, &len);

        if (n < 0 && errno == EAGAIN)
            break;
        /* Else somebody has told us that a port is closed: no matter. */
        if (n >= 0)
            take(u, slice_make(bytes, (size_t)n), (struct sockaddr *)&from);
    }
    tick(u);
}

/* An announcement, as it came: by several ways, so it is heard again. */
static void on_announced(void *arg, struct slice bytes,
                         const struct sockaddr *from)
{
    struct gossip_udp *u = arg;
    struct announce_text text;

    sd_check(u, UDP_MAGIC);
    if (!open_datagram(u, bytes, from, SEAL_REPLAYED))
        return;
    if (announce_read(&text, buf_slice(&u->plain)) < 0) {
        complain_content(u, from);
        return;
    }
    gossip_heard(u->gossip, clock_ms(), text.boot, &text.address);
    tick(u);
}

static struct slice on_announce(void *arg)
{
    struct gossip_udp *u = arg;
    const struct gossip_member *self = gossip_self(u->gossip);
    struct announce_text text = {self->boot, self->address};

    sd_check(u, UDP_MAGIC);
    buf_truncate(&u->plain, 0);
    buf_truncate(&u->sealed, 0);
    announce_write(&text, &u->plain);
    if (seal_wrap(u->seal, buf_slice(&u->plain), &u->sealed) < 0)
        return slice_make("", 0);
    return buf_slice(&u->sealed);
}

static bool on_lonely(void *arg)
{
    const struct gossip_udp *u = arg;

    return !gossip_is_joined(u->gossip);
}

static void on_seeds(void *arg, const struct gossip_address *list, unsigned n)
{
    struct gossip_udp *u = arg;

    sd_check(u, UDP_MAGIC);
    gossip_seeds(u->gossip, list, n);
    tick(u);
}

/* --- open and close ------------------------------------------------------- */

static int open_gossip(struct gossip_udp *u)
{
    struct gossip_hooks hooks = {
        .arg = u, .send = on_send, .change = on_change};
    const struct conf_cluster *conf = &u->config.conf->cluster;
    uint8_t salt[SEAL_SALT];
    struct gossip_conf profile;
    uint64_t seed;

    if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt) ||
        getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return -errno;
    sd_assert(
        gossip_profile(&profile, conf->profile == CONF_FAST ? "fast" : "lan"));
    u->seal = seal_new(u->keys, salt, SEAL_SENDERS);
    u->gossip = gossip_new(&profile, &u->config.self, &hooks, seed, clock_ms());
    return 0;
}

static int open_announce(struct gossip_udp *u)
{
    struct announce_config config = {
        .loop = u->config.loop,
        .socket = u->config.announce,
        .make = on_announce,
        .is_lonely = on_lonely,
        .on_heard = on_announced,
        .arg = u,
    };

    return u->config.announce < 0 ? 0 : announce_open(&u->announce, &config);
}

static int socket_family(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof(a);

    return getsockname(fd, (struct sockaddr *)&a, &len) < 0 ? AF_INET
                                                            : a.ss_family;
}

int gossip_udp_open(struct gossip_udp **out,
                    const struct gossip_udp_config *config, const char **why)
{
    const struct conf_cluster *conf = &config->conf->cluster;
    struct gossip_udp *u = mem_zalloc(sizeof(*u));
    int err;

    u->magic = UDP_MAGIC;
    u->config = *config;
    u->timer.fn = on_timer;
    u->family = socket_family(config->socket);
    u->keys = keys_new(slice_str(conf->name));
    err = keys_set(u->keys, &conf->key, why);
    if (err == 0)
        err = open_gossip(u);
    if (err == 0)
        err = open_announce(u);
    if (err == 0)
        err = pollfd_open(&u->watch, config->loop, config->socket, on_readable,
                          u);
    if (err < 0) {
        gossip_udp_close(&u);
        return err;
    }
    u->seeds = seeds_new(config->loop, on_seeds, u);
    seeds_set(u->seeds, &conf->seeds);
    tick(u);
    *out = u;
    return 0;
}

void gossip_udp_close(struct gossip_udp **up)
{
    struct gossip_udp *u = *up;

    if (u == NULL)
        return;
    sd_check(u, UDP_MAGIC);
    timer_stop(u->config.loop, &u->timer);
    seeds_free(&u->seeds);
    announce_close(&u->announce);
    pollfd_close(&u->watch);
    gossip_free(&u->gossip);
    seal_free(&u->seal);
    keys_free(&u->keys);
    buf_fini(&u->plain);
    buf_fini(&u->sealed);
    u->magic = 0;
    mem_free(u);
    *up = NULL;
}

int gossip_udp_take(struct gossip_udp *u, const struct conf *conf,
                    const char **why)
{
    int err;

    sd_check(u, UDP_MAGIC);
    err = keys_set(u->keys, &conf->cluster.key, why);
    if (err == 0)
        seeds_set(u->seeds, &conf->cluster.seeds);
    return err;
}

/* --- what the agent asks and says ----------------------------------------- */

int gossip_udp_set_meta(struct gossip_udp *u, struct slice meta)
{
    int err = gossip_set_meta(u->gossip, clock_ms(), meta);

    tick(u);
    return err;
}

void gossip_udp_leave(struct gossip_udp *u)
{
    gossip_leave(u->gossip, clock_ms());
    tick(u);
}

void gossip_udp_vouch(struct gossip_udp *u, uint64_t boot, uint64_t age)
{
    gossip_vouch(u->gossip, clock_ms(), boot, age);
}

void gossip_udp_vouch_end(struct gossip_udp *u)
{
    gossip_vouch_end(u->gossip, clock_ms());
}

void gossip_udp_send(struct gossip_udp *u, uint64_t boot, struct slice bytes)
{
    const struct gossip_member *m = gossip_find(u->gossip, boot);

    if (m != NULL)
        on_send(u, &m->address, bytes.p, bytes.len);
}

const struct gossip *gossip_udp_look(const struct gossip_udp *u)
{
    return u->gossip;
}

const struct seal *gossip_udp_seal(const struct gossip_udp *u)
{
    return u->seal;
}
