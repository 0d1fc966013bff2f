/* conf.h - the effective configuration, as every process of a node sees it.
 *
 * The files of config/ are evaluated once, by a short-lived child, and made
 * flat entries `path NUL value NUL` ("server.workers", "4").  Lists are
 * "path.1", "path.2"; "path" with an empty value is an empty list.  A
 * backslash in a value is written as two, a NUL as `\0`.  conf_open() turns
 * such a text into this struct, in the master and in every child alike,
 * without Lua.  The schema in base/conf_schema.h names every key.
 *
 * Durations are milliseconds here, sizes bytes; 0 means "no limit" or "none"
 * where api calls it so.  Strings and lists live as long as the conf. */
#ifndef SD_BASE_CONF_H
#define SD_BASE_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct conf_list {
    unsigned n;
    const char **at;
};

enum conf_protocol {
    CONF_TCP,
    CONF_UDP,
    CONF_HTTP
};
enum conf_policy {
    CONF_CLOSE,
    CONF_DROP_NEW,
    CONF_DROP_OLD
};
enum conf_uid_policy {
    CONF_KICK,
    CONF_REFUSE,
    CONF_ALLOW
};

enum conf_discovery {
    CONF_BY_LAN,
    CONF_BY_SEEDS,
    CONF_BY_DNS
};
enum conf_profile {
    CONF_LAN,
    CONF_FAST
};

struct conf_frame {
    const char *type; /* length line fixed raw pack */
    unsigned offset;
    unsigned bytes; /* 0 = varint */
    bool little;
    bool includes_header;
    bool whole;
    int64_t add;
    uint64_t max;
    const char *delimiter; /* bytes, not text: */
    unsigned delimiter_len;
    unsigned size;
};

struct conf_websocket {
    bool enabled;
    const char *path, *codec, *route;
    struct conf_list protocols;
    bool deflate;
    uint64_t max;
};

struct conf_port {
    const char *name, *listen;
    enum conf_protocol protocol;
    struct conf_frame frame;
    const char *codec, *route, *method_prefix;
    struct conf_list middlewares, controllers;
    enum conf_uid_policy uid_policy;
    uint64_t auth_timeout, timeout, idle_timeout;
    unsigned max_inflight, backlog, max_conns, max_conns_per_address;
    uint64_t slow_low, slow_high, slow_timeout;
    enum conf_policy slow_policy;
    unsigned max_subscriptions;
    double rate_messages;
    uint64_t rate_bytes;
    /* http only */
    const char *public_dir; /* NULL: no files */
    uint64_t max_body, max_upload, max_head;
    unsigned max_headers;
    uint64_t head_timeout, body_timeout;
    struct conf_list origins; /* "same", "*" or origins */
    struct conf_list http_methods, trusted_proxies;
    struct conf_websocket websocket;
};

struct conf_server {
    const char *name; /* NULL: the host's name */
    unsigned workers, tasks;
    unsigned max_conns;
    uint64_t call_timeout, task_timeout, task_grace;
    uint64_t reload_timeout, stop_timeout;
    uint64_t vm_memory, session_max, queue_memory;
    uint64_t max_run, hang_timeout;
    bool watchdog, dev;
    const char *user; /* NULL: owner of the application folder */
};

struct conf_redis {
    const char *name, *url;
};

struct conf_timer {
    const char *name, *model, *task, *method;
    uint64_t every, delay;
    uint64_t max_runs;
    int from, to;    /* minutes of the local day, -1: none */
    bool overlap;    /* false: skip a tick while the last one runs */
    bool is_cluster; /* once in the cluster, not once per node */
};

struct conf_log {
    int level; /* enum log_level */
    bool json;
    const char *file; /* NULL: stderr, or run/sdlua.log with -d */
};

struct conf_admin {
    const char *listen, *token;
};

struct conf_dispatch {
    unsigned relays, port;
};

struct conf_cluster {
    bool enable;
    const char *name;
    struct conf_list key; /* secrets: the first is used; none: open */
    const char *key_file; /* where they came from, or NULL */
    const char *bind;     /* NULL: not chosen, see conf_cluster_bind() */
    const char *advertise;
    struct conf_list seeds;
    enum conf_discovery discovery;
    enum conf_profile profile;
    bool encrypt;
};

struct conf_arena;

struct conf {
    struct conf_server server;
    unsigned nports, nredis, ntimers;
    struct conf_port *ports;
    struct conf_redis *redis;
    struct conf_timer *timers; /* arguments: entry "timers" of sd.config */
    struct conf_log log;
    struct conf_admin admin;
    struct conf_dispatch dispatch;
    struct conf_cluster cluster;
    struct conf_arena *arena; /* private: what the strings live in */
};

/* Read flattened entries.  0, or SD_EINVALID with *why naming the first bad
 * one (*why lives in the conf module; copy it). */
int conf_open(struct conf **out, struct slice entries, const char **why);
void conf_close(struct conf **cp);

/* What timer `i` is known by over reloads: its name and its rhythm, as a
 * number that is not 0. */
uint64_t conf_timer_key(const struct conf *conf, unsigned i);

/* Where membership listens: as chosen, else on every address when there is a
 * key, on loopback when there is none. */
const char *conf_cluster_bind(const struct conf *conf);

/* As it is configured: "tcp" ... */
const char *conf_protocol_name(enum conf_protocol p);

#endif
