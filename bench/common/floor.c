/* floor.c - see floor.h. */
#include "common/floor.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/answer.h"
#include "common/sock.h"
#include "common/util.h"

static void usage(void)
{
    printf("Answer the bench workloads without any script.\n\n"
           "  --tcp PORT          W2 (0: a free port)\n"
           "  --http PORT         W1, W3, W8 (0: a free port)\n"
           "  --corrupt-every N   spoil every n-th answer\n"
           "  --life SECONDS      end by itself (default 3600)\n");
    exit(0);
}

void floor_start(struct floor_options *out, int argc, char **argv)
{
    static const struct option flags[] = {
        {"tcp", required_argument, NULL, 't'},
        {"http", required_argument, NULL, 'w'},
        {"corrupt-every", required_argument, NULL, 'c'},
        {"life", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {0}};
    int tcp = 0, http = 0, flag;
    unsigned life = 3600;

    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        if (flag == 't')
            tcp = (int)util_number("--tcp", optarg, 0, 65535);
        else if (flag == 'w')
            http = (int)util_number("--http", optarg, 0, 65535);
        else if (flag == 'c')
            answer_corrupt_every(
                (unsigned)util_number("--corrupt-every", optarg, 0, 1e9));
        else if (flag == 'l')
            life = (unsigned)util_number("--life", optarg, 1, 86400);
        else if (flag == 'h')
            usage();
        else
            exit(2);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    alarm(life);
    util_raise_files();
    out->tcp_fd = sock_listen(&tcp);
    out->http_fd = sock_listen(&http);
    printf("{\"pid\":%d,\"tcp\":%d,\"http\":%d}\n", getpid(), tcp, http);
    fflush(stdout);
}
