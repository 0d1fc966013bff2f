/* gossip_sim.c - a cluster of any size in virtual time, from a seed.
 *
 *   gossip_sim [key=value ...]
 *
 *   members=100 seconds=60 seed=1 profile=lan
 *   start=1000          they start within so many ms
 *   meta=40             bytes each says about itself
 *   loss=10             percent of the packets, loss=10:20-50 from second 20
 *                       to second 50; doubled=1 percent arrive twice
 *   delay=0.2-1         ms
 *   crash=20            one dies at second 20; restart=25 returns as a new boot
 *   leave=20            one says goodbye
 *   cut=20-50:40        40 are apart from the others; oneway=1: nothing comes
 *                       from them, they hear everything
 *   pause=20-25:3       3 are stopped; buffer=200 packets wait for them
 *   jump=20:5000        the clock of one jumps 5 s ahead
 *   links=1             data links vouch for those who are reached, and break
 *                       with them; links=2: fall silent
 *   twins=1             all have the same name
 *
 * Prints one line of results, times in ms:
 *
 *   joined   when each knew all          died, known  after the crash: the
 *   settled  since when each view is     first verdict, and all know
 *            right, -1: not at the end   wrong        views at the end
 *   verdicts members that found a living one dead; views: that believed it
 *   old      former boots that somebody holds for alive
 *   hash     of all that happened: the same for the same arguments
 *
 * A minute of a hundred members is what it runs without arguments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/world.h"

#define SECOND UINT64_C(1000000)

enum what {
    LOSS_ON,
    LOSS_OFF,
    CRASH,
    RESTART,
    LEAVE,
    CUT,
    HEAL,
    PAUSE,
    RESUME,
    JUMP,
    START /* and the host's number above it */
};

/* Of a fault: from - until : how many. */
struct span {
    double from, until;
    double n;
};

static struct {
    unsigned members, seconds, start, meta, buffer;
    uint64_t seed;
    char profile[16];
    double loss, doubled, crash, restart, leave;
    double delay_min, delay_max;
    struct span lossy, cut, pause, jump;
    unsigned links;
    bool one_way, twins;
} args;

static uint64_t joined;

/* --- the script ----------------------------------------------------------- */

static uint32_t victim(const struct world *w)
{
    return w->nhosts / 2;
}

static void pause_some(struct world *w, bool is_paused)
{
    uint32_t i;

    for (i = 0; i < (uint32_t)args.pause.n && i < w->nhosts; i++)
        world_pause(w, w->nhosts - 1 - i, is_paused);
}

static void on_script(struct world *w, uint32_t what)
{
    switch (what) {
    case LOSS_ON:
        w->loss = (uint32_t)(args.loss * 10);
        break;
    case LOSS_OFF:
        w->loss = 0;
        break;
    case CRASH:
        joined = w->wrong == 0 ? w->settled : 0;
        world_crash(w, victim(w));
        break;
    case RESTART:
        world_start(w, victim(w));
        break;
    case LEAVE:
        joined = w->wrong == 0 ? w->settled : 0;
        world_leave(w, victim(w));
        break;
    case CUT:
        joined = w->wrong == 0 ? w->settled : 0;
        w->cut = (uint32_t)args.cut.n;
        w->is_one_way = args.one_way;
        break;
    case HEAL:
        w->cut = 0;
        break;
    case PAUSE:
        joined = w->wrong == 0 ? w->settled : 0;
        pause_some(w, true);
        break;
    case RESUME:
        pause_some(w, false);
        break;
    case JUMP:
        w->hosts[victim(w)].clock_ms += (int64_t)args.jump.until;
        break;
    default:
        world_start(w, what - START);
    }
}

static void plan(struct world *w, double seconds, uint32_t what)
{
    if (seconds > 0)
        world_at(w, (uint64_t)(seconds * 1e6), what);
}

static void plan_all(struct world *w)
{
    uint32_t i;

    world_at(w, 0, START);
    for (i = 1; i < w->nhosts; i++)
        world_at(w, dice_roll(&w->dice, args.start + 1) * UINT64_C(1000),
                 START + i);
    world_at(w, (uint64_t)(args.lossy.from * 1e6), LOSS_ON);
    plan(w, args.lossy.until, LOSS_OFF);
    plan(w, args.crash, CRASH);
    plan(w, args.restart, RESTART);
    plan(w, args.leave, LEAVE);
    plan(w, args.cut.from, CUT);
    plan(w, args.cut.until, HEAL);
    plan(w, args.pause.from, PAUSE);
    plan(w, args.pause.until, RESUME);
    plan(w, args.jump.from, JUMP);
}

/* --- arguments ------------------------------------------------------------ */

/* "20-50:40", of which all but the first may be missing. */
static void read_span(struct span *s, const char *text)
{
    const char *colon = strchr(text, ':'), *dash = strchr(text, '-');

    s->from = atof(text);
    s->until = dash != NULL ? atof(dash + 1) : 0;
    s->n = colon != NULL ? atof(colon + 1) : 0;
}

static void read_loss(const char *text)
{
    const char *colon = strchr(text, ':');

    args.loss = atof(text);
    if (colon != NULL)
        read_span(&args.lossy, colon + 1);
}

static void read_delay(const char *text)
{
    struct span s = {0};

    read_span(&s, text);
    args.delay_min = s.from;
    args.delay_max = s.until > s.from ? s.until : s.from;
}

static void read_jump(const char *text)
{
    read_span(&args.jump, text);
    args.jump.until = args.jump.n;
}

static const struct {
    const char *key;
    unsigned *number;
    double *real;
    bool *flag;
    struct span *span;
    void (*fn)(const char *text);
} keys[] = {
    {"members", &args.members, NULL, NULL, NULL, NULL},
    {"seconds", &args.seconds, NULL, NULL, NULL, NULL},
    {"start", &args.start, NULL, NULL, NULL, NULL},
    {"meta", &args.meta, NULL, NULL, NULL, NULL},
    {"buffer", &args.buffer, NULL, NULL, NULL, NULL},
    {"doubled", NULL, &args.doubled, NULL, NULL, NULL},
    {"crash", NULL, &args.crash, NULL, NULL, NULL},
    {"restart", NULL, &args.restart, NULL, NULL, NULL},
    {"leave", NULL, &args.leave, NULL, NULL, NULL},
    {"oneway", NULL, NULL, &args.one_way, NULL, NULL},
    {"links", &args.links, NULL, NULL, NULL, NULL},
    {"twins", NULL, NULL, &args.twins, NULL, NULL},
    {"cut", NULL, NULL, NULL, &args.cut, NULL},
    {"pause", NULL, NULL, NULL, &args.pause, NULL},
    {"loss", NULL, NULL, NULL, NULL, read_loss},
    {"delay", NULL, NULL, NULL, NULL, read_delay},
    {"jump", NULL, NULL, NULL, NULL, read_jump},
};

static bool read_key(const char *key, size_t len, const char *text)
{
    unsigned i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strlen(keys[i].key) != len || memcmp(keys[i].key, key, len) != 0)
            continue;
        if (keys[i].number != NULL)
            *keys[i].number = (unsigned)atoi(text);
        else if (keys[i].real != NULL)
            *keys[i].real = atof(text);
        else if (keys[i].flag != NULL)
            *keys[i].flag = atoi(text) != 0;
        else if (keys[i].span != NULL)
            read_span(keys[i].span, text);
        else
            keys[i].fn(text);
        return true;
    }
    return false;
}

static void read_args(int argc, char **argv)
{
    int i;

    args.members = 100;
    args.seconds = 60;
    args.start = 1000;
    args.meta = 40;
    args.buffer = 200;
    args.seed = 1;
    args.delay_min = 0.2;
    args.delay_max = 1;
    strcpy(args.profile, "lan");
    for (i = 1; i < argc; i++) {
        const char *text = strchr(argv[i], '=');
        size_t len = text != NULL ? (size_t)(text - argv[i]) : 0;

        if (strncmp(argv[i], "seed=", 5) == 0)
            args.seed = strtoull(text + 1, NULL, 10);
        else if (strncmp(argv[i], "profile=", 8) == 0)
            snprintf(args.profile, sizeof(args.profile), "%s", text + 1);
        else if (len == 0 || !read_key(argv[i], len, text + 1)) {
            fprintf(stderr, "gossip_sim: what is %s?\n", argv[i]);
            exit(2);
        }
    }
}

/* --- results -------------------------------------------------------------- */

static double ms_after(uint64_t time, double seconds)
{
    return time > 0 ? (double)time / 1e3 - seconds * 1e3 : -1;
}

/* Members that `host` holds for alive, of boots that have ended. */
static unsigned old_boots(const struct world *w, uint32_t host)
{
    const struct gossip *g = w->hosts[host].g;
    unsigned i, n = 0;

    for (i = 0; i < gossip_living(g); i++) {
        uint64_t boot = gossip_at(g, i)->boot;

        n += w->hosts[(uint32_t)boot - 1].boot != boot;
    }
    return n;
}

/* The counters of all that are up. */
static struct gossip_counters sum_up(const struct world *w)
{
    struct gossip_counters sum = {0};
    uint32_t i;

    for (i = 0; i < w->nhosts; i++) {
        const struct gossip_counters *c;

        if (w->hosts[i].g == NULL)
            continue;
        c = gossip_counters(w->hosts[i].g);
        sum.bad += c->bad;
        sum.probes += c->probes;
        sum.failed_probes += c->failed_probes;
        sum.refused += c->refused;
        sum.suspicions += c->suspicions;
        sum.refutations += c->refutations;
        sum.late += c->late;
        sum.vetoes += c->vetoes;
    }
    return sum;
}

static void print_number(const char *name, uint64_t n)
{
    printf("%s=%llu ", name, (unsigned long long)n);
}

static void print_tables(const struct world *w)
{
    unsigned members = 0, old = 0;
    uint32_t i;

    for (i = 0; i < w->nhosts; i++) {
        if (w->hosts[i].g == NULL)
            continue;
        members += gossip_count(w->hosts[i].g);
        old += old_boots(w, i);
    }
    print_number("old", old);
    print_number("table", members / args.members);
}

/* Who were told that their name is taken, and among them those that came two
 * seconds before all others: they should not have been. */
static void print_conflicts(const struct world *w)
{
    unsigned told = 0, denied = 0;
    uint32_t i, k;

    for (i = 0; i < w->nhosts; i++) {
        bool is_first = w->hosts[i].is_told;

        told += w->hosts[i].is_told;
        for (k = 0; k < w->nhosts; k++)
            is_first &= k == i || w->hosts[k].began >=
                                      w->hosts[i].began + 2 * UINT64_C(1000000);
        denied += is_first;
    }
    print_number("conflicts", told);
    print_number("denied", denied);
}

static void print(const struct world *w, double cpu)
{
    struct gossip_counters sum = sum_up(w);
    double per = args.members * (double)args.seconds;
    uint64_t settled = w->wrong == 0 ? w->settled : 0;

    printf("members=%u seconds=%u seed=%llu joined=%.0f settled=%.0f ",
           args.members, args.seconds, (unsigned long long)args.seed,
           ms_after(joined, 0), ms_after(settled, 0));
    printf("died=%.0f known=%.0f ", ms_after(w->first_death, args.crash),
           ms_after(settled, args.crash));
    print_number("wrong", w->wrong);
    print_number("verdicts", w->false_verdicts);
    print_number("views", w->false_views);
    print_number("suspicions", sum.suspicions);
    print_number("refutations", sum.refutations);
    print_number("vetoes", sum.vetoes);
    print_number("late", sum.late);
    print_number("probes", sum.probes);
    print_number("failed", sum.failed_probes);
    print_conflicts(w);
    print_number("bad", sum.bad);
    print_number("refused", sum.refused);
    print_number("overflown", w->overflown);
    print_tables(w);
    printf("packets_s=%.1f bytes_s=%.0f hash=%016llx cpu=%.0f\n",
           (double)w->packets / per, (double)w->bytes / per,
           (unsigned long long)w->hash, cpu);
}

int main(int argc, char **argv)
{
    struct world w;

    read_args(argc, argv);
    world_init(&w, args.members, args.seed);
    if (!gossip_profile(&w.conf, args.profile))
        return 2;
    w.meta = args.meta;
    w.buffer = args.buffer < WORLD_BUFFER ? args.buffer : WORLD_BUFFER;
    w.doubled = (uint32_t)(args.doubled * 10);
    w.delay_min = (uint64_t)(args.delay_min * 1e3);
    w.delay_max = (uint64_t)(args.delay_max * 1e3);
    w.has_links = args.links > 0;
    w.is_mute = args.links > 1;
    w.is_shared_name = args.twins;
    plan_all(&w);
    world_run(&w, args.seconds * SECOND, on_script);
    print(&w, (double)clock() * 1e3 / CLOCKS_PER_SEC);
    world_fini(&w);
    return 0;
}
