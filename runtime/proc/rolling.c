/* rolling.c - see rolling.h.
 *
 * cluster/roll.h and cluster/claim.h know the rules; here are the clock, the
 * datagrams, the master and the client.  What is for ourselves does not leave
 * the process: it goes through `local`, so that both rules hear us as they
 * hear others, and none of them from inside of itself.
 *
 * The reload itself is the master's, asked for as a person does it. */
#include "proc/rolling.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/claim.h"
#include "cluster/meta.h"
#include "cluster/roll.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "proc/ask.h"
#include "proc/instance.h"
#include "proc/reload_answer.h"
#include "proc/reply.h"
#include "proc/roll_json.h"

enum {
    ROLLING_MAGIC = 0x726f6c67,
    RELOAD_MOST = 130000 /* ms of a reload, as the master's clients wait */
};

struct rolling {
    unsigned magic;
    struct process *process;
    struct membership *membership;
    struct claim claim;
    struct ask ask; /* our reload, while it is our turn */
    struct buf local;
    struct loop_job turn; /* something is in `local`, or the roll has ended */
    struct roll *roll;    /* NULL: we run none */
    struct timer tick;
    int client; /* -1: none */
    struct pollfd_watch *watch;
    struct buf out; /* for the client */
    struct list replies;
};

static uint64_t random_number(void)
{
    uint64_t n = 0;

    while (n == 0)
        if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
            n = 0;
    return n;
}

/* --- datagrams ------------------------------------------------------------ */

static void send_to(void *arg, uint64_t boot, const char *bytes, size_t n)
{
    struct rolling *r = arg;
    uint32_t len = (uint32_t)n;

    sd_check(r, ROLLING_MAGIC);
    if (boot != r->claim.self) {
        membership_send(r->membership, boot, slice_make(bytes, n));
        return;
    }
    buf_append(&r->local, &len, sizeof(len));
    buf_append(&r->local, bytes, n);
    loop_defer(r->process->loop, &r->turn);
}

/* The name of a member that may say something; empty: there is none. */
static struct slice name_of(const struct rolling *r, uint64_t boot)
{
    const struct gossip *g = membership_look(r->membership);
    const struct gossip_member *m = gossip_find(g, boot);

    if (boot == r->claim.self)
        m = gossip_self(g);
    if (m == NULL || m->state == GOSSIP_DEAD || m->state == GOSSIP_LEFT)
        return slice_str("");
    return m->name;
}

/* --- a node whose turn it is ---------------------------------------------- */

static void add_line(void *arg, struct slice text)
{
    struct buf *lines = arg;

    if (lines->len > 0)
        buf_append_str(lines, "\n");
    buf_append(lines, text.p, text.len);
}

static void on_reloaded(struct ask *ask, struct slice line)
{
    struct rolling *r = list_entry(ask, struct rolling, ask);
    struct buf texts = {0};
    struct reload_answer a = {.generation = r->process->code->generation,
                              .on_text = add_line,
                              .arg = &texts};

    reload_answer_read(&a, line);
    if (!a.ok && texts.len == 0)
        buf_append_str(&texts, "the master gave no answer");
    claim_end(&r->claim, a.ok, a.generation, buf_slice(&texts));
    buf_fini(&texts);
}

static void obey(struct rolling *r, const struct roll_msg *m, struct slice name)
{
    struct buf bytes = {0};
    struct roll_msg answer;
    bool is_turn = claim_take(&r->claim, clock_ms(), m, name,
                              r->process->code->generation, &answer);

    if (is_turn) {
        log_info("reload: %.*s asks for it, node by node", (int)name.len,
                 name.p);
        ask_begin(&r->ask, "reload", RELOAD_MOST);
    }
    if (answer.type == 0)
        return;
    roll_msg_write(&bytes, &answer);
    send_to(r, answer.to, buf_slice(&bytes).p, bytes.len);
    buf_fini(&bytes);
}

/* --- who runs it ---------------------------------------------------------- */

/* What it takes at once; the rest goes with the next line. */
static void flush(struct rolling *r)
{
    struct slice s = buf_slice(&r->out);
    ssize_t n = send(r->client, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0)
        buf_consume(&r->out, (size_t)n);
}

static void on_done(void *arg, const struct roll_node *n, const char *notes,
                    size_t len)
{
    struct rolling *r = arg;

    sd_check(r, ROLLING_MAGIC);
    roll_json_done(&r->out, n, slice_make(notes, len));
    if (r->client >= 0)
        flush(r);
}

static void let_client_go(struct rolling *r)
{
    pollfd_close(&r->watch);
    if (r->client >= 0 && r->out.len > 0)
        reply_send(&r->replies, r->process->loop, r->client, &r->out);
    else if (r->client >= 0)
        close(r->client);
    r->client = -1;
    buf_fini(&r->out);
}

static void finish(struct rolling *r)
{
    struct slice why = roll_why(r->roll);

    if (why.len == 0)
        log_info("all nodes have reloaded");
    else
        log_error("reload of the cluster: %.*s", (int)why.len, why.p);
    roll_json_end(&r->out, r->roll, membership_look(r->membership));
    timer_stop(r->process->loop, &r->tick);
    let_client_go(r);
    roll_free(&r->roll);
}

static void look(struct rolling *r)
{
    if (r->roll != NULL && roll_has_ended(r->roll))
        loop_defer(r->process->loop, &r->turn);
}

static void on_tick(struct timer *t)
{
    struct rolling *r = list_entry(t, struct rolling, tick);

    sd_check(r, ROLLING_MAGIC);
    roll_tick(r->roll, clock_ms());
    timer_start(r->process->loop, t, ROLL_STEP);
    look(r);
}

static void on_client(void *arg)
{
    struct rolling *r = arg;
    char byte;
    ssize_t n = recv(r->client, &byte, 1, MSG_DONTWAIT);

    sd_check(r, ROLLING_MAGIC);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    buf_truncate(&r->out, 0);
    let_client_go(r);
    roll_stop(r->roll, "who asked for it has gone");
    look(r);
}

static void add_node(struct rolling *r, const struct gossip_member *m)
{
    struct meta meta;

    if (m->kind != GOSSIP_NODE || meta_read(&meta, m->meta) < 0 ||
        meta.is_draining)
        return;
    roll_add(r->roll, m->boot, m->name, meta.generation);
}

static void refuse(struct rolling *r, int fd, const char *why)
{
    struct buf text = {0};

    roll_json_refusal(&text, why);
    reply_send(&r->replies, r->process->loop, fd, &text);
}

void rolling_begin(struct rolling *r, int fd)
{
    const struct roll_hooks hooks = {
        .arg = r, .send = send_to, .on_done = on_done};
    const struct gossip *g = membership_look(r->membership);

    sd_check(r, ROLLING_MAGIC);
    if (r->roll != NULL) {
        refuse(r, fd, "a rolling reload is under way, begun here");
        return;
    }
    if (pollfd_open(&r->watch, r->process->loop, fd, on_client, r) < 0) {
        close(fd);
        return;
    }
    r->client = fd;
    r->roll = roll_new(random_number(), r->claim.self, &hooks);
    add_node(r, gossip_self(g));
    for (unsigned i = 0; i < gossip_living(g); i++)
        add_node(r, gossip_at(g, i));
    log_info("reload of the cluster: %u nodes", roll_count(r->roll));
    timer_start(r->process->loop, &r->tick, 0);
}

/* --- what comes ----------------------------------------------------------- */

int rolling_take(struct rolling *r, struct slice bytes)
{
    struct roll_msg m;
    struct slice name;

    sd_check(r, ROLLING_MAGIC);
    if (roll_msg_read(&m, bytes) < 0)
        return SD_EPROTO;
    name = name_of(r, m.from);
    if (m.to != r->claim.self || name.len == 0)
        return 0;
    if (m.type == ROLL_STATE) {
        if (r->roll != NULL)
            roll_take(r->roll, clock_ms(), &m);
        look(r);
    } else if ((r->process->h->parts & INSTANCE_NODE) != 0) {
        obey(r, &m, name);
    }
    return 0;
}

void rolling_lost(struct rolling *r, uint64_t boot, const char *how)
{
    sd_check(r, ROLLING_MAGIC);
    if (r->roll != NULL)
        roll_lost(r->roll, boot, how);
    look(r);
}

static void on_turn(struct loop_job *job)
{
    struct rolling *r = list_entry(job, struct rolling, turn);
    struct buf local = r->local;
    struct slice rest = buf_slice(&local);

    sd_check(r, ROLLING_MAGIC);
    r->local = (struct buf){0};
    while (rest.len > 0) {
        uint32_t len;

        memcpy(&len, rest.p, sizeof(len));
        rolling_take(r, slice_make(rest.p + sizeof(len), len));
        rest = slice_skip(rest, sizeof(len) + len);
    }
    buf_fini(&local);
    if (r->roll != NULL && roll_has_ended(r->roll))
        finish(r);
}

/* --- open and close ------------------------------------------------------- */

struct rolling *rolling_open(struct process *p, struct membership *m)
{
    struct rolling *r = mem_zalloc(sizeof(*r));

    r->magic = ROLLING_MAGIC;
    r->process = p;
    r->membership = m;
    r->client = -1;
    r->tick.fn = on_tick;
    r->turn.fn = on_turn;
    r->ask.loop = p->loop;
    r->ask.on_answer = on_reloaded;
    list_init(&r->replies);
    claim_init(&r->claim, p->h->boot, random_number());
    return r;
}

void rolling_close(struct rolling **rp)
{
    struct rolling *r = *rp;

    if (r == NULL)
        return;
    sd_check(r, ROLLING_MAGIC);
    timer_stop(r->process->loop, &r->tick);
    loop_undefer(&r->turn);
    ask_end(&r->ask);
    let_client_go(r);
    reply_end(&r->replies);
    roll_free(&r->roll);
    claim_fini(&r->claim);
    buf_fini(&r->local);
    r->magic = 0;
    mem_free(r);
    *rp = NULL;
}
