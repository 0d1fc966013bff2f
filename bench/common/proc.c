/* proc.c - see proc.h.
 *
 * CPU time comes from schedstat of every thread: it is exact to the
 * nanosecond, where the fields of stat are clock ticks of 10 ms.  Only the
 * split into user and system is taken from stat. */
#include "common/proc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

static bool read_file(char *out, size_t size, const char *path)
{
    FILE *f = fopen(path, "r");
    size_t n;

    if (f == NULL)
        return false;
    n = fread(out, 1, size - 1, f);
    fclose(f);
    out[n] = '\0';
    return n > 0;
}

/* The fields of stat behind the name, which may itself contain spaces. */
static const char *read_stat(char *out, size_t size, int pid)
{
    char path[64];
    const char *name_end;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (!read_file(out, size, path))
        return NULL;
    name_end = strrchr(out, ')');
    return name_end != NULL ? name_end + 2 : NULL;
}

static int parent_of(int pid)
{
    char text[1024];
    int parent;
    const char *fields = read_stat(text, sizeof(text), pid);

    if (fields == NULL || sscanf(fields, "%*c %d", &parent) != 1)
        return -1;
    return parent;
}

static bool contains(const struct proc_group *g, int pid)
{
    unsigned i;

    for (i = 0; i < g->count; i++)
        if (g->pid[i] == pid)
            return true;
    return false;
}

static void add(struct proc_group *g, int pid)
{
    if (contains(g, pid))
        return;
    if (g->count == PROC_MAX)
        util_die("more than %d server processes", PROC_MAX);
    g->pid[g->count++] = pid;
}

/* One walk over /proc finds children of the known; pids may wrap around, so
 * walk until nothing new is found. */
static void add_descendants(struct proc_group *g)
{
    unsigned before;

    do {
        DIR *dir = opendir("/proc");
        struct dirent *entry;

        before = g->count;
        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            int pid = (int)strtol(entry->d_name, NULL, 10);

            if (pid > 0 && contains(g, parent_of(pid)))
                add(g, pid);
        }
        if (dir != NULL)
            closedir(dir);
    } while (g->count != before);
}

void proc_group_add(struct proc_group *g, const char *list)
{
    const char *p = list;
    char *end;

    for (;;) {
        long pid = strtol(p, &end, 10);

        if (end == p || pid <= 0 || (*end != ',' && *end != '\0'))
            util_die("\"%s\" is not a list of pids", list);
        if (parent_of((int)pid) < 0)
            util_die("no process %ld", pid);
        add(g, (int)pid);
        if (*end == '\0')
            break;
        p = end + 1;
    }
    add_descendants(g);
}

static int add_cpu(uint64_t *total, int pid)
{
    char path[512], text[256];
    struct dirent *entry;
    uint64_t ns;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    dir = opendir(path);
    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid,
                 entry->d_name);
        if (read_file(text, sizeof(text), path) &&
            sscanf(text, "%" SCNu64, &ns) == 1)
            *total += ns;
    }
    closedir(dir);
    return 0;
}

static void add_calls(struct proc_usage *u, int pid)
{
    char path[64], text[512];
    uint64_t reads, writes;
    const char *p;

    snprintf(path, sizeof(path), "/proc/%d/io", pid);
    if (!read_file(text, sizeof(text), path))
        return;
    p = strstr(text, "syscr:");
    if (p != NULL &&
        sscanf(p, "syscr: %" SCNu64 " syscw: %" SCNu64, &reads, &writes) == 2) {
        u->reads += reads;
        u->writes += writes;
    }
}

int proc_usage_read(struct proc_usage *out, const struct proc_group *g)
{
    struct proc_usage u = {0};
    uint64_t tick = 1000000000U / (uint64_t)sysconf(_SC_CLK_TCK);
    unsigned i;

    for (i = 0; i < g->count; i++) {
        char text[1024];
        uint64_t user;
        const char *stat = read_stat(text, sizeof(text), g->pid[i]);

        if (stat == NULL || *stat == 'Z' || add_cpu(&u.cpu_ns, g->pid[i]) < 0)
            return -1;
        if (sscanf(stat, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64,
                   &user) == 1)
            u.user_ns += user * tick;
        add_calls(&u, g->pid[i]);
    }
    *out = u;
    return 0;
}

int64_t proc_pss(const struct proc_group *g)
{
    int64_t total = 0, kilobytes;
    unsigned i;

    for (i = 0; i < g->count; i++) {
        char path[64], text[4096];
        const char *p;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", g->pid[i]);
        if (!read_file(text, sizeof(text), path))
            return -1;
        p = strstr(text, "\nPss:");
        if (p == NULL || sscanf(p, " Pss: %" SCNd64, &kilobytes) != 1)
            return -1;
        total += kilobytes * 1024;
    }
    return total;
}

int64_t proc_rss(const struct proc_group *g)
{
    int64_t total = 0, pages;
    unsigned i;

    for (i = 0; i < g->count; i++) {
        char path[64], text[256];

        snprintf(path, sizeof(path), "/proc/%d/statm", g->pid[i]);
        if (!read_file(text, sizeof(text), path) ||
            sscanf(text, "%*d %" SCNd64, &pages) != 1)
            return -1;
        total += pages * sysconf(_SC_PAGESIZE);
    }
    return total;
}
