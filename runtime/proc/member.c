/* member.c - the life of a slot.
 *
 * The state is the one in shared memory, so that everybody sees the same.
 * The truth about a process's end is waitpid() alone; a leash that closes
 * says nothing yet.  The child begins only when its slot was filled
 * (LEASH_GO), so it can never be ready before it is known.
 *
 * One end is no crash: VM_EXIT_OVERDUE, how a task past its deadline leaves,
 * stuck or not.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/pollfd.h"
#include "proc/child.h"
#include "proc/install.h"
#include "proc/member.h"
#include "proc/spawn.h"
#include "vm/vm.h"

enum {
    MEMBER_MAGIC = 0x6d656d62,
    START_LIMIT = 60000, /* ms until a child must be ready */
};

static struct slots *slots(const struct member *m)
{
    return mesh_slots(m->env->mesh);
}

enum slot_state member_state(const struct member *m)
{
    return slots_state(slots(m), m->slot);
}

void member_name(const struct member *m, char *name, size_t size)
{
    slots_name(name, size, slots(m), m->slot);
}

static void say(const struct member *m, enum log_level level, const char *text)
{
    char name[32];

    member_name(m, name, sizeof(name));
    log_event(level, NULL, NULL, "%s (pid %d) %s", name, (int)m->last, text);
}

static bool is_serving(const struct member *m)
{
    enum slot_state state = member_state(m);

    return state == SLOT_READY || state == SLOT_DRAINING;
}

static void on_next(struct timer *t)
{
    struct member *m = list_entry(t, struct member, next);

    sd_check(m, MEMBER_MAGIC);
    if (m->pid == 0) {
        member_start(m);
        return;
    }
    say(m, LOG_ERROR, "is not ready in time");
    kill(m->pid, SIGKILL);
}

void member_init(struct member *m, const struct member_env *env, unsigned slot)
{
    struct slot_info info;

    slots_read(mesh_slots(env->mesh), slot, &info);
    *m = (struct member){
        .magic = MEMBER_MAGIC,
        .env = env,
        .slot = slot,
        .index = info.index,
        .role = (enum slot_role)info.role,
        .leash = -1,
        .next.fn = on_next,
    };
}

static void drop_leash(struct member *m)
{
    pollfd_close(&m->watch);
    if (m->leash >= 0)
        close(m->leash);
    m->leash = -1;
}

void member_fini(struct member *m)
{
    sd_check(m, MEMBER_MAGIC);
    sd_assert(m->pid == 0);
    member_rest(m);
    drop_leash(m);
    mem_free(m->refusal);
    m->magic = 0;
}

static void on_ready(struct member *m)
{
    timer_stop(m->env->loop, &m->next);
    backoff_on_ready(&m->backoff, clock_ms());
    say(m, LOG_INFO, "is ready");
    m->env->on_ready(m->env->arg, m);
}

static void on_refused(struct member *m, const char *text)
{
    mem_free(m->refusal);
    m->refusal = mem_dup(text, strlen(text));
}

/* All there is on the leash; false when the child has let go of it. */
static bool read_leash(struct member *m)
{
    struct leash_msg msg;
    int n;

    while ((n = leash_receive(m->leash, &msg)) > 0) {
        switch (msg.type) {
        case LEASH_READY:
            on_ready(m);
            break;
        case LEASH_REFUSED:
            on_refused(m, msg.text);
            break;
        case LEASH_BUILT:
            m->env->on_built(m->env->arg, m, msg.serial, NULL);
            break;
        case LEASH_UNBUILT:
            m->env->on_built(m->env->arg, m, msg.serial, msg.text);
            break;
        default:
            log_error("unknown message %u on a leash", msg.type);
            break;
        }
    }
    return n == 0;
}

static void on_leash(void *arg)
{
    struct member *m = arg;

    sd_check(m, MEMBER_MAGIC);
    if (!read_leash(m))
        pollfd_want(m->watch, false);
}

static const enum heritage_role roles[SLOT_ROLES] = {
    [SLOT_WORKER] = ROLE_WORKER,
    [SLOT_TASK] = ROLE_TASK,
    [SLOT_RELAY] = ROLE_RELAY,
    [SLOT_AGENT] = ROLE_AGENT,
};

static int fill_heritage(struct member *m, struct heritage *h, int leash)
{
    heritage_init(h);
    m->env->on_heritage(m->env->arg, h);
    h->role = roles[m->role];
    h->slot = m->slot;
    h->epoch = slots_epoch(slots(m), m->slot);
    h->index = m->index;
    h->respawn = m->lives > 0;
    h->master = getpid();
    h->binary = install_binary();
    h->leash = leash;
    h->mesh_count = mesh_fds(m->env->mesh, m->slot, h->mesh);
    return heritage_write(h);
}

/* Fork and exec; the leash's far end and the heritage are the child's. */
static pid_t spawn(struct member *m, const struct heritage *h, int heritage)
{
    int fds[HERITAGE_FDS_MAX + 1];
    char title[48], name[32], number[16];
    char verb[] = "--child";
    char *argv[] = {title, verb, number, NULL};
    struct spawn s = {
        .binary = h->binary,
        .argv = argv,
        .fds = fds,
        .user = m->env->user,
        .stack = m->env->stack,
        .output = m->env->output,
        .death_signal = SIGKILL,
    };

    member_name(m, name, sizeof(name));
    snprintf(title, sizeof(title), "sdlua: %s", name);
    snprintf(number, sizeof(number), "%d", heritage);
    s.nfds = heritage_fds(h, fds);
    fds[s.nfds++] = heritage;
    return spawn_child(&s);
}

static int start_process(struct member *m)
{
    struct heritage *h = mem_alloc(sizeof(*h));
    int pair[2], fd, err;
    pid_t pid;

    err = leash_pair(pair);
    if (err < 0)
        goto done;
    fd = fill_heritage(m, h, pair[1]);
    pid = fd >= 0 ? spawn(m, h, fd) : fd;
    if (fd >= 0)
        close(fd);
    close(pair[1]);
    err = pid < 0 ? (int)pid : 0;
    if (err == 0)
        err = pollfd_open(&m->watch, m->env->loop, pair[0], on_leash, m);
    if (err < 0) {
        close(pair[0]); /* which ends the child, if there is one */
        goto done;
    }
    m->leash = pair[0];
    m->pid = m->last = pid;
done:
    mem_free(h);
    return err;
}

void member_start(struct member *m)
{
    int err;

    sd_check(m, MEMBER_MAGIC);
    sd_assert(m->pid == 0);
    m->told_to_end = m->is_killed = false;
    err = start_process(m);
    if (err < 0) {
        m->env->on_end(m->env->arg, m, err_str(err), true);
        return;
    }
    mesh_slot_filled(m->env->mesh, m->slot, m->pid);
    slots_set(slots(m), m->slot, SLOT_RESTARTS, m->lives);
    m->lives++;
    timer_start(m->env->loop, &m->next, START_LIMIT);
    leash_send(m->leash, LEASH_GO, 0, NULL);
}

static uint32_t random_number(void)
{
    uint32_t n = 0;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
        n = (uint32_t)clock_ns();
    return n;
}

void member_retry(struct member *m, const char *why, bool crashed)
{
    bool was_open = m->backoff.open;
    uint64_t wait = 0;
    char text[LEASH_TEXT + 64];

    sd_check(m, MEMBER_MAGIC);
    if (crashed)
        wait = backoff_on_crash(&m->backoff, clock_ms(), random_number());
    if (crashed && m->backoff.open) {
        slots_set_state(slots(m), m->slot, SLOT_BROKEN);
        snprintf(text, sizeof(text), "ended: %s; %s, next try in 60 s", why,
                 was_open ? "still broken" : "broken after 6 crashes in 60 s");
    } else {
        snprintf(text, sizeof(text), "ended: %s; next start in %u ms", why,
                 (unsigned)wait);
    }
    say(m, crashed ? LOG_ERROR : LOG_INFO, text);
    timer_start(m->env->loop, &m->next, wait);
}

void member_rest(struct member *m)
{
    timer_stop(m->env->loop, &m->next);
}

void member_reaped(struct member *m, int status)
{
    bool overdue = WIFEXITED(status) && WEXITSTATUS(status) == VM_EXIT_OVERDUE;
    bool fell = WIFSIGNALED(status) && !m->is_killed;
    bool crashed = (fell || !m->told_to_end) && !overdue;
    char why[LEASH_TEXT];

    sd_check(m, MEMBER_MAGIC);
    read_leash(m);
    spawn_status_text(status, why, sizeof(why));
    if (m->refusal != NULL)
        snprintf(why, sizeof(why), "%s", m->refusal);
    mem_free(m->refusal);
    m->refusal = NULL;
    timer_stop(m->env->loop, &m->next);
    drop_leash(m);
    mesh_slot_died(m->env->mesh, m->slot);
    m->pid = 0;
    m->env->on_end(m->env->arg, m, why, crashed);
}

void member_tell(struct member *m, enum leash_type type, uint32_t number)
{
    if (m->leash >= 0)
        leash_send(m->leash, type, number, NULL);
}

int member_tell_code(struct member *m, enum leash_type type, uint32_t number,
                     uint32_t serial, int bundle)
{
    struct leash_msg msg = {.type = type, .number = number, .serial = serial};

    return m->leash >= 0 ? leash_send_msg(m->leash, &msg, bundle) : SD_EGONE;
}

void member_hurry(struct member *m)
{
    sd_check(m, MEMBER_MAGIC);
    m->backoff = (struct backoff){0};
    if (m->pid == 0 && timer_is_on(&m->next))
        timer_start(m->env->loop, &m->next, 0);
}

int member_attach(struct member *m, int fd, uint32_t what)
{
    struct leash_msg msg = {.type = LEASH_CONSOLE, .number = what};

    if (m->leash < 0 || !is_serving(m))
        return SD_EUNAVAILABLE;
    return leash_send_msg(m->leash, &msg, fd);
}

void member_leave(struct member *m, uint32_t rate)
{
    if (is_serving(m))
        member_tell(m, LEASH_LEAVE, rate);
    else
        member_kill(m);
}

void member_drain(struct member *m, uint32_t ms)
{
    if (m->pid == 0)
        return;
    if (!is_serving(m)) {
        member_kill(m);
        return;
    }
    m->told_to_end = true;
    member_tell(m, LEASH_DRAIN, ms);
}

void member_kill(struct member *m)
{
    m->told_to_end = m->is_killed = true;
    if (m->pid > 0)
        kill(m->pid, SIGKILL);
}
