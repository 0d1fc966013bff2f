/* version.c - what this binary is, for bug reports. */
#include <stdio.h>
#include <uv.h>

#include "cmd/cmd.h"
#include "proc/install.h"
#include "vm/about.h"

int cmd_version(const struct cmd *cmd)
{
    static const char text[] = "sdlua %s\nLuaJIT %s\nlibuv %s\nbuild %s\n";
    static const char json[] = "{\"version\":\"%s\",\"luajit\":\"%s\","
                               "\"libuv\":\"%s\",\"build\":\"%s\"}\n";

    if (cmd->json)
        printf(json, SD_VERSION, about_luajit(), uv_version_string(),
               install_build_id());
    else
        printf(text, SD_VERSION, about_luajit(), uv_version_string(),
               install_build_id());
    return CMD_DONE;
}
