/* cmd_routes.c - `moongate routes` */
#include "cli/load.h"

#include <stdlib.h>
#include <unistd.h>

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the config file", false },
    { "json", 'j', NULL, "a JSON array in place of the table", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "routes", .usage = "routes -c FILE [--json]", .doc = "The routes of a config in the order of the file.", .options = options,
};

enum { COLUMNS = 6 };
static const char *const titles[COLUMNS] = { "ROUTE", "HOST", "METHODS", "PATH", "UPSTREAM", "PLUGINS" };

static char *join(const struct mg_str *list, size_t n, const char *none)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%s%.*s", i ? ", " : "", (int)list[i].n, list[i].p);
    if (n == 0)
        fputs(none, f);
    fclose(f);
    return text;
}

static char *plugins_of(const struct mg_chain *c, const char *none)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    for (int i = 0; i < c->entries_n; i++)
        fprintf(f, "%s%.*s", i ? ", " : "", (int)c->entries[i]->info.id.n, c->entries[i]->info.id.p);
    if (c->entries_n == 0)
        fputs(none, f);
    fclose(f);
    return text;
}

static char *upstream_of(const struct mg_route *r, const char *none)
{
    char *text = NULL;

    if (!r->upstream)
        return strdup(none);
    if (asprintf(&text, "%.*s%.*s", (int)r->upstream->name.n, r->upstream->name.p, (int)r->upstream_path.n,
                 r->upstream_path.p ? r->upstream_path.p : "") < 0)
        return NULL;
    return text;
}

static bool row(const struct mg_route *r, const char *none, char *cells[COLUMNS])
{
    const struct mg_pattern *p = r->pattern;
    bool whole = true;

    cells[0] = strndup(r->id.p ? r->id.p : "", r->id.n);
    cells[1] = join(p->hosts, p->hosts_n, none);
    cells[2] = join(p->methods, p->methods_n, none);
    cells[3] = join(p->paths, p->paths_n, none);
    cells[4] = upstream_of(r, none);
    cells[5] = plugins_of(r->chain, none);
    for (int i = 0; i < COLUMNS; i++)
        whole = whole && cells[i];
    return whole;
}

static void free_row(char *cells[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++)
        free(cells[i]);
}

static int print_table(const struct mg_snapshot *s)
{
    const char *bold = mg_cli_colour(STDOUT_FILENO, MG_BOLD), *plain = mg_cli_colour(STDOUT_FILENO, MG_PLAIN);
    char *(*rows)[COLUMNS] = calloc(s->routes_n + 1, sizeof(*rows));
    int width[COLUMNS], rc = MG_EXIT_OK;

    if (!rows)
        return MG_EXIT_FAILED;
    for (int c = 0; c < COLUMNS; c++)
        width[c] = (int)strlen(titles[c]);
    for (size_t i = 0; i < s->routes_n; i++) {
        if (!row(&s->routes[i], "-", rows[i]))
            rc = MG_EXIT_FAILED;
        for (int c = 0; c < COLUMNS; c++)
            if (rows[i][c] && (int)strlen(rows[i][c]) > width[c] && strlen(rows[i][c]) <= 48)
                width[c] = (int)strlen(rows[i][c]);
    }
    fputs(bold, stdout);
    for (int c = 0; c < COLUMNS; c++)
        printf("%-*s%s", c == COLUMNS - 1 ? 0 : width[c], titles[c], c == COLUMNS - 1 ? "" : "  ");
    printf("%s\n", plain);
    for (size_t i = 0; i < s->routes_n; i++) {
        for (int c = 0; rc == MG_EXIT_OK && c < COLUMNS; c++) {
            mg_cli_print(stdout, mg_str_c(rows[i][c]));
            if (c < COLUMNS - 1)
                printf("%*s  ", (int)strlen(rows[i][c]) < width[c] ? width[c] - (int)strlen(rows[i][c]) : 0, "");
        }
        if (rc == MG_EXIT_OK)
            putchar('\n');
        free_row(rows[i]);
    }
    free(rows);
    return rc;
}

static void print_string(struct mg_str text)
{
    struct mg_str quoted;

    if (mg_json_quote(text.p ? text.p : "", text.n, &quoted) == 0)
        fwrite(quoted.p, 1, quoted.n, stdout);
    else
        fputs("\"\"", stdout);
}

static void print_strings(const char *key, const struct mg_str *list, size_t n)
{
    printf(",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        fputs(i ? "," : "", stdout);
        print_string(list[i]);
    }
    putchar(']');
}

static int print_json(const struct mg_snapshot *s)
{
    putchar('[');
    for (size_t i = 0; i < s->routes_n; i++) {
        const struct mg_route *r = &s->routes[i];
        char *to = upstream_of(r, "");

        printf("%s\n{\"id\":", i ? "," : "");
        print_string(r->id);
        print_strings("host", r->pattern->hosts, r->pattern->hosts_n);
        print_strings("methods", r->pattern->methods, r->pattern->methods_n);
        print_strings("path", r->pattern->paths, r->pattern->paths_n);
        fputs(",\"upstream\":", stdout);
        if (to && to[0])
            print_string(mg_str_c(to));
        else
            fputs("null", stdout);
        free(to);
        fputs(",\"plugins\":[", stdout);
        for (int k = 0; k < r->chain->entries_n; k++) {
            fputs(k ? "," : "", stdout);
            print_string(r->chain->entries[k]->info.id);
        }
        fputs("]}", stdout);
    }
    puts("\n]");
    return MG_EXIT_OK;
}

int mg_cmd_routes(int argc, char **argv)
{
    struct mg_snapshot *s;
    struct mg_cli cli;
    int rc;

    s = mg_cli_begin(&cli, &about, argc, argv);
    if (!s)
        return cli.exit_code;
    rc = mg_cli_flag(&cli, "json") ? print_json(s) : print_table(s);
    mg_snapshot_free(s);
    return rc;
}
