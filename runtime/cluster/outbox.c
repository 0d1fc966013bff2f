/* outbox.c - see outbox.h: messages, their blocks and their outcomes.
 *
 * A letter is on two lists while it has no outcome: its lane's, and that of
 * all, whose first says to receivers which ids can still come.  Where it was
 * sent, the link knows it by number.  A letter whose life ends while answers
 * are missing gets its outcome and stays, on no list, until they have come or
 * their link has ended: so the window says how much a relay may hold. */
#include "cluster/outbox.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/outbox_state.h"
#include "cluster/owner.h"

static uint32_t or_default(uint32_t given, uint32_t value)
{
    return given > 0 ? given : value;
}

static struct outbox_limits with_defaults(const struct outbox_limits *given)
{
    return (struct outbox_limits){
        .window_count = or_default(given->window_count, 32 * 1024),
        .window_bytes = or_default(given->window_bytes, 16 << 20),
        .count = or_default(given->count, 128 * 1024),
        .bytes = or_default(given->bytes, 64 << 20),
        .queue = or_default(given->queue, 8 * 1024),
        .held = or_default(given->held, 16 * 1024),
    };
}

struct outbox *outbox_new(const struct outbox_calls *calls,
                          const struct outbox_limits *limits,
                          const struct hash_key *key, uint64_t boot)
{
    struct outbox *o = mem_zalloc(sizeof(*o));

    o->magic = OUTBOX_MAGIC;
    o->calls = *calls;
    o->max = with_defaults(limits);
    o->key = *key;
    o->boot = boot;
    list_init(&o->all);
    list_init(&o->missing);
    list_init(&o->waiting);
    list_init(&o->holding);
    wheel_init(&o->lives, 0);
    wheel_init(&o->waits, 0);
    return o;
}

/* Nobody answers any more. */
static void forget_answers(struct outbox *o)
{
    struct letter *m;
    unsigned i;

    for (i = 0; i < OUTBOX_LINKS; i++) {
        struct outbox_link *l = o->link[i];

        while (l != NULL && (m = unanswered_oldest(&l->sent)) != NULL) {
            if (--m->waiting == 0 && m->lane == NULL)
                pool_put(o, m);
        }
    }
}

static void free_links(struct outbox *o)
{
    unsigned i;

    for (i = 0; i < OUTBOX_LINKS; i++) {
        if (o->link[i] != NULL)
            unanswered_fini(&o->link[i]->sent);
        mem_free(o->link[i]);
    }
}

void outbox_free(struct outbox **op)
{
    struct outbox *o = *op;

    if (o == NULL)
        return;
    sd_check(o, OUTBOX_MAGIC);
    cover_free(o);
    forget_answers(o);
    while (!list_empty(&o->all)) {
        struct letter *m = list_entry(o->all.next, struct letter, of_all);
        struct lane *s = m->lane;

        list_del(&m->of_all);
        lane_remove(s, m);
        (void)lane_free_if_empty(o, s);
        pool_put(o, m);
    }
    free_links(o);
    table_fini(&o->lanes);
    pool_free(o);
    o->magic = 0;
    mem_free(o);
    *op = NULL;
}

/* --- outcomes ------------------------------------------------------------- */

void outbox_settle(struct outbox *o, struct letter *m, int outcome)
{
    struct lane *s = m->lane;

    if (m->waiting > 0)
        s->in_flight--;
    if (m->is_held)
        o->held--;
    lane_remove(s, m);
    list_del(&m->of_all);
    wheel_stop(&o->lives, &m->life);
    if (outcome == 0)
        o->figures.delivered++;
    else if (outcome == SD_ETIMEOUT || outcome == SD_ECLOSED)
        o->figures.unknown++;
    else
        o->figures.refused++;
    o->calls.settled(o->calls.arg, m->token, outcome);
    if (m->waiting == 0)
        pool_put(o, m);
}

void outbox_new_term(struct outbox *o)
{
    o->term += o->term_is_used;
    o->term_is_used = false;
}

/* Its copies may still arrive, when nobody expects them any more: a new term
 * makes them stale. */
static void end_life(struct outbox *o, struct letter *m)
{
    struct lane *s = m->lane;

    bool is_done = m->took && s->type != FRAMES_PUBLISH;

    if (m->waiting > 0)
        outbox_new_term(o);
    outbox_settle(o, m, is_done ? 0 : SD_ETIMEOUT);
    if (s->state != LANE_FLOWING || s->unsent == &s->letters)
        lane_went_on(o, s);
    else if (list_empty(&s->queue))
        lane_pump(o, s); /* it may have kept back those behind it */
}

static void set_now(struct outbox *o, uint64_t now)
{
    sd_check(o, OUTBOX_MAGIC);
    if (now > o->now)
        o->now = now;
}

void outbox_tick(struct outbox *o, uint64_t now)
{
    struct timer *t;

    set_now(o, now);
    while ((t = wheel_pop(&o->lives, o->now)) != NULL)
        end_life(o, list_entry(t, struct letter, life));
    missing_tick(o);
    while ((t = wheel_pop(&o->waits, o->now)) != NULL) {
        if (t == &o->regain)
            missing_regain(o);
        else
            lane_on_wait(o, list_entry(t, struct lane, wait));
    }
}

uint64_t outbox_next(const struct outbox *o)
{
    uint64_t a = wheel_next(&o->lives), b = wheel_next(&o->waits);
    uint64_t c = missing_next(o);

    a = a < b ? a : b;
    return a < c ? a : c;
}

/* --- sending -------------------------------------------------------------- */

/* All kinds of a name take the same relay: a send to a group comes behind the
 * news of who is in it. */
static uint64_t hash_to(const struct outbox *o, const struct outbox_to *to)
{
    char place[FRAMES_PLACE_SIZE];
    struct slice name = to->name;

    if (to->type == FRAMES_PLACE)
        name = slice_make(place, frames_write_place(place, &to->place));
    return hash_bytes(&o->key, name);
}

static struct letter *write_letter(struct outbox *o, const struct outbox_to *to,
                                   const struct outbox_mail *mail, uint32_t len)
{
    struct letter *m = pool_letter(o, WIRE_HEAD + len);
    struct wire_head h = *mail->head;
    char *p = m->bytes + WIRE_HEAD;
    unsigned i;

    h.len = len;
    if (h.life_ms > OUTBOX_LIFE_MAX)
        h.life_ms = OUTBOX_LIFE_MAX;
    wire_encode(m->bytes, &h);
    for (i = 0; i < mail->pieces; i++) {
        if (mail->body[i].len > 0)
            memcpy(p, mail->body[i].p, mail->body[i].len);
        p += mail->body[i].len;
    }
    m->counter = h.counter;
    m->token = mail->token;
    m->is_newest = to->is_newest;
    m->is_beside = to->is_beside;
    list_add(&o->all, &m->of_all);
    wheel_start(&o->lives, &m->life, o->now + h.life_ms);
    return m;
}

/* May a message of `len` bytes be taken for this lane?  NULL: a new one. */
static bool has_room(const struct outbox *o, const struct lane *s, uint32_t len)
{
    if (o->figures.count >= o->max.count ||
        (o->figures.count > 0 && o->figures.bytes + len > o->max.bytes))
        return false;
    if (s == NULL)
        return true;
    if (s->state == LANE_FLOWING && s->unsent == &s->letters)
        return lane_has_window(o, s, len);
    return s->count - s->in_flight - s->held < o->max.queue;
}

static struct lane *open_lane(struct outbox *o, const struct outbox_to *to,
                              uint64_t hash, uint32_t len)
{
    struct lane *s = lane_make(o, to, hash);

    lane_pick(o, s);
    if (s->relays == 0) {
        s->state = LANE_WAITING;
        list_add(&o->waiting, &s->queue);
        if (o->ready != 0)
            wheel_start(&o->waits, &s->wait, o->now + WAIT_FIRST);
    } else if (!lane_has_window(o, s, len)) {
        (void)lane_free_if_empty(o, s);
        return NULL;
    }
    return s;
}

static size_t length_of(const struct outbox_mail *mail)
{
    size_t len = 0;
    unsigned i;

    for (i = 0; i < mail->pieces; i++)
        len += mail->body[i].len;
    return len;
}

int outbox_send(struct outbox *o, const struct outbox_to *to,
                const struct outbox_mail *mail, uint64_t now)
{
    uint64_t hash = hash_to(o, to);
    struct lane *s = lane_find(o, to, hash);
    size_t len = length_of(mail);
    uint32_t room = (uint32_t)len + WIRE_HEAD;

    set_now(o, now);
    sd_assert(mail->head->counter > o->counter &&
              (mail->head->flags & WIRE_FD) == 0);
    if (len > WIRE_BODY_MAX)
        return SD_ETOOLARGE;
    if (mail->head->life_ms == 0)
        return SD_ETIMEOUT;
    if (s != NULL && s->is_flooding && to->is_newest)
        return SD_EUNAVAILABLE;
    if (!has_room(o, s, room) ||
        (s == NULL && (s = open_lane(o, to, hash, room)) == NULL)) {
        o->figures.busy++;
        return SD_EBUSY;
    }
    o->counter = mail->head->counter;
    o->figures.accepted++;
    lane_add(s, write_letter(o, to, mail, (uint32_t)len));
    lane_pump(o, s);
    return 0;
}

/* --- what the upper layer knows ------------------------------------------- */

static void keep_spots(struct lane *s, const struct outbox_places *at)
{
    size_t n = at->count < FRAMES_PLACES ? at->count : FRAMES_PLACES, i;
    char *p = mem_alloc(n * FRAMES_SPOT_SIZE);

    for (i = 0; i < n; i++)
        (void)frames_write_spot(p + i * FRAMES_SPOT_SIZE, &at->spot[i]);
    s->spots = slice_make(p, n * FRAMES_SPOT_SIZE);
}

void outbox_resolved(struct outbox *o, struct slice uid,
                     const struct outbox_places *at, uint64_t now)
{
    struct outbox_to to = {.type = FRAMES_UID, .name = uid};
    struct lane *s = lane_find(o, &to, hash_to(o, &to));

    set_now(o, now);
    if (s == NULL || s->state != LANE_RESOLVING)
        return; /* nobody waits for it any more */
    s->is_flooding = at->found == OUTBOX_FLOOD;
    s->is_sole = at->is_sole;
    if (at->found == OUTBOX_AT && at->count == 0) {
        lane_settle_all(o, s, SD_EOFFLINE);
    } else if (at->found == OUTBOX_UNAVAILABLE) {
        s->asks = true;
        lane_wait(o, s);
    } else {
        if (at->found == OUTBOX_AT)
            keep_spots(s, at);
        lane_begin(o, s);
    }
}

static struct lane *lane_of(const struct outbox *o, struct slice uid)
{
    struct outbox_to to = {.type = FRAMES_UID, .name = uid};

    return lane_find(o, &to, hash_to(o, &to));
}

bool outbox_owes(const struct outbox *o, struct slice uid)
{
    const struct lane *s = o->figures.count > 0 ? lane_of(o, uid) : NULL;

    return s != NULL && s->count > s->beside;
}

bool outbox_drop(struct outbox *o, struct slice uid, uint64_t now)
{
    struct lane *s = lane_of(o, uid);

    set_now(o, now);
    if (o->ready != 0)
        return false;
    if (s != NULL)
        lane_settle_all(o, s, SD_ECLOSED);
    return true;
}

void *outbox_owner(const struct outbox *o, struct slice uid)
{
    uint64_t hash = hash_bytes(&o->key, uid);
    struct outbox_link *best = cover_best(o, hash, o->ready);

    return best != NULL ? best->relay : NULL;
}

const struct outbox_figures *outbox_figures(const struct outbox *o)
{
    return &o->figures;
}
