/* install.c - where this gateway's own plugins and Lua files are: beside the executable, in the build tree or
 * under a prefix, wherever either was moved to. */
#include "plugin/registry.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MG_LIBDIR
#define MG_LIBDIR "lib"
#endif
#ifndef MG_PREFIX
#define MG_PREFIX "/usr/local"
#endif

enum { ROOM = 4096 };
static char plugins_folder[ROOM], lua_folder[ROOM];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The first candidate that exists; else the last one, so that messages name a place. */
static void choose(char *out, const char *top, const char *const *candidates)
{
    for (int i = 0; candidates[i]; i++) {
        snprintf(out, ROOM, "%s%s", candidates[i][0] == '/' && candidates[i][1] != '.' ? "" : top, candidates[i]);
        if (is_folder(out))
            return;
    }
}

static void find_both(void)
{
    static const char *const plugins[] = { "/../plugins", "/../" MG_LIBDIR "/moongate/plugins", "/../lib/moongate/plugins",
                                           MG_PREFIX "/" MG_LIBDIR "/moongate/plugins", NULL };
    static const char *const lua[] = { "/../lua", "/../share/moongate/lua", MG_PREFIX "/share/moongate/lua", NULL };
    char top[ROOM / 2];
    ssize_t n = readlink("/proc/self/exe", top, sizeof top - 1);
    char *slash;

    if (n <= 0)
        n = snprintf(top, sizeof top, "%s/bin/moongate", MG_PREFIX);
    top[n] = 0;
    slash = strrchr(top, '/');
    if (slash)
        *slash = 0;
    choose(plugins_folder, top, plugins);
    choose(lua_folder, top, lua);
}

const char *mg_install_folder(const char *which)
{
    pthread_once(&once, find_both);
    return which[0] == 'l' ? lua_folder : plugins_folder;
}
