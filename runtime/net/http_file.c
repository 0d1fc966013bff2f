/* http_file.c - files as answers: see http.h.
 *
 * openat2() with RESOLVE_BENEATH keeps every lookup inside the folder, links
 * and races included; the path was judged by codec/url before.  A file is sent
 * in pieces, the next when the last has left, so a large one to a slow client
 * takes one piece of memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "codec/etag.h"
#include "codec/http_response.h"
#include "codec/mime.h"
#include "codec/url.h"
#include "net/inner.h"

enum {
    PIECE = 65536
};

static const struct slice nothing = {"", 0};

static int open_beneath(int folder, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };

    return (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));
}

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Has the client the file as it is? */
static bool is_known(const struct http_request *r, struct slice tag,
                     const struct stat *st)
{
    struct slice value;
    int64_t since;

    if (http_header(&value, r, "if-none-match"))
        return etag_match(value, tag);
    return http_header(&value, r, "if-modified-since") &&
           http_date_parse(&since, value) == 0 && st->st_mtim.tv_sec <= since;
}

static void put_validators(struct buf *lines, const char *tag, size_t tag_len,
                           const struct stat *st)
{
    char date[HTTP_DATE_LEN];

    http_date_write(date, st->st_mtim.tv_sec);
    buf_append_str(lines, "ETag: ");
    buf_append(lines, tag, tag_len);
    buf_append_str(lines, "\r\nLast-Modified: ");
    buf_append(lines, date, sizeof(date));
    buf_append_str(lines, "\r\n");
}

void http_file_end(struct http_request *r)
{
    close(r->file);
    r->file = -1;
    http_end(r);
}

void http_file_pump(struct http_request *r)
{
    struct conn *c = r->conn;
    size_t want = r->file_left < PIECE ? (size_t)r->file_left : PIECE;
    ssize_t got;

    if (conn_queued(c) > 0)
        return;
    got = pread(r->file, buf_reserve(conn_out(c), PIECE), want,
                (off_t)r->file_at);
    if (got <= 0) {
        /* It became shorter under our hands: the length said is broken. */
        conn_cut(c, REASON_ERROR);
        return;
    }
    buf_commit(conn_out(c), (size_t)got);
    r->file_at += (uint64_t)got;
    r->file_left -= (uint64_t)got;
    conn_queue(c);
    if (r->file_left == 0)
        http_file_end(r);
}

/* Answer with the open file `fd`, which is taken. */
static void answer(struct http_request *r, int fd, const struct stat *st,
                   struct slice type, struct slice lines)
{
    struct buf all = {0};
    char tag[ETAG_MAX];
    size_t tag_len = etag_write(tag, mtime_ns(st), (uint64_t)st->st_size);
    bool known = is_known(r, slice_make(tag, tag_len), st);

    put_validators(&all, tag, tag_len, st);
    buf_append(&all, lines.p, lines.len);
    http_put_head(r, known ? 304 : 200, st->st_size, known ? nothing : type,
                  buf_slice(&all));
    buf_fini(&all);
    if (known || r->is_head || st->st_size == 0) {
        close(fd);
        http_end(r);
        return;
    }
    r->state = REQUEST_FILE;
    r->file = fd;
    r->file_at = 0;
    r->file_left = (uint64_t)st->st_size;
    if (r->file_left <= PIECE) {
        ssize_t got =
            pread(fd, buf_reserve(conn_out(r->conn), PIECE), PIECE, 0);

        if (got == st->st_size) {
            buf_commit(conn_out(r->conn), (size_t)got);
            http_file_end(r);
            return;
        }
    }
    conn_queue(r->conn);
}

static int send_from(struct http_request *r, int folder, const char *path,
                     struct slice type, struct slice lines)
{
    struct stat st;
    int fd = open_beneath(folder, path);

    if (fd < 0)
        return SD_EOFFLINE;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return SD_EOFFLINE;
    }
    if (type.len == 0)
        type = slice_str(mime_type(slice_str(path)));
    if (!conn_is_alive(r->conn)) {
        close(fd);
        http_end(r);
        return 0;
    }
    answer(r, fd, &st, type, lines);
    return 0;
}

int http_file(struct http_request *r, const char *root, struct slice path,
              struct slice type, struct slice lines)
{
    char *name;
    int folder, err;

    sd_check(r, REQUEST_MAGIC);
    if (path.len == 0 || memchr(path.p, '\0', path.len) != NULL)
        return SD_EINVALID;
    folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return SD_EOFFLINE;
    name = mem_dup(path.p, path.len);
    err = send_from(r, folder, name, type, lines);
    mem_free(name);
    close(folder);
    return err;
}

bool http_static(struct http_request *r)
{
    int folder = r->conn->port->public_fd;
    struct buf path = {0};
    bool done = false;

    sd_check(r, REQUEST_MAGIC);
    if (folder < 0 || (r->head.method != HTTP1_GET && !r->is_head))
        return false;
    if (url_path(&path, http1_slice(&r->head, r->head.path)) == 0) {
        if (path.len == 0 || path.p[path.head + path.len - 1] == '/')
            buf_append_str(&path, "index.html");
        buf_append(&path, "", 1);
        done = send_from(r, folder, path.p + path.head, nothing, nothing) == 0;
    }
    buf_fini(&path);
    return done;
}
