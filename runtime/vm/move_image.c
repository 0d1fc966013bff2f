/* move_image.c - see move_image.h. */
#include "vm/move_image.h"

#include "base/assert.h"
#include "base/err.h"
#include "codec/msgpack.h"
#include "net/topics.h"

/* --- writing -------------------------------------------------------------- */

static void put_key(struct buf *out, const char *key)
{
    sd_assert(msgpack_write_string(out, slice_str(key)) == 0);
}

static void put_uint(struct buf *out, const char *key, uint64_t u)
{
    put_key(out, key);
    msgpack_write_uint(out, u);
}

static void put_raw(struct buf *out, const char *key, struct slice value)
{
    put_key(out, key);
    if (value.len > 0)
        buf_append(out, value.p, value.len);
    else
        msgpack_write_array(out, 0);
}

void move_image_write(struct buf *out, const struct move_image *image)
{
    msgpack_write_map(out, 8);
    put_uint(out, "v", image->version);
    put_raw(out, "conn", image->conn);
    put_uint(out, "number", image->number);
    put_uint(out, "policy", image->policy);
    put_raw(out, "topics", image->topics);
    put_raw(out, "groups", image->groups);
    put_uint(out, "group_number", image->group_number);
    put_raw(out, "heard", image->heard);
}

/* --- reading -------------------------------------------------------------- */

static int read_raw(struct msgpack *m, struct slice *out)
{
    const char *from = m->p;
    int rc = msgpack_skip(m);

    if (rc == 0)
        *out = slice_make(from, (size_t)(m->p - from));
    return rc;
}

static int read_field(struct move_image *image, struct msgpack *m)
{
    struct slice key = m->text;

    if (slice_is(key, "v"))
        return msgpack_read_uint(m, &image->version);
    if (slice_is(key, "conn"))
        return read_raw(m, &image->conn);
    if (slice_is(key, "number"))
        return msgpack_read_uint(m, &image->number);
    if (slice_is(key, "policy"))
        return msgpack_read_uint(m, &image->policy);
    if (slice_is(key, "topics"))
        return read_raw(m, &image->topics);
    if (slice_is(key, "groups"))
        return read_raw(m, &image->groups);
    if (slice_is(key, "group_number"))
        return msgpack_read_uint(m, &image->group_number);
    if (slice_is(key, "heard"))
        return read_raw(m, &image->heard);
    return msgpack_skip(m);
}

/* The elements of an array; false: it is none, or has others. */
static bool begin(struct msgpack *m, struct slice list, uint32_t *n)
{
    *n = 0;
    if (list.len == 0)
        return true;
    msgpack_init(m, list);
    if (msgpack_next(m) != MSGPACK_ARRAY)
        return false;
    *n = m->count;
    return true;
}

static bool are_texts(struct slice list, bool (*is_valid)(struct slice s))
{
    struct msgpack m;
    uint32_t n;

    if (!begin(&m, list, &n))
        return false;
    for (; n > 0; n--) {
        if (!msgpack_is_text(msgpack_next(&m)) ||
            (is_valid != NULL && !is_valid(m.text)))
            return false;
    }
    return true;
}

static bool are_numbers(struct slice list)
{
    struct msgpack m;
    uint64_t u;
    uint32_t n;

    if (!begin(&m, list, &n))
        return false;
    for (; n > 0; n--) {
        if (msgpack_read_uint(&m, &u) < 0)
            return false;
    }
    return true;
}

int move_image_read(struct move_image *out, struct slice bytes)
{
    struct slice nothing = slice_make("", 0);
    struct move_image image = {.conn = nothing,
                               .topics = nothing,
                               .groups = nothing,
                               .heard = nothing};
    struct msgpack m;
    uint32_t n;

    msgpack_init(&m, bytes);
    if (bytes.len == 0 || msgpack_next(&m) != MSGPACK_MAP)
        return SD_EINVALID;
    for (n = m.count; n > 0; n--) {
        if (!msgpack_is_text(msgpack_next(&m)) || read_field(&image, &m) < 0)
            return SD_EINVALID;
    }
    if (msgpack_next(&m) != MSGPACK_END || image.version != MOVE_VERSION ||
        image.conn.len == 0 || !are_texts(image.topics, topics_is_filter) ||
        !are_texts(image.groups, NULL) || !are_numbers(image.heard))
        return SD_EINVALID;
    *out = image;
    return 0;
}

void move_image_texts(struct slice list, void (*fn)(void *arg, struct slice s),
                      void *arg)
{
    struct msgpack m;
    uint32_t n;

    sd_assert(begin(&m, list, &n));
    for (; n > 0; n--) {
        sd_assert(msgpack_is_text(msgpack_next(&m)));
        fn(arg, m.text);
    }
}

unsigned move_image_numbers(struct slice list, uint64_t *out, unsigned max)
{
    struct msgpack m;
    uint32_t n, i;

    sd_assert(begin(&m, list, &n));
    for (i = 0; i < n && i < max; i++)
        sd_assert(msgpack_read_uint(&m, &out[i]) == 0);
    return i;
}
