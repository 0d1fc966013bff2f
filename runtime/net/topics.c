/* topics.c - see topics.h.
 *
 * Most filters are plain names, so these are kept whole, one node each: a
 * publish finds its own by one lookup, however many there are.  Filters with
 * '+' or '#' are a trie with a node per level.  Both kinds of node sit in one
 * hash table, under (parent, label): the parent of a whole name is NULL, the
 * first level of the trie hangs below `root`.
 *
 * A subscription is on two lists, its node's and its holder's, both doubly
 * linked: a relay's holder has a hundred thousand of them, and a filter as many
 * holders.  While a visit runs, subscriptions that end only lose their holder;
 * they and their nodes go when it is over, so that the visit never steps on
 * freed memory. */
#include "net/topics.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/table.h"
#include "net/topics_level.h"

#define TOPICS_MAGIC 0x70b1c501u

struct topics_node {
    struct table_node link; /* its number: subscriptions with a holder */
    struct topics_node *parent;
    struct topics_sub *subs;
    uint32_t children;
    uint16_t len; /* of the label */
    char label[];
};

struct topics_sub {
    struct topics_sub *next, **at;      /* on its node's list */
    struct topics_sub *more, **more_at; /* on its holder's, or `more` alone
                                         * of the ended ones */
    struct topics_node *node;
    struct topics_holder *holder; /* NULL: ended during a visit */
};

struct topics {
    unsigned magic;
    bool is_visiting;
    struct hash_key key;
    struct table nodes;
    struct topics_node *root;
    struct topics_sub *ended;
    uint64_t visits;
    uint32_t subs, filters;
    topics_change_fn *on_change;
    void *arg;
};

/* A visit that runs. */
struct visit {
    struct topics *t;
    void (*fn)(void *arg, struct topics_holder *h);
    void *arg;
    uint32_t visited;
};

struct topics *topics_new(void)
{
    struct topics *t = mem_zalloc(sizeof(*t));

    t->magic = TOPICS_MAGIC;
    t->key = hash_key_random();
    t->root = mem_zalloc(sizeof(*t->root));
    return t;
}

static void free_node(void *arg, struct table_node *link)
{
    struct topics_node *node = (struct topics_node *)(void *)link;
    struct table_node **dead = arg;

    while (node->subs != NULL) {
        struct topics_sub *s = node->subs;

        node->subs = s->next;
        mem_free(s);
    }
    link->next = *dead; /* the bucket is walked no further by the scan */
    *dead = link;
}

void topics_free(struct topics **tp)
{
    struct topics *t = *tp;
    struct table_node *dead = NULL;
    uint64_t cursor = 0;

    sd_check(t, TOPICS_MAGIC);
    sd_assert(!t->is_visiting);
    do {
        table_scan(&t->nodes, &cursor, free_node, &dead);
    } while (cursor != 0);
    while (dead != NULL) {
        struct table_node *next = dead->next;

        mem_free(dead);
        dead = next;
    }
    table_fini(&t->nodes);
    mem_free(t->root);
    t->magic = 0;
    mem_free(t);
    *tp = NULL;
}

/* --- nodes ---------------------------------------------------------------- */

static uint32_t hash_of(const struct topics *t,
                        const struct topics_node *parent, struct slice label)
{
    struct hash_key key = t->key;

    key.k0 ^= (uintptr_t)parent;
    return (uint32_t)hash_bytes(&key, label);
}

static struct topics_node *find_child(const struct topics *t,
                                      const struct topics_node *parent,
                                      struct slice label)
{
    struct table_node *link = table_first(&t->nodes, hash_of(t, parent, label));

    for (; link != NULL; link = table_next(link)) {
        struct topics_node *node = (struct topics_node *)(void *)link;

        if (node->parent == parent &&
            slice_eq(slice_make(node->label, node->len), label))
            return node;
    }
    return NULL;
}

static struct topics_node *
make_child(struct topics *t, struct topics_node *parent, struct slice label)
{
    struct topics_node *node = find_child(t, parent, label);

    if (node != NULL)
        return node;
    node = mem_zalloc(offsetof(struct topics_node, label) + label.len);
    node->parent = parent;
    node->len = (uint16_t)label.len;
    memcpy(node->label, label.p, label.len);
    table_add(&t->nodes, &node->link, hash_of(t, parent, label));
    if (parent != NULL)
        parent->children++;
    return node;
}

static struct topics_node *find_node(const struct topics *t,
                                     struct slice filter)
{
    const struct topics_node *node = t->root;
    struct topics_node *child = NULL;
    struct slice level;

    if (!has_wildcard(filter))
        return find_child(t, NULL, filter);
    while (next_level(&level, &filter)) {
        child = find_child(t, node, level);
        if (child == NULL)
            return NULL;
        node = child;
    }
    return child;
}

static struct topics_node *make_node(struct topics *t, struct slice filter)
{
    struct topics_node *node = t->root;
    struct slice level;

    if (!has_wildcard(filter))
        return make_child(t, NULL, filter);
    while (next_level(&level, &filter))
        node = make_child(t, node, level);
    return node;
}

/* A node without subscriptions and children goes, and so may its parent. */
static void prune(struct topics *t, struct topics_node *node)
{
    while (node != NULL && node != t->root && node->subs == NULL &&
           node->children == 0) {
        struct topics_node *parent = node->parent;

        table_del(&t->nodes, &node->link);
        mem_free(node);
        if (parent != NULL)
            parent->children--;
        node = parent;
    }
}

/* The filter that a node stands for, written backwards from `end`. */
static struct slice filter_of(const struct topics *t,
                              const struct topics_node *node, char *end)
{
    char *p = end - node->len;

    memcpy(p, node->label, node->len);
    if (node->parent == NULL)
        return slice_make(p, node->len);
    while ((node = node->parent) != t->root) {
        *--p = '/';
        p -= node->len;
        memcpy(p, node->label, node->len);
    }
    return slice_make(p, (size_t)(end - p));
}

/* --- subscriptions -------------------------------------------------------- */

/* The first has come, or the last has left. */
static void tell(struct topics *t, const struct topics_node *node, bool is_held)
{
    char text[TOPICS_LENGTH];

    if (is_held)
        t->filters++;
    else
        t->filters--;
    if (t->on_change != NULL)
        t->on_change(t->arg, filter_of(t, node, text + sizeof(text)), is_held);
}

/* The holder's subscription at a node: on the shorter of their two lists. */
static struct topics_sub *find_sub(const struct topics_node *node,
                                   const struct topics_holder *h)
{
    struct topics_sub *s;

    if (node->link.number < h->count) {
        for (s = node->subs; s != NULL; s = s->next) {
            if (s->holder == h)
                return s;
        }
        return NULL;
    }
    for (s = h->first; s != NULL && s->node != node;)
        s = s->more;
    return s;
}

bool topics_has(const struct topics *t, const struct topics_holder *h,
                struct slice filter)
{
    struct topics_node *node = find_node(t, filter);

    return node != NULL && find_sub(node, h) != NULL;
}

bool topics_subscribe(struct topics *t, struct topics_holder *h,
                      struct slice filter)
{
    struct topics_node *node;
    struct topics_sub *s;

    sd_check(t, TOPICS_MAGIC);
    sd_assert(topics_is_filter(filter));
    node = make_node(t, filter);
    if (find_sub(node, h) != NULL)
        return false;
    s = mem_alloc(sizeof(*s));
    s->node = node;
    s->holder = h;
    s->more = h->first;
    s->more_at = &h->first;
    if (s->more != NULL)
        s->more->more_at = &s->more;
    h->first = s;
    h->count++;
    s->next = node->subs;
    s->at = &node->subs;
    if (s->next != NULL)
        s->next->at = &s->next;
    node->subs = s;
    t->subs++;
    if (node->link.number++ == 0)
        tell(t, node, true);
    return true;
}

static void free_sub(struct topics *t, struct topics_sub *s)
{
    struct topics_node *node = s->node;

    *s->at = s->next;
    if (s->next != NULL)
        s->next->at = s->at;
    mem_free(s);
    prune(t, node);
}

static void end_sub(struct topics *t, struct topics_sub *s)
{
    sd_assert(s->holder != NULL);
    *s->more_at = s->more;
    if (s->more != NULL)
        s->more->more_at = s->more_at;
    s->holder->count--;
    s->holder = NULL;
    t->subs--;
    if (--s->node->link.number == 0)
        tell(t, s->node, false);
    if (t->is_visiting) {
        s->more = t->ended;
        t->ended = s;
    } else {
        free_sub(t, s);
    }
}

bool topics_unsubscribe(struct topics *t, struct topics_holder *h,
                        struct slice filter)
{
    struct topics_node *node = find_node(t, filter);
    struct topics_sub *s = node != NULL ? find_sub(node, h) : NULL;

    sd_check(t, TOPICS_MAGIC);
    if (s == NULL)
        return false;
    end_sub(t, s);
    return true;
}

void topics_each(const struct topics *t, const struct topics_holder *h,
                 void (*fn)(void *arg, struct slice filter), void *arg)
{
    char text[TOPICS_LENGTH];
    const struct topics_sub *s;

    sd_check(t, TOPICS_MAGIC);
    for (s = h->first; s != NULL; s = s->more)
        fn(arg, filter_of(t, s->node, text + sizeof(text)));
}

void topics_drop(struct topics *t, struct topics_holder *h)
{
    sd_check(t, TOPICS_MAGIC);
    while (h->first != NULL)
        end_sub(t, h->first);
}

/* --- visits --------------------------------------------------------------- */

static void visit_node(struct visit *v, const struct topics_node *node)
{
    struct topics_sub *s;

    for (s = node->subs; s != NULL; s = s->next) {
        struct topics_holder *h = s->holder;

        if (h == NULL || h->seen == v->t->visits)
            continue;
        h->seen = v->t->visits;
        v->visited++;
        v->fn(v->arg, h);
    }
}

/* All filters below `node` that match the levels of `rest`. */
static void visit_below(struct visit *v, const struct topics_node *node,
                        struct slice rest, bool is_hidden)
{
    struct topics_node *child;
    struct slice level;

    if (node->children == 0)
        return;
    if (!is_hidden) {
        child = find_child(v->t, node, slice_str("#"));
        if (child != NULL)
            visit_node(v, child);
    }
    if (!next_level(&level, &rest))
        return;
    child = find_child(v->t, node, level);
    if (child != NULL && rest.p == NULL)
        visit_node(v, child);
    if (child != NULL)
        visit_below(v, child, rest, false);
    child = is_hidden ? NULL : find_child(v->t, node, slice_str("+"));
    if (child != NULL && rest.p == NULL)
        visit_node(v, child);
    if (child != NULL)
        visit_below(v, child, rest, false);
}

uint32_t topics_visit(struct topics *t, struct slice name,
                      void (*fn)(void *arg, struct topics_holder *h), void *arg)
{
    struct visit v = {t, fn, arg, 0};
    struct topics_node *node;

    sd_check(t, TOPICS_MAGIC);
    sd_assert(!t->is_visiting && topics_is_name(name));
    t->is_visiting = true;
    t->visits++;
    node = find_child(t, NULL, name);
    if (node != NULL)
        visit_node(&v, node);
    visit_below(&v, t->root, name, name.p[0] == '$');
    t->is_visiting = false;
    while (t->ended != NULL) {
        struct topics_sub *s = t->ended;

        t->ended = s->more;
        free_sub(t, s);
    }
    return v.visited;
}

uint32_t topics_count(const struct topics *t, struct slice filter)
{
    const struct topics_node *node = find_node(t, filter);

    return node != NULL ? node->link.number : 0;
}

uint32_t topics_subs(const struct topics *t)
{
    return t->subs;
}

uint32_t topics_filters(const struct topics *t)
{
    return t->filters;
}

/* --- filters that somebody holds ------------------------------------------ */

void topics_watch(struct topics *t, topics_change_fn *fn, void *arg)
{
    sd_check(t, TOPICS_MAGIC);
    t->on_change = fn;
    t->arg = arg;
}

struct scan {
    const struct topics *t;
    void (*fn)(void *arg, struct slice filter);
    void *arg;
};

static void show_node(void *arg, struct table_node *link)
{
    const struct scan *s = arg;
    char text[TOPICS_LENGTH];

    if (link->number > 0)
        s->fn(s->arg, filter_of(s->t, (struct topics_node *)(void *)link,
                                text + sizeof(text)));
}

void topics_scan(const struct topics *t, uint64_t *cursor,
                 void (*fn)(void *arg, struct slice filter), void *arg)
{
    struct scan s = {t, fn, arg};

    sd_check(t, TOPICS_MAGIC);
    table_scan((struct table *)(uintptr_t)&t->nodes, cursor, show_node, &s);
}
