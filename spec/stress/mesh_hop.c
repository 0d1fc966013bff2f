/* mesh_hop.c - what one hop between two processes costs.
 *
 *   mesh_hop [messages]
 *
 * 64-byte messages through a whole mesh (ring, door, handler), both processes
 * busy: one by one (each sent when the last one was handed on, so a line of
 * memory moves both ways every time), in batches of 32, and as many as fit.
 * Prints nanoseconds of CPU of each side per message. */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipc/mesh.h"
#include "ipc/msg.h"

static uint64_t handled;
static struct mesh *mesh;

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    (void)data;
    handled += m->body.len == 64;
    return MESH_DONE;
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static struct mesh *attach(struct mesh *master, unsigned slot)
{
    struct mesh_hooks hooks = {.on_msg = on_msg};
    int fds[MESH_FDS_MAX];
    unsigned n = mesh_fds(master, slot, fds);
    struct mesh *m;

    mesh_slot_filled(master, slot, getpid());
    if (mesh_attach(&m, fds, n, slot) != 0)
        exit(1);
    mesh_set_hooks(m, &hooks);
    slots_set_state(mesh_slots(m), slot, SLOT_READY);
    return m;
}

/* Echo: answer each batch with one message, so that the sender knows. */
static void echo(struct mesh *m, uint64_t messages, unsigned batch)
{
    char text[64] = {0};
    struct slice v = slice_make(text, sizeof(text));
    uint64_t start, next = batch;

    handled = 0;
    start = cpu_ns();
    while (handled < messages) {
        mesh_poll(m, batch);
        if (handled < next)
            continue;
        next += batch;
        while (mesh_send(m, 0, MSG_SEND, MESH_PLAIN, &v, 1) != 0)
            mesh_poll(m, 1);
    }
    printf("  batch %4u: reader %4.0f ns CPU\n", batch,
           (double)(cpu_ns() - start) / (double)messages);
    fflush(stdout);
}

static void drive(struct mesh *m, uint64_t messages, unsigned batch)
{
    char text[64] = {1};
    struct slice v = slice_make(text, sizeof(text));
    uint64_t sent = 0, rounds = 0, cpu = cpu_ns(), wall = clock_ns();
    unsigned k;

    handled = 0;
    while (sent < messages) {
        for (k = 0; k < batch; k++, sent++)
            while (mesh_send(m, 1, MSG_SEND, MESH_PLAIN, &v, 1) != 0)
                mesh_poll(m, 1);
        rounds++;
        while (handled < rounds)
            mesh_poll(m, 1);
    }
    printf("  batch %4u: sender %4.0f ns CPU, %4.0f ns a message\n", batch,
           (double)(cpu_ns() - cpu) / (double)messages,
           (double)(clock_ns() - wall) / (double)messages);
    fflush(stdout);
}

/* The work alone, both ends in one process: no line of memory moves. */
static void alone(struct mesh *a, struct mesh *b, uint64_t messages)
{
    char text[64] = {1};
    struct slice v = slice_make(text, sizeof(text));
    uint64_t i, t, send_ns = 0, poll_ns = 0;
    unsigned k;

    for (i = 0; i < messages; i += 32) {
        t = clock_ns();
        for (k = 0; k < 32; k++)
            mesh_send(a, 1, MSG_SEND, MESH_PLAIN, &v, 1);
        send_ns += clock_ns() - t;
        t = clock_ns();
        mesh_poll(b, 32);
        poll_ns += clock_ns() - t;
    }
    printf("  one process, 32 at a time: send %.0f ns, poll %.0f ns\n",
           (double)send_ns / (double)messages,
           (double)poll_ns / (double)messages);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 1 << 20;
    static const unsigned batch[] = {1, 32, 1024};
    struct mesh_shape shape = {.workers = 2};
    struct mesh *a, *b;
    unsigned i;
    pid_t pid;

    messages &= ~UINT64_C(1023);
    if (messages == 0 || mesh_create(&mesh, &shape) != 0)
        return 1;
    a = attach(mesh, 0);
    b = attach(mesh, 1);
    alone(a, b, messages);
    pid = fork();
    if (pid < 0)
        return 1;
    pin(pid == 0);
    for (i = 0; i < sizeof(batch) / sizeof(batch[0]); i++) {
        if (pid == 0)
            echo(b, messages, batch[i]);
        else
            drive(a, messages, batch[i]);
    }
    if (pid == 0)
        _exit(0);
    mesh_close(&a);
    mesh_close(&b);
    mesh_close(&mesh);
    return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
