/* unanswered.c - see unanswered.h.
 *
 * A ring of pointers, which doubles while one frame waits for long and others
 * pass it.  It does not shrink: it is the link's, and links end. */
#include "cluster/unanswered.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
    ROOM_MIN = 256
};

void unanswered_fini(struct unanswered *u)
{
    mem_free(u->slot);
    *u = (struct unanswered){0};
}

bool unanswered_has_room(const struct unanswered *u)
{
    return u->next - u->first < UNANSWERED_SPAN;
}

static void grow(struct unanswered *u)
{
    uint32_t room = u->room > 0 ? u->room * 2 : ROOM_MIN;
    void **slot = mem_zalloc(room * sizeof(*slot));
    uint64_t n;

    for (n = u->first; n < u->next; n++)
        slot[n & (room - 1)] = u->slot[n & (u->room - 1)];
    mem_free(u->slot);
    u->slot = slot;
    u->room = room;
}

uint64_t unanswered_add(struct unanswered *u, void *frame)
{
    sd_assert(frame != NULL && unanswered_has_room(u));
    if (u->next - u->first == u->room)
        grow(u);
    u->slot[u->next & (u->room - 1)] = frame;
    u->count++;
    return ++u->next;
}

static void skip_answered(struct unanswered *u)
{
    while (u->first < u->next && u->slot[u->first & (u->room - 1)] == NULL)
        u->first++;
}

void *unanswered_take(struct unanswered *u, uint64_t number)
{
    void **at, *frame;

    if (number <= u->first || number > u->next)
        return NULL;
    at = &u->slot[(number - 1) & (u->room - 1)];
    frame = *at;
    if (frame == NULL)
        return NULL;
    *at = NULL;
    u->count--;
    if (number - 1 == u->first)
        skip_answered(u);
    return frame;
}

void *unanswered_oldest(struct unanswered *u)
{
    return u->count > 0 ? unanswered_take(u, u->first + 1) : NULL;
}
