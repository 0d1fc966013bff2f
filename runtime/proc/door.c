/* door.c - see door.h.
 *
 * All requests go to the same worker, the first that is ready, so that two of
 * them, one after the other, reach a client in that order.  The worker knows
 * how to reach everybody else.
 *
 * A worker answers each request once, or dies; then the back end is told that
 * it may or may not have been done.  What it had not read has not.  A worker
 * that is stuck does neither, so each request has a deadline here as well, a
 * little behind the worker's own; an answer that comes later is dropped. */
#include "proc/door.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/url.h"
#include "codec/wire.h"
#include "ipc/msg.h"
#include "loop/timer.h"
#include "net/http.h"
#include "net/net.h"
#include "proc/process.h"

enum {
    DOOR_MAGIC = 0x646f6f72,
    CALLS_MAX = 150, /* at once; MESH_CALLS_MAX is the mesh's */
    MARGIN = 1000    /* ms behind the worker's deadline */
};

struct call {
    struct list link;
    struct timer timer;
    struct door_calls *door;
    struct http_request *request;
    uint64_t counter;
    unsigned slot;
    uint16_t epoch;
};

struct door_calls {
    unsigned magic;
    struct process *process;
    struct list calls;
    unsigned ncalls;
    uint64_t counter;
};

struct door_calls *door_new(struct process *p)
{
    struct door_calls *d = mem_zalloc(sizeof(*d));

    d->magic = DOOR_MAGIC;
    d->process = p;
    list_init(&d->calls);
    return d;
}

void door_free(struct door_calls **dp)
{
    struct door_calls *d = *dp;

    if (d == NULL)
        return;
    sd_check(d, DOOR_MAGIC);
    /* Their timers may still run: the loop is gone already. */
    while (!list_empty(&d->calls)) {
        struct call *call = list_entry(d->calls.next, struct call, link);

        list_del(&call->link);
        mem_free(call);
    }
    d->magic = 0;
    mem_free(d);
    *dp = NULL;
}

unsigned door_count(const struct door_calls *d)
{
    sd_check(d, DOOR_MAGIC);
    return d->ncalls;
}

static void fail(struct http_request *r, int err)
{
    const char *word = err_word(err);

    http_fail(r, err_status(word), slice_str(word));
}

static struct http_request *end_call(struct door_calls *d, struct call *call)
{
    struct http_request *r = call->request;

    timer_stop(d->process->loop, &call->timer);
    list_del(&call->link);
    mem_free(call);
    d->ncalls--;
    return r;
}

static void on_deadline(struct timer *t)
{
    struct call *call = list_entry(t, struct call, timer);

    sd_check(call->door, DOOR_MAGIC);
    fail(end_call(call->door, call), SD_ETIMEOUT);
}

/* --- asking --------------------------------------------------------------- */

/* "a=1&b=2" as {"a":"1","b":"2"}.  SD_EINVALID: it cannot be. */
static int query_json(struct buf *out, struct slice query)
{
    struct slice name, value;
    struct buf text = {0};
    unsigned n = 0;
    int err = 0;

    buf_append_str(out, "{");
    while (err == 0 && url_next_pair(&name, &value, &query)) {
        if (n++ > 0)
            buf_append_str(out, ",");
        buf_truncate(&text, 0);
        err = url_decode(&text, name, true);
        if (err == 0)
            err = json_write_string(out, buf_slice(&text));
        buf_append_str(out, ":");
        buf_truncate(&text, 0);
        if (err == 0)
            err = url_decode(&text, value, true);
        if (err == 0)
            err = json_write_string(out, buf_slice(&text));
    }
    buf_append_str(out, "}");
    buf_fini(&text);
    return err;
}

/* One that is ready, else one that drains. */
static int first_worker(const struct slots *slots)
{
    int found = -1;
    unsigned i;

    for (i = 0; i < slots_count(slots); i++) {
        enum slot_state state = slots_state(slots, i);

        if (slots_role(slots, i) != SLOT_WORKER)
            continue;
        if (state == SLOT_READY)
            return (int)i;
        if (state == SLOT_DRAINING && found < 0)
            found = (int)i;
    }
    return found;
}

static int send_call(struct door_calls *d, unsigned slot, struct slice verb,
                     struct slice text)
{
    const struct heritage *h = d->process->h;
    struct msg_door request = {{0}};
    struct wire_head head = {
        .boot = h->boot,
        .counter = ++d->counter,
        .life_ms = (uint32_t)d->process->conf->server.call_timeout,
        .len = (uint32_t)(sizeof(request) + text.len),
        .type = MSG_DOOR,
        .epoch = (uint16_t)h->epoch,
        .slot = (uint8_t)h->slot,
    };
    char bytes[WIRE_HEAD];
    struct slice v[3] = {{bytes, sizeof(bytes)},
                         {(const char *)&request, sizeof(request)},
                         text};

    sd_assert(verb.len < sizeof(request.verb));
    if (text.len > WIRE_BODY_MAX - sizeof(request))
        return SD_ETOOLARGE;
    memcpy(request.verb, verb.p, verb.len);
    wire_encode(bytes, &head);
    return mesh_send(d->process->mesh, slot, MSG_DOOR, MESH_CALL, v, 3);
}

static int ask(struct door_calls *d, struct slice verb, struct slice text,
               struct http_request *r)
{
    const struct slots *slots = d->process->slots;
    int slot = first_worker(slots);
    struct call *call;
    uint16_t epoch;
    int err;

    if (slot < 0)
        return SD_EUNAVAILABLE;
    if (d->ncalls >= CALLS_MAX)
        return SD_EBUSY;
    epoch = slots_epoch(slots, (unsigned)slot);
    err = send_call(d, (unsigned)slot, verb, text);
    if (err < 0)
        return err == SD_EGONE ? SD_EUNAVAILABLE : err;
    call = mem_zalloc(sizeof(*call));
    call->door = d;
    call->request = r;
    call->counter = d->counter;
    call->slot = (unsigned)slot;
    call->epoch = epoch;
    call->timer.fn = on_deadline;
    timer_start(d->process->loop, &call->timer,
                d->process->conf->server.call_timeout + MARGIN);
    list_add(&d->calls, &call->link);
    d->ncalls++;
    return 0;
}

void door_call(struct door_calls *d, struct slice verb, struct http_request *r)
{
    struct slice text = http_body(r);
    struct buf query = {0};
    int err = 0;

    sd_check(d, DOOR_MAGIC);
    if (text.len == 0) {
        err = query_json(&query, http_query(r));
        text = buf_slice(&query);
    }
    if (err == 0)
        err = ask(d, verb, text, r);
    buf_fini(&query);
    if (err < 0)
        fail(r, err);
}

/* --- answers -------------------------------------------------------------- */

static struct call *find_call(struct door_calls *d, uint64_t counter)
{
    struct list *it;

    list_each (it, &d->calls) {
        struct call *call = list_entry(it, struct call, link);

        if (call->counter == counter)
            return call;
    }
    return NULL;
}

static void respond(struct http_request *r, struct slice body)
{
    struct msg_door_reply reply;

    if (body.len < sizeof(reply)) {
        fail(r, SD_ECRASHED);
        return;
    }
    memcpy(&reply, body.p, sizeof(reply));
    body = slice_skip(body, sizeof(reply));
    if (body.len > 0)
        http_respond(r, reply.status, slice_str("application/json"),
                     slice_make("", 0), body);
    else
        http_fail(r, reply.status, slice_str("failed"));
}

static void on_reply(struct door_calls *d, const struct mesh_msg *m)
{
    struct slice body = {"", 0};
    struct wire_head h;
    struct call *call;

    if (wire_decode(&h, m->body) < 0)
        return;
    call = find_call(d, h.counter);
    if (call == NULL || call->slot != m->from || call->epoch != m->epoch)
        return;
    if (m->err < 0 || wire_read(&h, &body, m->body) < 0)
        body = slice_make("", 0);
    respond(end_call(d, call), body);
}

static enum mesh_verdict on_msg(void *data, const struct mesh_msg *m)
{
    struct door_calls *d = data;

    sd_check(d, DOOR_MAGIC);
    if (m->type == MSG_DOOR_REPLY)
        on_reply(d, m);
    else
        log_warn("message of type %u from slot %u: not for the agent", m->type,
                 m->from);
    return MESH_DONE;
}

/* The worker had not read it: nothing was done. */
static void on_back(void *data, const struct mesh_msg *m)
{
    struct door_calls *d = data;
    struct wire_head h;
    struct call *call;

    sd_check(d, DOOR_MAGIC);
    if (m->type != MSG_DOOR || wire_decode(&h, m->body) < 0)
        return;
    call = find_call(d, h.counter);
    if (call != NULL)
        fail(end_call(d, call), SD_EUNAVAILABLE);
}

static void on_gone(void *data, unsigned slot, uint16_t epoch)
{
    struct door_calls *d = data;
    struct list *it, *next;

    sd_check(d, DOOR_MAGIC);
    list_each_safe (it, next, &d->calls) {
        struct call *call = list_entry(it, struct call, link);

        if (call->slot == slot && call->epoch == epoch)
            fail(end_call(d, call), SD_ECRASHED);
    }
}

void door_mesh_hooks(struct door_calls *d, struct mesh_hooks *out)
{
    *out = (struct mesh_hooks){
        .on_msg = on_msg, .on_back = on_back, .on_gone = on_gone, .data = d};
}
