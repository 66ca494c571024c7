/* locate.c - file and line of every value.
 *
 * Lua keeps no lines for table entries. So the source runs again with each table constructor woven into a method call
 * on a number, `{ … }` becoming `(7):_mg_note{ … }`: the call gives the table back, having noted that it is constructor 7, whose
 * entries and their lines are known from the source. A method on a number needs no local, no upvalue and no global, so it
 * works in every function and under setfenv; nothing gains a line. `f{ … }` becomes `f((7):_mg_note{ … })`, and as a call could swallow a
 * parenthesis that begins the next statement, a `;` goes between.
 *
 * Constructors nested deeper than 24 are left alone, as each takes registers. Keys that are computed get their
 * table's line. */
#include "config/lex.h"
#include "config/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEPTH_MAX = 24, NOTES_BYTES_MAX = 1 << 30 };

struct named { struct mg_str key; int32_t line; };
struct constructor {
    struct mg_str file;
    int32_t line;
    int32_t *items;      /* lines of positional entries */
    size_t items_n;
    struct named *names; /* sorted by key once closed */
    size_t names_n;
};
struct mg_notes {
    struct mg_arena arena;
    struct constructor **list;
    size_t n, room;
};

static const char notes_key; /* its address: in the registry, table -> number of its constructor */

struct mg_notes *mg_notes_new(void)
{
    struct mg_notes *n = calloc(1, sizeof(*n));

    if (n)
        mg_arena_init(&n->arena, NULL, NOTES_BYTES_MAX);
    return n;
}

void mg_notes_free(struct mg_notes *n)
{
    if (!n)
        return;
    mg_arena_deinit(&n->arena);
    free(n->list);
    free(n);
}

/* ---- weaving --------------------------------------------------------------------------------- */

enum open_kind { OPEN_TABLE, OPEN_BRACKET, OPEN_BLOCK };

struct open {
    enum open_kind kind;
    bool is_call, is_woven;
    bool at_entry;            /* the next token begins an entry */
    struct constructor *made; /* of a woven table */
    size_t items_room, names_room;
};
struct weaver {
    struct mg_notes *notes;
    struct mg_str source, file;
    const struct mg_lua_token *t;
    size_t t_n;
    struct open *open;
    size_t open_n, open_room, tables;
    char *out;
    size_t out_n, out_room, copied;
    bool failed;
};

static void emit(struct weaver *w, const char *p, size_t n)
{
    if (w->out_n + n > w->out_room) {
        size_t room = (w->out_room + n + 4096) * 2;
        char *grown = realloc(w->out, room);

        if (!grown) {
            w->failed = true;
            return;
        }
        w->out = grown;
        w->out_room = room;
    }
    if (n)
        memcpy(w->out + w->out_n, p, n);
    w->out_n += n;
}

static void copy_until(struct weaver *w, size_t at)
{
    emit(w, w->source.p + w->copied, at - w->copied);
    w->copied = at;
}

static struct open *push(struct weaver *w, enum open_kind kind)
{
    if (w->open_n == w->open_room) {
        size_t room = w->open_room ? w->open_room * 2 : 64;
        struct open *grown = realloc(w->open, room * sizeof(*grown));

        if (!grown) {
            w->failed = true;
            return NULL;
        }
        w->open = grown;
        w->open_room = room;
    }
    w->open[w->open_n] = (struct open){ .kind = kind };
    return &w->open[w->open_n++];
}

static void pop(struct weaver *w, enum open_kind kind)
{
    if (w->open_n && w->open[w->open_n - 1].kind == kind)
        w->open_n--;
}

static struct constructor *new_constructor(struct weaver *w, int32_t line)
{
    struct mg_notes *notes = w->notes;
    struct constructor *c = mg_arena_zalloc(&notes->arena, sizeof(*c));

    if (c && notes->n == notes->room) {
        size_t room = notes->room ? notes->room * 2 : 256;
        struct constructor **grown = realloc(notes->list, room * sizeof(struct constructor *));

        if (!grown)
            c = NULL;
        else {
            notes->list = grown;
            notes->room = room;
        }
    }
    if (!c) {
        w->failed = true;
        return NULL;
    }
    c->file = w->file;
    c->line = line;
    notes->list[notes->n++] = c;
    return c;
}

/* Does the token end an expression that a table could be the argument of? */
static bool ends_callee(const struct weaver *w, size_t i)
{
    const struct mg_lua_token *t = &w->t[i];

    return t->kind == MG_T_NAME || t->kind == MG_T_STRING || (t->kind == MG_T_MARK && (t->mark == ')' || t->mark == ']' || t->mark == '}'));
}

static void open_table(struct weaver *w, size_t i)
{
    bool is_call = i > 0 && ends_callee(w, i - 1);
    struct open *o = push(w, OPEN_TABLE);
    char head[48];
    int n;

    if (!o)
        return;
    w->tables++;
    o->is_call = is_call;
    o->at_entry = true;
    o->is_woven = w->tables <= DEPTH_MAX;
    if (!o->is_woven)
        return;
    o->made = new_constructor(w, w->t[i].line);
    if (!o->made)
        return;
    if (is_call) { /* beside the callee: a parenthesis on the next line would be an ambiguity */
        copy_until(w, w->t[i - 1].end);
        emit(w, "(", 1);
    }
    copy_until(w, w->t[i].start);
    n = snprintf(head, sizeof(head), "(%zu):_mg_note", w->notes->n);
    emit(w, head, (size_t)n);
}

static int by_key(const void *a, const void *b)
{
    return mg_str_cmp(((const struct named *)a)->key, ((const struct named *)b)->key);
}

static void close_table(struct weaver *w, size_t i)
{
    struct open *o = w->open_n ? &w->open[w->open_n - 1] : NULL;

    if (!o || o->kind != OPEN_TABLE)
        return;
    if (o->is_woven && o->made) {
        if (o->made->names_n > 1)
            qsort(o->made->names, o->made->names_n, sizeof(*o->made->names), by_key);
        copy_until(w, w->t[i].end);
        if (o->is_call)
            emit(w, ")", 1);
        else if (i + 1 < w->t_n && w->t[i + 1].kind == MG_T_MARK && w->t[i + 1].mark == '(')
            emit(w, ";", 1);
    }
    w->tables--;
    w->open_n--;
}

static bool is_mark(const struct weaver *w, size_t i, char mark)
{
    return i < w->t_n && w->t[i].kind == MG_T_MARK && w->t[i].mark == mark;
}

static void note_item(struct weaver *w, struct open *o, int32_t line)
{
    struct constructor *c = o->made;

    if (c->items_n == o->items_room) {
        size_t room = o->items_room ? o->items_room * 2 : 4;
        int32_t *grown = mg_arena_grow(&w->notes->arena, c->items, o->items_room * sizeof(*grown), room * sizeof(*grown));

        if (!grown) {
            w->failed = true;
            return;
        }
        c->items = grown;
        o->items_room = room;
    }
    c->items[c->items_n++] = line;
}

static void note_name(struct weaver *w, struct open *o, struct mg_str key, int32_t line)
{
    struct constructor *c = o->made;

    if (c->names_n == o->names_room) {
        size_t room = o->names_room ? o->names_room * 2 : 4;
        struct named *grown = mg_arena_grow(&w->notes->arena, c->names, o->names_room * sizeof(*grown), room * sizeof(*grown));

        if (!grown) {
            w->failed = true;
            return;
        }
        c->names = grown;
        o->names_room = room;
    }
    key = mg_arena_copy(&w->notes->arena, key.p, key.n);
    if (key.p)
        c->names[c->names_n++] = (struct named){ key, line };
    else
        w->failed = true;
}

/* Token i begins an entry of the table at the top. */
static void begin_entry(struct weaver *w, size_t i)
{
    struct open *o = &w->open[w->open_n - 1];
    const struct mg_lua_token *t = &w->t[i];
    struct mg_str key;

    o->at_entry = false;
    if (!o->made)
        return;
    if (t->kind == MG_T_NAME && is_mark(w, i + 1, '=')) {
        note_name(w, o, mg_str(w->source.p + t->start, t->end - t->start), t->line);
    } else if (t->kind == MG_T_MARK && t->mark == '[') {
        if (is_mark(w, i + 2, ']') && mg_lua_plain_string(w->source, &w->t[i + 1], &key))
            note_name(w, o, key, t->line);
    } else {
        note_item(w, o, t->line);
    }
}

static void see_keyword(struct weaver *w, const struct mg_lua_token *t)
{
    struct mg_str word = mg_str(w->source.p + t->start, t->end - t->start);

    if (mg_str_eq(word, MG_STR("function")) || mg_str_eq(word, MG_STR("if")) || mg_str_eq(word, MG_STR("do")) ||
        mg_str_eq(word, MG_STR("repeat")))
        push(w, OPEN_BLOCK);
    else if (mg_str_eq(word, MG_STR("end")) || mg_str_eq(word, MG_STR("until")))
        pop(w, OPEN_BLOCK);
}

static void see_mark(struct weaver *w, size_t i)
{
    switch (w->t[i].mark) {
    case '{': open_table(w, i); break;
    case '}': close_table(w, i); break;
    case '(': case '[': push(w, OPEN_BRACKET); break;
    case ')': case ']': pop(w, OPEN_BRACKET); break;
    case ',': case ';':
        if (w->open_n && w->open[w->open_n - 1].kind == OPEN_TABLE)
            w->open[w->open_n - 1].at_entry = true;
        break;
    default: break;
    }
}

static void weave(struct weaver *w)
{
    for (size_t i = 0; i < w->t_n && !w->failed; i++) {
        if (w->open_n && w->open[w->open_n - 1].kind == OPEN_TABLE && w->open[w->open_n - 1].at_entry && !is_mark(w, i, '}'))
            begin_entry(w, i);
        if (w->t[i].kind == MG_T_KEYWORD)
            see_keyword(w, &w->t[i]);
        else if (w->t[i].kind == MG_T_MARK)
            see_mark(w, i);
    }
    copy_until(w, w->source.n);
}

struct mg_str mg_notes_instrument(struct mg_notes *n, struct mg_str source, const char *display)
{
    struct weaver w = { .notes = n, .source = source };
    struct mg_lua_token *tokens;
    long tokens_n = mg_lua_lex(source, &tokens);
    struct mg_str out = { 0 };

    if (tokens_n < 0)
        return out;
    w.t = tokens;
    w.t_n = (size_t)tokens_n;
    w.file = mg_arena_copy(&n->arena, display, strlen(display));
    if (w.file.p)
        weave(&w);
    if (w.file.p && !w.failed)
        out = mg_arena_copy(&n->arena, w.out ? w.out : "", w.out_n);
    free(w.out);
    free(w.open);
    free(tokens);
    return out;
}

/* ---- noting ---------------------------------------------------------------------------------- */

/* (7):_mg_note(table): the table. */
static int note(lua_State *L)
{
    lua_settop(L, 2);
    if (!lua_istable(L, 2))
        return 1;
    lua_pushlightuserdata(L, (void *)&notes_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_rawset(L, -3);
    lua_settop(L, 2);
    return 1;
}

/* What numbers answer when indexed: our method, and for all else the error that they always give. */
static int index_number(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "_mg_note") == 0) {
        lua_pushcfunction(L, note);
        return 1;
    }
    return luaL_error(L, "attempt to index a number value");
}

void mg_notes_open(struct mg_notes *n, lua_State *L)
{
    (void)n;
    lua_pushlightuserdata(L, (void *)&notes_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushnumber(L, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, index_number);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static const struct constructor *constructor_of(const struct mg_notes *n, lua_State *L)
{
    size_t number;

    if (!lua_istable(L, -1))
        return NULL;
    lua_pushlightuserdata(L, (void *)&notes_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
    number = (size_t)lua_tonumber(L, -1);
    lua_pop(L, 2);
    return number > 0 && number <= n->n ? n->list[number - 1] : NULL;
}

struct mg_place mg_notes_table(const struct mg_notes *n, lua_State *L)
{
    const struct constructor *c = constructor_of(n, L);

    return c ? (struct mg_place){ c->file, c->line } : (struct mg_place){ 0 };
}

struct mg_place mg_notes_entry(const struct mg_notes *n, lua_State *L, const struct mg_str *key, int index)
{
    const struct constructor *c = constructor_of(n, L);
    struct named wanted = { 0 }, *found;

    if (!c)
        return (struct mg_place){ 0 };
    if (!key)
        return index > 0 && (size_t)index <= c->items_n ? (struct mg_place){ c->file, c->items[index - 1] } : (struct mg_place){ 0 };
    if (c->names_n == 0)
        return (struct mg_place){ 0 };
    wanted.key = *key;
    found = bsearch(&wanted, c->names, c->names_n, sizeof(*c->names), by_key);
    return found ? (struct mg_place){ c->file, found->line } : (struct mg_place){ 0 };
}
