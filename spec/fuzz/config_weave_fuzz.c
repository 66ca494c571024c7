/* config_weave_fuzz.c - instrumenting never makes a source unloadable, and never moves a line. */
#include "config/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t line_ends(const char *p, size_t n)
{
    size_t lines = 0;

    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n' || p[i] == '\r';
    return lines;
}

/* Limits of the compiler (registers, constants, nesting), which woven code meets sooner; it then runs without lines. */
static bool is_limit(const char *message)
{
    return strstr(message, "too many") || strstr(message, "too long") || strstr(message, "too complex") || strstr(message, "overflow") ||
           strstr(message, "not enough memory");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static lua_State *L;
    struct mg_str source = mg_str((const char *)data, n), woven;
    struct mg_notes *notes = mg_notes_new();

    if (!L)
        L = luaL_newstate();
    if (!notes || !L)
        abort();
    woven = mg_notes_instrument(notes, source, "fuzz.lua");
    if (woven.p && line_ends(source.p, source.n) != line_ends(woven.p, woven.n))
        abort();
    if (woven.p && luaL_loadbufferx(L, source.p, source.n, "=a", "t") == 0 && luaL_loadbufferx(L, woven.p, woven.n, "=b", "t") != 0 &&
        !is_limit(lua_tostring(L, -1))) {
        fprintf(stderr, "%s\n%.*s\n", lua_tostring(L, -1), (int)woven.n, woven.p);
        abort();
    }
    lua_settop(L, 0);
    mg_notes_free(notes);
    return 0;
}
