/* http_date.c - see http_date.h.
 *
 * Plain arithmetic on days instead of gmtime(): no locale, no time zone file,
 * no shared state.  Years are counted from March, so that the odd day of a
 * leap year is the last of its year and months have a regular pattern; 400
 * years make an era of 146097 days. */
#include "codec/http_date.h"

#include "base/err.h"

#define DAY  86400
#define LAST INT64_C(253402300799) /* the last second of 9999 */

static const char day_names[] = "ThuFriSatSunMonTueWed"; /* 1970 began on Thu */
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct civil {
    unsigned year;
    unsigned month; /* 1..12 */
    unsigned day;   /* 1..31 */
};

/* Days are counted from 0000-03-01, 719468 days before 1970. */
static struct civil civil_of(unsigned days)
{
    unsigned z = days + 719468;
    unsigned era = z / 146097;
    unsigned doe = z % 146097;
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned m = (5 * doy + 2) / 153;
    struct civil c;

    c.day = doy - (153 * m + 2) / 5 + 1;
    c.month = m < 10 ? m + 3 : m - 9;
    c.year = yoe + era * 400 + (c.month <= 2);
    return c;
}

static unsigned days_of(struct civil c)
{
    unsigned y = c.month <= 2 ? c.year - 1 : c.year;
    unsigned m = c.month > 2 ? c.month - 3 : c.month + 9;
    unsigned yoe = y % 400;
    unsigned doy = (153 * m + 2) / 5 + c.day - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return y / 400 * 146097 + doe - 719468;
}

static void two(char *out, unsigned n)
{
    out[0] = (char)('0' + n / 10);
    out[1] = (char)('0' + n % 10);
}

/* Split into days and the seconds of the day, which are returned. */
static unsigned split(unsigned *days, int64_t seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds > LAST)
        seconds = LAST;
    *days = (unsigned)(seconds / DAY);
    return (unsigned)(seconds % DAY);
}

void http_date_write(char *out, int64_t seconds)
{
    unsigned days, second = split(&days, seconds);
    struct civil c = civil_of(days);

    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_LEN);
    memcpy(out, day_names + (size_t)(days % 7) * 3, 3);
    two(out + 5, c.day);
    memcpy(out + 8, month_names + (size_t)(c.month - 1) * 3, 3);
    two(out + 12, c.year / 100);
    two(out + 14, c.year % 100);
    two(out + 17, second / 3600);
    two(out + 20, second / 60 % 60);
    two(out + 23, second % 60);
}

/* Number of the two digits at p; 100 when they are none. */
static unsigned number(const char *p)
{
    unsigned tens = (unsigned)p[0] - '0', ones = (unsigned)p[1] - '0';

    return tens <= 9 && ones <= 9 ? tens * 10 + ones : 100;
}

/* Writing the result again must give the same text: that checks the weekday,
 * the days of the month and every separator at once. */
int http_date_parse(int64_t *out, struct slice text)
{
    char again[HTTP_DATE_LEN];
    struct civil c = {0};
    unsigned h, m, s, century, year;
    int64_t t;

    if (text.len != HTTP_DATE_LEN)
        return SD_EINVALID;
    for (c.month = 1; c.month <= 12; c.month++) {
        if (memcmp(month_names + (size_t)(c.month - 1) * 3, text.p + 8, 3) == 0)
            break;
    }
    c.day = number(text.p + 5);
    century = number(text.p + 12);
    year = number(text.p + 14);
    h = number(text.p + 17);
    m = number(text.p + 20);
    s = number(text.p + 23);
    c.year = century * 100 + year;
    if (c.month > 12 || c.day > 31 || century > 99 || year > 99 ||
        c.year < 1970 || h > 23 || m > 59 || s > 59)
        return SD_EINVALID;
    t = (int64_t)days_of(c) * DAY + (int64_t)h * 3600 + (int64_t)m * 60 + s;
    http_date_write(again, t);
    if (memcmp(again, text.p, HTTP_DATE_LEN) != 0)
        return SD_EINVALID;
    *out = t;
    return 0;
}
