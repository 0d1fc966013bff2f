/* user.h - whose rights a child runs with. */
#ifndef SD_PROC_USER_H
#define SD_PROC_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct user {
    uid_t uid;
    gid_t gid;
    char name[64]; /* "" when the uid has no name */
    bool change;   /* we are root and this is somebody else */
};

/* The user called `name`, or with NULL the owner of the current folder; one
 * who is not root can only be himself.  0, or SD_EREFUSED with one line in
 * `why`. */
int user_find(struct user *u, const char *name, char *why, size_t size);

/* Become `u` for good; nothing when u->change is false.  Between fork and
 * exec.  0 or -errno. */
int user_become(const struct user *u);

/* Make `path` belong to `u`, without following links.  0 or -errno. */
int user_own(const struct user *u, const char *path);

#endif
