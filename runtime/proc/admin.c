/* admin.c - see admin.h.
 *
 * The port is one of net/, with a configuration of its own: HTTP, no files,
 * no WebSockets.  A browser is no client of this port: a page from anywhere
 * could reach a loopback address through it, so what carries an Origin needs
 * the token like everybody else from outside.  A page may also come from a
 * name that its owner lets point at us by now; its requests carry no Origin,
 * but that name, so without a token we answer to addresses only. */
#include "proc/admin.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/net.h"
#include "proc/admin_socket.h"
#include "proc/door.h"
#include "proc/guard.h"
#include "proc/metrics.h"
#include "proc/process.h"
#include "proc/readiness.h"

enum {
    ADMIN_MAGIC = 0x61646d6e
};

struct admin {
    unsigned magic;
    struct process *process;
    struct conf *conf;   /* of the port alone */
    bool may_be_rebound; /* by such a name */
    struct guard guard;
    struct door_calls *door;
    const struct membership *membership;
};

static const char json_type[] = "application/json";

/* --- answers -------------------------------------------------------------- */

static void respond(struct http_request *r, int status, const char *type,
                    struct buf *body)
{
    http_respond(r, status, slice_str(type), slice_make("", 0),
                 buf_slice(body));
    buf_fini(body);
}

static void refuse(struct http_request *r, int status, const char *header,
                   const char *message)
{
    struct buf body = {0};

    buf_printf(&body, "{\"error\":{\"code\":%d,\"message\":\"%s\"}}", status,
               message);
    http_respond(r, status, slice_str(json_type), slice_str(header),
                 buf_slice(&body));
    buf_fini(&body);
}

static void on_healthz(struct admin *a, struct http_request *r)
{
    struct buf body = {0};

    sd_check(a, ADMIN_MAGIC);
    buf_append_str(&body, "{\"ok\":true}");
    respond(r, 200, json_type, &body);
}

static void on_readyz(struct admin *a, struct http_request *r)
{
    const struct process *p = a->process;
    struct buf body = {0};
    bool ready = readiness_json(p->slots, clock_ms(),
                                p->conf->server.hang_timeout, &body);

    respond(r, ready ? 200 : 503, json_type, &body);
}

static void on_metrics(struct admin *a, struct http_request *r)
{
    const struct process *p = a->process;
    struct metrics m = {
        .node = p->h->node,
        .version = p->h->version,
        .generation = p->code->generation,
        .now = clock_ms(),
        .mesh = p->mesh,
        .conf = p->conf,
        .membership = a->membership,
    };
    struct buf body = {0};

    metrics_text(&m, &body);
    respond(r, 200, METRICS_TYPE, &body);
}

/* The last part of the path is the verb.  The request is the door's. */
static void on_api(struct admin *a, struct http_request *r)
{
    struct slice path = http_path(r);

    door_call(a->door, slice_skip(path, strlen("/api/")), r);
}

/* --- who may, and what there is ------------------------------------------- */

static bool may(struct admin *a, struct http_request *r)
{
    char address[CONN_ADDRESS];
    struct slice value = {"", 0};

    conn_peer(http_conn(r), address);
    if (a->guard.token == NULL && http_header(&value, r, "origin")) {
        refuse(r, 403, "", "browsers need a token here");
        return false;
    }
    (void)http_header(&value, r, "authorization");
    switch (guard_judge(&a->guard, address, value, clock_ms())) {
    case GUARD_PASS:
        return true;
    case GUARD_REFUSED:
        log_warn("admin port: %s has no valid token", address);
        refuse(r, 401, "WWW-Authenticate: Bearer\r\n", "a token is needed");
        break;
    case GUARD_LIMITED:
        refuse(r, 429, "Retry-After: 1\r\n", "too many wrong tokens");
        break;
    }
    return false;
}

static const struct route {
    const char *method, *path;
    void (*fn)(struct admin *a, struct http_request *r);
    bool is_open; /* to requests by any name */
} routes[] = {
    {"GET", "/healthz", on_healthz, true},
    {"GET", "/readyz", on_readyz, true},
    {"GET", "/metrics", on_metrics, false},
    {"POST", "/api/send", on_api, false},
    {"POST", "/api/ask", on_api, false},
    {"POST", "/api/kick", on_api, false},
    {"GET", "/api/online", on_api, false},
    {"POST", "/api/online", on_api, false},
};

static void call_route(struct admin *a, const struct route *route,
                       struct http_request *r)
{
    struct slice host;

    if (a->may_be_rebound && !route->is_open && http_header(&host, r, "host") &&
        !guard_is_local(host))
        refuse(r, 403, "", "by this name a token is needed");
    else
        route->fn(a, r);
}

static void on_request(void *arg, struct conn *c, struct http_request *r)
{
    struct admin *a = arg;
    bool known = false;
    unsigned i;

    (void)c;
    sd_check(a, ADMIN_MAGIC);
    if (!may(a, r))
        return;
    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!slice_is(http_path(r), routes[i].path))
            continue;
        known = true;
        if (slice_is(http_method(r), routes[i].method)) {
            call_route(a, &routes[i], r);
            return;
        }
    }
    if (known)
        refuse(r, 405, "", "not this method");
    else
        refuse(r, 404, "", "no such path");
}

static const struct conn_ops ops = {.on_request = on_request};

/* --- the port ------------------------------------------------------------- */

/* Entries as of base/conf.h; NUL ends each path and value. */
static const char entries[] = "ports.admin.listen\0admin\0"
                              "ports.admin.protocol\0http\0"
                              "ports.admin.public\0\0"
                              "ports.admin.websocket.enabled\0false\0"
                              "ports.admin.max_body\0"
                              "8388608\0"
                              "ports.admin.max_conns\0"
                              "256";

static int open_net(struct admin *a, const char **why)
{
    struct process *p = a->process;
    struct net_config config = {
        .loop = p->loop,
        .slot = p->h->slot,
        .epoch = p->h->epoch,
        .ops = &ops,
        .arg = a,
    };
    int fd = p->h->admin;
    int err = conf_open(&a->conf, slice_make(entries, sizeof(entries)), why);

    if (err < 0)
        return err;
    config.conf = a->conf;
    err = net_open(&p->net, &config, why);
    if (err < 0)
        return err;
    *why = "the admin port cannot be served";
    return net_adopt(p->net, p->h->slot, &fd);
}

int admin_open(struct admin **out, struct process *p, const char **why)
{
    struct admin *a = mem_zalloc(sizeof(*a));
    int err;

    a->magic = ADMIN_MAGIC;
    a->process = p;
    a->guard.token = p->conf->admin.token;
    a->may_be_rebound =
        a->guard.token == NULL && !admin_socket_is_unix(p->conf->admin.listen);
    a->door = door_new(p);
    *out = a;
    err = open_net(a, why);
    return err;
}

void admin_show_cluster(struct admin *a, const struct membership *m)
{
    sd_check(a, ADMIN_MAGIC);
    a->membership = m;
}

void admin_close(struct admin **ap)
{
    struct admin *a = *ap;

    if (a == NULL)
        return;
    sd_check(a, ADMIN_MAGIC);
    door_free(&a->door);
    conf_close(&a->conf);
    a->magic = 0;
    mem_free(a);
    *ap = NULL;
}

unsigned admin_calls(const struct admin *a)
{
    sd_check(a, ADMIN_MAGIC);
    return door_count(a->door);
}

void admin_mesh_hooks(struct admin *a, struct mesh_hooks *out)
{
    sd_check(a, ADMIN_MAGIC);
    door_mesh_hooks(a->door, out);
}
