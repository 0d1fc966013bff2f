/* running.c - see running.h.  A page: the epoch and the rest. */
#include "ipc/running.h"

#include <stdio.h>
#include <string.h>

#include "ipc/page.h"

enum {
    WORDS = 1 + sizeof(struct running_info) / sizeof(uint64_t)
};

_Static_assert((WORDS - 1) * sizeof(uint64_t) == sizeof(struct running_info),
               "no gaps");

static const char *const kind_names[RUNNING_KINDS] = {
    [RUNNING_NOTHING] = "nothing of a script",
    [RUNNING_WORK] = "work of a script",
    [RUNNING_PACKET] = "packet",
    [RUNNING_REQUEST] = "request",
    [RUNNING_HOOK] = "hook",
    [RUNNING_TIMER] = "timer",
    [RUNNING_LOAD] = "loading scripts",
};

static struct page *page_of(struct running *r)
{
    return (struct page *)(void *)r;
}

size_t running_size(void)
{
    return page_size(WORDS);
}

void running_tell(struct running *r, uint16_t epoch,
                  const struct running_info *info)
{
    uint64_t v[WORDS] = {epoch};

    memcpy(v + 1, info, sizeof(*info));
    page_write(page_of(r), v, WORDS);
}

bool running_read(struct running *r, uint16_t epoch, uint64_t since,
                  struct running_info *out)
{
    uint64_t v[WORDS];

    page_read(page_of(r), v, WORDS);
    memcpy(out, v + 1, sizeof(*out));
    out->uid[RUNNING_UID - 1] = '\0'; /* nothing shared is trusted */
    out->route[RUNNING_ROUTE - 1] = '\0';
    return v[0] == epoch && out->told >= since && out->kind < RUNNING_KINDS;
}

void running_text(char *out, size_t size, const struct running_info *info,
                  const char *port)
{
    snprintf(out, size, "%s%s%s%s%s%s%s", kind_names[info->kind],
             info->route[0] != '\0' ? " " : "", info->route,
             port != NULL ? " of port " : "", port != NULL ? port : "",
             info->uid[0] != '\0' ? ", uid " : "", info->uid);
}
