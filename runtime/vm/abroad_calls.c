/* abroad_calls.c - calls to other nodes that have an answer.
 *
 * Of a change to the conns of a uid the outcome of its message is the answer
 * (cluster/outbox.h).  A question is delivered first; then whoever has taken it
 * says so and sends, in the end, a message of its own with the answer.  Between
 * the two nobody knows more than that its process lives: when no relay leads to
 * it for a while, or its node has ended, the caller hears "closed".
 *
 * An outcome may become known while Lua runs, so callers are told at the end of
 * the turn. */
#include <lauxlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/uplink.h"
#include "ipc/msg.h"
#include "vm/far_call.h"
#include "vm/state.h"
#include "vm/task_state.h"

enum {
    LOOK = 200,    /* ms */
    UNSEEN = 1000, /* ms without a way, after which a place counts as lost */
    LATE = 1000    /* ms after its deadline that a call is remembered */
};

static struct far_call *call_of(struct table_node *node)
{
    return list_entry(node, struct far_call, node);
}

static struct far_call *find(const struct abroad *a, uint64_t counter)
{
    struct table_node *node = table_first(&a->calls, (uint32_t)counter);

    while (node != NULL && call_of(node)->counter != counter)
        node = table_next(node);
    return node != NULL ? call_of(node) : NULL;
}

void far_call_drop(struct abroad *a, struct far_call *c)
{
    table_del(&a->calls, &c->node);
    list_del(&c->ended);
    mem_free(c);
}

struct far_call *far_call_add(struct vm *vm, uint64_t ms)
{
    struct abroad *a = vm->all->abroad;
    struct far_call *c = mem_zalloc(sizeof(*c));

    c->counter = ++vm->all->tasks->counter;
    c->vm = vm;
    c->due = clock_ms() + ms;
    list_init(&c->ended);
    table_add(&a->calls, &c->node, (uint32_t)c->counter);
    abroad_look(a);
    return c;
}

/* --- ends ----------------------------------------------------------------- */

static int take_outcome(lua_State *L, void *answer)
{
    const int *outcome = answer;

    if (*outcome == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err_word(*outcome));
    return 2;
}

static void answer(struct abroad *a, struct far_call *c, co_take_fn *take,
                   void *result)
{
    struct co *co = c->vm != NULL ? co_wake(c->vm, c->ticket) : NULL;

    far_call_drop(a, c);
    if (co != NULL)
        co_answer(co, take, result);
}

/* Calls that end meanwhile have the next turn. */
static void on_tell(struct loop_job *job)
{
    struct abroad *a = list_entry(job, struct abroad, tell);
    struct list *last = a->ended.prev;
    bool more = !list_empty(&a->ended);

    sd_check(a, ABROAD_MAGIC);
    while (more && !list_empty(&a->ended)) {
        struct far_call *c = list_entry(a->ended.next, struct far_call, ended);
        int outcome = c->outcome;

        more = &c->ended != last;
        answer(a, c, take_outcome, &outcome);
    }
    if (!list_empty(&a->ended))
        loop_defer(a->all->env.loop, job);
}

static void end_with(struct abroad *a, struct far_call *c, int outcome)
{
    c->outcome = outcome;
    list_del(&c->ended);
    list_add(&a->ended, &c->ended);
    loop_defer(a->all->env.loop, &a->tell);
}

void abroad_call_settled(struct abroad *a, uint64_t counter, int outcome)
{
    struct far_call *c = find(a, counter);

    if (c == NULL)
        return;
    /* Its message was given up before the call: the answer may come yet. */
    if (outcome == SD_ETIMEOUT && c->wants_value)
        return;
    if (outcome != 0 || !c->wants_value)
        end_with(a, c, outcome);
}

static int error_of(struct slice word)
{
    return slice_is(word, "too_large") ? SD_ETOOLARGE : SD_ECRASHED;
}

int abroad_take_reply(struct abroad *a, const struct frames_data *d)
{
    struct msg_far_reply m;
    struct far_call *c;
    struct slice body;
    int outcome;

    if (d->body.len < sizeof(m))
        return SD_EINVALID;
    memcpy(&m, d->body.p, sizeof(m));
    body = slice_skip(d->body, sizeof(m));
    c = find(a, m.counter);
    if (c == NULL || !c->wants_value)
        return 0; /* nobody waits for it any more */
    if (m.kind == MSG_FAR_TAKEN) {
        c->place = (struct place){d->head.boot, d->head.epoch, d->head.slot};
        c->has_place = true;
    } else if (m.kind == MSG_FAR_VALUE && body.len > 0) {
        struct task_reply reply = {.value = body};

        answer(a, c, task_take_reply, &reply);
    } else {
        outcome = error_of(body);
        answer(a, c, take_outcome, &outcome);
    }
    return 0;
}

/* --- who is lost ---------------------------------------------------------- */

struct look {
    struct abroad *a;
    uint64_t now;
    struct list found; /* what ends */
};

static bool is_lost(struct look *l, struct far_call *c)
{
    const struct outbox *o = uplink_outbox(l->a->uplink);

    if (!c->has_place)
        return false;
    if (!abroad_lives(l->a, &c->place))
        return true;
    if (!outbox_is_linked(o) || outbox_covers(o, &c->place))
        c->unseen = 0;
    else if (c->unseen == 0)
        c->unseen = l->now;
    return c->unseen != 0 && l->now - c->unseen >= UNSEEN;
}

static void look_at(void *arg, struct table_node *node)
{
    struct far_call *c = call_of(node);
    struct look *l = arg;

    if (!list_empty(&c->ended))
        return; /* it is about to be told */
    if (l->now >= c->due + LATE) {
        c->vm = NULL;
        c->outcome = SD_ETIMEOUT;
    } else if (is_lost(l, c)) {
        c->outcome = SD_ECLOSED;
    } else {
        return;
    }
    list_add(&l->found, &c->ended);
}

static void look_at_calls(struct abroad *a)
{
    struct look l = {.a = a, .now = clock_ms()};
    uint64_t cursor = 0;

    list_init(&l.found);
    do {
        table_scan(&a->calls, &cursor, look_at, &l);
    } while (cursor != 0);
    while (!list_empty(&l.found)) {
        struct far_call *c = list_entry(l.found.next, struct far_call, ended);

        end_with(a, c, c->outcome);
    }
}

static void on_look(struct timer *t)
{
    struct abroad *a = list_entry(t, struct abroad, look);

    sd_check(a, ABROAD_MAGIC);
    look_at_calls(a);
    if (abroad_send_posts(a) || a->calls.count > 0)
        abroad_look(a);
}

void abroad_look(struct abroad *a)
{
    if (!timer_is_on(&a->look))
        timer_start(a->all->env.loop, &a->look,
                    list_empty(&a->posts) ? LOOK : LOOK / 10);
}

/* --- life ----------------------------------------------------------------- */

void abroad_calls_init(struct abroad *a)
{
    list_init(&a->ended);
    list_init(&a->posts);
    a->tell.fn = on_tell;
    a->look.fn = on_look;
}

static void forget_one(void *arg, struct table_node *node)
{
    struct far_call *c = call_of(node);

    if (arg == NULL || c->vm == arg)
        c->vm = NULL;
}

static void collect(void *arg, struct table_node *node)
{
    struct far_call *c = call_of(node);

    list_del(&c->ended);
    list_add(arg, &c->ended);
}

void abroad_calls_fini(struct abroad *a)
{
    struct list all;
    uint64_t cursor = 0;

    timer_stop(a->all->env.loop, &a->look);
    loop_undefer(&a->tell);
    list_init(&all);
    do {
        table_scan(&a->calls, &cursor, collect, &all);
    } while (cursor != 0);
    while (!list_empty(&all))
        far_call_drop(a, list_entry(all.next, struct far_call, ended));
    table_fini(&a->calls);
    abroad_drop_posts(a);
}

void abroad_forget(struct abroad *a, const struct vm *vm)
{
    uint64_t cursor = 0;

    if (a == NULL)
        return;
    do {
        table_scan(&a->calls, &cursor, forget_one, (void *)(uintptr_t)vm);
    } while (cursor != 0);
}
