/* conf_set.c - see conf_set.h.
 *
 * A key says what its values look like and at which offset of its struct they
 * stand (conf_schema.h).  Strings are not copied one by one: they point into
 * the arena's copy of the entries. */
#include "base/conf_set.h"

#include <string.h>

#include "base/assert.h"
#include "base/conf_value.h"
#include "base/err.h"
#include "base/mem.h"

#define ARENA_MAGIC 0xc04fa4e1

struct conf_arena {
    unsigned magic;
    char *text;
    size_t len;
    void **blocks; /* lists, and defaults cut into items */
    unsigned nblocks;
};

/* --- memory that lives as long as the conf -------------------------------- */

struct conf_arena *conf_arena_new(struct slice entries)
{
    struct conf_arena *a = mem_zalloc(sizeof(*a));

    a->magic = ARENA_MAGIC;
    a->text = mem_dup(entries.p, entries.len);
    a->len = entries.len;
    return a;
}

char *conf_arena_text(struct conf_arena *a, size_t *len)
{
    sd_check(a, ARENA_MAGIC);
    *len = a->len;
    return a->text;
}

void *conf_arena_keep(struct conf_arena *a, void *p)
{
    sd_check(a, ARENA_MAGIC);
    a->blocks = mem_realloc(a->blocks, (a->nblocks + 1) * sizeof(a->blocks[0]));
    a->blocks[a->nblocks++] = p;
    return p;
}

void conf_arena_free(struct conf_arena **ap)
{
    struct conf_arena *a = *ap;
    unsigned i;

    *ap = NULL;
    sd_check(a, ARENA_MAGIC);
    a->magic = 0;
    for (i = 0; i < a->nblocks; i++)
        mem_free(a->blocks[i]);
    mem_free(a->blocks);
    mem_free(a->text);
    mem_free(a);
}

/* --- values --------------------------------------------------------------- */

/* Lists grow by doubling: the room is the next power of two. */
static void list_push(struct conf_arena *a, struct conf_list *l,
                      const char *item)
{
    const char **grown;

    if ((l->n & (l->n - 1)) == 0) {
        unsigned room = l->n > 0 ? l->n * 2 : 1;

        grown = conf_arena_keep(a, mem_alloc(room * sizeof(char *)));
        if (l->n > 0)
            memcpy(grown, l->at, l->n * sizeof(char *));
        l->at = grown;
    }
    l->at[l->n++] = item;
}

static void set_number(void *field, const struct conf_key *key,
                       const struct conf_value *v)
{
    switch (key->store) {
    case CONF_AS_BOOL:
        *(bool *)field = key->type == CONF_CHOICE ? v->choice == 1 : v->yes;
        break;
    case CONF_AS_UNSIGNED:
        *(unsigned *)field = (unsigned)v->whole;
        break;
    case CONF_AS_U64:
        *(uint64_t *)field = v->whole;
        break;
    case CONF_AS_I64:
        *(int64_t *)field = (int64_t)v->number;
        break;
    case CONF_AS_DOUBLE:
        *(double *)field = v->number;
        break;
    case CONF_AS_CHOICE:
        *(int *)field = v->choice;
        break;
    case CONF_AS_MINUTES:
        *(int *)field = (int)v->number;
        break;
    default:
        sd_assert(false);
    }
}

static void set_text(void *field, const struct conf_key *key, const char *text,
                     size_t len)
{
    const char **place = field;

    if (key->store == CONF_AS_BYTES)
        *(unsigned *)(void *)(place + 1) = (unsigned)len;
    *place = len == 0 && key->nullable ? NULL : text;
}

/* Put one text where its key says.  Items of a list are pushed. */
int conf_set(struct conf_arena *a, void *section, const struct conf_key *key,
             struct conf_text text, char why[CONF_WHY_MAX])
{
    char *field = (char *)section + key->offset;
    struct conf_value v;

    if (conf_value_read(&v, key, text.p, why, CONF_WHY_MAX) < 0)
        return SD_EINVALID;
    if (key->store == CONF_AS_NOTHING)
        return 0;
    if (key->store == CONF_AS_LIST)
        list_push(a, (struct conf_list *)(void *)field, text.p);
    else if (key->store == CONF_AS_TEXT || key->store == CONF_AS_BYTES)
        set_text(field, key, text.p, text.len);
    else
        set_number(field, key, &v);
    return 0;
}

static void set_default(struct conf_arena *a, void *section,
                        const struct conf_key *key, const char *text)
{
    struct conf_text whole = {text, strlen(text)};
    char why[CONF_WHY_MAX];

    sd_assert(conf_set(a, section, key, whole, why) == 0);
}

static void set_default_list(struct conf_arena *a, void *section,
                             const struct conf_key *key)
{
    char *text =
        conf_arena_keep(a, mem_dup(key->fallback, strlen(key->fallback)));
    char *rest = NULL, *item;

    for (item = strtok_r(text, ",", &rest); item != NULL;
         item = strtok_r(NULL, ",", &rest))
        set_default(a, section, key, item);
}

void conf_set_defaults(struct conf_arena *a, void *section, const char *prefix)
{
    const struct conf_key *key;
    size_t len = strlen(prefix);
    unsigned i;

    for (i = 0; (key = conf_key_at(i)) != NULL; i++) {
        if (strncmp(key->path, prefix, len) != 0 || key->fallback == NULL)
            continue;
        if (key->store == CONF_AS_LIST)
            set_default_list(a, section, key);
        else
            set_default(a, section, key, key->fallback);
    }
}
