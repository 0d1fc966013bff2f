/* conf_schema.c - see conf_schema.h.
 *
 * The table names also what later parts of the program read: a configuration
 * written for them is checked today, and a typing error in it is found today.
 * Order is the order of the documentation. */
#include "base/conf_schema.h"

#include <string.h>

#include "base/conf.h"

#define TYPE(t)       .type = CONF_##t
#define DEFAULT(text) .fallback = text
#define ONE_OF(text)  .choices = text
#define RANGE(lo, hi) .min = (lo), .max = (hi)
#define APPLIES       .reload = true
#define SECRET        .secret = true
#define NEEDED        .needed = true
#define NULLABLE      .nullable = true
#define AS(how, s, f) \
    .store = CONF_AS_##how, .offset = offsetof(struct conf_##s, f)
#define DOC(text) .doc = text

#define DAY  86400.0
#define KIB  1024.0
#define GIB  1073741824.0
#define MANY 1000000.0

/* clang-format off */
static const struct conf_key keys[] = {
    {.path = "server.name", TYPE(STRING), AS(TEXT, server, name),
     DOC("the node's name, unique in the cluster; `SD_NODE_NAME` wins "
         "over it; without either the host's name")},
    {.path = "server.workers", TYPE(INT), DEFAULT("auto"), ONE_OF("auto"),
     RANGE(1, 254), AS(UNSIGNED, server, workers),
     DOC("worker processes; `\"auto\"`: one per usable core")},
    {.path = "server.tasks", TYPE(INT), DEFAULT("2"), RANGE(0, 126),
     AS(UNSIGNED, server, tasks),
     DOC("task processes; workers + 2 x tasks + 2 is at most 256")},
    {.path = "server.max_conns", TYPE(INT), DEFAULT("100000"),
     RANGE(1, 1048575), AS(UNSIGNED, server, max_conns),
     DOC("connections of all workers together; must fit the limit of open "
         "files of one, to which the default is lowered")},
    {.path = "server.call_timeout", TYPE(DURATION), DEFAULT("5s"),
     RANGE(0.001, DAY), APPLIES, AS(U64, server, call_timeout),
     DOC("how long a call that waits may wait")},
    {.path = "server.task_timeout", TYPE(DURATION), DEFAULT("5m"),
     RANGE(0.001, 30 * DAY), APPLIES, AS(U64, server, task_timeout),
     DOC("how long a task may run that nobody waits for")},
    {.path = "server.task_grace", TYPE(DURATION), DEFAULT("1s"),
     RANGE(0.001, DAY), APPLIES, AS(U64, server, task_grace),
     DOC("how long a task past its deadline has until its process is "
         "killed")},
    {.path = "server.reload_timeout", TYPE(DURATION), DEFAULT("30s"),
     RANGE(0.001, DAY), APPLIES, AS(U64, server, reload_timeout),
     DOC("how long calls may finish in the old code after a reload")},
    {.path = "server.stop_timeout", TYPE(DURATION), DEFAULT("30s"),
     RANGE(0.001, DAY), APPLIES, AS(U64, server, stop_timeout),
     DOC("how long requests may finish when the server stops")},
    {.path = "server.vm_memory", TYPE(SIZE), DEFAULT("256m"),
     RANGE(16 * KIB * KIB, 64 * GIB), APPLIES, AS(U64, server, vm_memory),
     DOC("memory of one Lua state")},
    {.path = "server.session_max", TYPE(SIZE), DEFAULT("64k"), RANGE(0, GIB),
     APPLIES, AS(U64, server, session_max),
     DOC("largest session of a connection")},
    {.path = "server.queue_memory", TYPE(SIZE), DEFAULT("256m"),
     RANGE(KIB * KIB, 1024 * GIB), AS(U64, server, queue_memory),
     APPLIES, DOC("memory of all send queues of one worker")},
    {.path = "server.max_run", TYPE(DURATION), DEFAULT("1s"), RANGE(0, DAY),
     APPLIES, AS(U64, server, max_run),
     DOC("CPU time that Lua in a worker may burn without waiting before it "
         "is stopped; 0: no limit")},
    {.path = "server.hang_timeout", TYPE(DURATION), DEFAULT("10s"),
     RANGE(0, DAY), APPLIES, AS(U64, server, hang_timeout),
     DOC("how long a worker or relay may burn CPU without answering before "
         "it is killed; 0: no limit")},
    {.path = "server.watchdog", TYPE(BOOL), DEFAULT("true"), APPLIES,
     AS(BOOL, server, watchdog),
     DOC("in workers, stop Lua that runs longer than `max_run`")},
    {.path = "server.dev", TYPE(BOOL), DEFAULT("false"), APPLIES,
     AS(BOOL, server, dev),
     DOC("show the text of errors to clients")},
    {.path = "server.user", TYPE(STRING), AS(TEXT, server, user),
     DOC("the user a server started by root runs as; default: the "
         "owner of the folder")},

    {.path = "ports.*.listen", TYPE(STRING), NEEDED, AS(TEXT, port, listen),
     DOC("`\"0.0.0.0:9091\"` or `\"[::]:9091\"`; port 0 takes a free one")},
    {.path = "ports.*.protocol", TYPE(CHOICE), DEFAULT("tcp"),
     ONE_OF("tcp|udp|http"), AS(CHOICE, port, protocol),
     DOC("what is spoken; udp is not served yet")},
    {.path = "ports.*.frame.type", TYPE(CHOICE), DEFAULT("length"),
     ONE_OF("length|line|fixed|raw|pack"), APPLIES,
     AS(TEXT, port, frame.type),
     DOC("how packets are cut from the stream; `frame = \"line\"` is "
         "short for a frame of that type with its defaults")},
    {.path = "ports.*.frame.offset", TYPE(INT), DEFAULT("0"), RANGE(0, 65535),
     APPLIES, AS(UNSIGNED, port, frame.offset),
     DOC("`length`: bytes before the number")},
    {.path = "ports.*.frame.bytes", TYPE(CHOICE), DEFAULT("4"),
     ONE_OF("1|2|3|4|8|varint"), APPLIES, AS(UNSIGNED, port, frame.bytes),
     DOC("`length`: size of the number")},
    {.path = "ports.*.frame.endian", TYPE(CHOICE), DEFAULT("big"),
     ONE_OF("big|little"), APPLIES, AS(BOOL, port, frame.little),
     DOC("`length`: order of the number's bytes")},
    {.path = "ports.*.frame.includes_header", TYPE(BOOL), DEFAULT("true"),
     APPLIES, AS(BOOL, port, frame.includes_header),
     DOC("`length`: the number counts itself and what stands before it")},
    {.path = "ports.*.frame.whole", TYPE(BOOL), DEFAULT("false"), APPLIES,
     AS(BOOL, port, frame.whole),
     DOC("`length`: the codec gets and makes whole packets, number "
         "included")},
    {.path = "ports.*.frame.add", TYPE(INT), DEFAULT("0"),
     RANGE(-65535, 65535), APPLIES, AS(I64, port, frame.add),
     DOC("`length`: what the number leaves out (a checksum behind)")},
    {.path = "ports.*.frame.max", TYPE(SIZE), RANGE(1, GIB), APPLIES,
     AS(U64, port, frame.max),
     DOC("largest packet; default 2000000, for `line` 65536")},
    {.path = "ports.*.frame.delimiter", TYPE(STRING), DEFAULT("\r\n"),
     APPLIES, AS(BYTES, port, frame.delimiter),
     DOC("`line`: what ends a packet")},
    {.path = "ports.*.frame.size", TYPE(INT), RANGE(1, GIB), APPLIES,
     AS(UNSIGNED, port, frame.size),
     DOC("`fixed`: size of every packet")},
    {.path = "ports.*.codec", TYPE(STRING), DEFAULT("json"), APPLIES,
     AS(TEXT, port, codec),
     DOC("`\"json\"`, `\"msgpack\"`, `\"raw\"` or a file in scripts/packs")},
    {.path = "ports.*.route", TYPE(STRING), DEFAULT("normal"), APPLIES,
     AS(TEXT, port, route),
     DOC("`\"normal\"`, `\"jsonrpc\"` or a file in scripts/routes")},
    {.path = "ports.*.middlewares", TYPE(LIST), APPLIES,
     AS(LIST, port, middlewares),
     DOC("files in scripts/middlewares, first is outermost")},
    {.path = "ports.*.controllers", TYPE(LIST), DEFAULT("*"), APPLIES,
     AS(LIST, port, controllers),
     DOC("what is served here: names, `\"admin/*\"`, `\"*\"`")},
    {.path = "ports.*.method_prefix", TYPE(STRING), DEFAULT(""), APPLIES,
     AS(TEXT, port, method_prefix),
     DOC("put before the method's name")},
    {.path = "ports.*.auth_timeout", TYPE(DURATION), RANGE(0, DAY), APPLIES,
     AS(U64, port, auth_timeout),
     DOC("from accept; without a uid by then the connection is closed; "
         "default none")},
    {.path = "ports.*.uid_policy", TYPE(CHOICE), DEFAULT("kick"),
     ONE_OF("kick|refuse|allow"), APPLIES, AS(CHOICE, port, uid_policy),
     DOC("when a uid binds a second time")},
    {.path = "ports.*.timeout", TYPE(DURATION), DEFAULT("30s"), RANGE(0, DAY),
     APPLIES, AS(U64, port, timeout),
     DOC("of one call")},
    {.path = "ports.*.max_inflight", TYPE(INT), DEFAULT("1"), RANGE(0, 65535),
     APPLIES, AS(UNSIGNED, port, max_inflight),
     DOC("calls of one connection at once")},
    {.path = "ports.*.backlog", TYPE(INT), DEFAULT("64"), RANGE(0, 65535),
     APPLIES, AS(UNSIGNED, port, backlog),
     DOC("packets of one connection that wait, then reading stops")},
    {.path = "ports.*.idle_timeout", TYPE(DURATION), DEFAULT("2m"),
     RANGE(0, 30 * DAY), APPLIES, AS(U64, port, idle_timeout),
     DOC("without a byte from the client; a WebSocket is pinged at "
         "half of it; 0: no limit")},
    {.path = "ports.*.max_conns", TYPE(INT), DEFAULT("0"), RANGE(0, 1048575),
     APPLIES, AS(UNSIGNED, port, max_conns),
     DOC("connections of this port, of all workers together; 0: no limit")},
    {.path = "ports.*.max_conns_per_address", TYPE(INT), DEFAULT("0"),
     RANGE(0, 1048575), APPLIES, AS(UNSIGNED, port, max_conns_per_address),
     DOC("the same from one address; 0: no limit")},
    {.path = "ports.*.slow_client.low", TYPE(SIZE), DEFAULT("256k"),
     RANGE(0, GIB), APPLIES, AS(U64, port, slow_low),
     DOC("above this many unsent bytes reading stops")},
    {.path = "ports.*.slow_client.high", TYPE(SIZE), DEFAULT("1m"),
     RANGE(KIB, 4 * GIB), APPLIES, AS(U64, port, slow_high),
     DOC("above this many `policy` is applied")},
    {.path = "ports.*.slow_client.timeout", TYPE(DURATION), DEFAULT("30s"),
     RANGE(0, DAY), APPLIES, AS(U64, port, slow_timeout),
     DOC("how long a connection may take nothing")},
    {.path = "ports.*.slow_client.policy", TYPE(CHOICE), DEFAULT("close"),
     ONE_OF("close|drop_new|drop_old"), APPLIES,
     AS(CHOICE, port, slow_policy),
     DOC("what happens above `high`")},
    {.path = "ports.*.max_subscriptions", TYPE(INT), DEFAULT("1000"),
     RANGE(0, MANY), APPLIES, AS(UNSIGNED, port, max_subscriptions),
     DOC("filters of one connection")},
    {.path = "ports.*.rate.messages", TYPE(NUMBER), DEFAULT("0"),
     RANGE(0, MANY), APPLIES, AS(DOUBLE, port, rate_messages),
     DOC("packets a second and connection; 0: no limit")},
    {.path = "ports.*.rate.bytes", TYPE(SIZE), DEFAULT("0"),
     RANGE(0, 64 * GIB), APPLIES, AS(U64, port, rate_bytes),
     DOC("bytes a second and connection; 0: no limit")},
    {.path = "ports.*.tls.cert", TYPE(STRING), APPLIES,
     DOC("certificate file; not served yet")},
    {.path = "ports.*.tls.key", TYPE(STRING), APPLIES,
     DOC("file of its private key; not served yet")},
    {.path = "ports.*.trusted_proxies", TYPE(LIST), APPLIES,
     AS(LIST, port, trusted_proxies),
     DOC("addresses whose word on the client's address is believed")},
    {.path = "ports.*.public", TYPE(STRING), DEFAULT("scripts/public"),
     NULLABLE, APPLIES, AS(TEXT, port, public_dir),
     DOC("http: folder of static files; `false`: none")},
    {.path = "ports.*.max_body", TYPE(SIZE), DEFAULT("1m"), RANGE(0, 4 * GIB),
     APPLIES, AS(U64, port, max_body),
     DOC("http: largest body of a request")},
    {.path = "ports.*.max_upload", TYPE(SIZE), DEFAULT("0"),
     RANGE(0, 1024 * GIB), APPLIES, AS(U64, port, max_upload),
     DOC("http: largest upload; 0: none")},
    {.path = "ports.*.max_head", TYPE(SIZE), DEFAULT("16k"),
     RANGE(KIB, KIB * KIB), APPLIES, AS(U64, port, max_head),
     DOC("http: largest head of a request")},
    {.path = "ports.*.max_headers", TYPE(INT), DEFAULT("100"),
     RANGE(1, 10000), APPLIES, AS(UNSIGNED, port, max_headers),
     DOC("http: most header lines")},
    {.path = "ports.*.head_timeout", TYPE(DURATION), DEFAULT("10s"),
     RANGE(0, DAY), APPLIES, AS(U64, port, head_timeout),
     DOC("http: from the first byte of a head to its last")},
    {.path = "ports.*.body_timeout", TYPE(DURATION), DEFAULT("30s"),
     RANGE(0, DAY), APPLIES, AS(U64, port, body_timeout),
     DOC("http: from the end of a head to the last byte of its body")},
    {.path = "ports.*.origins", TYPE(WORDS), DEFAULT("same"), APPLIES,
     AS(LIST, port, origins),
     DOC("http: origins that may call from a browser: `\"same\"`, `\"*\"` "
         "or a list")},
    {.path = "ports.*.http_methods", TYPE(LIST), DEFAULT("GET,POST"), APPLIES,
     AS(LIST, port, http_methods),
     DOC("http: methods that may call")},
    {.path = "ports.*.websocket.enabled", TYPE(BOOL), DEFAULT("true"),
     APPLIES, AS(BOOL, port, websocket.enabled),
     DOC("http: `websocket = false` is short for it")},
    {.path = "ports.*.websocket.path", TYPE(STRING), DEFAULT("/ws"), APPLIES,
     AS(TEXT, port, websocket.path),
     DOC("where a WebSocket opens")},
    {.path = "ports.*.websocket.codec", TYPE(STRING), DEFAULT("json"),
     APPLIES, AS(TEXT, port, websocket.codec),
     DOC("as the port's `codec`")},
    {.path = "ports.*.websocket.route", TYPE(STRING), DEFAULT("normal"),
     APPLIES, AS(TEXT, port, websocket.route),
     DOC("as the port's `route`")},
    {.path = "ports.*.websocket.protocols", TYPE(LIST), APPLIES,
     AS(LIST, port, websocket.protocols),
     DOC("sub-protocols, first is preferred")},
    {.path = "ports.*.websocket.deflate", TYPE(BOOL), DEFAULT("false"),
     APPLIES, AS(BOOL, port, websocket.deflate),
     DOC("compress messages")},
    {.path = "ports.*.websocket.max", TYPE(SIZE), DEFAULT("1m"),
     RANGE(1, GIB), APPLIES, AS(U64, port, websocket.max),
     DOC("largest message")},

    {.path = "redis.*.url", TYPE(STRING), DEFAULT("embedded"), SECRET,
     AS(TEXT, redis, url),
     APPLIES, DOC("`\"embedded\"`: a private redis-server of this node; "
         "`\"redis://:pw@host:6379/0\"`, `\"unix:///path\"`, "
         "`\"redis+sentinel://h1,h2/name\"`, `\"redis+cluster://h1,h2\"` "
         "(these two are not served yet)")},

    {.path = "mysql.*.url", TYPE(STRING), NEEDED, SECRET,
     DOC("`\"mysql://user:pw@host:3306/db\"`")},
    {.path = "mysql.*.pool", TYPE(INT), DEFAULT("10"), RANGE(1, 1000),
     DOC("connections of one process")},

    {.path = "timers.*.name", TYPE(STRING), APPLIES, AS(TEXT, timer, name),
     DOC("name, unique; default: its model or task and method")},
    {.path = "timers.*.model", TYPE(STRING), APPLIES, AS(TEXT, timer, model),
     DOC("runs in a worker, or")},
    {.path = "timers.*.task", TYPE(STRING), APPLIES, AS(TEXT, timer, task),
     DOC("runs in a task process")},
    {.path = "timers.*.method", TYPE(STRING), NEEDED, APPLIES,
     AS(TEXT, timer, method),
     DOC("what is called")},
    {.path = "timers.*.args", TYPE(ANY), APPLIES,
     DOC("its first argument")},
    {.path = "timers.*.every", TYPE(DURATION), RANGE(0.01, 366 * DAY),
     APPLIES, AS(U64, timer, every),
     DOC("from run to run")},
    {.path = "timers.*.delay", TYPE(DURATION), RANGE(0, 366 * DAY), APPLIES,
     AS(U64, timer, delay),
     DOC("until the first run; default: `every`")},
    {.path = "timers.*.cron", TYPE(STRING), APPLIES,
     DOC("minute, hour, day, month, weekday, instead of `every`")},
    {.path = "timers.*.tz", TYPE(STRING), APPLIES,
     DOC("time zone of `cron`, `from` and `to`")},
    {.path = "timers.*.max_runs", TYPE(INT), DEFAULT("0"),
     RANGE(0, 9007199254740992.0), APPLIES, AS(U64, timer, max_runs),
     DOC("ends after this many; 0: no end")},
    {.path = "timers.*.from", TYPE(TIME), APPLIES, AS(MINUTES, timer, from),
     DOC("runs from this time of the day")},
    {.path = "timers.*.to", TYPE(TIME), APPLIES, AS(MINUTES, timer, to),
     DOC("until this one")},
    {.path = "timers.*.overlap", TYPE(CHOICE), DEFAULT("skip"),
     ONE_OF("skip|allow"), APPLIES, AS(BOOL, timer, overlap),
     DOC("when the last run has not ended")},
    {.path = "timers.*.missed", TYPE(CHOICE), DEFAULT("skip"),
     ONE_OF("skip|run"), APPLIES,
     DOC("runs missed while the node was away")},
    {.path = "timers.*.scope", TYPE(CHOICE), DEFAULT("node"),
     ONE_OF("node|cluster"), APPLIES, AS(BOOL, timer, is_cluster),
     DOC("once per node or once in the cluster")},

    {.path = "log.level", TYPE(CHOICE), DEFAULT("info"),
     ONE_OF("debug|info|warn|error|none"), AS(CHOICE, log, level),
     APPLIES, DOC("what is logged")},
    {.path = "log.format", TYPE(CHOICE), DEFAULT("text"), ONE_OF("text|json"),
     AS(BOOL, log, json),
     APPLIES, DOC("one line an event, as")},
    {.path = "log.file", TYPE(STRING), AS(TEXT, log, file),
     DOC("default stderr; run/sdlua.log with `-d`")},

    {.path = "admin.listen", TYPE(STRING), DEFAULT("127.0.0.1:9180"),
     AS(TEXT, admin, listen),
     DOC("address of the admin port, or `\"unix:...\"`, or `\"off\"`")},
    {.path = "admin.token", TYPE(STRING), SECRET, AS(TEXT, admin, token),
     DOC("needed unless the address is loopback or unix")},

    {.path = "dispatch.relays", TYPE(INT), DEFAULT("auto"), ONE_OF("auto"),
     RANGE(1, 64), AS(UNSIGNED, dispatch, relays),
     DOC("relay processes; `\"auto\"`: one per usable core")},
    {.path = "dispatch.port", TYPE(INT), DEFAULT("0"), RANGE(0, 65472),
     AS(UNSIGNED, dispatch, port),
     DOC("of the first relay, the next ones follow; 0: any that are free. "
         "Nodes need not be told")},

    {.path = "cluster.enable", TYPE(BOOL), DEFAULT("false"),
     AS(BOOL, cluster, enable),
     DOC("be a member of a cluster; needs a Redis that all nodes share")},
    {.path = "cluster.name", TYPE(STRING), DEFAULT("sdlua"),
     AS(TEXT, cluster, name),
     DOC("name of the cluster: members of another one are not heard")},
    {.path = "cluster.key", TYPE(WORDS), APPLIES, SECRET,
     AS(LIST, cluster, key),
     DOC("key of the cluster (`sdlua key`), or up to three while keys "
         "change: the first is used, all are accepted")},
    {.path = "cluster.key_file", TYPE(STRING), APPLIES,
     AS(TEXT, cluster, key_file),
     DOC("file that holds it, instead of `key`; one key a line")},
    {.path = "cluster.bind", TYPE(STRING), AS(TEXT, cluster, bind),
     DOC("address of membership; default `0.0.0.0:7946`, or another port "
         "when that is taken; `127.0.0.1` without a key, which any other "
         "address needs")},
    {.path = "cluster.advertise", TYPE(STRING),
     AS(TEXT, cluster, advertise),
     DOC("address told to the others, where they cannot see it (NAT, "
         "containers); port 0: the port of `bind`")},
    {.path = "cluster.seeds", TYPE(LIST), APPLIES, AS(LIST, cluster, seeds),
     DOC("`\"host:port\"` of members to ask; a name may have many "
         "addresses")},
    {.path = "cluster.discovery", TYPE(CHOICE), DEFAULT("lan"),
     ONE_OF("lan|seeds|dns"), AS(CHOICE, cluster, discovery),
     DOC("how members are found: by announcement on the local network and "
         "by seeds, by seeds alone, by looking up the names of seeds again "
         "and again")},
    {.path = "cluster.profile", TYPE(CHOICE), DEFAULT("lan"),
     ONE_OF("lan|fast"), AS(CHOICE, cluster, profile),
     DOC("how quickly a dead member is noticed; `fast` is for quick networks "
         "of up to 100 members")},
    {.path = "cluster.encrypt", TYPE(BOOL), DEFAULT("true"),
     AS(BOOL, cluster, encrypt),
     DOC("encrypt links between nodes; what agents say always is")},
};
/* clang-format on */

enum {
    NKEYS = sizeof(keys) / sizeof(keys[0])
};

const struct conf_key *conf_key_at(unsigned i)
{
    return i < NKEYS ? &keys[i] : NULL;
}

/* Does the pattern, with `*` for one part, name this path? */
static bool matches(const char *pattern, struct slice path)
{
    const char *p = path.p, *end = path.p + path.len;

    while (*pattern != '\0' && p < end) {
        if (*pattern == '*') {
            const char *dot = memchr(p, '.', (size_t)(end - p));

            p = dot != NULL ? dot : end;
            pattern++;
        } else if (*pattern++ != *p++) {
            return false;
        }
    }
    return *pattern == '\0' && p == end;
}

const struct conf_key *conf_key_find(struct slice path)
{
    unsigned i;

    for (i = 0; i < NKEYS; i++) {
        if (matches(keys[i].path, path))
            return &keys[i];
    }
    return NULL;
}
