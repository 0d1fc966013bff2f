/* mem.c - see mem.h. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void *mem_alloc(size_t size)
{
    void *p = malloc(size > 0 ? size : 1);

    sd_assert(p != NULL);
    return p;
}

void *mem_zalloc(size_t size)
{
    void *p = calloc(1, size > 0 ? size : 1);

    sd_assert(p != NULL);
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    void *q = realloc(p, size > 0 ? size : 1);

    sd_assert(q != NULL);
    return q;
}

char *mem_dup(const void *p, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (len > 0)
        memcpy(copy, p, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}
