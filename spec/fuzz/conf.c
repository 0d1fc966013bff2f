/* Any bytes as flattened configuration: refused with a reason, or a conf
 * whose every port can be listened on and whose lists can be read. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t read_list(const struct conf_list *l)
{
    size_t sum = 0;

    for (unsigned i = 0; i < l->n; i++)
        sum += strlen(l->at[i]);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const char *why = NULL;
    struct conf *c;

    if (conf_open(&c, slice_make(p, n), &why) < 0) {
        sd_assert(why != NULL && why[0] != '\0');
        return 0;
    }
    for (unsigned i = 0; i < c->nports; i++) {
        const struct conf_port *port = &c->ports[i];

        sd_assert(port->listen != NULL && port->frame.max > 0);
        sd_assert(read_list(&port->middlewares) <= n);
        sd_assert(port->frame.delimiter_len <= n + 2);
    }
    sd_assert(read_list(&c->cluster.key) <= n);
    sd_assert(read_list(&c->cluster.seeds) <= n);
    sd_assert(conf_cluster_bind(c) != NULL && c->dispatch.relays > 0);
    conf_close(&c);
    return 0;
}
