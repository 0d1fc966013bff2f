/* stages.c - see stages.h. */
#include "common/stages.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/util.h"

void stages_fail(struct stages *s, const char *fmt, ...)
{
    va_list ap;

    if (s->failed)
        return;
    s->failed = true;
    va_start(ap, fmt);
    vsnprintf(s->result->error, sizeof(s->result->error), fmt, ap);
    va_end(ap);
}

static void read_usage(struct stages *s, struct proc_usage *out)
{
    if (proc_usage_read(out, s->plan->server) < 0)
        stages_fail(s, "a server process has ended");
}

static void begin_measure(struct stages *s, uint64_t now)
{
    s->stage = STAGE_MEASURE;
    s->done = 0;
    s->began = now;
    read_usage(s, &s->before);
}

static void end_measure(struct stages *s, uint64_t now)
{
    struct proc_usage *u = &s->result->usage;

    s->stage = STAGE_DRAIN;
    s->result->requests = s->done;
    s->result->seconds = (double)(now - s->began) / 1e9;
    read_usage(s, u);
    u->cpu_ns -= s->before.cpu_ns;
    u->user_ns -= s->before.user_ns;
    u->reads -= s->before.reads;
    u->writes -= s->before.writes;
}

void stages_begin(struct stages *s, const struct client_plan *plan,
                  struct client_result *result)
{
    *result = (struct client_result){0};
    *s = (struct stages){.plan = plan, .result = result, .began = util_now()};
}

void stages_advance(struct stages *s, uint64_t now)
{
    const struct client_plan *plan = s->plan;
    bool late = (double)(now - s->began) / 1e9 >= plan->seconds;

    if (s->stage == STAGE_WARMUP && (late || s->done >= plan->warmup))
        begin_measure(s, now);
    else if (s->stage == STAGE_MEASURE && (late || s->done >= plan->requests))
        end_measure(s, now);
}
