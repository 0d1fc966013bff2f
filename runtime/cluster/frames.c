/* frames.c - see frames.h.
 *
 * Numbers are little-endian.  Payloads:
 *
 *      PLACE     order, place, mail
 *      UID       order, length of uid 1, uid, spots 1, each a spot, mail
 *      PUBLISH   order, kind 1, losses 4, length of name 2, name, mail
 *      ACK       first 8, count 4; again and again
 *      NACK      number 8, reason 1, flags 1; again and again
 *      LOCATE    here 1, sole 1, bind 8, uid
 *      INTEREST  op 1, kind 1, name
 *      COVER     op 1, losses 4, each a place
 *
 *      order     flags 1, term 4, back to base 4, back to previous 4
 *      place     boot 8, epoch 2, slot 1
 *      spot      place, bind 8
 *
 * A reader never goes behind its end: what is missing makes it bad. */
#include "cluster/frames.h"

#include <endian.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"

enum {
    ORDER = 13 /* bytes */
};

struct reader {
    const char *p, *end;
    bool is_bad;
};

/* Inline, so that it is one load where `bytes` is constant: a relay reads a
 * dozen numbers of each message. */
static inline __attribute__((always_inline)) uint64_t get(struct reader *r,
                                                          unsigned bytes)
{
    uint64_t x = 0;

    if ((size_t)(r->end - r->p) < bytes) {
        r->is_bad = true;
        return 0;
    }
    memcpy(&x, r->p, bytes);
    r->p += bytes;
    return le64toh(x);
}

static struct slice get_bytes(struct reader *r, size_t n)
{
    struct slice s = {r->p, n};

    if ((size_t)(r->end - r->p) < n) {
        r->is_bad = true;
        return slice_make(r->p, 0);
    }
    r->p += n;
    return s;
}

static struct slice get_rest(struct reader *r)
{
    return get_bytes(r, (size_t)(r->end - r->p));
}

static struct place get_place(struct reader *r)
{
    struct place p;

    p.boot = get(r, 8);
    p.epoch = (uint16_t)get(r, 2);
    p.slot = (uint8_t)get(r, 1);
    return p;
}

static void need(struct reader *r, bool is_right)
{
    if (!is_right)
        r->is_bad = true;
}

static struct reader reader_of(struct slice s)
{
    return (struct reader){s.p, s.p + s.len, false};
}

static int result(const struct reader *r)
{
    return r->is_bad ? SD_EPROTO : 0;
}

static inline __attribute__((always_inline)) char *put(char *p, uint64_t x,
                                                       size_t bytes)
{
    x = htole64(x);
    memcpy(p, &x, bytes);
    return p + bytes;
}

static char *put_bytes(char *p, struct slice s)
{
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    return p + s.len;
}

/* --- data ----------------------------------------------------------------- */

static void read_mail(struct reader *r, struct frames_data *d)
{
    int n;

    d->mail = get_rest(r);
    n = wire_read(&d->head, &d->body, d->mail);
    need(r, n >= 0 && (size_t)n == d->mail.len);
    if (!r->is_bad)
        need(r, (d->head.flags & WIRE_FD) == 0);
    if (!r->is_bad)
        need(r, d->order.prev_back <= d->head.counter &&
                    d->order.base_back <= d->head.counter);
}

static void read_uid(struct reader *r, struct frames_data *d)
{
    size_t n;

    d->name = get_bytes(r, get(r, 1));
    need(r, d->name.len > 0 && d->name.len <= FRAMES_UID_LENGTH);
    n = get(r, 1);
    need(r, n <= FRAMES_PLACES);
    d->spots = get_bytes(r, n * FRAMES_SPOT_SIZE);
}

struct slice frames_peek_uid(struct slice p)
{
    struct reader r = reader_of(slice_skip(p, p.len < ORDER ? p.len : ORDER));

    return get_bytes(&r, get(&r, 1));
}

static void read_publish(struct reader *r, struct frames_data *d)
{
    uint8_t kind = (uint8_t)get(r, 1);

    need(r, kind >= FRAMES_TOPIC && kind <= FRAMES_EVENT);
    d->kind = kind;
    d->losses = (uint32_t)get(r, 4);
    d->name = get_bytes(r, get(r, 2));
    need(r, d->name.len <= FRAMES_NAME_LENGTH);
    need(r, (d->name.len == 0) == (kind == FRAMES_ALL));
}

int frames_read_data(struct frames_data *out, unsigned type, struct slice p)
{
    struct reader r = reader_of(p);

    /* To clear all of it would cost as much as the rest. */
    out->type = type;
    out->kind = 0;
    out->losses = 0;
    out->place = (struct place){0};
    out->name = slice_make(NULL, 0);
    out->spots = slice_make(NULL, 0); /* a copy would wait for its stores */
    out->order.flags = (uint8_t)get(&r, 1);
    need(&r, (out->order.flags & ~FRAMES_FLAGS) == 0);
    out->order.term = (uint32_t)get(&r, 4);
    out->order.base_back = (uint32_t)get(&r, 4);
    out->order.prev_back = (uint32_t)get(&r, 4);
    if (type == FRAMES_PLACE)
        out->place = get_place(&r);
    else if (type == FRAMES_UID)
        read_uid(&r, out);
    else if (type == FRAMES_PUBLISH)
        read_publish(&r, out);
    else
        return SD_EPROTO;
    if (!r.is_bad)
        read_mail(&r, out);
    return result(&r);
}

size_t frames_write_head(char *out, const struct frames_data *d)
{
    char *p = out;

    p = put(p, d->order.flags, 1);
    p = put(p, d->order.term, 4);
    p = put(p, d->order.base_back, 4);
    p = put(p, d->order.prev_back, 4);
    if (d->type == FRAMES_PLACE) {
        p += frames_write_place(p, &d->place);
    } else if (d->type == FRAMES_UID) {
        sd_assert(d->name.len > 0 && d->name.len <= FRAMES_UID_LENGTH);
        sd_assert(d->spots.len / FRAMES_SPOT_SIZE <= FRAMES_PLACES);
        p = put(p, d->name.len, 1);
        p = put_bytes(p, d->name);
        p = put(p, d->spots.len / FRAMES_SPOT_SIZE, 1);
        p = put_bytes(p, d->spots);
    } else {
        sd_assert(d->type == FRAMES_PUBLISH);
        sd_assert(d->name.len <= FRAMES_NAME_LENGTH);
        p = put(p, d->kind, 1);
        p = put(p, d->losses, 4);
        p = put(p, d->name.len, 2);
        p = put_bytes(p, d->name);
    }
    return (size_t)(p - out);
}

/* --- places --------------------------------------------------------------- */

bool frames_next_place(struct place *out, struct slice *rest)
{
    struct reader r = reader_of(*rest);

    *out = get_place(&r);
    *rest = get_rest(&r);
    return !r.is_bad;
}

bool frames_next_spot(struct frames_spot *out, struct slice *rest)
{
    struct reader r = reader_of(*rest);

    out->place = get_place(&r);
    out->bind = get(&r, 8);
    *rest = get_rest(&r);
    return !r.is_bad;
}

size_t frames_write_place(char *out, const struct place *p)
{
    put(put(put(out, p->boot, 8), p->epoch, 2), p->slot, 1);
    return FRAMES_PLACE_SIZE;
}

size_t frames_write_spot(char *out, const struct frames_spot *s)
{
    put(out + frames_write_place(out, &s->place), s->bind, 8);
    return FRAMES_SPOT_SIZE;
}

/* --- answers -------------------------------------------------------------- */

int frames_next_ack(struct frames_range *out, struct slice *rest)
{
    struct reader r = reader_of(*rest);

    if (rest->len == 0)
        return 0;
    out->first = get(&r, 8);
    out->count = (uint32_t)get(&r, 4);
    need(&r, out->first > 0 && out->count > 0 &&
                 out->first <= UINT64_MAX - out->count);
    *rest = get_rest(&r);
    return r.is_bad ? SD_EPROTO : 1;
}

int frames_next_nack(struct frames_nack *out, struct slice *rest)
{
    struct reader r = reader_of(*rest);
    uint8_t reason;

    if (rest->len == 0)
        return 0;
    out->number = get(&r, 8);
    reason = (uint8_t)get(&r, 1);
    out->flags = (uint8_t)get(&r, 1);
    need(&r, out->number > 0 && (out->flags & ~FRAMES_NACK_FLAGS) == 0);
    need(&r, (reason > 0 && reason < FRAMES_RETRY_END) ||
                 (reason >= FRAMES_FORGOTTEN && reason < FRAMES_REASON_END));
    out->reason = reason;
    *rest = get_rest(&r);
    return r.is_bad ? SD_EPROTO : 1;
}

size_t frames_write_ack(char *out, const struct frames_range *r)
{
    put(put(out, r->first, 8), r->count, 4);
    return FRAMES_ACK_SIZE;
}

size_t frames_write_nack(char *out, const struct frames_nack *n)
{
    put(put(put(out, n->number, 8), n->reason, 1), n->flags, 1);
    return FRAMES_NACK_SIZE;
}

static const struct {
    enum frames_reason reason;
    int err;
} errors[] = {
    {FRAMES_NOT_HERE, SD_EOFFLINE},   {FRAMES_FORGOTTEN, SD_ECLOSED},
    {FRAMES_EXPIRED, SD_ETIMEOUT},    {FRAMES_REFUSED, SD_EREFUSED},
    {FRAMES_TOO_LARGE, SD_ETOOLARGE}, {FRAMES_GONE, SD_EGONE},
    {FRAMES_SLOW, SD_ESLOW},          {FRAMES_BUSY, SD_EBUSY},
};

int frames_error(enum frames_reason reason)
{
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].reason == reason)
            return errors[i].err;
    }
    return SD_EFAILED;
}

enum frames_reason frames_reason_of(int err)
{
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].err == err)
            return errors[i].reason;
    }
    return FRAMES_FAILED;
}

/* --- control -------------------------------------------------------------- */

int frames_read_locate(struct frames_locate *out, struct slice p)
{
    struct reader r = reader_of(p);
    uint64_t here = get(&r, 1), sole = get(&r, 1);

    need(&r, here <= 1 && sole <= 1);
    out->is_here = here == 1;
    out->is_sole = sole == 1;
    out->bind = get(&r, 8);
    out->uid = get_rest(&r);
    need(&r, out->uid.len > 0 && out->uid.len <= FRAMES_UID_LENGTH);
    return result(&r);
}

size_t frames_write_locate(char *out, const struct frames_locate *l)
{
    char *p = out;

    sd_assert(l->uid.len > 0 && l->uid.len <= FRAMES_UID_LENGTH);
    p = put(p, l->is_here, 1);
    p = put(p, l->is_sole, 1);
    p = put(p, l->bind, 8);
    return (size_t)(put_bytes(p, l->uid) - out);
}

int frames_read_interest(struct frames_interest *out, struct slice p)
{
    struct reader r = reader_of(p);
    uint8_t op = (uint8_t)get(&r, 1), kind = (uint8_t)get(&r, 1);

    out->name = get_rest(&r);
    if (op == FRAMES_RESET || op == FRAMES_COMPLETE) {
        need(&r, kind == 0 && out->name.len == 0);
    } else {
        need(&r, op == FRAMES_ADD || op == FRAMES_REMOVE);
        need(&r, kind == FRAMES_TOPIC || kind == FRAMES_GROUP);
        need(&r, out->name.len > 0 && out->name.len <= FRAMES_NAME_LENGTH);
    }
    out->op = op;
    out->kind = kind;
    return result(&r);
}

size_t frames_write_interest(char *out, const struct frames_interest *i)
{
    bool has_name = i->op == FRAMES_ADD || i->op == FRAMES_REMOVE;
    char *p = put(out, i->op, 1);

    p = put(p, has_name ? i->kind : 0, 1);
    return (size_t)((has_name ? put_bytes(p, i->name) : p) - out);
}

int frames_read_cover(struct frames_cover *out, struct slice p)
{
    struct reader r = reader_of(p);
    uint8_t op = (uint8_t)get(&r, 1);

    need(&r, op == FRAMES_ADD || op == FRAMES_REMOVE);
    out->op = op;
    out->losses = (uint32_t)get(&r, 4);
    out->places = get_rest(&r);
    need(&r, out->places.len % FRAMES_PLACE_SIZE == 0);
    return result(&r);
}

size_t frames_write_cover(char *out, const struct frames_cover *c)
{
    put(put(out, c->op, 1), c->losses, 4);
    return FRAMES_COVER_HEAD;
}
