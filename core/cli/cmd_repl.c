/* cmd_repl.c - `moongate repl` */
#include "cli/cli.h"
#include "trial/trial.h"

#include <stdio.h>

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "a config: .send lets the request go through its route", false },
    { "plugins", 'p', "FOLDER", "where plugins are, before the bundled ones", true },
    { 0 }
};
static const struct mg_command about = {
    .name = "repl", .usage = "repl [-c FILE] [METHOD] [URL] [--plugins FOLDER]",
    .doc = "A Lua prompt inside a simulated exchange, without sockets: x is the exchange, mg the rest of the PDK; .help tells more.",
    .options = options, .rest_max = 2,
};

int mg_cmd_repl(int argc, char **argv)
{
    const char *folders[MG_CLI_VALUES];
    char request[8192] = "";
    struct mg_cli cli;
    size_t n = 0;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    while (n < MG_CLI_VALUES && (folders[n] = mg_cli_text_at(&cli, "plugins", (int)n)))
        n++;
    if (cli.rest_n)
        snprintf(request, sizeof(request), "%s%s%s", cli.rest[0], cli.rest_n > 1 ? " " : "", cli.rest_n > 1 ? cli.rest[1] : "");
    return mg_trial_repl(mg_cli_text(&cli, "config"), cli.rest_n ? request : NULL, folders, n) == 0 ? MG_EXIT_OK : MG_EXIT_FAILED;
}
