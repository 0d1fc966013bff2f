/* ring_stress.c - one ring between two threads, millions of messages.
 *
 *   ring_stress [messages] [seed]
 *
 * The writer sends messages of random length, some in place, some answers;
 * the reader checks number and content of each.  Built a second time with
 * ThreadSanitizer (ring_stress_tsan), which cannot see across processes. */
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipc/ring.h"

enum {
    CAP = 64 * 1024,
    KEEP = 16 * 1024,
    LEN_MAX = 600
};

static alignas(128) unsigned char ctl[RING_CTL_SIZE];
static alignas(128) unsigned char data[CAP];
static uint64_t messages = 2000000;

static uint32_t rnd(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint32_t length_of(uint64_t number)
{
    uint64_t s = number;

    rnd(&s);
    return 8 + rnd(&s) % (number % 16 == 0 ? LEN_MAX : 64);
}

static void fill(unsigned char *p, uint64_t number, uint32_t len)
{
    memcpy(p, &number, 8);
    memset(p + 8, (int)(number & 0xff), len - 8);
}

static void *write_all(void *arg)
{
    uint64_t i, seed = *(uint64_t *)arg;
    struct ring *r = malloc(sizeof(*r));
    uint32_t len;
    void *room;

    ring_open(r, ctl, data, CAP, KEEP);
    while (ring_write_enter(r, ring_session(1, 1), NULL, NULL) != 0)
        sched_yield();
    for (i = 0; i < messages; i++) {
        len = length_of(i);
        while (ring_reserve(r, &room, len + 8, rnd(&seed) % 8 == 0) == SD_EFULL)
            sched_yield();
        fill(room, i, len);
        ring_commit(r, (uint32_t)(i % 7), len);
    }
    free(r);
    return NULL;
}

static void bad(uint64_t number, const char *what)
{
    fprintf(stderr, "message %llu: %s\n", (unsigned long long)number, what);
    exit(1);
}

static void check(const struct ring_msg *m, uint64_t number)
{
    const unsigned char *p = m->data;
    uint64_t got;
    uint32_t i;

    if (m->type != number % 7 || m->len != length_of(number))
        bad(number, "wrong type or length");
    memcpy(&got, p, 8);
    if (got != number)
        bad(number, "wrong number");
    for (i = 8; i < m->len; i++)
        if (p[i] != (number & 0xff))
            bad(number, "wrong content");
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : clock_ns();
    uint64_t start, number = 0;
    struct ring_msg m;
    struct ring r;
    pthread_t writer;
    int got;

    if (argc > 1)
        messages = strtoull(argv[1], NULL, 10);
    ring_open(&r, ctl, data, CAP, KEEP);
    if (ring_read_enter(&r, ring_session(1, 1)) != 0)
        bad(0, "cannot enter");
    start = clock_ns();
    if (pthread_create(&writer, NULL, write_all, &seed) != 0)
        return 1;
    while (number < messages) {
        got = ring_peek(&r, &m);
        if (got < 0)
            bad(number, "garbage");
        if (got == 0) {
            sched_yield();
            continue;
        }
        check(&m, number++);
        ring_pop(&r);
    }
    pthread_join(writer, NULL);
    if (ring_peek(&r, &m) != 0)
        bad(number, "one too many");
    printf("{\"messages\": %llu, \"ns_per_message\": %.1f}\n",
           (unsigned long long)messages,
           (double)(clock_ns() - start) / (double)messages);
    return 0;
}
