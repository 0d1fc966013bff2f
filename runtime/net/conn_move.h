/* conn_move.h - a conn that goes to another process without its client
 * noticing.
 *
 * Its old place writes it down (conn_pack()), sends that and its descriptor,
 * and forgets it; its new place makes it anew (net_unpack()), under another
 * id.  Between writing down and forgetting the loop must not turn, so that
 * nothing is read or written that the image does not know of.
 *
 * How the two agree that it has arrived is the upper layer's: until then the
 * old place keeps the image, a descriptor of its own and the conn's place. */
#ifndef SD_NET_CONN_MOVE_H
#define SD_NET_CONN_MOVE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct conn;
struct format;
struct net;
struct proto;

/* 0; SD_EGONE: it is not open; SD_EBUSY: not now, since it is being opened or
 * closed, a packet or request is in hand, or it was asked something; or never,
 * since a reload has given its port another format or less room. */
int conn_may_move(const struct conn *c);

/* Append it to `out` as one msgpack map (conn_image.h); it goes on as it is.
 * 0, or as conn_may_move(). */
int conn_pack(struct conn *c, struct buf *out);

/* Its socket, borrowed. */
int conn_descriptor(const struct conn *c);

/* How a conn is served: as it was accepted. */
struct conn_terms {
    const struct proto *proto;
    struct format *format;
    uint32_t ws_max; /* bytes of a WebSocket's message */
};

/* What a forgotten conn still has: its id is not given to another one, it
 * counts for the limits, and on these terms it can come back. */
struct conn_place {
    uint64_t id;
    uint64_t address;
    unsigned port;
    struct conn_terms terms; /* holds a reference of the format */
};

/* It lives on elsewhere.  Gone from here at once, with what was written down,
 * without a byte to the client, without FIN and without on_close(): conn_user()
 * was taken away before, `c` must not be used any more.  The descriptor is
 * closed; others of the same socket are not touched.  Pushes that go with it
 * count as written here and as accepted there. */
void conn_forget(struct conn *c, struct conn_place *place);
void net_leave_place(struct net *n, const struct conn_place *place);

/* Make it anew; takes the descriptor, also on error.  It is open, on_open()
 * does not come; on_close() will.  Work on it begins at the end of the turn.
 * `home`: its place in this net, to which it comes back whatever a reload has
 * done meanwhile; NULL: it comes from elsewhere.
 * 0; SD_EINVALID: no image, no such port here, another framing or codec, no
 * socket; SD_EBUSY: this worker is stopping; SD_EFULL: no id is left. */
int net_unpack(struct conn **out, struct net *n, struct slice bytes, int fd,
               const struct conn_place *home);

#endif
