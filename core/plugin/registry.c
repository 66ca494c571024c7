/* registry.c - from a plugin's name to its file. Loading is library.c's. */
#include "plugin/registry.h"
#include "plugin/library.h"
#include "base/arena.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct mg_registry {
    struct mg_arena arena;
    struct mg_str *folders;
    size_t folders_n;
};

size_t mg_registry_folders(const struct mg_registry *r) { return r->folders_n; }
struct mg_str mg_registry_folder(const struct mg_registry *r, size_t i) { return r->folders[i]; }

struct mg_registry *mg_registry_new(const struct mg_str *folders, size_t n)
{
    struct mg_registry *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    mg_arena_init(&r->arena, NULL, 64 << 20);
    r->folders = mg_arena_alloc(&r->arena, (n + 1) * sizeof *r->folders);
    if (!r->folders)
        goto fail;
    for (size_t i = 0; i < n; i++) {
        r->folders[i] = mg_arena_copy(&r->arena, folders[i].p, folders[i].n);
        if (!r->folders[i].p)
            goto fail;
    }
    r->folders_n = n;
    return r;
fail:
    mg_registry_free(r);
    return NULL;
}

void mg_registry_free(struct mg_registry *r)
{
    if (!r)
        return;
    mg_arena_deinit(&r->arena);
    free(r);
}

int mg_registry_add(struct mg_registry *r, struct mg_str folder)
{
    struct mg_str *folders = mg_arena_alloc(&r->arena, (r->folders_n + 2) * sizeof *folders);

    if (!folders)
        return MG_ENOMEM;
    folders[0] = mg_arena_copy(&r->arena, folder.p, folder.n);
    if (!folders[0].p)
        return MG_ENOMEM;
    memcpy(folders + 1, r->folders, r->folders_n * sizeof *folders);
    r->folders = folders;
    r->folders_n++;
    return 0;
}

static bool name_ok(struct mg_str name)
{
    if (!name.n || name.n > 64)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

static bool is_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* FOLDER/NAME.so or FOLDER/NAME.lua. */
static bool look(struct mg_registry *r, struct mg_str folder, struct mg_str name, struct mg_found_plugin *out)
{
    static const char *const ends[] = { "so", "lua" };
    static const int kinds[] = { MG_PLUGIN_C, MG_PLUGIN_LUA };

    for (int i = 0; i < 2; i++) {
        char path[4096];

        snprintf(path, sizeof path, "%.*s/%.*s.%s", (int)folder.n, folder.p, (int)name.n, name.p, ends[i]);
        if (!is_file(path))
            continue;
        out->kind = kinds[i];
        out->plugin = NULL;
        out->name = mg_arena_copy(&r->arena, name.p, name.n);
        out->path = mg_arena_copy(&r->arena, path, strlen(path));
        return out->name.p && out->path.p;
    }
    return false;
}

static struct mg_str bundled_c(void)
{
    return mg_str_c(mg_install_folder("plugins"));
}

static struct mg_str bundled_lua(char *room, size_t n)
{
    snprintf(room, n, "%s/plugins", mg_install_folder("lua"));
    return mg_str_c(room);
}

static bool look_bundled(struct mg_registry *r, struct mg_str name, struct mg_found_plugin *out)
{
    char room[4200];

    out->is_bundled = true;
    return look(r, bundled_c(), name, out) || look(r, bundled_lua(room, sizeof room), name, out);
}

/* ---- every name on the path ------------------------------------------------------------------- */

struct names { char **at; size_t n, room; };

static bool names_add(struct names *s, struct mg_str name)
{
    char *copy;

    for (size_t i = 0; i < s->n; i++)
        if (mg_str_eq(mg_str_c(s->at[i]), name))
            return true;
    if (s->n == s->room) {
        size_t room = s->room ? s->room * 2 : 32;
        char **at = realloc(s->at, room * sizeof *at);

        if (!at)
            return false;
        s->at = at;
        s->room = room;
    }
    copy = strndup(name.p, name.n);
    if (!copy)
        return false;
    s->at[s->n++] = copy;
    return true;
}

static void names_of_folder(struct names *s, struct mg_str folder)
{
    char path[4096];
    struct dirent *d;
    DIR *dir;

    snprintf(path, sizeof path, "%.*s", (int)folder.n, folder.p);
    dir = opendir(path);
    while (dir && (d = readdir(dir))) {
        const char *dot = strrchr(d->d_name, '.');
        struct mg_str name;

        if (!dot || (strcmp(dot, ".so") && strcmp(dot, ".lua")))
            continue;
        name = mg_str(d->d_name, (size_t)(dot - d->d_name));
        if (name_ok(name) && !names_add(s, name))
            break;
    }
    if (dir)
        closedir(dir);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_all(struct mg_registry *r, struct names *s)
{
    char room[4200];

    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < r->folders_n; i++)
        names_of_folder(s, r->folders[i]);
    names_of_folder(s, bundled_c());
    names_of_folder(s, bundled_lua(room, sizeof room));
    if (s->n)
        qsort(s->at, s->n, sizeof *s->at, by_text);
}

static void names_free(struct names *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->at[i]);
    free(s->at);
}

/* ---- finding ------------------------------------------------------------------------------------ */

static int unknown(struct mg_registry *r, struct mg_str name, struct mg_error *err)
{
    struct names all;
    const char *near;

    names_all(r, &all);
    near = mg_str_nearest(name, (const char *const *)all.at, all.n);
    if (near)
        mg_fail(err, MG_ENOENT, "there is no plugin \"%.*s\"; did you mean \"%s\"?", (int)name.n, name.p, near);
    else
        mg_fail(err, MG_ENOENT, "there is no plugin \"%.*s\" on the plugin path", (int)name.n, name.p);
    names_free(&all);
    return MG_ENOENT;
}

/* ---- folders in Kong's shape -------------------------------------------------------------------- */

/* Where FOLDER may have the handler of NAME: as a checkout of its repository, or beside others. */
static const char *const kong_places[] = {
    "*/handler.lua", "kong/plugins/*/handler.lua", "kong-plugin-*/kong/plugins/*/handler.lua",
    "kong-plugin-*/src/handler.lua", "kong-plugin-*/handler.lua"
};
enum { KONG_PLACES = sizeof kong_places / sizeof kong_places[0] };

static bool look_kong(struct mg_registry *r, struct mg_str folder, const char *plain, struct mg_found_plugin *out)
{
    for (int i = 0; i < KONG_PLACES; i++) {
        char place[512], path[4096];
        int n = 0;

        for (const char *p = kong_places[i]; *p; p++) { /* * stands for the name, of at most 64 bytes */
            if (*p == '*')
                n += snprintf(place + n, sizeof place - (size_t)n, "%s", plain);
            else
                place[n++] = *p;
        }
        place[n] = '\0';
        snprintf(path, sizeof path, "%.*s/%s", (int)folder.n, folder.p, place);
        if (!is_file(path))
            continue;
        out->path = mg_arena_copy(&r->arena, path, strlen(path));
        return out->path.p != NULL;
    }
    return false;
}

/* "kong:NAME". */
static int find_kong(struct mg_registry *r, struct mg_str name, struct mg_found_plugin *out, struct mg_error *err)
{
    char plain[65];

    if (!name_ok(mg_str(name.p + 5, name.n - 5)))
        return mg_fail(err, MG_ENOENT, "\"%.*s\": the name of a Kong plugin's folder follows the colon", (int)name.n, name.p);
    snprintf(plain, sizeof plain, "%.*s", (int)(name.n - 5), name.p + 5);
    out->kind = MG_PLUGIN_LUA;
    out->name = mg_arena_copy(&r->arena, name.p, name.n);
    for (size_t i = 0; i < r->folders_n; i++)
        if (look_kong(r, r->folders[i], plain, out))
            return out->name.p ? 0 : MG_ENOMEM;
    return mg_fail(err, MG_ENOENT, "there is no Kong plugin \"%s\": no folder of plugin_path has %s/handler.lua or kong/plugins/%s/handler.lua (docs/kong.md)",
                   plain, plain, plain);
}

int mg_registry_find(struct mg_registry *r, struct mg_str name, struct mg_found_plugin *out, struct mg_error *err)
{
    struct mg_found_plugin bundled = { 0 };
    bool found = false, is_bundled;

    memset(out, 0, sizeof *out);
    if (mg_str_starts(name, MG_STR("kong:")))
        return find_kong(r, name, out, err);
    if (!name_ok(name))
        return unknown(r, name, err);
    for (size_t i = 0; i < r->folders_n && !found; i++)
        found = look(r, r->folders[i], name, out);
    is_bundled = look_bundled(r, name, &bundled);
    if (found && is_bundled && !mg_str_eq(out->path, bundled.path))
        return mg_fail(err, MG_ECONF, "%s: \"%.*s\" is the name of a bundled plugin; give yours another", out->path.p, (int)name.n,
                       name.p);
    if (is_bundled)
        *out = bundled;
    if (!found && !is_bundled)
        return unknown(r, name, err);
    return out->kind == MG_PLUGIN_C ? mg_library_open(out->path.p, name, &out->plugin, err) : 0;
}

void mg_registry_each(struct mg_registry *r, void (*fn)(void *arg, const struct mg_found_plugin *p), void *arg)
{
    struct names all;

    names_all(r, &all);
    for (size_t i = 0; i < all.n; i++) {
        struct mg_found_plugin p;
        struct mg_error err;
        int rc = mg_registry_find(r, mg_str_c(all.at[i]), &p, &err);

        if (rc && p.path.p == NULL)
            continue;
        fn(arg, &p);
    }
    names_free(&all);
}
