/* load.c - the load generator: one workload, one line of JSON.
 *
 * It speaks the protocols with code of its own, so a bug of the server is not
 * also a bug of its judge, and it judges every reply.  Exit status: 0 when all
 * were right, 1 at the first that was not, 2 for wrong flags. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/client.h"
#include "common/fanout.h"
#include "common/idle.h"
#include "common/pairs.h"
#include "common/slow.h"
#include "common/util.h"

static void usage(void)
{
    printf("Load a server, verify every reply, print one line of JSON.\n\n"
           "  --workload NAME  one of the list below (needed)\n"
           "  --port PORT      where the server listens (needed)\n"
           "  --address IP     default 127.0.0.1\n"
           "  --conns N        default 64 (W4: 1000, W7: 10000)\n"
           "  --depth N        requests in flight on each conn, default 1\n"
           "  --requests N     at most so many are measured, default 100000\n"
           "  --warmup N       requests before that, default a tenth of them\n"
           "  --seconds S      at most so long is measured, default 10\n"
           "  --stall S        no reply for so long is an error, default 10\n"
           "  --pid A,B        server processes (with their children) whose\n"
           "                   CPU time, calls and memory are reported\n"
           "  --path P         of HTTP requests, default /bench/json\n"
           "  --expect BODY    of HTTP replies\n\nWorkloads:\n");
    workload_list();
    exit(0);
}

struct options {
    struct client_plan plan;
    const char *path;
    const char *expect;
    double warmup; /* -1: not given */
};

static void set_workload(struct client_plan *plan, const char *name)
{
    plan->work = workload_find(name);
    if (plan->work == NULL)
        util_die("no workload \"%s\"; see --help", name);
}

static void set_flag(struct options *o, int flag, const char *value)
{
    struct client_plan *plan = &o->plan;

    switch (flag) {
    case 'w':
        set_workload(plan, value);
        break;
    case 'p':
        plan->port = (int)util_number("--port", value, 1, 65535);
        break;
    case 'a':
        plan->address = value;
        break;
    case 'c':
        plan->conns = (unsigned)util_number("--conns", value, 1, 1e6);
        break;
    case 'd':
        plan->depth = (unsigned)util_number("--depth", value, 1, 4096);
        break;
    case 'r':
        plan->requests = (uint64_t)util_number("--requests", value, 1, 1e12);
        break;
    case 'u':
        o->warmup = util_number("--warmup", value, 0, 1e12);
        break;
    case 's':
        plan->seconds = util_number("--seconds", value, 0.01, 3600);
        break;
    case 't':
        plan->stall = util_number("--stall", value, 0.1, 3600);
        break;
    case 'i':
        proc_group_add(plan->server, value);
        break;
    case 'h':
        usage();
        break;
    case 'H':
        o->path = value;
        break;
    case 'E':
        o->expect = value;
        break;
    default:
        exit(2);
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option flags[] = {
        {"workload", required_argument, NULL, 'w'},
        {"port", required_argument, NULL, 'p'},
        {"address", required_argument, NULL, 'a'},
        {"conns", required_argument, NULL, 'c'},
        {"depth", required_argument, NULL, 'd'},
        {"requests", required_argument, NULL, 'r'},
        {"warmup", required_argument, NULL, 'u'},
        {"seconds", required_argument, NULL, 's'},
        {"stall", required_argument, NULL, 't'},
        {"pid", required_argument, NULL, 'i'},
        {"path", required_argument, NULL, 'H'},
        {"expect", required_argument, NULL, 'E'},
        {"help", no_argument, NULL, 'h'},
        {0}};
    struct client_plan *plan = &o->plan;
    int flag;

    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1)
        set_flag(o, flag, optarg);
    if (plan->work == NULL || plan->port == 0 || optind < argc) {
        fprintf(stderr, "load: --workload and --port are needed; see --help\n");
        exit(2);
    }
    if (plan->work->per_conn)
        plan->depth = 1;
    if (plan->conns == 0)
        plan->conns = plan->work->conns > 0 ? plan->work->conns : 64;
    if (plan->conns + 100 > util_raise_files())
        util_die("%u conns do not fit the limit of open files", plan->conns);
    plan->warmup = o->warmup >= 0 ? (uint64_t)o->warmup : plan->requests / 10;
    workload_set_http(o->path, o->expect);
}

static double per(double total, uint64_t requests)
{
    return requests > 0 ? total / (double)requests : 0;
}

static int measure_load(const struct client_plan *plan)
{
    static int (*const runs[WORKLOAD_KINDS])(struct client_result *,
                                             const struct client_plan *) = {
        [WORKLOAD_CALLS] = client_run,
        [WORKLOAD_FANOUT] = fanout_run,
        [WORKLOAD_PAIRS] = pairs_run,
    };
    struct client_result *r = util_alloc(1, sizeof(*r));
    int err = runs[plan->work->kind](r, plan);
    const struct proc_usage *u = &r->usage;

    printf("{\"workload\":\"%s\",\"depth\":%u,\"conns\":%u,\"requests\":%llu,"
           "\"seconds\":%.3f,\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"errors\":%d",
           plan->work->name, plan->depth, plan->conns,
           (unsigned long long)r->requests, r->seconds,
           r->seconds > 0 ? (double)r->requests / r->seconds : 0,
           hist_us(&r->latency, 0.5), hist_us(&r->latency, 0.99),
           hist_us(&r->latency, 0.999), err < 0);
    if (plan->server->count > 0)
        printf(",\"cpu_us\":%.3f,\"user_us\":%.3f,\"reads\":%.4f,"
               "\"writes\":%.4f",
               per((double)u->cpu_ns / 1e3, r->requests),
               per((double)u->user_ns / 1e3, r->requests),
               per((double)u->reads, r->requests),
               per((double)u->writes, r->requests));
    printf("}\n");
    if (err < 0)
        fprintf(stderr, "load: %s: %s\n", plan->work->name, r->error);
    free(r);
    return err;
}

static int measure_idle(const struct client_plan *plan)
{
    struct idle_result r;
    int err;

    err = idle_run(&r, plan);
    printf("{\"workload\":\"%s\",\"conns\":%u,\"seconds\":%.3f,\"errors\":%d,"
           "\"pss_before\":%.0f,\"pss_after\":%.0f,\"bytes_per_conn\":%.0f}\n",
           plan->work->name, r.conns, r.seconds, err < 0, r.pss_before,
           r.pss_after, (r.pss_after - r.pss_before) / r.conns);
    if (err < 0)
        fprintf(stderr, "load: %s: %s\n", plan->work->name, r.error);
    return err;
}

static int measure_slow(const struct client_plan *plan)
{
    struct slow_result *r = util_alloc(1, sizeof(*r));
    int err = slow_run(r, plan);

    printf("{\"workload\":\"%s\",\"conns\":%u,\"seconds\":%.3f,\"errors\":%d,"
           "\"megabytes\":%.1f,\"rss_before\":%.0f,\"rss_peak\":%.0f,"
           "\"dropped\":%.3f}\n",
           plan->work->name, plan->conns, r->run.seconds, err < 0, r->megabytes,
           r->rss_before, r->rss_peak, r->dropped);
    if (err < 0)
        fprintf(stderr, "load: %s: %s\n", plan->work->name, r->run.error);
    free(r);
    return err;
}

static int measure(const struct client_plan *plan)
{
    enum workload_kind kind = plan->work->kind;

    if (kind != WORKLOAD_IDLE && kind != WORKLOAD_SLOW)
        return measure_load(plan);
    if (plan->server->count == 0)
        util_die("%s needs --pid", plan->work->name);
    return kind == WORKLOAD_IDLE ? measure_idle(plan) : measure_slow(plan);
}

int main(int argc, char **argv)
{
    static struct proc_group server;
    struct options o = {.path = "/bench/json",
                        .expect = "{\"message\":\"Hello, World!\"}",
                        .warmup = -1,
                        .plan = {.address = "127.0.0.1",
                                 .depth = 1,
                                 .requests = 100000,
                                 .seconds = 10,
                                 .stall = 10,
                                 .server = &server}};

    parse(&o, argc, argv);
    return measure(&o.plan) < 0 ? 1 : 0;
}
