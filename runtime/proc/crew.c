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
#include "proc/crew.h"
#include "proc/member.h"

enum {
    CREW_MAGIC = 0x63726577,
    NEIGHBOUR_WAIT = 1000, /* ms after a death */
    KILL_WAIT = 1000,      /* ms for the kernel to end what was killed */
    NOBODY = -1,
    VOTE_LIMIT = 60000, /* ms until a generation must stand by */
    VOTE_LOOK = 100,
};

enum crew_state {
    CREW_STARTING,
    CREW_SERVING,
    CREW_FAILED,
    CREW_STOPPING
};

/* What a seat says to a generation that is to be built. */
enum vote {
    VOTE_NONE, /* it was not asked */
    VOTE_AWAITED,
    VOTE_YES,
};

/* A seat is a member and, of a worker, who serves its listeners meanwhile.  A
 * task has two, of which one rests: at a reload a fresh process takes over in
 * it while the other's call goes on. */
struct seat {
    struct member member;
    struct crew *crew;
    bool rests;    /* nobody is to be started in it */
    bool is_fresh; /* during a commit: filled by it */
    enum vote vote;
    int server;  /* index of a seat, or NOBODY */
    bool orphan; /* dead for longer than NEIGHBOUR_WAIT */
    struct timer wait;
};

struct crew {
    unsigned magic;
    struct crew_config config;
    struct member_env env;
    enum crew_state state;
    unsigned count;
    struct seat *seats;    /* workers first, the agent last */
    unsigned building;     /* a generation that is voted on; 0: none */
    int bundle;            /* its bundle, borrowed */
    unsigned vote;         /* counts votes: late answers to others are none */
    struct timer deadline; /* of the stop */
    uint64_t vote_until;   /* clock_ms() */
    struct timer patience; /* with the vote */
    struct loop_job empty;
};

/* --- neighbours ------------------------------------------------------------ */

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

/* --- what members say ------------------------------------------------------ */

static bool all_workers(const struct crew *c, enum slot_state state)
{
    for (unsigned i = 0; i < c->config.workers; i++)
        if (member_state(&c->seats[i].member) != state)
            return false;
    return true;
}

static bool all_ready(const struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!c->seats[i].rests && !is_ready(c, (int)i))
            return false;
    return true;
}

static struct seat *seat_of(struct member *m)
{
    return list_entry(m, struct seat, member);
}

/* A task that runs a call does not read its leash, maybe for minutes. */
static bool is_busy_task(const struct seat *s)
{
    return s->member.role == SLOT_TASK &&
           slots_get(mesh_slots(s->crew->config.mesh), s->member.slot,
                     SLOT_BUSY) > 0;
}

/* Let it make the generation that is voted on, if it can. */
static void ask_vote(struct seat *s)
{
    struct crew *c = s->crew;

    if (s->rests || s->member.role == SLOT_AGENT || is_busy_task(s))
        return;
    if (member_tell_code(&s->member, LEASH_BUILD, c->building, c->vote,
                         c->bundle) == 0)
        s->vote = VOTE_AWAITED;
}

/* The other seat of a task; NULL: it is of no task. */
static struct seat *twin_of(struct seat *s)
{
    if (s->member.role != SLOT_TASK)
        return NULL;
    return (s->member.slot - s->crew->config.workers) % 2 == 0 ? s + 1 : s - 1;
}

static void on_ready(void *arg, struct member *m)
{
    struct crew *c = arg;
    struct seat *s = seat_of(m);

    sd_check(c, CREW_MAGIC);
    timer_stop(c->config.loop, &s->wait);
    s->orphan = false;
    if (c->building != 0)
        ask_vote(s);
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

/* Tasks and agent go when the workers, who may still call them, have gone;
 * until then the agent says that the node is not ready. */
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

/* --- a vote on a generation -------------------------------------------------- */

static void end_vote(struct crew *c)
{
    c->building = 0;
    timer_stop(c->config.loop, &c->patience);
    for (unsigned i = 0; i < c->count; i++)
        c->seats[i].vote = VOTE_NONE;
}

static void fail_vote(struct crew *c, const char *name, const char *why)
{
    unsigned number = c->building;
    char text[LEASH_TEXT + 64];

    snprintf(text, sizeof(text), "%s: %s", name, why);
    end_vote(c);
    crew_drop(c, number);
    c->config.hooks.on_built(c->config.hooks.arg, text);
}

/* Has everybody voted who can? */
static void count_votes(struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct seat *s = &c->seats[i];

        if (s->vote == VOTE_AWAITED && !is_busy_task(s))
            return;
    }
    timer_stop(c->config.loop, &c->patience);
    c->config.hooks.on_built(c->config.hooks.arg, NULL);
}

static void on_built(void *arg, struct member *m, unsigned serial,
                     const char *why)
{
    struct crew *c = arg;
    struct seat *s = seat_of(m);
    char name[32];

    sd_check(c, CREW_MAGIC);
    if (serial != c->vote || s->vote != VOTE_AWAITED)
        return;
    if (why != NULL) {
        member_name(m, name, sizeof(name));
        fail_vote(c, name, why);
        return;
    }
    s->vote = VOTE_YES;
    count_votes(c);
}

/* Somebody takes long: did it become busy, or is it stuck? */
static void on_patience(struct timer *t)
{
    struct crew *c = list_entry(t, struct crew, patience);
    char name[32];

    if (clock_ms() < c->vote_until) {
        timer_start(c->config.loop, t, VOTE_LOOK);
        count_votes(c);
        return;
    }
    for (unsigned i = 0; i < c->count; i++) {
        if (c->seats[i].vote != VOTE_AWAITED || is_busy_task(&c->seats[i]))
            continue;
        member_name(&c->seats[i].member, name, sizeof(name));
        fail_vote(c, name, "the new code is not ready in time");
        return;
    }
    count_votes(c);
}

void crew_build(struct crew *c, unsigned number, int bundle)
{
    sd_check(c, CREW_MAGIC);
    c->building = number;
    c->vote_until = clock_ms() + VOTE_LIMIT;
    c->bundle = bundle;
    c->vote++;
    for (unsigned i = 0; i < c->count; i++)
        if (is_ready(c, (int)i))
            ask_vote(&c->seats[i]);
    timer_start(c->config.loop, &c->patience, VOTE_LOOK);
    count_votes(c);
}

void crew_drop(struct crew *c, unsigned number)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++)
        if (c->seats[i].member.role != SLOT_AGENT)
            member_tell(&c->seats[i].member, LEASH_DROP, number);
    end_vote(c);
}

/* A task whose call goes on in old code: nobody gets in line behind it.  A
 * fresh one takes over in the other seat, unless not even an earlier call
 * there has ended; then in this one, later. */
static void replace_task(struct seat *s)
{
    struct seat *twin = twin_of(s);

    slots_set_state(mesh_slots(s->crew->config.mesh), s->member.slot,
                    SLOT_DRAINING);
    member_drain(&s->member, UINT32_MAX);
    if (twin->member.pid != 0)
        return;
    s->rests = true;
    twin->rests = false;
    twin->is_fresh = true;
    member_start(&twin->member);
}

static void commit_seat(struct seat *s, unsigned number, int bundle)
{
    struct member *m = &s->member;

    if (m->role == SLOT_AGENT)
        member_tell_code(m, LEASH_COMMIT, number, 0, bundle);
    else if (s->vote == VOTE_YES)
        member_tell(m, LEASH_COMMIT, number);
    else if (s->rests || s->is_fresh)
        return;
    else if (m->pid == 0)
        member_hurry(m); /* maybe what broke it is mended */
    else if (member_state(m) == SLOT_READY && m->role == SLOT_TASK)
        replace_task(s);
    else if (member_state(m) != SLOT_DRAINING)
        member_kill(m); /* it starts with old code */
}

void crew_commit(struct crew *c, unsigned number, int bundle)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++)
        commit_seat(&c->seats[i], number, bundle);
    for (unsigned i = 0; i < c->count; i++)
        c->seats[i].is_fresh = false;
    end_vote(c);
}

static void on_end(void *arg, struct member *m, const char *why, bool crashed)
{
    struct crew *c = arg;
    struct seat *s = seat_of(m);
    char text[LEASH_TEXT + 64], name[32];

    sd_check(c, CREW_MAGIC);
    member_name(m, name, sizeof(name));
    if (s->vote != VOTE_NONE)
        fail_vote(c, name, why);
    switch (c->state) {
    case CREW_STARTING:
        c->state = CREW_FAILED;
        snprintf(text, sizeof(text), "%s: %s", name, why);
        c->config.hooks.on_refused(c->config.hooks.arg, text);
        break;
    case CREW_SERVING:
        if (s->rests) {
            slots_set_state(mesh_slots(c->config.mesh), m->slot, SLOT_EMPTY);
            break;
        }
        member_retry(m, why, crashed);
        if (m->role == SLOT_WORKER && !s->orphan && !timer_is_on(&s->wait))
            timer_start(c->config.loop, &s->wait, NEIGHBOUR_WAIT);
        assign_neighbours(c);
        if (all_workers(c, SLOT_BROKEN))
            c->config.hooks.on_broken(c->config.hooks.arg);
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
    c->config.hooks.on_heritage(c->config.hooks.arg, h);
}

/* --- the crew -------------------------------------------------------------- */

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
        .on_built = on_built,
        .on_end = on_end,
        .arg = c,
    };
    c->deadline.fn = on_deadline;
    c->patience.fn = on_patience;
    c->empty.fn = on_empty_job;
    c->seats = mem_zalloc((config->workers + 2 * config->tasks + 1) *
                          sizeof(*c->seats));
    for (unsigned i = 0; i < config->workers; i++)
        add_seat(c, i);
    for (unsigned i = 0; i < 2 * config->tasks; i++) {
        add_seat(c, config->workers + i);
        c->seats[c->count - 1].rests = i % 2 == 1;
    }
    add_seat(c, config->workers + 2 * config->tasks); /* the agent */
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

void crew_stop(struct crew *c, uint64_t ms)
{
    sd_check(c, CREW_MAGIC);
    if (c->building != 0)
        crew_drop(c, c->building);
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

void crew_reopen_logs(struct crew *c)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++)
        member_tell(&c->seats[i].member, LEASH_REOPEN_LOG, 0);
}
