/* crew_vote.c - how a crew comes to run another generation.
 *
 * Every ready worker is asked, and every idle task; one that dies or cannot,
 * and nothing comes of it.  A task that runs a call has no voice, for it may
 * take minutes: at the commit a fresh process takes over in the task's other
 * seat, and it finishes and ends; so does one that has become busy since it
 * voted. */
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "proc/crew_seat.h"

enum {
    VOTE_LIMIT = 60000, /* ms until a generation must stand by */
    VOTE_LOOK = 100,
};

/* A task that runs a call does not read its leash, maybe for minutes. */
static bool is_busy_task(const struct seat *s)
{
    return s->member.role == SLOT_TASK &&
           slots_get(mesh_slots(s->crew->config.mesh), s->member.slot,
                     SLOT_BUSY) > 0;
}

/* It takes another configuration and has no code to make. */
static bool has_vm(const struct seat *s)
{
    return s->member.role == SLOT_WORKER || s->member.role == SLOT_TASK;
}

void crew_ask_vote(struct seat *s)
{
    struct crew *c = s->crew;
    char name[32];

    if (s->rests || !has_vm(s) || is_busy_task(s))
        return;
    if (member_tell_code(&s->member, LEASH_BUILD, c->building, c->vote,
                         c->bundle) == 0) {
        s->vote = VOTE_AWAITED;
        return;
    }
    member_name(&s->member, name, sizeof(name));
    crew_fail_vote(c, name, "it cannot be told");
}

/* The other seat of a task; NULL: it is of no task. */
static struct seat *twin_of(struct seat *s)
{
    if (s->member.role != SLOT_TASK)
        return NULL;
    return (s->member.slot - s->crew->config.workers) % 2 == 0 ? s + 1 : s - 1;
}

static void end_vote(struct crew *c)
{
    c->building = 0;
    timer_stop(c->config.loop, &c->patience);
    for (unsigned i = 0; i < c->count; i++)
        c->seats[i].vote = VOTE_NONE;
}

void crew_fail_vote(struct crew *c, const char *name, const char *why)
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

void crew_on_built(void *arg, struct member *m, unsigned serial,
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
        crew_fail_vote(c, name, why);
        return;
    }
    s->vote = VOTE_YES;
    count_votes(c);
}

/* Somebody takes long: did it become busy, or is it stuck? */
void crew_on_patience(struct timer *t)
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
        crew_fail_vote(c, name, "the new code is not ready in time");
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
    for (unsigned i = 0; i < c->count && c->building != 0; i++)
        if (member_state(&c->seats[i].member) == SLOT_READY)
            crew_ask_vote(&c->seats[i]);
    if (c->building == 0)
        return; /* it has failed */
    timer_start(c->config.loop, &c->patience, VOTE_LOOK);
    count_votes(c);
}

unsigned crew_vote(const struct crew *c)
{
    sd_check(c, CREW_MAGIC);
    return c->vote;
}

void crew_drop(struct crew *c, unsigned number)
{
    sd_check(c, CREW_MAGIC);
    for (unsigned i = 0; i < c->count; i++)
        if (has_vm(&c->seats[i]))
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

    if (!has_vm(s))
        member_tell_code(m, LEASH_COMMIT, number, 0, bundle);
    else if (s->vote == VOTE_YES && !is_busy_task(s))
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
