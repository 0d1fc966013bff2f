/* conn_move.c - see conn_move.h; here: the conn that goes.
 *
 * Output.  libuv may hold the rest of one write.  How much of it is left it
 * says exactly, and between two turns nothing of it moves; so that rest is
 * written down in front of all else, as bytes that are begun, and the write
 * itself is cancelled with the handle.
 *
 * Input.  Bytes that were read and not worked on travel as they had arrived;
 * what framings remember of them is found anew. */
#include "net/conn_move.h"

#include "net/conn_image.h"
#include "net/inner.h"

/* --- what has to be the same on both sides -------------------------------- */

static void put_name(struct buf *out, const char *name)
{
    buf_printf(out, " %s", name != NULL ? name : "-");
}

static void put_frame(struct buf *out, const struct frame_spec *s)
{
    unsigned i;

    put_name(out, frame_type_name(s->type));
    buf_printf(out, " %u %d %u %d %d %d %u", s->offset, s->add, s->bytes,
               s->little, s->includes_header, s->whole, s->size);
    for (i = 0; s->type == FRAME_LINE && i < s->delimiter_len; i++)
        buf_printf(out, " %02x", (unsigned char)s->delimiter[i]);
}

void conn_put_pack(struct buf *out, const struct format *format,
                   const struct proto *proto)
{
    switch (proto->name) {
    case CONN_TCP:
        buf_append_str(out, "tcp");
        put_frame(out, &format->frame);
        put_name(out, format->codec[0]);
        break;
    case CONN_WS:
        buf_append_str(out, "ws");
        put_name(out, format->codec[1]);
        break;
    case CONN_HTTP:
        buf_append_str(out, "http");
        break;
    }
}

bool port_serves(const struct net_port *port, const struct proto *proto)
{
    if (proto->name == CONN_WS && !port->conf->websocket.enabled)
        return false;
    return (port->conf->protocol == CONF_HTTP) == (proto->name != CONN_TCP);
}

/* Is it served as the port serves its next conn?  If not, no other worker can
 * take it.  The format of plain HTTP is of no account. */
static bool is_as_port(const struct conn *c)
{
    return port_serves(c->port, c->proto) &&
           (c->proto->name == CONN_HTTP ||
            format_is_same(c->format, c->port->format)) &&
           (c->ws == NULL || c->ws->max <= ws_limit(c->port));
}

/* --- writing down --------------------------------------------------------- */

/* 0: nothing happens to it right now that cannot be written down. */
static int check_rest(const struct conn *c)
{
    if (!conn_is_alive(c))
        return SD_EGONE;
    if (c->state != CONN_OPEN || c->is_working || c->owes_open || c->is_slow ||
        c->goodbye != 0 || c->request != NULL || c->inflight > 0 ||
        c->asks > 0 || c->is_held || c->is_leaving ||
        (c->ws != NULL && !ws_reader_is_open(c->ws)) || c->net->is_stopping)
        return SD_EBUSY;
    return 0;
}

int conn_may_move(const struct conn *c)
{
    int rc;

    sd_check(c, CONN_MAGIC);
    rc = check_rest(c);
    return rc == 0 && !is_as_port(c) ? SD_EBUSY : rc;
}

static uint32_t put_bytes(struct buf *list, struct slice bytes)
{
    if (bytes.len == 0)
        return 0;
    sd_assert(msgpack_write_string(list, bytes) == 0);
    return 1;
}

/* What libuv has not written yet of what it was given. */
static struct slice begun(const struct conn *c)
{
    const struct conn_write *w = c->write;
    struct slice all;
    size_t left;

    if (w == NULL)
        return slice_make("", 0);
    all = w->frame != NULL ? shared_frame(w->frame) : buf_slice(&w->data);
    left = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    sd_assert(left <= all.len);
    return slice_skip(all, all.len - left);
}

static uint32_t put_pieces(struct buf *list, const struct conn *c)
{
    struct slice out = buf_slice(&c->out);
    uint32_t i, n = put_bytes(list, begun(c));
    size_t from = 0;

    for (i = 0; c->pushes != NULL && i < outq_count(c->pushes); i++) {
        const struct outq_push *p = outq_at(c->pushes, i);
        size_t at = (size_t)(p->at - c->replied);
        struct conn_piece piece = {.bytes = shared_frame(p->frame),
                                   .value = shared_value(p->frame),
                                   .key = p->key};

        n += put_bytes(list, slice_make(out.p + from, at - from)) + 1;
        conn_image_push(list, &piece);
        from = at;
    }
    return n + put_bytes(list, slice_skip(out, from));
}

static uint32_t put_packets(struct buf *list, const struct conn *c)
{
    struct slice left = buf_slice(&c->queue);
    uint32_t n = 0, len;

    for (; left.len > 0; n++) {
        memcpy(&len, left.p, sizeof(len));
        left = slice_skip(left, sizeof(len));
        sd_assert(msgpack_write_string(list, slice_make(left.p, len)) == 0);
        left = slice_skip(left, len);
    }
    sd_assert(n == c->waiting);
    return n;
}

/* The array around `n` values at the end of a buffer; `all` keeps it. */
static struct slice array_of(struct buf *all, const struct buf *values,
                             uint32_t n)
{
    if (n == 0)
        return slice_make("", 0);
    msgpack_write_array(all, n);
    buf_append(all, values->p + values->head, values->len);
    return buf_slice(all);
}

static uint64_t left_until(const struct conn *c, uint64_t due)
{
    uint64_t now = conn_now(c);

    return due > now ? due - now : 1;
}

static void put_times(struct conn_image *image, const struct conn *c)
{
    const struct conf_port *conf = c->port->conf;
    double now = (double)conn_now(c);

    if (conf->auth_timeout > 0 && !c->had_uid && c->is_up)
        image->auth = left_until(c, c->opened_at + conf->auth_timeout);
    if (conf->idle_timeout > 0)
        image->idle = left_until(c, c->last_in + conf->idle_timeout);
    if (c->due != 0 && !c->has_eof)
        image->due = left_until(c, c->due);
    if (c->throttled_until != 0)
        image->throttled = left_until(c, c->throttled_until);
    image->paid_messages = c->paid_messages - now;
    image->paid_bytes = c->paid_bytes - now;
}

/* A copy of the input, as it had arrived. */
static struct slice raw_input(struct buf *copy, const struct conn *c)
{
    struct slice in = buf_slice(&c->in);

    buf_append(copy, in.p, in.len);
    if (c->ws != NULL && in.len > 0)
        ws_reader_raw(c->ws, copy->p + copy->head, copy->len);
    return buf_slice(copy);
}

static void put_message(struct conn_image *image, const struct ws_reader *ws)
{
    if (!ws_reader_is_amid(ws))
        return;
    image->ws_opcode = ws->opcode;
    image->ws_fragments = ws->fragments;
    image->ws_message = buf_slice(&ws->message);
}

int conn_pack(struct conn *c, struct buf *out)
{
    struct buf pack = {0}, in = {0}, values = {0}, packets = {0}, pieces = {0};
    struct conn_image image = {.version = IMAGE_VERSION};
    int err = conn_may_move(c);
    uint32_t n;

    if (err < 0)
        return err;
    image.port = slice_str(c->port->conf->name);
    conn_put_pack(&pack, c->format, c->proto);
    image.pack = buf_slice(&pack);
    image.peer = slice_make(c->peer, c->peer_is_6 ? 16 : 4);
    image.peer_port = c->peer_port;
    image.in = raw_input(&in, c);
    n = put_packets(&values, c);
    image.packets = array_of(&packets, &values, n);
    buf_truncate(&values, 0);
    n = put_pieces(&values, c);
    image.out = array_of(&pieces, &values, n);
    if (c->ws != NULL)
        put_message(&image, c->ws);
    image.uid = conn_uid(c);
    image.session = conn_session(c);
    image.had_uid = c->had_uid;
    image.has_eof = c->has_eof;
    image.is_half_idle = c->is_half_idle;
    image.was_slow = c->was_slow;
    put_times(&image, c);
    conn_image_write(out, &image);
    buf_fini(&pack);
    buf_fini(&in);
    buf_fini(&values);
    buf_fini(&packets);
    buf_fini(&pieces);
    return 0;
}

int conn_descriptor(const struct conn *c)
{
    int fd = -1;

    sd_check(c, CONN_MAGIC);
    (void)uv_fileno((const uv_handle_t *)&c->tcp, &fd);
    return fd;
}

/* --- forgetting ----------------------------------------------------------- */

/* Those that wait are its new place's from now on. */
static void part_with_pushes(struct conn *c)
{
    while (c->pushes != NULL && outq_count(c->pushes) > 0) {
        c->port->pushes.waiting--;
        push_written(c);
        shared_unref(outq_take(c->pushes));
    }
    outq_free(&c->net->outqs, &c->pushes);
}

void conn_forget(struct conn *c, struct conn_place *place)
{
    sd_check(c, CONN_MAGIC);
    sd_assert(check_rest(c) == 0 && c->user == NULL);
    *place = (struct conn_place){
        .id = c->id,
        .address = c->address,
        .port = c->port->index,
        .terms = {c->proto, format_ref(c->format),
                  c->ws != NULL ? c->ws->max : 0},
    };
    conns_withdraw(c->net->conns, c->id);
    c->net->counters.moved_out++;
    c->is_forgotten = true;
    part_with_pushes(c);
    conn_drop_input(c);
    conn_close_handle(c);
    if (c->is_up) {
        c->is_up = false;
        conn_unref(c);
    }
}

void net_leave_place(struct net *n, const struct conn_place *place)
{
    sd_check(n, NET_MAGIC);
    conns_return(n->conns, place->id);
    net_uncount(n, place->port, place->address);
    format_unref(place->terms.format);
}
