/* key.c - `sdlua key`: a new key for a cluster, as one line. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cluster/keys.h"
#include "cmd/cmd.h"

int cmd_key(const struct cmd *cmd)
{
    uint8_t secret[KEYS_SECRET];
    char text[KEYS_TEXT + 1];
    bool ok = getrandom(secret, sizeof(secret), 0) == sizeof(secret);

    (void)cmd;
    if (ok) {
        keys_write(text, secret);
        ok = puts(text) >= 0 && fflush(stdout) == 0;
    }
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(text, sizeof(text));
    if (!ok)
        cmd_complain("no key could be made or printed");
    return ok ? CMD_DONE : CMD_FAILED;
}
