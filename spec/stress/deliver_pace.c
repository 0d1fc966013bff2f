/* deliver_pace.c - what a message costs in each part of its way.
 *
 *   deliver_pace [messages] [bytes of the body] [uids]
 *
 * One sender, one relay, one receiver, without sockets and crypto: frames are
 * copied from one to the next, turn by turn, as links would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/buf.h"
#include "cluster/hub.h"
#include "cluster/inbox.h"
#include "cluster/outbox.h"

enum {
    TURN = 128, /* messages */
    RELAYS = 4
};

struct way { /* frames: type, length, payload */
    struct buf bytes;
};

static struct way to_relay, to_receiver, from_receiver, from_relay, nowhere;
static uint64_t settled, delivered;

static void put(struct way *w, unsigned type, const struct slice *v, unsigned n)
{
    uint32_t head[2] = {type, 0};
    unsigned i;

    for (i = 0; i < n; i++)
        head[1] += (uint32_t)v[i].len;
    buf_append(&w->bytes, head, sizeof(head));
    for (i = 0; i < n; i++)
        buf_append(&w->bytes, v[i].p, v[i].len);
}

static bool next(struct slice *rest, unsigned *type, struct slice *payload)
{
    uint32_t head[2];

    if (rest->len == 0)
        return false;
    memcpy(head, rest->p, sizeof(head));
    *type = head[0];
    *payload = slice_make(rest->p + sizeof(head), head[1]);
    *rest = slice_skip(*rest, sizeof(head) + head[1]);
    return true;
}

static void emit(void *arg, void *owner, unsigned type, const struct slice *v,
                 unsigned n)
{
    (void)arg;
    put(owner, type, v, n);
}

static void resolve(void *arg, const struct slice *uid)
{
    (void)arg;
    (void)uid;
    sd_assert(!"a uid that is not known");
}

static void on_settled(void *arg, uint64_t token, int outcome)
{
    (void)arg;
    (void)token;
    sd_assert(outcome == 0);
    settled++;
}

static bool has(void *arg, const struct slice *uid)
{
    (void)arg;
    (void)uid;
    return true;
}

static int deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    (void)arg;
    (void)d;
    (void)token;
    delivered++;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct outbox *o;
static struct hub *h;
static struct inbox *in;
static struct outbox_link *out_link[RELAYS];
static struct inbox_link *in_link;
static struct hub_link *sender, *receiver;
static struct place here = {1, 1, 0}, there = {2, 1, 0};

static void open_all(void)
{
    struct hash_key key = {1, 2};
    struct outbox_calls out_calls = {NULL, emit, resolve, on_settled, NULL};
    struct inbox_calls in_calls = {NULL, emit, has, deliver};
    struct hub_calls hub_calls = {NULL, emit};
    struct slice rest, payload;
    unsigned type, i;

    o = outbox_new(&out_calls, &(struct outbox_limits){0}, &key, here.boot);
    h = hub_new(&hub_calls, &(struct hub_limits){0}, &key);
    in = inbox_new(&in_calls, &(struct inbox_limits){0});
    receiver = hub_open(h, &to_receiver, &there);
    sender = hub_open(h, &from_relay, &here);
    in_link = inbox_open(in, &from_receiver);
    rest = buf_slice(&from_relay.bytes);
    sd_assert(next(&rest, &type, &payload) && type == FRAMES_COVER);
    for (i = 0; i < RELAYS; i++) { /* all frames go to the one relay */
        out_link[i] = outbox_open(o, i == 0 ? &to_relay : &nowhere, i + 1, 1);
        sd_assert(outbox_take(o, out_link[i], type, payload, 1) == 0);
    }
    for (i = 1; i < RELAYS; i++)
        outbox_close(o, out_link[i], 1);
    buf_truncate(&from_relay.bytes, 0);
    buf_truncate(&to_receiver.bytes, 0);
}

static void close_all(void)
{
    struct way *const ways[] = {&to_relay, &to_receiver, &from_receiver,
                                &from_relay, &nowhere};
    unsigned i;

    outbox_free(&o);
    hub_free(&h);
    inbox_free(&in);
    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        buf_fini(&ways[i]->bytes);
}

static struct slice uid_of(char *text, unsigned i)
{
    return slice_make(text, (size_t)snprintf(text, 32, "user-%08u", i));
}

static void locate(unsigned uids)
{
    struct frames_locate l = {true, true, 1, {NULL, 0}};
    char uid[32], payload[FRAMES_CONTROL_MAX];
    unsigned i;

    for (i = 0; i < uids; i++) {
        l.uid = uid_of(uid, i);
        sd_assert(
            hub_take(h, receiver, FRAMES_LOCATE,
                     slice_make(payload, frames_write_locate(payload, &l)),
                     0) == 0);
    }
}

enum part {
    SEND,
    RELAY,
    RECEIVE,
    RELAY_ACK,
    SETTLE,
    PARTS
};

static void pass(struct way *w, int (*take)(unsigned type, struct slice p))
{
    struct slice rest = buf_slice(&w->bytes), payload;
    unsigned type;

    while (next(&rest, &type, &payload))
        sd_assert(take(type, payload) == 0);
    buf_truncate(&w->bytes, 0);
}

static int relay(unsigned type, struct slice p)
{
    return hub_take(h, sender, type, p, 0);
}

static int receive(unsigned type, struct slice p)
{
    return inbox_take(in, in_link, type, p, 0, 2);
}

static int relay_ack(unsigned type, struct slice p)
{
    return hub_take(h, receiver, type, p, 0);
}

static int settle(unsigned type, struct slice p)
{
    return outbox_take(o, out_link[0], type, p, 2);
}

static void send_turn(uint64_t *counter, const struct slice *body,
                      const char *names, unsigned uids)
{
    unsigned i;

    for (i = 0; i < TURN; i++) {
        struct wire_head head = {.boot = here.boot,
                                 .epoch = here.epoch,
                                 .slot = here.slot,
                                 .counter = ++*counter,
                                 .life_ms = 5000};
        struct outbox_to to = {.type = FRAMES_UID};
        struct outbox_mail mail = {&head, body, 1, i};

        to.name = slice_make(
            names + 32 * (*counter * UINT64_C(2654435761) % uids), 13);
        sd_assert(outbox_send(o, &to, &mail, 2) == 0);
    }
}

int main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 64;
    unsigned uids = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 10000;
    static const char *const names[PARTS] = {"send", "relay", "receive",
                                             "relay the answer", "settle"};
    uint64_t spent[PARTS] = {0}, counter = 0, at[PARTS + 1];
    char *text = calloc(1, bytes + 1);
    struct slice body = {text, bytes};
    char *name = calloc(uids, 32);
    unsigned i;

    open_all();
    locate(uids);
    for (i = 0; i < uids; i++)
        (void)uid_of(name + (size_t)i * 32, i);
    while (counter < messages) {
        at[0] = now_ns();
        send_turn(&counter, &body, name, uids);
        at[1] = now_ns();
        pass(&to_relay, relay);
        at[2] = now_ns();
        pass(&to_receiver, receive);
        inbox_turn(in);
        at[3] = now_ns();
        pass(&from_receiver, relay_ack);
        hub_turn(h);
        at[4] = now_ns();
        pass(&from_relay, settle);
        at[5] = now_ns();
        for (i = 0; i < PARTS; i++)
            spent[i] += at[i + 1] - at[i];
    }
    sd_assert(settled == counter && delivered == counter);
    for (i = 0; i < PARTS; i++)
        printf("%s %.0f ns\n", names[i], (double)spent[i] / (double)counter);
    close_all();
    free(text);
    free(name);
    return 0;
}
