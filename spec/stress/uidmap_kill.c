/* uidmap_kill.c - writers of the table of uids killed at random, many times.
 *
 *   uidmap_kill [kills] [seed]
 *
 * Three writers bind and unbind without pause and keep a journal of what they
 * have done; the master kills one after some microseconds, compares what the
 * table shows with the journal (only the operation in hand may be done or
 * not), voids it, tells the dead table, leaves that to the successor or claims
 * it and lets it be taken over, and fills the slot again.  Two readers look
 * all the time: whatever they see must be a binding that was made, once, and a
 * uid that its worker only ever moves from conn to conn is never away.  Then,
 * without kills, a uid is handed from worker to worker: it is never away
 * either.  At the end the node must show what the journals say. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "ipc/slots.h"
#include "ipc/uidmap.h"

enum {
    WRITERS = 3,
    READERS = 2,
    SLOTS = WRITERS + READERS + 1, /* and the master */
    CONNS = 200,
    STEADY = CONNS, /* two indexes more, and one for the ball */
    BALL = CONNS + 2,
    ROOM = CONNS + 8,
    UIDS = 120,
    BALL_MOVES = 300, /* at least */
    END_MS = 60000
};

/* What a process of a slot has bound: uid by index of the conn. */
struct journal {
    _Atomic uint32_t epoch; /* 0: it does not own its table yet */
    _Atomic uint32_t doubt; /* index + 1 of the operation in hand */
    _Atomic uint32_t uid[CONNS];
};

struct board {
    struct journal now[WRITERS];
    struct journal owed[WRITERS][2];  /* what dead ones had, by parity */
    _Atomic uint32_t steady[WRITERS]; /* epoch that has bound the steady uid */
    _Atomic uint32_t failed, quit, calm, still, ball, moves;
    _Atomic uint64_t finds, shown, told, taken_over;
};

static struct board *board;
static struct slots *slots;
static struct uidmap *map;
static unsigned self;
static uint16_t epoch;
static uint64_t seed;

static uint32_t rnd(void)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static _Noreturn void bad(const char *what)
{
    fprintf(stderr, "slot %u: %s\n", self, what);
    atomic_store(&board->failed, 1);
    _exit(1);
}

/* --- what is bound -------------------------------------------------------- */

static struct slice uid_text(char *text, uint32_t uid)
{
    int n = snprintf(text, UIDMAP_UID + 1, "u%u.", uid);
    size_t len = (size_t)n + uid * 7 % (UIDMAP_UID - (unsigned)n + 1);

    memset(text + n, (int)('a' + uid % 26), len - (size_t)n);
    return slice_make(text, len);
}

static struct slice steady_text(char *text, unsigned slot)
{
    return slice_make(text, (size_t)snprintf(text, 32, "steady%u", slot));
}

static uint64_t conn_id(unsigned index, uint32_t generation)
{
    return (uint64_t)self << 56 | (uint64_t)epoch << 40 |
           (uint64_t)index << 20 | (generation & 0xfffff);
}

static unsigned index_of(uint64_t conn)
{
    return conn >> 20 & 0xfffff;
}

/* The number of a binding says whether its parts belong together. */
static uint64_t number_of(struct slice uid, uint64_t conn)
{
    struct hash_key key = {conn, ~conn};

    return hash_bytes(&key, uid);
}

static void bind_conn(struct slice uid, uint64_t conn)
{
    if (uidmap_bind(map, uid, conn, number_of(uid, conn)) != 0)
        bad("no room");
}

static void check_binding(const struct uidmap_binding *b)
{
    if (b->slot >= WRITERS || b->uid.len == 0 || b->uid.len > UIDMAP_UID)
        bad("no such binding");
    if (b->number != number_of(b->uid, b->conn) || b->conn >> 56 != b->slot ||
        (b->conn >> 40 & 0xffff) != b->epoch)
        bad("a torn binding");
}

/* --- a journal against what is shown -------------------------------------- */

struct got {
    unsigned slot;
    uint32_t uid[ROOM];
};

static bool note(void *arg, const struct uidmap_binding *b)
{
    unsigned index = index_of(b->conn);
    struct got *got = arg;

    check_binding(b);
    if (b->slot != got->slot || index >= ROOM)
        return true;
    if (got->uid[index] != 0)
        bad("a conn is bound twice");
    got->uid[index] =
        b->uid.p[0] == 'u' ? (uint32_t)atoi(b->uid.p + 1) : UINT32_MAX;
    return true;
}

static void compare(const struct got *got, const struct journal *j,
                    const char *what)
{
    unsigned i;

    for (i = 0; i < CONNS; i++)
        if (got->uid[i] != (j != NULL ? atomic_load(&j->uid[i]) : 0) &&
            (j == NULL || atomic_load(&j->doubt) != i + 1))
            bad(what);
}

static void check_found(unsigned slot, const char *what)
{
    struct got got = {.slot = slot};
    char text[UIDMAP_UID + 1];
    uint32_t uid;

    for (uid = 1; uid <= UIDS; uid++)
        uidmap_find(map, uid_text(text, uid), note, &got);
    compare(&got, &board->now[slot], what);
}

/* A successor of its slot that needs the table tells it, too. */
static bool is_needed(const struct uidmap_dead *dead)
{
    uint16_t since = (uint16_t)(slots_epoch(slots, dead->slot) - dead->epoch);

    return since != 0 && since % 2 == 0;
}

/* Tell a claimed table in pages: it must be what is owed of that epoch. */
static void tell_one(const struct uidmap_dead *dead)
{
    struct journal *owed = &board->owed[dead->slot][dead->epoch % 2];
    struct got got = {.slot = dead->slot};
    uint64_t cursor = 0;
    int rc;

    if (atomic_load(&owed->epoch) != dead->epoch)
        owed = NULL;
    do {
        rc = uidmap_tell(map, dead, &cursor, 1 + rnd() % 50, note, &got);
        if (rc == SD_EGONE && is_needed(dead))
            return;
        if (rc != 0)
            bad("a claim was lost");
    } while (cursor != 0);
    compare(&got, owed, "told other bindings than there were");
    uidmap_told(map, dead);
    atomic_fetch_add(&board->told, 1);
}

/* --- a writer ------------------------------------------------------------- */

static void change(struct journal *j, uint32_t *generation)
{
    unsigned index = rnd() % CONNS;
    uint32_t had = atomic_load(&j->uid[index]), uid = 1 + rnd() % UIDS;
    char text[UIDMAP_UID + 1];

    atomic_store(&j->doubt, index + 1);
    if (rnd() % 3 != 0) {
        bind_conn(uid_text(text, uid), conn_id(index, generation[index]));
        atomic_store(&j->uid[index], uid);
    } else if (had != 0) {
        if (!uidmap_unbind(map, uid_text(text, had),
                           conn_id(index, generation[index]), NULL))
            bad("a binding was lost");
        generation[index]++;
        atomic_store(&j->uid[index], 0);
    } else if (uidmap_unbind(map, uid_text(text, uid),
                             conn_id(index, generation[index]), NULL)) {
        bad("a binding that was none ended");
    }
    atomic_store(&j->doubt, 0);
}

/* The steady uid moves to a new conn. */
static void move_steady(uint32_t *turn)
{
    char text[32];
    struct slice uid = steady_text(text, self);
    uint64_t old = conn_id(STEADY + *turn % 2, *turn);

    ++*turn;
    bind_conn(uid, conn_id(STEADY + *turn % 2, *turn));
    if (*turn > 1 && !uidmap_unbind(map, uid, old, NULL))
        bad("the steady binding was lost");
    atomic_store(&board->steady[self], epoch);
}

/* Take the ball, if it is ours to take: bind it, then the last one unbinds. */
static void play_ball(void)
{
    static uint32_t held;
    struct slice uid = slice_str("ball");
    uint32_t at = atomic_load(&board->ball);

    if (at % WRITERS == self && held == 0) {
        held = at + 1;
        bind_conn(uid, conn_id(BALL, held));
        atomic_fetch_add(&board->moves, 1);
        atomic_store(&board->ball, at + 1);
    } else if (held != 0 && at >= held + 1) {
        if (!uidmap_unbind(map, uid, conn_id(BALL, held), NULL))
            bad("the ball was lost");
        held = 0;
    }
}

static _Noreturn void writer(void)
{
    struct journal *j = &board->now[self];
    static uint32_t generation[CONNS];
    struct uidmap_dead dead;
    uint32_t turn = 0;

    while (!uidmap_own(map, &dead)) {
        tell_one(&dead);
        atomic_fetch_add(&board->taken_over, 1);
    }
    atomic_store(&j->epoch, epoch);
    while (!atomic_load(&board->quit)) {
        change(j, generation);
        if (rnd() % 4 == 0)
            move_steady(&turn);
        if (atomic_load(&board->calm)) {
            play_ball();
            sched_yield();
        }
    }
    atomic_fetch_add(&board->still, 1);
    for (;;)
        pause();
}

/* --- a reader ------------------------------------------------------------- */

struct list {
    struct slice uid;
    unsigned n;
    uint64_t conn[WRITERS * ROOM];
};

static bool look(void *arg, const struct uidmap_binding *b)
{
    struct list *list = arg;
    unsigned i;

    check_binding(b);
    if (list->uid.len > 0 && !slice_eq(b->uid, list->uid))
        bad("found another uid");
    for (i = 0; i < list->n && list->uid.len > 0; i++)
        if (list->conn[i] == b->conn)
            bad("found a binding twice");
    if (list->n < WRITERS * ROOM)
        list->conn[list->n++] = b->conn;
    atomic_fetch_add(&board->shown, 1);
    return true;
}

static void look_at_steady(unsigned slot)
{
    uint32_t was = atomic_load(&board->steady[slot]);
    char text[32];

    if (was == 0 || !slots_is_alive(slots, slot, (uint16_t)was))
        return;
    if (!uidmap_is_online(map, steady_text(text, slot)) &&
        slots_is_alive(slots, slot, (uint16_t)was))
        bad("a uid was away for a moment");
}

static _Noreturn void reader(void)
{
    char text[UIDMAP_UID + 1];
    struct list list;
    uint64_t cursor;

    while (!atomic_load(&board->failed)) {
        list.n = 0;
        list.uid = uid_text(text, 1 + rnd() % UIDS);
        uidmap_find(map, list.uid, look, &list);
        look_at_steady(rnd() % WRITERS);
        if (atomic_load(&board->moves) > 0 &&
            !uidmap_is_online(map, slice_str("ball")))
            bad("the ball was away for a moment");
        if (rnd() % 64 == 0) {
            list.uid.len = 0;
            cursor = 0;
            do
                uidmap_scan(map, &cursor, 16, look, &list);
            while (cursor != 0);
            if (uidmap_count(map) > WRITERS * (UIDS + WRITERS + 1))
                bad("too many uids");
        }
        atomic_fetch_add(&board->finds, 1);
    }
    _exit(1);
}

/* --- the master ----------------------------------------------------------- */

static pid_t spawn(void *mem, unsigned slot)
{
    uint64_t child_seed = (uint64_t)rnd() << 20 | slot;
    pid_t pid;

    if (slot < WRITERS)
        atomic_store(&board->now[slot].epoch, 0);
    slots_fill(slots, slot, 1, clock_ms());
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    seed = child_seed;
    self = slot;
    epoch = slots_epoch(slots, slot);
    uidmap_close(&map); /* the master's */
    map = uidmap_attach(mem, slots, self, epoch);
    if (slot < WRITERS)
        writer();
    reader();
}

/* What the dead one had is owed now. */
static void take_note(unsigned slot)
{
    struct journal *j = &board->now[slot];
    uint32_t e = atomic_load(&j->epoch);
    struct journal *owed = &board->owed[slot][e % 2];
    unsigned i;

    if (e == 0)
        return;
    atomic_store(&owed->epoch, e);
    atomic_store(&owed->doubt, atomic_load(&j->doubt));
    for (i = 0; i < CONNS; i++) {
        atomic_store(&owed->uid[i], atomic_load(&j->uid[i]));
        atomic_store(&j->uid[i], 0);
    }
    atomic_store(&j->doubt, 0);
}

static void kill_one(void *mem, pid_t *pid, unsigned slot)
{
    unsigned dice = rnd() % 8;
    struct uidmap_dead dead;

    if (kill(pid[slot], SIGKILL) != 0 || waitpid(pid[slot], NULL, 0) < 0)
        bad("cannot kill");
    if (atomic_load(&board->now[slot].epoch) != 0)
        check_found(slot, "found other bindings than there were");
    slots_end(slots, slot);
    take_note(slot);
    check_found(slot, "found what the dead had");
    while (dice < 4 && uidmap_claim(map, &dead))
        tell_one(&dead);
    if (dice == 4)
        uidmap_claim(map, &dead); /* and forget it */
    pid[slot] = spawn(mem, slot);
}

static void wait_for(_Atomic uint32_t *what, uint32_t least)
{
    uint64_t end = clock_ms() + END_MS;

    while (atomic_load(what) < least && !atomic_load(&board->failed)) {
        usleep(500);
        if (clock_ms() > end)
            bad("waited too long");
    }
}

/* Nobody writes: uids with a binding in any journal. */
static void check_all(void)
{
    bool online[UIDS + 1] = {false};
    uint32_t n = 0;
    unsigned slot, i;

    for (slot = 0; slot < WRITERS; slot++) {
        check_found(slot, "at the end: other bindings than there should be");
        for (i = 0; i < CONNS; i++)
            online[atomic_load(&board->now[slot].uid[i])] = true;
    }
    for (i = 1; i <= UIDS; i++)
        n += online[i];
    n += WRITERS + 1; /* the steady ones and the ball */
    if (uidmap_count(map) != n)
        bad("at the end: a wrong count");
}

static void *share(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        exit(1);
    return p;
}

static void run(void *mem, pid_t *pid, unsigned kills)
{
    unsigned i;

    for (i = 0; i < kills && !atomic_load(&board->failed); i++) {
        usleep(rnd() % (i % 4 == 0 ? 5000 : 500));
        kill_one(mem, pid, rnd() % WRITERS);
    }
    atomic_store(&board->calm, 1);
    wait_for(&board->moves, BALL_MOVES + kills / 4);
    atomic_store(&board->quit, 1);
    wait_for(&board->still, WRITERS);
    if (!atomic_load(&board->failed))
        check_all();
}

int main(int argc, char **argv)
{
    unsigned kills = argc > 1 ? (unsigned)atoi(argv[1]) : 20000, i;
    void *mem = share(uidmap_size(WRITERS, ROOM));
    pid_t pid[SLOTS];

    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_ns();
    printf("{\"seed\": %llu, \"kills\": %u, ", (unsigned long long)seed, kills);
    fflush(stdout);
    board = share(sizeof(*board));
    slots = slots_init(share(slots_size(SLOTS)), SLOTS);
    uidmap_init(mem, WRITERS, ROOM);
    self = SLOTS - 1;
    epoch = slots_epoch(slots, self);
    slots_fill(slots, self, getpid(), clock_ms());
    map = uidmap_attach(mem, slots, self, epoch);
    for (i = 0; i < SLOTS - 1; i++)
        pid[i] = spawn(mem, i);
    run(mem, pid, kills);
    for (i = 0; i < SLOTS - 1; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    uidmap_close(&map);
    printf("\"finds\": %llu, \"shown\": %llu, \"told\": %llu, "
           "\"taken_over\": %llu}\n",
           (unsigned long long)board->finds, (unsigned long long)board->shown,
           (unsigned long long)board->told,
           (unsigned long long)board->taken_over);
    return atomic_load(&board->failed) != 0;
}
