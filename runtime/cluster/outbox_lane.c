/* outbox_lane.c - the messages to one name: how they are found and go out.
 *
 * See outbox_round.c for the order in which they do. */
#include "base/mem.h"
#include "cluster/outbox_state.h"

/* --- finding -------------------------------------------------------------- */

static struct slice key_of(char *scratch, const struct outbox_to *to)
{
    if (to->type == FRAMES_UID)
        return to->name;
    if (to->type == FRAMES_PLACE)
        return slice_make(scratch, frames_write_place(scratch, &to->place));
    scratch[0] = (char)to->kind;
    if (to->name.len > 0)
        memcpy(scratch + 1, to->name.p, to->name.len);
    return slice_make(scratch, 1 + to->name.len);
}

struct lane *lane_find(const struct outbox *o, const struct outbox_to *to,
                       uint64_t hash)
{
    struct table_node *node = table_first(&o->lanes, (uint32_t)hash);
    char scratch[1 + FRAMES_NAME_LENGTH];
    struct slice key;

    if (node == NULL)
        return NULL;
    key = key_of(scratch, to);
    for (; node != NULL; node = table_next(node)) {
        struct lane *s = list_entry(node, struct lane, node);

        if (s->hash == hash && s->type == to->type &&
            slice_eq(slice_make(s->key, node->number), key))
            return s;
    }
    return NULL;
}

struct lane *lane_make(struct outbox *o, const struct outbox_to *to,
                       uint64_t hash)
{
    char scratch[1 + FRAMES_NAME_LENGTH];
    struct slice key = key_of(scratch, to);
    struct lane *s;

    if (o->free_lane != NULL && key.len <= LANE_KEY) {
        s = o->free_lane;
        o->free_lane = s->next;
        o->free_lanes--;
    } else {
        s = mem_alloc(sizeof(*s) + (key.len < LANE_KEY ? LANE_KEY : key.len));
    }
    *s = (struct lane){.hash = hash, .type = (uint8_t)to->type};
    memcpy(s->key, key.p, key.len);
    s->node.number = (uint32_t)key.len;
    list_init(&s->queue);
    list_init(&s->holding);
    list_init(&s->letters);
    s->unsent = &s->letters;
    table_add(&o->lanes, &s->node, (uint32_t)hash);
    o->figures.lanes++;
    return s;
}

void lane_drop_spots(struct lane *s)
{
    mem_free((void *)(uintptr_t)s->spots.p);
    s->spots = slice_make(NULL, 0);
}

bool lane_free_if_empty(struct outbox *o, struct lane *s)
{
    if (!list_empty(&s->letters))
        return false;
    list_del(&s->queue);
    list_del(&s->holding);
    wheel_stop(&o->waits, &s->wait);
    table_del(&o->lanes, &s->node);
    lane_drop_spots(s);
    o->figures.lanes--;
    if (s->node.number <= LANE_KEY && o->free_lanes < LANES_KEPT) {
        s->next = o->free_lane;
        o->free_lane = s;
        o->free_lanes++;
    } else {
        mem_free(s);
    }
    return true;
}

void lane_add(struct lane *s, struct letter *m)
{
    m->lane = s;
    list_add(&s->letters, &m->of_lane);
    if (s->unsent == &s->letters)
        s->unsent = &m->of_lane;
    s->count++;
    s->beside += m->is_beside;
}

void lane_remove(struct lane *s, struct letter *m)
{
    if (s->unsent == &m->of_lane)
        s->unsent = m->of_lane.next;
    list_del(&m->of_lane);
    s->count--;
    s->beside -= m->is_beside;
    if (m->is_held && --s->held == 0)
        list_del(&s->holding);
    m->lane = NULL;
}

/* --- sending -------------------------------------------------------------- */

bool link_has_window(const struct outbox *o, const struct outbox_link *l,
                     uint32_t len)
{
    return l->sent.count < o->max.window_count &&
           (l->sent.count == 0 || l->bytes + len <= o->max.window_bytes) &&
           unanswered_has_room(&l->sent);
}

/* The first of its links that has no window; NULL: all have. */
static struct outbox_link *full_link(const struct outbox *o,
                                     const struct lane *s, uint32_t len)
{
    uint64_t left = s->relays;

    for (; left != 0; left &= left - 1) {
        struct outbox_link *l = o->link[__builtin_ctzll(left)];

        if (l != NULL && !link_has_window(o, l, len))
            return l;
    }
    return NULL;
}

bool lane_has_window(const struct outbox *o, const struct lane *s, uint32_t len)
{
    return full_link(o, s, len) == NULL;
}

static void fill_to(struct frames_data *d, const struct lane *s)
{
    struct slice key = slice_make(s->key, s->node.number);

    d->type = s->type;
    if (s->type == FRAMES_UID) {
        d->name = key;
        d->order.flags |= s->is_flooding ? FRAMES_FLOOD : 0;
        if (s->last == 0 && s->spots.len > 0) {
            d->spots = s->spots;
            d->order.flags |= s->is_sole ? FRAMES_SOLE : 0;
        }
    } else if (s->type == FRAMES_PLACE) {
        (void)frames_next_place(&d->place, &key);
    } else {
        d->kind = (unsigned char)s->key[0];
        d->name = slice_skip(key, 1);
    }
}

static struct frames_order
order_of(const struct outbox *o, const struct lane *s, const struct letter *m)
{
    const struct letter *oldest =
        list_entry(o->all.next, const struct letter, of_all);
    struct frames_order r = {.term = o->term};

    r.base_back = (uint32_t)(m->counter - oldest->counter);
    if (s->type != FRAMES_PUBLISH && s->letters.next != &m->of_lane)
        r.prev_back = (uint32_t)(m->counter - s->last);
    if (m->is_known || (s->relays & (s->relays - 1)) != 0)
        r.flags = FRAMES_AGAIN; /* the other may be from another relay */
    r.flags |= m->is_newest ? FRAMES_NEWEST : 0;
    return r;
}

static void transmit(struct outbox *o, struct lane *s, struct letter *m)
{
    struct frames_data d = {.order = order_of(o, s, m)};
    char head[FRAMES_HEAD_MAX];
    struct slice v[2] = {{head, 0}, {m->bytes, m->len}};
    uint64_t left = s->relays;

    fill_to(&d, s);
    wire_set_life(m->bytes, (uint32_t)(m->life.due - o->now));
    m->lacks = s->type == FRAMES_PUBLISH && cover_lacks(o);
    m->found = o->found;
    for (; left != 0; left &= left - 1) {
        struct outbox_link *l = o->link[__builtin_ctzll(left)];

        d.losses = l->losses;
        v[0].len = frames_write_head(head, &d);
        (void)unanswered_add(&l->sent, m);
        l->bytes += m->len;
        m->waiting++;
        o->figures.frames++;
        o->figures.again += m->is_sent;
        o->calls.emit(o->calls.arg, l->relay, d.type, v, 2);
    }
    m->is_sent = o->term_is_used = true;
    s->last = m->counter;
    s->in_flight++;
    lane_drop_spots(s);
}

void lane_pump(struct outbox *o, struct lane *s)
{
    if (s->state == LANE_FLOWING &&
        ((s->relays & ~o->ready) != 0 ||
         (s->type == FRAMES_PUBLISH && s->cover != o->cover))) {
        s->state = LANE_DRAINING; /* its relays do not lead there any more */
        if (s->in_flight == 0)
            lane_begin(o, s);
        return;
    }
    while (s->state == LANE_FLOWING && s->unsent != &s->letters) {
        struct letter *m = letter_of(s->unsent);
        struct outbox_link *full = full_link(o, s, m->len);

        if (m->life.due <= o->now)
            return; /* the tick that ends it is due */
        if (full != NULL) {
            list_del(&s->queue);
            list_add(&full->stalled, &s->queue);
            return;
        }
        s->unsent = s->unsent->next;
        transmit(o, s, m);
    }
}
