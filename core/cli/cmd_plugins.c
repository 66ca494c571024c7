/* cmd_plugins.c - `moongate plugins`: what there is, and the reference of each, from its field table. */
#include "cli/load.h"
#include "config/check.h"

#include <stdlib.h>
#include <unistd.h>

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "those that this config can name: its plugin_path, plugins/ beside it, the bundled ones", false },
    { "path", 'p', "FOLDER", "a folder with plugins, before the bundled ones", true },
    { "markdown", 'm', NULL, "the reference as tables, for docs/", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "plugins", .usage = "plugins [NAME] [-c FILE | --path FOLDER] [--markdown]",
    .doc = "Lists the plugins there are; with a name, its fields with types, ranges, defaults and docs.",
    .options = options, .rest_max = 1,
};

struct listing {
    struct mg_registry *registry;
    struct mg_script *script;
    const char *only;     /* a name, or NULL */
    bool markdown;
    int shown, failed;
};

static void print_escaped(const char *text, bool markdown)
{
    for (; text && *text; text++) {
        if (markdown && (*text == '|' || *text == '<'))
            putchar('\\');
        putchar(*text);
    }
}

static void field_line(const struct listing *l, const struct mg_field *f, size_t stride, const char *prefix)
{
    char takes[480];
    const char *bold = mg_cli_colour(STDOUT_FILENO, MG_BOLD), *plain = mg_cli_colour(STDOUT_FILENO, MG_PLAIN);

    mg_field_expects(f, stride, takes, sizeof(takes));
    if (l->markdown) {
        printf("| `%s%s` | ", prefix, f->name);
        print_escaped(takes, true);
        printf(" | ");
        if (f->required)
            printf("required");
        else if (f->preset)
            printf("`%s`", f->preset[0] ? f->preset : "\"\"");
        printf(" | ");
        print_escaped(f->doc, true);
        printf("%s%s |\n", f->at ? " May be given by position." : "", f->secret ? " Masked in every output." : "");
        return;
    }
    printf("  %s%s%s%s  %s", bold, prefix, f->name, plain, takes);
    if (f->required)
        printf("; required");
    else if (f->preset)
        printf("; default %s", f->preset[0] ? f->preset : "\"\"");
    printf("%s\n", f->secret ? "; masked" : "");
    if (f->doc)
        printf("      %s\n", f->doc);
}

static void field_lines(const struct listing *l, const struct mg_field *fields, size_t stride, const char *prefix, int depth)
{
    struct mg_field f, item;
    char inner[256];

    for (size_t i = 0; depth < 8 && mg_field_at(fields, stride, i, &f); i++) {
        field_line(l, &f, stride, prefix);
        memset(&item, 0, sizeof(item));
        if (f.item)
            memcpy(&item, f.item, stride && stride < sizeof(item) ? stride : sizeof(item));
        if (f.type == MG_TABLE) {
            snprintf(inner, sizeof(inner), "%s%s.", prefix, f.name);
            field_lines(l, f.fields, stride, inner, depth + 1);
        } else if (item.type == MG_TABLE) {
            snprintf(inner, sizeof(inner), f.type == MG_MAP ? "%s%s.NAME." : "%s%s[].", prefix, f.name);
            field_lines(l, item.fields, stride, inner, depth + 1);
        }
    }
}

static void words(const char *title, const char *const *list, bool markdown)
{
    if (!list || !list[0])
        return;
    printf(markdown ? "\n%s: " : "  %s ", title);
    for (int i = 0; list[i]; i++)
        printf("%s%s", i ? ", " : "", list[i]);
    printf("\n");
}

static void table_head(const struct listing *l, const char *title)
{
    if (l->markdown)
        printf("\n| %s | takes | default | meaning |\n| --- | --- | --- | --- |\n", title);
    else if (strcmp(title, "field") != 0)
        printf("  %s:\n", title);
}

static void show(const struct listing *l, const struct mg_found_plugin *found, const struct mg_plugin *p)
{
    struct mg_field f;

    if (l->markdown)
        printf("## %s\n\n%s\n", p->name, p->doc ? p->doc : "");
    else
        printf("%s%s%s %s (%s%s)\n  %s\n", mg_cli_colour(STDOUT_FILENO, MG_BOLD), p->name, mg_cli_colour(STDOUT_FILENO, MG_PLAIN),
               p->version ? p->version : "", found->kind == MG_PLUGIN_C ? "C" : "Lua", found->is_bundled ? ", bundled" : "", p->doc ? p->doc : "");
    words("Needs", p->needs, l->markdown);
    words("Provides", p->provides, l->markdown);
    if (mg_field_at(p->fields, p->field_bytes, 0, &f)) {
        table_head(l, "field");
        field_lines(l, p->fields, p->field_bytes, "", 0);
    }
    if (p->credentials) {
        char title[96];

        snprintf(title, sizeof(title), l->markdown ? "credential `%s`" : "credential \"%s\" of a consumer", p->credentials->kind);
        table_head(l, title);
        field_lines(l, p->credentials->fields, p->field_bytes, "", 0);
    }
    printf("\n");
}

static void one(void *arg, const struct mg_found_plugin *listed)
{
    struct listing *l = arg;
    struct mg_found_plugin found = *listed;
    const struct mg_plugin *p = NULL;
    struct mg_error err = { 0 };
    int rc;

    if (l->only && !mg_str_eq(mg_str_c(l->only), listed->name))
        return;
    rc = mg_registry_find(l->registry, listed->name, &found, &err);
    if (rc == 0 && found.kind == MG_PLUGIN_LUA)
        rc = mg_script_plugin(l->script, found.name, found.path.p, false, &p, &err);
    else if (rc == 0)
        p = found.plugin;
    if (rc != 0 || !p) {
        mg_cli_fail(&about, "%s", err.message);
        l->failed++;
        return;
    }
    l->shown++;
    if (l->only || l->markdown)
        show(l, &found, p);
    else
        printf("%-22s %s%s\n", p->name, p->doc ? p->doc : "", found.is_bundled ? "" : found.kind == MG_PLUGIN_C ? " (C)" : " (Lua)");
}

/* A config without anything, for the Lua host to stand on. */
static struct mg_config *empty_config(struct mg_error *err)
{
    struct mg_sources *sources = mg_sources_new();
    struct mg_config *config = NULL;

    if (!sources || !mg_sources_put(sources, mg_str("", 0), "config", MG_STR("return {}")))
        mg_fail(err, MG_ENOMEM, "out of memory");
    else
        mg_config_load_sources(sources, &config, err);
    mg_sources_unref(sources);
    return config;
}

/* What is listed, from the registry's folders; says what went wrong. */
static int list(struct listing *l)
{
    struct mg_error err = { 0 };

    mg_registry_each(l->registry, one, l);
    if (l->only && !l->shown && !l->failed) {
        struct mg_found_plugin found;

        mg_registry_find(l->registry, mg_str_c(l->only), &found, &err); /* says which name is near */
        mg_cli_fail(&about, "%s", err.message);
        l->failed++;
    }
    return l->failed ? MG_EXIT_FAILED : MG_EXIT_OK;
}

static int of_config(struct listing *l, const char *path)
{
    struct mg_snapshot *s = mg_cli_load(&about, path);
    int code;

    if (!s)
        return MG_EXIT_FAILED;
    l->registry = s->registry;
    l->script = s->script;
    code = list(l);
    mg_snapshot_free(s);
    return code;
}

static int of_folders(struct listing *l, const struct mg_str *folders, size_t n)
{
    struct mg_error err = { 0 };
    struct mg_config *config = empty_config(&err);
    int code;

    l->registry = mg_registry_new(folders, n);
    l->script = config ? mg_script_new(config, 256 << 20) : NULL;
    code = l->registry && l->script ? list(l) : mg_cli_fail(&about, "%s", err.message[0] ? err.message : "out of memory");
    if (l->script)
        mg_script_free(l->script);
    mg_registry_free(l->registry);
    mg_config_free(config);
    return code;
}

int mg_cmd_plugins(int argc, char **argv)
{
    struct mg_str folders[MG_CLI_VALUES];
    struct listing l = { 0 };
    struct mg_cli cli;
    size_t n = 0;
    const char *path;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    while (n < MG_CLI_VALUES && (path = mg_cli_text_at(&cli, "path", (int)n)))
        folders[n++] = mg_str_c(path);
    l.only = cli.rest_n ? cli.rest[0] : NULL;
    l.markdown = mg_cli_flag(&cli, "markdown");
    path = mg_cli_text(&cli, "config");
    if (path && n) {
        mg_cli_fail(&about, "--config or --path, not both");
        return MG_EXIT_USAGE;
    }
    return path ? of_config(&l, path) : of_folders(&l, folders, n);
}
