/* roster.c - see roster.h. */
#include "ipc/roster.h"

#include <string.h>

#include "ipc/page.h"

enum {
    WORDS = sizeof(struct roster_list) / sizeof(uint64_t)
};

_Static_assert(WORDS * sizeof(uint64_t) == sizeof(struct roster_list),
               "no gaps");

size_t roster_size(void)
{
    return page_size(WORDS);
}

void roster_write(struct roster *r, const struct roster_list *list)
{
    page_write((struct page *)(void *)r, (const uint64_t *)(const void *)list,
               WORDS);
}

uint64_t roster_serial(const struct roster *r)
{
    return page_serial((const struct page *)(const void *)r);
}

void roster_read(const struct roster *r, struct roster_list *out)
{
    page_read((const struct page *)(const void *)r, (uint64_t *)(void *)out,
              WORDS);
    if (out->nrelays > ROSTER_RELAYS) /* nothing shared is trusted */
        out->nrelays = ROSTER_RELAYS;
    if (out->nnodes > ROSTER_NODES)
        out->nnodes = ROSTER_NODES;
    for (unsigned i = 0; i < out->nrelays; i++)
        out->relays[i].dispatch[ROSTER_NAME - 1] = '\0';
    out->names[ROSTER_NAMES - 1] = '\0';
}

bool roster_has(const struct roster_list *list, uint64_t boot)
{
    unsigned low = 0, high = list->nnodes;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (list->nodes[mid] < boot)
            low = mid + 1;
        else
            high = mid;
    }
    return low < list->nnodes && list->nodes[low] == boot;
}

const char *roster_next_name(const struct roster_list *list, const char *name)
{
    const char *last = list->names + ROSTER_NAMES - 1;

    name += strlen(name) + 1;
    return name < last ? name : last; /* which is empty */
}
