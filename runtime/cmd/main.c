/* main.c - from what was typed to the function that does it.
 *
 * All the command line knows is in one table: a verb's name, the options it
 * takes, how many words may follow, and its line of help.  Options may stand
 * before or behind the verb.  A first argument `--child` is not for people:
 * that is how the master starts its children (proc/child.h). */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "proc/child.h"
#include "proc/instance.h"
#include "proc/title.h"

enum option_bit {
    OPT_JSON = 1,
    OPT_NOW = 2,
    OPT_DAEMON = 4,
    OPT_DISPATCH = 8,
    OPT_DIR = 16,
    OPT_HELP = 32,
    OPT_RATE = 64,
    OPT_COUNT = 128,
    OPT_INTERVAL = 256,
    OPT_CLUSTER = 512,
    OPT_VERSION = 1024,
};

struct verb {
    const char *name;
    int (*run)(const struct cmd *cmd);
    unsigned options; /* beside -C and --help, which all take */
    bool of_dispatch; /* may stand behind the word "dispatch" */
    int max_words;
    const char *usage;
    const char *help;
};

static const struct verb verbs[] = {
    {"start", cmd_start, OPT_DAEMON | OPT_DISPATCH | OPT_JSON, true, 0,
     "[-d] [--dispatch]",
     "start the node in this folder; -d: as a daemon; --dispatch: with a "
     "dispatch inside"},
    {"stop", cmd_stop, OPT_NOW | OPT_JSON, true, 0, "[--now]",
     "finish requests, then stop; --now: at once"},
    {"reload", cmd_reload, OPT_CLUSTER | OPT_JSON, true, 0,
     "[--cluster] [--json]",
     "serve changed scripts and configuration; --cluster: node by node"},
    {"drain", cmd_drain, OPT_RATE | OPT_JSON, false, 0, "[--rate N]",
     "close conns at a pace (N a second), then stop"},
    {"restart", cmd_restart, OPT_DAEMON | OPT_NOW | OPT_JSON, true, 0, "[-d]",
     "stop, then start"},
    {"status", cmd_status, OPT_CLUSTER | OPT_JSON, true, 0,
     "[--cluster] [--json]",
     "processes with pid, uptime, conns, memory; --cluster: all members"},
    {"attach", cmd_attach, 0, false, 1, "[WORKER]",
     "a console in a live worker: Lua, conns, coroutines, timers"},
    {"top", cmd_top, OPT_COUNT | OPT_INTERVAL | OPT_JSON, false, 0,
     "[-n N] [-i SECONDS]", "busiest routes, conns and workers, live"},
    {"check", cmd_check, OPT_JSON, false, 0, "[--json]",
     "every error in configuration and scripts, with file and line"},
    {"config", cmd_config, OPT_JSON, false, 1, "[KEY] [--json]",
     "effective values and where they came from"},
    {"routes", cmd_routes, OPT_JSON, false, 0, "[--json]",
     "every controller method that can be called, by port"},
    {"key", cmd_key, 0, false, 0, "",
     "a new random key for a cluster (cluster.key)"},
    {"version", cmd_version, OPT_JSON, false, 0, "[--json]",
     "version of sdlua, LuaJIT, libuv; build id"},
};

enum {
    VERBS = sizeof(verbs) / sizeof(verbs[0])
};

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"now", no_argument, NULL, OPT_NOW},
    {"daemon", no_argument, NULL, OPT_DAEMON},
    {"dispatch", no_argument, NULL, OPT_DISPATCH},
    {"cluster", no_argument, NULL, OPT_CLUSTER},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {"rate", required_argument, NULL, OPT_RATE},
    {NULL, 0, NULL, 0},
};

void cmd_complain(const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "sdlua: %s\n", text);
}

static void usage(FILE *f)
{
    fputs("usage: sdlua [-C DIR] VERB [options]\n\n", f);
    for (unsigned i = 0; i < VERBS; i++) {
        char left[64];

        snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].usage);
        fprintf(f, "  %-24s %s\n", left, verbs[i].help);
    }
    fputs("\n  dispatch VERB            start, stop, restart, reload, status: "
          "of a "
          "relay\n                           between nodes\n",
          f);
    fputs("\n  -C DIR     the application folder (default: this one)\n"
          "  --json     print data as JSON\n"
          "  --help     this text; VERB --help: of one verb\n"
          "  --version  the same as the verb\n\n"
          "Exit status: 0 done, 1 failed, 2 usage, 3 not running.\n",
          f);
}

static const struct verb *find_verb(const char *name)
{
    for (unsigned i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int option_bit(int c)
{
    if (c == 'C')
        return OPT_DIR;
    if (c == 'd')
        return OPT_DAEMON;
    if (c == 'n')
        return OPT_COUNT;
    if (c == 'i')
        return OPT_INTERVAL;
    return c == 'h' ? OPT_HELP : c;
}

/* Values of options. */
struct words {
    const char *dir, *rate, *count, *interval;
};

/* The options, as bits; -1 after a complaint.  getopt moves the words behind
 * them, to argv[optind]. */
static int read_options(int argc, char **argv, struct words *words)
{
    int bits = 0, c;

    while ((c = getopt_long(argc, argv, "C:dhn:i:", long_options, NULL)) !=
           -1) {
        if (c == '?')
            return -1;
        bits |= option_bit(c);
        if (c == 'C')
            words->dir = optarg;
        else if (c == OPT_RATE)
            words->rate = optarg;
        else if (c == 'n')
            words->count = optarg;
        else if (c == 'i')
            words->interval = optarg;
    }
    return bits;
}

static int run_verb(const struct verb *verb, int bits,
                    const struct words *words, int argc, char **argv)
{
    struct cmd cmd = {
        .json = bits & OPT_JSON,
        .now = bits & OPT_NOW,
        .daemon = bits & OPT_DAEMON,
        .dispatch = bits & OPT_DISPATCH,
        .cluster = bits & OPT_CLUSTER,
        .rate = words->rate,
        .count = words->count,
        .interval = words->interval,
        .argc = argc,
        .argv = argv,
    };

    if (bits & OPT_HELP) {
        printf("usage: sdlua [-C DIR] %s %s\n\n%s\n", verb->name, verb->usage,
               verb->help);
        return CMD_DONE;
    }
    if ((bits & ~(int)(verb->options | OPT_DIR)) || argc > verb->max_words) {
        cmd_complain("usage: sdlua [-C DIR] %s %s", verb->name, verb->usage);
        return CMD_USAGE;
    }
    return verb->run(&cmd);
}

/* The verb at argv[*at], and whose it is; NULL after a complaint. */
static const struct verb *read_verb(int argc, char **argv, int *at)
{
    bool of_dispatch = strcmp(argv[*at], "dispatch") == 0;
    const struct verb *verb;

    if (of_dispatch && ++*at == argc) {
        cmd_complain("dispatch start, stop, restart, reload or status?");
        return NULL;
    }
    verb = find_verb(argv[*at]);
    if (verb == NULL || (of_dispatch && !verb->of_dispatch)) {
        cmd_complain("no such verb: %s%s (see sdlua --help)",
                     of_dispatch ? "dispatch " : "", argv[*at]);
        return NULL;
    }
    if (of_dispatch)
        instance_set(INSTANCE_DISPATCH);
    return verb;
}

/* `sdlua --help`, `sdlua help`, `sdlua dispatch --help`. */
static bool is_about_all(int argc, char **argv, int bits)
{
    return (bits & OPT_HELP) &&
           (optind == argc ||
            (optind + 1 == argc && strcmp(argv[optind], "dispatch") == 0));
}

int main(int argc, char **argv)
{
    const struct verb *verb;
    struct words words = {0};
    int bits;

    argv = title_init(argc, argv);
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child_main(argv[2]);

    bits = read_options(argc, argv, &words);
    if (bits >= 0 && optind < argc && strcmp(argv[optind], "help") == 0) {
        bits |= OPT_HELP; /* help VERB: VERB --help */
        optind++;
    }
    if (bits >= 0 && is_about_all(argc, argv, bits)) {
        usage(stdout);
        return CMD_DONE;
    }
    if (bits >= 0 && optind == argc && (bits & OPT_VERSION))
        return cmd_version(&(struct cmd){.json = bits & OPT_JSON});
    if (bits < 0 || optind == argc) {
        usage(stderr);
        return CMD_USAGE;
    }
    verb = read_verb(argc, argv, &optind);
    if (verb == NULL)
        return CMD_USAGE;
    if (words.dir != NULL && chdir(words.dir) < 0) {
        cmd_complain("%s: %s", words.dir, strerror(errno));
        return CMD_FAILED;
    }
    return run_verb(verb, bits, &words, argc - optind - 1, argv + optind + 1);
}
