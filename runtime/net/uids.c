/* uids.c - see uids.h.
 *
 * One entry per uid with the list of its bindings, oldest first; it goes with
 * the last of them.  Nearly always there is one, so walking the list costs
 * nothing. */
#include "net/uids.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/table.h"

#define UIDS_MAGIC 0x01d5c0deu

struct uids_entry {
    struct table_node node; /* its number: bytes of the name */
    struct list bindings;
    char name[];
};

struct uids {
    unsigned magic;
    struct hash_key key;
    struct table table;
    uint32_t bound;
};

struct uids *uids_new(void)
{
    struct uids *u = mem_zalloc(sizeof(*u));

    u->magic = UIDS_MAGIC;
    u->key = hash_key_random();
    return u;
}

static struct uids_entry *entry_of(struct table_node *node)
{
    return list_entry(node, struct uids_entry, node);
}

static void gather(void *arg, struct table_node *node)
{
    struct list *all = arg;
    struct uids_entry *e = entry_of(node);

    list_init(&e->bindings); /* its bindings may be gone already */
    list_add(all, &e->bindings);
}

void uids_free(struct uids **up)
{
    struct uids *u = *up;
    struct list all;
    uint64_t cursor = 0;

    sd_check(u, UIDS_MAGIC);
    list_init(&all);
    do {
        table_scan(&u->table, &cursor, gather, &all);
    } while (cursor != 0);
    while (!list_empty(&all)) {
        struct uids_entry *e =
            list_entry(all.next, struct uids_entry, bindings);

        list_del(&e->bindings);
        mem_free(e);
    }
    table_fini(&u->table);
    u->magic = 0;
    mem_free(u);
    *up = NULL;
}

static struct slice name_of(const struct uids_entry *e)
{
    return slice_make(e->name, e->node.number);
}

static struct uids_entry *find(const struct uids *u, struct slice uid)
{
    struct table_node *node =
        table_first(&u->table, (uint32_t)hash_bytes(&u->key, uid));

    while (node != NULL && !slice_eq(name_of(entry_of(node)), uid))
        node = table_next(node);
    return node != NULL ? entry_of(node) : NULL;
}

static struct uids_entry *make(struct uids *u, struct slice uid)
{
    struct uids_entry *e = find(u, uid);

    if (e != NULL)
        return e;
    e = mem_alloc(offsetof(struct uids_entry, name) + uid.len);
    list_init(&e->bindings);
    e->node.number = (uint32_t)uid.len;
    memcpy(e->name, uid.p, uid.len);
    table_add(&u->table, &e->node, (uint32_t)hash_bytes(&u->key, uid));
    return e;
}

static struct uids_binding *binding_of(struct list *link)
{
    return list_entry(link, struct uids_binding, link);
}

bool uids_is_taken(const struct uids *u, const struct uids_binding *b,
                   struct slice uid)
{
    struct uids_entry *e = find(u, uid);

    /* Somebody is first and last, and it is not b alone. */
    return e != NULL &&
           (e->bindings.next != &b->link || e->bindings.prev != &b->link);
}

int uids_bind(struct uids *u, struct uids_binding *b, struct slice uid,
              enum uids_policy policy, struct list *kicked)
{
    struct list *it, *next;
    struct uids_entry *e;

    sd_check(u, UIDS_MAGIC);
    sd_assert(uid.len > 0 && uid.len <= UIDS_LENGTH);
    if (policy == UIDS_REFUSE && uids_is_taken(u, b, uid))
        return SD_EREFUSED;
    e = make(u, uid);
    sd_assert(b->entry == NULL || b->entry == e);
    if (policy == UIDS_KICK) {
        list_each_safe (it, next, &e->bindings) {
            if (it == &b->link)
                continue;
            list_del(it);
            binding_of(it)->entry = NULL;
            list_add(kicked, it);
            u->bound--;
        }
    }
    if (b->entry == NULL) {
        list_add(&e->bindings, &b->link);
        u->bound++;
    }
    b->entry = e;
    return 0;
}

bool uids_unbind(struct uids *u, struct uids_binding *b)
{
    struct uids_entry *e = b->entry;

    sd_check(u, UIDS_MAGIC);
    if (e == NULL)
        return false;
    b->entry = NULL;
    u->bound--;
    list_del(&b->link);
    if (!list_empty(&e->bindings))
        return false;
    table_del(&u->table, &e->node);
    mem_free(e);
    return true;
}

bool uids_is_bound(const struct uids_binding *b)
{
    return b->entry != NULL;
}

struct slice uids_name(const struct uids_binding *b)
{
    sd_assert(b->entry != NULL);
    return name_of(b->entry);
}

struct uids_binding *uids_first(const struct uids *u, struct slice uid)
{
    struct uids_entry *e = find(u, uid);

    return e != NULL ? binding_of(e->bindings.next) : NULL;
}

struct uids_binding *uids_next(const struct uids_binding *b)
{
    sd_assert(b->entry != NULL);
    if (b->link.next == &b->entry->bindings)
        return NULL;
    return binding_of(b->link.next);
}

uint32_t uids_count(const struct uids *u)
{
    return u->table.count;
}

uint32_t uids_bound(const struct uids *u)
{
    return u->bound;
}

struct scan {
    void (*fn)(void *arg, struct slice uid);
    void *arg;
};

static void show(void *arg, struct table_node *node)
{
    const struct scan *s = arg;

    s->fn(s->arg, name_of(entry_of(node)));
}

void uids_scan(struct uids *u, uint64_t *cursor,
               void (*fn)(void *arg, struct slice uid), void *arg)
{
    struct scan s = {fn, arg};

    table_scan(&u->table, cursor, show, &s);
}
