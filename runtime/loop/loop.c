/* loop.c - see loop.h.
 *
 * The end of a turn lives in a uv_prepare, which libuv runs right before it
 * looks how long it may sleep; timers expire in a uv_check, right after the
 * I/O callbacks.  While work is left over, a uv_idle runs: that alone makes
 * libuv poll without sleeping.  None of these three keeps the loop alive. */
#include "loop/loop.h"

#include <uv.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/timer.h"

#define LOOP_MAGIC 0x10097e57u

/* Rounds of hooks in one turn before I/O gets its chance again. */
#define ROUNDS_MAX 4

struct loop {
    unsigned magic;
    bool now_known;
    uint64_t now;
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    struct timers *timers;
    struct list hooks, jobs;
    struct list *next_hook; /* where a round stands; moves when one leaves */
};

static struct loop *from_handle(const void *handle)
{
    struct loop *l = ((const uv_handle_t *)handle)->data;

    sd_check(l, LOOP_MAGIC);
    return l;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* libuv counts what it knows: a loop that only has timers or jobs of ours
 * must not end before on_prepare() hands them over. */
static void stay_alive(struct loop *l)
{
    if (!list_empty(&l->jobs))
        uv_idle_start(&l->idle, on_idle);
    timers_arm(l->timers);
}

static void on_check(uv_check_t *check)
{
    struct loop *l = from_handle(check);

    timers_expire(l->timers);
    stay_alive(l);
}

static void run_jobs(struct loop *l)
{
    struct list now;

    if (list_empty(&l->jobs))
        return;
    /* Take the whole list over, so that what jobs defer waits its turn. */
    now.next = l->jobs.next;
    now.prev = l->jobs.prev;
    now.next->prev = now.prev->next = &now;
    list_init(&l->jobs);
    while (!list_empty(&now)) {
        struct loop_job *job = list_entry(now.next, struct loop_job, node);

        loop_undefer(job);
        job->fn(job);
    }
}

/* True when some hook made work for the others. */
static bool run_hooks(struct loop *l)
{
    struct list *it = l->hooks.next;
    bool busy = false;

    while (it != &l->hooks) {
        struct loop_hook *hook = list_entry(it, struct loop_hook, node);

        l->next_hook = it->next;
        if (hook->fn(hook))
            busy = true;
        it = l->next_hook;
    }
    l->next_hook = NULL;
    return busy;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *l = from_handle(prepare);
    bool busy = true;
    int round;

    run_jobs(l);
    for (round = 0; busy && round < ROUNDS_MAX; round++)
        busy = run_hooks(l);
    if (busy || !list_empty(&l->jobs))
        uv_idle_start(&l->idle, on_idle);
    else
        uv_idle_stop(&l->idle);
    timers_arm(l->timers);
    l->now_known = false;
}

int loop_open(struct loop **out)
{
    struct loop *l = mem_zalloc(sizeof(*l));
    int err = uv_loop_init(&l->uv);

    if (err < 0) {
        mem_free(l);
        return err;
    }
    l->magic = LOOP_MAGIC;
    list_init(&l->hooks);
    list_init(&l->jobs);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->idle);
    l->prepare.data = l->check.data = l->idle.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    uv_unref((uv_handle_t *)&l->prepare);
    uv_unref((uv_handle_t *)&l->check);
    sd_assert(timers_open(&l->timers, l) == 0);
    *out = l;
    return 0;
}

void loop_run(struct loop *l)
{
    sd_check(l, LOOP_MAGIC);
    stay_alive(l);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    run_hooks(l);
}

void loop_stop(struct loop *l)
{
    sd_check(l, LOOP_MAGIC);
    uv_stop(&l->uv);
}

void loop_turn(struct loop *l, bool wait)
{
    sd_check(l, LOOP_MAGIC);
    uv_run(&l->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

/* An open handle would keep the end from ever coming: better to hear of it. */
static void must_be_closing(uv_handle_t *handle, void *arg)
{
    (void)arg;
    sd_assert(uv_is_closing(handle));
}

void loop_close(struct loop **lp)
{
    struct loop *l = *lp;

    if (l == NULL)
        return;
    sd_check(l, LOOP_MAGIC);
    run_hooks(l);
    timers_close(&l->timers);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_walk(&l->uv, must_be_closing, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        continue; /* a loop_stop() from before ends the first run */
    sd_assert(uv_loop_close(&l->uv) == 0);
    l->magic = 0;
    mem_free(l);
    *lp = NULL;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
    sd_check(l, LOOP_MAGIC);
    return &l->uv;
}

struct timers *loop_timers(struct loop *l)
{
    sd_check(l, LOOP_MAGIC);
    return l->timers;
}

uint64_t loop_now(struct loop *l)
{
    if (!l->now_known) {
        l->now = clock_ms();
        l->now_known = true;
    }
    return l->now;
}

void loop_hook_add(struct loop *l, struct loop_hook *hook)
{
    struct list *at;

    sd_check(l, LOOP_MAGIC);
    list_each (at, &l->hooks) {
        if (list_entry(at, struct loop_hook, node)->rank > hook->rank)
            break;
    }
    list_add(at, &hook->node);
    hook->loop = l;
}

void loop_hook_del(struct loop_hook *hook)
{
    if (hook->loop == NULL)
        return;
    if (hook->loop->next_hook == &hook->node)
        hook->loop->next_hook = hook->node.next;
    list_del(&hook->node);
    hook->loop = NULL;
}

void loop_defer(struct loop *l, struct loop_job *job)
{
    sd_check(l, LOOP_MAGIC);
    if (job->node.next == NULL)
        list_add(&l->jobs, &job->node);
}

void loop_undefer(struct loop_job *job)
{
    if (job->node.next == NULL)
        return;
    list_del(&job->node);
    job->node.next = job->node.prev = NULL;
}
