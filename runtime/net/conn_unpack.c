/* conn_unpack.c - see conn_move.h; here: the conn that comes.
 *
 * What an image says of a client is not believed: its bytes are judged as if it
 * had sent them to us, a packet is one that the port takes, and times are cut
 * to what the port can have given.  What a worker alone knows is: the uid, the
 * session, that auth_timeout is over, and how much waits. */
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn_image.h"
#include "net/conn_move.h"
#include "net/inner.h"

static const struct proto *const protos[] = {&proto_stream, &proto_ws,
                                             &proto_http};

static int number_of(int fd, int option)
{
    socklen_t len = sizeof(int);
    int value = -1;

    if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0)
        return -1;
    return value;
}

/* One that can be a client's. */
static bool is_client(int fd)
{
    int domain = number_of(fd, SO_DOMAIN);

    return number_of(fd, SO_TYPE) == SOCK_STREAM &&
           number_of(fd, SO_ACCEPTCONN) == 0 &&
           (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX);
}

static struct net_port *port_of(struct net *n, struct slice name)
{
    unsigned i;

    for (i = 0; i < n->nports; i++) {
        if (slice_is(name, n->ports[i].conf->name))
            return &n->ports[i];
    }
    return NULL;
}

/* The protocol that is called so on this port, NULL: none. */
static const struct proto *proto_of(const struct net_port *port,
                                    struct slice pack)
{
    const struct proto *found = NULL;
    struct buf text = {0};
    unsigned i;

    for (i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
        buf_truncate(&text, 0);
        conn_put_pack(&text, port->format, protos[i]);
        if (port_serves(port, protos[i]) && slice_eq(pack, buf_slice(&text)))
            found = protos[i];
    }
    buf_fini(&text);
    return found;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* These may be before time began here, so they may wrap around: only what is
 * added to them is looked at. */
static void take_times(struct conn *c, const struct conn_image *image)
{
    const struct conf_port *conf = c->port->conf;
    uint64_t now = conn_now(c), due;

    if (image->auth > 0)
        c->opened_at =
            now + least(image->auth, conf->auth_timeout) - conf->auth_timeout;
    if (image->idle > 0)
        c->last_in =
            now + least(image->idle, conf->idle_timeout) - conf->idle_timeout;
    due = least(image->due, most(conf->head_timeout, conf->body_timeout));
    if (due > 0 && c->proto == &proto_http)
        c->due = now + due;
    conn_owe(c, image->paid_messages, image->paid_bytes, image->throttled > 0);
}

static void take_push(struct conn *c, const struct conn_piece *piece)
{
    struct net *n = c->net;
    struct shared *s = shared_new(piece->bytes, piece->value, &n->shared_bytes);

    if (c->pushes == NULL)
        c->pushes = outq_new(&n->outqs);
    outq_add(c->pushes, s, c->replied + c->out.len, piece->key);
    shared_unref(s);
    c->port->pushes.accepted++;
    c->port->pushes.waiting++;
}

static void take_output(struct conn *c, struct slice list)
{
    struct conn_piece piece;
    struct conn_walk w;

    conn_walk_begin(&w, list);
    while (conn_walk_piece(&w, &piece)) {
        if (piece.is_push)
            take_push(c, &piece);
        else
            buf_append(conn_out(c), piece.bytes.p, piece.bytes.len);
    }
    if (list.len > 0)
        conn_queue(c);
    conn_account(c);
}

static void take_input(struct conn *c, const struct conn_image *image)
{
    struct slice packet;
    struct conn_walk w;
    uint32_t len;

    conn_walk_begin(&w, image->packets);
    while (conn_walk_packet(&w, &packet)) {
        len = (uint32_t)packet.len;
        net_take_buf(c->net, &c->queue);
        buf_append(&c->queue, &len, sizeof(len));
        buf_append(&c->queue, packet.p, packet.len);
        c->waiting++;
    }
    if (image->in.len == 0)
        return;
    net_take_buf(c->net, &c->in);
    buf_append(&c->in, image->in.p, image->in.len);
}

/* A WebSocket's reader amid its message, or nothing. */
static int take_message(struct conn *c, const struct conn_image *image)
{
    if (c->ws == NULL)
        return image->ws_opcode == 0 ? 0 : SD_EINVALID;
    return ws_reader_restore(c->ws, (unsigned)image->ws_opcode,
                             (unsigned)image->ws_fragments, image->ws_message);
}

/* Has it packets only that a client may send? */
static bool may_have_sent(const struct conn *c, struct slice packets)
{
    struct slice packet;
    struct conn_walk w;

    conn_walk_begin(&w, packets);
    while (conn_walk_packet(&w, &packet)) {
        if (c->proto == &proto_http || packet.len > conn_packet_max(c))
            return false;
    }
    return true;
}

/* Its place, its id and its socket; the socket is taken. */
static int settle(struct conn *c, const struct conn_image *image, int fd)
{
    int err = uv_tcp_open(&c->tcp, fd);

    c->peer_is_6 = image->peer.len == 16;
    c->peer_port = (uint16_t)image->peer_port;
    memcpy(c->peer, image->peer.p, image->peer.len);
    (void)tally_take(c->net->tally, NET_TALLY_ALL, 0);
    (void)tally_take(c->net->tally, NET_TALLY_PORT + c->port->index, 0);
    if (err < 0) {
        close(fd);
        return SD_EINVALID;
    }
    if (!may_have_sent(c, image->packets))
        return SD_EINVALID;
    if (!conn_take_address(c, 0))
        return SD_EFULL;
    err = take_message(c, image);
    if (err < 0)
        return err;
    c->id = conns_add(c->net->conns, c);
    return c->id != 0 ? 0 : SD_EFULL;
}

/* From here on it is one like all others. */
static void open_moved(struct conn *c, const struct conn_image *image)
{
    c->state = CONN_OPEN;
    if (c->proto != &proto_http) {
        c->is_up = true;
        conn_ref(c);
    }
    if (image->uid.len > 0)
        conn_set_uid(c, image->uid);
    conn_set_session(c, image->session);
    c->had_uid = image->had_uid;
    c->has_eof = image->has_eof;
    c->is_half_idle = image->is_half_idle;
    c->was_slow = image->was_slow;
    take_times(c, image);
    take_input(c, image);
    take_output(c, image->out);
    c->net->counters.moved_in++;
    conn_arm(c);
    net_ready(c);
}

static void take_terms(struct conn *c, const struct conn_terms *terms)
{
    format_unref(c->format);
    c->format = format_ref(terms->format);
    if (terms->proto == &proto_ws)
        ws_begin_reading(c, terms->ws_max);
    else
        c->proto = terms->proto;
}

static int admit(struct net *n, const struct conn_image *image, int fd,
                 const struct conn_place *home, struct conn **out)
{
    struct net_port *port = port_of(n, image->port);
    struct conn_terms terms = {0};
    struct conn *c;
    int err;

    if (home != NULL)
        terms = home->terms;
    else if (port != NULL)
        terms = (struct conn_terms){proto_of(port, image->pack), port->format,
                                    ws_limit(port)};
    if (port == NULL || terms.proto == NULL || !is_client(fd)) {
        close(fd);
        return SD_EINVALID;
    }
    c = conn_new(n, port);
    take_terms(c, &terms);
    err = settle(c, image, fd);
    if (err < 0) {
        conn_close_handle(c);
        return err;
    }
    open_moved(c, image);
    *out = c;
    return 0;
}

int net_unpack(struct conn **out, struct net *n, struct slice bytes, int fd,
               const struct conn_place *home)
{
    struct conn_image image;
    int err = 0;

    sd_check(n, NET_MAGIC);
    if (n->is_stopping || n->is_closing)
        err = SD_EBUSY;
    if (err == 0)
        err = conn_image_read(&image, bytes);
    if (err < 0) {
        close(fd);
        return err;
    }
    return admit(n, &image, fd, home, out);
}
