/* admin_socket.h - the listening socket of the admin port: the master's. */
#ifndef SD_PROC_ADMIN_SOCKET_H
#define SD_PROC_ADMIN_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "proc/user.h"

enum {
    ADMIN_ADDRESS = 128 /* bytes of an address with NUL */
};

/* Listen on `listen` ("127.0.0.1:9180", "unix:run/admin.sock").  A unix
 * socket is made with the rights of `user`, and for him alone.  The
 * descriptor, `address` filled; or a negative code with one line in `why`. */
int admin_socket_open(char *address, const char *listen,
                      const struct user *user, char *why, size_t size);

/* Does this `listen` name a unix socket? */
bool admin_socket_is_unix(const char *listen);

/* Close it and remove a unix socket's file.  `fd` may be -1. */
void admin_socket_close(int fd, const char *address, const struct user *user);

#endif
