/* heir.c - see heir.h. */
#include "vm/heir.h"

#include "base/assert.h"
#include "net/reason.h"
#include "vm/people.h"
#include "vm/state.h"

enum {
    PAGE = 64 /* hooks at once */
};

void heir_init(struct heir *h, struct vms *all)
{
    *h = (struct heir){.all = all};
}

static struct uidmap *map_of(const struct heir *h)
{
    return h->all->people->map; /* only workers have one */
}

static bool on_binding(void *arg, const struct uidmap_binding *b)
{
    struct heir *h = arg;
    bool last = !b->more && !uidmap_is_online(map_of(h), b->uid);
    struct people *p = h->all->people;

    if (p->on_left != NULL)
        p->on_left(p->arg, b->uid, b->conn, b->number);
    people_tell_end(p, b->uid, b->conn, last, reason_word(REASON_ERROR));
    return true;
}

/* Pages until hooks run.  False: nothing is left to tell. */
static bool tell(struct heir *h)
{
    int rc = 0;

    while (rc == 0 && h->open == 0) {
        h->is_in_page = true;
        rc = uidmap_tell(map_of(h), &h->dead, &h->cursor, PAGE, on_binding, h);
        h->is_in_page = false;
        if (rc == 0 && h->cursor == 0)
            break;
    }
    return rc == 0 && h->open > 0;
}

/* False: somebody must be told first. */
static bool own(struct heir *h)
{
    void (*then)(struct vms *) = h->on_owned;

    if (!uidmap_own(map_of(h), &h->dead))
        return false;
    h->is_owner = true;
    h->on_owned = NULL;
    then(h->all); /* which may look for dead ones */
    return true;
}

/* Go on until hooks run or everybody is told. */
static void go_on(struct heir *h)
{
    for (;;) {
        if (h->is_telling && h->open > 0)
            return;
        if (h->is_telling && h->cursor != 0 && tell(h))
            return;
        if (h->is_telling) {
            uidmap_told(map_of(h), &h->dead);
            h->is_telling = false;
        }
        if (h->on_owned != NULL ? own(h) : !uidmap_claim(map_of(h), &h->dead))
            return;
        h->is_telling = true;
        h->cursor = 0;
        if (tell(h))
            return;
    }
}

void heir_start(struct heir *h, void (*on_owned)(struct vms *all))
{
    if (map_of(h) == NULL) {
        on_owned(h->all);
        return;
    }
    h->on_owned = on_owned;
    go_on(h);
}

void heir_look(struct heir *h)
{
    if (map_of(h) != NULL && h->is_owner && !h->is_telling)
        go_on(h);
}

void heir_opened(struct heir *h)
{
    if (h->is_in_page)
        h->open++;
}

void heir_ended(struct heir *h)
{
    sd_assert(h->open > 0);
    if (--h->open == 0)
        go_on(h);
}
