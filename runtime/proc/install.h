/* install.h - where this program lives and which build it is. */
#ifndef SD_PROC_INSTALL_H
#define SD_PROC_INSTALL_H

/* Folder with the framework's Lua (it holds sd/): share/sdlua/lua beside the
 * executable's bin/, or the source tree's when run from the build tree.
 * NULL: not found. */
const char *install_lua_dir(void);

/* The linker's build id as hex digits.  Two processes with the same id run
 * the same code. */
const char *install_build_id(void);

/* The open file of our own executable, close-on-exec, for exec: children are
 * of the master's build even after a package upgrade.  Opened at the first
 * call; -errno. */
int install_binary(void);

#endif
