/* gone.h - see a master gone, to the last thing that it gives up. */
#ifndef SD_CMD_GONE_H
#define SD_CMD_GONE_H

enum {
    GONE_EVER = 24 * 3600 * 1000 /* ms; the master has its own limit */
};

/* The master behind the control connection `fd` (taken; -1: none) ends within
 * `ms`, and gives up the folder.  0 or SD_ETIMEOUT. */
int gone_wait(int fd, int ms);

#endif
