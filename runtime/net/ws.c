/* ws.c - the protocol of WebSockets (RFC 6455) on a port for HTTP.
 *
 * A conn begins as HTTP; conn_ws_accept() swaps its protocol, and bytes that
 * came behind the request are then read as frames.  Control frames are
 * answered here and never go up: a pong is queued like any packet, so a flood
 * of pings is stopped by slow_low, as everything that makes output is, and by
 * the port's rate. */
#include <openssl/evp.h>
#include <string.h>

#include "codec/handshake.h"
#include "codec/utf8.h"
#include "net/inner.h"

static const struct slice nothing = {"", 0};

/* --- the handshake -------------------------------------------------------- */

static bool is_origin_allowed(struct conn *c, struct http_request *r)
{
    const struct conf_list *origins = &c->port->conf->origins;
    struct slice origin, host = http1_slice(&r->head, r->head.host);
    unsigned i;

    if (!http_header(&origin, r, "origin"))
        return true; /* no browser, so nobody's cookies are at stake */
    if (origins->n == 0)
        return handshake_is_same_origin(origin, host);
    for (i = 0; i < origins->n; i++) {
        const char *allowed = origins->at[i];

        if (strcmp(allowed, "*") == 0 ||
            (strcmp(allowed, "same") == 0
                 ? handshake_is_same_origin(origin, host)
                 : handshake_is_origin(origin, slice_str(allowed))))
            return true;
    }
    return false;
}

static void ask_for_upgrade(struct http_request *r)
{
    http_respond(r, 426, slice_str("application/json"),
                 slice_str("Upgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Version: 13\r\n"),
                 slice_str("{\"error\":{\"code\":426,\"message\":"
                           "\"this is a WebSocket\"}}"));
}

void ws_handshake(struct conn *c, struct http_request *r)
{
    const struct conn_ops *ops = c->net->ops;
    struct slice value;

    if (!r->head.websocket ||
        !http_header(&value, r, "sec-websocket-version") ||
        !slice_is(value, "13")) {
        ask_for_upgrade(r);
    } else if (r->head.method != HTTP1_GET || r->head.minor == 0 ||
               r->body.len > 0 ||
               !http_header(&value, r, "sec-websocket-key") ||
               !handshake_is_key(value)) {
        http_fail(r, 400, slice_str("bad WebSocket handshake"));
    } else if (!is_origin_allowed(c, r)) {
        http_fail(r, 403, slice_str("origin not allowed"));
    } else {
        r->is_handshake = true;
        if (ops->on_handshake != NULL)
            ops->on_handshake(c->net->arg, c, r);
        else
            conn_ws_accept(r, nothing);
    }
}

/* The answer to a key: 28 characters of base64. */
static void put_accept(struct buf *out, struct slice key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[32];
    char whole[64 + sizeof(HANDSHAKE_GUID)];

    sd_assert(key.len <= 64);
    memcpy(whole, key.p, key.len);
    memcpy(whole + key.len, HANDSHAKE_GUID, sizeof(HANDSHAKE_GUID) - 1);
    sd_assert(EVP_Digest(whole, key.len + sizeof(HANDSHAKE_GUID) - 1, digest,
                         NULL, EVP_sha1(), NULL) == 1);
    EVP_EncodeBlock(text, digest, 20);
    buf_append(out, text, 28);
}

static void put_switch(struct http_request *r, struct slice lines)
{
    const struct net_port *port = r->conn->port;
    struct buf *out = conn_out(r->conn);
    struct slice value;
    int chosen = -1;

    buf_append_str(out, "HTTP/1.1 101 Switching Protocols\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: ");
    if (http_header(&value, r, "sec-websocket-key"))
        put_accept(out, value);
    buf_append_str(out, "\r\n");
    if (http_header(&value, r, "sec-websocket-protocol"))
        chosen = handshake_protocol(value, port->ws_protocols,
                                    port->conf->websocket.protocols.n);
    if (chosen >= 0) {
        buf_append_str(out, "Sec-WebSocket-Protocol: ");
        buf_append(out, port->ws_protocols[chosen].p,
                   port->ws_protocols[chosen].len);
        buf_append_str(out, "\r\n");
    }
    buf_append(out, lines.p, lines.len);
    buf_append_str(out, "\r\n");
}

uint32_t ws_limit(const struct net_port *port)
{
    uint64_t max = port->conf->websocket.max;

    return max > 0 && max < WS_MESSAGE_MAX ? (uint32_t)max : WS_MESSAGE_MAX;
}

void ws_begin_reading(struct conn *c, uint32_t max)
{
    c->proto = &proto_ws;
    c->ws = mem_zalloc(sizeof(*c->ws));
    ws_reader_init(c->ws, max);
}

int conn_ws_accept(struct http_request *r, struct slice lines)
{
    struct conn *c = r->conn;

    sd_check(r, REQUEST_MAGIC);
    sd_assert(r->is_handshake);
    if (!conn_is_alive(c)) {
        http_end(r);
        return SD_EGONE;
    }
    if (c->net->is_draining) {
        http_fail(r, 503, slice_str("stopping"));
        return SD_EGONE;
    }
    put_switch(r, lines);
    r->keep_alive = true;
    format_unref(c->format); /* of an HTTP conn it was of no account */
    c->format = format_ref(c->port->format);
    c->opened_at = conn_now(c); /* auth_timeout begins here */
    ws_begin_reading(c, ws_limit(c->port));
    conn_go_up(c);
    http_end(r);
    conn_arm(c);
    return 0;
}

/* --- frames --------------------------------------------------------------- */

static void ws_on_error(struct conn *c, int code)
{
    conn_end(c, code == WS_TOO_BIG ? REASON_TOO_LARGE : REASON_FRAME, code);
}

static void on_event(struct conn *c, const struct ws_event *e)
{
    switch (e->type) {
    case WS_TEXT:
    case WS_BINARY:
        conn_packet(c, e->data);
        break;
    case WS_PING:
        ws_put(conn_out(c), WS_PONG, e->data);
        conn_queue(c);
        break;
    case WS_CLOSE:
        c->goodbye = (uint16_t)e->code;
        net_ready(c);
        break;
    default:
        break; /* a fragment, or a pong: that it came is all */
    }
}

static size_t ws_on_input(struct conn *c, char *p, size_t len)
{
    struct ws_event e;
    size_t used = 0;

    while (used < len && conn_may_work(c)) {
        int got = ws_next(c->ws, p + used, len - used, &e);

        if (got == 0)
            break;
        if (got < 0) {
            ws_on_error(c, e.code);
            return len;
        }
        used += e.size;
        conn_charge(c, e.type != 0, e.size);
        on_event(c, &e);
    }
    ws_reader_rest(c->ws);
    return used;
}

/* Unlike a TCP client it expects no reply behind its end; but what it sent
 * before reaches its handlers. */
static bool ws_is_done(const struct conn *c)
{
    return c->waiting == 0 || c->asks > 0;
}

static void ws_on_work(struct conn *c)
{
    if (c->goodbye != 0 && ws_is_done(c))
        conn_end(c, REASON_CLIENT, c->goodbye);
}

static void ws_on_half_idle(struct conn *c)
{
    ws_put(conn_out(c), WS_PING, nothing);
    conn_queue(c);
}

static void ws_on_idle(struct conn *c)
{
    conn_end(c, REASON_IDLE, 0);
}

static size_t ws_send_begin(struct buf *out, struct conn *c)
{
    (void)c;
    return ws_begin(out);
}

static int ws_send_seal(struct buf *out, struct conn *c, size_t start)
{
    if (c->format->ws_is_text) {
        struct slice body = slice_skip(buf_slice(out), start + WS_HEAD);

        if (!utf8_is_valid(body))
            return SD_EINVALID;
    }
    ws_seal(out, start, c->format->ws_opcode);
    return 0;
}

static void ws_farewell(struct conn *c, int code)
{
    if (code != WS_NO_CODE && !ws_is_code(code))
        code = reason_code(REASON_OWN);
    ws_put_close(conn_out(c), code,
                 c->own_reason != NULL ? reason_fit(slice_str(c->own_reason))
                                       : nothing);
}

const struct proto proto_ws = {
    .name = CONN_WS,
    .on_input = ws_on_input,
    .on_work = ws_on_work,
    .is_done = ws_is_done,
    .on_half_idle = ws_on_half_idle,
    .on_idle = ws_on_idle,
    .begin = ws_send_begin,
    .seal = ws_send_seal,
    .farewell = ws_farewell,
};
