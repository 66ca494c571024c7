/* test.c - `moongate test` */
#include "cli/cli.h"
#include "trial/trial.h"

static const struct mg_option options[] = {
    { "name", 'n', "TEXT", "run only the tests whose name has this in it", false },
    { "plugins", 'p', "FOLDER", "where the plugins under test are, before the bundled ones", true },
    { "verbose", 'v', NULL, "tell of every test, with its time", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "test", .usage = "test [PATH…] [-n TEXT] [-v] [--plugins FOLDER]",
    .doc = "Runs specs of plugins and of whole configs (files and folders; spec/ by default) with simulated exchanges, without sockets.\n"
           "Exit code: 0 when all passed, 1 when one failed or none could run, 2 for a wrong command line.",
    .options = options, .rest_max = -1,
};

int mg_cmd_test(int argc, char **argv)
{
    static const char *const usual[] = { "spec" };
    const char *folders[MG_CLI_VALUES];
    struct mg_trial_options given = { .folders = folders };
    struct mg_cli cli;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    while (given.folders_n < MG_CLI_VALUES && (folders[given.folders_n] = mg_cli_text_at(&cli, "plugins", (int)given.folders_n)))
        given.folders_n++;
    given.paths = cli.rest_n ? (const char *const *)cli.rest : usual;
    given.paths_n = cli.rest_n ? (size_t)cli.rest_n : 1;
    given.filter = mg_cli_text(&cli, "name");
    given.verbose = mg_cli_flag(&cli, "verbose");
    return mg_trial_run(&given) == 0 ? MG_EXIT_OK : MG_EXIT_FAILED;
}
