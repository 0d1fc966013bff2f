/* slow.c - see slow.h.
 *
 * Messages are published by the clock: 100 MB/s summed over all who watch.
 * The one that reads must get each, in order; on a machine that is too slow
 * for it the clock waits, or it would be one of the slow.  The others read at
 * the end: every message that is there must be right, and younger than the one
 * before; behind the last comes the reply to a call, so that none can be
 * missing. */
#include "common/slow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ask.h"
#include "common/crowd.h"
#include "common/packet.h"
#include "common/sock.h"
#include "common/util.h"

#define TEXT      1024
#define TOTAL     100e6 /* bytes a second */
#define TICK_MS   5
#define AHEAD     256 /* messages that the one who reads may lack */
#define LAST_CALL "\"that was all\""

struct slow {
    struct stages run;
    struct slow_result *result;
    struct crowd crowd; /* the reader and the publisher */
    int *snails;
    uint64_t published;
    uint64_t got; /* by the snails */
    struct bytes calls;
};

static unsigned receivers(const struct slow *s)
{
    return s->run.plan->conns + 1;
}

static long judge(void *arg, struct crowd_conn *c, const char *in, size_t len)
{
    struct slow *s = arg;
    long n = -1;

    if (c->index == 0 && c->next < s->published)
        n = packet_is_text(in, len, TEXT, c->next);
    if (n > 0)
        c->next++;
    return n;
}

static int watch(const struct client_plan *plan)
{
    return ask_connect(plan->address, plan->port, -1, "watch", NULL, "true");
}

static void open_all(struct slow *s)
{
    const struct client_plan *plan = s->run.plan;
    unsigned i;

    s->snails = util_alloc(plan->conns, sizeof(*s->snails));
    for (i = 0; i < plan->conns; i++) {
        s->snails[i] = watch(plan);
    }
    crowd_open(&s->crowd, 2);
    crowd_set(&s->crowd, 0, watch(plan));
    crowd_set(&s->crowd, 1, sock_connect(plan->address, plan->port, -1));
}

/* --- while they do not read ----------------------------------------------- */

static void publish_until(struct slow *s, uint64_t number)
{
    s->calls.len = 0;
    while (s->published < number)
        packet_call_text(&s->calls, "publish", TEXT, s->published++);
    crowd_send(&s->crowd, &s->crowd.conns[1], s->calls.p, s->calls.len);
}

static void look(struct slow *s)
{
    double rss = (double)proc_rss(s->run.plan->server);

    if (rss < 0)
        stages_fail(&s->run, "a server process has ended");
    if (rss > s->result->rss_peak)
        s->result->rss_peak = rss;
}

/* What is to be published by now. */
static uint64_t due(const struct slow *s, double number)
{
    uint64_t most = s->crowd.conns[0].next + AHEAD;

    return number < (double)most ? (uint64_t)number : most;
}

static void flood(struct slow *s)
{
    double rate = TOTAL / (PACKET_HEAD + 2 + TEXT) / receivers(s);
    uint64_t began = util_now();
    double seconds = 0;

    while (!s->run.failed && seconds < s->run.plan->seconds) {
        publish_until(s, due(s, rate * seconds));
        crowd_turn(&s->crowd, TICK_MS);
        look(s);
        seconds = (double)(util_now() - began) / 1e9;
    }
    while (!s->run.failed && s->crowd.conns[0].next < s->published) {
        crowd_turn(&s->crowd, TICK_MS);
        if ((double)(util_now() - began) / 1e9 - seconds > s->run.plan->stall)
            stages_fail(&s->run, "the one that reads lacks messages");
    }
    seconds = (double)(util_now() - began) / 1e9;
    s->run.result->seconds = seconds;
    s->result->megabytes = (double)s->published * (PACKET_HEAD + 2 + TEXT) *
                           receivers(s) / seconds / 1e6;
}

/* --- what was left for them ----------------------------------------------- */

/* The number that the text of a packet begins with. */
static uint64_t number_in(const char *packet)
{
    char digits[17] = {0};

    memcpy(digits, packet + PACKET_HEAD + 1, 16);
    return strtoull(digits, NULL, 16);
}

/* One packet.  1: more may come; 0: that was the last; -1: it is wrong. */
static int judge_left(struct slow *s, const char *packet, size_t size,
                      uint64_t *next)
{
    uint64_t number;

    if (packet_is(packet, size, LAST_CALL) > 0)
        return 0;
    if (size != PACKET_HEAD + 2 + TEXT)
        return -1;
    number = number_in(packet);
    if (number < *next || number >= s->published ||
        packet_is_text(packet, size, TEXT, number) < 0)
        return -1;
    *next = number + 1;
    s->got++;
    return 1;
}

static int read_left(struct slow *s, int fd)
{
    static char in[1 << 16];
    size_t len = 0, used;
    uint64_t next = 0;
    int more = 1;

    while (more > 0) {
        ssize_t n = recv(fd, in + len, sizeof(in) - len, 0);
        long size = 1;

        if (n <= 0)
            return -1;
        len += (size_t)n;
        for (used = 0; more > 0 && size > 0; used += (size_t)size) {
            size = packet_size(in + used, len - used);
            if (size > 0)
                more = judge_left(s, in + used, (size_t)size, &next);
            if (size < 0 || more < 0)
                return -1;
        }
        len -= used;
        memmove(in, in + used, len);
    }
    return len == 0 ? 0 : -1;
}

static void drain(struct slow *s)
{
    struct bytes call = {0};
    unsigned i;

    packet_call(&call, "echo", LAST_CALL);
    for (i = 0; i < s->run.plan->conns && !s->run.failed; i++) {
        int fd = s->snails[i];

        if (send(fd, call.p, call.len, MSG_NOSIGNAL) < 0 ||
            read_left(s, fd) < 0)
            stages_fail(&s->run, "slow conn %u: wrong reply", i);
    }
    bytes_fini(&call);
    s->result->dropped =
        1 - (double)s->got / (double)s->published / s->run.plan->conns;
}

static void close_all(struct slow *s)
{
    unsigned i;

    for (i = 0; i < s->run.plan->conns; i++)
        close(s->snails[i]);
    free(s->snails);
    bytes_fini(&s->calls);
    crowd_close(&s->crowd);
}

int slow_run(struct slow_result *out, const struct client_plan *plan)
{
    struct slow s = {.result = out, .crowd = {.judge = judge}};

    *out = (struct slow_result){0};
    stages_begin(&s.run, plan, &out->run);
    s.crowd.run = &s.run;
    s.crowd.arg = &s;
    out->rss_before = (double)proc_rss(plan->server);
    open_all(&s);
    flood(&s);
    if (!s.run.failed)
        drain(&s);
    out->run.requests = s.published * receivers(&s);
    close_all(&s);
    return s.run.failed ? -1 : 0;
}
