/* wheel.c - see wheel.h.
 *
 * A timer lies at the level of the highest base-64 digit in which its due
 * time differs from `now`, in the slot of that digit.  So a level holds only
 * slots ahead of now's own digit, a timer moves only when time enters the
 * block of its slot (then to a lower level, where its digits differ next), and
 * one bit per slot finds the next of them without looking at the others. */
#include "loop/wheel.h"

#include "base/assert.h"

#define SPAN ((uint64_t)1 << (WHEEL_BITS * WHEEL_LEVELS))

void wheel_init(struct wheel *w, uint64_t now)
{
    unsigned level, slot;

    w->now = now;
    w->count = 0;
    for (level = 0; level < WHEEL_LEVELS; level++) {
        w->busy[level] = 0;
        for (slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slot[level][slot]);
    }
}

static unsigned digit(uint64_t time, unsigned level)
{
    return (time >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
}

/* Link `t`, whose due is not before now. */
static void place(struct wheel *w, struct timer *t)
{
    uint64_t differ = t->due ^ w->now;
    unsigned level = 0, slot;

    if (differ >= WHEEL_SLOTS)
        level = (63 - (unsigned)__builtin_clzll(differ)) / WHEEL_BITS;
    sd_assert(level < WHEEL_LEVELS);
    slot = digit(t->due, level);
    list_add(&w->slot[level][slot], &t->node);
    w->busy[level] |= (uint64_t)1 << slot;
}

static void unplace(struct wheel *w, struct timer *t)
{
    struct list *next = t->node.next;
    bool last = next == t->node.prev;
    size_t at = 0;

    list_del(&t->node);
    t->node.next = t->node.prev = NULL;
    if (!last)
        return;
    /* The only neighbour left is the slot's head: its place is its name. */
    at = (size_t)(next - &w->slot[0][0]);
    w->busy[at / WHEEL_SLOTS] &= ~((uint64_t)1 << (at % WHEEL_SLOTS));
}

void wheel_start(struct wheel *w, struct timer *t, uint64_t due)
{
    /* Above the top level's block the digits would run over: such a due is
     * cut to the end of what now's block can hold. */
    uint64_t last = w->now | (SPAN - 1);

    wheel_stop(w, t);
    if (due <= w->now)
        due = w->now + 1;
    t->due = due > last && last > w->now ? last : due;
    place(w, t);
    w->count++;
}

void wheel_stop(struct wheel *w, struct timer *t)
{
    if (!timer_is_on(t))
        return;
    unplace(w, t);
    w->count--;
}

/* The lowest level with a timer and its first busy slot; false: none. */
static bool first(const struct wheel *w, unsigned *level, unsigned *slot)
{
    for (*level = 0; *level < WHEEL_LEVELS; (*level)++) {
        if (w->busy[*level] != 0) {
            *slot = (unsigned)__builtin_ctzll(w->busy[*level]);
            return true;
        }
    }
    return false;
}

/* When the block of a slot begins. */
static uint64_t begin_of(const struct wheel *w, unsigned level, unsigned slot)
{
    unsigned shift = WHEEL_BITS * level;
    uint64_t above = w->now >> (shift + WHEEL_BITS) << (shift + WHEEL_BITS);

    return above | (uint64_t)slot << shift;
}

/* Time has reached the block: spread its timers over the lower levels. */
static void cascade(struct wheel *w, unsigned level, unsigned slot)
{
    struct list *head = &w->slot[level][slot];

    while (!list_empty(head)) {
        struct timer *t = list_entry(head->next, struct timer, node);

        list_del(&t->node);
        place(w, t);
    }
    w->busy[level] &= ~((uint64_t)1 << slot);
}

struct timer *wheel_pop(struct wheel *w, uint64_t now)
{
    unsigned level, slot;

    while (first(w, &level, &slot)) {
        uint64_t begin = begin_of(w, level, slot);

        if (begin > now)
            break;
        if (begin > w->now)
            w->now = begin;
        if (level == 0) {
            struct timer *t =
                list_entry(w->slot[0][slot].next, struct timer, node);

            wheel_stop(w, t);
            return t;
        }
        cascade(w, level, slot);
    }
    if (now > w->now)
        w->now = now;
    return NULL;
}

uint64_t wheel_next(const struct wheel *w)
{
    unsigned level, slot;

    return first(w, &level, &slot) ? begin_of(w, level, slot) : UINT64_MAX;
}
