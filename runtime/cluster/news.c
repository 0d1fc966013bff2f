/* news.c - see news.h. */
#include "cluster/news.h"

#include "base/assert.h"

void news_init(struct news *n)
{
    unsigned i;

    n->count = 0;
    for (i = 0; i < NEWS_LIMIT; i++)
        list_init(&n->sent[i]);
}

bool news_has(const struct member *m)
{
    return !list_empty(&m->news);
}

void news_del(struct news *n, struct member *m)
{
    if (!news_has(m))
        return;
    list_del(&m->news);
    n->count--;
}

void news_add(struct news *n, struct member *m, bool is_full)
{
    news_del(n, m);
    m->sent = 0;
    if (is_full)
        m->sent_full = 0;
    list_add(&n->sent[0], &m->news);
    n->count++;
}

void news_sent(struct news *n, struct member *m, bool is_full, unsigned limit)
{
    sd_assert(news_has(m) && limit <= NEWS_LIMIT);
    news_del(n, m);
    m->sent++;
    if (is_full && m->sent_full < NEWS_LIMIT)
        m->sent_full++;
    if (m->sent >= limit)
        return;
    list_add(&n->sent[m->sent], &m->news);
    n->count++;
}
