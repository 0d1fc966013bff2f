/* hub_interest.c - see hub_interest.h.
 *
 * Groups are kept as topics without wildcards.  A group whose name could not
 * be one is not kept: messages to such groups go to everybody. */
#include "cluster/hub_interest.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

#define INTERESTS_MAGIC 0x17e5e575u

struct interests {
    unsigned magic;
    uint32_t most;
    struct topics *topics, *groups;
};

struct interests *interests_new(uint32_t most)
{
    struct interests *all = mem_zalloc(sizeof(*all));

    all->magic = INTERESTS_MAGIC;
    all->most = most;
    all->topics = topics_new();
    all->groups = topics_new();
    return all;
}

void interests_free(struct interests **ip)
{
    struct interests *all = *ip;

    sd_check(all, INTERESTS_MAGIC);
    topics_free(&all->topics);
    topics_free(&all->groups);
    all->magic = 0;
    mem_free(all);
    *ip = NULL;
}

void interest_drop(struct interests *all, struct interest *i)
{
    topics_drop(all->topics, &i->topics);
    topics_drop(all->groups, &i->groups);
    i->is_complete = i->is_over = false;
}

static void add(struct interests *all, struct interest *i,
                const struct frames_interest *told)
{
    bool is_topic = told->kind == FRAMES_TOPIC;
    struct topics *t = is_topic ? all->topics : all->groups;
    struct topics_holder *h = is_topic ? &i->topics : &i->groups;

    if (i->topics.count + i->groups.count < all->most)
        (void)topics_subscribe(t, h, told->name);
    else if (!topics_has(t, h, told->name))
        i->is_over = true;
}

int interest_take(struct interests *all, struct interest *i,
                  const struct frames_interest *told)
{
    if (told->op == FRAMES_RESET) {
        interest_drop(all, i);
        return 0;
    }
    if (told->op == FRAMES_COMPLETE) {
        i->is_complete = true;
        return 0;
    }
    if (told->kind == FRAMES_TOPIC && !topics_is_filter(told->name))
        return SD_EPROTO;
    if (told->kind == FRAMES_GROUP && !topics_is_name(told->name))
        return 0;
    if (told->op == FRAMES_ADD)
        add(all, i, told);
    else if (told->kind == FRAMES_TOPIC)
        (void)topics_unsubscribe(all->topics, &i->topics, told->name);
    else
        (void)topics_unsubscribe(all->groups, &i->groups, told->name);
    return 0;
}

bool interest_tells(enum frames_kind kind, struct slice name)
{
    return (kind == FRAMES_TOPIC || kind == FRAMES_GROUP) &&
           topics_is_name(name);
}

struct visit {
    void (*fn)(void *arg, struct interest *i);
    void *arg;
};

static void visit(const struct visit *v, struct interest *i)
{
    if (interest_is_known(i))
        v->fn(v->arg, i);
}

static void visit_topic(void *arg, struct topics_holder *h)
{
    visit(arg, (struct interest *)(void *)((char *)h -
                                           offsetof(struct interest, topics)));
}

static void visit_group(void *arg, struct topics_holder *h)
{
    visit(arg, (struct interest *)(void *)((char *)h -
                                           offsetof(struct interest, groups)));
}

void interest_visit(struct interests *all, enum frames_kind kind,
                    struct slice name, void (*fn)(void *arg, struct interest *),
                    void *arg)
{
    struct visit v = {fn, arg};

    sd_assert(interest_tells(kind, name));
    if (kind == FRAMES_TOPIC)
        (void)topics_visit(all->topics, name, visit_topic, &v);
    else
        (void)topics_visit(all->groups, name, visit_group, &v);
}
