/* assert.h - assertions that stay on in release builds. */
#ifndef SD_BASE_ASSERT_H
#define SD_BASE_ASSERT_H

/* Print where and why to stderr with a backtrace, then abort(). */
_Noreturn void sd_panic(const char *file, int line, const char *func,
                        const char *expr);

/* Our own bug, never bad input: files, peers and scripts get errors. */
#define sd_assert(e) \
    ((e) ? (void)0 : sd_panic(__FILE__, __LINE__, __func__, #e))

/* Every long-lived struct starts with `unsigned magic`; every callback that
 * receives a void pointer checks it before use; freeing zeroes it. */
#define sd_check(p, m) sd_assert((p) != NULL && (p)->magic == (m))

#endif
