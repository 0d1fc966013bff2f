/* shared.h - the bytes of one push, shared by all conns that still wait to
 * have it written.  Pure.
 *
 * Beside the frame lies the value it was made from, for telling what could
 * not be delivered. */
#ifndef SD_NET_SHARED_H
#define SD_NET_SHARED_H

#include <stdint.h>

#include "base/slice.h"

struct shared;

/* Copies both; the caller has the one reference.  `meter` (may be NULL) counts
 * the bytes of memory of all that live, and must outlive them. */
struct shared *shared_new(struct slice frame, struct slice value,
                          uint64_t *meter);
struct shared *shared_ref(struct shared *s);
void shared_unref(struct shared *s);

/* This reference will go soon and by itself, with shared_left(): memory that
 * only such ones still hold counts no more. */
void shared_leave(struct shared *s);
void shared_left(struct shared *s);

struct slice shared_frame(const struct shared *s);
struct slice shared_value(const struct shared *s);

#endif
