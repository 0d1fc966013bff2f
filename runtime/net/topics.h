/* topics.h - who subscribed to what: names and filters as in MQTT.  Pure.
 *
 * A name is levels between '/'.  In a filter the level '+' stands for any one
 * level, and '#', as the last, for all that follow, none included; neither
 * matches a name that begins with '$' at its first level. */
#ifndef SD_NET_TOPICS_H
#define SD_NET_TOPICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct topics;
struct topics_sub;

enum {
    TOPICS_LENGTH = 1024, /* bytes of a name or filter */
    TOPICS_LEVELS = 128
};

/* A subscriber: embedded in what it subscribes for, opened by zeroing, and
 * gone only after topics_drop(). */
struct topics_holder {
    struct topics_sub *first; /* private */
    uint64_t seen;            /* private */
    uint32_t count;           /* subscriptions it holds */
};

struct topics *topics_new(void);

/* The holders are not touched: drop them first, or forget them too. */
void topics_free(struct topics **tp);

/* What may be published to, and what may be subscribed to. */
bool topics_is_name(struct slice name);
bool topics_is_filter(struct slice filter);

/* Does this filter match this name? */
bool topics_matches(struct slice filter, struct slice name);

/* Add a valid filter.  True: it is new for this holder. */
bool topics_subscribe(struct topics *t, struct topics_holder *h,
                      struct slice filter);

/* True: the holder had it. */
bool topics_unsubscribe(struct topics *t, struct topics_holder *h,
                        struct slice filter);
bool topics_has(const struct topics *t, const struct topics_holder *h,
                struct slice filter);

/* Show the filters of a holder, in no order; `fn` changes nothing here. */
void topics_each(const struct topics *t, const struct topics_holder *h,
                 void (*fn)(void *arg, struct slice filter), void *arg);

/* End all subscriptions of a holder. */
void topics_drop(struct topics *t, struct topics_holder *h);

/* Call `fn` once for every holder with a filter that matches the valid
 * `name`, in no order.  `fn` may subscribe, unsubscribe and drop anyone (who
 * is dropped before its turn is not visited), but not visit.  Returns how
 * many were visited. */
uint32_t topics_visit(struct topics *t, struct slice name,
                      void (*fn)(void *arg, struct topics_holder *h),
                      void *arg);

/* Holders of exactly this filter; subscriptions and filters altogether. */
uint32_t topics_count(const struct topics *t, struct slice filter);
uint32_t topics_subs(const struct topics *t);
uint32_t topics_filters(const struct topics *t);

/* A filter has got its first holder, or lost its last one.  Borrows; changes
 * nothing here, and may be called within a visit. */
typedef void topics_change_fn(void *arg, struct slice filter, bool is_held);

/* Call `fn` at every such change; NULL: no more. */
void topics_watch(struct topics *t, topics_change_fn *fn, void *arg);

/* Walk over all filters that are held, in pieces, while they change: start
 * with *cursor = 0; each call shows a few, and *cursor is 0 again at the end.
 * One that is held all the while is shown once.  `fn` changes nothing here. */
void topics_scan(const struct topics *t, uint64_t *cursor,
                 void (*fn)(void *arg, struct slice filter), void *arg);

#endif
