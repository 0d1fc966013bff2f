/* crew.c - all members together.
 *
 * Until every member was ready once, an end is a failure of the start as a
 * whole: a node never begins half.  Afterwards it is a crash that the member
 * recovers from by itself.
 *
 * Neighbour rule: a worker's listeners are served by the next ready worker
 * behind it from one second after its death until it is ready again, also
 * while its breaker is open.  The sockets are the master's and never close,
 * so clients only ever wait. */
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc/crew_seat.h"

enum {
    NEIGHBOUR_WAIT = 1000, /* ms after a death */
    KILL_WAIT = 1000,      /* ms for the kernel to end what was killed */
};

/* --- neighbours ----------------------------------------------------------- */

static bool is_ready(const struct crew *c, int seat)
{
    return seat != NOBODY && member_state(&c->seats[seat].member) == SLOT_READY;
}

/* The next ready worker behind seat `i`. */
static int neighbour(const struct crew *c, unsigned i)
{
    unsigned n = c->config.workers;

    for (unsigned k = 1; k < n; k++)
        if (is_ready(c, (int)((i + k) % n)))
            return (int)((i + k) % n);
    return NOBODY;
}

/* Let every orphan be served, and nobody else. */
static void assign_neighbours(struct crew *c)
{
    for (unsigned i = 0; i < c->config.workers; i++) {
        struct seat *s = &c->seats[i];
        int want = s->server;

        if (!s->orphan)
            want = NOBODY;
        else if (!is_ready(c, s->server))
            want = neighbour(c, i);
        if (want == s->server)
            continue;
        if (is_ready(c, s->server))
            member_tell(&c->seats[s->server].member, LEASH_RELEASE, i);
        if (want != NOBODY) {
            log_info("worker %d serves the listeners of worker %u", want, i);
            member_tell(&c->seats[want].member, LEASH_ADOPT, i);
        }
        s->server = want;
    }
}

static void on_wait(struct timer *t)
{
    struct seat *s = list_entry(t, struct seat, wait);

    s->orphan = true;
    assign_neighbours(s->crew);
}

/* --- what members say ----------------------------------------------------- */

/* Is nobody left who serves clients, or workers of other nodes? */
static bool all_broken(const struct crew *c)
{
    enum slot_role role = c->config.workers > 0 ? SLOT_WORKER : SLOT_RELAY;

    for (unsigned i = 0; i < c->count; i++) {
        const struct member *m = &c->seats[i].member;

        if (m->role == role && member_state(m) != SLOT_BROKEN)
            return false;
    }
    return true;
}

static bool all_ready(const struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!c->seats[i].rests && !is_ready(c, (int)i))
            return false;
    return true;
}

static void on_ready(void *arg, struct member *m)
{
    struct crew *c = arg;
    struct seat *s = seat_of(m);

    sd_check(c, CREW_MAGIC);
    timer_stop(c->config.loop, &s->wait);
    s->orphan = false;
    if (c->building != 0)
        crew_ask_vote(s);
    if (c->state == CREW_STARTING && all_ready(c)) {
        c->state = CREW_SERVING;
        c->config.hooks.on_ready(c->config.hooks.arg);
    }
    if (c->state == CREW_SERVING)
        assign_neighbours(c);
}

static bool is_empty(const struct crew *c, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        if (c->seats[i].member.pid != 0)
            return false;
    return true;
}

/* The others go when the workers, who may still need them, have gone; until
 * then the agent says that the node is not ready. */
static void stop_next(struct crew *c)
{
    unsigned workers = c->config.workers;

    if (!is_empty(c, 0, workers))
        return;
    if (is_empty(c, workers, c->count)) {
        loop_defer(c->config.loop, &c->empty);
        return;
    }
    for (unsigned i = workers; i < c->count; i++)
        if (!c->seats[i].member.told_to_end)
            member_drain(&c->seats[i].member, UINT32_MAX);
}

static void on_end(void *arg, struct member *m, const char *why, bool crashed)
{
    struct crew *c = arg;
    struct seat *s = seat_of(m);
    char text[LEASH_TEXT + 64], name[32];

    sd_check(c, CREW_MAGIC);
    member_name(m, name, sizeof(name));
    if (s->vote != VOTE_NONE)
        crew_fail_vote(c, name, why);
    switch (c->state) {
    case CREW_STARTING:
        c->state = CREW_FAILED;
        snprintf(text, sizeof(text), "%s: %s", name, why);
        c->config.hooks.on_refused(c->config.hooks.arg, text);
        break;
    case CREW_SERVING:
        if (s->rests) {
            if (crashed)
                log_error("%s ended while it drained: %s", name, why);
            slots_set_state(mesh_slots(c->config.mesh), m->slot, SLOT_EMPTY);
            break;
        }
        member_retry(m, why, crashed);
        if (m->role == SLOT_WORKER && !s->orphan && !timer_is_on(&s->wait))
            timer_start(c->config.loop, &s->wait, NEIGHBOUR_WAIT);
        assign_neighbours(c);
        if (all_broken(c))
            c->config.hooks.on_broken(c->config.hooks.arg);
        break;
    case CREW_LEAVING:
        if (m->role != SLOT_WORKER)
            member_retry(m, why, crashed);
        else if (crashed)
            log_error("%s ended while it drained: %s", name, why);
        break;
    case CREW_FAILED:
        break;
    case CREW_STOPPING:
        if (crashed)
            log_error("%s ended while stopping: %s", name, why);
        break;
    }
}

static void on_heritage(void *arg, struct heritage *h)
{
    struct crew *c = arg;

    sd_check(c, CREW_MAGIC);
    h->workers = c->config.workers;
    h->tasks = c->config.tasks;
    h->relays = c->config.relays;
    c->config.hooks.on_heritage(c->config.hooks.arg, h);
}

/* --- the crew ------------------------------------------------------------- */

static void on_deadline(struct timer *t)
{
    struct crew *c = list_entry(t, struct crew, deadline);
    char name[32];

    for (unsigned i = 0; i < c->count; i++)
        if (c->seats[i].member.pid != 0) {
            member_name(&c->seats[i].member, name, sizeof(name));
            log_warn("%s did not end in time: killed", name);
            member_kill(&c->seats[i].member);
        }
    timer_start(c->config.loop, t, KILL_WAIT);
}

static void on_empty_job(struct loop_job *job)
{
    struct crew *c = list_entry(job, struct crew, empty);

    timer_stop(c->config.loop, &c->deadline);
    c->config.hooks.on_empty(c->config.hooks.arg);
}

static void add_seat(struct crew *c, unsigned slot)
{
    struct seat *s = &c->seats[c->count++];

    s->crew = c;
    s->server = NOBODY;
    s->wait.fn = on_wait;
    member_init(&s->member, &c->env, slot);
}

struct crew *crew_new(const struct crew_config *config)
{
    struct crew *c = mem_zalloc(sizeof(*c));

    c->magic = CREW_MAGIC;
    c->config = *config;
    c->env = (struct member_env){
        .loop = config->loop,
        .mesh = config->mesh,
        .user = config->user,
        .stack = config->stack,
        .output = config->output,
        .on_heritage = on_heritage,
        .on_ready = on_ready,
        .on_built = crew_on_built,
        .on_end = on_end,
        .arg = c,
    };
    c->deadline.fn = on_deadline;
    c->patience.fn = crew_on_patience;
    c->empty.fn = on_empty_job;
    c->seats = mem_zalloc(mesh_master(config->mesh) * sizeof(*c->seats));
    for (unsigned i = 0; i < mesh_master(config->mesh); i++)
        add_seat(c, i);
    for (unsigned i = 0; i < config->tasks; i++)
        c->seats[config->workers + 2 * i + 1].rests = true;
    return c;
}

void crew_free(struct crew **cp)
{
    struct crew *c = *cp;

    if (c == NULL)
        return;
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++) {
        timer_stop(c->config.loop, &c->seats[i].wait);
        member_fini(&c->seats[i].member);
    }
    timer_stop(c->config.loop, &c->deadline);
    timer_stop(c->config.loop, &c->patience);
    loop_undefer(&c->empty);
    mem_free(c->seats);
    c->magic = 0;
    mem_free(c);
    *cp = NULL;
}

void crew_start(struct crew *c)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count && c->state == CREW_STARTING; i++)
        if (!c->seats[i].rests)
            member_start(&c->seats[i].member);
}

bool crew_on_exit(struct crew *c, int pid, int status)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++) {
        if (c->seats[i].member.pid != pid)
            continue;
        member_reaped(&c->seats[i].member, status);
        if (c->state == CREW_STOPPING)
            stop_next(c);
        return true;
    }
    return false;
}

/* The others are to know at once that the node drains. */
static void tell_agent(struct crew *c)
{
    struct member *agent = &c->seats[c->count - 1].member;

    if (member_state(agent) == SLOT_READY)
        member_tell(agent, LEASH_LEAVE, 0);
}

void crew_leave(struct crew *c)
{
    sd_check(c, CREW_MAGIC);
    sd_assert(c->state == CREW_SERVING);
    c->state = CREW_LEAVING;
    tell_agent(c);
    for (unsigned i = 0; i < c->config.workers; i++) {
        timer_stop(c->config.loop, &c->seats[i].wait);
        member_rest(&c->seats[i].member);
    }
}

void crew_pace(struct crew *c, unsigned i, uint32_t rate)
{
    sd_check(c, CREW_MAGIC);
    sd_assert(c->state == CREW_LEAVING && i < c->config.workers);
    member_leave(&c->seats[i].member, rate);
}

void crew_stop(struct crew *c, uint64_t ms)
{
    sd_check(c, CREW_MAGIC);
    if (c->building != 0)
        crew_drop(c, c->building);
    if (ms > 0 && c->state == CREW_SERVING)
        tell_agent(c);
    c->state = CREW_STOPPING;
    timer_start(c->config.loop, &c->deadline, ms > 0 ? ms : KILL_WAIT);
    for (unsigned i = 0; i < c->count; i++) {
        struct member *m = &c->seats[i].member;

        timer_stop(c->config.loop, &c->seats[i].wait);
        member_rest(m);
        if (ms == 0)
            member_kill(m);
        else if (m->role == SLOT_WORKER && !m->told_to_end)
            member_drain(m, (uint32_t)ms);
    }
    stop_next(c);
}

int crew_pid(const struct crew *c, unsigned i)
{
    sd_check(c, CREW_MAGIC);
    sd_assert(i < c->count);
    return c->seats[i].member.pid;
}

int crew_attach(struct crew *c, unsigned i, int fd)
{
    sd_check(c, CREW_MAGIC);
    sd_assert(i < c->config.workers);
    return member_attach(&c->seats[i].member, fd, 0);
}

int crew_ask_agent(struct crew *c, int fd, uint32_t what)
{
    sd_check(c, CREW_MAGIC);
    return member_attach(&c->seats[c->count - 1].member, fd, what);
}

void crew_reopen_logs(struct crew *c)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++)
        member_tell(&c->seats[i].member, LEASH_REOPEN_LOG, 0);
}
