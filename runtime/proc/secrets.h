/* secrets.h - SD_..._FILE: values that the environment keeps in files.
 *
 * Such a file may be readable by root alone.  The master opens those that its
 * environment names, the configuration child reads them; both have the same
 * environment, so a place in it says which file is meant. */
#ifndef SD_PROC_SECRETS_H
#define SD_PROC_SECRETS_H

#include "proc/heritage.h"

/* Master: open them into h->secret. */
void secrets_open(struct heritage *h);

/* Master: close them. */
void secrets_close(struct heritage *h);

/* Child: the descriptor of the file that the environment calls `path`, or -1:
 * the master has not opened it.  It stays the heritage's. */
int secrets_find(const struct heritage *h, const char *path);

#endif
