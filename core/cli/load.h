/* load.h - a config for the commands that only look at it. */
#ifndef MG_CLI_LOAD_H
#define MG_CLI_LOAD_H

#include "cli/cli.h"
#include "server/build.h"
#include <stdio.h>

/* The snapshot of a config, its scripts tried in one VM. NULL: the mistakes are on stderr. Free with mg_snapshot_free. */
struct mg_snapshot *mg_cli_load(const struct mg_command *command, const char *path);
/* The beginning of a command that needs a config: mg_cli_parse, then the snapshot of -c FILE. NULL: the command is over,
 * cli->exit_code says how. */
struct mg_snapshot *mg_cli_begin(struct mg_cli *cli, const struct mg_command *command, int argc, char **argv);
/* Text that a terminal is not to obey: control characters become "?". */
void mg_cli_print(FILE *out, struct mg_str text);

#endif
