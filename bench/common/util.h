/* util.h - what every bench program needs: an end, a clock, numbers. */
#ifndef SD_BENCH_UTIL_H
#define SD_BENCH_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* Print one line to stderr and exit with status 1. */
__attribute__((format(printf, 1, 2))) _Noreturn void util_die(const char *fmt,
                                                              ...);

/* Monotonic nanoseconds. */
uint64_t util_now(void);

/* Zeroed memory, never NULL. */
void *util_alloc(size_t count, size_t size);

/* The value of a flag as a number from `low` to `high`; dies otherwise. */
double util_number(const char *flag, const char *text, double low, double high);

/* Raise the soft limit of open files to the hard one; returns it. */
unsigned long util_raise_files(void);

#endif
