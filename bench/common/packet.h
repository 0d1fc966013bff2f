/* packet.h - the packets of W2 and of what builds on it: 4 bytes of length,
 * which count themselves, and JSON.
 *
 * Texts are made from a number, so that one in the place of another differs
 * in its bytes. */
#ifndef SD_BENCH_PACKET_H
#define SD_BENCH_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

enum {
    PACKET_HEAD = 4,
    PACKET_TEXT_MAX = 4096,
};

/* The text of a number: `n` bytes, 16 or more, without a quote. */
void packet_text(char *out, size_t n, uint64_t number);

void packet_length(char *out, size_t n);

/* Append a call of bench/`method`; `params` is JSON or NULL. */
void packet_call(struct bytes *out, const char *method, const char *params);

/* The same, with the text of a number as params. */
void packet_call_text(struct bytes *out, const char *method, size_t n,
                      uint64_t number);

/* Compare the front of `in` with what it should be: the whole of it is there,
 * `size`; what is there is right so far, 0; it is wrong, -1. */
long packet_compare(const char *in, size_t len, const char *want, size_t size);

/* The same for a packet that is JSON, or the text of a number. */
long packet_is(const char *in, size_t len, const char *json);
long packet_is_text(const char *in, size_t len, size_t n, uint64_t number);

/* A whole packet at the front of `in`: its size; 0 while it is incomplete, -1
 * when it cannot be one. */
long packet_size(const char *in, size_t len);

/* The JSON of a packet, for a complaint: printf's "%.*s". */
#define PACKET_SHOW(in, len) \
    (int)((len) > PACKET_HEAD ? (len)-PACKET_HEAD : 0), (in) + PACKET_HEAD

#endif
