/* test.c - `moongate test` */
#include "cli/cli.h"
#include "trial/trial.h"

static const struct mg_option options[] = {
    { "plugins", 'p', "FOLDER", "where the plugins under test are, before the bundled ones", true },
    { 0 }
};
static const struct mg_command about = {
    .name = "test", .usage = "test [PATH…] [--plugins FOLDER]",
    .doc = "Runs the specs of Lua plugins (files and folders; spec/ by default) with simulated exchanges, without sockets.",
    .options = options, .rest_max = -1,
};

int mg_cmd_test(int argc, char **argv)
{
    static const char *const usual[] = { "spec" };
    const char *folders[MG_CLI_VALUES];
    struct mg_cli cli;
    size_t n = 0;
    int failures;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    while (n < MG_CLI_VALUES && (folders[n] = mg_cli_text_at(&cli, "plugins", (int)n)))
        n++;
    failures = mg_trial_run(cli.rest_n ? (const char *const *)cli.rest : usual, cli.rest_n ? (size_t)cli.rest_n : 1, folders, n);
    return failures == 0 ? MG_EXIT_OK : MG_EXIT_FAILED;
}
