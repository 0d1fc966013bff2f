/* guard.c - see guard.h.
 *
 * The comparison takes as long for a wrong token as for the right one, and an
 * address that guesses is not answered before its second is over: then the
 * right guess is refused like the others, so that guessing is as slow as the
 * limit says.  Of too many guessing addresses the oldest is forgotten. */
#include "proc/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

static const char scheme[] = "bearer ";

/* No early way out, and no shortcut for another length. */
static bool is_token(const char *token, struct slice given)
{
    size_t n = strlen(token), i;
    unsigned difference = n != given.len;

    for (i = 0; i < given.len; i++)
        difference |=
            (unsigned char)given.p[i] ^ (unsigned char)token[n > 0 ? i % n : 0];
    return difference == 0;
}

static bool is_right(const struct guard *g, struct slice authorization)
{
    size_t n = sizeof(scheme) - 1;

    if (authorization.len < n || strncasecmp(authorization.p, scheme, n) != 0)
        return false;
    return is_token(g->token, slice_skip(authorization, n));
}

/* Its place in the table; NULL: it has none. */
static struct guard_seen *find(struct guard *g, const char *address)
{
    unsigned i;

    for (i = 0; i < GUARD_ADDRESSES; i++)
        if (g->seen[i].since != 0 && strcmp(g->seen[i].address, address) == 0)
            return &g->seen[i];
    return NULL;
}

static struct guard_seen *oldest(struct guard *g)
{
    struct guard_seen *s = &g->seen[0];
    unsigned i;

    for (i = 1; i < GUARD_ADDRESSES; i++)
        if (g->seen[i].since < s->since)
            s = &g->seen[i];
    return s;
}

static void count_try(struct guard *g, struct guard_seen *s,
                      const char *address, uint64_t now)
{
    if (s != NULL && now - s->since < GUARD_WINDOW) {
        s->tries++;
        return;
    }
    if (s == NULL)
        s = oldest(g);
    snprintf(s->address, sizeof(s->address), "%s", address);
    s->since = now;
    s->tries = 1;
}

enum guard_verdict guard_judge(struct guard *g, const char *address,
                               struct slice authorization, uint64_t now)
{
    struct guard_seen *s;

    if (g->token == NULL)
        return GUARD_PASS;
    s = find(g, address);
    if (s != NULL && s->tries >= GUARD_TRIES && now - s->since < GUARD_WINDOW)
        return GUARD_LIMITED;
    if (is_right(g, authorization))
        return GUARD_PASS;
    count_try(g, s, address, now);
    return GUARD_REFUSED;
}

/* Without the port; IPv6 without its brackets. */
static struct slice name_of(struct slice host, bool *is_ipv6)
{
    const char *end;

    *is_ipv6 = host.len > 0 && host.p[0] == '[';
    if (*is_ipv6)
        host = slice_skip(host, 1);
    end = host.len > 0 ? memchr(host.p, *is_ipv6 ? ']' : ':', host.len) : NULL;
    if (end != NULL)
        host.len = (size_t)(end - host.p);
    return host;
}

bool guard_is_local(struct slice host)
{
    bool is_ipv6;
    struct slice name = name_of(host, &is_ipv6);
    unsigned char address[sizeof(struct in6_addr)];
    char text[GUARD_TEXT];

    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.p, name.len);
    text[name.len] = '\0';
    return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, address) == 1 ||
           strcasecmp(text, "localhost") == 0;
}
