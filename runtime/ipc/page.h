/* page.h - numbers that one process hands over as a whole, for everybody.
 *
 * A page lies in shared memory.  Its one writer replaces all of its words at
 * once; readers get the words of one moment, also when the writer was killed
 * in the middle. */
#ifndef SD_IPC_PAGE_H
#define SD_IPC_PAGE_H

#include <stddef.h>
#include <stdint.h>

struct page; /* zeroed memory is a page of zeroes; aligned to 64 */

/* Bytes of a page of so many words, a multiple of 64. */
size_t page_size(unsigned words);

/* `words` is that of the page's size, in both. */
void page_write(struct page *p, const uint64_t *v, unsigned words);
void page_read(const struct page *p, uint64_t *out, unsigned words);

/* Counts the writes. */
uint64_t page_serial(const struct page *p);

#endif
