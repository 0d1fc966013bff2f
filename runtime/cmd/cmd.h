/* cmd.h - the verbs of the command line, one function each.
 *
 * main.c reads the options, changes into the application folder and calls
 * the verb; so every verb works on relative paths.  A new verb is a function
 * here, a file of that name, and one row in main.c's table. */
#ifndef SD_CMD_CMD_H
#define SD_CMD_CMD_H

#include <stdbool.h>

enum cmd_exit {
    CMD_DONE = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
    CMD_NOT_RUNNING = 3,
};

/* What the user typed. */
struct cmd {
    bool json, now, daemon, dispatch, cluster;
    const char *rate, *count, *interval; /* NULL: not given */
    int argc;                            /* words behind the verb */
    char **argv;                         /* NULL at the end */
};

/* Each prints its answer to stdout, or one clear line an error to stderr, and
 * returns an enum cmd_exit. */
int cmd_start(const struct cmd *cmd);
int cmd_stop(const struct cmd *cmd);
int cmd_reload(const struct cmd *cmd);
int cmd_reload_cluster(const struct cmd *cmd); /* of cmd_reload() */
int cmd_attach(const struct cmd *cmd);
int cmd_top(const struct cmd *cmd);
int cmd_drain(const struct cmd *cmd);
int cmd_restart(const struct cmd *cmd);
int cmd_status(const struct cmd *cmd);
int cmd_check(const struct cmd *cmd);
int cmd_config(const struct cmd *cmd);
int cmd_routes(const struct cmd *cmd);
int cmd_key(const struct cmd *cmd);
int cmd_version(const struct cmd *cmd);

/* Print "sdlua: " and the text to stderr, as one line. */
__attribute__((format(printf, 1, 2))) void cmd_complain(const char *fmt, ...);

#endif
