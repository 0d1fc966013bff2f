/* questions.c - see questions.h.
 *
 * Checks are the output of an HMAC, so eight bytes of one are as good as a
 * random number: each has one place, where the next one of that place replaces
 * it.  Who has recorded thousands of questions has some answered again; that
 * costs 130 us each, and gives nothing away. */
#include "cluster/questions.h"

#include <string.h>

bool questions_add(struct questions *q, const unsigned char *check)
{
    uint64_t x, *at;

    memcpy(&x, check, sizeof(x));
    at = &q->seen[x % QUESTIONS_KEPT];
    if (*at == x)
        return false;
    *at = x;
    return true;
}
