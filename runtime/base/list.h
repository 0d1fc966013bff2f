/* list.h - intrusive doubly linked list; a head is a node linked to itself. */
#ifndef SD_BASE_LIST_H
#define SD_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define list_entry(node, type, member) \
    ((type *)(void *)((char *)(node)-offsetof(type, member)))

#define list_each(it, head) \
    for ((it) = (head)->next; (it) != (head); (it) = (it)->next)

/* The current node may be removed inside the loop. */
#define list_each_safe(it, tmp, head)                             \
    for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head); \
         (it) = (tmp), (tmp) = (it)->next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Before `at`: with a head, at the list's end. */
static inline void list_add(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

/* Leaves `node` linked to itself, so removing twice is harmless. */
static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#endif
