/* top_look.c - see top_look.h.
 *
 * The master says which workers there are; each of them is asked itself, over
 * a console of its own.  It remembers there what it has told last, so that a
 * look costs a worker little and nobody anything while nobody looks.
 *
 * One that does not answer (it is busy, or dead) is shown without figures.  All
 * are asked before any is waited for, so a look takes as long as the slowest,
 * and whom the master knows to be stuck is not waited for.  What such a worker
 * owes it may say in a later look; until then it is asked for nothing more. */
#include "cmd/top_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proc/ctl.h"

enum {
    ANSWER_WAIT = 1000 /* ms, for all greetings, and for all answers */
};

/* --- what the master says ------------------------------------------------- */

static void pass_over(void *ctx, const struct row *row)
{
    (void)ctx;
    (void)row;
}

static void take_process(void *ctx, const struct row *row)
{
    struct top *t = ctx;
    unsigned i = (unsigned)row_number(row, "index");

    if (strcmp(row_get(row, "role"), "worker") != 0 || i >= TOP_WORKERS)
        return;
    t->workers[i].status = *row;
    if (i >= t->nworkers)
        t->nworkers = i + 1;
}

static bool take_status(struct top *t, struct slice text)
{
    struct buf scratch = {0};
    struct row head = {0};
    struct json j;
    bool good;
    int token = JSON_KEY;

    json_init(&j, text, &scratch);
    good = json_next(&j) == JSON_MAP;
    while (good && (token = json_next(&j)) == JSON_KEY) {
        if (slice_is(j.text, "processes"))
            good = row_read_list(&j, take_process, t);
        else if (slice_is(j.text, "ports") || slice_is(j.text, "slow"))
            good = row_read_list(&j, pass_over, NULL);
        else
            good = row_read_field(&head, &j);
    }
    snprintf(t->node, sizeof(t->node), "%s", row_get(&head, "node"));
    snprintf(t->state, sizeof(t->state), "%s", row_get(&head, "state"));
    buf_fini(&scratch);
    return good && token == JSON_MAP_END;
}

/* --- what a worker says --------------------------------------------------- */

/* One answer: its numbers go into `head`, its lists into `top`. */
struct answer {
    struct top *top;
    unsigned worker;
    struct row head;
};

static struct top_route *route_of(struct top *t, const struct row *row)
{
    struct top_route *r;

    for (unsigned i = 0; i < t->nroutes; i++) {
        r = &t->routes[i];
        if (strcmp(r->port, row_get(row, "port")) == 0 &&
            strcmp(r->route, row_get(row, "route")) == 0)
            return r;
    }
    if (t->nroutes == TOP_ROWS)
        return NULL;
    r = &t->routes[t->nroutes++];
    *r = (struct top_route){0};
    snprintf(r->port, sizeof(r->port), "%s", row_get(row, "port"));
    snprintf(r->route, sizeof(r->route), "%s", row_get(row, "route"));
    return r;
}

static void add_route(void *ctx, const struct row *row)
{
    struct answer *a = ctx;
    double seconds = a->top->workers[a->worker].seconds;
    struct top_route *r = seconds > 0 ? route_of(a->top, row) : NULL;

    if (r == NULL)
        return;
    r->calls += row_number(row, "calls") / seconds;
    r->errors += row_number(row, "errors") / seconds;
}

static void add_conn(void *ctx, const struct row *row)
{
    struct answer *a = ctx;
    struct top *t = a->top;
    double seconds = t->workers[a->worker].seconds;
    struct top_conn c = {.row = *row, .worker = a->worker};
    unsigned i;

    if (seconds <= 0)
        return;
    c.packets = row_number(row, "packets") / seconds;
    c.bytes = row_number(row, "bytes") / seconds;
    for (i = t->nconns; i > 0 && t->conns[i - 1].packets < c.packets; i--)
        if (i < TOP_ROWS)
            t->conns[i] = t->conns[i - 1];
    if (i < TOP_ROWS)
        t->conns[i] = c;
    if (t->nconns < TOP_ROWS)
        t->nconns++;
}

static bool read_top(struct answer *a, struct json *j)
{
    int token;
    bool good = json_next(j) == JSON_MAP;

    while (good && (token = json_next(j)) != JSON_MAP_END) {
        if (token != JSON_KEY)
            return false;
        if (slice_is(j->text, "routes"))
            good = row_read_list(j, add_route, a);
        else if (slice_is(j->text, "busiest"))
            good = row_read_list(j, add_conn, a);
        else
            good = row_read_field(&a->head, j);
    }
    return good;
}

static bool read_answer(struct answer *a, struct slice line)
{
    struct buf scratch = {0};
    struct row rest = {0};
    struct json j;
    int token = JSON_KEY;
    bool good;

    json_init(&j, line, &scratch);
    a->head = (struct row){0};
    good = json_next(&j) == JSON_MAP;
    while (good && (token = json_next(&j)) == JSON_KEY)
        good = slice_is(j.text, "top") ? read_top(a, &j)
                                       : row_read_field(&rest, &j);
    buf_fini(&scratch);
    return good && token == JSON_MAP_END;
}

/* The keys of a map come in any order, and rates need the seconds, so it is
 * read twice: while the seconds are 0 the lists add nothing. */
static bool take_answer(struct top *t, unsigned i, struct slice line)
{
    struct answer a = {.top = t, .worker = i};
    struct top_worker *w = &t->workers[i];

    if (!read_answer(&a, line))
        return false;
    w->seconds = row_number(&a.head, "seconds");
    if (w->seconds > 0) {
        w->packets = (row_number(&a.head, "packets_in") +
                      row_number(&a.head, "packets_out")) /
                     w->seconds;
        w->bytes = (row_number(&a.head, "bytes_in") +
                    row_number(&a.head, "bytes_out")) /
                   w->seconds;
    }
    return read_answer(&a, line);
}

static bool is_blocked(const struct top_worker *w)
{
    return row_get(&w->status, "blocked")[0] != '\0';
}

static void let_go(struct top_worker *w)
{
    inside_close(&w->inside);
    w->talk = TOP_AWAY;
}

/* A new process is reached anew. */
static void reach(struct top_worker *w, unsigned i)
{
    int pid = (int)row_number(&w->status, "pid");

    if (w->pid != pid)
        let_go(w);
    w->pid = pid;
    w->seconds = w->packets = w->bytes = 0;
    if (w->talk == TOP_AWAY && pid != 0 && !is_blocked(w) &&
        inside_open(&w->inside, i) == 0)
        w->talk = TOP_GREETING;
}

/* Up to `until`, a time of clock_ms(). */
static int wait_of(const struct top_worker *w, uint64_t until)
{
    uint64_t now = clock_ms();

    return is_blocked(w) || now >= until ? 0 : (int)(until - now);
}

static void greet(struct top_worker *w, uint64_t until)
{
    struct row who;
    int err;

    if (w->talk != TOP_GREETING)
        return;
    err = inside_greeting(&w->inside, &who, wait_of(w, until));
    if (err == 0)
        w->talk = TOP_IDLE;
    else if (err != SD_ETIMEOUT)
        let_go(w);
}

static void ask(struct top_worker *w)
{
    char request[32];

    if (w->talk != TOP_IDLE || is_blocked(w))
        return;
    snprintf(request, sizeof(request), "{\"top\":%d}", TOP_ROWS);
    w->talk = TOP_ASKED;
    if (inside_send(&w->inside, slice_str(request)) < 0)
        let_go(w);
}

static void hear(struct top *t, unsigned i, uint64_t until)
{
    struct top_worker *w = &t->workers[i];
    struct slice line;
    int err;

    if (w->talk != TOP_ASKED)
        return;
    err = inside_line(&w->inside, &line, wait_of(w, until));
    if (err == 0 && take_answer(t, i, line))
        w->talk = TOP_IDLE;
    else if (err != SD_ETIMEOUT)
        let_go(w);
}

/* --- what the kernel says ------------------------------------------------- */

static void take_cpu(struct top_worker *w)
{
    int pid = (int)row_number(&w->status, "pid");
    uint64_t cpu = 0, now = clock_ms();

    w->cpu_share = 0;
    if (pid > 0 && clock_cpu_ms(pid, &cpu) && w->cpu_at != 0 &&
        now > w->cpu_at && cpu >= w->cpu)
        w->cpu_share = (double)(cpu - w->cpu) / (double)(now - w->cpu_at);
    w->cpu = cpu;
    w->cpu_at = now;
}

/* --- the look ------------------------------------------------------------- */

static void ask_all(struct top *t)
{
    uint64_t until;

    for (unsigned i = 0; i < t->nworkers; i++)
        reach(&t->workers[i], i);
    until = clock_ms() + ANSWER_WAIT;
    for (unsigned i = 0; i < t->nworkers; i++) {
        greet(&t->workers[i], until);
        take_cpu(&t->workers[i]);
        ask(&t->workers[i]);
    }
    until = clock_ms() + ANSWER_WAIT;
    for (unsigned i = 0; i < t->nworkers; i++)
        hear(t, i, until);
}

static int by_calls(const void *a, const void *b)
{
    const struct top_route *x = a, *y = b;

    if (x->calls != y->calls)
        return x->calls < y->calls ? 1 : -1;
    return strcmp(x->route, y->route);
}

int top_look(struct top *t, char *why)
{
    struct buf reply = {0};
    int fd = ctl_ask("status", &reply), err = fd;

    snprintf(why, TOP_WHY, "%s", err_str(fd < 0 ? fd : SD_EPROTO));
    if (fd >= 0) {
        close(fd);
        err = take_status(t, buf_slice(&reply)) ? 0 : SD_EPROTO;
    }
    buf_fini(&reply);
    if (err < 0)
        return err;
    t->nroutes = t->nconns = 0;
    ask_all(t);
    qsort(t->routes, t->nroutes, sizeof(t->routes[0]), by_calls);
    return 0;
}

void top_close(struct top *t)
{
    for (unsigned i = 0; i < t->nworkers; i++)
        inside_close(&t->workers[i].inside);
}
