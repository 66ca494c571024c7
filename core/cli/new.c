/* new.c - `moongate new plugin`: a plugin, its spec and its page, ready to be changed. */
#include "cli/cli.h"
#include "base/str.h"
#include "cli/new.h"
#include "plugin/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct mg_option options[] = {
    { "c", 0, NULL, "write it in C, with a CMakeLists.txt (Lua is the default)", false },
    { "dir", 'd', "FOLDER", "where to write it (the folder you are in); it is made when it is not there", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "new", .usage = "new plugin NAME [--c] [--dir FOLDER]",
    .doc = "Writes a plugin that works, a spec that passes, and a page about it:\n"
           "plugins/NAME.lua, spec/NAME_spec.lua and docs/NAME.md; with --c NAME.c and CMakeLists.txt in place of the first.\n"
           "Files that are there already stay as they are, and nothing is written then.",
    .options = options, .rest_min = 2, .rest_max = 2,
};

enum { FILES_MAX = 4, PATH_ROOM = 4096 };

struct file { char path[PATH_ROOM + 128]; const char *text; };

/* Lower case words with dashes between; a name that C and a file system take as well. */
static const char *what_is_wrong(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > 64)
        return "1 to 64 characters are expected";
    if (name[0] < 'a' || name[0] > 'z')
        return "it begins with a lower-case letter";
    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-'))
            return "lower-case letters, digits and dashes are expected";
    return name[n - 1] == '-' || strstr(name, "--") ? "a dash stands between words" : NULL;
}

static bool is_bundled(const char *name)
{
    struct mg_registry *r = mg_registry_new(NULL, 0);
    struct mg_found_plugin found;
    struct mg_error err = { 0 };
    bool is = r && mg_registry_find(r, mg_str_c(name), &found, &err) == 0;

    if (r)
        mg_registry_free(r);
    return is;
}

/* ---- writing ---- */

/* @NAME@ is the plugin's name, @WORD@ the name as C and a metric would have it. */
static void fill(FILE *out, const char *text, const char *name)
{
    for (const char *p = text; *p;) {
        bool word = strncmp(p, "@WORD@", 6) == 0;

        if (!word && strncmp(p, "@NAME@", 6) != 0) {
            fputc(*p++, out);
            continue;
        }
        for (const char *c = name; *c; c++)
            fputc(word && *c == '-' ? '_' : *c, out);
        p += 6;
    }
}

/* Make the folders of a path's file. */
static int make_folders(const char *path)
{
    char room[PATH_ROOM + 128];

    memcpy(room, path, strlen(path) + 1);
    for (char *p = room + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(room, 0777) != 0 && errno != EEXIST)
            return -1;
        *p = '/';
    }
    return 0;
}

static int write_file(const struct file *f, const char *name)
{
    FILE *out = make_folders(f->path) == 0 ? fopen(f->path, "wx") : NULL;

    if (!out)
        return mg_cli_fail(&about, "%s: %s", f->path, strerror(errno));
    fill(out, f->text, name);
    if (fflush(out) != 0 || ferror(out)) {
        mg_cli_fail(&about, "%s: %s", f->path, strerror(errno));
        fclose(out);
        unlink(f->path);
        return MG_EXIT_FAILED;
    }
    fclose(out);
    printf("%s\n", f->path);
    return MG_EXIT_OK;
}

static void add(struct file *files, int *n, const char *dir, const char *where, const char *name, const char *ending, const char *text)
{
    struct file *f = &files[(*n)++];

    snprintf(f->path, sizeof(f->path), "%s/%s%s%s", dir, where, name, ending);
    f->text = text;
}

static int plan(struct file *files, const char *dir, const char *name, bool is_c)
{
    int n = 0;

    if (is_c) {
        add(files, &n, dir, "", name, ".c", mg_new_c_plugin);
        add(files, &n, dir, "", "CMakeLists", ".txt", mg_new_c_cmake);
        add(files, &n, dir, "spec/", name, "_spec.lua", mg_new_c_spec);
        add(files, &n, dir, "docs/", name, ".md", mg_new_c_page);
    } else {
        add(files, &n, dir, "plugins/", name, ".lua", mg_new_lua_plugin);
        add(files, &n, dir, "spec/", name, "_spec.lua", mg_new_lua_spec);
        add(files, &n, dir, "docs/", name, ".md", mg_new_lua_page);
    }
    return n;
}

static int write_all(const char *dir, const char *name, bool is_c)
{
    struct file files[FILES_MAX];
    int n = plan(files, dir, name, is_c);

    for (int i = 0; i < n; i++)
        if (access(files[i].path, F_OK) == 0)
            return mg_cli_fail(&about, "%s is there already; nothing was written", files[i].path);
    for (int i = 0; i < n; i++)
        if (write_file(&files[i], name) != MG_EXIT_OK)
            return MG_EXIT_FAILED;
    if (is_c)
        printf("\nnext: cd %s && cmake -S . -B build && cmake --build build && moongate test spec\n", dir);
    else
        printf("\nnext: moongate test %s/spec\n", dir);
    return MG_EXIT_OK;
}

int mg_cmd_new(int argc, char **argv)
{
    struct mg_cli cli;
    const char *name, *dir, *wrong;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    if (strcmp(cli.rest[0], "plugin") != 0) {
        mg_cli_fail(&about, "\"plugin\" is what can be made, not \"%s\"", cli.rest[0]);
        return MG_EXIT_USAGE;
    }
    name = cli.rest[1];
    dir = mg_cli_text(&cli, "dir");
    dir = dir ? dir : ".";
    wrong = what_is_wrong(name);
    if (wrong) {
        mg_cli_fail(&about, "\"%s\" cannot be a plugin's name: %s", name, wrong);
        return MG_EXIT_USAGE;
    }
    if (strlen(dir) > PATH_ROOM - 128)
        return mg_cli_fail(&about, "the folder's name is too long");
    if (is_bundled(name))
        return mg_cli_fail(&about, "\"%s\" is a bundled plugin; give yours another name", name);
    return write_all(dir, name, mg_cli_flag(&cli, "c"));
}
