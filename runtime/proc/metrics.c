/* metrics.c - one table of series, walked process by process.
 *
 * A series is a figure of the slot or a counter of its page.  Gauges are
 * those of living processes; counters of a slot stay when its process has
 * died, so that no sum over them ever falls. */
#include "proc/metrics.h"

#include <inttypes.h>
#include <uv.h>

#include "base/mem.h"
#include "cluster/outcome.h"
#include "cluster/refusal.h"
#include "net/push.h"
#include "net/reason.h"
#include "proc/expose.h"
#include "proc/metrics_cluster.h"
#include "proc/tables.h"
#include "vm/about.h"

enum source {
    FIGURE, /* of the slot: gauges */
    COUNT,  /* of its page */
    UPTIME  /* ms since SLOT_STARTED */
};

/* Who has it. */
enum {
    WORKER = 1 << SLOT_WORKER,
    TASK = 1 << SLOT_TASK,
    LUA = WORKER | TASK,
    RELAY = 1 << SLOT_RELAY,
    ALL = LUA | RELAY | 1 << SLOT_AGENT
};

struct series {
    const char *name, *help;
    enum source source;
    unsigned index, roles;
    double unit;               /* one of ours in theirs */
    const char *label, *value; /* one more; the name's head is the first's */
};

/* clang-format off */
static const struct series table[] = {
    {"sdlua_connections_accepted_total", "Connections taken in.",
     COUNT, COUNT_ACCEPTED, WORKER, 1, NULL, NULL},
    {"sdlua_connections_refused_total", "Connections over a limit.",
     COUNT, COUNT_REFUSED, WORKER, 1, NULL, NULL},
    {"sdlua_messages_received_total", "Packets and WebSocket messages in.",
     COUNT, COUNT_PACKETS_IN, WORKER, 1, NULL, NULL},
    {"sdlua_messages_sent_total", "Packets and WebSocket messages out.",
     COUNT, COUNT_PACKETS_OUT, WORKER, 1, NULL, NULL},
    {"sdlua_bytes_received_total", "Bytes read from clients.",
     COUNT, COUNT_BYTES_IN, WORKER, 1, NULL, NULL},
    {"sdlua_bytes_sent_total", "Bytes written to clients.",
     COUNT, COUNT_BYTES_OUT, WORKER, 1, NULL, NULL},
    {"sdlua_requests_total", "HTTP requests.",
     COUNT, COUNT_REQUESTS, WORKER, 1, NULL, NULL},
    {"sdlua_sends_accepted_total", "Values to be sent, one per connection.",
     COUNT, COUNT_SENDS_ACCEPTED, LUA, 1, NULL, NULL},
    {"sdlua_sends_delivered_total", "Of these, queued at the connection.",
     COUNT, COUNT_SENDS_DELIVERED, LUA, 1, NULL, NULL},
    {"sdlua_sends_dropped_total", "Of these, not delivered, by reason.",
     COUNT, COUNT_SENDS_GONE, LUA, 1, "reason", "gone"},
    {"sdlua_sends_dropped_total", NULL,
     COUNT, COUNT_SENDS_INVALID, LUA, 1, "reason", "invalid"},
    {"sdlua_sends_dropped_total", NULL,
     COUNT, COUNT_SENDS_SLOW, LUA, 1, "reason", "slow"},
    {"sdlua_sends_dropped_total", NULL,
     COUNT, COUNT_SENDS_BUSY, LUA, 1, "reason", "busy"},
    {"sdlua_values_encoded_total", "Values made bytes, once for each pack.",
     COUNT, COUNT_ENCODED, LUA, 1, NULL, NULL},
    {"sdlua_ring_messages_accepted_total", "Messages to other processes.",
     COUNT, COUNT_MESSAGES_ACCEPTED, ALL, 1, NULL, NULL},
    {"sdlua_ring_messages_delivered_total", "Of these, read there.",
     COUNT, COUNT_MESSAGES_DELIVERED, ALL, 1, NULL, NULL},
    {"sdlua_ring_messages_dropped_total", "Of these, never read, by reason.",
     COUNT, COUNT_MESSAGES_CRASHED, ALL, 1, "reason", "crashed"},
    {"sdlua_ring_messages_in_flight", "Of these, neither yet.",
     COUNT, COUNT_MESSAGES_IN_FLIGHT, ALL, 1, NULL, NULL},
    {"sdlua_send_queue_bytes", "Memory of all send queues.",
     COUNT, COUNT_QUEUE_BYTES, WORKER, 1, NULL, NULL},
    {"sdlua_task_calls_total", "Calls taken by task processes.",
     COUNT, COUNT_TASK_CALLS, TASK, 1, NULL, NULL},
    {"sdlua_tasks_busy", "Calls that task processes are running.",
     FIGURE, SLOT_BUSY, TASK, 1, NULL, NULL},
    {"sdlua_runs_stopped_total", "Lua stopped for running too long.",
     COUNT, COUNT_STOPPED, WORKER, 1, NULL, NULL},
    {"sdlua_worker_loop_lag_seconds", "How late due timers run, smoothed.",
     FIGURE, SLOT_LOOP_LAG, ALL, 1e-6, NULL, NULL},
    {"sdlua_lua_memory_bytes", "Memory of the Lua vm.",
     FIGURE, SLOT_VM_MEMORY, LUA, 1, NULL, NULL},
    {"sdlua_memory_bytes", "Resident memory of the process.",
     FIGURE, SLOT_MEMORY, ALL, 1, NULL, NULL},
    {"sdlua_process_uptime_seconds", "Age of the process.",
     UPTIME, 0, ALL, 1e-3, NULL, NULL},
    {"sdlua_process_generation", "Generation of the code it runs.",
     FIGURE, SLOT_GENERATION, ALL, 1, NULL, NULL},
    {"sdlua_far_messages_accepted_total", "Messages to other nodes.",
     COUNT, COUNT_FAR_ACCEPTED, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_delivered_total", "Of these, delivered.",
     COUNT, COUNT_FAR_DELIVERED, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_in_flight", "Of these, without an outcome.",
     COUNT, COUNT_FAR_IN_FLIGHT, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_busy_total", "Not accepted: too many in flight.",
     COUNT, COUNT_FAR_BUSY, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_received_total", "Data frames of other nodes.",
     COUNT, COUNT_FAR_TAKEN, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_duplicate_total", "Of these, seen before.",
     COUNT, COUNT_FAR_DOUBLES, WORKER, 1, NULL, NULL},
    {"sdlua_far_messages_expired_total", "Of these, too late.",
     COUNT, COUNT_FAR_EXPIRED, WORKER, 1, NULL, NULL},
    {"sdlua_link_frames_sent_total", "Data frames for other nodes.",
     COUNT, COUNT_FAR_FRAMES, WORKER, 1, NULL, NULL},
    {"sdlua_link_frames_resent_total", "Of these, sent before.",
     COUNT, COUNT_FAR_AGAIN, WORKER, 1, NULL, NULL},
    {"sdlua_link_unacknowledged", "Messages that relays owe an answer for.",
     COUNT, COUNT_FAR_KEPT, WORKER, 1, NULL, NULL},
    {"sdlua_link_queue_bytes", "Memory of these.",
     COUNT, COUNT_FAR_BYTES, WORKER, 1, NULL, NULL},
    {"sdlua_link_bytes_received_total", "Bytes read from links.",
     COUNT, COUNT_LINK_BYTES_IN, WORKER | RELAY, 1, NULL, NULL},
    {"sdlua_link_bytes_sent_total", "Bytes written to links.",
     COUNT, COUNT_LINK_BYTES_OUT, WORKER | RELAY, 1, NULL, NULL},
    {"sdlua_link_opened_total", "Links that were made.",
     COUNT, COUNT_LINKS_OPENED, WORKER | RELAY, 1, NULL, NULL},
    {"sdlua_link_closed_total", "Connections of links that have ended.",
     COUNT, COUNT_LINKS_CLOSED, WORKER | RELAY, 1, NULL, NULL},
    {"sdlua_relay_frames_received_total", "Data frames from senders.",
     COUNT, COUNT_FAR_TAKEN, RELAY, 1, NULL, NULL},
    {"sdlua_relay_frames_sent_total", "Data frames to receivers.",
     COUNT, COUNT_FAR_FRAMES, RELAY, 1, NULL, NULL},
    {"sdlua_relay_frames_busy_total", "Refused: a receiver owes too much.",
     COUNT, COUNT_FAR_BUSY, RELAY, 1, NULL, NULL},
    {"sdlua_relay_frames_expired_total", "Refused: too late.",
     COUNT, COUNT_FAR_EXPIRED, RELAY, 1, NULL, NULL},
    {"sdlua_relay_links", "Links to workers.",
     FIGURE, SLOT_CONNS, RELAY, 1, NULL, NULL},
};
/* clang-format on */

enum {
    NSERIES = sizeof(table) / sizeof(table[0])
};

/* One slot, read once so that its numbers are of one moment. */
struct process_row {
    struct slot_info info;
    uint64_t count[COUNTERS];
};

static bool is_alive(const struct slot_info *p)
{
    return p->state >= SLOT_STARTING && p->state <= SLOT_DRAINING;
}

static void put_labels(struct buf *out, const struct metrics *m,
                       const char *name, const struct slot_info *p)
{
    buf_printf(out, "%s{node=\"", name);
    expose_escaped(out, m->node);
    buf_printf(out, "\",role=\"%s\",index=\"%u\"",
               slot_role_name((enum slot_role)p->role), p->index);
}

static bool is_counter(const struct series *s)
{
    return s->source == COUNT && !counter_is_gauge((enum counter)s->index);
}

static double value_of(const struct metrics *m, const struct series *s,
                       const struct process_row *p)
{
    uint64_t started = p->info.figure[SLOT_STARTED];

    switch (s->source) {
    case FIGURE:
        return (double)p->info.figure[s->index];
    case COUNT:
        return (double)p->count[s->index];
    case UPTIME:
        break;
    }
    return m->now > started ? (double)(m->now - started) : 0;
}

static void put_series(struct buf *out, const struct metrics *m,
                       const struct series *s, const struct process_row *rows,
                       unsigned n)
{
    unsigned i;

    if (s->help != NULL)
        expose_head(out, s->name, s->help, is_counter(s));
    for (i = 0; i < n; i++) {
        const struct slot_info *p = &rows[i].info;

        if ((s->roles & 1u << p->role) == 0 ||
            (s->source != COUNT && !is_alive(p)))
            continue;
        put_labels(out, m, s->name, p);
        if (s->label != NULL)
            buf_printf(out, ",%s=\"%s\"", s->label, s->value);
        buf_printf(out, "} %.15g\n", value_of(m, s, &rows[i]) * s->unit);
    }
}

/* A family with one series for each reason; `first` is that of reason 0. */
struct family {
    const char *name, *help;
    unsigned first;
    int reasons;
    unsigned role;
    const char *(*word)(int reason);
    unsigned crashed; /* and one that died with its process; 0: none */
};

static const struct family families[] = {
    {"sdlua_connections_closed_total", "Connections closed, by reason.",
     COUNT_CLOSED, REASON_COUNT, SLOT_WORKER, reason_word, 0},
    {"sdlua_far_messages_dropped_total",
     "Messages to other nodes, not delivered or unknown, by reason.",
     COUNT_FAR_DROPPED, OUTCOME_COUNT, SLOT_WORKER, outcome_word,
     COUNT_FAR_CRASHED},
    {"sdlua_relay_refused_total", "Connections that became no link.",
     COUNT_LINKS_REFUSED, REFUSAL_COUNT, SLOT_RELAY, refusal_word, 0},
};

enum {
    NFAMILIES = sizeof(families) / sizeof(families[0])
};

static void put_reason(struct buf *out, const struct metrics *m,
                       const struct family *f, const struct process_row *row,
                       const char *word, unsigned index)
{
    put_labels(out, m, f->name, &row->info);
    buf_printf(out, ",reason=\"%s\"} %" PRIu64 "\n", word, row->count[index]);
}

static void put_family(struct buf *out, const struct metrics *m,
                       const struct family *f, const struct process_row *rows,
                       unsigned n)
{
    unsigned i;
    int r;

    expose_head(out, f->name, f->help, true);
    for (i = 0; i < n; i++) {
        const struct process_row *row = &rows[i];

        if (row->info.role != f->role)
            continue;
        for (r = 0; r < f->reasons; r++)
            put_reason(out, m, f, row, f->word(r), f->first + (unsigned)r);
        if (f->crashed != 0)
            put_reason(out, m, f, row, "crashed", f->crashed);
    }
}

/* --- by port -------------------------------------------------------------- */

static const char *const policies[] = {
    [CONF_CLOSE] = "close",
    [CONF_DROP_NEW] = "drop_new",
    [CONF_DROP_OLD] = "drop_old",
};

struct port_series {
    const char *name, *help;
    unsigned index; /* enum port_counter */
    bool is_counter;
    const char *reason;
};

static const struct port_series port_table[] = {
    {"sdlua_connections", "Open connections.", PORT_CONNS, false, NULL},
    {"sdlua_pushes_accepted_total", "Pushes for send queues.",
     PORT_PUSHES_ACCEPTED, true, NULL},
    {"sdlua_pushes_delivered_total", "Of these, handed to the socket.",
     PORT_PUSHES_DELIVERED, true, NULL},
    {"sdlua_pushes_in_flight", "Of these, waiting.", PORT_PUSHES_IN_FLIGHT,
     false, NULL},
    {"sdlua_slow_consumers_total", "Connections that lost pushes for it.",
     PORT_SLOW_CONNS, true, NULL},
    {"sdlua_pushes_dropped_total", "Of these, not written, by reason.",
     PORT_PUSHES_CRASHED, true, "crashed"},
};

enum {
    NPORT_SERIES = sizeof(port_table) / sizeof(port_table[0])
};

/* What all workers have counted of their ports. */
struct port_rows {
    const struct process_row *rows; /* the workers are the first of them */
    unsigned workers;
    uint64_t *counts; /* by worker, port and enum port_counter */
};

static void put_port_line(struct buf *out, const struct metrics *m,
                          const struct port_series *s,
                          const struct slot_info *p, unsigned port,
                          uint64_t count)
{
    const struct conf_port *conf = &m->conf->ports[port];

    put_labels(out, m, s->name, p);
    buf_append_str(out, ",port=\"");
    expose_escaped(out, conf->name);
    buf_append_str(out, "\"");
    if (s->index == PORT_CONNS)
        buf_printf(out, ",proto=\"%s\"", conf_protocol_name(conf->protocol));
    else
        buf_printf(out, ",policy=\"%s\"", policies[conf->slow_policy]);
    if (s->reason != NULL)
        buf_printf(out, ",reason=\"%s\"", s->reason);
    buf_printf(out, "} %" PRIu64 "\n", count);
}

static void put_port_series(struct buf *out, const struct metrics *m,
                            const struct port_series *s,
                            const struct port_rows *r)
{
    unsigned i, port;

    for (i = 0; i < r->workers; i++) {
        const struct slot_info *p = &r->rows[i].info;
        const uint64_t *counts =
            r->counts + (size_t)i * m->conf->nports * PORT_COUNTERS;

        if (p->role != SLOT_WORKER || (!s->is_counter && !is_alive(p)))
            continue;
        for (port = 0; port < m->conf->nports; port++)
            put_port_line(out, m, s, p, port,
                          counts[port * PORT_COUNTERS + s->index]);
    }
}

static void put_ports(struct buf *out, const struct metrics *m,
                      const struct process_row *rows, unsigned n)
{
    size_t of_worker = (size_t)m->conf->nports * PORT_COUNTERS;
    struct port_rows r = {
        .rows = rows,
        .counts = mem_zalloc((n * of_worker + 1) * sizeof(uint64_t))};

    while (r.workers < n && rows[r.workers].info.role == SLOT_WORKER) {
        port_counters_read(
            tables_ports(m->mesh, m->conf, rows[r.workers].info.index),
            r.counts + r.workers * of_worker, m->conf->nports);
        r.workers++;
    }
    for (unsigned i = 0; i < NPORT_SERIES; i++) {
        expose_head(out, port_table[i].name, port_table[i].help,
                    port_table[i].is_counter);
        put_port_series(out, m, &port_table[i], &r);
    }
    for (int reason = 0; reason < PUSH_DROPS; reason++) {
        struct port_series s = port_table[NPORT_SERIES - 1];

        s.index = PORT_PUSHES_DROPPED + (unsigned)reason;
        s.reason = push_drop_word(reason);
        put_port_series(out, m, &s, &r);
    }
    mem_free(r.counts);
}

/* --- of the node ---------------------------------------------------------- */

static void put_build(struct buf *out, const struct metrics *m)
{
    expose_head(out, "sdlua_build_info", "Versions of the program.", false);
    buf_append_str(out, "sdlua_build_info{node=\"");
    expose_escaped(out, m->node);
    buf_append_str(out, "\",version=\"");
    expose_escaped(out, m->version);
    buf_printf(out, "\",luajit=\"%s\",libuv=\"%s\",gen=\"%u\"} 1\n",
               about_luajit(), uv_version_string(), m->generation);
}

static void put_reloads(struct buf *out, const struct metrics *m)
{
    static const char *const outcomes[] = {"committed", "failed"};
    uint64_t v[COUNTERS];

    counters_read(mesh_counters(m->mesh, mesh_master(m->mesh)), v);
    expose_head(out, "sdlua_reloads_total", "Reloads of the node.", true);
    for (unsigned i = 0; i < 2; i++) {
        buf_append_str(out, "sdlua_reloads_total{node=\"");
        expose_escaped(out, m->node);
        buf_printf(out, "\",outcome=\"%s\"} %" PRIu64 "\n", outcomes[i],
                   v[COUNT_RELOADS + i]);
    }
}

/* What belongs to no process, or to its slot while it is empty too. */
static void put_node(struct buf *out, const struct metrics *m,
                     const struct process_row *rows, unsigned n)
{
    unsigned i;

    put_build(out, m);
    expose_head(out, "sdlua_generation", "Generation of the code.", false);
    buf_append_str(out, "sdlua_generation{node=\"");
    expose_escaped(out, m->node);
    buf_printf(out, "\"} %u\n", m->generation);
    put_reloads(out, m);
    expose_head(out, "sdlua_up", "Is the process ready?", false);
    for (i = 0; i < n; i++) {
        put_labels(out, m, "sdlua_up", &rows[i].info);
        buf_printf(out, "} %d\n", rows[i].info.state == SLOT_READY);
    }
    expose_head(out, "sdlua_restarts_total", "Processes started again.", true);
    for (i = 0; i < n; i++) {
        put_labels(out, m, "sdlua_restarts_total", &rows[i].info);
        buf_printf(out, "} %" PRIu64 "\n", rows[i].info.figure[SLOT_RESTARTS]);
    }
}

static unsigned read_rows(const struct metrics *m, struct process_row *rows)
{
    const struct slots *slots = mesh_slots(m->mesh);
    unsigned i, n = 0;

    for (i = 0; i < slots_count(slots); i++) {
        slots_read(slots, i, &rows[n].info);
        if (rows[n].info.state == SLOT_EMPTY ||
            rows[n].info.role == SLOT_MASTER)
            continue;
        counters_read(mesh_counters(m->mesh, i), rows[n].count);
        n++;
    }
    return n;
}

void metrics_text(const struct metrics *m, struct buf *out)
{
    struct process_row *rows =
        mem_alloc(slots_count(mesh_slots(m->mesh)) * sizeof(*rows));
    unsigned n = read_rows(m, rows);

    put_node(out, m, rows, n);
    put_ports(out, m, rows, n);
    for (unsigned i = 0; i < NSERIES; i++)
        put_series(out, m, &table[i], rows, n);
    for (unsigned i = 0; i < NFAMILIES; i++)
        put_family(out, m, &families[i], rows, n);
    metrics_cluster(m, out);
    mem_free(rows);
}
