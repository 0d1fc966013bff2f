/* abroad_take.c - what comes from other nodes.
 *
 * It is handed on as if another worker of our node had sent it: its body is the
 * same, little-endian as on the wire. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "cluster/frames.h"
#include "ipc/elsewhere.h"
#include "ipc/msg.h"
#include "net/reason.h"
#include "net/uids.h"
#include "vm/abroad_state.h"
#include "vm/deliver.h"
#include "vm/event.h"
#include "vm/people.h"
#include "vm/spread.h"
#include "vm/state.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "bodies of messages are little-endian");

bool abroad_on_has(void *arg, const struct slice *uid)
{
    struct abroad *a = arg;

    sd_check(a, ABROAD_MAGIC);
    return uids_first(a->all->people->uids, *uid) != NULL;
}

/* 0 when one of its conns took it. */
static int send_here(struct deliver *d, struct slice uid)
{
    struct uids_binding *b = uids_first(d->vm->all->people->uids, uid);
    int rc = SD_EOFFLINE, one;

    for (; b != NULL; b = uids_next(b)) {
        one = deliver_to(d, list_entry(b, struct member, binding)->conn);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

static int take_uid(struct vm *vm, const struct frames_data *f)
{
    struct msg_uid_send m;
    struct deliver d;
    int rc;

    if (f->type != FRAMES_UID || f->body.len < sizeof(m))
        return SD_EINVALID;
    memcpy(&m, f->body.p, sizeof(m));
    if (m.done_there != ABROAD_ALONE && f->head.boot == vm->env.boot)
        return m.done_there == ABROAD_TOO    ? 0
               : m.done_there == ABROAD_SLOW ? SD_ESLOW
                                             : SD_EGONE;
    deliver_begin(&d, vm, vm->L, slice_skip(f->body, sizeof(m)));
    d.is_volatile = m.is_volatile != 0;
    d.key = m.key;
    d.is_single = true;
    rc = send_here(&d, f->name);
    deliver_end(&d);
    return rc;
}

static int take_too(struct vm *vm, struct slice uid)
{
    if (uid.len > 0 && vm->env.elsewhere != NULL)
        (void)elsewhere_set(vm->env.elsewhere, uid);
    return 0;
}

/* Close the conns of a uid that are ours.  Each close unbinds its conn, so the
 * next is the first then. */
static int kick(struct vm *vm, struct slice uid, struct slice text)
{
    char reason[REASON_TEXT + 1] = "";
    struct vms *all = vm->all;
    struct uids_binding *b = uids_first(all->people->uids, uid);
    struct uids_binding *last = NULL;

    memcpy(reason, text.p, text.len < REASON_TEXT ? text.len : REASON_TEXT);
    for (; b != NULL && b != last; b = uids_first(all->people->uids, uid)) {
        last = b;
        vms_close_conn(all, list_entry(b, struct member, binding)->conn,
                       reason);
    }
    return 0;
}

static int take_change(struct vm *vm, const struct frames_data *f)
{
    struct people *p = vm->all->people;
    struct msg_uid_change m;
    struct slice text;
    int rc;

    if (f->type != FRAMES_UID || f->body.len < sizeof(m))
        return SD_EINVALID;
    memcpy(&m, f->body.p, sizeof(m));
    text = slice_skip(f->body, sizeof(m));
    if (m.verb == MSG_UID_KICK)
        return kick(vm, f->name, text);
    if (!topics_is_filter(text))
        return SD_EINVALID;
    rc = m.verb == MSG_UID_SUBSCRIBE ? people_subscribe_uid(p, f->name, text)
                                     : people_unsubscribe_uid(p, f->name, text);
    return rc == SD_EGONE ? SD_EOFFLINE : rc;
}

int abroad_on_deliver(void *arg, const struct frames_data *d, uint64_t token)
{
    struct abroad *a = arg;
    struct vm *vm;

    sd_check(a, ABROAD_MAGIC);
    (void)token;
    vm = vms_now(a->all);
    switch (d->head.type) {
    case MSG_PUBLISH:
        spread_take(vm, d->body);
        return 0;
    case MSG_GROUP:
        spread_take_group(vm, d->body);
        return 0;
    case MSG_EVENT:
        return events_take_far(a->all->events, d->body);
    case MSG_UID_SEND:
        return take_uid(vm, d);
    case MSG_SEND:
    case MSG_CLOSE_CONN:
        return people_take_far(vm, d->head.type, d->body);
    case MSG_OUST:
        return abroad_take_oust(a, d->body);
    case MSG_UID_TOO:
        return take_too(vm, d->body);
    case MSG_UID_CHANGE:
        return take_change(vm, d);
    case MSG_FAR_CALL:
        return uidcalls_take_far(vm, d);
    case MSG_FAR_REPLY:
        return abroad_take_reply(a, d);
    default:
        log_warn("message of type %u from another node is not known",
                 d->head.type);
        return SD_EINVALID;
    }
}
