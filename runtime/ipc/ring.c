/* ring.c - see ring.h.
 *
 * Two words are shared, each in a cache line of its own and each stored by one
 * end only: `head` by the reader, `tail` by the writer.  A word is a session
 * (upper half) and a counter of bytes that only grows (lower half); a place in
 * the data is the counter mod cap.  As a counter never travels without its
 * session, a word that an older process left behind cannot be mistaken for one
 * of ours, and no store of one end can be undone by the other.
 *
 * A message is committed by the store of `tail`, the last of all: a writer
 * killed before it leaves nothing visible.  Records are contiguous; where the
 * rest of the data is too short, a PAD record fills it and is committed
 * together with the message behind it.  One release/acquire pair per message
 * is enough, and each end remembers the other's counter until it must look
 * again, so a busy ring costs well under one cache miss per message.
 *
 * Sessions.  Data may be overwritten only when nobody reads it any more, so
 * the end that lived longer decides when a new session begins:
 *
 * - The reader died.  The writer takes back what lies between the dead
 *   reader's head and its own tail, then stores tail = (new, 0).  The new
 *   reader waits for that word before it stores head = (new, 0).
 * - The writer died.  The living reader reads what was committed, then stores
 *   head = (new, 0).  The new writer writes nothing before it sees that.
 * - Both died.  The tail is of no living writer, so the reader waits for
 *   nobody, and the writer waits for the reader as before.
 *
 * So in every case both words name the new session before the first byte is
 * written, and neither end ever waits inside a call.
 *
 * Room for answers.  Messages that are no answers leave `keep` bytes free.
 * Whoever makes calls bounds the answers it has not read yet to what fits into
 * `keep`; then an answer always fits, without any counter shared between the
 * two ends (see mesh_peer.h for that sum).
 *
 * A ring found empty starts over at the front of its data once it is past a
 * quarter of it and twice the kept size: so a ring that is never full touches,
 * and keeps in cache, only its first pages.  Until the reader is past it too,
 * the rest of the data is the pad's; what was left behind has room for more
 * than an answer's share even so.
 *
 * Nothing read from shared memory is trusted: a record's type and length are
 * loaded once, as one word, and checked against what the counters allow before
 * the data is looked at. */
#include "ipc/ring.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"

#define RING_MAGIC 0x52494e47u
#define PAD        UINT32_MAX
#define PAGE       4096u
#define LOOKS      100 /* at a reader that is just popping */

struct ring_ctl {
    alignas(64) _Atomic uint64_t head;
    _Atomic uint64_t popped; /* messages, by the reader of that session */
    alignas(64) _Atomic uint64_t tail;
};

_Static_assert(sizeof(struct ring_ctl) == RING_CTL_SIZE, "control block");

static uint64_t word(uint32_t session, uint32_t pos)
{
    return (uint64_t)session << 32 | pos;
}

static uint32_t session_of(uint64_t w)
{
    return (uint32_t)(w >> 32);
}

static uint32_t writer_of(uint32_t session)
{
    return session >> 16;
}

static uint32_t align8(uint32_t n)
{
    return (n + 7u) & ~7u;
}

static uint32_t offset(const struct ring *r, uint32_t pos)
{
    return pos & (r->cap - 1);
}

static uint64_t *rec_at(const struct ring *r, uint32_t pos)
{
    return (uint64_t *)(void *)(r->data + offset(r, pos));
}

void ring_open(struct ring *r, void *ctl, void *data, uint32_t cap,
               uint32_t keep)
{
    sd_assert(cap >= 64 && (cap & (cap - 1)) == 0 && cap <= 1u << 30);
    sd_assert(keep <= cap / 2 && (keep & 7) == 0);
    memset(r, 0, sizeof(*r));
    r->magic = RING_MAGIC;
    r->ctl = ctl;
    r->data = data;
    r->cap = cap;
    r->keep = keep;
}

uint32_t ring_session(uint16_t writer_epoch, uint16_t reader_epoch)
{
    return (uint32_t)writer_epoch << 16 | reader_epoch;
}

/* Twice this fits beside `keep`, so that the message fits into an empty ring
 * also when the counter stands where a pad of almost its size is needed. */
uint32_t ring_max(uint32_t cap, uint32_t keep)
{
    return (((cap - keep) / 2) & ~7u) - RING_REC_HEAD;
}

/* The message at or after `pos` of those before `tail`; *next is the counter
 * behind it.  1, 0 when there is none, SD_EPROTO when the bytes make no sense.
 */
static int scan(const struct ring *r, uint32_t pos, uint32_t tail,
                struct ring_msg *m, uint32_t *next)
{
    uint32_t left = tail - pos, to_end, size, len, type;
    uint64_t head;

    if (left == 0)
        return 0;
    if (left > r->cap || (left & 7) != 0 || (pos & 7) != 0)
        return SD_EPROTO;

    head = __atomic_load_n(rec_at(r, pos), __ATOMIC_RELAXED);
    to_end = r->cap - offset(r, pos);
    if ((uint32_t)head == PAD) {
        if (to_end >= left)
            return SD_EPROTO;
        pos += to_end;
        left -= to_end;
        to_end = r->cap;
        head = __atomic_load_n(rec_at(r, pos), __ATOMIC_RELAXED);
    }

    type = (uint32_t)head;
    len = (uint32_t)(head >> 32);
    if (type == PAD || len > r->cap - RING_REC_HEAD)
        return SD_EPROTO;
    size = RING_REC_HEAD + align8(len);
    if (size > left || size > to_end)
        return SD_EPROTO;
    *m =
        (struct ring_msg){.type = type, .len = len, .data = rec_at(r, pos) + 1};
    *next = pos + size;
    return 1;
}

static int walk(const struct ring *r, uint32_t pos, uint32_t tail, ring_fn fn,
                void *arg)
{
    struct ring_msg m;
    int err;

    while (scan(r, pos, tail, &m, &pos) == 1) {
        err = fn(arg, &m);
        if (err != 0)
            return err;
    }
    return 0;
}

/* --- the writer ----------------------------------------------------------- */

/* Give back what the reader of session `old` has not popped.  A reader that
 * never entered left its head in another session; then nothing was written. */
static void take_back(struct ring *r, uint64_t tail, ring_fn fn, void *arg)
{
    uint64_t head = atomic_load_explicit(&r->ctl->head, memory_order_acquire);

    if (fn != NULL && session_of(head) == session_of(tail))
        walk(r, (uint32_t)head, (uint32_t)tail, fn, arg);
}

int ring_write_enter(struct ring *r, uint32_t session, ring_fn fn, void *arg)
{
    uint64_t head, tail;

    sd_check(r, RING_MAGIC);
    if (r->session == session)
        return 0;
    r->session = 0;
    r->room = 0;
    tail = atomic_load_explicit(&r->ctl->tail, memory_order_relaxed);
    if (session_of(tail) != session &&
        writer_of(session_of(tail)) == writer_of(session)) {
        take_back(r, tail, fn, arg);
        tail = word(session, 0);
        atomic_store_explicit(&r->ctl->tail, tail, memory_order_release);
    }

    head = atomic_load_explicit(&r->ctl->head, memory_order_acquire);
    if (session_of(head) != session)
        return SD_EBUSY;
    if (session_of(tail) != session) {
        tail = word(session, 0);
        atomic_store_explicit(&r->ctl->tail, tail, memory_order_release);
    }
    r->session = session;
    r->tail = (uint32_t)tail;
    r->head = (uint32_t)head;
    r->committed = 0;
    return 0;
}

static int count_one(void *arg, const struct ring_msg *m)
{
    uint64_t *n = arg;

    (void)m;
    (*n)++;
    return 0;
}

void ring_count(const struct ring *r, struct ring_count *out)
{
    uint64_t head;
    unsigned looks = 0;

    sd_check(r, RING_MAGIC);
    *out = (struct ring_count){0};
    if (r->session == 0)
        return;
    do {
        head = atomic_load_explicit(&r->ctl->head, memory_order_acquire);
        *out = (struct ring_count){
            .committed = r->committed,
            .popped =
                atomic_load_explicit(&r->ctl->popped, memory_order_acquire),
        };
        if (session_of(head) == r->session)
            walk(r, (uint32_t)head, r->tail, count_one, &out->waiting);
    } while (out->committed != out->popped + out->waiting && ++looks < LOOKS);
}

/* Look where the reader is.  False when it is in another session by now, or
 * its word cannot be true. */
static bool see_head(struct ring *r)
{
    uint64_t head = atomic_load_explicit(&r->ctl->head, memory_order_acquire);

    if (session_of(head) != r->session || r->tail - (uint32_t)head > r->cap ||
        (head & 7) != 0)
        return false;
    r->head = (uint32_t)head;
    return true;
}

/* Bytes to skip before a record of `size`: the end of the data when it is too
 * short, or, once per page, when the ring is empty and may start over. */
static uint32_t pad_for(struct ring *r, uint32_t size)
{
    uint32_t off = offset(r, r->tail), to_end = r->cap - off;

    if (to_end < size)
        return to_end;
    if (off >= 2 * r->keep + size && off >= r->cap / 4 && off % PAGE < size &&
        see_head(r) && r->head == r->tail)
        return to_end;
    return 0;
}

int ring_reserve(struct ring *r, void **out, uint32_t len, bool answer)
{
    uint32_t limit, size, pad;

    sd_check(r, RING_MAGIC);
    if (r->session == 0)
        return SD_EGONE;
    if (len > ring_max(r->cap, r->keep))
        return SD_ETOOLARGE;

    size = RING_REC_HEAD + align8(len);
    pad = pad_for(r, size);
    limit = r->cap - r->keep;
    if (r->tail - r->head + pad + size > limit) {
        if (!see_head(r))
            return SD_EGONE;
        if (answer)
            limit = r->cap;
        if (r->tail - r->head + pad + size > limit)
            return SD_EFULL;
    }

    if (pad > 0)
        *rec_at(r, r->tail) = PAD;
    r->next = r->tail + pad;
    r->room = size;
    *out = rec_at(r, r->next) + 1;
    return 0;
}

void ring_commit(struct ring *r, uint32_t type, uint32_t len)
{
    uint32_t size = RING_REC_HEAD + align8(len);

    sd_check(r, RING_MAGIC);
    sd_assert(type != PAD && size <= r->room);
    *rec_at(r, r->next) = (uint64_t)len << 32 | type;
    r->tail = r->next + size;
    r->room = 0;
    r->committed++;
    atomic_store_explicit(&r->ctl->tail, word(r->session, r->tail),
                          memory_order_release);
}

bool ring_has_much(struct ring *r, uint32_t bytes)
{
    sd_check(r, RING_MAGIC);
    return r->tail - r->head >= bytes && see_head(r) &&
           r->tail - r->head >= bytes;
}

int ring_push(struct ring *r, uint32_t type, const void *data, uint32_t len)
{
    void *room;
    int err = ring_reserve(r, &room, len, false);

    if (err != 0)
        return err;
    if (len > 0)
        memcpy(room, data, len);
    ring_commit(r, type, len);
    return 0;
}

/* --- the reader ----------------------------------------------------------- */

int ring_read_enter(struct ring *r, uint32_t session)
{
    uint64_t head, tail;

    sd_check(r, RING_MAGIC);
    if (r->session == session)
        return 0;
    tail = atomic_load_explicit(&r->ctl->tail, memory_order_acquire);
    if (session_of(tail) != session &&
        writer_of(session_of(tail)) == writer_of(session))
        return SD_EBUSY;

    head = atomic_load_explicit(&r->ctl->head, memory_order_relaxed);
    if (session_of(head) != session) {
        head = word(session, 0);
        atomic_store_explicit(&r->ctl->popped, 0, memory_order_relaxed);
        atomic_store_explicit(&r->ctl->head, head, memory_order_release);
    }
    r->session = session;
    r->head = r->tail = r->next = (uint32_t)head;
    return 0;
}

static void see_tail(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->ctl->tail, memory_order_acquire);

    if (session_of(tail) == r->session)
        r->tail = (uint32_t)tail;
}

int ring_peek(struct ring *r, struct ring_msg *m)
{
    sd_check(r, RING_MAGIC);
    if (r->head == r->tail) {
        if (r->session == 0)
            return 0;
        see_tail(r);
    }
    return scan(r, r->head, r->tail, m, &r->next);
}

static void store_head(struct ring *r, uint32_t head)
{
    r->head = r->next = head;
    atomic_store_explicit(&r->ctl->head, word(r->session, head),
                          memory_order_release);
}

void ring_pop(struct ring *r)
{
    sd_check(r, RING_MAGIC);
    sd_assert(r->next != r->head);
    atomic_store_explicit(
        &r->ctl->popped,
        atomic_load_explicit(&r->ctl->popped, memory_order_relaxed) + 1,
        memory_order_relaxed);
    store_head(r, r->next);
}

int ring_walk(struct ring *r, ring_fn fn, void *arg)
{
    sd_check(r, RING_MAGIC);
    if (r->session == 0)
        return 0;
    see_tail(r);
    return walk(r, r->head, r->tail, fn, arg);
}

uint32_t ring_read_mark(struct ring *r)
{
    sd_check(r, RING_MAGIC);
    see_tail(r);
    return r->tail;
}

bool ring_has_read(const struct ring *r, uint32_t mark)
{
    sd_check(r, RING_MAGIC);
    return (int32_t)(mark - r->head) <= 0;
}

void ring_drop(struct ring *r)
{
    sd_check(r, RING_MAGIC);
    if (r->session == 0)
        return;
    see_tail(r);
    store_head(r, r->tail);
}
