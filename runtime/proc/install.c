/* install.c - paths are found from the executable, never compiled in, so that
 * an installed tree or a checkout may be moved.
 *
 * A binary in a build folder (build/release) uses the checkout's lua/, so
 * that an edit shows without an install; one in bin/ uses share/. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/install.h"

/* The folder of the executable, without a slash at the end. */
static bool exe_dir(char *dir)
{
    ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    char *slash;

    if (n <= 0)
        return false;
    dir[n] = '\0';
    slash = strrchr(dir, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

static bool has_framework(const char *dir)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof(path), "%s/sd", dir);
    return access(path, R_OK | X_OK) == 0;
}

const char *install_lua_dir(void)
{
    static const char *const places[] = {"share/sdlua/lua", "../lua"};
    static char found[PATH_MAX];
    char dir[PATH_MAX], path[PATH_MAX + 32];

    if (found[0] != '\0')
        return found;
    if (!exe_dir(dir))
        return NULL;
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/../%s", dir, places[i]);
        if (has_framework(path) && realpath(path, found) != NULL)
            return found;
    }
    return NULL;
}

static int find_note(struct dl_phdr_info *info, size_t size, void *arg)
{
    char *hex = arg;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        const char *p = (const char *)(info->dlpi_addr + ph->p_vaddr);
        const char *end = p + ph->p_memsz;

        while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)p;
            const char *name = p + sizeof(*note);
            const char *data = name + ((note->n_namesz + 3U) & ~3U);

            if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz <= 20) {
                for (unsigned k = 0; k < note->n_descsz; k++)
                    snprintf(hex + (size_t)2 * k, 3, "%02x",
                             (unsigned char)data[k]);
                return 1;
            }
            p = data + ((note->n_descsz + 3U) & ~3U);
        }
    }
    return 1; /* the first object is the program; the rest are libraries */
}

const char *install_build_id(void)
{
    static char hex[41];

    if (hex[0] == '\0') {
        snprintf(hex, sizeof(hex), "none");
        dl_iterate_phdr(find_note, hex);
    }
    return hex;
}

int install_binary(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}
