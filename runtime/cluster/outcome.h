/* outcome.h - why a message to another node was not delivered, as a number from
 * 0 on: for who counts.  Pure. */
#ifndef SD_CLUSTER_OUTCOME_H
#define SD_CLUSTER_OUTCOME_H

/* Of one word of base/err.h each; the last two: nobody knows. */
enum outcome {
    OUTCOME_OFFLINE,
    OUTCOME_GONE,
    OUTCOME_BUSY,
    OUTCOME_SLOW,
    OUTCOME_REFUSED,
    OUTCOME_TOO_LARGE,
    OUTCOME_OTHER, /* "failed": any other code */
    OUTCOME_TIMEOUT,
    OUTCOME_CLOSED,
    OUTCOME_COUNT
};

/* Of an error code. */
enum outcome outcome_of(int err);

const char *outcome_word(int outcome);

#endif
