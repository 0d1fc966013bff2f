/* routes.c - `sdlua routes`: what can be called, and through which port.
 *
 * The methods are found by reading the controllers, not by running them: a
 * method that a script makes while loading is not listed. */
#include <stdio.h>
#include <string.h>

#include "cmd/built.h"
#include "cmd/cmd.h"
#include "codec/json.h"

struct route {
    const char *port, *controller, *method, *place;
};

static bool next_route(struct route *r, struct slice *rest)
{
    r->port = built_next(rest);
    if (r->port == NULL)
        return false;
    r->controller = built_next(rest);
    r->method = built_next(rest);
    r->place = built_next(rest);
    return true;
}

static void print_field(struct buf *out, const char *name, const char *text,
                        const char *behind)
{
    buf_printf(out, "\"%s\":", name);
    if (json_write_string(out, slice_str(text)) < 0)
        buf_append_str(out, "\"\"");
    buf_append_str(out, behind);
}

static void print_json(struct buf *out, const struct route *r, bool first)
{
    buf_append_str(out, first ? "{" : ",{");
    print_field(out, "port", r->port, ",");
    print_field(out, "controller", r->controller, ",");
    print_field(out, "method", r->method, ",");
    print_field(out, "place", r->place, "}");
}

static void print_text(struct buf *out, const struct route *r)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", r->controller, r->method);
    buf_printf(out, "%-12s %-32s %s\n", r->port, path, r->place);
}

/* The port through which `controller` was seen first. */
static const char *first_port(struct slice routes, const char *controller)
{
    struct route r;

    while (next_route(&r, &routes)) {
        if (strcmp(r.controller, controller) == 0)
            return r.port;
    }
    return "";
}

/* Warn once for each controller and port beside its first. */
static void warn_twice(struct slice routes)
{
    struct slice rest = routes;
    const char *port = "", *controller = "";
    struct route r;

    while (next_route(&r, &rest)) {
        const char *first = first_port(routes, r.controller);

        if (strcmp(first, r.port) != 0 &&
            (strcmp(port, r.port) != 0 ||
             strcmp(controller, r.controller) != 0))
            fprintf(stderr,
                    "warning: controller %s is open on ports %s and %s\n",
                    r.controller, first, r.port);
        port = r.port;
        controller = r.controller;
    }
}

static void print_all(const struct cmd *cmd, const struct bundle *bundle)
{
    struct slice routes = {0}, rest;
    struct buf out = {0};
    struct route r;
    bool first = true;

    bundle_get(bundle, "routes", &routes);
    if (cmd->json)
        buf_append_str(&out, "[");
    for (rest = routes; next_route(&r, &rest); first = false) {
        if (cmd->json)
            print_json(&out, &r, first);
        else
            print_text(&out, &r);
    }
    if (cmd->json)
        buf_append_str(&out, "]\n");
    fwrite(buf_slice(&out).p, 1, out.len, stdout);
    buf_fini(&out);
    warn_twice(routes);
}

int cmd_routes(const struct cmd *cmd)
{
    struct built b;
    bool good = built_open(&b);

    if (good)
        print_all(cmd, b.bundle);
    else
        built_complain(&b, true);
    built_close(&b);
    return good ? CMD_DONE : CMD_FAILED;
}
