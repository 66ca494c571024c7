/* Finding spec files and running them. */
#include "trial/trial.h"
#include "trial/limit.h"
#include "service/store.h"
#include "base/clock.h"
#include "base/sink.h"
#include "pdk/quota.h"
#include "pdk/random.h"
#include "service/shared.h"
#include "trial/sim.h"
#include <dirent.h>
#include <ftw.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMORY_MAX = 512 << 20, FILES_MAX = 4096, ARENA_BUDGET = 64 << 20 };
/* Counters outlive a file, as they outlive a reload, so the clock that they use never goes back: an hour lies between two files. */
static int64_t next_monotonic_us = 1000000000000;
static const int64_t hour_us = 3600000000;
static const int64_t first_wall_us = 1767225600000000; /* 2026-01-01T00:00:00Z: every run sees the same */

/* ---- what moongate.test calls ---- */

static struct mg_trial *trial_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int simulate_body(lua_State *L)
{
    struct mg_sim *sim = lua_touserdata(L, 2);

    lua_settop(L, 1);
    luaL_checkstack(L, 40, NULL);
    sim->spec = 1;
    mg_sim_run(sim);
    return 1;
}

/* native.simulate(spec, gateway or nil): the result. */
static int simulate(lua_State *L)
{
    struct mg_trial *t = trial_of(L);
    struct mg_sim_gateway *gateway = mg_trial_gateway_at(L, 2);
    struct mg_sim *sim;
    int rc;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (L != t->vm->L)
        return luaL_error(L, "an exchange may not be run in a coroutine");
    sim = calloc(1, sizeof(*sim));
    if (!sim)
        return luaL_error(L, "out of memory");
    sim->trial = t;
    sim->gateway = gateway;
    sim->outer = t->running;
    sim->L = L;
    t->running = sim;
    mg_arena_init(&sim->snapshot.arena, NULL, ARENA_BUDGET);
    lua_pushcfunction(L, simulate_body);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, sim);
    rc = lua_pcall(L, 2, 1, 0);
    mg_sim_end(sim);
    t->running = sim->outer;
    free(sim);
    return rc == 0 ? 1 : lua_error(L);
}

static int advance(lua_State *L)
{
    mg_trial_advance(trial_of(L), (int64_t)luaL_checknumber(L, 1));
    return 0;
}

/* native.on_question(fn(service, question) -> status, answer, delay_ms) */
static int on_question(lua_State *L)
{
    struct mg_trial *t = trial_of(L);

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_unref(L, LUA_REGISTRYINDEX, t->answer);
    lua_pushvalue(L, 1);
    t->answer = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int set_wall_ms(lua_State *L)
{
    mg_trial_set_wall(trial_of(L), (int64_t)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

static int wall_ms(lua_State *L)
{
    lua_pushnumber(L, (double)trial_of(L)->wall_us / 1000);
    return 1;
}

static int now_ms(lua_State *L)
{
    lua_pushnumber(L, (double)trial_of(L)->monotonic_us / 1000);
    return 1;
}

/* native.forget(): what all workers share is empty again, as in a process that begins. */
static int forget(lua_State *L)
{
    (void)L;
    mg_quota_reset();
    mg_shared_reset();
    return 0;
}

/* native.seed(number or nil) */
static int seed(lua_State *L)
{
    mg_random_seed(lua_isnoneornil(L, 1) ? 0 : (uint64_t)luaL_checknumber(L, 1) + 1);
    return 0;
}

/* native.plugins(folder): plugins are looked for there, too, before the bundled ones. */
static int add_plugins(lua_State *L)
{
    struct mg_trial *t = trial_of(L);
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);

    if (mg_registry_add(t->registry, mg_str(p, n)) != 0)
        return luaL_error(L, "out of memory");
    return 0;
}

/* A line of the gateway's log. It is kept in C: this may be called below compiled Lua code, where nothing may enter Lua. */
static void on_line(int level, struct mg_str text, void *arg)
{
    struct mg_trial *t = arg;

    (void)level;
    if (t->lines_n == TRIAL_LINES_MAX)
        return;
    t->lines[t->lines_n] = strndup(text.p, text.n);
    t->lines_n += t->lines[t->lines_n] != NULL;
}

/* native.lines(): those since the last call. */
static int lines(lua_State *L)
{
    struct mg_trial *t = trial_of(L);

    lua_createtable(L, t->lines_n, 0);
    for (int i = 0; i < t->lines_n; i++) {
        lua_pushstring(L, t->lines[i]);
        lua_rawseti(L, -2, i + 1);
        free(t->lines[i]);
    }
    t->lines_n = 0;
    return 1;
}

/* A line for an access log: nothing is written while specs run. */
static void on_sink_line(const char *where, struct mg_str line, void *arg)
{
    struct mg_trial *t = arg;
    struct mg_written *w;

    if (t->written_n == TRIAL_LINES_MAX)
        return;
    w = &t->written[t->written_n];
    w->where = strdup(where);
    w->line = mg_str(malloc(line.n + 1), line.n);
    if (line.n && w->line.p)
        memcpy((char *)w->line.p, line.p, line.n);
    t->written_n++;
}

/* native.written(): the lines for sinks since the last call, as { sink =, line = }. */
static int written(lua_State *L)
{
    struct mg_trial *t = trial_of(L);

    lua_createtable(L, t->written_n, 0);
    for (int i = 0; i < t->written_n; i++) {
        struct mg_written *w = &t->written[i];

        lua_createtable(L, 0, 2);
        lua_pushstring(L, w->where ? w->where : "");
        lua_setfield(L, -2, "sink");
        mg_sim_push_str(L, w->line);
        lua_setfield(L, -2, "line");
        lua_rawseti(L, -2, i + 1);
        free(w->where);
        free((char *)w->line.p);
    }
    t->written_n = 0;
    return 1;
}

static int say(lua_State *L)
{
    puts(luaL_checkstring(L, 1));
    return 0;
}

/* native.report(passed, failed, skipped) */
static int report(lua_State *L)
{
    struct mg_trial *t = trial_of(L);

    t->sum->passed += (int)luaL_checkinteger(L, 1);
    t->sum->failed += (int)luaL_checkinteger(L, 2);
    t->sum->skipped += (int)luaL_checkinteger(L, 3);
    return 0;
}

/* native.source_line(path, number): the line, or nil. */
static int source_line(lua_State *L)
{
    FILE *f = fopen(luaL_checkstring(L, 1), "r");
    lua_Integer wanted = luaL_checkinteger(L, 2);
    char *line = NULL;
    size_t room = 0;
    ssize_t n = -1;

    for (lua_Integer i = 0; f && i < wanted && (n = getline(&line, &room, f)) >= 0; i++)
        ;
    if (f)
        fclose(f);
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        n--;
    if (n >= 0)
        lua_pushlstring(L, line, (size_t)n);
    else
        lua_pushnil(L);
    free(line);
    return 1;
}

/* native.files(folder): the names in it, sorted. */
static int files(lua_State *L)
{
    struct dirent **list = NULL;
    int n = scandir(luaL_checkstring(L, 1), &list, NULL, alphasort);

    lua_newtable(L);
    for (int i = 0; i < n; i++) {
        lua_pushstring(L, list[i]->d_name);
        lua_rawseti(L, -2, i + 1);
        free(list[i]);
    }
    free(list);
    return 1;
}

/* native.colour("red"): the terminal's escape, or "". */
static int colour(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *no = getenv("NO_COLOR");
    bool wanted = isatty(STDOUT_FILENO) && !(no && *no);

    lua_pushstring(L, !wanted ? "" : strcmp(name, "red") == 0 ? "\033[31m" : strcmp(name, "green") == 0 ? "\033[32m" : strcmp(name, "yellow") == 0 ? "\033[33m" : "\033[0m");
    return 1;
}

/* native.real_ms(): of a clock that nobody moves. */
static int real_ms(lua_State *L)
{
    lua_pushnumber(L, (double)uv_hrtime() / 1e6);
    return 1;
}

static int limit(lua_State *L)
{
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);

    mg_limit_begin(mg_str(name, n));
    return 0;
}

static const luaL_Reg natives[] = {
    { "simulate", simulate }, { "advance", advance }, { "lines", lines }, { "report", report }, { "say", say },
    { "on_question", on_question }, { "set_wall_ms", set_wall_ms }, { "now_ms", now_ms }, { "wall_ms", wall_ms }, { "seed", seed },
    { "source_line", source_line }, { "files", files }, { "forget", forget }, { "colour", colour }, { "real_ms", real_ms }, { "written", written },
    { "gateway", mg_trial_gateway }, { "gateway_close", mg_trial_gateway_close }, { "listeners", mg_trial_listeners }, { "plugins", add_plugins },
    { "limit", limit }, { "tape", mg_trial_tape }, { "spool", mg_trial_spool }, { "recording", mg_trial_recording },
    { "recording_bytes", mg_trial_recording_bytes }, { "spooled", mg_trial_spooled }, { NULL, NULL }
};

/* ---- one file ---- */

void mg_trial_push_natives(lua_State *L, struct mg_trial *t)
{
    lua_newtable(L);
    for (const luaL_Reg *r = natives; r->name; r++) {
        lua_pushlightuserdata(L, t);
        lua_pushcclosure(L, r->func, 1);
        lua_setfield(L, -2, r->name);
    }
}

static void file_body(struct mg_vm *vm, void *arg)
{
    const struct mg_source_file *f = arg;
    lua_State *L = vm->L;
    struct mg_trial *t = mg_container(vm->script->config, struct mg_trial, config);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "moongate.test");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "begin");
    mg_trial_push_natives(L, t);
    lua_pushlstring(L, f->path.p, f->path.n);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, t->options->filter);
    lua_setfield(L, -2, "filter");
    lua_pushboolean(L, t->options->verbose);
    lua_setfield(L, -2, "verbose");
    lua_call(L, 3, 0);
    if (luaL_loadbufferx(L, f->bytes.p, f->bytes.n, lua_pushfstring(L, "@%s", f->path.p), "t") != 0)
        lua_error(L);
    lua_call(L, 0, 0);
    lua_getfield(L, 1, "finish");
    lua_call(L, 0, 0);
}

int mg_trial_open(struct mg_trial *t, const char *path, struct mg_error *err)
{
    struct mg_str list[16];
    struct stat st;
    static const char *const near[] = { "plugins", "../plugins", "build", "../build" }; /* of the spec's folder */
    char real[PATH_MAX], beside[4][PATH_MAX + 16];
    char *slash;
    size_t n = 0;
    int rc;

    if (!realpath(path, real))
        return mg_fail(err, MG_ENOENT, "%s: not found", path);
    slash = strrchr(real, '/');
    if (stat(real, &st) != 0 || !S_ISDIR(st.st_mode))
        *slash = '\0';
    t->config.folder = mg_str_c(strdup(real));
    for (; n < t->options->folders_n && n < 11; n++)
        list[n] = mg_str_c(t->options->folders[n]);
    for (int i = 0; i < 4; i++) {
        snprintf(beside[i], sizeof(beside[i]), "%s/%s", real, near[i]);
        list[n++] = mg_str_c(beside[i]);
    }
    t->config.sources = mg_sources_new();
    t->registry = mg_registry_new(list, n);
    t->script = mg_script_new(&t->config, MEMORY_MAX);
    if (!t->config.folder.p || !t->config.sources || !t->registry || !t->script)
        return mg_fail(err, MG_ENOMEM, "out of memory");
    rc = mg_worker_init(&t->worker, 0);
    if (rc != 0)
        return mg_fail(err, rc, "no event loop: %s", mg_error_name(rc));
    mg_this_worker = &t->worker;
    t->worker.is_simulated = true;
    t->monotonic_us = next_monotonic_us;
    t->wall_us = first_wall_us;
    mg_clock_set(t->monotonic_us, t->wall_us);
    mg_world_open(t);
    t->store = mg_store_open(NULL, err);
    if (!t->store)
        return err->code;
    t->vm = mg_vm_new(t->script, true, err);
    if (!t->vm)
        return err->code;
    t->script->builder = t->script->vms[0] = t->vm;
    mg_log_capture(on_line, t);
    mg_sink_capture(on_sink_line, t);
    return mg_vm_go_live(t->vm, true, err);
}

void mg_trial_close(struct mg_trial *t)
{
    if (t->monotonic_us)
        next_monotonic_us = t->monotonic_us + hour_us;
    mg_clock_set(-1, -1);
    mg_random_seed(0);
    mg_shared_reset();
    mg_log_capture(NULL, NULL);
    if (t->worker.outside)
        mg_world_close(t);
    while (t->lines_n > 0)
        free(t->lines[--t->lines_n]);
    while (t->written_n > 0) {
        free(t->written[--t->written_n].where);
        free((char *)t->written[t->written_n].line.p);
    }
    if (t->script) {
        t->script->builder = NULL;
        mg_script_free(t->script);
    }
    if (t->worker.loop.owner)
        mg_worker_deinit(&t->worker);
    mg_tape_free(t->tape);
    mg_spool_close(&t->spool);
    if (t->recording)
        fclose(t->recording);
    mg_store_unref(t->store);
    if (t->registry)
        mg_registry_free(t->registry);
    mg_sink_capture(NULL, NULL);
    if (t->config.sources)
        mg_sources_unref(t->config.sources);
    free((void *)t->config.folder.p);
}

static void run_file(const char *path, const struct mg_trial_options *options, struct mg_trial_sum *sum)
{
    struct mg_trial *t = calloc(1, sizeof(*t));
    struct mg_error err = { 0 };
    const struct mg_source_file *f = NULL;

    if (!t) {
        printf("%s: out of memory\n", path);
        sum->failed++;
        return;
    }
    t->options = options;
    t->sum = sum;
    if (mg_trial_open(t, path, &err) == 0)
        f = mg_sources_read(t->config.sources, MG_STR("spec"), path, &err);
    if (f) {
        mg_limit_begin(mg_str_c(path));
        if (mg_vm_call(t->vm, file_body, (void *)f, &err) == 0)
            err.code = 0;
        mg_limit_end();
    }
    if (!f || err.code) {
        printf("%s: %s\n", path, err.message);
        sum->failed++;
    }
    mg_trial_close(t);
    free(t);
}

/* ---- many ---- */

static _Thread_local struct { char *paths[FILES_MAX]; size_t n; } found;

static int consider(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    static const char ending[] = "_spec.lua";
    size_t n = strlen(path);

    (void)st;
    (void)ftw;
    if (type == FTW_F && n > sizeof(ending) && strcmp(path + n - (sizeof(ending) - 1), ending) == 0 && found.n < FILES_MAX) {
        found.paths[found.n] = strdup(path);
        found.n += found.paths[found.n] != NULL;
    }
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A plugin's folder, or what is in one: files named *_spec.lua at any depth. */
static void gather(const char *path, struct mg_trial_sum *sum)
{
    struct stat st;
    size_t from = found.n;

    if (stat(path, &st) != 0) {
        printf("%s: not found\n", path);
        sum->failed++;
    } else if (S_ISDIR(st.st_mode)) {
        nftw(path, consider, 16, FTW_PHYS);
        qsort(found.paths + from, found.n - from, sizeof(found.paths[0]), by_path);
    } else if (found.n < FILES_MAX && (found.paths[found.n] = strdup(path))) {
        found.n++;
    }
}

int mg_trial_run(const struct mg_trial_options *options)
{
    struct mg_trial_sum sum = { 0 };
    uint64_t began = uv_hrtime();
    size_t files;

    found.n = 0;
    for (size_t i = 0; i < options->paths_n; i++)
        gather(options->paths[i], &sum);
    files = found.n;
    for (size_t i = 0; i < files; i++) {
        if (options->verbose)
            printf("%s\n", found.paths[i]);
        run_file(found.paths[i], options, &sum);
        free(found.paths[i]);
    }
    if (files == 0 && !sum.failed) {
        printf("no specs here (files named *_spec.lua)\n");
        return -1;
    }
    printf("%d passed, %d failed", sum.passed, sum.failed);
    if (sum.skipped)
        printf(", %d not run", sum.skipped);
    printf(" (%.0f ms)\n", (double)(uv_hrtime() - began) / 1e6);
    if (options->filter && sum.passed + sum.failed == 0) {
        printf("no test's name has \"%s\" in it\n", options->filter);
        return -1;
    }
    return sum.failed;
}
