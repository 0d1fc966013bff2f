/* seeds.c - see seeds.h.
 *
 * One look-up at a time, in a thread that cannot be stopped: its request is a
 * block of its own, and seeds that are freed meanwhile leave it behind.  A name
 * that cannot be looked up now keeps nobody from the others, and since that may
 * take long to be known, addresses come before names and each is told when it
 * is found.  What was found holds until something else is: who is told hears of
 * no seed that is gone and back with every round, and the name server may be
 * away for a while. */
#include "cluster/seeds.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/address.h"
#include "cluster/gossip.h"
#include "loop/timer.h"

enum {
    SEEDS_MAGIC = 0x73656564,
    AGAIN = 10000, /* ms from one round to the next */
    TEXT = 300
};

struct lookup {
    uv_getaddrinfo_t req;
    struct seeds *seeds; /* NULL: nobody waits any more */
};

struct seed {
    char text[TEXT];
    int err;                /* of its last look-up; each is logged once */
    struct addrinfo *found; /* by the last one that found any */
};

struct seeds {
    unsigned magic;
    struct loop *loop;
    void (*on_found)(void *arg, const struct gossip_address *list, unsigned n);
    void *arg;
    struct seed *list;
    unsigned nlist, next; /* next: to be looked up in this round */
    struct lookup *lookup;
    struct timer timer;
};

static void tell(struct seeds *s)
{
    struct gossip_address list[GOSSIP_SEEDS];
    const struct addrinfo *a;
    unsigned i, n = 0;

    for (i = 0; i < s->nlist; i++) {
        for (a = s->list[i].found; a != NULL && n < GOSSIP_SEEDS;
             a = a->ai_next)
            n += address_from(&list[n], a->ai_addr);
    }
    s->on_found(s->arg, list, n);
}

static void look_up(struct seeds *s);

static void note(struct seed *seed, int err)
{
    if (err < 0 && err != seed->err)
        log_warn("cluster.seeds: %s: %s", seed->text, uv_strerror(err));
    if (err == 0 && seed->err < 0)
        log_info("cluster.seeds: %s is found", seed->text);
    seed->err = err;
}

static void on_found(uv_getaddrinfo_t *req, int err, struct addrinfo *list)
{
    struct lookup *l = (struct lookup *)(void *)req;
    struct seeds *s = l->seeds;
    struct seed *seed;

    if (s != NULL) {
        sd_check(s, SEEDS_MAGIC);
        s->lookup = NULL;
        seed = &s->list[s->next++];
        note(seed, err);
        if (err == 0) {
            uv_freeaddrinfo(seed->found);
            seed->found = list;
            list = NULL;
            tell(s);
        }
        look_up(s);
    }
    uv_freeaddrinfo(list);
    mem_free(l);
}

/* False: it cannot even be asked for. */
static bool ask(struct seeds *s, const char *text)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    char host[TEXT];
    char *colon, *name = host;

    snprintf(host, sizeof(host), "%s", text);
    colon = strrchr(host, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    if (name[0] == '[' && colon > name + 1 && colon[-1] == ']') {
        colon[-1] = '\0';
        name++;
    }
    s->lookup = mem_zalloc(sizeof(*s->lookup));
    s->lookup->seeds = s;
    if (uv_getaddrinfo(loop_uv(s->loop), &s->lookup->req, on_found, name,
                       colon + 1, &hints) == 0)
        return true;
    mem_free(s->lookup);
    s->lookup = NULL;
    return false;
}

static void look_up(struct seeds *s)
{
    while (s->next < s->nlist && !ask(s, s->list[s->next].text))
        s->next++;
    if (s->lookup == NULL && s->nlist > 0)
        timer_start(s->loop, &s->timer, AGAIN);
}

static void on_timer(struct timer *t)
{
    struct seeds *s = list_entry(t, struct seeds, timer);

    sd_check(s, SEEDS_MAGIC);
    s->next = 0;
    if (s->nlist == 0) /* none any more */
        tell(s);
    look_up(s);
}

struct seeds *seeds_new(struct loop *loop,
                        void (*found)(void *arg,
                                      const struct gossip_address *list,
                                      unsigned n),
                        void *arg)
{
    struct seeds *s = mem_zalloc(sizeof(*s));

    s->magic = SEEDS_MAGIC;
    s->loop = loop;
    s->on_found = found;
    s->arg = arg;
    s->timer.fn = on_timer;
    return s;
}

static void forget(struct seeds *s)
{
    unsigned i;

    timer_stop(s->loop, &s->timer);
    if (s->lookup != NULL)
        s->lookup->seeds = NULL;
    s->lookup = NULL;
    for (i = 0; i < s->nlist; i++)
        uv_freeaddrinfo(s->list[i].found);
    mem_free(s->list);
    s->list = NULL;
    s->nlist = s->next = 0;
}

void seeds_free(struct seeds **sp)
{
    struct seeds *s = *sp;

    if (s == NULL)
        return;
    sd_check(s, SEEDS_MAGIC);
    forget(s);
    s->magic = 0;
    mem_free(s);
    *sp = NULL;
}

static void add(struct seeds *s, const struct conf_list *texts,
                bool are_addresses)
{
    struct gossip_address a;
    unsigned i;

    for (i = 0; i < texts->n; i++)
        if ((address_read(&a, slice_str(texts->at[i])) == 0) == are_addresses)
            snprintf(s->list[s->nlist++].text, TEXT, "%s", texts->at[i]);
}

void seeds_set(struct seeds *s, const struct conf_list *texts)
{
    sd_check(s, SEEDS_MAGIC);
    forget(s);
    s->list = mem_zalloc((texts->n + 1) * sizeof(*s->list));
    add(s, texts, true);
    add(s, texts, false);
    timer_start(s->loop, &s->timer, 1);
}
