/* shared.c - see shared.h.  One allocation: the struct, frame, value. */
#include "net/shared.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define SHARED_MAGIC 0x54a2ed01u

struct shared {
    unsigned magic;
    unsigned refs, leaving; /* the latter among the former */
    uint32_t frame;         /* bytes of each */
    size_t value;
    uint64_t *meter; /* NULL: counted no more */
    char bytes[];
};

enum {
    MALLOC_COST = 16
};

static uint64_t weight(const struct shared *s)
{
    return sizeof(*s) + s->frame + s->value + MALLOC_COST;
}

struct shared *shared_new(struct slice frame, struct slice value,
                          uint64_t *meter)
{
    struct shared *s = mem_alloc(sizeof(*s) + frame.len + value.len);

    sd_assert(frame.len <= UINT32_MAX);
    *s = (struct shared){.magic = SHARED_MAGIC,
                         .refs = 1,
                         .meter = meter,
                         .frame = (uint32_t)frame.len,
                         .value = value.len};
    memcpy(s->bytes, frame.p, frame.len);
    if (value.len > 0)
        memcpy(s->bytes + frame.len, value.p, value.len);
    if (meter != NULL)
        *meter += weight(s);
    return s;
}

struct shared *shared_ref(struct shared *s)
{
    sd_check(s, SHARED_MAGIC);
    s->refs++;
    return s;
}

static void settle(struct shared *s)
{
    if (s->refs == s->leaving && s->meter != NULL) {
        *s->meter -= weight(s);
        s->meter = NULL;
    }
    if (s->refs > 0)
        return;
    s->magic = 0;
    mem_free(s);
}

void shared_unref(struct shared *s)
{
    sd_check(s, SHARED_MAGIC);
    sd_assert(s->refs > s->leaving);
    s->refs--;
    settle(s);
}

void shared_leave(struct shared *s)
{
    sd_check(s, SHARED_MAGIC);
    sd_assert(s->refs > s->leaving);
    s->leaving++;
    settle(s);
}

void shared_left(struct shared *s)
{
    sd_check(s, SHARED_MAGIC);
    sd_assert(s->leaving > 0);
    s->leaving--;
    s->refs--;
    settle(s);
}

struct slice shared_frame(const struct shared *s)
{
    return slice_make(s->bytes, s->frame);
}

struct slice shared_value(const struct shared *s)
{
    return slice_make(s->bytes + s->frame, s->value);
}
