/* uids.h - which conns of this worker a uid has.  Pure.
 *
 * A binding is embedded in what stands for a conn.  What ends is always one
 * binding, never "the uid of that name", so the late close of an old conn
 * cannot take a newer one's place away. */
#ifndef SD_NET_UIDS_H
#define SD_NET_UIDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"

struct uids;
struct uids_entry;

enum {
    UIDS_LENGTH = 128 /* bytes of a uid */
};

/* Same order as enum conf_uid_policy. */
enum uids_policy {
    UIDS_KICK,   /* the conns it had lose it */
    UIDS_REFUSE, /* ... keep it, the new one gets nothing */
    UIDS_ALLOW   /* all have it */
};

/* Opened by zeroing; not to be moved or freed while bound. */
struct uids_binding {
    struct list link; /* with others of the uid, or among the kicked */
    struct uids_entry *entry;
};

struct uids *uids_new(void);

/* Bindings left are forgotten untouched. */
void uids_free(struct uids **up);

/* Bind to a uid of 1 to UIDS_LENGTH bytes; `b` must not be bound to another.
 * 0, also when it had this uid already; SD_EREFUSED.  The bindings that lost
 * it by UIDS_KICK are unbound and put on the list `kicked`, by `link`. */
int uids_bind(struct uids *u, struct uids_binding *b, struct slice uid,
              enum uids_policy policy, struct list *kicked);

/* Has anybody else than `b` this uid? */
bool uids_is_taken(const struct uids *u, const struct uids_binding *b,
                   struct slice uid);

/* End a binding, if it is one.  True: its uid has no conn left. */
bool uids_unbind(struct uids *u, struct uids_binding *b);

bool uids_is_bound(const struct uids_binding *b);
struct slice uids_name(const struct uids_binding *b); /* of a bound one */

/* The bindings of a uid, oldest first; NULL ends. */
struct uids_binding *uids_first(const struct uids *u, struct slice uid);
struct uids_binding *uids_next(const struct uids_binding *b);

uint32_t uids_count(const struct uids *u); /* uids, not conns */
uint32_t uids_bound(const struct uids *u); /* conns */

/* Some of the uids, each once: start with *cursor = 0, ends with 0. */
void uids_scan(struct uids *u, uint64_t *cursor,
               void (*fn)(void *arg, struct slice uid), void *arg);

#endif
