/* handshake.h - what a WebSocket upgrade request must say (RFC 6455, 4.2).
 *
 * Values of headers come in as slices without outer white space.  The value of
 * Sec-WebSocket-Accept is not computed here, because SHA-1 is libcrypto's:
 * net/ makes it with EVP_Digest(EVP_sha1()) over key + HANDSHAKE_GUID and
 * EVP_EncodeBlock(), 28 characters. */
#ifndef SD_CODEC_HANDSHAKE_H
#define SD_CODEC_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

#define HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* Is this Sec-WebSocket-Key the base64 of 16 bytes? */
bool handshake_is_key(struct slice key);

/* Does a comma-separated list ("keep-alive, Upgrade") hold this token?  Case
 * does not matter: for Connection and Upgrade. */
bool handshake_has_token(struct slice list, const char *token);

/* The sub-protocol to answer: the index in `ours` of the first name in the
 * client's list that we have, compared exactly; -1 when there is none (then no
 * Sec-WebSocket-Protocol is sent). */
int handshake_protocol(struct slice list, const struct slice *ours, size_t n);

/* origins = "same": is the Origin's host and port the Host's?  Where a port is
 * missing it is the one of the Origin's scheme.  "null" is never the same.
 * A request without Origin comes from no browser: do not ask. */
bool handshake_is_same_origin(struct slice origin, struct slice host);

/* origins = a list: are the two origins (scheme://host[:port]) equal? */
bool handshake_is_origin(struct slice origin, struct slice allowed);

#endif
