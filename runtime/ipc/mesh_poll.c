/* mesh_poll.c - the reading half of a mesh, see mesh.h.
 *
 * Who has written is a bit set in the reader's door (mesh_map.c), so a poll
 * looks only at rings where something happened, in turns of a batch each, and
 * starts the next time behind the last of this time: no sender can keep the
 * others waiting.
 *
 * Death.  The master raises the slot's epoch after it has reaped the process,
 * counts the death and wakes everyone.  Each process notices at its next poll
 * that the count moved and finds the slots whose epoch is not the one it knew.
 * For each, in this order: what the dead had committed is handed on (an answer
 * that was given is given), what it had not popped comes back, the rings
 * change to sessions of the new epoch, and on_gone has the last word.  Sends
 * to that slot are refused from the moment the master raised the epoch.
 *
 * A message is popped after on_msg returned, so a reader that dies in the
 * middle leaves it to be taken back; who cannot bear a second run pops first
 * (mesh_pop_now). */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "ipc/mesh_peer.h"

#define BATCH 32

static bool bit_is(const uint64_t *bits, unsigned i)
{
    return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static void bit_clear(uint64_t *bits, unsigned i)
{
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* --- one message ---------------------------------------------------------- */

void mesh_pop_now(struct mesh *m)
{
    struct peer *p = m->current;

    sd_check(m, MESH_MAGIC);
    if (p == NULL)
        return;
    m->current = NULL;
    if (m->current_answer && p->calls > 0)
        p->calls--;
    ring_pop(&p->in);
}

static int receive(struct mesh *m)
{
    return body_receive(m->box, m->body_in[m->self], m->epoch);
}

/* There may be room in the box: who waits for it is asked again. */
static void feed(struct mesh *m)
{
    memset(m->starved, 0, sizeof(m->starved));
}

/* Find the large body that record `rm` names and put it into p->far, where it
 * stays until the record is popped.  SD_EFULL: not now. */
static int fetch_far(struct mesh *m, struct peer *p,
                     const struct body_name *name)
{
    int err, got;

    if (p->far.len > 0)
        return 0;
    err = body_claim(m->box, name, &p->far);
    if (err != 0) {
        got = receive(m);
        err = body_claim(m->box, name, &p->far);
        if (err != 0 && got == SD_EFULL)
            return SD_EFULL;
    }
    feed(m);
    return err;
}

int mesh_claim_fd(struct mesh *m, unsigned from, uint64_t number)
{
    struct body_name name = {.number = number,
                             .slot = from,
                             .epoch = m->peers[from].epoch,
                             .to_epoch = m->epoch};
    int got = 0, fd;

    sd_check(m, MESH_MAGIC);
    fd = body_claim_fd(m->box, &name);
    if (fd < 0) {
        got = receive(m);
        fd = body_claim_fd(m->box, &name);
    }
    if (fd < 0 && got == SD_EFULL) {
        mesh_bit_set(m->starved, from);
        return SD_EBUSY;
    }
    feed(m);
    return fd;
}

/* What a record says, without its large body: then `name` is set and body is
 * v[0].  False when it is garbage. */
static bool read_record(struct mesh_msg *out, struct body_name *name,
                        const struct ring_msg *rm)
{
    out->type = rm->type & MESH_TYPE_MASK;
    out->answer = (rm->type & MESH_ANSWER_BIT) != 0;
    out->body = slice_make(rm->data, rm->len);
    name->size = 0;
    if ((rm->type & MESH_FAR_BIT) == 0)
        return true;
    if (rm->len < sizeof(*name))
        return false;
    memcpy(name, rm->data, sizeof(*name));
    out->body = slice_skip(out->body, sizeof(*name));
    return name->size > 0;
}

/* Hand the first record of a ring to on_msg.  MESH_HOLD: it stays. */
static enum mesh_verdict hand_on(struct mesh *m, unsigned from,
                                 const struct ring_msg *rm, bool dead)
{
    struct peer *p = &m->peers[from];
    struct mesh_msg msg = {.from = from, .epoch = p->epoch, .dead = dead};
    enum mesh_verdict verdict = MESH_DONE;
    struct body_name name;

    m->current = p;
    if (read_record(&msg, &name, rm)) {
        m->current_answer = msg.answer;
        if (name.size > 0)
            msg.err = fetch_far(m, p, &name);
        if (msg.err == SD_EFULL && !dead) {
            mesh_bit_set(m->starved, from);
            m->current = NULL;
            return MESH_HOLD;
        }
        if (name.size > 0 && msg.err == 0)
            msg.body = p->far;
        else if (msg.err != 0)
            msg.err = SD_ECRASHED;
        verdict = m->hooks.on_msg(m->hooks.data, &msg);
    } else {
        m->current_answer = false;
        m->garbage++;
    }

    if (verdict == MESH_HOLD && !dead && m->current != NULL) {
        m->current = NULL;
        return MESH_HOLD;
    }
    mesh_pop_now(m);
    body_unmap(&p->far);
    return MESH_DONE;
}

/* --- death ---------------------------------------------------------------- */

struct back {
    struct mesh *m;
    unsigned slot;
    uint64_t n;
};

static int give_back(void *arg, const struct ring_msg *rm)
{
    struct back *b = arg;
    struct mesh_msg msg = {
        .from = b->slot, .epoch = b->m->peers[b->slot].epoch, .dead = true};
    struct body_name name;

    b->n++;
    if (read_record(&msg, &name, rm) && b->m->hooks.on_back != NULL) {
        msg.err = name.size > 0 ? SD_ECRASHED : 0;
        b->m->hooks.on_back(b->m->hooks.data, &msg);
    }
    return 0;
}

/* Everything the dead process had committed.  Descriptors of it that are left
 * nobody will ask for; a conn's client would never see it close. */
static void drain(struct mesh *m, unsigned slot)
{
    struct peer *p = &m->peers[slot];
    struct ring_msg rm;
    int got;

    while ((got = ring_peek(&p->in, &rm)) == 1)
        hand_on(m, slot, &rm, true);
    if (got < 0)
        m->garbage++;
    body_forget(m->box, slot, p->epoch);
    (void)receive(m);
    feed(m);
}

/* Take back what the dead reader has left. */
static void take_back(struct mesh *m, unsigned slot, uint16_t epoch)
{
    struct peer *p = &m->peers[slot];
    struct back back = {m, slot, 0};
    struct ring_count count;

    ring_count(&p->out, &count);
    ring_write_enter(&p->out, ring_session(m->epoch, epoch), give_back, &back);
    m->sent.accepted += count.committed;
    m->sent.dropped += back.n;
    m->sent.delivered += count.committed - back.n;
}

static void bury(struct mesh *m, unsigned slot, uint16_t epoch)
{
    struct peer *p = &m->peers[slot];
    uint16_t old = p->epoch;

    if (p->talks) {
        drain(m, slot);
        take_back(m, slot, epoch);
        ring_read_enter(&p->in, ring_session(epoch, m->epoch));
    }
    p->calls = 0;
    p->epoch = epoch;
    bit_clear(m->held, slot);
    bit_clear(m->starved, slot);
    mesh_bit_set(m->pending, slot);
    if (p->talks)
        mesh_ring_door(m, slot);
    if (m->hooks.on_gone != NULL)
        m->hooks.on_gone(m->hooks.data, slot, old);
}

/* Notice who died since the last time. */
static void notice_deaths(struct mesh *m)
{
    const struct slots *slots = mesh_map_slots(&m->map);
    uint32_t deaths = mesh_map_deaths(&m->map);
    uint16_t epoch;
    unsigned i;

    if (deaths == m->deaths)
        return;
    m->deaths = deaths;
    for (i = 0; i < m->map.n; i++) {
        epoch = slots_epoch(slots, i);
        if (i != m->self && epoch != m->peers[i].epoch)
            bury(m, i, epoch);
    }
}

/* --- polling -------------------------------------------------------------- */

/* One turn of sender `from`.  Returns how many messages were handed on. */
static unsigned visit(struct mesh *m, unsigned from, unsigned max)
{
    struct peer *p = &m->peers[from];
    struct ring_msg rm;
    unsigned done = 0;
    int got = 0;

    if (p->talks &&
        ring_read_enter(&p->in, ring_session(p->epoch, m->epoch)) == 0)
        while (done < max && (got = ring_peek(&p->in, &rm)) == 1) {
            if (hand_on(m, from, &rm, false) == MESH_HOLD) {
                if (!bit_is(m->starved, from))
                    mesh_bit_set(m->held, from);
                return done;
            }
            done++;
        }
    if (got < 0) {
        m->garbage++;
        ring_drop(&p->in);
    }
    if (got <= 0)
        bit_clear(m->pending, from);
    return done;
}

static uint64_t work_of(const struct mesh *m, unsigned w)
{
    return m->pending[w] & ~m->held[w] & ~m->starved[w];
}

bool mesh_has_work(const struct mesh *m)
{
    uint64_t work = 0;
    unsigned w;

    for (w = 0; w < MAP_WORDS; w++)
        work |= work_of(m, w);
    return work != 0;
}

/* The first peer with work from `at` on, SLOTS_MAX when there is none. */
static unsigned next_work(const struct mesh *m, unsigned at)
{
    uint64_t work;
    unsigned w;

    for (w = at / 64; w < MAP_WORDS; w++) {
        work = work_of(m, w);
        if (w == at / 64)
            work &= ~UINT64_C(0) << (at % 64);
        if (work != 0)
            return w * 64 + (unsigned)__builtin_ctzll(work);
    }
    return SLOTS_MAX;
}

unsigned mesh_poll(struct mesh *m, unsigned max)
{
    unsigned done = 0, i, left;

    sd_check(m, MESH_MAGIC);
    sd_assert(!m->polling && m->hooks.on_msg != NULL);
    m->polling = true;
    notice_deaths(m);
    mesh_door_take(&m->map, m->self, m->pending);
    while (done < max && mesh_has_work(m)) {
        i = next_work(m, m->turn);
        if (i == SLOTS_MAX) {
            m->turn = 0;
            continue;
        }
        m->turn = (i + 1) % SLOTS_MAX;
        left = max - done;
        done += visit(m, i, left < BATCH ? left : BATCH);
    }
    m->polling = false;
    return done;
}

void mesh_mark(struct mesh *m, struct mesh_marks *marks)
{
    unsigned i;

    sd_check(m, MESH_MAGIC);
    memset(marks, 0, sizeof(*marks));
    for (i = 0; i < m->map.n; i++) {
        struct peer *p = &m->peers[i];

        if (!p->talks)
            continue;
        mesh_bit_set(m->pending, i);
        if (ring_read_enter(&p->in, ring_session(p->epoch, m->epoch)) != 0)
            continue; /* it has written nothing to us yet */
        marks->epoch[i] = p->epoch;
        marks->at[i] = ring_read_mark(&p->in);
    }
}

bool mesh_is_read(const struct mesh *m, const struct mesh_marks *marks)
{
    unsigned i;

    sd_check(m, MESH_MAGIC);
    for (i = 0; i < m->map.n; i++) {
        if (marks->epoch[i] != 0 && marks->epoch[i] == m->peers[i].epoch &&
            !ring_has_read(&m->peers[i].in, marks->at[i]))
            return false;
    }
    return true;
}

void mesh_resume(struct mesh *m)
{
    sd_check(m, MESH_MAGIC);
    memset(m->held, 0, sizeof(m->held));
}

struct walk {
    unsigned from;
    uint16_t epoch;
    int (*fn)(void *arg, const struct mesh_msg *m);
    void *arg;
};

static int walk_one(void *arg, const struct ring_msg *rm)
{
    const struct walk *w = arg;
    struct mesh_msg msg = {.from = w->from, .epoch = w->epoch};
    struct body_name name;

    return read_record(&msg, &name, rm) ? w->fn(w->arg, &msg) : 0;
}

bool mesh_walk(struct mesh *m, unsigned from,
               int (*fn)(void *arg, const struct mesh_msg *m), void *arg)
{
    struct walk w = {from, 0, fn, arg};

    sd_check(m, MESH_MAGIC);
    sd_assert(from < m->map.n);
    w.epoch = m->peers[from].epoch;
    return m->peers[from].talks &&
           ring_walk(&m->peers[from].in, walk_one, &w) != 0;
}
