/* ctl.h - the control socket, instance_control(): mode 0600.
 *
 * A client sends one line and gets one line of JSON; then the connection
 * stays open until either side ends, so that one who asked for a stop sees
 * the end of the master.  Only root and the node's user are answered.
 * Who asks to attach, or about the cluster, speaks with a worker or the agent
 * from then on: the master gives his socket away.
 * Lines: "status", "stop", "stop-now", "drain [RATE]", "left",
 * "attach WORKER", "cluster", "reload", "reload-cluster", "log-reopen". */
#ifndef SD_PROC_CTL_H
#define SD_PROC_CTL_H

#include "base/buf.h"
#include "loop/loop.h"
#include "proc/user.h"

struct ctl;

/* Serve.  `on_line` appends its answer, without a newline, to `reply`; without
 * one the client is let go.  An old socket file is replaced: the pid file's
 * lock says that its owner is gone.  0 or a negative code. */
int ctl_open(struct ctl **out, struct loop *l, const struct user *user,
             void (*on_line)(void *arg, const char *line, struct buf *reply),
             void *arg);

/* Inside on_line(): its answer comes later, by ctl_answer(), which takes the
 * call, sets the pointer to NULL, and sends `reply` if the client is still
 * there.  A client gets one answer at a time.  Accepts NULL. */
struct ctl_call;
struct ctl_call *ctl_defer(struct ctl *ctl);
void ctl_answer(struct ctl_call **cp, struct buf *reply);

/* During on_line(): the socket of the client who asks, borrowed. */
int ctl_client(const struct ctl *ctl);

/* Idempotent; removes the file. */
void ctl_close(struct ctl **cp);

/* The other side, blocking.  Send `line`, append the answer to `reply`.  The
 * open connection, or -errno: -ENOENT and -ECONNREFUSED mean that no master
 * listens. */
int ctl_ask(const char *line, struct buf *reply);

/* Send `line` and leave the answer to the caller.  As ctl_ask(). */
int ctl_tell(const char *line);

/* The same, without ever waiting: -EAGAIN when too many are before us.  The
 * descriptor is non-blocking. */
int ctl_tell_soon(const char *line);

/* Send another line over it.  0 or a negative code. */
int ctl_ask_again(int fd, const char *line, struct buf *reply);

/* Wait until the master behind the connection `fd` (taken) has ended, up to
 * `ms`.  0 or SD_ETIMEOUT. */
int ctl_wait_end(int fd, int ms);

#endif
