/* stall.c - see stall.h.
 *
 * A worker, or a relay, shows that its loop turns by a heartbeat four times a
 * second.  One that has not for a second is named in a warning, once; a worker
 * is asked before, by a signal, what it is at (vm/note.h).
 *
 * It is killed when two things have come together:
 * no heartbeat for server.hang_timeout, and half of that time burnt as CPU by
 * this process since we noticed.  A process that is stopped, or starved by
 * others, burns nothing without a heartbeat, as its loop turns when it is let;
 * nor does one that waits in C for a file.  To kill these would lose conns and
 * mend nothing.  One in an endless loop that is starved as well is killed
 * later.
 *
 * Heartbeats are in memory that workers write.  Whom to send a signal is the
 * crew's to say: nobody may borrow the hand of a master that is root.
 *
 * First it is sent SIGABRT, which leaves a core where the system is told to
 * keep them, then SIGKILL.  All else is the crew's, as after any crash. */
#include "proc/stall.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "proc/tables.h"

enum {
    LOOK = 500,    /* ms between two looks */
    QUIET = 1000,  /* ms without a heartbeat */
    CPU_SHARE = 2, /* burnt is one part of hang_timeout in so many */
};

/* What is remembered of one that does not answer. */
struct seen {
    uint64_t beat; /* its last heartbeat; 0: all is well */
    uint64_t cpu;  /* ms it had burnt when this was noticed */
    bool is_named, is_aborted;
};

struct stall {
    struct loop *loop;
    struct mesh *mesh;
    const struct crew *crew;
    const struct node *node; /* its configuration may change */
    struct timer timer;
    struct seen seen[];
};

uint64_t stall_age(const struct mesh *m, unsigned slot, uint64_t now)
{
    struct slot_info p;
    uint64_t beat;

    slots_read(mesh_slots(m), slot, &p);
    beat = p.figure[SLOT_HEARTBEAT];
    if ((p.role != SLOT_WORKER && p.role != SLOT_RELAY) || p.pid <= 0 ||
        beat == 0 || (p.state != SLOT_READY && p.state != SLOT_DRAINING))
        return 0;
    return now > beat + QUIET ? now - beat : 0;
}

void stall_text(char *out, size_t size, const struct mesh *m,
                const struct conf *conf, unsigned slot)
{
    struct slot_info p;
    struct running_info info;

    slots_read(mesh_slots(m), slot, &p);
    if (p.role == SLOT_WORKER &&
        running_read(tables_running(m, conf, slot), (uint16_t)p.epoch,
                     p.figure[SLOT_HEARTBEAT], &info))
        running_text(out, size, &info,
                     info.port < conf->nports ? conf->ports[info.port].name
                                              : NULL);
    else
        snprintf(out, size, "nothing it could tell");
}

/* "worker 0 (pid 17) has not answered for 1.2 s, in packet chat/say ..." */
static void describe(const struct stall *s, unsigned slot, int pid,
                     uint64_t age, char *out, size_t size)
{
    char name[32], what[RUNNING_TEXT];

    slots_name(name, sizeof(name), mesh_slots(s->mesh), slot);
    stall_text(what, sizeof(what), s->mesh, s->node->conf, slot);
    snprintf(out, size, "%s (pid %d) has not answered for %.1f s, in %s", name,
             pid, (double)age / 1000, what);
}

/* It has as much time to answer as there is between two looks. */
static void ask(struct stall *s, unsigned slot, uint64_t beat, int pid)
{
    struct seen seen = {.beat = beat};

    if (!clock_cpu_ms(pid, &seen.cpu))
        return; /* at the next look */
    s->seen[slot] = seen;
    if (slots_role(mesh_slots(s->mesh), slot) == SLOT_WORKER)
        syscall(SYS_tgkill, pid, pid, RUNNING_SIGNAL); /* who runs Lua */
}

static void name(struct stall *s, unsigned slot, uint64_t age, int pid)
{
    char text[RUNNING_TEXT + 128];

    s->seen[slot].is_named = true;
    describe(s, slot, pid, age, text, sizeof(text));
    log_warn("%s", text);
}

static void end(struct stall *s, unsigned slot, uint64_t age, int pid)
{
    struct seen *seen = &s->seen[slot];
    char text[RUNNING_TEXT + 128];
    uint64_t burnt;

    if (!clock_cpu_ms(pid, &burnt))
        return;
    burnt -= seen->cpu;
    if (burnt < s->node->conf->server.hang_timeout / CPU_SHARE)
        return;
    if (seen->is_aborted) {
        kill(pid, SIGKILL);
        return;
    }
    seen->is_aborted = true;
    describe(s, slot, pid, age, text, sizeof(text));
    log_error("%s, %.1f s of CPU: killed (server.hang_timeout)", text,
              (double)burnt / 1000);
    kill(pid, SIGABRT);
}

static void look(struct stall *s, unsigned slot, uint64_t now)
{
    uint64_t age = stall_age(s->mesh, slot, now);
    uint64_t hang = s->node->conf->server.hang_timeout;
    int pid = crew_pid(s->crew, slot);
    struct slot_info p;

    slots_read(mesh_slots(s->mesh), slot, &p);
    if (age == 0 || pid != p.pid) {
        s->seen[slot].beat = 0;
        return;
    }
    if (s->seen[slot].beat != p.figure[SLOT_HEARTBEAT]) {
        ask(s, slot, p.figure[SLOT_HEARTBEAT], pid);
        return;
    }
    if (!s->seen[slot].is_named)
        name(s, slot, age, pid);
    if (hang > 0 && age >= hang)
        end(s, slot, age, pid);
}

static void on_look(struct timer *t)
{
    struct stall *s = list_entry(t, struct stall, timer);
    uint64_t now = clock_ms();

    for (unsigned i = 0; i < slots_count(mesh_slots(s->mesh)); i++)
        if (i != mesh_master(s->mesh))
            look(s, i, now);
    timer_start(s->loop, t, LOOK);
}

struct stall *stall_open(struct loop *loop, struct mesh *mesh,
                         const struct crew *crew, const struct node *node)
{
    unsigned slots = slots_count(mesh_slots(mesh));
    struct stall *s = mem_zalloc(sizeof(*s) + slots * sizeof(struct seen));

    s->loop = loop;
    s->mesh = mesh;
    s->crew = crew;
    s->node = node;
    s->timer.fn = on_look;
    timer_start(loop, &s->timer, LOOK);
    return s;
}

void stall_close(struct stall **sp)
{
    struct stall *s = *sp;

    *sp = NULL;
    if (s == NULL)
        return;
    timer_stop(s->loop, &s->timer);
    mem_free(s);
}
