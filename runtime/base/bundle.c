/* bundle.c - see bundle.h.
 *
 * Opening checks everything once: each entry lies inside the file and ends in
 * its NULs, no name hides one in its middle.  After that the file is trusted,
 * which is only right because it is sealed: nobody can change or shorten it
 * under the mapping.  An index sorted by name makes finding cheap; it is the
 * only memory a process pays for, the bytes are shared with all others. */
#include "base/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

#define BUNDLE_MAGIC 0xb0d1e5a7
#define HEAD         "sdbundle"

enum {
    HEAD_SIZE = 16,
    ENTRY_MIN = 10, /* two lengths and two NULs */
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
};

struct entry {
    struct slice name, data;
};

struct bundle {
    unsigned magic;
    struct slice bytes;
    bool mapped;
    unsigned count, nsorted;
    struct entry *entries; /* as written */
    struct entry *sorted;  /* by name, the last of equals only */
};

/* --- writing -------------------------------------------------------------- */

static void write_u32(char *p, uint32_t n)
{
    unsigned i;

    for (i = 0; i < 4; i++)
        p[i] = (char)(n >> (8 * i));
}

static uint32_t read_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;

    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
}

void bundle_begin(struct buf *b)
{
    char head[HEAD_SIZE] = HEAD;

    sd_assert(b->len == 0);
    write_u32(head + 8, BUNDLE_VERSION);
    buf_append(b, head, sizeof(head));
}

void bundle_add(struct buf *b, const char *name, struct slice data)
{
    size_t name_len = strlen(name);
    char head[8], *count;

    sd_assert(b->len >= HEAD_SIZE && data.len < UINT32_MAX);
    write_u32(head, (uint32_t)name_len);
    write_u32(head + 4, (uint32_t)data.len);
    buf_append(b, head, sizeof(head));
    buf_append(b, name, name_len + 1);
    buf_append(b, data.p, data.len);
    buf_append(b, "", 1);
    count = b->p + b->head + 12;
    write_u32(count, read_u32(count) + 1);
}

void bundle_end(struct buf *b)
{
    sd_assert(b->len >= HEAD_SIZE);
}

static int write_whole(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.p, s.len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            s = slice_skip(s, (size_t)n);
    }
    return 0;
}

int bundle_seal(struct slice bytes)
{
    int fd = memfd_create("sdlua bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0)
        return -errno;
    err = write_whole(fd, bytes);
    if (err == 0 && fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
        err = -errno;
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

/* --- reading -------------------------------------------------------------- */

/* Equal names stand in the order written: their bytes lie so. */
static int compare(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = strcmp(a->name.p, b->name.p);

    return order != 0 ? order : (a->name.p > b->name.p) ? 1 : -1;
}

/* Cut one entry off the front of `rest`. */
static int read_entry(struct entry *e, struct slice *rest)
{
    uint64_t name_len, data_len;

    if (rest->len < ENTRY_MIN)
        return SD_EPROTO;
    name_len = read_u32(rest->p);
    data_len = read_u32(rest->p + 4);
    if (name_len + data_len + ENTRY_MIN > rest->len)
        return SD_EPROTO;
    e->name = slice_make(rest->p + 8, name_len);
    e->data = slice_make(e->name.p + name_len + 1, data_len);
    if (strnlen(e->name.p, name_len + 1) != name_len ||
        e->data.p[data_len] != '\0')
        return SD_EPROTO;
    *rest = slice_skip(*rest, name_len + data_len + ENTRY_MIN);
    return 0;
}

static void sort(struct bundle *b)
{
    struct entry *s = mem_alloc(b->count * sizeof(*s));
    unsigned i;

    b->sorted = s;
    if (b->count == 0)
        return;
    memcpy(s, b->entries, b->count * sizeof(*s));
    qsort(s, b->count, sizeof(*s), compare);
    for (i = 0; i < b->count; i++) {
        if (i + 1 == b->count || !slice_eq(s[i].name, s[i + 1].name))
            s[b->nsorted++] = s[i];
    }
}

int bundle_open_bytes(struct bundle **out, struct slice bytes)
{
    struct slice rest = bytes;
    struct bundle *b;
    unsigned i, count;

    if (bytes.len < HEAD_SIZE || memcmp(bytes.p, HEAD, 8) != 0 ||
        read_u32(bytes.p + 8) != BUNDLE_VERSION)
        return SD_EPROTO;
    count = read_u32(bytes.p + 12);
    rest = slice_skip(rest, HEAD_SIZE);
    if (count > rest.len / ENTRY_MIN)
        return SD_EPROTO;

    b = mem_zalloc(sizeof(*b));
    b->magic = BUNDLE_MAGIC;
    b->bytes = bytes;
    b->count = count;
    b->entries = mem_alloc(count * sizeof(*b->entries));
    for (i = 0; i < count; i++) {
        if (read_entry(&b->entries[i], &rest) < 0)
            break;
    }
    if (i < count || rest.len > 0) {
        bundle_close(&b);
        return SD_EPROTO;
    }
    sort(b);
    *out = b;
    return 0;
}

int bundle_open(struct bundle **out, int fd)
{
    int seals = fcntl(fd, F_GET_SEALS), err;
    struct stat st;
    void *p;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (seals < 0 || (seals & SEALS) != SEALS)
        return SD_EREFUSED;
    if (st.st_size == 0)
        return SD_EPROTO;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    err = bundle_open_bytes(out, slice_make(p, (size_t)st.st_size));
    if (err < 0)
        munmap(p, (size_t)st.st_size);
    else
        (*out)->mapped = true;
    return err;
}

void bundle_close(struct bundle **bp)
{
    struct bundle *b = *bp;

    *bp = NULL;
    if (b == NULL)
        return;
    sd_check(b, BUNDLE_MAGIC);
    b->magic = 0;

    if (b->mapped)
        munmap((void *)(uintptr_t)b->bytes.p, b->bytes.len);
    mem_free(b->sorted);
    mem_free(b->entries);
    mem_free(b);
}

int bundle_get(const struct bundle *b, const char *name, struct slice *data)
{
    unsigned low = 0, high;

    sd_check(b, BUNDLE_MAGIC);
    high = b->nsorted;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        int order = strcmp(b->sorted[mid].name.p, name);

        if (order == 0) {
            *data = b->sorted[mid].data;
            return 1;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

unsigned bundle_count(const struct bundle *b)
{
    sd_check(b, BUNDLE_MAGIC);
    return b->count;
}

void bundle_at(const struct bundle *b, unsigned i, struct slice *name,
               struct slice *data)
{
    sd_check(b, BUNDLE_MAGIC);
    sd_assert(i < b->count);
    *name = b->entries[i].name;
    *data = b->entries[i].data;
}
