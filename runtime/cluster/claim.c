/* claim.c - see claim.h. */
#include "cluster/claim.h"

#include <string.h>

#include "base/assert.h"

void claim_init(struct claim *c, uint64_t self, uint64_t seed)
{
    *c = (struct claim){.self = self, .dice = {.state = seed}};
}

void claim_fini(struct claim *c)
{
    buf_fini(&c->text);
    *c = (struct claim){0};
}

/* A reload that has begun ends, whoever is still interested. */
static bool is_held(const struct claim *c, uint64_t now)
{
    return c->state == ROLL_RUNNING || (c->id != 0 && now < c->until);
}

static void begin(struct claim *c, const struct roll_msg *m, struct slice name)
{
    size_t n = name.len < CLAIM_NAME ? name.len : CLAIM_NAME - 1;

    c->id = m->id;
    do
        c->nonce = dice_bits(&c->dice);
    while (c->nonce == 0);
    c->state = ROLL_CLAIMED;
    memcpy(c->owner, name.p, n);
    c->owner[n] = '\0';
    buf_truncate(&c->text, 0);
}

/* Of another rolling reload, or of one that a process before us was part of. */
static bool is_strange(const struct claim *c, const struct roll_msg *m)
{
    return m->id != c->id || (m->type == ROLL_GO && m->nonce != c->nonce);
}

static void tell(const struct claim *c, const struct roll_msg *m,
                 uint32_t generation, struct roll_msg *out)
{
    *out = (struct roll_msg){.type = ROLL_STATE,
                             .from = c->self,
                             .to = m->from,
                             .id = m->id,
                             .generation = generation};
    if (is_strange(c, m)) {
        out->state = ROLL_REFUSED;
        out->text = slice_str(c->owner);
        return;
    }
    out->state = c->state;
    out->nonce = c->nonce;
    out->text = buf_slice(&c->text);
    if (c->state == ROLL_DONE || c->state == ROLL_FAILED)
        out->generation = c->generation;
}

bool claim_take(struct claim *c, uint64_t now, const struct roll_msg *m,
                struct slice name, uint32_t generation, struct roll_msg *answer)
{
    bool is_turn = false;

    *answer = (struct roll_msg){0};
    if (m->to != c->self || m->id == 0)
        return false;
    if (m->type == ROLL_FREE) {
        if (m->id == c->id)
            c->until = 0;
        return false;
    }
    if (m->type == ROLL_CLAIM && m->id != c->id && !is_held(c, now))
        begin(c, m, name);
    if (m->id == c->id)
        c->until = now + CLAIM_LEASE;
    is_turn =
        m->type == ROLL_GO && !is_strange(c, m) && c->state == ROLL_CLAIMED;
    if (is_turn)
        c->state = ROLL_RUNNING;
    if (m->type != ROLL_STATE)
        tell(c, m, generation, answer);
    return is_turn;
}

void claim_end(struct claim *c, bool is_done, uint32_t generation,
               struct slice text)
{
    sd_assert(c->state == ROLL_RUNNING);
    c->state = is_done ? ROLL_DONE : ROLL_FAILED;
    c->generation = generation;
    buf_append(&c->text, text.p, text.len);
}
