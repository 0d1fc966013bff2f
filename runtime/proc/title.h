/* title.h - what `ps` shows for this process. */
#ifndef SD_PROC_TITLE_H
#define SD_PROC_TITLE_H

/* First thing in main(), while there is one thread: copies arguments and
 * environment away from the memory that the title lives in.  The copy of
 * argv, which lasts as long as the process. */
char **title_init(int argc, char **argv);

/* "sdlua: worker 0" for ps; its first 15 bytes without "sdlua: " for the
 * kernel's comm. */
void title_set(const char *title);

#endif
