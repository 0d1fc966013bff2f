/* refusal.h - why a connection became no link, as a number from 0 on: for who
 * counts.  Pure. */
#ifndef SD_CLUSTER_REFUSAL_H
#define SD_CLUSTER_REFUSAL_H

enum refusal {
    REFUSAL_STRANGER, /* not this protocol at all */
    REFUSAL_VERSION,
    REFUSAL_CLUSTER, /* another one */
    REFUSAL_KEY,     /* unknown */
    REFUSAL_PROOF,   /* wrong */
    REFUSAL_MALFORMED,
    REFUSAL_REPEATED,  /* as another one began */
    REFUSAL_LATE,      /* no proof in time */
    REFUSAL_CROWDED,   /* too many prove nothing */
    REFUSAL_UNWELCOME, /* it proved to be nobody we want */
    REFUSAL_CLOSED,    /* it went by itself, and all else */
    REFUSAL_COUNT
};

/* Of the text that a link ended with (cluster/link.h). */
enum refusal refusal_of(const char *why);

/* For metrics. */
const char *refusal_word(int refusal);

#endif
