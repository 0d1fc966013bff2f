/* conn_image.h - a conn as one msgpack value: what travels when it moves.
 * Pure.
 *
 * A map with short texts as keys.  Unknown keys are passed over and what is
 * missing has the value of zero, so one build reads what another has written;
 * `v` is raised only when an old key comes to mean something else.  Slices
 * are borrowed: from the conn, or from the value that was read. */
#ifndef SD_NET_CONN_IMAGE_H
#define SD_NET_CONN_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/msgpack.h"

enum {
    IMAGE_VERSION = 1,
    IMAGE_UID = 128 /* bytes of a uid, as UIDS_LENGTH */
};

struct conn_image {
    uint64_t version;
    struct slice port; /* its name */
    struct slice pack; /* protocol, framing and codec: the new place has the
                          same or cannot take it */
    struct slice peer; /* 4 or 16 bytes of its address */
    uint64_t peer_port;

    struct slice in;         /* bytes that came and were not worked on */
    struct slice packets;    /* that wait: msgpack array of texts */
    struct slice out;        /* unsent, in order: msgpack array of texts
                              (replies, what was begun) and of arrays [frame,
                              value, key] (pushes) */
    uint64_t ws_opcode;      /* of the message that is half read ... */
    uint64_t ws_fragments;   /* ... its frames so far ... */
    struct slice ws_message; /* ... and its bytes */

    struct slice uid;
    struct slice session; /* msgpack */
    bool had_uid;         /* auth_timeout is over */
    bool has_eof;         /* the client has shut its side */
    bool is_half_idle;    /* it was pinged */
    bool was_slow;        /* and is counted so */

    /* Milliseconds that are left; 0: that time does not run. */
    uint64_t auth, idle, due, throttled;
    double paid_messages, paid_bytes; /* ms that it is ahead of its rate */
};

void conn_image_write(struct buf *out, const struct conn_image *image);

/* 0; SD_EINVALID: no image, or not of a version we know. *out is untouched
 * then.  Whatever is read is within bounds, all lists are sound. */
int conn_image_read(struct conn_image *out, struct slice bytes);

/* --- the lists ------------------------------------------------------------ */

/* One of `out`. */
struct conn_piece {
    bool is_push;
    struct slice bytes; /* replies, or the frame of a push */
    struct slice value; /* of a push: what it was made from */
    uint64_t key;       /* of a push: of conflation, 0: none */
};

/* Walk a list of a sound image: begin, then until it is false. */
struct conn_walk {
    struct msgpack m;
    uint32_t left;
};

void conn_walk_begin(struct conn_walk *w, struct slice list);
bool conn_walk_packet(struct conn_walk *w, struct slice *packet);
bool conn_walk_piece(struct conn_walk *w, struct conn_piece *piece);

/* Write a push for `out`; other pieces and packets are msgpack texts. */
void conn_image_push(struct buf *list, const struct conn_piece *piece);

#endif
