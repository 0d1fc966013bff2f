/* ask.c - see ask.h. */
#include "common/ask.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/packet.h"
#include "common/sock.h"
#include "common/util.h"

int ask(char *reply, size_t size, int fd, const char *method,
        const char *params)
{
    struct bytes call = {0};
    char in[PACKET_HEAD + PACKET_TEXT_MAX];
    size_t len = 0;
    ssize_t n;
    long whole = 0;

    packet_call(&call, method, params);
    n = send(fd, call.p, call.len, MSG_NOSIGNAL);
    whole = n == (ssize_t)call.len ? 0 : -1;
    bytes_fini(&call);
    while (whole == 0 && len < sizeof(in)) {
        n = recv(fd, in + len, sizeof(in) - len, 0);
        if (n <= 0)
            return -1;
        len += (size_t)n;
        whole = packet_size(in, len);
    }
    if (whole <= 0 || (size_t)whole != len || len - PACKET_HEAD >= size)
        return -1;
    memcpy(reply, in + PACKET_HEAD, len - PACKET_HEAD);
    reply[len - PACKET_HEAD] = '\0';
    return 0;
}

int ask_connect(const char *address, int port, int spread, const char *method,
                const char *params, const char *want)
{
    int fd = sock_connect(address, port, spread);
    char reply[256] = "nothing";

    if (ask(reply, sizeof(reply), fd, method, params) < 0 ||
        strcmp(reply, want) != 0)
        util_die("bench/%s: wrong reply %s", method, reply);
    return fd;
}

void ask_settle(const char *address, int port)
{
    int i;

    for (i = 0; i < 2; i++)
        close(ask_connect(address, port, -1, "echo", "\"\"", "\"\""));
}
