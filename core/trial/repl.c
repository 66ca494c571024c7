/* `moongate repl`: a prompt in a simulated exchange. lua/moongate/repl.lua is what it does; here is how lines come in. */
#include "trial/sim.h"
#include "base/sink.h"
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* libedit, where the system has it: editing and history, on a terminal. */
static struct {
    char *(*read)(const char *prompt);
    int (*remember)(const char *line);
    bool looked;
} edit;

static void look_for_edit(void)
{
    void *lib;

    edit.looked = true;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    lib = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        lib = dlopen("libedit.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return;
    *(void **)&edit.read = dlsym(lib, "readline");
    *(void **)&edit.remember = dlsym(lib, "add_history");
    if (!edit.remember)
        edit.read = NULL;
}

/* native.read_line(prompt): the line, or nil at the end of input. */
static int read_line(lua_State *L)
{
    const char *prompt = luaL_checkstring(L, 1);
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    if (!edit.looked)
        look_for_edit();
    fflush(stdout);
    if (edit.read) {
        line = edit.read(prompt);
        if (line && *line)
            edit.remember(line);
        lua_pushstring(L, line); /* nil for NULL */
        free(line);
        return 1;
    }
    if (isatty(STDIN_FILENO)) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    n = getline(&line, &room, stdin);
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        n--;
    if (n < 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, line, (size_t)n);
    free(line);
    return 1;
}

static int is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDIN_FILENO));
    return 1;
}

struct given { const char *config, *request; struct mg_trial *trial; bool ok; };

static void repl_body(struct mg_vm *vm, void *arg)
{
    struct given *g = arg;
    lua_State *L = vm->L;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "moongate.repl");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "start");
    mg_trial_push_natives(L, g->trial);
    lua_pushcfunction(L, read_line);
    lua_setfield(L, -2, "read_line");
    lua_pushcfunction(L, is_terminal);
    lua_setfield(L, -2, "is_terminal");
    lua_createtable(L, 0, 2);
    lua_pushstring(L, g->config);
    lua_setfield(L, -2, "config");
    lua_pushstring(L, g->request);
    lua_setfield(L, -2, "request");
    lua_call(L, 2, 1);
    g->ok = lua_toboolean(L, -1);
}

int mg_trial_repl(const char *config, const char *request, const char *const *folders, size_t folders_n)
{
    struct mg_trial_options options = { .folders = folders, .folders_n = folders_n };
    struct mg_trial_sum sum = { 0 };
    struct mg_error err = { 0 };
    char *path = config ? realpath(config, NULL) : NULL;
    struct given given = { .config = path ? path : config, .request = request };
    struct mg_trial *t = calloc(1, sizeof(*t));

    if (t) {
        given.trial = t;
        t->options = &options;
        t->sum = &sum;
        if (mg_trial_open(t, path ? path : ".", &err) == 0)
            mg_vm_call(t->vm, repl_body, &given, &err);
        if (err.code)
            fprintf(stderr, "moongate repl: %s\n", err.message);
        mg_trial_close(t);
        free(t);
    }
    free(path);
    fflush(stdout);
    return given.ok ? 0 : -1;
}
