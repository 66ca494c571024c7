/* cmd_check.c - `moongate check` */
#include "cli/load.h"

#include <string.h>
#include <unistd.h>

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the config file", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "check", .usage = "check -c FILE",
    .doc = "Loads a config as the gateway would, without serving it, and tells every mistake in it.\n"
           "Exit code: 0 when it holds, 1 when it does not, 2 for a wrong command line.",
    .options = options,
};

/* Different plugins, those written in the config left out. */
static size_t count_plugins(const struct mg_snapshot *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->all_entries_n; i++) {
        size_t k = 0;

        while (k < i && strcmp(s->all_entries[k]->plugin->name, s->all_entries[i]->plugin->name) != 0)
            k++;
        n += k == i && strcmp(s->all_entries[i]->plugin->name, "inline") != 0;
    }
    return n;
}

int mg_cmd_check(int argc, char **argv)
{
    struct mg_snapshot *s;
    struct mg_cli cli;
    size_t plugins;

    s = mg_cli_begin(&cli, &about, argc, argv);
    if (!s)
        return cli.exit_code;
    plugins = count_plugins(s);
    printf("%s: %sok%s: %zu route%s, %zu upstream%s, %zu plugin%s\n", mg_cli_text(&cli, "config"), mg_cli_colour(STDOUT_FILENO, MG_GREEN),
           mg_cli_colour(STDOUT_FILENO, MG_PLAIN), s->routes_n, s->routes_n == 1 ? "" : "s", s->upstreams_n, s->upstreams_n == 1 ? "" : "s",
           plugins, plugins == 1 ? "" : "s");
    mg_snapshot_free(s);
    return MG_EXIT_OK;
}
