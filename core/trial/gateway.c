/* A whole config under test: built as `moongate run` builds it, with nothing opened. Its scripts run in VMs of its own snapshot, the
 * spec's functions in the spec's. */
#include "service/store.h"
#include "trial/sim.h"
#include "server/build.h"
#include "server/instances.h"
#include "service/shared.h"
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdlib.h>

static const char kind[] = "moongate.gateway";

static void close_gateway(struct mg_sim_gateway *g)
{
    if (!g->snapshot)
        return;
    mg_instances_stop(&g->entering);
    if (g->has_begun)
        mg_instances_leave(g->snapshot, 0);
    mg_snapshot_free(g->snapshot);
    g->snapshot = NULL;
}

static int collect(lua_State *L)
{
    close_gateway(lua_touserdata(L, 1));
    return 0;
}

struct mg_sim_gateway *mg_trial_gateway_at(lua_State *L, int index)
{
    struct mg_sim_gateway *g;

    if (lua_isnoneornil(L, index))
        return NULL;
    g = luaL_checkudata(L, index, kind);
    if (!g->snapshot)
        luaL_error(L, "this gateway was closed");
    return g;
}

int mg_trial_gateway_close(lua_State *L)
{
    close_gateway(luaL_checkudata(L, 1, kind));
    return 0;
}

static struct mg_sim_gateway *push_gateway(lua_State *L)
{
    struct mg_sim_gateway *g = lua_newuserdata(L, sizeof(*g));

    memset(g, 0, sizeof(*g));
    if (luaL_newmetatable(L, kind)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return g;
}

/* ---- the environment that the config sees ---- */

/* What a variable was before, so that it can be so again. */
struct variable { char *name, *before; };

static size_t set_variables(lua_State *L, int table, struct variable **out)
{
    struct variable *list = NULL;
    size_t n = 0;

    *out = NULL;
    if (!lua_istable(L, table))
        return 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        struct variable *more;
        const char *name, *value, *before;

        if (lua_type(L, -2) != LUA_TSTRING || !(more = realloc(list, (n + 1) * sizeof(*list))))
            continue;
        list = more;
        name = lua_tostring(L, -2);
        value = lua_isboolean(L, -1) ? NULL : lua_tostring(L, -1); /* false: not set */
        before = getenv(name);
        list[n++] = (struct variable){ strdup(name), before ? strdup(before) : NULL };
        if (value)
            setenv(name, value, 1);
        else
            unsetenv(name);
    }
    *out = list;
    return n;
}

static void reset_variables(struct variable *list, size_t n)
{
    while (n-- > 0) {
        if (list[n].name && list[n].before)
            setenv(list[n].name, list[n].before, 1);
        else if (list[n].name)
            unsetenv(list[n].name);
        free(list[n].name);
        free(list[n].before);
    }
    free(list);
}

/* ---- building ---- */

static char *mistakes_of(struct mg_build *b, const struct mg_error *err)
{
    char *text = b->mistakes;

    b->mistakes = NULL;
    if (!text)
        return strdup(err->message[0] ? err->message : "out of memory");
    for (size_t n = strlen(text); n && text[n - 1] == '\n'; n--)
        text[n - 1] = '\0';
    return text;
}

static void entered(struct mg_entering *e, const struct mg_error *err)
{
    mg_container(e, struct mg_sim_gateway, entering)->has_begun = err->code == 0;
}

/* NULL: it stands; else what is wrong, malloc'ed. */
static char *build(struct mg_sim_gateway *g, const char *path)
{
    struct mg_build b = { .path = path, .number = 1, .workers = 1 };
    struct mg_error err = { 0 };

    if (mg_snapshot_build(&b) != 0)
        return mistakes_of(&b, &err);
    g->snapshot = b.snapshot;
    if (b.snapshot->store_path.n)
        b.snapshot->store = mg_store_open(NULL, &err);
    if (b.snapshot->script && mg_script_open(b.snapshot->script, 0, &err) != 0)
        return mistakes_of(&b, &err);
    mg_instances_enter(&g->entering, b.snapshot, &g->trial->worker, entered);
    while (g->entering.done)
        mg_trial_advance(g->trial, 1);
    if (g->entering.error.code != 0)
        return mistakes_of(&b, &g->entering.error);
    if (mg_shared_configure(b.snapshot->shared, b.snapshot->shared_n) != 0)
        return strdup("out of memory");
    return NULL;
}

int mg_trial_gateway(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    const char *path = luaL_checkstring(L, 1);
    struct variable *variables;
    struct mg_sim_gateway *g;
    size_t n;
    char *wrong;

    lua_settop(L, 2);
    g = push_gateway(L);
    g->trial = t;
    n = set_variables(L, 2, &variables);
    wrong = build(g, path);
    reset_variables(variables, n);
    if (wrong) {
        close_gateway(g);
        lua_pushstring(L, wrong);
        free(wrong);
        return lua_error(L);
    }
    return 1;
}

/* ---- where a request comes in ---- */

int mg_trial_listeners(lua_State *L)
{
    const struct mg_snapshot *s = mg_trial_gateway_at(L, 1)->snapshot;
    int n = 0;

    lua_newtable(L);
    for (size_t i = 0; i < s->listeners_n; i++) {
        const struct mg_listener_conf *l = &s->listeners[i];

        if (l->is_admin)
            continue;
        mg_sim_push_str(L, l->address);
        lua_rawseti(L, -2, ++n);
        mg_sim_push_str(L, l->name);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static const struct mg_listener_conf *listener_of(struct mg_sim *sim, struct mg_str wanted, bool is_https)
{
    const struct mg_snapshot *s = sim->gateway->snapshot;
    const struct mg_listener_conf *first = NULL;

    for (size_t i = 0; i < s->listeners_n; i++) {
        const struct mg_listener_conf *l = &s->listeners[i];

        if (l->is_admin)
            continue;
        if (wanted.p ? mg_str_eq(wanted, l->name) || mg_str_eq(wanted, l->address) : (l->tls != NULL) == is_https)
            return l;
        first = first ? first : l;
    }
    if (wanted.p)
        luaL_error(sim->L, "listener: this config has none called \"%s\"", wanted.p);
    return first;
}

void mg_sim_gateway_port(struct mg_sim *sim)
{
    const struct mg_listener_conf *l;

    l = listener_of(sim, mg_sim_text(sim, "listener"), mg_sim_number(sim, "https", 0) != 0);
    if (!l)
        luaL_error(sim->L, "this config has no listener");
    sim->port = (struct mg_port){ .id = l->id, .name = l->name, .address = l->address, .h1 = l->h1, .timeouts = l->timeouts,
                                  .limits = l->limits, .connections_max = l->connections_max, .redirect_https = l->redirect_https,
                                  .redirect_port = l->redirect_port, .half_close = l->half_close };
}
