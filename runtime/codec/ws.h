/* ws.h - WebSocket frames (RFC 6455), the server's side.
 *
 * Reading: one ws_reader per conn turns received bytes into events.  Writing:
 * ws_begin() and ws_seal() around a body, or ws_put() and ws_put_close() for
 * finished bytes.  The upgrade itself is codec/handshake.h. */
#ifndef SD_CODEC_WS_H
#define SD_CODEC_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/utf8.h"

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

enum {
    WS_HEAD = 4,                 /* bytes that ws_begin() leaves free */
    WS_CONTROL_MAX = 125,        /* payload of a control frame */
    WS_FRAGMENTS_MAX = 1024,     /* frames of one message */
    WS_MESSAGE_MAX = 0x7fffffff, /* what `max = 0` (no limit) means */
};

/* Close codes this layer knows; 1005 never travels. */
enum {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005,
    WS_INVALID_DATA = 1007,
    WS_TOO_BIG = 1009,
};

/* Embedded in a conn, opened by ws_reader_init().  Fields are private. */
struct ws_reader {
    struct buf message; /* fragments so far; owns memory only then */
    uint32_t max;       /* bytes of a message */
    uint32_t done;      /* payload bytes of the frame in front that were
                              already unmasked and judged */
    uint16_t fragments; /* frames of the message so far */
    uint8_t opcode;     /* of the message so far, 0 = none begun */
    uint8_t state;      /* enum ws_state in ws.c */
    struct utf8 utf8;   /* of a text so far */
};

/* What one step brought. */
struct ws_event {
    int type;          /* WS_TEXT or WS_BINARY: a whole message; WS_PING,
                          WS_PONG, WS_CLOSE; 0: nothing for the caller */
    int code;          /* WS_CLOSE: the peer's code, WS_NO_CODE if it gave
                          none; on error: the code to close with */
    struct slice data; /* message, payload, or reason (on error: static text
                          for the log); valid until the next call on this
                          reader, or until the input bytes go */
    size_t size;       /* bytes to consume from the input */
    size_t need;       /* incomplete: the frame has at least so many bytes */
};

/* `max`: bytes of one message, 0 = no limit. */
void ws_reader_init(struct ws_reader *r, uint32_t max);
void ws_reader_fini(struct ws_reader *r);

/* Read one frame from the `len` bytes at `p`.
 *   1   out->type, data, size.  Type 0 = a fragment was stored, or bytes
 *       after a close were dropped: consume and go on
 *   0   incomplete; out->need > len.  Nothing to consume
 *   SD_EPROTO, SD_EINVALID (not UTF-8), SD_ETOOLARGE
 *       out->code is 1002, 1007 or 1009: send ws_put_close() with it, then shut
 * The payload is unmasked in place and a one-frame message is not copied, so
 * `p` is written to.  While a frame is incomplete its bytes must come again
 * unchanged in front of the new ones (they may move): what arrived of the
 * payload is unmasked and judged already, so bad UTF-8 fails at once.
 * After WS_CLOSE or an error all further input is dropped. */
int ws_next(struct ws_reader *r, char *p, size_t len, struct ws_event *out);

/* Give back the memory of a fragmented message that was handled.  Call it
 * when the events of a read are done; does nothing amid a message. */
void ws_reader_rest(struct ws_reader *r);

/* Is a fragmented message begun and not ended? */
bool ws_reader_is_amid(const struct ws_reader *r);

/* --- a conn that moves (ws_move.c) --- */

/* False after a close or an error: it drops all input. */
bool ws_reader_is_open(const struct ws_reader *r);

/* Make of a copy of the bytes that are still to be read, `len` at `p`, what
 * had arrived: what ws_next() has unmasked of the frame in front is masked
 * again.  The reader is not changed. */
void ws_reader_raw(const struct ws_reader *r, char *p, size_t len);

/* Begin amid a message, of which another reader has put together `fragments`
 * frames to `message`, of `opcode` (0, 0 and nothing: between messages).  The
 * reader is a fresh one and reads what ws_reader_raw() made next.  0;
 * SD_EINVALID, SD_ETOOLARGE: no reader can have come to that. */
int ws_reader_restore(struct ws_reader *r, unsigned opcode, unsigned fragments,
                      struct slice message);

/* Leave room for a head at the end of `b`; returns `start` for ws_seal(). */
size_t ws_begin(struct buf *b);

/* Everything behind `start` + WS_HEAD is one payload (a control frame's is at
 * most WS_CONTROL_MAX): write its head, unmasked, FIN set.  The payload may
 * move by a few bytes, so that no gap is left. */
void ws_seal(struct buf *b, size_t start, int opcode);

/* A whole frame around finished bytes. */
void ws_put(struct buf *b, int opcode, struct slice payload);

/* A close frame.  WS_NO_CODE: without code and reason.  The reason is cut to
 * fit, and left out when it is not UTF-8; `code` must be ws_is_code(). */
void ws_put_close(struct buf *b, int code, struct slice reason);

/* May this close code travel?  1000-1003, 1007-1014, 3000-4999. */
bool ws_is_code(int code);

/* XOR `n` bytes with the key, `phase` bytes into the payload: masks and
 * unmasks.  `key` are the 4 bytes as they travel. */
void ws_mask(char *p, size_t n, const unsigned char *key, size_t phase);

#endif
