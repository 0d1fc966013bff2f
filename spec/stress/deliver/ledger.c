/* ledger.c - what became of each message, and what must not. */
#include "sim.h"

#include "base/err.h"

static bool is_refusal(int outcome)
{
    return outcome != 0 && outcome != SD_ETIMEOUT && outcome != SD_ECLOSED;
}

void taken(struct message *m, unsigned by)
{
    uint64_t age = world->now - m->sent_at;
    unsigned i;

    note(by);
    trace("taken", (uint64_t)(m - world->message), by, 0);
    for (i = 0; i < m->takers && m->kind == TO_TOPIC; i++) {
        if (m->taker[i] == by)
            wrong("publish %u twice at %u", (unsigned)(m - world->message), by);
    }
    if (m->takers < TAKERS)
        m->taker[m->takers++] = by;
    if (age > m->life + ROUNDED)
        wrong("message %u was taken %llu ms after its life",
              (unsigned)(m - world->message),
              (unsigned long long)((age - m->life) / MS));
    if (m->outcomes > 0 && is_refusal(m->outcome))
        wrong("message %u was reported as %s, and delivered",
              (unsigned)(m - world->message), err_word(m->outcome));
}

void take_on_conn(struct conn *c, struct message *m)
{
    uint64_t *last = &c->last[m->w][m->epoch % 64];

    if (m->counter <= *last)
        wrong("message %u %s on conn %u", (unsigned)(m - world->message),
              m->counter == *last ? "doubled" : "after a later one",
              (unsigned)(c - world->conn));
    *last = m->counter;
    taken(m, (unsigned)(c - world->conn));
}

static void check_publish(const struct message *m)
{
    unsigned w, i;

    if (world->worker[m->w].holds_few)
        return; /* and some may be dropped too early */
    for (w = 0; w < world->workers; w++) {
        const struct worker *to = &world->worker[w];
        bool has = false;

        if (!m->expects[w] || !to->is_alive || to->born > m->sent_at ||
            to->since[m->to] == 0 || to->since[m->to] > m->sent_at ||
            to->linkless > 0 || to->linkless_most > 2500 * MS ||
            inbox_figures(to->in)->forgotten > 0)
            continue;
        for (i = 0; i < m->takers; i++)
            has |= m->taker[i] == w * 1000 + to->place.epoch;
        if (!has && m->takers < TAKERS)
            wrong("publish %u of worker %u to topic %u missed worker %u",
                  (unsigned)(m - world->message), m->w, m->to, w);
    }
}

void settled(void *arg, uint64_t token, int outcome)
{
    struct message *m = &world->message[token];

    (void)arg;
    trace("settled", token, (unsigned)-outcome, 0);
    note(token << 16 ^ (uint64_t)-outcome);
    m->outcome = outcome;
    m->settled_at = world->now;
    if (m->outcomes++ > 0)
        wrong("message %u has two outcomes", (unsigned)token);
    if (is_refusal(outcome) && m->takers > 0)
        wrong("message %u was delivered, and reported as %s", (unsigned)token,
              err_word(outcome));
    if (outcome == 0 && m->takers == 0 && m->kind != TO_TOPIC)
        wrong("message %u was reported as delivered and is lost",
              (unsigned)token);
    if (outcome == 0 && m->kind == TO_TOPIC)
        check_publish(m);
}

/* --- the end ---- */

static void judge(const struct message *m)
{
    unsigned i = (unsigned)(m - world->message);

    if (m->sender_died && m->outcomes == 0)
        totals.died++;
    else if (m->outcomes == 0)
        wrong("message %u has no outcome", i);
    else if (m->outcome == 0)
        totals.delivered++;
    else if (is_refusal(m->outcome))
        totals.refused++;
    else if (m->takers > 0)
        totals.unknown_done++;
    else
        totals.unknown_not++;
    if (world->faults == 0 && m->outcome != 0 && m->outcome != SD_EBUSY &&
        m->outcome != SD_ETIMEOUT && m->outcome != SD_ESLOW)
        wrong("message %u was reported as %s, without any fault", i,
              err_word(m->outcome));
}

static void expect_none(const char *what, unsigned of, uint64_t n)
{
    if (n != 0)
        wrong("%u: %llu %s are left", of, (unsigned long long)n, what);
}

void judge_all(void)
{
    unsigned i;

    for (i = 0; i < world->messages; i++)
        judge(&world->message[i]);
    for (i = 0; i < world->workers; i++) {
        const struct worker *w = &world->worker[i];

        if (!w->is_alive)
            continue;
        expect_none("messages", i, outbox_figures(w->out)->count);
        expect_none("bytes", i, outbox_figures(w->out)->bytes);
        expect_none("lanes", i, outbox_figures(w->out)->lanes);
        expect_none("pending", i, inbox_figures(w->in)->pending);
        expect_none("ids", i, inbox_figures(w->in)->seen);
        inbox_tick(w->in, now_ms() + INBOX_SOURCE_MS);
        expect_none("sources", i, inbox_figures(w->in)->sources);
    }
    for (i = 0; i < world->relays; i++) {
        if (world->relay[i].is_alive)
            expect_none("transits", i,
                        hub_figures(world->relay[i].hub)->transits);
    }
}
