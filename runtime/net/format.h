/* format.h - how the packets of a conn are cut and coded, as it was accepted.
 *
 * A reload may give a port another frame or codec.  That is for new conns: one
 * that lives goes on as its client knows it.  So a conn holds the format it
 * was accepted with, and ports share one until it changes. */
#ifndef SD_NET_FORMAT_H
#define SD_NET_FORMAT_H

#include <stdbool.h>

#include "base/conf.h"
#include "base/list.h"
#include "codec/frame.h"

struct format {
    struct list link; /* among all that some conn or port holds */
    unsigned refs;
    unsigned number;         /* unique in its net, from 1 */
    struct frame_spec frame; /* of a TCP port */
    int ws_opcode;           /* of what we send */
    bool ws_is_text;         /* unchecked bytes go out as text: check them */
    char *codec[2];          /* of packets; of WebSockets.  NULL: json */
};

/* The format that `conf` asks for; holds a reference.  0, or SD_EINVALID with
 * *why static text. */
int format_new(struct format **out, const struct conf_port *conf,
               const char **why);
void format_unref(struct format *f);

static inline struct format *format_ref(struct format *f)
{
    f->refs++;
    return f;
}

/* Do both mean the same for a client? */
bool format_is_same(const struct format *a, const struct format *b);

#endif
