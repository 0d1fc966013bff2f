/* topics.c - any filters and names, one a line: '?' publishes, '-' ends a
 * subscription.  What the trie visits is what the plain comparison matches. */
#include <stdint.h>

#include "base/assert.h"
#include "net/topics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    LINES = 64
};

static struct slice filters[LINES];
static unsigned nfilters;

static void on_visit(void *arg, struct topics_holder *h)
{
    (void)h;
    ++*(unsigned *)arg;
}

static void publish(struct topics *t, struct slice name)
{
    unsigned visits = 0, i;
    bool want = false;

    if (!topics_is_name(name))
        return;
    for (i = 0; i < nfilters; i++)
        want = want || topics_matches(filters[i], name);
    sd_assert(topics_visit(t, name, on_visit, &visits) == (want ? 1 : 0));
    sd_assert(visits == (want ? 1 : 0));
}

static void unsubscribe(struct topics *t, struct topics_holder *h,
                        struct slice filter)
{
    unsigned i;
    bool had = false;

    for (i = 0; i < nfilters && !had; i++)
        had = slice_eq(filters[i], filter);
    if (had)
        filters[i - 1] = filters[--nfilters];
    if (topics_is_filter(filter))
        sd_assert(topics_unsubscribe(t, h, filter) == had);
}

static void subscribe(struct topics *t, struct topics_holder *h,
                      struct slice filter)
{
    if (!topics_is_filter(filter) || nfilters == LINES)
        return;
    if (topics_subscribe(t, h, filter))
        filters[nfilters++] = filter;
    sd_assert(topics_has(t, h, filter) && h->count == nfilters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size);
    struct topics *t = topics_new();
    struct topics_holder h = {0};

    nfilters = 0;
    while (rest.len > 0) {
        const char *end = memchr(rest.p, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.p) : rest.len;
        struct slice line = slice_make(rest.p, len);

        rest = slice_skip(rest, end != NULL ? len + 1 : len);
        if (len > 0 && line.p[0] == '?')
            publish(t, slice_skip(line, 1));
        else if (len > 0 && line.p[0] == '-')
            unsubscribe(t, &h, slice_skip(line, 1));
        else
            subscribe(t, &h, line);
    }
    topics_drop(t, &h);
    sd_assert(topics_subs(t) == 0 && topics_filters(t) == 0);
    topics_free(&t);
    return 0;
}
