/* mesh_kill.c - a node whose processes are killed at random, many times.
 *
 *   mesh_kill [kills] [seed]
 *
 * Three workers call two tasks without pause; the master kills one of the five
 * every few milliseconds and fills its slot again.  Every call must end
 * exactly once: answered, given back unpopped, or ended by on_gone.  Processes
 * sleep in poll() on their eventfd, as a loop would; a sleep that times out
 * although a message waits is a lost wakeup.  At the end the workers stop
 * calling and must run dry. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"

enum {
    WORKERS = 3,
    TASKS = 2, /* slots: two for one task */
    SLOTS = WORKERS + TASKS,
    LIST = 512,
    LONG = 70000,
    NAP_MS = 2000,
    END_MS = 20000
};

enum call_state {
    CALL_FREE,
    CALL_OPEN
};

struct call {
    enum call_state state;
    uint64_t id;
    unsigned slot;
    uint16_t epoch;
};

/* In the mesh's extra bytes. */
struct board {
    _Atomic uint64_t answered, back, gone, long_answers;
    _Atomic uint32_t stop;
    _Atomic uint32_t dry; /* workers that ran dry */
    _Atomic uint32_t failed;
};

static struct mesh *mesh;
static struct board *board;
static struct call calls[LIST];
static unsigned open_calls;
static uint64_t next_id = 1, seed;

static uint32_t rnd(void)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static void bad(const char *what)
{
    fprintf(stderr, "slot %u: %s\n", mesh_self(mesh), what);
    atomic_store(&board->failed, 1);
    _exit(1);
}

/* End the call with this id; it must be open. */
static void end_call(struct slice body, _Atomic uint64_t *count)
{
    struct call *c;
    uint64_t id;

    if (body.len < sizeof(id))
        bad("short message");
    memcpy(&id, body.p, sizeof(id));
    c = &calls[id % LIST];
    if (c->state != CALL_OPEN || c->id != id)
        bad("a call ended twice");
    c->state = CALL_FREE;
    open_calls--;
    atomic_fetch_add(count, 1);
}

/* --- a worker ------------------------------------------------------------- */

static void check_filling(struct slice body)
{
    size_t i;

    for (i = 8; i < body.len; i++)
        if ((unsigned char)body.p[i] != (unsigned char)body.p[0])
            bad("wrong content");
}

static enum mesh_verdict on_answer(void *data, const struct mesh_msg *m)
{
    (void)data;
    if (m->type != MSG_TASK_REPLY || !m->answer)
        bad("not an answer");
    if (m->err == 0 && m->body.len > 1000) {
        check_filling(m->body);
        atomic_fetch_add(&board->long_answers, 1);
    }
    end_call(m->body, &board->answered);
    return MESH_DONE;
}

static void on_back(void *data, const struct mesh_msg *m)
{
    (void)data;
    end_call(m->body, &board->back);
}

static void on_gone(void *data, unsigned slot, uint16_t epoch)
{
    unsigned i;

    (void)data;
    for (i = 0; i < LIST; i++) {
        if (calls[i].state != CALL_OPEN || calls[i].slot != slot)
            continue;
        if (calls[i].epoch != epoch)
            bad("a call of another epoch is open");
        calls[i].state = CALL_FREE;
        open_calls--;
        atomic_fetch_add(&board->gone, 1);
    }
}

static void make_call(void)
{
    struct call *c = &calls[next_id % LIST];
    unsigned slot = WORKERS + rnd() % TASKS;
    static char filling[LONG];
    struct slice v[2];
    uint16_t epoch = slots_epoch(mesh_slots(mesh), slot);

    if (c->state == CALL_OPEN) {
        next_id++;
        return;
    }
    memset(filling, (int)(next_id & 0xff), sizeof(filling));
    v[0] = slice_make(&next_id, sizeof(next_id));
    v[1] = slice_make(filling, rnd() % 64 == 0 ? LONG : rnd() % 200);
    if (mesh_send(mesh, slot, MSG_TASK_CALL, MESH_CALL, v, 2) != 0)
        return;
    *c = (struct call){CALL_OPEN, next_id++, slot, epoch};
    open_calls++;
}

/* Sleep until woken.  Waking up by time, with a message there, is the bug. */
static void nap(void)
{
    struct pollfd p = {.fd = mesh_fd(mesh), .events = POLLIN};
    int woken;

    if (!mesh_before_sleep(mesh))
        return;
    woken = poll(&p, 1, NAP_MS);
    mesh_after_wake(mesh);
    if (woken > 0)
        mesh_on_wake(mesh);
    else if (mesh_poll(mesh, 1000) > 0)
        bad("a wakeup was lost");
}

static void worker(void)
{
    struct mesh_hooks hooks = {on_answer, on_back, on_gone, NULL};
    uint64_t end = 0;
    unsigned i;

    mesh_set_hooks(mesh, &hooks);
    slots_set_state(mesh_slots(mesh), mesh_self(mesh), SLOT_READY);
    while (!atomic_load(&board->stop)) {
        for (i = rnd() % 40; i > 0; i--)
            make_call();
        mesh_poll(mesh, 1000);
        if (open_calls > 0)
            nap();
    }
    end = clock_ms() + END_MS;
    while (open_calls > 0) {
        mesh_poll(mesh, 1000);
        nap();
        if (clock_ms() > end)
            bad("a call never ended");
    }
    atomic_fetch_add(&board->dry, 1);
    for (;;)
        pause();
}

/* --- a task --------------------------------------------------------------- */

static struct {
    unsigned to;
    uint64_t id;
    bool waits;
} answer;

static void try_answer(void)
{
    static char filling[LONG];
    struct slice v[2];
    int err;

    memset(filling, (int)(answer.id & 0xff), sizeof(filling));
    v[0] = slice_make(&answer.id, sizeof(answer.id));
    v[1] = slice_make(filling, answer.id % 50 == 0 ? LONG : answer.id % 300);
    err = mesh_send(mesh, answer.to, MSG_TASK_REPLY, MESH_ANSWER, v, 2);
    if (err == SD_EBUSY && v[1].len < 200)
        bad("no room for an answer");
    answer.waits = err == SD_EBUSY;
}

static enum mesh_verdict on_call(void *data, const struct mesh_msg *m)
{
    (void)data;
    if (answer.waits)
        return MESH_HOLD;
    if (m->type != MSG_TASK_CALL || m->body.len < sizeof(answer.id))
        bad("not a call");
    memcpy(&answer.id, m->body.p, sizeof(answer.id));
    answer.to = m->from;
    if (m->err == 0)
        check_filling(m->body);
    mesh_pop_now(mesh);
    if (!m->dead)
        try_answer();
    return MESH_DONE;
}

static void task(void)
{
    struct mesh_hooks hooks = {on_call, NULL, NULL, NULL};

    mesh_set_hooks(mesh, &hooks);
    slots_set_state(mesh_slots(mesh), mesh_self(mesh), SLOT_READY);
    for (;;) {
        if (answer.waits)
            try_answer();
        mesh_resume(mesh);
        mesh_poll(mesh, 1000);
        if (!answer.waits)
            nap();
    }
}

/* --- the master ----------------------------------------------------------- */

static pid_t spawn(struct mesh *master, unsigned slot)
{
    uint64_t child_seed = (uint64_t)rnd() << 20 | slot;
    int fds[MESH_FDS_MAX];
    unsigned n;
    pid_t pid = fork();

    if (pid != 0) {
        mesh_slot_filled(master, slot, pid);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    seed = child_seed;
    n = mesh_fds(master, slot, fds);
    if (mesh_attach(&mesh, fds, n, slot) != 0)
        _exit(1);
    board = mesh_extra(mesh);
    while (slots_state(mesh_slots(mesh), slot) != SLOT_STARTING)
        usleep(100);
    slot < WORKERS ? worker() : task();
    _exit(0);
}

static enum mesh_verdict on_none(void *data, const struct mesh_msg *m)
{
    (void)data;
    (void)m;
    return MESH_DONE;
}

static void kill_one(struct mesh *master, pid_t *pid, unsigned slot)
{
    if (kill(pid[slot], SIGKILL) != 0 || waitpid(pid[slot], NULL, 0) < 0)
        bad("cannot kill");
    mesh_slot_died(master, slot);
    if (rnd() % 2 == 0)
        usleep(rnd() % 2000);
    pid[slot] = spawn(master, slot);
}

static int finish(struct mesh *master, pid_t *pid)
{
    uint64_t end = clock_ms() + 2 * (uint64_t)END_MS;
    unsigned i;

    atomic_store(&board->stop, 1);
    while (atomic_load(&board->dry) < WORKERS && !atomic_load(&board->failed) &&
           clock_ms() < end) {
        mesh_poll(master, 100);
        usleep(1000);
    }
    for (i = 0; i < SLOTS; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    if (atomic_load(&board->failed) || atomic_load(&board->dry) < WORKERS)
        return 1;
    printf("\"answered\": %llu, \"long\": %llu, \"back\": %llu, "
           "\"gone\": %llu}\n",
           (unsigned long long)board->answered,
           (unsigned long long)board->long_answers,
           (unsigned long long)board->back, (unsigned long long)board->gone);
    return 0;
}

int main(int argc, char **argv)
{
    struct mesh_shape shape = {
        .workers = WORKERS, .tasks = TASKS / 2, .extra = sizeof(struct board)};
    struct mesh_hooks hooks = {.on_msg = on_none};
    unsigned kills = argc > 1 ? (unsigned)atoi(argv[1]) : 2000, i;
    struct mesh *master;
    pid_t pid[SLOTS];

    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_ns();
    printf("{\"seed\": %llu, \"kills\": %u, ", (unsigned long long)seed, kills);
    fflush(stdout);
    if (mesh_create(&master, &shape) != 0)
        return 1;
    mesh = master;
    board = mesh_extra(master);
    mesh_set_hooks(master, &hooks);
    for (i = 0; i < SLOTS; i++)
        pid[i] = spawn(master, i);
    for (i = 0; i < kills && !atomic_load(&board->failed); i++) {
        usleep(rnd() % 4000);
        kill_one(master, pid, rnd() % SLOTS);
        mesh_poll(master, 100);
    }
    return finish(master, pid);
}
