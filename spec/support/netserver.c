/* netserver.c - one port of net/ with an upper layer that echoes: for specs
 * and for measuring what net/ costs without Lua.
 *
 *     netserver key=value ...
 *
 * Prints "listening ADDRESS pid PID", then one line per event ("close
 * REASON").  Ends gracefully when stdin ends, with the counters as its last
 * line.  A packet is echoed unless its first word is one of the table below;
 * HTTP paths likewise.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/http_response.h"
#include "codec/json.h"
#include "loop/pollfd.h"
#include "loop/timer.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/push.h"
#include "netmove.h"

enum {
    SLOTS_MAX = 4
};

static struct loop *loop;
static struct net *net;
static struct net *other; /* conns move to it and back; NULL: they stay */
static uint64_t move_ms;
static struct conf conf;
static struct conf_port port;
static bool late_open; /* on_open() ends later */
static bool quiet;
static uint64_t delay = 5; /* ms until what ends later does */

/* --- something that ends later -------------------------------------------- */

struct later {
    struct timer timer;
    struct conn *conn;
    struct http_request *request;
    struct buf body;
    void (*fn)(struct later *l);
    bool waits; /* for the client of its request to go away */
};

static unsigned laters; /* on their way */

static void on_later(struct timer *t)
{
    struct later *l = list_entry(t, struct later, timer);

    if (l->waits && !http_is_gone(l->request)) {
        timer_start(loop, t, delay);
        return;
    }
    laters--;
    l->fn(l);
    buf_fini(&l->body);
    mem_free(l);
}

static void later(struct conn *c, struct http_request *r, struct slice body,
                  void (*fn)(struct later *l))
{
    struct later *l = mem_zalloc(sizeof(*l));

    l->timer.fn = on_later;
    l->conn = c;
    l->request = r;
    l->fn = fn;
    l->waits = r != NULL && slice_is(http_query(r), "gone");
    if (l->waits) {
        printf("asked\n");
        fflush(stdout);
    }
    laters++;
    buf_append(&l->body, body.p, body.len);
    timer_start(loop, &l->timer, delay);
}

/* --- slots and upper layers ----------------------------------------------- */

static int listeners[SLOTS_MAX];
static unsigned slots = 1;
static const struct conn_ops other_ops;

static void serve_slot(unsigned slot)
{
    sd_assert(slot < slots && net_adopt(net, slot, &listeners[slot]) == 0);
}

/* As a reload does; conns of the other net, if there is one, find that out when
 * they come here. */
static void reload(const char *frame)
{
    static struct conf_port changed;
    static struct conf now;
    static char type[64];
    const char *why;

    snprintf(type, sizeof(type), "%s", frame);
    changed = port;
    changed.frame.type = type;
    now = conf;
    now.ports = &changed;
    sd_assert(net_set_conf(net, &now, &why) == 0);
}

/* "adopt 1", "release 1", "reload line", "ops": what worker.c does with a
 * net. */
static void rule(const char *word)
{
    if (strncmp(word, "adopt ", 6) == 0)
        serve_slot((unsigned)strtoul(word + 6, NULL, 10));
    else if (strncmp(word, "release ", 8) == 0)
        net_release(net, (unsigned)strtoul(word + 8, NULL, 10));
    else if (strncmp(word, "reload ", 7) == 0)
        reload(word + 7);
    else
        net_set_ops(net, &other_ops, NULL);
}

/* --- packets -------------------------------------------------------------- */

static bool has_word(struct slice *s, const char *word)
{
    size_t n = strlen(word);

    if (s->len < n || memcmp(s->p, word, n) != 0)
        return false;
    *s = slice_skip(*s, n);
    return true;
}

static void send_big(struct conn *c, size_t n)
{
    struct buf *out;

    if (conn_send_begin(&out, c) < 0)
        return;
    memset(buf_reserve(out, n), 'x', n);
    buf_commit(out, n);
    (void)conn_send_commit(c);
}

/* "push COUNT SIZE": so many to every conn but this one, numbered and filled
 * up; "each COUNT SIZE": so many to each as its own; "keyed KEY TEXT": one to
 * every conn, conflated; "volatile TEXT". */
static unsigned push_in(struct net *n, struct conn *from, struct push *p,
                        struct slice body)
{
    uint32_t cursor = 0;
    unsigned took = 0;
    struct conn *c;

    p->value = body;
    sd_assert(push_frame(p, from, body) == 0);
    while ((c = net_next(n, &cursor)) != NULL) {
        if (c != from && conn_push(c, p) == 0)
            took++;
    }
    push_end(p);
    return took;
}

static unsigned push_all(struct conn *from, struct push *p, struct slice body)
{
    unsigned took = push_in(net, from, p, body);

    return other != NULL ? took + push_in(other, from, p, body) : took;
}

static void push_many(struct conn *c, const char *numbers)
{
    char *end;
    size_t i, n = strtoul(numbers, &end, 10), size = strtoul(end, NULL, 10);
    struct buf body = {0};
    struct push p = {0};

    for (i = 1; i <= n; i++) {
        buf_truncate(&body, 0);
        buf_printf(&body, "%zu ", i);
        while (body.len < size)
            buf_append_str(&body, "x");
        (void)push_all(c, &p, buf_slice(&body));
    }
    buf_fini(&body);
    push_fini(&p);
}

static void push_each(struct conn *from, const char *numbers)
{
    char *end;
    size_t i, n = strtoul(numbers, &end, 10), size = strtoul(end, NULL, 10);
    struct push p = {0};
    uint32_t cursor = 0;
    struct conn *c;
    char *body = mem_alloc(size + 1);

    memset(body, 'x', size);
    while ((c = net_next(net, &cursor)) != NULL) {
        for (i = 0; c != from && i < n; i++) {
            p.value = slice_make(body, size);
            sd_assert(push_frame(&p, from, p.value) == 0);
            (void)conn_push(c, &p);
            push_end(&p);
        }
    }
    push_fini(&p);
    mem_free(body);
}

static unsigned push_one(struct conn *from, struct slice rest, uint64_t key,
                         bool is_volatile)
{
    struct push p = {.key = key, .is_volatile = is_volatile};
    unsigned took = push_all(from, &p, rest);

    push_fini(&p);
    return took;
}

/* Answered with how many conns took it. */
static bool on_push_word(struct conn *c, struct slice rest, const char *word)
{
    char answer[32];
    unsigned took = 0;

    if (strncmp(word, "push ", 5) == 0)
        push_many(c, word + 5);
    else if (strncmp(word, "each ", 5) == 0)
        push_each(c, word + 5);
    else if (has_word(&rest, "keyed "))
        took =
            push_one(c, slice_skip(rest, 2), (unsigned char)rest.p[0], false);
    else if (has_word(&rest, "memory"))
        took = (unsigned)net_queue_memory(net);
    else if (has_word(&rest, "volatile "))
        took = push_one(c, rest, 0, true);
    else
        return false;
    snprintf(answer, sizeof(answer), "pushed %u", took);
    (void)conn_send(c, slice_str(answer));
    return true;
}

/* "slowest": what waits for the two conns with the most. */
static void tell_slowest(struct conn *c)
{
    struct conn *top[2];
    unsigned i, n = net_slowest(net, top, 2);
    struct buf text = {0};

    for (i = 0; i < n; i++)
        buf_printf(&text, "%" PRIu64 " ", conn_queued(top[i]));
    (void)conn_send(c, buf_slice(&text));
    buf_fini(&text);
}

static void on_drop(void *arg, struct conn *c, struct slice value,
                    const char *reason)
{
    (void)arg;
    (void)c;
    if (!quiet)
        printf("drop %.*s %s\n", (int)(value.len < 8 ? value.len : 8), value.p,
               reason);
    fflush(stdout);
}

/* The conn's mark counts what is still on its way, its user tells that
 * on_close() came: the last of them gives the conn back. */
static void let_go(struct conn *c)
{
    conn_set_mark(c, conn_mark(c) - 1);
    if (conn_user(c) != NULL && conn_mark(c) == 0)
        conn_released(c);
}

/* How many conns have something that waits to be written. */
static unsigned count_queued(void)
{
    uint32_t cursor = 0;
    unsigned n = 0;
    struct conn *c;

    while ((c = net_next(net, &cursor)) != NULL)
        n += conn_queued(c) > 0;
    return n;
}

/* "queued": how many that is when this turn is over and the next one ends. */
static struct conn *curious;

static void tell_queued(struct loop_job *job)
{
    char answer[32];

    (void)job;
    snprintf(answer, sizeof(answer), "%u", count_queued());
    (void)conn_send(curious, slice_str(answer));
    conn_done(curious);
}

static struct loop_job tell = {.fn = tell_queued};

static void look_later(struct loop_job *job)
{
    (void)job;
    loop_defer(loop, &tell);
}

static struct loop_job look = {.fn = look_later};

static void echo_later(struct later *l)
{
    if (conn_send(l->conn, buf_slice(&l->body)) == SD_EGONE)
        printf("late\n");
    fflush(stdout);
    conn_done(l->conn);
    let_go(l->conn);
}

/* A call of bench/: its parameters come back. */
static void answer_call(struct conn *c, struct slice packet)
{
    static const char key[] = "\"params\":";
    const char *at = memmem(packet.p, packet.len, key, sizeof(key) - 1);
    size_t from = at != NULL ? (size_t)(at - packet.p) + sizeof(key) - 1 : 0;

    (void)conn_send(c, slice_make(packet.p + from, packet.len - from - 1));
    conn_done(c);
}

/* "bye REASON", of any length. */
static void close_with(struct conn *c, struct slice reason)
{
    char *text = mem_dup(reason.p, reason.len);

    conn_close(c, text, 0);
    mem_free(text);
    conn_done(c);
}

static void on_packet(void *arg, struct conn *c, struct slice packet)
{
    struct slice rest = packet;
    char word[64];

    (void)arg;
    if (packet.len > 16 && packet.p[0] == '{') {
        answer_call(c, packet);
        return;
    }
    if (has_word(&rest, "bye ")) {
        close_with(c, rest);
        return;
    }
    if (has_word(&rest, "async ")) {
        conn_set_mark(c, conn_mark(c) + 1);
        later(c, NULL, rest, echo_later);
        return;
    }
    snprintf(word, sizeof(word), "%.*s", (int)(rest.len < 60 ? rest.len : 60),
             rest.p);
    if (strcmp(word, "queued") == 0) {
        curious = c;
        loop_defer(loop, &look);
        return;
    }
    if (on_push_word(c, rest, word)) {
        conn_done(c);
        return;
    }
    if (strncmp(word, "print ", 6) == 0) {
        printf("%s\n", word + 6);
        fflush(stdout);
    } else if (strncmp(word, "close ", 6) == 0) {
        (void)conn_send(c, slice_str("bye"));
        conn_close(c, word + 6, 0);
    } else if (strncmp(word, "big ", 4) == 0) {
        send_big(c, strtoul(word + 4, NULL, 10));
    } else if (strncmp(word, "uid ", 4) == 0) {
        conn_set_uid(c, slice_skip(rest, 4));
        (void)conn_send(c, conn_uid(c));
    } else if (strncmp(word, "rule ", 5) == 0) {
        rule(word + 5);
        (void)conn_send(c, slice_str("ruled"));
    } else if (strcmp(word, "slowest") == 0) {
        tell_slowest(c);
    } else if (strcmp(word, "ask") == 0) {
        conn_asks_add(c, 1);
        (void)conn_send(c, slice_str("ask?"));
        return; /* done with the answer */
    } else if (strcmp(word, "silent") != 0) {
        (void)conn_send(c, packet);
    }
    conn_done(c);
}

static bool on_answer(void *arg, struct conn *c, struct slice packet)
{
    struct slice rest = packet;

    (void)arg;
    if (!has_word(&rest, "answer "))
        return false;
    conn_asks_add(c, -1);
    (void)conn_send(c, rest);
    conn_done(c);
    return true;
}

static void open_later(struct later *l)
{
    (void)conn_send(l->conn, slice_str("hello"));
    conn_opened(l->conn);
    let_go(l->conn);
}

static void on_open(void *arg, struct conn *c)
{
    (void)arg;
    if (late_open) {
        conn_set_mark(c, conn_mark(c) + 1);
        later(c, NULL, slice_str(""), open_later);
    } else {
        conn_opened(c);
    }
}

static void on_close(void *arg, struct conn *c, const char *reason)
{
    (void)arg;
    if (!quiet)
        printf("close %s\n", reason);
    fflush(stdout);
    conn_set_user(c, net);
    if (conn_mark(c) == 0)
        conn_released(c);
}

static int64_t on_length(void *arg, const struct conn *c, struct slice head)
{
    (void)arg;
    (void)c;
    /* "N:" and N bytes, one digit. */
    if (head.p[0] < '0' || head.p[0] > '9')
        return -1;
    if (head.len < 2)
        return 0;
    return head.p[1] == ':' ? 2 + head.p[0] - '0' : -1;
}

/* --- HTTP ----------------------------------------------------------------- */

static const struct slice none = {"", 0};

static void put_field(struct buf *out, const char *name, struct slice value)
{
    buf_printf(out, "\"%s\":", name);
    if (json_write_string(out, value) < 0)
        buf_append_str(out, "null");
    buf_append_str(out, ",");
}

static void answer_echo(struct http_request *r)
{
    struct buf *out = http_reply_begin(r, 200, "application/json", none);
    struct slice name, value;
    unsigned i;

    buf_append_str(out, "{");
    put_field(out, "method", http_method(r));
    put_field(out, "path", http_path(r));
    put_field(out, "query", http_query(r));
    put_field(out, "body", http_body(r));
    put_field(out, "protocol", slice_str(http_protocol(r)));
    buf_append_str(out, "\"headers\":{");
    for (i = 0; i < http_header_count(r); i++) {
        http_header_at(r, i, &name, &value);
        json_write_string(out, name);
        buf_append_str(out, ":");
        if (json_write_string(out, value) < 0)
            buf_append_str(out, "null");
        if (i + 1 < http_header_count(r))
            buf_append_str(out, ",");
    }
    buf_append_str(out, "}}");
    http_reply_commit(r);
}

static void answer_later(struct later *l)
{
    if (http_is_gone(l->request))
        printf("gone\n");
    fflush(stdout);
    answer_echo(l->request);
}

static void stream_later(struct later *l)
{
    (void)http_stream_write(l->request, slice_str("three"));
    http_stream_end(l->request);
}

static void on_request(void *arg, struct conn *c, struct http_request *r)
{
    struct slice path = http_path(r), query = http_query(r);
    char number[32] = "";
    size_t n;

    (void)arg;
    if (query.len < sizeof(number))
        memcpy(number, query.p, query.len);
    n = strtoul(number, NULL, 10);
    if (slice_is(path, "/hi")) {
        http_respond(r, 200, slice_str("application/json"), none,
                     slice_str("{\"hello\":\"world\"}"));
    } else if (slice_is(path, "/echo")) {
        answer_echo(r);
    } else if (slice_is(path, "/async")) {
        later(c, r, none, answer_later);
    } else if (slice_is(path, "/stream")) {
        http_stream_begin(r, 200, slice_str("text/plain"), none);
        (void)http_stream_write(r, slice_str("one"));
        (void)http_stream_write(r, slice_str("two"));
        later(c, r, none, stream_later);
    } else if (slice_is(path, "/inplace")) {
        struct buf *out = http_reply_begin(r, 200, "text/plain", none);

        memset(buf_reserve(out, n), 'y', n);
        buf_commit(out, n);
        http_reply_commit(r);
    } else if (slice_is(path, "/fail")) {
        http_fail(r, (int)n, slice_str("no \"way\""));
    } else if (slice_is(path, "/empty")) {
        http_respond(r, 204, none, none, none);
    } else if (!http_static(r)) {
        http_fail(r, 404, slice_str("not found"));
    }
}

static void accept_later(struct later *l)
{
    if (conn_ws_accept(l->request, slice_str("X-Late: yes\r\n")) < 0)
        printf("gone\n");
    fflush(stdout);
}

static void on_handshake(void *arg, struct conn *c, struct http_request *r)
{
    (void)arg;
    if (slice_is(http_query(r), "undo")) {
        conn_set_uid(c, slice_str("ann"));
        conn_set_uid(c, none);
    }
    if (slice_is(http_query(r), "refuse"))
        http_fail(r, 401, slice_str("who are you"));
    else if (slice_is(http_query(r), "later") ||
             slice_is(http_query(r), "gone"))
        later(c, r, none, accept_later);
    else
        (void)conn_ws_accept(r, none);
}

static const struct conn_ops ops = {
    .on_open = on_open,
    .on_packet = on_packet,
    .on_answer = on_answer,
    .on_handshake = on_handshake,
    .on_request = on_request,
    .on_close = on_close,
    .on_drop = on_drop,
    .on_length = on_length,
};

static void on_other_packet(void *arg, struct conn *c, struct slice packet)
{
    (void)arg;
    (void)packet;
    (void)conn_send(c, slice_str("other"));
    conn_done(c);
}

static const struct conn_ops other_ops = {
    .on_open = on_open,
    .on_packet = on_other_packet,
    .on_close = on_close,
};

/* --- the port ------------------------------------------------------------- */

static void set_list(struct conf_list *l, char *text)
{
    char *one;

    l->n = 0;
    l->at = mem_zalloc(16 * sizeof(*l->at));
    for (one = strtok(text, ","); one != NULL && l->n < 16;
         one = strtok(NULL, ","))
        l->at[l->n++] = one;
}

static bool set_text(const char *key, char *value)
{
    if (strcmp(key, "listen") == 0)
        port.listen = value;
    else if (strcmp(key, "protocol") == 0)
        port.protocol = strcmp(value, "http") == 0 ? CONF_HTTP : CONF_TCP;
    else if (strcmp(key, "frame") == 0)
        port.frame.type = value;
    else if (strcmp(key, "public") == 0)
        port.public_dir = value;
    else if (strcmp(key, "ws") == 0)
        port.websocket.path = value;
    else if (strcmp(key, "ws_codec") == 0)
        port.websocket.codec = value;
    else if (strcmp(key, "ws_protocols") == 0)
        set_list(&port.websocket.protocols, value);
    else if (strcmp(key, "origins") == 0)
        set_list(&port.origins, value);
    else if (strcmp(key, "methods") == 0)
        set_list(&port.http_methods, value);
    else
        return false;
    return true;
}

static void set_number(const char *key, uint64_t n)
{
    struct {
        const char *key;
        uint64_t *at;
    } longs[] = {
        {"idle_timeout", &port.idle_timeout},
        {"auth_timeout", &port.auth_timeout},
        {"slow_low", &port.slow_low},
        {"slow_high", &port.slow_high},
        {"slow_timeout", &port.slow_timeout},
        {"max_body", &port.max_body},
        {"max_head", &port.max_head},
        {"head_timeout", &port.head_timeout},
        {"body_timeout", &port.body_timeout},
        {"ws_max", &port.websocket.max},
        {"max", &port.frame.max},
        {"rate_bytes", &port.rate_bytes},
    };
    struct {
        const char *key;
        unsigned *at;
    } ints[] = {
        {"max_inflight", &port.max_inflight},
        {"backlog", &port.backlog},
        {"max_conns", &port.max_conns},
        {"per_address", &port.max_conns_per_address},
        {"max_headers", &port.max_headers},
        {"bytes", &port.frame.bytes},
        {"size", &port.frame.size},
    };
    size_t i;

    for (i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
        if (strcmp(longs[i].key, key) == 0)
            *longs[i].at = n;
    }
    for (i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        if (strcmp(ints[i].key, key) == 0)
            *ints[i].at = (unsigned)n;
    }
    if (strcmp(key, "late_open") == 0)
        late_open = n != 0;
    if (strcmp(key, "policy") == 0)
        port.slow_policy = (enum conf_policy)n;
    if (strcmp(key, "queue_memory") == 0)
        conf.server.queue_memory = n;
    if (strcmp(key, "rate") == 0)
        port.rate_messages = (double)n;
    if (strcmp(key, "slots") == 0)
        slots = (unsigned)n;
    if (strcmp(key, "delay") == 0)
        delay = n;
    if (strcmp(key, "nofile") == 0) {
        struct rlimit limit = {n, n};

        sd_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    if (strcmp(key, "move") == 0)
        move_ms = n;
    if (strcmp(key, "quiet") == 0)
        quiet = n != 0;
}

static void defaults(void)
{
    static const char *methods[] = {"GET", "POST"}, *same[] = {"same"};

    port = (struct conf_port){
        .name = "test",
        .listen = "127.0.0.1:0",
        .codec = "raw",
        .route = "normal",
        .timeout = 30000,
        .idle_timeout = 120000,
        .max_inflight = 1,
        .backlog = 64,
        .slow_low = 262144,
        .slow_high = 1048576,
        .slow_timeout = 30000,
        .max_body = 1048576,
        .max_head = 16384,
        .max_headers = 100,
        .head_timeout = 10000,
        .body_timeout = 30000,
        .origins = {1, same},
        .http_methods = {2, methods},
        .frame = {.type = "length",
                  .bytes = 4,
                  .includes_header = true,
                  .max = 2000000,
                  .delimiter = "\r\n",
                  .delimiter_len = 2,
                  .size = 16},
        .websocket = {.path = "/ws",
                      .codec = "json",
                      .route = "normal",
                      .max = 1048576},
    };
    conf.nports = 1;
    conf.ports = &port;
}

/* --- the end -------------------------------------------------------------- */

static struct pollfd_watch *input;
static struct timer patience;

static void give_up(struct timer *t)
{
    (void)t;
    loop_stop(loop);
}

static bool is_empty(struct loop_hook *hook)
{
    (void)hook;
    if (net_conns(net) == 0 && laters == 0 &&
        (other == NULL || net_conns(other) == 0))
        loop_stop(loop);
    return false;
}

static struct loop_hook end = {.fn = is_empty, .rank = 20};

static void on_input(void *arg)
{
    char c;

    (void)arg;
    if (read(STDIN_FILENO, &c, 1) == 1)
        return;
    pollfd_close(&input);
    net_stop_accepting(net);
    netmove_close();
    net_close_conns(net, "stop");
    if (other != NULL)
        net_close_conns(other, "stop");
    loop_hook_add(loop, &end);
    patience.fn = give_up;
    timer_start(loop, &patience, 5000);
}

/* What both nets have counted, as if they were one. */
static void add_other(struct net_counters *n, struct push_counters *p)
{
    const struct net_counters *m = net_counters(other);
    const struct push_counters *q = net_push_counters(other, 0);

    n->accepted += m->accepted;
    n->packets_in += m->packets_in;
    n->packets_out += m->packets_out;
    n->bytes_in += m->bytes_in;
    n->bytes_out += m->bytes_out;
    n->moved_in += m->moved_in;
    n->moved_out += m->moved_out;
    p->accepted += q->accepted;
    p->written += q->written;
    p->waiting += q->waiting;
    for (int i = 0; i < PUSH_DROPS; i++)
        p->dropped[i] += q->dropped[i];
}

static void print_counters(void)
{
    struct net_counters n = *net_counters(net);
    struct push_counters p = *net_push_counters(net, 0);
    int i;

    if (other != NULL)
        add_other(&n, &p);
    printf("counters {\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64
           ",\"packets_in\":%" PRIu64 ",\"packets_out\":%" PRIu64
           ",\"requests\":%" PRIu64 ",\"bytes_in\":%" PRIu64
           ",\"bytes_out\":%" PRIu64 ",\"reads\":%" PRIu64
           ",\"writes\":%" PRIu64 ",\"pushes\":%" PRIu64 ",\"written\":%" PRIu64
           ",\"waiting\":%" PRIu64 ",\"moved_in\":%" PRIu64
           ",\"moved_out\":%" PRIu64 ",\"places\":%u,\"conns\":%u",
           n.accepted, n.refused, n.packets_in, n.packets_out, n.requests,
           n.bytes_in, n.bytes_out, n.reads, n.writes, p.accepted, p.written,
           p.waiting, n.moved_in, n.moved_out, net_port_conns(net, 0),
           net_conns(net) + (other != NULL ? net_conns(other) : 0));
    for (i = 0; i < PUSH_DROPS; i++)
        printf(",\"dropped_%s\":%" PRIu64, push_drop_word(i), p.dropped[i]);
    printf("}\n");
}

static void *tally_memory;

static struct tally *open_tally(void)
{
    struct tally_shape shape = net_tally_shape(&conf);
    size_t size;

    shape.workers = 1;
    size = (tally_size(&shape) + TALLY_ALIGN - 1) / TALLY_ALIGN * TALLY_ALIGN;
    tally_memory = aligned_alloc(TALLY_ALIGN, size);
    sd_assert(tally_memory != NULL);
    memset(tally_memory, 0, size);
    tally_init(tally_memory, &shape);
    return tally_open(tally_memory, NULL, 0, 1);
}

/* Two nets with one tally, as two workers have. */
static void open_other(struct net_config config)
{
    const char *why;

    config.slot = 1;
    sd_assert(net_open(&other, &config, &why) == 0);
    netmove_open(loop, net, other, move_ms);
}

int main(int argc, char **argv)
{
    char address[LISTENER_ADDRESS], why[256];
    struct net_config config = {.conf = &conf, .ops = &ops, .epoch = 1};
    const char *text;
    unsigned k;
    int i;

    signal(SIGPIPE, SIG_IGN);
    /* Sockets of the specs' process come along, and would count for nofile. */
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    log_open(STDERR_FILENO, LOG_INFO, false, "netserver");
    defaults();
    for (i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        if (value == NULL)
            return 2;
        *value++ = '\0';
        if (!set_text(argv[i], value))
            set_number(argv[i], strtoull(value, NULL, 10));
    }
    port.websocket.enabled = port.protocol == CONF_HTTP;
    sd_assert(slots >= 1 && slots <= SLOTS_MAX);
    if (listener_open(listeners, slots, port.listen, address, why,
                      sizeof(why)) < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    sd_assert(loop_open(&loop) == 0);
    config.loop = loop;
    config.tally = open_tally();
    if (net_open(&net, &config, &text) < 0) {
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    serve_slot(0);
    if (move_ms > 0)
        open_other(config);
    sd_assert(pollfd_open(&input, loop, STDIN_FILENO, on_input, NULL) == 0);
    printf("listening %s pid %d\n", address, (int)getpid());
    fflush(stdout);
    loop_run(loop);
    loop_hook_del(&end);
    timer_stop(loop, &patience);
    print_counters();
    net_close(&net);
    net_close(&other);
    loop_close(&loop);
    tally_close(&config.tally);
    free(tally_memory);
    for (k = 0; k < slots; k++)
        close(listeners[k]);
    return 0;
}
