/* tables.c - see tables.h.  One behind the other, each from a cache line on.
 * All processes of a node are one binary, so the places are known. */
#include "proc/tables.h"

#include "ipc/shtimer.h"
#include "ipc/uidmap.h"
#include "net/net.h"

enum {
    LINE = 64
};

static size_t uids_offset(void)
{
    return (shtimer_size() + LINE - 1) / LINE * LINE;
}

static size_t tally_offset(const struct conf *conf)
{
    return uids_offset() +
           (uidmap_size(conf->server.workers, conf->server.max_conns) + LINE -
            1) /
               LINE * LINE;
}

static size_t slowest_offset(const struct conf *conf)
{
    struct tally_shape shape = net_tally_shape(conf);

    return (tally_offset(conf) + tally_size(&shape) + LINE - 1) / LINE * LINE;
}

static size_t ports_offset(const struct conf *conf)
{
    return slowest_offset(conf) + conf->server.workers * slowest_size();
}

static size_t running_offset(const struct conf *conf)
{
    return (ports_offset(conf) +
            conf->server.workers * port_counters_size(conf->nports) + LINE -
            1) /
           LINE * LINE;
}

static size_t roster_offset(const struct conf *conf)
{
    return (running_offset(conf) + conf->server.workers * running_size() +
            LINE - 1) /
           LINE * LINE;
}

static size_t elsewhere_offset(const struct conf *conf)
{
    return (roster_offset(conf) + roster_size() + LINE - 1) / LINE * LINE;
}

static size_t links_offset(const struct conf *conf)
{
    return (elsewhere_offset(conf) + elsewhere_size() + LINE - 1) / LINE * LINE;
}

size_t tables_size(const struct conf *conf)
{
    return links_offset(conf) + SLOTS_MAX * linkboard_size();
}

void tables_init(const struct mesh *m, const struct conf *conf)
{
    struct tally_shape shape = net_tally_shape(conf);

    uidmap_init(tables_uids(m), conf->server.workers, conf->server.max_conns);
    tally_init(tables_tally(m, conf), &shape);
}

static bool is_alive(void *arg, unsigned slot, uint16_t epoch)
{
    const struct mesh *m = arg;

    return slots_is_alive(mesh_slots(m), slot, epoch) != 0;
}

void tables_adopt_timers(struct mesh *m, const struct conf *conf,
                         unsigned generation)
{
    struct shtimer_asker who = {.gen = generation, .alive = is_alive, .arg = m};
    uint64_t keys[SHTIMER_MAX];
    unsigned n = conf->ntimers < SHTIMER_MAX ? conf->ntimers : SHTIMER_MAX;

    for (unsigned i = 0; i < n; i++)
        keys[i] = conf_timer_key(conf, i);
    shtimer_adopt(tables_timers(m), keys, n, generation, &who);
}

void *tables_timers(const struct mesh *m)
{
    return mesh_extra(m);
}

void *tables_uids(const struct mesh *m)
{
    return (char *)mesh_extra(m) + uids_offset();
}

void *tables_tally(const struct mesh *m, const struct conf *conf)
{
    return (char *)mesh_extra(m) + tally_offset(conf);
}

struct slowest *tables_slowest(const struct mesh *m, const struct conf *conf,
                               unsigned slot)
{
    char *first = (char *)mesh_extra(m) + slowest_offset(conf);

    return (struct slowest *)(void *)(first + slot * slowest_size());
}

struct port_counters *tables_ports(const struct mesh *m,
                                   const struct conf *conf, unsigned slot)
{
    char *first = (char *)mesh_extra(m) + ports_offset(conf);

    return (struct port_counters *)(void *)(first + slot * port_counters_size(
                                                               conf->nports));
}

struct running *tables_running(const struct mesh *m, const struct conf *conf,
                               unsigned slot)
{
    char *first = (char *)mesh_extra(m) + running_offset(conf);

    return (struct running *)(void *)(first + slot * running_size());
}

struct roster *tables_roster(const struct mesh *m, const struct conf *conf)
{
    return (struct roster *)(void *)((char *)mesh_extra(m) +
                                     roster_offset(conf));
}

struct linkboard *tables_links(const struct mesh *m, const struct conf *conf,
                               unsigned slot)
{
    char *first = (char *)mesh_extra(m) + links_offset(conf);

    return (struct linkboard *)(void *)(first + slot * linkboard_size());
}

struct elsewhere *tables_elsewhere(const struct mesh *m,
                                   const struct conf *conf)
{
    return (struct elsewhere *)(void *)((char *)mesh_extra(m) +
                                        elsewhere_offset(conf));
}
