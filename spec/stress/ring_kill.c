/* ring_kill.c - one end of a ring is killed at a random instant, many times.
 *
 *   ring_kill [rounds] [seed]
 *
 * Even rounds kill the writer: what it committed must be whole, in order and
 * without gap.  Odd rounds kill the reader: what it had not popped must come
 * back to the writer, whole, and begin where the reader's own count ended
 * (the reader counts after it pops, so one message may be in between).  The
 * next round uses the same ring with new epochs: nothing may be stuck. */
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipc/ring.h"

enum {
    CAP = 16 * 1024,
    KEEP = 4 * 1024,
    LEN_MAX = 400,
    SPINS = 5000000
};

struct shared {
    _Alignas(128) unsigned char ctl[RING_CTL_SIZE];
    _Alignas(128) unsigned char data[CAP];
    _Atomic uint64_t popped; /* by a reader that will be killed */
    _Atomic uint64_t begun;  /* the child has moved its first message */
};

static struct shared *sh;
static uint64_t seen, seed;
static unsigned round_now;

static uint32_t rnd(void)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static void bad(const char *what)
{
    fprintf(stderr, "round %u: %s\n", round_now, what);
    exit(1);
}

static uint32_t sum_of(const unsigned char *p, uint32_t len)
{
    uint32_t h = 2166136261u;

    while (len-- > 0)
        h = (h ^ *p++) * 16777619u;
    return h;
}

/* A message: its sum, its number, filling. */
static bool send_one(struct ring *r, uint64_t number)
{
    uint32_t len = 12 + (uint32_t)((number * 2654435761u) >> 7) % LEN_MAX;
    unsigned char *p;
    uint32_t sum;
    void *room;

    if (ring_reserve(r, &room, len, false) != 0)
        return false;
    p = room;
    memset(p, (int)(number * 31 & 0xff), len);
    memcpy(p + 4, &number, 8);
    sum = sum_of(p + 4, len - 4);
    memcpy(p, &sum, 4);
    ring_commit(r, (uint32_t)(number & 0xffff), len);
    return true;
}

static uint64_t check(const struct ring_msg *m)
{
    const unsigned char *p = m->data;
    uint64_t number;
    uint32_t sum;

    if (m->len < 12)
        bad("short message");
    memcpy(&sum, p, 4);
    memcpy(&number, p + 4, 8);
    if (sum != sum_of(p + 4, m->len - 4) || m->type != (number & 0xffff))
        bad("garbage visible");
    return number;
}

static void enter_write(struct ring *r, uint32_t session)
{
    int spins = 0;

    while (ring_write_enter(r, session, NULL, NULL) != 0)
        if (++spins > SPINS)
            bad("writer stuck");
}

static void enter_read(struct ring *r, uint32_t session)
{
    int spins = 0;

    while (ring_read_enter(r, session) != 0)
        if (++spins > SPINS)
            bad("reader stuck");
}

static pid_t start(void (*child)(uint32_t), uint32_t session)
{
    pid_t pid;

    atomic_store(&sh->begun, 0);
    pid = fork();
    if (pid < 0)
        bad("cannot fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child(session);
    _exit(0);
}

static void kill_child(pid_t pid)
{
    if (kill(pid, SIGKILL) != 0 || waitpid(pid, NULL, 0) != pid)
        bad("cannot kill");
}

/* --- even rounds: the writer dies ----------------------------------------- */

static void writer(uint32_t session)
{
    struct ring r;
    uint64_t number = 0;

    ring_open(&r, sh->ctl, sh->data, CAP, KEEP);
    enter_write(&r, session);
    for (;;)
        if (send_one(&r, number))
            atomic_store(&sh->begun, ++number);
}

/* Read what there is; the numbers go on without gap. */
static void read_some(struct ring *r, uint64_t *number)
{
    struct ring_msg m;
    int got;

    while ((got = ring_peek(r, &m)) == 1) {
        if (check(&m) != *number)
            bad("gap or repetition");
        (*number)++;
        ring_pop(r);
    }
    if (got < 0)
        bad("garbage reported");
}

static void kill_writer(struct ring *reader, uint32_t session)
{
    uint64_t until, number = 0;
    pid_t pid;

    enter_read(reader, session);
    pid = start(writer, session);
    while (atomic_load(&sh->begun) == 0)
        ;
    until = clock_ns() + rnd() % 100000;
    while (clock_ns() < until)
        read_some(reader, &number);
    kill_child(pid);
    read_some(reader, &number);
    if (number < atomic_load(&sh->begun))
        bad("a committed message is missing");
    seen += number;
}

/* --- odd rounds: the reader dies ------------------------------------------ */

static void reader(uint32_t session)
{
    struct ring r;
    struct ring_msg m;

    ring_open(&r, sh->ctl, sh->data, CAP, KEEP);
    enter_read(&r, session);
    atomic_store(&sh->begun, 1);
    for (;;)
        if (ring_peek(&r, &m) == 1) {
            check(&m);
            ring_pop(&r);
            atomic_fetch_add(&sh->popped, 1);
        }
}

struct back {
    uint64_t first;
    uint64_t n;
};

static int take(void *arg, const struct ring_msg *m)
{
    struct back *b = arg;
    uint64_t number = check(m);

    if (b->n == 0)
        b->first = number;
    if (number != b->first + b->n)
        bad("gap in what came back");
    b->n++;
    return 0;
}

static void kill_reader(struct ring *w, uint32_t session, uint32_t next)
{
    struct back back = {0, 0};
    uint64_t until, number = 0, popped;
    pid_t pid;

    atomic_store(&sh->popped, 0);
    ring_write_enter(w, session, NULL, NULL); /* the word, so it may enter */
    pid = start(reader, session);
    while (atomic_load(&sh->begun) == 0)
        ;
    enter_write(w, session);
    until = clock_ns() + rnd() % 100000;
    while (clock_ns() < until)
        if (send_one(w, number))
            number++;
    kill_child(pid);
    popped = atomic_load(&sh->popped);
    ring_write_enter(w, next, take, &back);
    if (back.n > 0 && back.first + back.n != number)
        bad("the last message did not come back");
    if (number - back.n != popped && number - back.n != popped + 1)
        bad("popped and given back do not add up");
    seen += number;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20000;
    struct ring w, r;
    uint16_t we = 1, re = 1;

    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_ns();
    printf("{\"seed\": %llu, ", (unsigned long long)seed);
    fflush(stdout);
    sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sh == MAP_FAILED)
        return 1;
    for (round_now = 0; round_now < rounds; round_now++) {
        if (round_now % 2 == 0) {
            ring_open(&r, sh->ctl, sh->data, CAP, KEEP);
            kill_writer(&r, ring_session(we++, re));
            re++; /* this reader leaves as well: the next one is a child */
        } else {
            ring_open(&w, sh->ctl, sh->data, CAP, KEEP);
            kill_reader(&w, ring_session(we, re),
                        ring_session(we, (uint16_t)(re + 1)));
            we++;
            re++;
        }
        if (we == 0 || re == 0)
            we = re = 1;
    }
    printf("\"rounds\": %u, \"messages\": %llu}\n", rounds,
           (unsigned long long)seen);
    return 0;
}
