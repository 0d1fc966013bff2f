/* reply.h - bytes that go out over a descriptor as it takes them, and then it
 * is closed. */
#ifndef SD_PROC_REPLY_H
#define SD_PROC_REPLY_H

#include "base/buf.h"
#include "base/list.h"
#include "loop/loop.h"

/* Add one to a list of those on their way; takes descriptor and text. */
void reply_send(struct list *all, struct loop *loop, int fd, struct buf *text);

/* Give up all of them. */
void reply_end(struct list *all);

#endif
