/* linkboard.c - see linkboard.h. */
#include "ipc/linkboard.h"

#include "ipc/page.h"

enum {
    WORDS = sizeof(struct linkboard_list) / sizeof(uint64_t)
};

_Static_assert(WORDS * sizeof(uint64_t) == sizeof(struct linkboard_list),
               "no gaps");

size_t linkboard_size(void)
{
    return page_size(WORDS);
}

void linkboard_write(struct linkboard *b, uint16_t epoch,
                     struct linkboard_list *list)
{
    list->epoch = epoch;
    page_write((struct page *)(void *)b, (const uint64_t *)(const void *)list,
               WORDS);
}

bool linkboard_read(const struct linkboard *b, uint16_t epoch,
                    struct linkboard_list *out)
{
    page_read((const struct page *)(const void *)b, (uint64_t *)(void *)out,
              WORDS);
    return out->epoch == epoch && out->n <= LINKBOARD_MAX;
}
