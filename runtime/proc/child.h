/* child.h - a process that the master started: reads its heritage and becomes
 * what that says. */
#ifndef SD_PROC_CHILD_H
#define SD_PROC_CHILD_H

/* Exit statuses that mean something to the master. */
enum child_exit {
    CHILD_DONE = 0,
    CHILD_FAILED = 1,   /* why is on the leash or in the log */
    CHILD_STRANGER = 78 /* the heritage is of another build */
};

/* The whole life of `sdlua --child FD`; FD (decimal) is the heritage.
 * Returns the exit status. */
int child_main(const char *fd);

#endif
