/* top_show.c - see top_show.h. */
#include "cmd/top_show.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Lines that are cut where the terminal ends. */
struct page {
    struct buf *out;
    unsigned lines, columns; /* left, wide; 0: no limit */
    bool is_full;
};

__attribute__((format(printf, 2, 3))) static void put(struct page *p,
                                                      const char *fmt, ...)
{
    char text[1024];
    va_list args;
    size_t n;

    if (p->is_full)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    n = strlen(text);
    if (p->columns > 0 && n > p->columns)
        n = p->columns;
    while (n > 0 && n < strlen(text) && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--; /* no half character */
    buf_append(p->out, text, n);
    buf_append_str(p->out, "\n");
    if (p->lines > 0 && --p->lines == 0)
        p->is_full = true;
}

/* "1.5M" */
static const char *bytes(char *out, size_t size, double n)
{
    static const char units[] = " KMGT";
    unsigned i = 0;

    while (n >= 1024 && i < sizeof(units) - 2) {
        n /= 1024;
        i++;
    }
    if (i == 0)
        snprintf(out, size, "%.0f", n);
    else
        snprintf(out, size, "%.1f%c", n, units[i]);
    return out;
}

static void put_workers(struct page *p, const struct top *t)
{
    char a[32], b[32];

    put(p, "%-6s %8s %-9s %6s %8s %10s %9s %9s %9s %4s", "worker", "pid",
        "state", "cpu", "conns", "packets/s", "bytes/s", "lag", "memory",
        "gen");
    for (unsigned i = 0; i < t->nworkers; i++) {
        const struct top_worker *w = &t->workers[i];
        const struct row *s = &w->status;
        char packets[32] = "-";

        if (w->seconds > 0)
            snprintf(packets, sizeof(packets), "%.0f", w->packets);
        put(p, "%-6u %8s %-9s %5.1f%% %8s %10s %9s %7.1fms %9s %4s", i,
            row_get(s, "pid"), row_get(s, "state"), w->cpu_share * 100,
            row_get(s, "conns"), packets,
            w->seconds > 0 ? bytes(a, sizeof(a), w->bytes) : "-",
            row_number(s, "loop_lag") * 1000,
            bytes(b, sizeof(b), row_number(s, "memory")),
            row_get(s, "generation"));
    }
}

static void put_routes(struct page *p, const struct top *t, unsigned max)
{
    char route[4 * ROW_TEXT];

    put(p, "%s", "");
    put(p, "%-32s %-12s %10s %10s", "route", "port", "calls/s", "errors/s");
    for (unsigned i = 0; i < t->nroutes && i < max; i++) {
        const struct top_route *r = &t->routes[i];

        row_printable(route, sizeof(route), r->route);
        put(p, "%-32s %-12s %10.1f %10.1f", route, r->port, r->calls,
            r->errors);
    }
}

static void put_conns(struct page *p, const struct top *t, unsigned max)
{
    char uid[4 * ROW_TEXT], peer[2 * ROW_TEXT + 2], a[32], b[32];

    put(p, "%s", "");
    put(p, "%-22s %-12s %-20s %-6s %10s %9s %9s", "conn", "port", "uid",
        "worker", "packets/s", "bytes/s", "unsent");
    for (unsigned i = 0; i < t->nconns && i < max; i++) {
        const struct top_conn *c = &t->conns[i];

        row_printable(uid, sizeof(uid), row_get(&c->row, "uid"));
        snprintf(peer, sizeof(peer), "%s %s", row_get(&c->row, "address"),
                 row_get(&c->row, "peer_port"));
        put(p, "%-22s %-12s %-20s %-6u %10.1f %9s %9s", peer,
            row_get(&c->row, "port"), uid, c->worker, c->packets,
            bytes(a, sizeof(a), c->bytes),
            bytes(b, sizeof(b), row_number(&c->row, "unsent")));
    }
}

void top_text(const struct top *t, unsigned lines, unsigned columns,
              struct buf *out)
{
    struct page p = {.out = out, .lines = lines, .columns = columns};
    unsigned used = 2 + t->nworkers + 1 + 4, left, routes;

    left = lines == 0 ? 2 * TOP_ROWS : lines > used ? lines - used : 0;
    routes = t->nroutes < left / 2 ? t->nroutes : left / 2;
    put(&p, "node %s, %s", t->node, t->state);
    put(&p, "%s", "");
    put_workers(&p, t);
    put_routes(&p, t, routes);
    put_conns(&p, t, left - routes);
}

/* --- JSON ----------------------------------------------------------------- */

static void put_string(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "\"%s\":", key);
    if (json_write_string(out, slice_str(value)) < 0)
        buf_append_str(out, "\"\"");
}

static void put_figures(struct buf *out, const struct row *row,
                        const char *const *keys)
{
    for (; *keys != NULL; keys++)
        buf_printf(out, ",\"%s\":%.15g", *keys, row_number(row, *keys));
}

static void worker_json(struct buf *out, const struct top_worker *w)
{
    static const char *const keys[] = {
        "index", "pid", "conns", "loop_lag", "memory", "generation", NULL};

    buf_append_str(out, "{");
    put_string(out, "state", row_get(&w->status, "state"));
    put_figures(out, &w->status, keys);
    buf_printf(out, ",\"cpu\":%.4f", w->cpu_share);
    if (w->seconds > 0)
        buf_printf(out, ",\"packets\":%.3f,\"bytes\":%.3f", w->packets,
                   w->bytes);
    buf_append_str(out, "}");
}

static void conn_json(struct buf *out, const struct top_conn *c)
{
    static const char *const keys[] = {"peer_port", "unsent", "age", NULL};
    static const char *const texts[] = {"port", "protocol", "uid", "address"};

    buf_append_str(out, "{");
    put_string(out, "id", row_get(&c->row, "id"));
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buf_append_str(out, ",");
        put_string(out, texts[i], row_get(&c->row, texts[i]));
    }
    put_figures(out, &c->row, keys);
    buf_printf(out, ",\"worker\":%u,\"packets\":%.3f,\"bytes\":%.3f}",
               c->worker, c->packets, c->bytes);
}

void top_json(const struct top *t, struct buf *out)
{
    buf_append_str(out, "{");
    put_string(out, "node", t->node);
    buf_append_str(out, ",");
    put_string(out, "state", t->state);
    buf_append_str(out, ",\"workers\":[");
    for (unsigned i = 0; i < t->nworkers; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        worker_json(out, &t->workers[i]);
    }
    buf_append_str(out, "],\"routes\":[");
    for (unsigned i = 0; i < t->nroutes; i++) {
        buf_append_str(out, i > 0 ? ",{" : "{");
        put_string(out, "route", t->routes[i].route);
        buf_append_str(out, ",");
        put_string(out, "port", t->routes[i].port);
        buf_printf(out, ",\"calls\":%.3f,\"errors\":%.3f}", t->routes[i].calls,
                   t->routes[i].errors);
    }
    buf_append_str(out, "],\"conns\":[");
    for (unsigned i = 0; i < t->nconns; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        conn_json(out, &t->conns[i]);
    }
    buf_append_str(out, "]}\n");
}
