/* json_run.c - see json_run.h.
 *
 * Half of the time that JSON takes is spent here, so bytes are looked at in
 * steps of sixteen where the processor has instructions for that, else of
 * eight.  What is left at the end is less than a step: when the run was longer
 * than one its last step overlaps the one before, else the bytes are copied
 * into a step's worth of spaces. */
#include "codec/json_run.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

enum {
    STEP = 16, /* bytes */
    MARK = 1   /* bits of a mark for each */
};

/* Marks of those of STEP bytes that are not plain, and into *high of those
 * above 127. */
static inline uint64_t stops(const char *p, uint64_t *high)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i hit = _mm_or_si128(_mm_or_si128(quote, slash), low);

    *high |= (unsigned)_mm_movemask_epi8(x);
    return (unsigned)_mm_movemask_epi8(hit);
}

#else
#include <endian.h>

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

enum {
    STEP = 8,
    MARK = 8
};

/* The same.  A borrow may mark bytes behind the first, never in front. */
static inline uint64_t stops(const char *p, uint64_t *high)
{
    uint64_t x;

    memcpy(&x, p, STEP);
    x = le64toh(x);
    *high |= x & HIGHS;
    return ((x - ONES * 0x20) | ((x ^ (ONES * '"')) - ONES) |
            ((x ^ (ONES * '\\')) - ONES)) &
           ~x & HIGHS;
}
#endif

static inline size_t first(uint64_t marks)
{
    return marks != 0 ? (size_t)__builtin_ctzll(marks) / MARK : STEP;
}

/* Apart, so that json_run() needs no stack. */
static __attribute__((noinline)) const char *
short_run(const char *p, const char *end, bool *high)
{
    size_t len = (size_t)(end - p), n;
    uint64_t seen = 0;
    char step[STEP];

    memset(step, ' ', STEP);
    memcpy(step, p, len);
    n = first(stops(step, &seen));
    *high |= seen != 0;
    return p + (n < len ? n : len);
}

const char *json_run(const char *p, const char *end, bool *high)
{
    const char *last;
    uint64_t seen = 0, hit;

    if (end - p < STEP)
        return p < end ? short_run(p, end, high) : p;
    last = end - STEP;
    while ((hit = stops(p, &seen)) == 0 && p < last)
        p = last - p > STEP ? p + STEP : last;
    *high |= seen != 0;
    return p + first(hit);
}
