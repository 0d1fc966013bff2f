/* conn_image.c - see conn_image.h.
 *
 * One table says which key is which field; reading and writing follow it.
 * A field is written only when it is not zero, so the image of an idle conn is
 * about as long as its session. */
#include "net/conn_image.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"

#define NUMBER_MAX ((uint64_t)1 << 40) /* ms: longer than a process lives */

enum kind {
    UINT,
    FLAG,
    DOUBLE,
    TEXT,
    LIST /* kept as it is written */
};

static const struct field {
    const char *key;
    enum kind kind;
    size_t at;
} fields[] = {
#define FIELD(key, kind, name)                       \
    {                                                \
        key, kind, offsetof(struct conn_image, name) \
    }
    FIELD("v", UINT, version),
    FIELD("port", TEXT, port),
    FIELD("pack", TEXT, pack),
    FIELD("peer", TEXT, peer),
    FIELD("peer_port", UINT, peer_port),
    FIELD("in", TEXT, in),
    FIELD("packets", LIST, packets),
    FIELD("out", LIST, out),
    FIELD("ws_opcode", UINT, ws_opcode),
    FIELD("ws_fragments", UINT, ws_fragments),
    FIELD("ws_message", TEXT, ws_message),
    FIELD("uid", TEXT, uid),
    FIELD("session", TEXT, session),
    FIELD("had_uid", FLAG, had_uid),
    FIELD("eof", FLAG, has_eof),
    FIELD("half_idle", FLAG, is_half_idle),
    FIELD("slow", FLAG, was_slow),
    FIELD("auth_ms", UINT, auth),
    FIELD("idle_ms", UINT, idle),
    FIELD("due_ms", UINT, due),
    FIELD("throttled_ms", UINT, throttled),
    FIELD("paid_messages", DOUBLE, paid_messages),
    FIELD("paid_bytes", DOUBLE, paid_bytes),
#undef FIELD
};

enum {
    NFIELDS = sizeof(fields) / sizeof(fields[0])
};

/* --- writing -------------------------------------------------------------- */

static const void *at_const(const struct conn_image *image,
                            const struct field *f)
{
    return (const char *)image + f->at;
}

static uint64_t uint_of(const struct conn_image *image, const struct field *f)
{
    uint64_t u;

    memcpy(&u, at_const(image, f), sizeof(u));
    return u;
}

static double double_of(const struct conn_image *image, const struct field *f)
{
    double n;

    memcpy(&n, at_const(image, f), sizeof(n));
    return n;
}

static bool flag_of(const struct conn_image *image, const struct field *f)
{
    return *(const bool *)at_const(image, f);
}

static struct slice text_of(const struct conn_image *image,
                            const struct field *f)
{
    return *(const struct slice *)at_const(image, f);
}

static bool is_zero(const struct conn_image *image, const struct field *f)
{
    switch (f->kind) {
    case UINT:
        return uint_of(image, f) == 0;
    case FLAG:
        return !flag_of(image, f);
    case DOUBLE:
        return !(double_of(image, f) > 0);
    case TEXT:
    case LIST:
        break;
    }
    return text_of(image, f).len == 0;
}

static void write_field(struct buf *out, const struct conn_image *image,
                        const struct field *f)
{
    struct slice text;

    sd_assert(msgpack_write_string(out, slice_str(f->key)) == 0);
    switch (f->kind) {
    case UINT:
        msgpack_write_uint(out, uint_of(image, f));
        break;
    case FLAG:
        msgpack_write_bool(out, true);
        break;
    case DOUBLE:
        sd_assert(msgpack_write_number(out, double_of(image, f)) == 0);
        break;
    case TEXT:
        sd_assert(msgpack_write_string(out, text_of(image, f)) == 0);
        break;
    case LIST:
        text = text_of(image, f);
        buf_append(out, text.p, text.len);
        break;
    }
}

void conn_image_write(struct buf *out, const struct conn_image *image)
{
    uint32_t n = 0;
    unsigned i;

    for (i = 0; i < NFIELDS; i++)
        n += !is_zero(image, &fields[i]);
    msgpack_write_map(out, n);
    for (i = 0; i < NFIELDS; i++) {
        if (!is_zero(image, &fields[i]))
            write_field(out, image, &fields[i]);
    }
}

void conn_image_push(struct buf *list, const struct conn_piece *piece)
{
    msgpack_write_array(list, 3);
    sd_assert(msgpack_write_string(list, piece->bytes) == 0);
    sd_assert(msgpack_write_string(list, piece->value) == 0);
    msgpack_write_uint(list, piece->key);
}

/* --- reading -------------------------------------------------------------- */

static int read_double(struct msgpack *m, double *out)
{
    int token = msgpack_next(m);
    double n;

    if (token != MSGPACK_DOUBLE && token != MSGPACK_INT)
        return SD_EINVALID;
    n = token == MSGPACK_DOUBLE ? m->n : (double)m->i;
    if (!isfinite(n) || n < 0 || n > (double)NUMBER_MAX)
        return SD_EINVALID;
    *out = n;
    return 0;
}

static int read_flag(struct msgpack *m, bool *out)
{
    int token = msgpack_next(m);

    *out = token == MSGPACK_TRUE;
    return *out || token == MSGPACK_FALSE ? 0 : SD_EINVALID;
}

static int read_text(struct msgpack *m, struct slice *out)
{
    if (!msgpack_is_text(msgpack_next(m)))
        return SD_EINVALID;
    *out = m->text;
    return 0;
}

static int read_list(struct msgpack *m, struct slice *out)
{
    const char *from = m->p;
    uint32_t left;

    if (msgpack_next(m) != MSGPACK_ARRAY)
        return SD_EINVALID;
    for (left = m->count; left > 0; left--) {
        if (msgpack_skip(m) < 0)
            return SD_EINVALID;
    }
    *out = slice_make(from, (size_t)(m->p - from));
    return 0;
}

static int read_field(struct conn_image *image, const struct field *f,
                      struct msgpack *m)
{
    void *at = (char *)image + f->at;

    switch (f->kind) {
    case UINT:
        return msgpack_read_uint(m, at);
    case DOUBLE:
        return read_double(m, at);
    case FLAG:
        return read_flag(m, at);
    case TEXT:
        return read_text(m, at);
    case LIST:
        break;
    }
    return read_list(m, at);
}

static const struct field *find_field(struct slice key)
{
    unsigned i;

    for (i = 0; i < NFIELDS; i++) {
        if (slice_is(key, fields[i].key))
            return &fields[i];
    }
    return NULL;
}

static int read_map(struct conn_image *image, struct slice bytes)
{
    const struct field *f;
    struct msgpack m;
    uint32_t n;
    int err = 0;

    msgpack_init(&m, bytes);
    if (bytes.len == 0 || msgpack_next(&m) != MSGPACK_MAP)
        return SD_EINVALID;
    for (n = m.count; n > 0 && err == 0; n--) {
        if (!msgpack_is_text(msgpack_next(&m)))
            return SD_EINVALID;
        f = find_field(m.text);
        err = f != NULL ? read_field(image, f, &m) : msgpack_skip(&m);
    }
    return err == 0 && msgpack_next(&m) == MSGPACK_END ? 0 : SD_EINVALID;
}

/* --- is it sound? --------------------------------------------------------- */

void conn_walk_begin(struct conn_walk *w, struct slice list)
{
    w->left = 0;
    if (list.len == 0)
        return;
    msgpack_init(&w->m, list);
    sd_assert(msgpack_next(&w->m) == MSGPACK_ARRAY);
    w->left = w->m.count;
}

static int next_piece(struct conn_walk *w, struct conn_piece *piece)
{
    struct msgpack *m = &w->m;
    int token = msgpack_next(m);

    *piece = (struct conn_piece){0};
    if (msgpack_is_text(token)) {
        piece->bytes = m->text;
        return 0;
    }
    if (token != MSGPACK_ARRAY || m->count != 3 ||
        !msgpack_is_text(msgpack_next(m)))
        return SD_EINVALID;
    piece->is_push = true;
    piece->bytes = m->text;
    if (!msgpack_is_text(msgpack_next(m)))
        return SD_EINVALID;
    piece->value = m->text;
    return msgpack_read_uint(m, &piece->key);
}

bool conn_walk_packet(struct conn_walk *w, struct slice *packet)
{
    if (w->left == 0)
        return false;
    w->left--;
    sd_assert(msgpack_is_text(msgpack_next(&w->m)));
    *packet = w->m.text;
    return true;
}

bool conn_walk_piece(struct conn_walk *w, struct conn_piece *piece)
{
    if (w->left == 0)
        return false;
    w->left--;
    sd_assert(next_piece(w, piece) == 0);
    return true;
}

static bool are_packets(struct slice list)
{
    struct conn_walk w;

    conn_walk_begin(&w, list);
    for (; w.left > 0; w.left--) {
        if (!msgpack_is_text(msgpack_next(&w.m)) || w.m.text.len > UINT32_MAX)
            return false;
    }
    return true;
}

static bool are_pieces(struct slice list)
{
    struct conn_piece piece;
    struct conn_walk w;

    conn_walk_begin(&w, list);
    for (; w.left > 0; w.left--) {
        if (next_piece(&w, &piece) < 0 || piece.bytes.len == 0 ||
            piece.bytes.len > UINT32_MAX)
            return false;
    }
    return true;
}

static bool is_uid(struct slice uid)
{
    return uid.len <= IMAGE_UID &&
           (uid.len == 0 || memchr(uid.p, '\0', uid.len) == NULL);
}

static bool is_session(struct slice s)
{
    return s.len == 0 || msgpack_check(s) == (int64_t)s.len;
}

static bool is_sound(const struct conn_image *i)
{
    return i->version == IMAGE_VERSION && i->port.len > 0 && i->pack.len > 0 &&
           (i->peer.len == 4 || i->peer.len == 16) &&
           i->peer_port <= UINT16_MAX && i->ws_opcode <= UINT8_MAX &&
           i->ws_fragments <= UINT16_MAX && i->auth <= NUMBER_MAX &&
           i->idle <= NUMBER_MAX && i->due <= NUMBER_MAX &&
           i->throttled <= NUMBER_MAX && is_uid(i->uid) &&
           is_session(i->session) && are_packets(i->packets) &&
           are_pieces(i->out);
}

/* Nothing in it yet; slices of nothing point somewhere all the same. */
static void init(struct conn_image *image)
{
    unsigned i;

    *image = (struct conn_image){0};
    for (i = 0; i < NFIELDS; i++) {
        void *at = (char *)image + fields[i].at;

        if (fields[i].kind == TEXT || fields[i].kind == LIST)
            *(struct slice *)at = slice_make("", 0);
    }
}

int conn_image_read(struct conn_image *out, struct slice bytes)
{
    struct conn_image image;

    init(&image);
    if (read_map(&image, bytes) < 0 || !is_sound(&image))
        return SD_EINVALID;
    *out = image;
    return 0;
}
