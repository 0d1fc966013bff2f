/* people_groups.c - the groups of the uids that are here, see people.h.
 *
 * Which groups a uid has is kept in Redis; here is only who of this worker's
 * conns is in which, in the same structure as topics.  A group may have any
 * name, so what means something in a topic is escaped.
 *
 * Processes that change a uid's groups at the same time tell it in any order.
 * So Redis numbers the changes of each uid.  When the number told is not the
 * next one, the uid's groups are read again, and that is what makes it right
 * in the end.  Meanwhile a change does what it says, because who has made it
 * may send to the group next; only a later one of the same uid and group is
 * not undone by it.  Those of the last seconds are remembered for this.
 * Older ones could mean nothing: numbers begin anew when a uid's groups have
 * not changed for a day.
 *
 * XXX: what a process has written but not told when it dies is found by the
 * next change of the same uid, or when it is bound again.  To look for it at
 * once would be to read the groups of everybody who is here. */
#include <string.h>

#include "base/clock.h"
#include "vm/people.h"

enum {
    LATE_MS = 10 * 1000 /* that a change is told after a later one */
};

bool people_group_topic(struct slice *topic, char *out, struct slice name)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    if (name.len == 0 || name.len > PEOPLE_GROUP)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];

        if (c < ' ' || strchr("%+#/", c) != NULL) {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    *topic = slice_make(out, n);
    return true;
}

void people_add_group(struct people *p, struct member *m, struct slice name)
{
    char text[PEOPLE_GROUP_TOPIC];
    struct slice topic;

    if (people_group_topic(&topic, text, name))
        topics_subscribe(p->groups, &m->groups, topic);
}

static void leave(struct people *p, struct member *m, struct slice name)
{
    char text[PEOPLE_GROUP_TOPIC];
    struct slice topic;

    if (people_group_topic(&topic, text, name))
        topics_unsubscribe(p->groups, &m->groups, topic);
}

/* Has a later change of the same been told before this one? */
static bool is_undone(const struct people *p, const struct people_change *c)
{
    uint64_t n = p->nchanges;

    for (unsigned i = 0; i < PEOPLE_CHANGES && i < n; i++) {
        const struct people_change *old =
            &p->changes[(n - 1 - i) % PEOPLE_CHANGES];

        if (old->at + LATE_MS < c->at)
            return false;
        if (old->what == c->what && old->number > c->number)
            return true;
    }
    return false;
}

static struct people_change change_of(const struct people *p, struct slice uid,
                                      struct slice name, uint64_t number)
{
    uint64_t of_uid = hash_bytes(&p->hash_key, uid);

    return (struct people_change){.what = of_uid * 3 +
                                          hash_bytes(&p->hash_key, name),
                                  .number = number,
                                  .at = clock_ms()};
}

void people_change_group(struct people *p, struct slice uid, struct slice name,
                         bool enters, uint64_t number)
{
    struct uids_binding *b = uids_first(p->uids, uid);
    struct people_change change;
    bool undone;

    if (b == NULL)
        return;
    change = change_of(p, uid, name, number);
    undone = is_undone(p, &change);
    p->changes[p->nchanges++ % PEOPLE_CHANGES] = change;
    p->group_clock++;
    for (; b != NULL; b = uids_next(b)) {
        struct member *m = list_entry(b, struct member, binding);
        bool is_next = number == m->group_number + 1;

        if (!undone && enters)
            people_add_group(p, m, name);
        else if (!undone)
            leave(p, m, name);
        if (number > m->group_number)
            m->group_number = number;
        m->group_told = p->group_clock;
        if (!is_next)
            p->on_doubt(p->arg, m);
    }
}

bool people_take_groups(struct people *p, struct member *m, uint64_t mark,
                        uint64_t number)
{
    /* Without news the number may be lower: it began anew. */
    if (m->group_told > mark && number < m->group_number)
        return false;
    topics_drop(p->groups, &m->groups);
    m->group_number = number;
    m->knows_groups = true;
    return true;
}

void people_drop_groups(struct people *p, struct member *m)
{
    topics_drop(p->groups, &m->groups);
    m->group_number = 0;
    m->knows_groups = false;
}

void people_visit_group(struct people *p, struct slice name,
                        void (*fn)(void *arg, struct topics_holder *h),
                        void *arg)
{
    char text[PEOPLE_GROUP_TOPIC];
    struct slice topic;

    if (people_group_topic(&topic, text, name))
        topics_visit(p->groups, topic, fn, arg);
}
