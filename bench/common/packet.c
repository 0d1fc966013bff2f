/* packet.c - see packet.h. */
#include "common/packet.h"

#include <string.h>

#include "common/util.h"

#define LETTERS 48

/* 16 digits of the number, then letters that begin at another place of the
 * alphabet for each number. */
void packet_text(char *out, size_t n, uint64_t number)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV";
    size_t i;

    for (i = 0; i < 16; i++)
        out[i] = hex[(number >> (60 - 4 * i)) & 15];
    for (; i < n; i += LETTERS)
        memcpy(out + i, letters + number % LETTERS,
               n - i < LETTERS ? n - i : LETTERS);
}

void packet_length(char *out, size_t n)
{
    out[0] = (char)(n >> 24);
    out[1] = (char)(n >> 16);
    out[2] = (char)(n >> 8);
    out[3] = (char)n;
}

/* --- calls ---------------------------------------------------------------- */

/* Up to where the params stand; the packet's place in `out` comes back. */
static size_t begin(struct bytes *out, const char *method)
{
    size_t start = out->len;

    bytes_add(out, "\0\0\0\0", PACKET_HEAD);
    bytes_add_str(out, "{\"controller_name\":\"bench\",\"method_name\":\"");
    bytes_add_str(out, method);
    return start;
}

static void end(struct bytes *out, size_t start)
{
    packet_length(out->p + start, out->len - start);
}

void packet_call(struct bytes *out, const char *method, const char *params)
{
    size_t start = begin(out, method);

    bytes_add_str(out, "\",\"params\":");
    bytes_add_str(out, params != NULL ? params : "null");
    bytes_add_str(out, "}");
    end(out, start);
}

void packet_call_text(struct bytes *out, const char *method, size_t n,
                      uint64_t number)
{
    size_t start = begin(out, method);

    bytes_add_str(out, "\",\"params\":\"");
    packet_text(bytes_room(out, n), n, number);
    out->len += n;
    bytes_add_str(out, "\"}");
    end(out, start);
}

/* --- judging -------------------------------------------------------------- */

/* What has arrived is compared at once: a wrong length is noticed even when
 * the bytes it announces never come. */
long packet_compare(const char *in, size_t len, const char *want, size_t size)
{
    if (memcmp(in, want, len < size ? len : size) != 0)
        return -1;
    return len < size ? 0 : (long)size;
}

long packet_is(const char *in, size_t len, const char *json)
{
    char want[PACKET_HEAD + 256];
    size_t n = strlen(json);

    if (n > sizeof(want) - PACKET_HEAD)
        util_die("too long to compare: %s", json);
    packet_length(want, PACKET_HEAD + n);
    memcpy(want + PACKET_HEAD, json, n);
    return packet_compare(in, len, want, PACKET_HEAD + n);
}

long packet_is_text(const char *in, size_t len, size_t n, uint64_t number)
{
    char want[PACKET_HEAD + 2 + PACKET_TEXT_MAX];
    size_t size = PACKET_HEAD + 1 + n + 1;

    packet_length(want, size);
    want[PACKET_HEAD] = '"';
    packet_text(want + PACKET_HEAD + 1, n, number);
    want[size - 1] = '"';
    return packet_compare(in, len, want, size);
}

long packet_size(const char *in, size_t len)
{
    const unsigned char *u = (const unsigned char *)in;
    size_t size;

    if (len < PACKET_HEAD)
        return 0;
    size = (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
    if (size < PACKET_HEAD || size > PACKET_HEAD + 2 + PACKET_TEXT_MAX)
        return -1;
    return len < size ? 0 : (long)size;
}
