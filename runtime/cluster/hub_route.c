/* hub_route.c - from one link to others.
 *
 * Who gets a message is known before anybody gets it.  A message to a uid
 * goes to those of its places that can take it now; a publish goes to all or,
 * when one of them is too far behind, to nobody: the sender hears "busy" and
 * nothing was done by halves. */
#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "cluster/hub_state.h"

struct route {
    struct hub *h;
    struct hub_link *from;
    uint64_t number;
    uint64_t uid;    /* hash */
    uint32_t waited; /* ms, before it was here */
    struct slice payload;
    struct frames_data d;
};

static bool has_window(const struct hub *h, const struct hub_link *l,
                       size_t len)
{
    return l->sent.count < h->max.window_count &&
           (l->sent.count == 0 || l->bytes + len <= h->max.window_bytes) &&
           unanswered_has_room(&l->sent);
}

static struct transit *new_transit(struct route *r)
{
    struct hub *h = r->h;
    struct transit *t = h->free_transit;

    if (t != NULL) {
        h->free_transit = t->next;
        h->free_transits--;
    } else {
        t = mem_alloc(sizeof(*t));
    }
    *t = (struct transit){.number = r->number,
                          .uid = r->uid,
                          .from = r->from->index,
                          .generation = r->from->generation,
                          .len = (uint32_t)r->payload.len,
                          .waiting = h->targets};
    h->figures.transits++;
    return t;
}

/* To all targets: the frame as it came, but for its places, which are for us
 * alone, and the life it has left. */
static void forward(struct route *r)
{
    struct transit *t = new_transit(r);
    char head[FRAMES_HEAD_MAX], mail[WIRE_HEAD];
    struct slice v[3] = {r->payload};
    struct hub *h = r->h;
    unsigned n = 1;
    uint32_t i;

    if (r->d.spots.len > 0 || r->waited > 0) {
        r->d.spots.len = 0;
        wire_encode(mail, &r->d.head);
        v[0] = slice_make(head, frames_write_head(head, &r->d));
        v[1] = slice_make(mail, sizeof(mail));
        v[2] = r->d.body;
        n = 3;
    }
    for (i = 0; i < h->targets; i++) {
        struct hub_link *l = h->target[i];

        (void)unanswered_add(&l->sent, t);
        l->bytes += t->len;
        h->figures.sent++;
        h->calls.emit(h->calls.arg, l->owner, r->d.type, v, n);
    }
}

static void nack(struct route *r, enum frames_reason reason)
{
    hub_reply(r->h, r->from, r->number, reason);
}

/* Those of the targets that have room; the others count as busy. */
static void send_to_some(struct route *r)
{
    struct hub *h = r->h;
    uint32_t i, n = 0;

    for (i = 0; i < h->targets; i++) {
        if (has_window(h, h->target[i], r->payload.len))
            h->target[n++] = h->target[i];
    }
    h->targets = n;
    if (n > 0)
        forward(r);
    else
        nack(r, FRAMES_BUSY);
}

static void send_to_all(struct route *r)
{
    struct hub *h = r->h;
    uint32_t i;

    for (i = 0; i < h->targets; i++) {
        if (!has_window(h, h->target[i], r->payload.len)) {
            nack(r, FRAMES_BUSY);
            return;
        }
    }
    forward(r);
}

/* --- to a place, to a uid ------------------------------------------------- */

static void route_place(struct route *r)
{
    struct hub_link *l = hub_find(r->h, &r->d.place);

    if (l == NULL) {
        nack(r, FRAMES_NO_WAY);
        return;
    }
    r->h->target[r->h->targets++] = l;
    send_to_some(r);
}

static struct hub_link *link_of(const struct hub *h, struct hub_spot *s)
{
    struct hub_link *l = s->link < h->links ? h->link[s->link] : NULL;

    if (l != NULL && l->generation == s->generation && l->is_current)
        return l;
    l = hub_find(h, &s->at.place);
    if (l != NULL) {
        s->link = l->index;
        s->generation = l->generation;
    }
    return l;
}

static bool is_usable(const struct hub *h, const struct hub_uid *e)
{
    return e != NULL && e->is_complete && e->count > 0 &&
           (e->is_sole || e->opening == h->openings);
}

/* What is for the newest alone is never flooded (cluster/outbox.h). */
static void route_flood(struct route *r)
{
    struct hub *h = r->h;
    uint32_t i;

    for (i = 0; i < h->links; i++) {
        struct hub_link *l = h->link[i];

        if (l != NULL && l->is_current && l->place.boot != r->from->place.boot)
            h->target[h->targets++] = l;
    }
    if (h->targets == 0)
        nack(r, FRAMES_NOT_HERE);
    else
        send_to_some(r);
}

static void target_all(struct hub *h, const struct hub_uid *e)
{
    unsigned i;

    for (i = 0; i < e->count; i++) {
        struct hub_link *l = link_of(h, &e->spot[i]);

        if (l != NULL && h->targets < h->links)
            h->target[h->targets++] = l;
    }
}

/* When there is no link to it, none: another one is not who was meant. */
static void target_newest(struct hub *h, const struct hub_uid *e)
{
    struct hub_spot *newest = &e->spot[0];
    struct hub_link *l;
    unsigned i;

    for (i = 1; i < e->count; i++) {
        if (e->spot[i].at.bind > newest->at.bind)
            newest = &e->spot[i];
    }
    l = link_of(h, newest);
    if (l != NULL)
        h->target[h->targets++] = l;
}

/* Its places as the sender says, or as we know. */
static struct hub_uid *places_of(struct route *r)
{
    struct hub *h = r->h;

    if (r->d.spots.len == 0)
        return hub_cache_find(h->cache, r->uid, r->d.name);
    return hub_cache_learn(h->cache, r->uid, r->d.name, r->d.spots,
                           (r->d.order.flags & FRAMES_SOLE) != 0, h->openings);
}

static void route_uid(struct route *r)
{
    struct hub *h = r->h;
    struct hub_uid *e;

    if ((r->d.order.flags & FRAMES_FLOOD) != 0) {
        route_flood(r);
        return;
    }
    e = places_of(r);
    if (!is_usable(h, e)) {
        nack(r, FRAMES_UNKNOWN);
        return;
    }
    if ((r->d.order.flags & FRAMES_NEWEST) != 0)
        target_newest(h, e);
    else
        target_all(h, e);
    if (h->targets == 0)
        nack(r, FRAMES_NO_WAY);
    else
        send_to_some(r);
}

/* --- publishes ------------------------------------------------------------ */

static void add_link(struct route *r, struct hub_link *l)
{
    if (l->is_current && l->place.boot != r->from->place.boot)
        r->h->target[r->h->targets++] = l;
}

static void add_interested(void *arg, struct interest *i)
{
    add_link(arg, list_entry(i, struct hub_link, interest));
}

static void route_publish(struct route *r)
{
    struct hub *h = r->h;
    struct list *it;
    uint32_t i;

    if (r->d.losses != h->losses) {
        nack(r, FRAMES_MOVED);
        return;
    }
    if (interest_tells(r->d.kind, r->d.name)) {
        list_each (it, &h->flooded)
            add_link(r, list_entry(it, struct hub_link, flooded));
        interest_visit(h->interests, r->d.kind, r->d.name, add_interested, r);
    } else {
        for (i = 0; i < h->links; i++) {
            if (h->link[i] != NULL)
                add_link(r, h->link[i]);
        }
    }
    if (h->targets > 0)
        send_to_all(r);
    else
        hub_reply(h, r->from, r->number, 0);
}

/* Of a million uids hardly one is in the CPU's cache, and each is four waits
 * for memory: those of several messages overlap. */
void hub_expect(struct hub *h, const struct stream_frame *f, unsigned n)
{
    uint64_t hash[HUB_EXPECT];
    unsigned i, found = 0;

    sd_assert(n <= HUB_EXPECT);
    if (!hub_cache_is_large(h->cache))
        return;
    for (i = 0; i < n; i++) {
        if (f[i].type == FRAMES_UID)
            hash[found++] = hash_bytes(&h->key, frames_peek_uid(f[i].payload));
    }
    hub_cache_expect(h->cache, hash, found);
}

/* The places that came with it are those of the frames behind it, too. */
static void expire(struct route *r)
{
    if (r->d.spots.len > 0)
        (void)places_of(r);
    r->h->figures.expired++;
    nack(r, FRAMES_EXPIRED);
}

/* A process speaks for itself only. */
static bool is_own(const struct place *p, const struct wire_head *head)
{
    return head->boot == p->boot && head->epoch == p->epoch &&
           head->slot == p->slot;
}

int hub_route(struct hub *h, struct hub_link *l, unsigned type,
              struct slice payload, uint32_t waited)
{
    struct route r; /* frames_read_data() fills it */

    r.h = h;
    r.from = l;
    r.uid = 0;
    r.waited = waited;
    r.payload = payload;
    if (frames_read_data(&r.d, type, payload) < 0 ||
        !is_own(&l->place, &r.d.head))
        return SD_EPROTO;
    r.number = ++l->taken;
    h->figures.taken++;
    h->targets = 0;
    if (type == FRAMES_UID)
        r.uid = hash_bytes(&h->key, r.d.name);
    if (!wire_age(&r.d.head, waited))
        expire(&r);
    else if (type == FRAMES_PLACE)
        route_place(&r);
    else if (type == FRAMES_UID)
        route_uid(&r);
    else
        route_publish(&r);
    return 0;
}
