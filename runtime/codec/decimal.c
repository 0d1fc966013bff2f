/* decimal.c - see decimal.h.
 *
 * Reading: up to 19 digits are gathered into an integer.  When it is at most
 * 2^53 and the power of ten at most 22, both are exact doubles and one
 * multiplication or division rounds correctly: nearly every number that
 * people send.  The rest goes to strtod with the C locale, as a copy bounded
 * to the digits that can matter: a double's decision point has fewer than 770
 * digits, so of what lies beyond only "was any of it not zero" counts.
 *
 * Writing: a number with few decimals is m / 10^k for a small k; the same
 * argument makes the check by one division exact.  What needs more digits is
 * printed with 15, 16 or 17 of them, the first that reads back being taken.
 * Printed text is taken apart into digits, so the locale's point is no
 * matter. */
#include "codec/decimal.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define EXACT_MAX   9007199254740992.0 /* 2^53 */
#define DIGITS_KEPT 800
#define EXP_LIMIT   ((int64_t)1 << 40) /* beyond any text's length */

enum {
    TEN_MAX = 22,  /* the largest power of ten that is an exact double */
    MANT_MAX = 19, /* digits that fit an uint64_t */
    FIXED_MIN = -5 /* 0.00001 is written so, less with an exponent */
};

static const double tens[TEN_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number's text, taken apart. */
struct parts {
    const char *digits; /* from the first digit to behind the last one, */
    const char *stop;   /* with at most one point between */
    int64_t exponent;   /* as written behind the e */
    bool negative;
    bool is_integer; /* neither point nor e */
};

static bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static const char *skip_digits(const char *p, const char *end)
{
    while (is_digit(p, end))
        p++;
    return p;
}

/* The C locale's strtod, made at the first use and kept. */
static double c_strtod(const char *text)
{
    static locale_t c_locale;

    if (c_locale == (locale_t)0) {
        c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        sd_assert(c_locale != (locale_t)0);
    }
    return strtod_l(text, NULL, c_locale);
}

/* Any length of digits: significant ones are copied, up to the bound. */
static double read_slow(const struct parts *n)
{
    char text[DIGITS_KEPT + 32];
    int64_t exponent = n->exponent;
    bool in_fraction = false, lost = false;
    size_t len = 0;
    const char *p;

    for (p = n->digits; p < n->stop; p++) {
        if (*p == '.') {
            in_fraction = true;
            continue;
        }
        if (in_fraction)
            exponent--;
        if (len == 0 && *p == '0')
            continue;
        if (len < DIGITS_KEPT) {
            text[len++] = *p;
        } else {
            lost = lost || *p != '0';
            exponent++;
        }
    }
    if (len == 0)
        return 0;
    if (lost) {
        text[len++] = '1';
        exponent--;
    }
    snprintf(text + len, sizeof(text) - len, "e%lld", (long long)exponent);
    return c_strtod(text);
}

/* The digits as one integer; false when they are too many. */
static bool gather(const struct parts *n, uint64_t *mantissa, int64_t *exponent)
{
    const char *p = n->digits;
    const char *point = NULL;
    uint64_t m = 0;

    if (n->stop - p > MANT_MAX)
        return false;
    for (; p < n->stop; p++) {
        if (*p == '.')
            point = p;
        else
            m = m * 10 + (uint64_t)(*p - '0');
    }
    *mantissa = m;
    *exponent = n->exponent - (point != NULL ? n->stop - point - 1 : 0);
    return true;
}

static double read_parts(struct decimal *d, const struct parts *n)
{
    uint64_t mantissa;
    int64_t exponent;

    if (gather(n, &mantissa, &exponent) && mantissa <= (uint64_t)EXACT_MAX) {
        if (exponent == 0)
            return (double)mantissa;
        if (exponent > 0 && exponent <= TEN_MAX)
            return (double)mantissa * tens[exponent];
        if (exponent < 0 && exponent >= -TEN_MAX)
            return (double)mantissa / tens[-exponent];
    } else if (n->is_integer) {
        d->is_big = true;
        return 0;
    }
    return read_slow(n);
}

/* [+-] digits behind the e; NULL when there are none. */
static const char *scan_exponent(struct parts *n, const char *p,
                                 const char *end)
{
    bool negative = p < end && *p == '-';
    int64_t e = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (!is_digit(p, end))
        return NULL;
    for (; is_digit(p, end); p++) {
        if (e < EXP_LIMIT)
            e = e * 10 + (*p - '0');
    }
    n->exponent = negative ? -e : e;
    n->is_integer = false;
    return p;
}

/* Where the number ends by the grammar, or NULL. */
static const char *scan(struct parts *n, const char *p, const char *end)
{
    n->negative = p < end && *p == '-';
    if (n->negative)
        p++;
    n->digits = p;
    n->exponent = 0;
    n->is_integer = true;
    if (!is_digit(p, end) || (*p == '0' && is_digit(p + 1, end)))
        return NULL;
    p = skip_digits(p, end);
    if (p < end && *p == '.') {
        if (!is_digit(p + 1, end))
            return NULL;
        p = skip_digits(p + 1, end);
        n->is_integer = false;
    }
    n->stop = p;
    if (p < end && (*p == 'e' || *p == 'E'))
        p = scan_exponent(n, p + 1, end);
    return p;
}

const char *decimal_read(struct decimal *d, const char *p, const char *end)
{
    struct parts n;
    const char *after = scan(&n, p, end);

    if (after == NULL) {
        d->why = "malformed number";
        return NULL;
    }
    d->is_big = false;
    d->value = read_parts(d, &n);
    if (isinf(d->value)) {
        d->why = "number out of range";
        return NULL;
    }
    if (n.negative)
        d->value = -d->value;
    return after;
}

size_t decimal_write_uint(char *out, uint64_t n)
{
    char text[24];
    char *p = text + sizeof(text);
    size_t len;

    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    len = (size_t)(text + sizeof(text) - p);
    memcpy(out, p, len);
    return len;
}

size_t decimal_write_int(char *out, int64_t n)
{
    if (n >= 0)
        return decimal_write_uint(out, (uint64_t)n);
    *out = '-';
    return 1 + decimal_write_uint(out + 1, -(uint64_t)n);
}

/* n = m / 10^k with the least k, if both are exact. */
static bool few_decimals(double n, uint64_t *m, int64_t *exponent)
{
    double scaled;
    int k;

    for (k = 1; k <= TEN_MAX; k++) {
        scaled = n * tens[k];
        if (scaled > EXACT_MAX)
            return false;
        scaled = nearbyint(scaled);
        if (scaled / tens[k] == n) {
            *m = (uint64_t)scaled;
            *exponent = -k;
            return true;
        }
    }
    return false;
}

/* n = m * 10^exponent with the fewest digits that read back as `n`. */
static void many_digits(double n, uint64_t *m, int64_t *exponent)
{
    char text[64];
    const char *p;
    int precision = n < 2.3e-308 ? 1 : 15; /* subnormals have fewer digits */

    for (;; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision - 1, n);
        *m = 0;
        *exponent = 1 - precision;
        for (p = text; *p != 'e'; p++) {
            if (*p >= '0' && *p <= '9')
                *m = *m * 10 + (uint64_t)(*p - '0');
        }
        *exponent += strtol(p + 1, NULL, 10);
        snprintf(text, sizeof(text), "%llue%lld", (unsigned long long)*m,
                 (long long)*exponent);
        if (precision >= 17 || c_strtod(text) == n)
            break;
    }
    while (*m % 10 == 0) {
        *m /= 10;
        ++*exponent;
    }
}

/* Put a point into, or zeroes before, the digits of m * 10^exponent. */
static size_t lay_out(char *out, uint64_t m, int64_t exponent)
{
    char digits[24];
    size_t n = decimal_write_uint(digits, m);
    int64_t point = (int64_t)n + exponent; /* digits before the point */
    char *p = out;

    if (exponent >= 0 || point < FIXED_MIN) {
        *p++ = digits[0];
        if (exponent < 0 && n > 1)
            *p++ = '.';
        memcpy(p, digits + 1, n - 1);
        p += n - 1;
        *p++ = 'e';
        p += decimal_write_int(p, exponent >= 0 ? exponent : point - 1);
    } else if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)-point);
        p += -point;
        memcpy(p, digits, n);
        p += n;
    } else {
        memcpy(p, digits, (size_t)point);
        p += point;
        *p++ = '.';
        memcpy(p, digits + point, n - (size_t)point);
        p += n - (size_t)point;
    }
    return (size_t)(p - out);
}

size_t decimal_write(char *out, double n)
{
    uint64_t m;
    int64_t exponent;
    size_t sign = 0;

    sd_assert(isfinite(n));
    if (signbit(n)) {
        *out++ = '-';
        sign = 1;
        n = -n;
    }
    if (n <= EXACT_MAX && n == (double)(uint64_t)n)
        return sign + decimal_write_uint(out, (uint64_t)n);
    if (n > EXACT_MAX || !few_decimals(n, &m, &exponent))
        many_digits(n, &m, &exponent);
    return sign + lay_out(out, m, exponent);
}
