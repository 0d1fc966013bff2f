/* reload.c - see reload.h. */
#include "proc/reload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/counters.h"
#include "proc/config.h"
#include "proc/json_lines.h"
#include "proc/tables.h"
#include "proc/watch.h"

enum {
    RELOAD_MAGIC = 0x72656c64
};

enum reload_state {
    RELOAD_IDLE,
    RELOAD_READING, /* the configuration child runs */
    RELOAD_VOTING,  /* processes make the new vm */
};

struct reload {
    unsigned magic;
    enum reload_state state;
    struct loop *loop;
    struct node *node;
    struct mesh *mesh;
    struct crew *crew;
    struct ctl_call *call;
    struct config_job *job; /* while reading */
    struct code *code;      /* while voting, with ... */
    int bundle;             /* ... its file */
    struct buf notes;       /* what it says beside its result, a line each */
    uint64_t began;         /* clock_ms() */
    struct watch *watch;    /* while server.dev is set */
    bool again;             /* a file was saved meanwhile */
    struct counters_writer counters;
    uint64_t count[COUNTERS];
};

static void fit_watch(struct reload *r);

struct reload *reload_new(struct loop *loop, struct node *node,
                          struct mesh *mesh, struct crew *crew)
{
    struct reload *r = mem_zalloc(sizeof(*r));

    r->magic = RELOAD_MAGIC;
    r->loop = loop;
    r->node = node;
    r->mesh = mesh;
    r->crew = crew;
    r->bundle = -1;
    counters_begin(&r->counters, mesh_counters(mesh, mesh_master(mesh)));
    fit_watch(r);
    return r;
}

/* --- files that are saved ------------------------------------------------- */

static void on_change(void *arg)
{
    struct reload *r = arg;

    sd_check(r, RELOAD_MAGIC);
    r->again = r->state != RELOAD_IDLE;
    if (!r->again)
        reload_begin(r, NULL);
}

static void fit_watch(struct reload *r)
{
    int err = 0;

    if (!r->node->conf->server.dev)
        watch_close(&r->watch);
    else if (r->watch == NULL)
        err = watch_open(&r->watch, r->loop, on_change, r);
    if (err < 0)
        log_warn("files are not watched: %s", err_str(err));
}

/* --- the answer ----------------------------------------------------------- */

static void rest(struct reload *r)
{
    r->state = RELOAD_IDLE;
    r->job = NULL;
    code_unref(&r->code);
    if (r->bundle >= 0)
        close(r->bundle);
    r->bundle = -1;
    buf_fini(&r->notes);
    if (r->again)
        on_change(r);
}

static void count(struct reload *r, enum counter which)
{
    r->count[which]++;
    counters_publish(&r->counters, r->count);
}

static void refuse(struct ctl_call **call, const char *why)
{
    struct buf reply = {0};

    buf_append_str(&reply, "{\"ok\":false");
    json_lines(&reply, "errors", slice_str(why));
    buf_append_str(&reply, "}");
    ctl_answer(call, &reply);
    buf_fini(&reply);
}

static void fail(struct reload *r, const char *why)
{
    size_t n = strcspn(why, "\n");

    log_error("reload: %.*s", (int)n, why);
    if (why[n] != '\0' && why[n + 1] != '\0')
        log_info("%s", why + n + 1); /* more errors, or the stack */
    count(r, COUNT_RELOADS_FAILED);
    refuse(&r->call, why);
    rest(r);
}

/* One error, and behind its first line the stack, for the log. */
static void fail_with_stack(struct reload *r, const char *why)
{
    char *first = mem_dup(why, strcspn(why, "\n"));
    const char *stack = why + strlen(first);

    if (*stack != '\0')
        log_info("%s", stack + 1);
    fail(r, first);
    mem_free(first);
}

static void succeed(struct reload *r)
{
    const struct conf_server *server = &r->node->conf->server;
    struct buf reply = {0};

    count(r, COUNT_RELOADS);
    log_info("generation %u serves, %u ms after the reload began",
             r->node->generation, (unsigned)(clock_ms() - r->began));
    buf_printf(&reply,
               "{\"ok\":true,\"generation\":%u,\"workers\":%u,"
               "\"tasks\":%u",
               r->node->generation, server->workers, server->tasks);
    json_lines(&reply, "notes", buf_slice(&r->notes));
    buf_append_str(&reply, "}");
    ctl_answer(&r->call, &reply);
    buf_fini(&reply);
    rest(r);
}

/* --- its steps ------------------------------------------------------------ */

static void commit(struct reload *r)
{
    unsigned number = r->code->generation;
    int bundle = r->bundle;

    tables_adopt_timers(r->mesh, r->code->conf, number);
    slots_set(mesh_slots(r->mesh), mesh_master(r->mesh), SLOT_GENERATION,
              number);
    /* From this store on everybody uses it, also who starts anew.  The number
     * of the vote is never used again, that of the generation is, when a vote
     * fails: some task may not have heard so. */
    slots_set(mesh_slots(r->mesh), mesh_master(r->mesh), SLOT_VOTE,
              crew_vote(r->crew));
    node_take_code(r->node, r->code, bundle);
    r->code = NULL;
    r->bundle = -1;
    crew_commit(r->crew, number, bundle);
    fit_watch(r);
    succeed(r);
}

void reload_on_built(struct reload *r, const char *why)
{
    sd_check(r, RELOAD_MAGIC);
    if (r->state != RELOAD_VOTING)
        return;
    if (why != NULL)
        fail_with_stack(r, why);
    else
        commit(r);
}

static void on_read(void *arg, int fd, const char *notes)
{
    struct reload *r = arg;
    const char *why;

    sd_check(r, RELOAD_MAGIC);
    r->job = NULL;
    if (fd < 0) {
        fail(r, notes);
        return;
    }
    r->bundle = fd;
    buf_append_str(&r->notes, notes);
    if (code_open(&r->code, fd, r->node->generation + 1, &why) < 0) {
        fail(r, why);
        return;
    }
    r->state = RELOAD_VOTING;
    crew_build(r->crew, r->code->generation, fd);
}

void reload_begin(struct reload *r, struct ctl_call *call)
{
    const struct config_order order = {.owner = &r->node->owner,
                                       .running = r->node->bundle_fd,
                                       .on_done = on_read,
                                       .arg = r};
    struct buf errors = {0};

    sd_check(r, RELOAD_MAGIC);
    if (r->state != RELOAD_IDLE) {
        log_warn("a reload is under way: another one was refused");
        refuse(&call, "a reload is under way");
        return;
    }
    r->state = RELOAD_READING;
    r->call = call;
    r->began = clock_ms();
    log_info("reload");
    if (config_begin(&r->job, r->loop, &order, &errors) < 0) {
        buf_append(&errors, "", 1);
        fail(r, buf_slice(&errors).p);
    }
    buf_fini(&errors);
}

void reload_cancel(struct reload *r, const char *why)
{
    sd_check(r, RELOAD_MAGIC);
    watch_close(&r->watch);
    if (r->state == RELOAD_IDLE)
        return;
    config_cancel(&r->job);
    if (r->state == RELOAD_VOTING)
        crew_drop(r->crew, r->code->generation);
    r->again = false;
    fail(r, why);
}

bool reload_on_exit(struct reload *r, int pid, int status)
{
    return r != NULL && config_on_exit(r->job, pid, status);
}

void reload_free(struct reload **rp)
{
    struct reload *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, RELOAD_MAGIC);
    *rp = NULL;
    config_cancel(&r->job);
    watch_close(&r->watch);
    refuse(&r->call, "sdlua has stopped");
    r->again = false;
    rest(r);
    r->magic = 0;
    mem_free(r);
}
