/* hub.c - any frames from any links into a hub that lives.
 *
 * Commands: link 1, what 1, then a payload with its length before it.  Some
 * build frames that are right, so that others meet a hub with state. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/err.h"
#include "cluster/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    LINKS = 5
};

static struct hub *h;
static struct hub_link *links[LINKS];
static uint64_t counter;

static void emit(void *arg, void *owner, unsigned type, const struct slice *v,
                 unsigned n)
{
    size_t len = 0;

    (void)arg;
    while (n > 0)
        len += v[--n].len;
    sd_assert((uintptr_t)owner <= LINKS && type > 0 && type < FRAMES_END);
    sd_assert(len <= FRAMES_HEAD_MAX + WIRE_HEAD + WIRE_BODY_MAX);
}

static struct place place_of(unsigned i)
{
    return (struct place){1 + i / 2, 1, (uint8_t)i};
}

static void reopen(unsigned i)
{
    struct place p = place_of(i % (LINKS - 1)); /* one is there twice */

    if (links[i] != NULL)
        hub_close(h, links[i]);
    links[i] = hub_open(h, (void *)(uintptr_t)i, &p);
}

static void take(unsigned i, unsigned type, struct slice p)
{
    int rc = hub_take(h, links[i], type, p, (uint32_t)p.len % 3 * 7);

    sd_assert(rc == 0 || rc == SD_EPROTO);
    if (rc < 0)
        reopen(i);
}

/* What is read is written the same. */
static void check_data(unsigned type, struct slice p)
{
    char head[FRAMES_HEAD_MAX], mail[WIRE_HEAD];
    struct slice uid = frames_peek_uid(p);
    struct frames_data d;
    size_t n;

    sd_assert(uid.len == 0 || (uid.p >= p.p && uid.p + uid.len <= p.p + p.len));
    if (frames_read_data(&d, type, p) < 0)
        return;
    sd_assert(type != FRAMES_UID || slice_eq(uid, d.name));
    n = frames_write_head(head, &d);
    sd_assert(slice_eq(slice_make(head, n), slice_make(p.p, n)));
    sd_assert(p.p + n == d.mail.p && n + d.mail.len == p.len);
    wire_encode(mail, &d.head);
    sd_assert(memcmp(mail, d.mail.p, WIRE_HEAD) == 0);
}

static void send(unsigned i, uint8_t what, struct slice p)
{
    struct place from = place_of(i % (LINKS - 1));
    struct frames_data d = {.type = 1 + what % 3,
                            .place = place_of(what % LINKS),
                            .kind = FRAMES_TOPIC,
                            .losses = p.len > 0 ? (uint8_t)p.p[0] : 1,
                            .name = {"u1", 1 + what % 2}};
    struct frames_spot at = {place_of(what / 8 % LINKS), what};
    struct wire_head head = {.boot = from.boot,
                             .epoch = from.epoch,
                             .slot = from.slot,
                             .counter = ++counter,
                             .life_ms = what % 16};
    char bytes[FRAMES_HEAD_MAX + WIRE_HEAD], spot[FRAMES_SPOT_SIZE];
    size_t n;

    if (what % 4 == 0)
        d.spots = slice_make(spot, frames_write_spot(spot, &at));
    d.order.flags = what % (FRAMES_FLAGS + 1);
    n = frames_write_head(bytes, &d);
    wire_encode(bytes + n, &head);
    take(i, d.type, slice_make(bytes, n + WIRE_HEAD));
}

static void answer(unsigned i, uint8_t what)
{
    struct frames_nack nack = {what / 16, what % FRAMES_RETRY_END, 0};
    struct frames_range ack = {what / 16, 1 + what % 3};
    char bytes[FRAMES_ACK_SIZE];

    if (what % 2 == 0)
        take(i, FRAMES_ACK, slice_make(bytes, frames_write_ack(bytes, &ack)));
    else
        take(i, FRAMES_NACK,
             slice_make(bytes, frames_write_nack(bytes, &nack)));
}

static void act(unsigned i, uint8_t what, struct slice p)
{
    uint8_t byte = p.len > 0 ? (uint8_t)p.p[0] : 0;

    if (what < 200) {
        check_data(what % 32, p);
        take(i, what % 32, p);
    } else if (what < 220) {
        send(i, byte, p);
    } else if (what < 240) {
        answer(i, byte);
    } else if (what < 250) {
        hub_turn(h);
    } else {
        reopen(i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hub_calls calls = {NULL, emit};
    struct hub_limits most = {
        .window_count = 4, .window_bytes = 4096, .uids = 3, .filters = 4};
    struct hash_key key = {1, 2};
    unsigned i;

    h = hub_new(&calls, &most, &key);
    for (i = 0; i < LINKS; i++)
        reopen(i);
    while (size >= 3) {
        size_t n = data[2] < size - 3 ? data[2] : size - 3;

        act(data[0] % LINKS, data[1], slice_make(data + 3, n));
        data += 3 + n;
        size -= 3 + n;
    }
    for (i = 0; i < LINKS; i++) {
        hub_close(h, links[i]);
        links[i] = NULL;
    }
    sd_assert(hub_figures(h)->transits == 0 && hub_figures(h)->links == 0);
    hub_free(&h);
    return 0;
}
