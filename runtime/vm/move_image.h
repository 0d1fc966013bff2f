/* move_image.h - a conn and what the vm keeps with it as one msgpack value.
 *
 * A map around the image of the conn (net/conn_image.h), by the same rules:
 * unknown keys are passed over, what is missing is zero.  Slices are borrowed;
 * lists are msgpack arrays. */
#ifndef SD_VM_MOVE_IMAGE_H
#define SD_VM_MOVE_IMAGE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    MOVE_VERSION = 1
};

struct move_image {
    uint64_t version;
    struct slice conn;     /* for net_unpack() */
    uint64_t number;       /* of its uid's binding; 0: it is not bound */
    uint64_t policy;       /* enum uids_policy of it */
    struct slice topics;   /* filters */
    struct slice groups;   /* names */
    uint64_t group_number; /* the last change of them it knows */
    struct slice heard;    /* by slot, vm/heard.h */
};

void move_image_write(struct buf *out, const struct move_image *image);

/* 0, or SD_EINVALID, and *out is untouched.  Then filters are valid, lists of
 * texts have texts and lists of numbers have numbers. */
int move_image_read(struct move_image *out, struct slice bytes);

/* The elements of a list of a sound image. */
void move_image_texts(struct slice list, void (*fn)(void *arg, struct slice s),
                      void *arg);
unsigned move_image_numbers(struct slice list, uint64_t *out, unsigned max);

#endif
