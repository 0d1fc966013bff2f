/* code.c - see code.h. */
#include "base/code.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

static int read_conf(struct code *c, const char **why)
{
    struct slice entries;

    if (bundle_get(c->bundle, "conf", &entries))
        return conf_open(&c->conf, entries, why);
    *why = "the bundle has no configuration";
    return SD_EPROTO;
}

int code_open(struct code **out, int fd, unsigned generation, const char **why)
{
    struct code *c = mem_zalloc(sizeof(*c));
    int err;

    c->refs = 1;
    c->generation = generation;
    *why = "the bundle cannot be read";
    err = bundle_open(&c->bundle, fd);
    if (err == 0)
        err = read_conf(c, why);
    if (err < 0)
        code_unref(&c);
    else
        *out = c;
    return err;
}

struct code *code_ref(struct code *c)
{
    sd_assert(c->refs > 0);
    c->refs++;
    return c;
}

void code_unref(struct code **cp)
{
    struct code *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    sd_assert(c->refs > 0);
    if (--c->refs > 0)
        return;
    conf_close(&c->conf);
    bundle_close(&c->bundle);
    mem_free(c);
}
