/* topics_name.c - what names and filters look like: see topics.h.
 *
 * Both are walked level by level without a copy.  topics_matches() says by
 * itself what topics_visit() finds in its tree; the fuzzer compares them. */
#include "net/topics.h"
#include "net/topics_level.h"

static bool is_sound(struct slice s)
{
    unsigned levels = 1;
    size_t i;

    if (s.len < 1 || s.len > TOPICS_LENGTH || memchr(s.p, 0, s.len) != NULL)
        return false;
    for (i = 0; i < s.len; i++)
        levels += s.p[i] == '/';
    return levels <= TOPICS_LEVELS;
}

bool topics_is_name(struct slice name)
{
    return is_sound(name) && !has_wildcard(name);
}

bool topics_is_filter(struct slice filter)
{
    struct slice rest = filter, level;

    if (!is_sound(filter))
        return false;
    while (next_level(&level, &rest)) {
        if (!has_wildcard(level))
            continue;
        if (level.len > 1 || (level.p[0] == '#' && rest.p != NULL))
            return false;
    }
    return true;
}

bool topics_matches(struct slice filter, struct slice name)
{
    struct slice want, level;
    bool is_hidden = name.len > 0 && name.p[0] == '$';

    while (next_level(&want, &filter)) {
        if (is_hidden && has_wildcard(want))
            return false;
        if (is_level(want, '#'))
            return true;
        if (!next_level(&level, &name))
            return false;
        if (!is_level(want, '+') && !slice_eq(want, level))
            return false;
        is_hidden = false;
    }
    return name.p == NULL;
}
