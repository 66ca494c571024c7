/* replay.c - `moongate replay` and `moongate diff`: recorded exchanges over a config, without a network. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include "cli/cli.h"
#include "trial/trial.h"

static const struct mg_option replay_options[] = {
    { "config", 'c', "FILE", "the config to run it over (gateway.lua)", false },
    { "quiet", 'q', NULL, "print those that differ, alone", false },
    { "json", 0, NULL, "a line of JSON for each exchange", false },
    { 0 }
};
static const struct mg_command about_replay = {
    .name = "replay", .usage = "replay FILE [-c CONFIG]",
    .doc = "Runs the exchanges of a recording (moongate record) through the same chain, offline: with their bytes, clocks and\n"
           "what plugins were told from outside. Prints what each plugin did, and stops where the outcome differs.\n"
           "Exit code: 0 when all is as it was, 1 when something differs.",
    .options = replay_options, .rest_max = 1,
};

static const struct mg_option diff_options[] = {
    { "with", 'w', "FILE", "the recording", false },
    { "quiet", 'q', NULL, "print how many, alone", false },
    { "json", 0, NULL, "a line of JSON for each request", false },
    { 0 }
};
static const struct mg_command about_diff = {
    .name = "diff", .usage = "diff OLD NEW --with RECORDING",
    .doc = "Runs recorded requests through two configs and says which of them would match another route, get another status, other\n"
           "fields or another body, or go to another upstream. Exit code: 0 when none would, 1 when some would.",
    .options = diff_options, .rest_max = 2,
};

/* Absolute, as the simulation runs in the config's folder. */
static const char *real(const struct mg_command *about, const char *path, char *out)
{
    if (realpath(path, out))
        return out;
    mg_cli_fail(about, "%s: %s", path, strerror(errno));
    return NULL;
}

/* args[1] is for the flags. */
static int simulate(const struct mg_cli *cli, const char **args, size_t n)
{
    bool quiet = mg_cli_flag(cli, "quiet"), json = mg_cli_flag(cli, "json");

    args[1] = quiet && json ? "quiet,json" : quiet ? "quiet" : json ? "json" : "";
    return mg_trial_module(args[2], "moongate.replay", args, n) == 0 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

int mg_cmd_replay(int argc, char **argv)
{
    char config[PATH_MAX], recording[PATH_MAX];
    const char *args[4] = { "replay" };
    struct mg_cli cli;

    if (mg_cli_parse(&cli, &about_replay, argc, argv))
        return cli.exit_code;
    if (cli.rest_n != 1) {
        mg_cli_fail(&about_replay, "which recording?");
        return MG_EXIT_USAGE;
    }
    args[2] = real(&about_replay, mg_cli_text(&cli, "config") ? mg_cli_text(&cli, "config") : "gateway.lua", config);
    args[3] = real(&about_replay, cli.rest[0], recording);
    return args[2] && args[3] ? simulate(&cli, args, 4) : MG_EXIT_FAILED;
}

int mg_cmd_diff(int argc, char **argv)
{
    char old_config[PATH_MAX], new_config[PATH_MAX], recording[PATH_MAX];
    const char *args[5] = { "diff" };
    struct mg_cli cli;

    if (mg_cli_parse(&cli, &about_diff, argc, argv))
        return cli.exit_code;
    if (cli.rest_n != 2 || !mg_cli_text(&cli, "with")) {
        mg_cli_fail(&about_diff, "two configs and --with a recording");
        return MG_EXIT_USAGE;
    }
    args[2] = real(&about_diff, cli.rest[0], old_config);
    args[3] = real(&about_diff, cli.rest[1], new_config);
    args[4] = real(&about_diff, mg_cli_text(&cli, "with"), recording);
    return args[2] && args[3] && args[4] ? simulate(&cli, args, 5) : MG_EXIT_FAILED;
}
