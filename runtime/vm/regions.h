/* regions.h - where a heap has its chunks from: 64 KiB each, aligned to that,
 * cut from a megabyte at a time.
 *
 * Chunks aligned by malloc one by one would leave a hole behind each, and a
 * page of it in use. */
#ifndef SD_VM_REGIONS_H
#define SD_VM_REGIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum {
    REGIONS_CHUNK = 64 * 1024
};

struct region;

struct regions {
    struct list all;
    struct list open; /* those with a free chunk */
};

void regions_init(struct regions *r);
void regions_fini(struct regions *r); /* every chunk goes */

/* A chunk, and the region it is of; NULL: out of memory. */
void *regions_take(struct regions *r, struct region **of);

/* Its memory goes back to the system. */
void regions_give(struct regions *r, struct region *of, void *chunk);

#endif
