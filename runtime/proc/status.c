/* status.c - the slot table and the ports, for programs and for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/json.h"
#include "net/push.h"
#include "proc/instance.h"
#include "proc/stall.h"
#include "proc/status.h"
#include "proc/tables.h"

uint64_t status_memory(pid_t pid)
{
    unsigned long total, resident;
    char path[32] = "/proc/self/statm";
    FILE *f;
    int n = 0;

    if (pid != 0)
        snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "re");
    if (f != NULL) {
        n = fscanf(f, "%lu %lu", &total, &resident);
        fclose(f);
    }
    return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void put_key(struct buf *out, const char *key)
{
    buf_printf(out, "\"%s\":", key);
}

static void put_string(struct buf *out, const char *key, const char *s)
{
    put_key(out, key);
    if (json_write_string(out, slice_str(s)) < 0)
        buf_append_str(out, "\"\"");
    buf_append_str(out, ",");
}

static void put_number(struct buf *out, const char *key, uint64_t n)
{
    buf_printf(out, "\"%s\":%" PRIu64 ",", key, n);
}

/* Of `ms` milliseconds. */
static void put_seconds(struct buf *out, const char *key, double ms)
{
    buf_printf(out, "\"%s\":%.3f,", key, ms / 1000);
}

/* Instead of the last comma. */
static void put_end(struct buf *out, const char *end)
{
    buf_truncate(out, out->len - 1);
    buf_append_str(out, end);
}

static uint64_t age(uint64_t since)
{
    uint64_t now = clock_ms();

    return since != 0 && now > since ? now - since : 0;
}

/* One hop of values, of which accepted is the sum of the rest. */
static void put_hop(struct buf *out, const char *name, uint64_t accepted,
                    uint64_t delivered, uint64_t in_flight)
{
    put_key(out, name);
    buf_append_str(out, "{");
    put_number(out, "accepted", accepted);
    put_number(out, "delivered", delivered);
    put_number(out, "in_flight", in_flight);
    put_key(out, "dropped");
    buf_append_str(out, "{");
}

static void put_hop_end(struct buf *out)
{
    put_end(out, "}");
    buf_append_str(out, "},");
}

/* To other processes, to the conns of this one, and through their queues.  A
 * send ends at once. */
static void put_hops(struct buf *out, struct counters *page, bool sends)
{
    uint64_t v[COUNTERS];

    counters_read(page, v);
    put_hop(out, "messages", v[COUNT_MESSAGES_ACCEPTED],
            v[COUNT_MESSAGES_DELIVERED], v[COUNT_MESSAGES_IN_FLIGHT]);
    put_number(out, "crashed", v[COUNT_MESSAGES_CRASHED]);
    put_hop_end(out);
    if (!sends)
        return;
    put_hop(out, "sends", v[COUNT_SENDS_ACCEPTED], v[COUNT_SENDS_DELIVERED], 0);
    put_number(out, "gone", v[COUNT_SENDS_GONE]);
    put_number(out, "invalid", v[COUNT_SENDS_INVALID]);
    put_number(out, "slow", v[COUNT_SENDS_SLOW]);
    put_number(out, "busy", v[COUNT_SENDS_BUSY]);
    put_hop_end(out);
    put_number(out, "encoded", v[COUNT_ENCODED]);
    put_hop(out, "pushes", v[COUNT_PUSHES_ACCEPTED], v[COUNT_PUSHES_DELIVERED],
            v[COUNT_PUSHES_IN_FLIGHT]);
    for (unsigned r = 0; r < PUSH_DROPS; r++)
        put_number(out, push_drop_word((int)r), v[COUNT_PUSHES_DROPPED + r]);
    put_number(out, "crashed", v[COUNT_PUSHES_CRASHED]);
    put_hop_end(out);
}

/* What all rows have; no end yet. */
static void put_row(struct buf *out, const char *role, const char *state,
                    unsigned slot, const struct slot_info *p)
{
    const uint64_t *f = p->figure;

    buf_append_str(out, "{");
    put_string(out, "role", role);
    put_number(out, "index", p->index);
    put_number(out, "slot", slot);
    put_number(out, "epoch", p->epoch);
    put_number(out, "pid", p->pid > 0 ? (uint64_t)p->pid : 0);
    put_string(out, "state", state);
    put_seconds(out, "uptime", p->pid > 0 ? (double)age(f[SLOT_STARTED]) : 0);
    put_number(out, "conns", f[SLOT_CONNS]);
    put_number(out, "memory", f[SLOT_MEMORY]);
    put_number(out, "vm_memory", f[SLOT_VM_MEMORY]);
    put_seconds(out, "loop_lag", (double)f[SLOT_LOOP_LAG] / 1000);
    put_number(out, "generation", f[SLOT_GENERATION]);
    put_number(out, "restarts", f[SLOT_RESTARTS]);
}

/* A worker that does not answer: for how long, and what it is at. */
static void put_blocked(const struct status *s, struct buf *out, unsigned slot)
{
    uint64_t ms = stall_age(s->mesh, slot, clock_ms());
    char text[RUNNING_TEXT];

    if (ms == 0)
        return;
    stall_text(text, sizeof(text), s->mesh, s->conf, slot);
    put_seconds(out, "blocked", (double)ms);
    put_string(out, "blocked_at", text);
}

static void put_process(const struct status *s, struct buf *out, unsigned slot,
                        const struct slot_info *p)
{
    put_row(out, slot_role_name((enum slot_role)p->role),
            slot_state_name((enum slot_state)p->state), slot, p);
    put_blocked(s, out, slot);
    if (p->role != SLOT_MASTER)
        put_hops(out, mesh_counters(s->mesh, slot),
                 p->role == SLOT_WORKER || p->role == SLOT_TASK);
    put_end(out, "},");
}

/* The master fills its own line when it is asked. */
static struct slot_info own_line(const struct status *s)
{
    struct slot_info p = {
        .role = SLOT_MASTER,
        .state = SLOT_READY,
        .epoch = 1,
        .pid = getpid(),
    };

    p.figure[SLOT_STARTED] = s->started;
    p.figure[SLOT_MEMORY] = status_memory(0);
    p.figure[SLOT_GENERATION] = s->generation;
    return p;
}

/* The host of "127.0.0.1:80" or "[::1]:80", as a client would give it. */
static void put_host(struct buf *out, const char *address)
{
    const char *colon = strrchr(address, ':');
    struct slice host = slice_str(address);

    if (colon != NULL && listener_port(address) != 0)
        host.len = (size_t)(colon - address);
    if (host.len > 2 && host.p[0] == '[')
        host = slice_make(host.p + 1, host.len - 2);
    put_key(out, "address");
    if (json_write_string(out, host) < 0)
        buf_append_str(out, "\"\"");
    buf_append_str(out, ",");
}

static void put_ports(const struct status *s, struct buf *out)
{
    put_key(out, "ports");
    buf_append_str(out, s->ports->count > 0 ? "[" : "[ ");
    for (unsigned i = 0; i < s->ports->count; i++) {
        const struct conf_port *port = &s->conf->ports[i];

        buf_append_str(out, "{");
        put_string(out, "name", port->name);
        put_string(out, "protocol", conf_protocol_name(port->protocol));
        put_host(out, s->ports->address[i]);
        put_number(out, "port", listener_port(s->ports->address[i]));
        put_end(out, "},");
    }
    put_end(out, "],");
}

/* The embedded redis-server is no process of the mesh: it gets the number
 * behind all slots, and what the kernel and the master know of it. */
static void put_redis(const struct status *s, struct buf *out)
{
    const struct redis_server_info *redis = &s->redis;
    struct slot_info p = {.epoch = redis->starts, .pid = redis->pid};

    p.figure[SLOT_STARTED] = redis->started;
    p.figure[SLOT_MEMORY] = status_memory(redis->pid);
    p.figure[SLOT_GENERATION] = s->generation;
    p.figure[SLOT_RESTARTS] = redis->starts - 1;
    put_row(out, "redis",
            slot_state_name(redis->is_serving ? SLOT_READY : SLOT_STARTING),
            slots_count(mesh_slots(s->mesh)), &p);
    put_end(out, "},");
}

static void put_slow(const struct status *s, struct buf *out, unsigned slot,
                     const struct slow_conn *c)
{
    buf_append_str(out, "{");
    put_number(out, "worker", slot);
    put_string(out, "port", s->conf->ports[c->port].name);
    put_key(out, "uid");
    if (json_write_string(out, slice_make(c->uid, c->uid_len)) < 0)
        buf_append_str(out, "\"\"");
    buf_append_str(out, ",");
    put_string(out, "address", c->address);
    put_number(out, "peer_port", c->peer_port);
    put_number(out, "bytes", c->bytes);
    put_seconds(out, "age", (double)c->age_ms);
    put_end(out, "},");
}

/* The conns with the most unsent bytes, of each worker. */
static void put_slowest(const struct status *s, struct buf *out)
{
    const struct slots *slots = mesh_slots(s->mesh);
    struct slow_conn list[SLOWEST_MAX];

    put_key(out, "slow");
    buf_append_str(out, "[ ");
    for (unsigned i = 0; i < s->workers; i++) {
        unsigned n = slowest_read(tables_slowest(s->mesh, s->conf, i),
                                  slots_epoch(slots, i), list);

        for (unsigned k = 0; k < n; k++)
            if (list[k].port < s->conf->nports)
                put_slow(s, out, i, &list[k]);
    }
    put_end(out, "]");
}

void status_json(const struct status *s, struct buf *out)
{
    const struct slots *slots = mesh_slots(s->mesh);
    unsigned master = mesh_master(s->mesh);
    struct slot_info p = own_line(s);

    buf_append_str(out, "{");
    put_string(out, "node", s->node);
    put_string(out, "kind", instance_word());
    put_string(out, "version", s->version);
    put_number(out, "generation", s->generation);
    put_string(out, "state", s->state);
    put_number(out, "pid", (uint64_t)getpid());
    put_seconds(out, "uptime", (double)age(s->started));
    if (s->admin[0] != '\0')
        put_string(out, "admin", s->admin);
    put_ports(s, out);
    put_key(out, "processes");
    buf_append_str(out, "[");
    put_process(s, out, master, &p);
    for (unsigned i = 0; i < slots_count(slots); i++) {
        slots_read(slots, i, &p);
        if (i != master && p.state != SLOT_EMPTY)
            put_process(s, out, i, &p);
    }
    if (s->redis.pid > 0)
        put_redis(s, out);
    put_end(out, "],");
    put_slowest(s, out);
    buf_append_str(out, "}");
}

void status_table(const struct status *s, struct buf *out)
{
    const struct slots *slots = mesh_slots(s->mesh);
    unsigned master = mesh_master(s->mesh);
    struct slot_info p;

    buf_printf(out, "sdlua %s: %s %s, pid %d, generation %u\n\n", s->version,
               instance_word(), s->node, (int)getpid(), s->generation);
    buf_printf(out, "%-16s %-9s %s\n", "port", "protocol", "address");
    for (unsigned i = 0; i < s->ports->count; i++)
        buf_printf(out, "%-16s %-9s %s\n", s->conf->ports[i].name,
                   conf_protocol_name(s->conf->ports[i].protocol),
                   s->ports->address[i]);
    if (s->admin[0] != '\0')
        buf_printf(out, "%-16s %-9s %s\n", "(admin)", "http", s->admin);
    buf_printf(out, "\n%-16s %s\n", "process", "pid");
    for (unsigned i = 0; i < slots_count(slots); i++) {
        char name[32];

        slots_read(slots, i, &p);
        if (i == master || p.state == SLOT_EMPTY)
            continue;
        slots_name(name, sizeof(name), slots, i);
        buf_printf(out, "%-16s %d\n", name, (int)p.pid);
    }
    if (s->redis.pid > 0)
        buf_printf(out, "%-16s %d\n", "redis-server", (int)s->redis.pid);
}
