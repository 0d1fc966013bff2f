/* world.c - see world.h. */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum kind {
    TICK,
    PACKET,
    LINKS,  /* data links give a frame */
    SCRIPT, /* something was planned */
};

enum {
    PORT = 7946,
    SEEDS = 3,
    SECOND = 1000000,
    READS = 32 /* packets that a loop reads in one turn */
};

static void note(struct world *w, uint64_t x)
{
    w->hash = dice_mix(w->hash ^ x) + w->now;
}

static uint64_t local_ms(const struct host *h)
{
    return (uint64_t)((int64_t)(h->w->now / 1000) + h->clock_ms) + 100000;
}

static struct gossip_address address_of(uint32_t index)
{
    struct gossip_address a = {.port = PORT};

    a.ip[10] = a.ip[11] = 255;
    a.ip[12] = 10;
    a.ip[13] = (unsigned char)(index >> 16);
    a.ip[14] = (unsigned char)(index >> 8);
    a.ip[15] = (unsigned char)index;
    return a;
}

static uint32_t index_of(const struct gossip_address *a)
{
    return (uint32_t)a->ip[13] << 16 | (uint32_t)a->ip[14] << 8 | a->ip[15];
}

/* Its low half is the host, so that a boot tells whose it is. */
static uint64_t boot_of(const struct host *h)
{
    return dice_mix(h->lives) << 32 | (h->index + 1);
}

static struct host *host_of(struct world *w, uint64_t boot)
{
    struct host *h = &w->hosts[(uint32_t)boot - 1];

    return h->boot == boot ? h : NULL;
}

/* --- views ---------------------------------------------------------------- */

static bool is_cut(const struct world *w, uint32_t from, uint32_t to)
{
    if (w->cut == 0 || (from < w->cut) == (to < w->cut))
        return false;
    return !w->is_one_way || from < w->cut;
}

static bool is_wrong(const struct world *w, uint32_t of, uint32_t about)
{
    const struct host *a = &w->hosts[of], *b = &w->hosts[about];
    bool is_up = b->g != NULL && !b->is_left;

    return of != about && a->g != NULL && !a->is_left &&
           (w->view[(size_t)of * w->nhosts + about] != 0) != is_up;
}

static void see(struct world *w, uint64_t wrong)
{
    if (w->wrong > 0 && wrong == 0)
        w->settled = w->now;
    w->wrong = wrong;
}

/* Wrong views of and about a host: before and after it changes. */
static uint64_t count(const struct world *w, uint32_t host)
{
    uint64_t wrong = 0;
    uint32_t i;

    for (i = 0; i < w->nhosts; i++)
        wrong += is_wrong(w, i, host) + is_wrong(w, host, i);
    return wrong;
}

static void on_death(struct host *h, const struct host *of)
{
    struct world *w = h->w;
    uint64_t deaths = gossip_counters(h->g)->deaths;
    bool is_own = deaths > h->deaths;

    h->deaths = deaths;
    if (of->g == NULL) {
        if (of->index == w->victim && w->first_death == 0)
            w->first_death = w->now;
        return;
    }
    if (of->is_left || of->is_paused || is_cut(w, h->index, of->index) ||
        is_cut(w, of->index, h->index))
        return;
    w->false_views++;
    w->false_verdicts += is_own;
}

static void on_change(void *arg, const struct gossip_member *m,
                      enum gossip_event what)
{
    struct host *h = arg, *of = host_of(h->w, m->boot);
    struct world *w = h->w;
    unsigned char *view;
    bool was_wrong;

    w->events++;
    note(w, (uint64_t)h->index << 32 | m->boot << 4 | what);
    h->is_told |= what == GOSSIP_CONFLICT;
    if (of == NULL)
        return;
    if (what == GOSSIP_DIED)
        on_death(h, of);
    view = &w->view[(size_t)h->index * w->nhosts + of->index];
    was_wrong = is_wrong(w, h->index, of->index);
    *view = m->state <= GOSSIP_SUSPECT;
    see(w, w->wrong - was_wrong + is_wrong(w, h->index, of->index));
}

/* --- the network ---------------------------------------------------------- */

static bool chance(struct world *w, uint32_t permille)
{
    return permille > 0 && dice_roll(&w->dice, 1000) < permille;
}

static void post(struct world *w, uint32_t to, const char *bytes, size_t len)
{
    uint64_t range = w->delay_max - w->delay_min + 1;
    struct event e = {.kind = PACKET, .who = to, .len = len};

    e.time = w->now + w->delay_min + dice_bits(&w->dice) % range;
    e.bytes = mem_dup(bytes, len);
    heap_add(&w->heap, e);
}

static void on_send(void *arg, const struct gossip_address *to,
                    const char *bytes, size_t len)
{
    struct host *h = arg;
    struct world *w = h->w;
    uint32_t index = index_of(to);

    w->packets++;
    w->bytes += len;
    note(w, (uint64_t)index << 32 | len);
    if (index >= w->nhosts)
        return;
    if (is_cut(w, h->index, index) || chance(w, w->loss)) {
        w->lost++;
        return;
    }
    post(w, index, bytes, len);
    if (chance(w, w->doubled))
        post(w, index, bytes, len);
}

/* --- hosts ---------------------------------------------------------------- */

static void plan_tick(struct host *h, uint64_t time)
{
    h->tick = time;
    heap_add(&h->w->heap,
             (struct event){.kind = TICK, .who = h->index, .time = time});
}

/* A turn of its loop has ended. */
static void end_turn(struct host *h)
{
    uint64_t next = h->w->now + gossip_tick(h->g, local_ms(h)) * UINT64_C(1000);

    sd_assert(h->is_left || gossip_self(h->g)->state == GOSSIP_ALIVE);
    if (next < h->tick)
        plan_tick(h, next);
}

static void on_tick(struct host *h, uint64_t time)
{
    if (h->g == NULL || time != h->tick)
        return;
    h->tick = UINT64_MAX;
    if (!h->is_paused)
        end_turn(h);
}

static void on_packet(struct host *h, struct event *e)
{
    if (h->g != NULL && h->is_paused && h->nsocket < h->w->buffer) {
        h->socket[h->nsocket++] = (struct packet){e->bytes, e->len};
        return;
    }
    if (h->g != NULL && h->is_paused)
        h->w->overflown++;
    if (h->g != NULL && !h->is_paused) {
        gossip_receive(h->g, local_ms(h), e->bytes, e->len);
        end_turn(h);
    }
    mem_free(e->bytes);
}

static void drop_socket(struct host *h)
{
    while (h->nsocket > 0)
        mem_free(h->socket[--h->nsocket].bytes);
}

/* As libuv before 1.45 does: timers first, then what can be read. */
void world_pause(struct world *w, uint32_t host, bool is_paused)
{
    struct host *h = &w->hosts[host];
    unsigned i;

    h->is_paused = is_paused;
    if (is_paused || h->g == NULL)
        return;
    h->tick = UINT64_MAX;
    end_turn(h);
    for (i = 0; i < h->nsocket; i++) {
        gossip_receive(h->g, local_ms(h), h->socket[i].bytes, h->socket[i].len);
        if (i % READS == READS - 1)
            end_turn(h);
    }
    drop_socket(h);
    end_turn(h);
}

static void forget_views(struct world *w, uint32_t of)
{
    uint32_t i;

    memset(w->view + (size_t)of * w->nhosts, 0, w->nhosts);
    for (i = 0; i < w->nhosts; i++)
        w->view[(size_t)i * w->nhosts + of] = 0;
}

void world_start(struct world *w, uint32_t host)
{
    struct host *h = &w->hosts[host];
    struct gossip_hooks hooks = {h, on_send, on_change};
    struct gossip_address seeds[SEEDS];
    char name[32], meta[GOSSIP_META] = {0};
    struct gossip_self self = {.kind = GOSSIP_NODE};
    unsigned i;

    uint64_t wrong = w->wrong - count(w, host);

    sd_assert(h->g == NULL);
    h->lives++;
    h->boot = self.boot = boot_of(h);
    self.address = address_of(host);
    self.name = slice_make(
        name, (size_t)snprintf(name, sizeof(name), "node-%u",
                               (unsigned)(w->is_shared_name ? 0 : host)));
    self.meta = slice_make(meta, w->meta);
    h->g =
        gossip_new(&w->conf, &self, &hooks, dice_bits(&w->dice), local_ms(h));
    for (i = 0; i < SEEDS; i++)
        seeds[i] = address_of(i);
    gossip_seeds(h->g, seeds, SEEDS);
    h->deaths = 0;
    h->is_left = h->is_paused = h->is_told = false;
    h->began = w->now;
    h->tick = UINT64_MAX;
    forget_views(w, host);
    see(w, wrong + count(w, host));
    end_turn(h);
}

void world_crash(struct world *w, uint32_t host)
{
    struct host *h = &w->hosts[host];
    uint64_t wrong = w->wrong - count(w, host);

    drop_socket(h);
    gossip_free(&h->g);
    w->victim = host;
    see(w, wrong + count(w, host));
}

void world_leave(struct world *w, uint32_t host)
{
    struct host *h = &w->hosts[host];
    uint64_t wrong = w->wrong - count(w, host);

    h->is_left = true;
    see(w, wrong + count(w, host));
    gossip_leave(h->g, local_ms(h));
}

/* --- running -------------------------------------------------------------- */

void world_init(struct world *w, uint32_t hosts, uint64_t seed)
{
    uint32_t i;

    *w = (struct world){.nhosts = hosts, .dice = {seed}, .victim = hosts};
    w->hosts = mem_zalloc(hosts * sizeof(struct host));
    w->view = mem_zalloc((size_t)hosts * hosts);
    for (i = 0; i < hosts; i++) {
        w->hosts[i].w = w;
        w->hosts[i].index = i;
        w->hosts[i].socket = mem_zalloc(WORLD_BUFFER * sizeof(struct packet));
    }
    heap_add(&w->heap, (struct event){.kind = LINKS, .time = SECOND});
}

void world_fini(struct world *w)
{
    uint32_t i;

    for (i = 0; i < w->nhosts; i++) {
        drop_socket(&w->hosts[i]);
        mem_free(w->hosts[i].socket);
        if (w->hosts[i].g != NULL)
            gossip_free(&w->hosts[i].g);
    }
    heap_fini(&w->heap);
    mem_free(w->hosts);
    mem_free(w->view);
}

void world_at(struct world *w, uint64_t time, uint32_t what)
{
    heap_add(&w->heap,
             (struct event){.kind = SCRIPT, .who = what, .time = time});
}

/* Every data link between two that reach each other gives a frame. */
static void give_frames(struct world *w)
{
    uint32_t i, j;

    heap_add(&w->heap, (struct event){.kind = LINKS, .time = w->now + SECOND});
    if (!w->has_links)
        return;
    for (i = 0; i < w->nhosts; i++) {
        struct host *h = &w->hosts[i];

        for (j = 0; j < w->nhosts && h->g != NULL && !h->is_paused; j++) {
            if (w->hosts[j].g != NULL && !w->hosts[j].is_paused &&
                !is_cut(w, i, j) && !is_cut(w, j, i))
                gossip_vouch(h->g, local_ms(h), w->hosts[j].boot, 0);
        }
        if (h->g != NULL && !h->is_paused && !w->is_mute)
            gossip_vouch_end(h->g, local_ms(h));
    }
}

void world_run(struct world *w, uint64_t until,
               void (*fn)(struct world *w, uint32_t what))
{
    struct event e;

    while (heap_pop(&w->heap, &e)) {
        if (e.time > until) {
            mem_free(e.bytes);
            break;
        }
        w->now = e.time;
        switch ((enum kind)e.kind) {
        case TICK:
            on_tick(&w->hosts[e.who], e.time);
            break;
        case PACKET:
            on_packet(&w->hosts[e.who], &e);
            break;
        case LINKS:
            give_frames(w);
            break;
        case SCRIPT:
            fn(w, e.who);
            break;
        }
    }
    w->now = until;
}
