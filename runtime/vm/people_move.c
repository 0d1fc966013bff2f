/* people_move.c - members whose conns go to another worker or come from one,
 * see people.h.
 *
 * A uid that moves is bound in its new place before it is unbound in the old
 * one, so who looks finds it in one of them at least. */
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "ipc/uidmap.h"
#include "net/conn.h"
#include "vm/people.h"

#define FLAG_BIT (UINT64_C(1) << 63) /* of numbers: see rivals.c */

enum {
    AHEAD_MS = 24 * 3600 * 1000 /* that numbers may be, of the clock */
};

void people_part(struct people *p, struct member *m, struct move *move)
{
    struct slice uid;

    if (uids_is_bound(&m->binding)) {
        uid = uids_name(&m->binding);
        buf_append(&m->parted_uid, uid.p, uid.len);
        uids_unbind(p->uids, &m->binding);
    }
    list_del(&m->binding.link);
    list_add(&p->parted, &m->binding.link);
    conn_set_user(m->conn, NULL);
    m->conn = NULL;
    m->move = move;
}

int people_join(struct people *p, struct member *m, uint64_t number)
{
    uint64_t latest = (uint64_t)clock_wall_ms() + AHEAD_MS;
    struct slice uid = conn_uid(m->conn);
    struct list kicked;

    if (uid.len == 0 || (number & ~FLAG_BIT) > latest)
        return SD_EINVALID;
    if (p->map != NULL && uidmap_bind(p->map, uid, m->id, number) < 0)
        return SD_EBUSY;
    list_init(&kicked);
    sd_assert(uids_bind(p->uids, &m->binding, uid, UIDS_ALLOW, &kicked) == 0);
    m->number = number;
    return 0;
}

void people_pass_over_parted(struct people *p, struct slice uid)
{
    struct list *it;

    list_each (it, &p->parted) {
        struct member *m = list_entry(it, struct member, binding.link);

        if (slice_eq(uid, buf_slice(&m->parted_uid)))
            m->passed_over = p->fanouts;
    }
}

struct names {
    void (*fn)(void *arg, struct slice name);
    void *arg;
};

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* The group that a topic of people_groups.c stands for. */
static void on_topic(void *arg, struct slice topic)
{
    const struct names *names = arg;
    char name[PEOPLE_GROUP];
    size_t i, n = 0;

    for (i = 0; i < topic.len && n < sizeof(name); i++) {
        char c = topic.p[i];

        if (c == '%' && topic.len - i > 2) {
            c = (char)(digit(topic.p[i + 1]) << 4 | digit(topic.p[i + 2]));
            i += 2;
        }
        name[n++] = c;
    }
    names->fn(names->arg, slice_make(name, n));
}

void people_each_group(struct people *p, const struct member *m,
                       void (*fn)(void *arg, struct slice name), void *arg)
{
    struct names names = {fn, arg};

    topics_each(p->groups, &m->groups, on_topic, &names);
}
