/* load.c - W6: messages from one client to another through something between.
 *
 *   relay_load --peer link|nats|floor --port N --pid N [--size BYTES]
 *              [--window N | --rate N] [--seconds S] [--plain yes|no]
 *              [--key TEXT] [--cluster NAME]
 *
 * With a window so many messages are under way at any time, counted from the
 * sender's put to the receiver's read.  With a rate they are sent by the clock
 * and this program never sleeps; a latency counts from when a message was due,
 * so that a stall is in the latencies of all that it delayed.
 *
 * Each message has its number and must come once, in order.  Prints one line of
 * JSON; CPU is that of the processes of --pid while it was measured. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/hist.h"
#include "common/proc.h"
#include "common/sock.h"
#include "common/util.h"
#include "relay/peer.h"

enum {
    SIZE_MAX_BYTES = 65536,
    READ_MAX = 256 * 1024,
    END_WAIT = 10 /* seconds for what is under way */
};

static struct {
    const struct peer *peer;
    struct peer_options to;
    const char *pids;
    size_t size;
    uint64_t window;
    double rate, seconds, warmup;
} plan = {.peer = &peer_floor,
          .size = 64,
          .window = 1024,
          .seconds = 1,
          .warmup = 0.3,
          .to.cluster = "sdlua"};

static const struct peer *const peers[] = {&peer_link, &peer_nats, &peer_floor};
static int fds[2], epfd;
static uint64_t put_count, got_count, began;
static bool is_measured, is_over;
static struct hist hist;
static char message[SIZE_MAX_BYTES];

/* --- messages ------------------------------------------------------------- */

static void put(uint64_t due)
{
    memcpy(message, &put_count, 8);
    memcpy(message + 8, &due, 8);
    plan.peer->put(message, plan.size);
    put_count++;
}

static void on_message(const char *p, size_t len)
{
    uint64_t number, due;

    if (len != plan.size)
        util_die("a message of %zu bytes", len);
    memcpy(&number, p, 8);
    memcpy(&due, p + 8, 8);
    if (number != got_count || memcmp(p + 16, message + 16, len - 16) != 0)
        util_die("message %llu came where %llu was due",
                 (unsigned long long)number, (unsigned long long)got_count);
    got_count++;
    if (is_measured)
        hist_add(&hist, util_now() - due);
}

/* All that is due now. */
static void put_due(uint64_t now)
{
    if (is_over)
        return;
    if (plan.rate == 0) {
        while (put_count - got_count < plan.window)
            put(now);
        return;
    }
    for (;;) {
        uint64_t due = began + (uint64_t)((double)put_count * 1e9 / plan.rate);

        if (due > now)
            return;
        put(due);
    }
}

/* --- sockets -------------------------------------------------------------- */

static void flush(int side)
{
    static bool waits[2];
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)side};
    size_t len;
    const char *p = plan.peer->queued(side, &len);
    bool is_full = false;

    while (len > 0) {
        ssize_t n = write(fds[side], p, len);

        if (n < 0 && errno != EAGAIN)
            util_die("write: %s", strerror(errno));
        is_full = n < 0;
        if (is_full)
            break;
        plan.peer->sent(side, (size_t)n);
        p = plan.peer->queued(side, &len);
    }
    if (is_full == waits[side])
        return;
    waits[side] = is_full;
    e.events |= is_full ? EPOLLOUT : 0;
    epoll_ctl(epfd, EPOLL_CTL_MOD, fds[side], &e);
}

static void read_some(int side)
{
    static char bytes[READ_MAX];
    ssize_t n = read(fds[side], bytes, sizeof(bytes));

    if (n == 0 || (n < 0 && errno != EAGAIN))
        util_die("%s was closed", side == 0 ? "the sender" : "the receiver");
    if (n > 0)
        plan.peer->feed(side, bytes, (size_t)n, on_message);
}

static void turn(void)
{
    struct epoll_event e[2];
    int i, n;

    put_due(util_now());
    flush(0);
    flush(1);
    n = epoll_wait(epfd, e, 2, plan.rate > 0 ? 0 : 100);
    for (i = 0; i < n; i++) {
        if ((e[i].events & EPOLLIN) != 0)
            read_some((int)e[i].data.u32);
    }
}

static void turn_for(double seconds)
{
    uint64_t end = util_now() + (uint64_t)(seconds * 1e9);

    while (util_now() < end)
        turn();
}

static void finish(void)
{
    uint64_t end = util_now() + END_WAIT * 1000000000ULL;

    is_over = true;
    while (got_count < put_count || !plan.peer->is_settled()) {
        if (util_now() > end)
            util_die("%llu messages did not come, or were not answered",
                     (unsigned long long)(put_count - got_count));
        turn();
    }
}

/* --- the run -------------------------------------------------------------- */

static void open_all(void)
{
    size_t i;

    for (i = 16; i < sizeof(message); i++)
        message[i] = (char)(i * 31);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    plan.peer->open(&plan.to, fds);
    for (uint32_t side = 0; side < 2; side++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = side};

        sock_set_nonblocking(fds[side]);
        epoll_ctl(epfd, EPOLL_CTL_ADD, fds[side], &e);
    }
}

static void run(void)
{
    struct proc_usage before = {0}, after = {0};
    struct proc_group group = {0};
    uint64_t first, t0, t1, n;

    proc_group_add(&group, plan.pids);
    began = util_now();
    turn_for(plan.warmup);
    is_measured = true;
    if (proc_usage_read(&before, &group) < 0)
        util_die("the server has ended");
    first = got_count;
    t0 = util_now();
    turn_for(plan.seconds);
    t1 = util_now();
    n = got_count - first;
    if (proc_usage_read(&after, &group) < 0 || n == 0)
        util_die("nothing came");
    is_measured = false;
    finish();
    printf("{\"messages\":%llu,\"per_second\":%.0f,\"cpu_us\":%.4f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           (unsigned long long)n, (double)n * 1e9 / (double)(t1 - t0),
           (double)(after.cpu_ns - before.cpu_ns) / 1e3 / (double)n,
           hist_us(&hist, 0.5), hist_us(&hist, 0.99));
}

static const struct peer *find_peer(const char *name)
{
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (strcmp(peers[i]->name, name) == 0)
            return peers[i];
    }
    util_die("no peer \"%s\"", name);
}

static void take_flag(const char *flag, const char *value)
{
    if (strcmp(flag, "--peer") == 0)
        plan.peer = find_peer(value);
    else if (strcmp(flag, "--port") == 0)
        plan.to.port = (int)util_number(flag, value, 1, 65535);
    else if (strcmp(flag, "--pid") == 0)
        plan.pids = value;
    else if (strcmp(flag, "--size") == 0)
        plan.size = (size_t)util_number(flag, value, 16, SIZE_MAX_BYTES);
    else if (strcmp(flag, "--window") == 0)
        plan.window = (uint64_t)util_number(flag, value, 1, 8192);
    else if (strcmp(flag, "--rate") == 0)
        plan.rate = util_number(flag, value, 1, 1e7);
    else if (strcmp(flag, "--seconds") == 0)
        plan.seconds = util_number(flag, value, 0.01, 3600);
    else if (strcmp(flag, "--key") == 0)
        plan.to.key = value;
    else if (strcmp(flag, "--cluster") == 0)
        plan.to.cluster = value;
    else if (strcmp(flag, "--plain") == 0)
        plan.to.plain = strcmp(value, "yes") == 0;
    else
        util_die("no flag %s", flag);
}

int main(int argc, char **argv)
{
    int i;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (i = 1; i + 1 < argc; i += 2)
        take_flag(argv[i], argv[i + 1]);
    if (i < argc || plan.pids == NULL || plan.to.port == 0 ||
        (plan.peer == &peer_link && plan.to.key == NULL))
        util_die("usage: see the top of bench/relay/load.c");
    open_all();
    run();
    return 0;
}
