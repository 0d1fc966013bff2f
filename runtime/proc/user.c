/* user.c - a root master keeps its rights and gives none to its children. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "proc/user.h"

static void from_passwd(struct user *u, const struct passwd *pw)
{
    u->uid = pw->pw_uid;
    u->gid = pw->pw_gid;
    snprintf(u->name, sizeof(u->name), "%s", pw->pw_name);
}

int user_find(struct user *u, const char *name, char *why, size_t size)
{
    const struct passwd *pw = name != NULL ? getpwnam(name) : NULL;
    struct stat st;

    *u = (struct user){.uid = geteuid(), .gid = getegid()};
    if (name != NULL && pw == NULL) {
        snprintf(why, size, "server.user: no user is called \"%s\"", name);
        return SD_EREFUSED;
    }
    if (geteuid() != 0) {
        if (pw != NULL && pw->pw_uid != geteuid()) {
            snprintf(why, size,
                     "server.user: only root can run children as \"%s\"", name);
            return SD_EREFUSED;
        }
        return 0;
    }
    if (pw == NULL && stat(".", &st) == 0) {
        u->uid = st.st_uid;
        u->gid = st.st_gid;
        pw = getpwuid(st.st_uid);
    }
    if (pw != NULL)
        from_passwd(u, pw);
    u->change = u->uid != 0;
    return 0;
}

int user_become(const struct user *u)
{
    if (!u->change)
        return 0;
    if (u->name[0] != '\0' ? initgroups(u->name, u->gid) < 0
                           : setgroups(0, NULL) < 0)
        return -errno;
    if (setresgid(u->gid, u->gid, u->gid) < 0 ||
        setresuid(u->uid, u->uid, u->uid) < 0)
        return -errno;
    return 0;
}

/* The kernel takes what lets root pass by the rights of files from a process
 * for as long as its file system id is another one. */
static void become_for_files(uid_t uid, gid_t gid)
{
    setfsgid(gid);
    setfsuid(uid);
    sd_assert((uid_t)setfsuid((uid_t)-1) == uid);
    sd_assert((gid_t)setfsgid((gid_t)-1) == gid);
}

void user_enter(const struct user *u)
{
    if (u->change)
        become_for_files(u->uid, u->gid);
}

void user_leave(const struct user *u)
{
    if (u->change)
        become_for_files(geteuid(), getegid());
}
