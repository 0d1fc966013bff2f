/* mem.h - allocation that cannot fail: out of memory is a panic.
 *
 * Sizes that come from the wire are bounded before they get here. */
#ifndef SD_BASE_MEM_H
#define SD_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_dup(const void *p, size_t len); /* a copy with a NUL behind */
void mem_free(void *p);                   /* accepts NULL */

#endif
