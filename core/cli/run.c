/* run.c - `moongate run` */
#include "admin/admin.h"
#include "cli/cli.h"
#include "server/supervisor.h"

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the config to serve (required)", false },
    { "workers", 'w', "N", "worker threads, whatever the config says", false },
    { "no-supervisor", 0, NULL, "one process: nobody restarts it or keeps its sockets", false },
    { "watch", 0, NULL, "load the config anew when it, what it requires or a plugin is saved", false },
    { "pid-file", 0, "FILE", "write the process id there", false },
    { "ports", 0, "FILE", "write the addresses bound there, a JSON object a line, once they serve", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "run", .usage = "run -c FILE [--workers N] [--no-supervisor] [--watch] [--pid-file FILE] [--ports FILE]",
    .doc = "Serves a config until SIGTERM or SIGINT, which finish what is under way first.\n"
           "SIGHUP loads the config anew, SIGUSR1 opens log files anew, SIGQUIT ends at once.",
    .options = options,
};

int mg_cmd_run(int argc, char **argv)
{
    struct mg_supervisor_options o = { 0 };
    struct mg_cli cli;
    long workers;

    if (mg_cli_parse(&cli, &about, argc, argv) || !mg_cli_number(&cli, "workers", 1, MG_WORKERS_MAX - 1, 0, &workers))
        return cli.exit_code;
    o.gateway.config = mg_cli_text(&cli, "config");
    o.gateway.workers = (int)workers;
    o.gateway.ports_file = mg_cli_text(&cli, "ports");
    o.pid_file = mg_cli_text(&cli, "pid-file");
    o.gateway.watches = mg_cli_flag(&cli, "watch");
    if (!o.gateway.config) {
        mg_cli_fail(&about, "which config? (-c FILE)");
        return MG_EXIT_USAGE;
    }
    mg_admin_install();
    return mg_cli_flag(&cli, "no-supervisor") ? mg_supervisor_run_alone(&o) : mg_supervisor_run(&o);
}
