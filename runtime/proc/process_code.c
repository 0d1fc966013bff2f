/* process_code.c - see process_code.h.
 *
 * The master asks for a generation (LEASH_BUILD), hears whether it stands by,
 * and commits it by one store in shared memory, the number of the vote.  vms
 * look for it before anything is begun, so that nobody begins a call in old
 * code after that. */
#include "proc/process_code.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "proc/figures.h"

enum {
    RENEW_AGAIN = 60000, /* ms from a fresh vm to the next */
    RETIRED_MAX = 2,     /* vms that finish, when another one is asked for */
    LOOK_AGAIN = 20,     /* ms, whether one of them has */
    PATIENCE = 3000,     /* ms for that */
};

void process_open_log(const struct process *p)
{
    char name[32];

    slots_name(name, sizeof(name), p->slots, p->h->slot);
    log_open(p->h->log_fd, (enum log_level)p->conf->log.level,
             p->conf->log.json, name);
    log_generation(p->code->generation);
}

static void drop_next(struct process *p)
{
    vms_drop(p->vms);
    code_unref(&p->next);
}

static void say_built(const struct process *p, const char *error)
{
    struct leash_msg m = {.type = error == NULL ? LEASH_BUILT : LEASH_UNBUILT,
                          .serial = p->vote};

    snprintf(m.text, sizeof(m.text), "%s", error != NULL ? error : "");
    leash_send_msg(p->h->leash, &m, -1);
}

static void on_switched(void *arg);
static void build_wanted(struct process *p);

static void forget_wanted(struct process *p)
{
    if (p->wanted_fd >= 0)
        close(p->wanted_fd);
    p->wanted_fd = -1;
}

/* Amid a switch, maybe one to a fresh vm of the same code, it is made behind
 * that; where two earlier ones go on, when one has ended. */
static void want(struct process *p, const struct leash_msg *m, int fd)
{
    forget_wanted(p);
    p->wanted = *m;
    p->wanted_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (p->wanted_fd < 0)
        say_built(p, strerror(errno));
}

/* The vms of two reloads just before are mostly about to be gone: they are
 * closed on another thread, which a busy machine may keep from its work. */
static void on_look(struct timer *t)
{
    struct process *p = list_entry(t, struct process, look);

    if (p->wanted_fd < 0 || vms_is_switching(p->vms))
        return;
    if (vms_retired(p->vms) < RETIRED_MAX) {
        build_wanted(p);
    } else if (loop_now(p->loop) < p->wanted_until) {
        timer_start(p->loop, t, LOOK_AGAIN);
    } else {
        forget_wanted(p);
        say_built(p, "calls of two earlier generations have not ended");
    }
}

static void want_room(struct process *p, const struct leash_msg *m, int fd)
{
    want(p, m, fd);
    p->wanted_until = loop_now(p->loop) + PATIENCE;
    p->look.fn = on_look;
    timer_start(p->loop, &p->look, LOOK_AGAIN);
}

static void on_next_built(void *arg, int err, const char *text)
{
    struct process *p = arg;

    say_built(p, err < 0 ? text : NULL);
    if (err < 0)
        code_unref(&p->next);
    else
        vms_await_commit(p->vms, p->vote, on_switched, p);
}

void process_build(struct process *p, const struct leash_msg *m, int fd)
{
    const char *why = NULL;

    if (p->vms == NULL)
        return; /* the process ends */
    forget_wanted(p);
    p->vote = m->serial;
    if (vms_is_switching(p->vms)) {
        want(p, m, fd);
        return;
    }
    if (p->next != NULL)
        drop_next(p); /* a renewal, or one that the master has given up */
    if (vms_retired(p->vms) >= RETIRED_MAX)
        want_room(p, m, fd);
    else if (code_open(&p->next, fd, m->number, &why) < 0)
        say_built(p, why);
    else
        vms_build(p->vms, p->next, "reload", on_next_built, p);
}

static void build_wanted(struct process *p)
{
    struct leash_msg m = p->wanted;
    int fd = p->wanted_fd;

    p->wanted_fd = -1;
    process_build(p, &m, fd);
    close(fd);
}

void process_drop(struct process *p, unsigned generation)
{
    if (p->wanted_fd >= 0 && p->wanted.number == generation)
        forget_wanted(p);
    if (p->vms != NULL && p->next != NULL &&
        p->next->generation == generation && !vms_is_switching(p->vms))
        drop_next(p);
}

static void take_code(struct process *p, struct code *code)
{
    code_unref(&p->code);
    p->code = code;
    p->conf = code->conf;
    process_open_log(p);
    figures_publish(p, 0);
}

static void on_switched(void *arg)
{
    struct process *p = arg;
    struct code *code = p->next;

    p->next = NULL;
    take_code(p, code);
    if (p->wanted_fd >= 0)
        build_wanted(p);
}

/* --- memory: a fresh vm for one that is nearly full ----------------------- */

static void on_renewed(void *arg, int err, const char *text)
{
    struct process *p = arg;

    if (err == 0) {
        vms_switch(p->vms, on_switched, p);
        return;
    }
    log_error("a fresh vm cannot be made: %s", text);
    code_unref(&p->next);
}

/* What lives in the vm fills it: values that scripts keep, most likely for
 * ever.  As in a reload they begin anew, of the same code, in a vm with room;
 * but if that is full too soon, it is what the application needs. */
void process_look_at_memory(struct process *p, uint64_t now)
{
    if (p->next != NULL || p->wanted_fd >= 0 || p->conf == NULL ||
        !vms_can_switch(p->vms) || !vms_is_short(p->vms))
        return;
    if (p->renewed != 0 && now - p->renewed < RENEW_AGAIN)
        return;
    p->renewed = now;
    p->next = code_ref(p->code);
    log_warn("memory: %" PRIu64 " bytes of server.vm_memory live; a fresh vm "
             "takes over",
             vms_memory(p->vms));
    vms_build(p->vms, p->next, "reload", on_renewed, p);
}

/* The agent: no code of scripts, but their names and limits. */
void process_take_config(struct process *p, unsigned generation, int fd)
{
    struct code *code;
    const char *why;

    if (code_open(&code, fd, generation, &why) < 0) {
        log_error("generation %u: %s", generation, why);
        return;
    }
    take_code(p, code);
    if (p->on_config != NULL)
        p->on_config(p);
}

void process_rest_code(struct process *p)
{
    timer_stop(p->loop, &p->look);
    forget_wanted(p);
}

void process_end_code(struct process *p)
{
    forget_wanted(p);
    code_unref(&p->next);
    code_unref(&p->code);
}
