/* workload.c - see workload.h.
 *
 * A checker builds the reply it expects and compares bytes; it parses only
 * what may rightly differ between servers, which is the head of an HTTP
 * reply.  Mask keys come from the number as well: a server that unmasks with
 * the wrong key cannot pass. */
#include "common/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/packet.h"

#define HEAD_MAX 8192

static const char *http_path = "/bench/json";
static const char *http_body = "{\"message\":\"Hello, World!\"}";

/* --- W1, W8: HTTP --------------------------------------------------------- */

static void http_request(struct bytes *out, uint64_t number)
{
    (void)number;
    bytes_add_str(out, "GET ");
    bytes_add_str(out, http_path);
    bytes_add_str(out, " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
}

/* The value of a header as a number; -1 when it is not there.  `head` ends in
 * the empty line, and a NUL after it. */
static long header_number(const char *head, const char *name)
{
    const char *line = strstr(head, "\r\n");
    size_t n = strlen(name);

    for (; line != NULL; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':')
            return strtol(line + 3 + n, NULL, 10);
    return -1;
}

static long http_reply(const char *in, size_t len, uint64_t number)
{
    static const char status[] = "HTTP/1.1 200 ";
    const char *end = memmem(in, len, "\r\n\r\n", 4);
    size_t body = strlen(http_body), size;
    char head[HEAD_MAX];

    (void)number;
    if (end == NULL)
        return len < sizeof(head) ? 0 : -1;
    size = (size_t)(end - in) + 4;
    if (size >= sizeof(head))
        return -1;
    memcpy(head, in, size);
    head[size] = '\0';
    if (strncmp(head, status, sizeof(status) - 1) != 0 ||
        header_number(head, "Content-Length") != (long)body)
        return -1;
    if (len < size + body)
        return 0;
    return memcmp(in + size, http_body, body) == 0 ? (long)(size + body) : -1;
}

void workload_set_http(const char *path, const char *body)
{
    http_path = path;
    http_body = body;
}

/* --- W2: length-prefixed JSON over TCP ------------------------------------ */

static void tcp_request(struct bytes *out, uint64_t number)
{
    packet_call_text(out, "echo", WORKLOAD_PAYLOAD, number);
}

static long tcp_reply(const char *in, size_t len, uint64_t number)
{
    return packet_is_text(in, len, WORKLOAD_PAYLOAD, number);
}

/* --- W3: WebSocket -------------------------------------------------------- */

static void ws_request(struct bytes *out, uint64_t number)
{
    char frame[6 + WORKLOAD_PAYLOAD];
    uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15U;
    int i;

    frame[0] = (char)0x81;
    frame[1] = (char)(0x80 | WORKLOAD_PAYLOAD);
    memcpy(frame + 2, &mixed, 4);
    packet_text(frame + 6, WORKLOAD_PAYLOAD, number);
    for (i = 0; i < WORKLOAD_PAYLOAD; i++)
        frame[6 + i] = (char)(frame[6 + i] ^ frame[2 + (i & 3)]);
    bytes_add(out, frame, sizeof(frame));
}

static long ws_reply(const char *in, size_t len, uint64_t number)
{
    char want[2 + WORKLOAD_PAYLOAD];

    want[0] = (char)0x81;
    want[1] = WORKLOAD_PAYLOAD;
    packet_text(want + 2, WORKLOAD_PAYLOAD, number);
    return packet_compare(in, len, want, sizeof(want));
}

/* --- the table ------------------------------------------------------------ */

static const struct workload workloads[] = {
    {.name = "W1",
     .about = "HTTP/1.1 keep-alive GET of a small JSON",
     .request = http_request,
     .reply = http_reply},
    {.name = "W2",
     .about = "TCP, 4-byte length and JSON call of an echo",
     .request = tcp_request,
     .reply = tcp_reply},
    {.name = "W3",
     .about = "WebSocket echo of 64 bytes of text",
     .upgrade = true,
     .request = ws_request,
     .reply = ws_reply},
    {.name = "W4",
     .about = "one publishes, all conns receive; --depth: at one go",
     .kind = WORKLOAD_FANOUT,
     .conns = 1000},
    {.name = "UID",
     .about = "sends to uids between two workers; --conns pairs",
     .kind = WORKLOAD_PAIRS},
    {.name = "SLOW",
     .about = "memory while all conns but one never read",
     .kind = WORKLOAD_SLOW,
     .conns = 200},
    {.name = "W7",
     .about = "memory per idle TCP conn (each did one W2 request)",
     .kind = WORKLOAD_IDLE,
     .conns = 10000,
     .request = tcp_request,
     .reply = tcp_reply},
    {.name = "W7WS",
     .about = "memory per idle WebSocket conn (each did one W3 request)",
     .kind = WORKLOAD_IDLE,
     .conns = 10000,
     .upgrade = true,
     .request = ws_request,
     .reply = ws_reply},
    {.name = "W8",
     .about = "connect, one HTTP request, close",
     .per_conn = true,
     .request = http_request,
     .reply = http_reply},
};

#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

const struct workload *workload_find(const char *name)
{
    size_t i;

    for (i = 0; i < WORKLOADS; i++)
        if (strcasecmp(workloads[i].name, name) == 0)
            return &workloads[i];
    return NULL;
}

void workload_list(void)
{
    size_t i;

    for (i = 0; i < WORKLOADS; i++)
        printf("  %-5s %s\n", workloads[i].name, workloads[i].about);
}

/* --- blocking use --------------------------------------------------------- */

static int send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return -1;
        p += sent;
        n -= (size_t)sent;
    }
    return 0;
}

/* The key and the answer to it are the example of RFC 6455, section 1.3. */
int workload_upgrade(int fd)
{
    static const char request[] =
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char head[HEAD_MAX];
    size_t len = 0;

    if (send_all(fd, request, sizeof(request) - 1) < 0)
        return -1;
    do {
        ssize_t n = recv(fd, head + len, sizeof(head) - 1 - len, 0);

        if (n <= 0)
            return -1;
        len += (size_t)n;
        head[len] = '\0';
    } while (strstr(head, "\r\n\r\n") == NULL && len < sizeof(head) - 1);
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0 ||
        strstr(head, ": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") == NULL)
        return -1;
    return strcmp(head + len - 4, "\r\n\r\n") == 0 ? 0 : -1;
}

int workload_exchange(const struct workload *w, int fd, uint64_t number)
{
    struct bytes out = {0};
    char in[HEAD_MAX];
    size_t len = 0;
    long taken = 0;
    int err;

    w->request(&out, number);
    err = send_all(fd, out.p, out.len);
    bytes_fini(&out);
    while (err == 0 && taken == 0 && len < sizeof(in)) {
        ssize_t n = recv(fd, in + len, sizeof(in) - len, 0);

        if (n <= 0)
            return -1;
        len += (size_t)n;
        taken = w->reply(in, len, number);
    }
    return err == 0 && taken > 0 && (size_t)taken == len ? 0 : -1;
}
