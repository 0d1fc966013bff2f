/* uidlist.h - uids in a row, each with a small number.
 *
 * Of each: its length, the number, its bytes; so they travel between the
 * processes of a node, too. */
#ifndef SD_VM_UIDLIST_H
#define SD_VM_UIDLIST_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* A uid of at most 128 bytes and a number below 256. */
static inline void uidlist_add(struct buf *list, struct slice uid, unsigned tag)
{
    char head[2] = {(char)uid.len, (char)tag};

    buf_append(list, head, sizeof(head));
    buf_append(list, uid.p, uid.len);
}

/* The next one; false: that was all, or the rest makes no sense. */
static inline bool uidlist_next(struct slice *list, struct slice *uid,
                                unsigned *tag)
{
    size_t len;

    if (list->len < 2)
        return false;
    len = (unsigned char)list->p[0];
    if (len > list->len - 2)
        return false;
    *tag = (unsigned char)list->p[1];
    *uid = slice_make(list->p + 2, len);
    *list = slice_skip(*list, len + 2);
    return true;
}

#endif
