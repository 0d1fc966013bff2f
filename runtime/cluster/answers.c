/* answers.c - see answers.h.
 *
 * Numbers are mostly acknowledged in order, so a range only grows. */
#include "cluster/answers.h"

void answers_fini(struct answers *a)
{
    buf_fini(&a->acks);
    buf_fini(&a->nacks);
}

static void end_range(struct answers *a)
{
    if (a->last.count == 0)
        return;
    buf_commit(&a->acks, frames_write_ack(
                             buf_reserve(&a->acks, FRAMES_ACK_SIZE), &a->last));
    a->last.count = 0;
}

void answers_ack(struct answers *a, uint64_t number)
{
    if (a->last.count > 0 && a->last.count < UINT32_MAX &&
        number == a->last.first + a->last.count) {
        a->last.count++;
        return;
    }
    end_range(a);
    a->last = (struct frames_range){number, 1};
}

void answers_nack(struct answers *a, const struct frames_nack *n)
{
    buf_commit(&a->nacks,
               frames_write_nack(buf_reserve(&a->nacks, FRAMES_NACK_SIZE), n));
}

void answers_flush(struct answers *a,
                   void (*emit)(void *arg, unsigned type, struct slice p),
                   void *arg)
{
    end_range(a);
    if (a->acks.len > 0)
        emit(arg, FRAMES_ACK, buf_slice(&a->acks));
    if (a->nacks.len > 0)
        emit(arg, FRAMES_NACK, buf_slice(&a->nacks));
    buf_truncate(&a->acks, 0);
    buf_truncate(&a->nacks, 0);
}
