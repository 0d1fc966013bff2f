/* setup.c - the ports of a net as its configuration has them, at the start and
 * when a reload brings another one. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/inner.h"

enum {
    HEADERS_MIN = 16
};

/* What a port has of a configuration, beside conf and format. */
static void fit_port(struct net_port *p, const struct conf_port *conf)
{
    unsigned i;

    p->conf = conf;
    p->has_cors = false;
    for (i = 0; i < conf->origins.n; i++)
        p->has_cors |= strcmp(conf->origins.at[i], "same") != 0;
    p->ws_protocols =
        mem_realloc(p->ws_protocols, (conf->websocket.protocols.n + 1) *
                                         sizeof(*p->ws_protocols));
    for (i = 0; i < conf->websocket.protocols.n; i++)
        p->ws_protocols[i] = slice_str(conf->websocket.protocols.at[i]);
    if (p->public_fd >= 0)
        close(p->public_fd);
    p->public_fd = -1;
    if (conf->public_dir != NULL)
        p->public_fd = open(conf->public_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The port's format, or the new one if it says something else. */
static void fit_format(struct net *n, struct net_port *p, struct format *f)
{
    if (p->format != NULL && format_is_same(p->format, f)) {
        format_unref(f);
        return;
    }
    f->number = ++n->nformats;
    list_add(&n->formats, &f->link);
    format_unref(p->format);
    p->format = f;
}

static int new_format(struct format **out, const struct conf_port *conf,
                      const char **why)
{
    if (conf->protocol == CONF_TCP || conf->protocol == CONF_HTTP)
        return format_new(out, conf, why);
    *why = "protocol: not served yet";
    return SD_EINVALID;
}

/* All or nothing. */
static int new_formats(struct format **out, const struct conf *conf,
                       const char **why)
{
    for (unsigned i = 0; i < conf->nports; i++) {
        int err = new_format(&out[i], &conf->ports[i], why);

        if (err == 0)
            continue;
        while (i > 0)
            format_unref(out[--i]);
        return err;
    }
    return 0;
}

static int fit(struct net *n, const struct conf *conf, const char **why)
{
    struct format **formats =
        mem_alloc((conf->nports + 1) * sizeof(struct format *));
    int err = new_formats(formats, conf, why);

    for (unsigned i = 0; i < conf->nports && err == 0; i++) {
        fit_port(&n->ports[i], &conf->ports[i]);
        fit_format(n, &n->ports[i], formats[i]);
    }
    mem_free(formats);
    return err;
}

/* Each request that is taken has room for as many headers as any port
 * allows. */
static unsigned headers_of(const struct conf *conf)
{
    unsigned max = HEADERS_MIN;

    for (unsigned i = 0; i < conf->nports; i++) {
        if (conf->ports[i].max_headers > max)
            max = conf->ports[i].max_headers;
    }
    return max;
}

int net_ports_open(struct net *n, const char **why)
{
    n->nports = n->conf->nports;
    n->max_headers = headers_of(n->conf);
    n->ports = mem_zalloc((n->nports + 1) * sizeof(*n->ports));
    for (unsigned i = 0; i < n->nports; i++) {
        n->ports[i].index = i;
        n->ports[i].public_fd = -1;
    }
    return fit(n, n->conf, why);
}

void net_ports_close(struct net *n)
{
    for (unsigned i = 0; i < n->nports; i++) {
        if (n->ports[i].public_fd >= 0)
            close(n->ports[i].public_fd);
        mem_free(n->ports[i].ws_protocols);
        format_unref(n->ports[i].format);
    }
    mem_free(n->ports);
}

int net_set_conf(struct net *n, const struct conf *conf, const char **why)
{
    int err;

    sd_check(n, NET_MAGIC);
    sd_assert(conf->nports == n->nports);
    err = fit(n, conf, why);
    if (err < 0)
        return err;
    n->conf = conf;
    n->max_headers = headers_of(conf);
    requests_free(n); /* of less room, maybe */
    return 0;
}

unsigned net_format(const struct net *n, unsigned port)
{
    sd_check(n, NET_MAGIC);
    return n->ports[port].format->number;
}

const char *net_next_codec(const struct net *n, unsigned *cursor)
{
    unsigned i = 0;
    struct list *it;

    sd_check(n, NET_MAGIC);
    list_each (it, &n->formats) {
        const struct format *f = list_entry(it, struct format, link);

        for (unsigned k = 0; k < 2; k++, i++) {
            if (i < *cursor || f->codec[k] == NULL)
                continue;
            *cursor = i + 1;
            return f->codec[k];
        }
    }
    return NULL;
}
