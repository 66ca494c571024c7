/* main.c - `moongate COMMAND …`. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "cli/cli.h"

static const struct { const char *name; int (*run)(int argc, char **argv); const char *doc; } commands[] = {
    { "run", mg_cmd_run, "serve a config" },
    { "check", mg_cmd_check, "is this config right? every mistake in one run" },
    { "routes", mg_cmd_routes, "the routes of a config, as a table" },
    { "explain", mg_cmd_explain, "which route a request takes, why, and through which chain" },
    { "plugins", mg_cmd_plugins, "the plugins there are, with their fields" },
    { "reload", mg_cmd_reload, "have a running gateway load its config anew" },
    { "release", mg_cmd_release, "let a plugin out of quarantine" },
    { "trace", mg_cmd_trace, "the chain as it ran, for a request or for those that pass" },
    { "new", mg_cmd_new, "write a plugin to begin with, its spec and its page" },
    { "test", mg_cmd_test, "run specs of plugins and of whole configs" },
    { "repl", mg_cmd_repl, "a Lua prompt inside a simulated exchange" },
    { "record", mg_cmd_record, "write exchanges of a running gateway down, to run them again" },
    { "replay", mg_cmd_replay, "run recorded exchanges again, offline: what did each plugin do?" },
    { "diff", mg_cmd_diff, "what would another config do with recorded requests?" },
    { "echo", mg_cmd_echo, "a small HTTP server that answers what it was asked" },
    { "version", mg_cmd_version, "versions of moongate and of what it is built on" },
};
enum { COMMANDS_N = sizeof commands / sizeof commands[0] };

static int help(FILE *out)
{
    const char *bold = mg_cli_colour(fileno(out), MG_BOLD), *plain = mg_cli_colour(fileno(out), MG_PLAIN);

    fprintf(out, "usage: moongate COMMAND [options]\n\nMoongate %s, an API gateway.\n\ncommands:\n", MG_VERSION);
    for (int i = 0; i < COMMANDS_N; i++)
        fprintf(out, "  %s%-10s%s %s\n", bold, commands[i].name, plain, commands[i].doc);
    fprintf(out, "\nmoongate COMMAND --help tells more.\n");
    return out == stdout ? MG_EXIT_OK : MG_EXIT_USAGE;
}

static int unknown(const char *word)
{
    const char *names[COMMANDS_N], *near;

    for (int i = 0; i < COMMANDS_N; i++)
        names[i] = commands[i].name;
    near = mg_str_nearest(mg_str_c(word), names, COMMANDS_N);
    fprintf(stderr, "moongate: there is no command \"%s\"", word);
    if (near)
        fprintf(stderr, "; did you mean \"%s\"?", near);
    fprintf(stderr, "\n");
    return MG_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = "version";
    for (int i = 0; i < COMMANDS_N; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(argv[1]);
}
