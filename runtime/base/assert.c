/* assert.c - the one place the process dies on purpose. */
#include "base/assert.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void sd_panic(const char *file, int line, const char *func, const char *expr)
{
    void *frames[32];
    int n;

    fprintf(stderr, "panic: %s:%d %s(): %s\n", file, line, func, expr);
    n = backtrace(frames, 32);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
    abort();
}
