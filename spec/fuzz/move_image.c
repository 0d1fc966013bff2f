/* move_image.c - any bytes: what is read as a moving conn's image lies within
 * them, has valid lists, and writes back to one that says the same. */
#include "vm/move_image.h"
#include "base/assert.h"
#include "base/err.h"
#include "net/topics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SLOTS = 256
};

static size_t bytes_told;

static void on_filter(void *arg, struct slice filter)
{
    (void)arg;
    sd_assert(topics_is_filter(filter));
    bytes_told += filter.len;
}

static void on_group(void *arg, struct slice name)
{
    struct buf *all = arg;

    buf_append(all, name.p, name.len);
}

static void walk(const struct move_image *image, struct buf *groups)
{
    uint64_t heard[SLOTS];

    bytes_told = 0;
    move_image_texts(image->topics, on_filter, NULL);
    move_image_texts(image->groups, on_group, groups);
    sd_assert(move_image_numbers(image->heard, heard, SLOTS) <= SLOTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct move_image image = {.version = 77}, copy;
    struct buf bytes = {0}, groups = {0}, again = {0};
    size_t told;

    if (move_image_read(&image, slice_make(data, size)) < 0) {
        sd_assert(image.version == 77);
        return 0;
    }
    walk(&image, &groups);
    told = bytes_told;
    sd_assert(told + groups.len <= size);
    move_image_write(&bytes, &image);
    sd_assert(move_image_read(&copy, buf_slice(&bytes)) == 0);
    walk(&copy, &again);
    sd_assert(told == bytes_told && copy.number == image.number);
    sd_assert(slice_eq(buf_slice(&groups), buf_slice(&again)));
    sd_assert(slice_eq(copy.conn, image.conn));
    buf_fini(&bytes);
    buf_fini(&groups);
    buf_fini(&again);
    return 0;
}
