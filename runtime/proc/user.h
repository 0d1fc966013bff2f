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

/* Between these two the master's files are opened, made and removed with the
 * rights of `u` and belong to it; nothing else changes.  run/ is theirs: a
 * link they put there must not lend them the rights of root. */
void user_enter(const struct user *u);
void user_leave(const struct user *u);

#endif
