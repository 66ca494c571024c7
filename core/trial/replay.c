/* A recording's answers, for `moongate replay` and `moongate diff` (lua/moongate/replay.lua). */
#include "trial/sim.h"
#include "trial/trial.h"
#include "base/alloc.h"
#include <lauxlib.h>
#include <lua.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TAPE_BYTES = 64 << 20 };

struct taped {
    struct taped *next;
    struct mg_str service, question, answer;
    int64_t status, after_ms;
    bool is_used, never;
};
struct missed { struct missed *next; struct mg_str text; };

struct mg_tape {
    struct mg_arena arena;
    struct taped *first, **last;
    struct missed *missed, **missed_last;
};

void mg_tape_free(struct mg_tape *tape)
{
    if (!tape)
        return;
    mg_arena_deinit(&tape->arena);
    mg_free(tape);
}

static bool names(struct mg_str s, const char *text)
{
    return mg_str_eq(s, mg_str_c(text));
}

/* A word in place of a secret (record/mask.h), or a length that it has changed, at the beginning of `s`: how long it is. */
static size_t open_length(struct mg_str s)
{
    static const struct mg_str word = { "masked-", 7 }, length = { "content-length: ", 16 };
    size_t n = 0;

    if (mg_str_starts(s, word) && s.n >= 24)
        return 24;
    if (s.n > length.n && mg_str_ieq(mg_str(s.p, length.n), length))
        for (n = length.n; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++)
            ;
    return n;
}

/* Up to the next of those; *n: the length of that one, 0: there is none. */
static struct mg_str literal(struct mg_str s, size_t *n)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] == 'm' || s.p[i] == 'c' || s.p[i] == 'C') && (*n = open_length(mg_str(s.p + i, s.n - i))))
            return mg_str(s.p, i);
    *n = 0;
    return s;
}

/* Is it the question that was recorded? The secrets of a config are no secrets to it: what was masked may be any text. */
static bool is_that(struct mg_str recorded, struct mg_str asked)
{
    size_t n;
    struct mg_str part = literal(recorded, &n);

    if (mg_str_eq(recorded, asked))
        return true;
    if (!n || !memmem(recorded.p, recorded.n, "masked-", 7) || !mg_str_starts(asked, part))
        return false;
    asked = mg_str(asked.p + part.n, asked.n - part.n);
    recorded = mg_str(recorded.p + part.n + n, recorded.n - part.n - n);
    for (;;) {
        const char *at;

        part = literal(recorded, &n);
        if (!n)
            return asked.n >= part.n && mg_str_eq(mg_str(asked.p + asked.n - part.n, part.n), part);
        at = part.n ? memmem(asked.p, asked.n, part.p, part.n) : asked.p;
        if (!at)
            return false;
        asked = mg_str(at + part.n, asked.n - (size_t)(at - asked.p) - part.n);
        recorded = mg_str(recorded.p + part.n + n, recorded.n - part.n - n);
    }
}

bool mg_tape_answer(struct mg_tape *tape, const char *service, struct mg_str question, int64_t *status, struct mg_str *answer, int64_t *after_ms)
{
    struct missed *m;

    for (struct taped *t = tape->first; t; t = t->next) {
        if (t->is_used || !names(t->service, service) || !is_that(t->question, question))
            continue;
        t->is_used = true;
        *status = t->status;
        *answer = t->answer;
        *after_ms = t->never ? TAPE_NEVER : t->after_ms;
        return true;
    }
    m = mg_arena_zalloc(&tape->arena, sizeof(*m));
    if (m) {
        m->text = mg_arena_printf(&tape->arena, "%s%s%.*s", service, question.n ? " " : "", (int)(question.n < 2000 ? question.n : 2000), question.p);
        *tape->missed_last = m;
        tape->missed_last = &m->next;
    }
    return false;
}

static struct mg_str text_at(lua_State *L, struct mg_tape *tape, const char *name)
{
    struct mg_str s = mg_str("", 0);
    const char *p;

    lua_getfield(L, -1, name);
    p = lua_tolstring(L, -1, &s.n);
    s = p ? mg_arena_copy(&tape->arena, p, s.n) : mg_str("", 0);
    lua_pop(L, 1);
    return s;
}

static int64_t number_at(lua_State *L, const char *name)
{
    double n;

    lua_getfield(L, -1, name);
    n = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return n > -9e15 && n < 9e15 ? (int64_t)n : 0;
}

static bool flag_at(lua_State *L, const char *name)
{
    bool yes;

    lua_getfield(L, -1, name);
    yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

static struct mg_tape *tape_of(lua_State *L)
{
    struct mg_tape *tape = mg_calloc(1, sizeof(*tape));
    int n = (int)lua_objlen(L, 1);

    if (!tape)
        return NULL;
    mg_arena_init(&tape->arena, NULL, TAPE_BYTES);
    tape->last = &tape->first;
    tape->missed_last = &tape->missed;
    for (int i = 1; i <= n; i++) {
        struct taped *t = mg_arena_zalloc(&tape->arena, sizeof(*t));

        lua_rawgeti(L, 1, i);
        if (t && lua_istable(L, -1)) {
            t->service = text_at(L, tape, "service");
            t->question = text_at(L, tape, "question");
            t->answer = text_at(L, tape, "answer");
            t->status = number_at(L, "status");
            t->after_ms = number_at(L, "after_ms");
            t->never = flag_at(L, "never");
            *tape->last = t;
            tape->last = &t->next;
        }
        lua_pop(L, 1);
    }
    return tape;
}

static void push_missed(lua_State *L, const struct mg_tape *tape)
{
    int i = 0;

    lua_newtable(L);
    for (const struct missed *m = tape ? tape->missed : NULL; m; m = m->next) {
        mg_sim_push_str(L, m->text);
        lua_rawseti(L, -2, ++i);
    }
}

static void push_unused(lua_State *L, const struct mg_tape *tape)
{
    int i = 0;

    lua_newtable(L);
    for (const struct taped *t = tape ? tape->first : NULL; t; t = t->next) {
        if (t->is_used)
            continue;
        lua_pushlstring(L, t->service.p, t->service.n);
        lua_pushliteral(L, " ");
        lua_pushlstring(L, t->question.p, t->question.n);
        lua_concat(L, 3);
        lua_rawseti(L, -2, ++i);
    }
}

int mg_trial_tape(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    struct mg_tape *next = lua_istable(L, 1) ? tape_of(L) : NULL;

    push_missed(L, t->tape);
    push_unused(L, t->tape);
    mg_tape_free(t->tape);
    t->tape = next;
    return 2;
}

/* ---- texts that wait in a file ---- */

void mg_spool_close(struct mg_spool *s)
{
    if (s->file)
        fclose(s->file);
    s->file = NULL;
}

int mg_trial_spool(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);

    if (!t->spool.file)
        t->spool = (struct mg_spool){ tmpfile(), false };
    if (!t->spool.file || fwrite(&n, sizeof(n), 1, t->spool.file) != 1 || (n && fwrite(p, n, 1, t->spool.file) != 1))
        return luaL_error(L, "a temporary file cannot be written: %s", strerror(errno));
    return 0;
}

int mg_trial_spooled(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    size_t n;
    char *p;

    if (!t->spool.file || (!t->spool.is_read && fseek(t->spool.file, 0, SEEK_SET) != 0))
        return 0;
    t->spool.is_read = true;
    if (fread(&n, sizeof(n), 1, t->spool.file) != 1)
        return 0;
    p = lua_newuserdata(L, n + 1);
    if (n && fread(p, n, 1, t->spool.file) != 1)
        return luaL_error(L, "a temporary file cannot be read");
    lua_pushlstring(L, p, n);
    return 1;
}

int mg_trial_recording(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    const char *path = luaL_checkstring(L, 1);

    if (t->recording)
        fclose(t->recording);
    t->recording = fopen(path, "re");
    if (!t->recording) {
        lua_pushfstring(L, "%s: %s", path, strerror(errno));
        return lua_error(L);
    }
    return 0;
}

int mg_trial_recording_bytes(lua_State *L)
{
    struct mg_trial *t = lua_touserdata(L, lua_upvalueindex(1));
    size_t wanted = (size_t)luaL_checkinteger(L, 1), n;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    while (wanted) {
        char *p = luaL_prepbuffer(&b);
        size_t room = LUAL_BUFFERSIZE < wanted ? LUAL_BUFFERSIZE : wanted;

        n = fread(p, 1, room, t->recording);
        luaL_addsize(&b, n);
        wanted -= n;
        if (n < room)
            break;
    }
    luaL_pushresult(&b);
    if (ferror(t->recording))
        return luaL_error(L, "the recording cannot be read: %s", strerror(errno));
    if (lua_objlen(L, -1) == 0)
        lua_pushnil(L);
    return 1;
}

/* ---- running ---- */

struct module { struct mg_trial *trial; const char *name, *config; const char *const *args; size_t args_n; int result; };

static void module_body(struct mg_vm *vm, void *arg)
{
    struct module *m = arg;
    lua_State *L = vm->L;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "moongate.test");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "begin");
    mg_trial_push_natives(L, m->trial);
    lua_pushstring(L, m->config);
    lua_newtable(L);
    lua_call(L, 3, 0);
    lua_getglobal(L, "require");
    lua_pushstring(L, m->name);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    for (size_t i = 0; i < m->args_n; i++)
        lua_pushstring(L, m->args[i]);
    lua_call(L, (int)m->args_n, 1);
    m->result = (int)luaL_checkinteger(L, -1);
}

int mg_trial_module(const char *config, const char *module, const char *const *args, size_t n)
{
    struct mg_trial *t = mg_calloc(1, sizeof(*t));
    struct module m = { t, module, config, args, n, -1 };
    struct mg_trial_options options = { .folders_n = 0 };
    struct mg_trial_sum sum = { 0 };
    struct mg_error err = { 0 };

    if (!t) {
        fprintf(stderr, "moongate: out of memory\n");
        return -1;
    }
    t->options = &options;
    t->sum = &sum;
    if (mg_trial_open(t, config, &err) != 0 || mg_vm_call(t->vm, module_body, &m, &err) != 0) {
        fprintf(stderr, "moongate: %s\n", err.message);
        m.result = -1;
    }
    mg_trial_close(t);
    mg_free(t);
    return m.result;
}
