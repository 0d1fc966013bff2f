/* people_groups.c - the groups of the uids that are here, see people.h.
 *
 * Which groups a uid has is kept in Redis; here is only who of this worker's
 * conns is in which, in the same structure as topics.  A group may have any
 * name, so what means something in a topic is escaped. */
#include <string.h>

#include "vm/people.h"

enum {
    TOPIC_MAX = 3 * PEOPLE_GROUP
};

/* The topic that stands for a group; false: no valid name. */
static bool topic_of(struct slice *topic, char *out, struct slice name)
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
    char text[TOPIC_MAX];
    struct slice topic;

    if (topic_of(&topic, text, name))
        topics_subscribe(p->groups, &m->groups, topic);
}

void people_enter_group(struct people *p, struct slice uid, struct slice name)
{
    struct uids_binding *b = uids_first(p->uids, uid);

    for (; b != NULL; b = uids_next(b))
        people_add_group(p, list_entry(b, struct member, binding), name);
}

void people_leave_group(struct people *p, struct slice uid, struct slice name)
{
    struct uids_binding *b = uids_first(p->uids, uid);
    char text[TOPIC_MAX];
    struct slice topic;

    if (!topic_of(&topic, text, name))
        return;
    for (; b != NULL; b = uids_next(b)) {
        struct member *m = list_entry(b, struct member, binding);

        topics_unsubscribe(p->groups, &m->groups, topic);
        m->group_leaves++;
    }
}

void people_visit_group(struct people *p, struct slice name,
                        void (*fn)(void *arg, struct topics_holder *h),
                        void *arg)
{
    char text[TOPIC_MAX];
    struct slice topic;

    if (topic_of(&topic, text, name))
        topics_visit(p->groups, topic, fn, arg);
}

struct leave {
    struct people *people;
    struct slice topic;
};

static void on_visit(void *arg, struct topics_holder *h)
{
    const struct leave *l = arg;

    topics_unsubscribe(l->people->groups, h, l->topic);
}

void people_delete_group(struct people *p, struct slice name)
{
    char text[TOPIC_MAX];
    struct leave l = {.people = p};

    p->group_deletes++;
    if (topic_of(&l.topic, text, name))
        topics_visit(p->groups, l.topic, on_visit, &l);
}
