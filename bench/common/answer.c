/* answer.c - see answer.h.
 *
 * The parsers look only for what the workloads send: enough to be right on
 * every split of the bytes, too little for the Internet. */
#include "common/answer.h"

#include <stdint.h>
#include <string.h>

#define REQUEST_MAX 65000 /* smaller than one read, so a tail always fits */

static unsigned corrupt_every, answers;
static struct bytes news;

void answer_corrupt_every(unsigned n)
{
    corrupt_every = n;
}

static void finish(struct bytes *out)
{
    if (corrupt_every > 0 && ++answers % corrupt_every == 0)
        out->p[out->len - 1] ^= 1;
}

struct bytes *answer_news(void)
{
    return &news;
}

/* --- W2, W4 --------------------------------------------------------------- */

static void add_packet(struct bytes *out, const char *json, size_t n)
{
    char *p = bytes_room(out, n + 4);

    n += 4;
    p[0] = (char)(n >> 24);
    p[1] = (char)(n >> 16);
    p[2] = (char)(n >> 8);
    p[3] = (char)n;
    memcpy(p + 4, json, n - 4);
    out->len += n;
    finish(out);
}

/* The method's name stands at the same place in all calls. */
static long answer_tcp(enum answer_protocol *protocol, struct bytes *out,
                       const char *in, size_t len)
{
    static const char front[] =
        "    {\"controller_name\":\"bench\",\"method_name\":\"";
    static const char key[] = "\"params\":";
    const unsigned char *u = (const unsigned char *)in;
    const char *value, *end;
    size_t size;

    if (len < 4)
        return 0;
    size = (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
    if (size < 4 || size > REQUEST_MAX)
        return -1;
    if (len < size)
        return 0;
    value = memmem(in + 4, size - 4, key, sizeof(key) - 1);
    if (value == NULL || size < sizeof(front))
        return -1;
    value += sizeof(key) - 1;
    end = in + size - 1; /* the closing brace of the call */
    if (value >= end)
        return -1;
    switch (in[sizeof(front) - 1]) {
    case 'e': /* echo */
        add_packet(out, value, (size_t)(end - value));
        break;
    case 'p': /* publish */
        add_packet(&news, value, (size_t)(end - value));
        break;
    case 'w': /* watch */
        *protocol = ANSWER_WATCHER;
        add_packet(out, "true", 4);
        break;
    default:
        return -1;
    }
    return (long)size;
}

/* --- W1, W8 --------------------------------------------------------------- */

/* Only the key of RFC 6455's example is known: the one the generator sends. */
static long upgrade(enum answer_protocol *protocol, struct bytes *out,
                    const char *in, size_t size)
{
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";

    if (memmem(in, size, key, sizeof(key) - 1) == NULL)
        return -1;
    bytes_add_str(out, "HTTP/1.1 101 Switching Protocols\r\n"
                       "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                       "\r\n\r\n");
    *protocol = ANSWER_WS;
    return (long)size;
}

static long answer_http(enum answer_protocol *protocol, struct bytes *out,
                        const char *in, size_t len)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\n"
                                "Content-Type: application/json\r\n"
                                "Content-Length: 27\r\n\r\n"
                                "{\"message\":\"Hello, World!\"}";
    const char *end = memmem(in, len, "\r\n\r\n", 4);
    size_t size;

    if (end == NULL)
        return len < REQUEST_MAX ? 0 : -1;
    size = (size_t)(end - in) + 4;
    if (size < 9 || memcmp(in, "GET /", 5) != 0)
        return -1;
    if (memcmp(in + 5, "ws ", 3) == 0)
        return upgrade(protocol, out, in, size);
    bytes_add(out, reply, sizeof(reply) - 1);
    finish(out);
    return (long)size;
}

/* --- W3 ------------------------------------------------------------------- */

static void unmask(char *out, const char *in, size_t n, const char *key)
{
    uint64_t wide, word;
    uint32_t narrow;
    size_t i;

    memcpy(&narrow, key, 4);
    wide = (uint64_t)narrow << 32 | narrow;
    for (i = 0; i + 8 <= n; i += 8) {
        memcpy(&word, in + i, 8);
        word ^= wide;
        memcpy(out + i, &word, 8);
    }
    for (; i < n; i++)
        out[i] = (char)(in[i] ^ key[i & 3]);
}

/* Whole text and binary frames are echoed; anything else ends the conn. */
static long answer_ws(struct bytes *out, const char *in, size_t len)
{
    const unsigned char *u = (const unsigned char *)in;
    size_t n, head = 2;
    char *p;

    if (len < 2)
        return 0;
    if ((u[0] != 0x81 && u[0] != 0x82) || (u[1] & 0x80) == 0)
        return -1;
    n = u[1] & 0x7f;
    if (n == 126) {
        if (len < 4)
            return 0;
        n = (size_t)u[2] << 8 | u[3];
        head = 4;
    }
    if (n == 127 || n > REQUEST_MAX - 8)
        return -1;
    if (len < head + 4 + n)
        return 0;
    p = bytes_room(out, head + n);
    memcpy(p, in, head);
    p[1] = (char)(p[1] & 0x7f);
    unmask(p + head, in + head + 4, n, in + head);
    out->len += head + n;
    finish(out);
    return (long)(head + 4 + n);
}

long answer_feed(enum answer_protocol *protocol, struct bytes *out,
                 const char *in, size_t len)
{
    size_t used = 0;
    long n;

    do {
        if (*protocol == ANSWER_TCP || *protocol == ANSWER_WATCHER)
            n = answer_tcp(protocol, out, in + used, len - used);
        else if (*protocol == ANSWER_HTTP)
            n = answer_http(protocol, out, in + used, len - used);
        else
            n = answer_ws(out, in + used, len - used);
        used += n > 0 ? (size_t)n : 0;
    } while (n > 0 && used < len);
    return n < 0 ? -1 : (long)used;
}
