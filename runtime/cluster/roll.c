/* roll.c - see roll.h.
 *
 * Two that begin at the same time must not both fail: the node with the lowest
 * boot is claimed first, alone, and who has it gets the others.
 *
 * The node whose turn it is hears ROLL_GO again and again, and answers what has
 * become of it; the others hear their claim again, some of them at each tick,
 * so that all of them do within CLAIM_LEASE. */
#include "cluster/roll.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    ROLL_OBJECT = 0x726f6c6c,
    SHARES = 8 /* ticks in which everybody hears of us */
};

enum phase {
    PHASE_CLAIMING,
    PHASE_RELOADING,
    PHASE_ENDED
};

struct roll {
    unsigned magic;
    enum phase phase;
    uint64_t id, self;
    struct roll_hooks hooks;
    struct roll_node *nodes; /* by name */
    unsigned n, room;
    unsigned first;   /* with the lowest boot */
    unsigned claimed; /* how many */
    unsigned turn;    /* while reloading */
    unsigned ticks;
    struct buf why;  /* not empty: end it, now or ... */
    bool is_waiting; /* ... when the one whose turn it is has ended */
    struct buf bytes;
};

struct roll *roll_new(uint64_t id, uint64_t self,
                      const struct roll_hooks *hooks)
{
    struct roll *r = mem_zalloc(sizeof(*r));

    sd_assert(id != 0);
    r->magic = ROLL_OBJECT;
    r->id = id;
    r->self = self;
    r->hooks = *hooks;
    return r;
}

void roll_free(struct roll **rp)
{
    struct roll *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, ROLL_OBJECT);
    mem_free(r->nodes);
    buf_fini(&r->why);
    buf_fini(&r->bytes);
    r->magic = 0;
    mem_free(r);
    *rp = NULL;
}

void roll_add(struct roll *r, uint64_t boot, struct slice name,
              uint32_t generation)
{
    struct roll_node node = {.boot = boot, .generation = generation};
    size_t len = name.len < CLAIM_NAME ? name.len : CLAIM_NAME - 1;
    unsigned at;

    sd_check(r, ROLL_OBJECT);
    sd_assert(r->ticks == 0);
    memcpy(node.name, name.p, len);
    if (r->n == r->room) {
        r->room = r->room > 0 ? 2 * r->room : 16;
        r->nodes = mem_realloc(r->nodes, r->room * sizeof(*r->nodes));
    }
    for (at = r->n++; at > 0; at--) {
        if (strcmp(r->nodes[at - 1].name, node.name) <= 0)
            break;
        r->nodes[at] = r->nodes[at - 1];
    }
    r->nodes[at] = node;
}

/* --- out ------------------------------------------------------------------ */

static void say(struct roll *r, const struct roll_node *n, enum roll_type type)
{
    struct roll_msg m = {.type = type,
                         .from = r->self,
                         .to = n->boot,
                         .id = r->id,
                         .nonce = n->nonce};

    buf_truncate(&r->bytes, 0);
    roll_msg_write(&r->bytes, &m);
    r->hooks.send(r->hooks.arg, n->boot, buf_slice(&r->bytes).p, r->bytes.len);
}

/* --- its end -------------------------------------------------------------- */

static void end(struct roll *r)
{
    r->phase = PHASE_ENDED;
    for (unsigned i = 0; i < r->n; i++)
        if (r->nodes[i].asked != 0)
            say(r, &r->nodes[i], ROLL_FREE);
}

/* The first reason counts. */
static void blame(struct roll *r, const struct roll_node *n, const char *what,
                  struct slice more)
{
    if (r->why.len == 0)
        buf_printf(&r->why, "%s%s%s%.*s", n != NULL ? n->name : "",
                   n != NULL ? ": " : "", what, (int)more.len, more.p);
}

static void fail(struct roll *r, const struct roll_node *n, const char *what)
{
    blame(r, n, what, slice_str(""));
    end(r);
}

/* As soon as nobody is amid it; who was told to go may be, before it says so.
 */
static void end_soon(struct roll *r)
{
    r->is_waiting = r->phase == PHASE_RELOADING;
    if (!r->is_waiting)
        end(r);
}

static void fail_soon(struct roll *r, const struct roll_node *n,
                      const char *what)
{
    blame(r, n, what, slice_str(""));
    end_soon(r);
}

/* --- claims --------------------------------------------------------------- */

static void claim_one(struct roll *r, struct roll_node *n, uint64_t now)
{
    if (n->asked == 0)
        n->asked = now;
    if (now - n->asked > ROLL_SILENCE)
        fail(r, n, "it does not answer; nothing was reloaded");
    else
        say(r, n, ROLL_CLAIM);
}

static void claim_more(struct roll *r, uint64_t now)
{
    unsigned asked = 0;

    if (r->nodes[r->first].state == 0) {
        claim_one(r, &r->nodes[r->first], now);
        return;
    }
    for (unsigned i = 0; i < r->n && asked < ROLL_WINDOW; i++) {
        if (r->nodes[i].state != 0)
            continue;
        asked++;
        claim_one(r, &r->nodes[i], now);
        if (r->phase == PHASE_ENDED)
            return;
    }
}

/* Nobody may forget us. */
static void keep(struct roll *r)
{
    for (unsigned i = r->ticks % SHARES; i < r->n; i += SHARES)
        if (r->nodes[i].state != 0 &&
            (r->phase == PHASE_CLAIMING || i != r->turn))
            say(r, &r->nodes[i], ROLL_CLAIM);
}

static void begin_turn(struct roll *r, unsigned i, uint64_t now)
{
    r->turn = i;
    if (i == r->n) {
        end(r);
        return;
    }
    r->nodes[i].heard = now;
    say(r, &r->nodes[i], ROLL_GO);
}

/* --- in ------------------------------------------------------------------- */

static void take_claim(struct roll *r, struct roll_node *n, uint64_t now,
                       const struct roll_msg *m)
{
    if (m->state == ROLL_REFUSED) {
        blame(r, n, "a rolling reload is under way, begun by ", m->text);
        end_soon(r);
        return;
    }
    if (m->state != ROLL_CLAIMED)
        return;
    r->claimed += n->state == 0;
    n->state = ROLL_CLAIMED;
    n->nonce = m->nonce; /* another one: its agent was started anew */
    if (r->phase == PHASE_CLAIMING && r->claimed == r->n) {
        r->phase = PHASE_RELOADING;
        begin_turn(r, 0, now);
    }
}

static void take_outcome(struct roll *r, struct roll_node *n, uint64_t now,
                         const struct roll_msg *m)
{
    switch (m->state) {
    case ROLL_RUNNING:
        n->state = ROLL_RUNNING;
        break;
    case ROLL_DONE:
        n->state = ROLL_DONE;
        r->hooks.on_done(r->hooks.arg, n, m->text.p, m->text.len);
        if (r->is_waiting)
            end(r);
        else
            begin_turn(r, r->turn + 1, now);
        break;
    case ROLL_FAILED:
        n->state = ROLL_FAILED;
        if (r->is_waiting)
            buf_truncate(&r->why, 0);
        blame(r, n, "", m->text);
        end(r);
        break;
    case ROLL_REFUSED:
        n->state = ROLL_FAILED;
        fail(r, n,
             "its agent was started anew amid the reload: what came of "
             "it is not known");
        break;
    default: /* an answer that was long under way */
        if (n->state == 0 || n->state == ROLL_CLAIMED)
            n->nonce = m->nonce;
    }
}

static struct roll_node *find(const struct roll *r, uint64_t boot)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->nodes[i].boot == boot)
            return &r->nodes[i];
    return NULL;
}

void roll_take(struct roll *r, uint64_t now, const struct roll_msg *m)
{
    struct roll_node *n;

    sd_check(r, ROLL_OBJECT);
    if (r->phase == PHASE_ENDED || m->type != ROLL_STATE || m->id != r->id ||
        m->to != r->self)
        return;
    n = find(r, m->from);
    if (n == NULL || n->state == ROLL_DONE || n->state == ROLL_FAILED)
        return;
    n->heard = now;
    n->generation = m->generation;
    if (r->phase == PHASE_RELOADING && n == &r->nodes[r->turn])
        take_outcome(r, n, now, m);
    else
        take_claim(r, n, now, m);
}

void roll_lost(struct roll *r, uint64_t boot, const char *how)
{
    struct roll_node *n = find(r, boot);
    char what[64];
    bool is_its_turn;

    sd_check(r, ROLL_OBJECT);
    if (n == NULL || r->phase == PHASE_ENDED)
        return;
    snprintf(what, sizeof(what), "it %s%s", how,
             r->phase == PHASE_CLAIMING ? "; nothing was reloaded" : "");
    is_its_turn = r->phase == PHASE_RELOADING && n == &r->nodes[r->turn];
    if (n->state != ROLL_DONE)
        n->state = ROLL_FAILED;
    if (is_its_turn)
        fail(r, n, what);
    else
        fail_soon(r, n, what);
}

void roll_stop(struct roll *r, const char *why)
{
    sd_check(r, ROLL_OBJECT);
    if (r->phase != PHASE_ENDED)
        fail_soon(r, NULL, why);
}

/* --- time ----------------------------------------------------------------- */

static void find_first(struct roll *r)
{
    for (unsigned i = 1; i < r->n; i++)
        if (r->nodes[i].boot < r->nodes[r->first].boot)
            r->first = i;
}

void roll_tick(struct roll *r, uint64_t now)
{
    struct roll_node *n;

    sd_check(r, ROLL_OBJECT);
    if (r->ticks == 0)
        find_first(r);
    r->ticks++;
    if (r->n == 0)
        fail(r, NULL, "there is no node");
    if (r->phase == PHASE_ENDED)
        return;
    keep(r);
    if (r->phase == PHASE_CLAIMING) {
        claim_more(r, now);
        return;
    }
    n = &r->nodes[r->turn];
    if (now - n->heard <= ROLL_SILENCE) {
        say(r, n, ROLL_GO);
        return;
    }
    n->state = ROLL_RUNNING; /* or it may be */
    fail(r, n,
         "it does not answer any more: what came of its reload is not "
         "known");
}

bool roll_has_ended(const struct roll *r)
{
    return r->phase == PHASE_ENDED;
}

struct slice roll_why(const struct roll *r)
{
    return buf_slice(&r->why);
}

unsigned roll_count(const struct roll *r)
{
    return r->n;
}

const struct roll_node *roll_at(const struct roll *r, unsigned i)
{
    sd_assert(i < r->n);
    return &r->nodes[i];
}
