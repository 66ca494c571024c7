/* release.c - `moongate release`: let a plugin in again that is in quarantine, by the admin listener of a running gateway. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/ask.h"

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "ask the admin listener that this config names", false },
    { "admin", 'a', "ADDR", "ask the admin listener there: 127.0.0.1:9901, unix:/run/admin.sock", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "release", .usage = "release [PLUGIN] (-c FILE | --admin ADDR)",
    .doc = "Lets a plugin out of quarantine, or without a name all of them: its crashes are forgotten, the config is loaded anew.\n"
           "Waits for the outcome: prints ok, or why not.",
    .options = options, .rest_max = 1,
};

/* A plugin's name as a query may bear it: what is in no name is in no quarantine either. */
static bool is_name(const char *name)
{
    static const char fit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    return *name && name[strspn(name, fit)] == '\0';
}

static int ask(const char *address, const char *plugin)
{
    char request[512];
    struct mg_asked answer;
    int n, status;

    n = snprintf(request, sizeof request, "POST /release%s%s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                 plugin ? "?plugin=" : "", plugin ? plugin : "");
    if (n >= (int)sizeof request)
        return mg_cli_fail(&about, "\"%s\" is no name of a plugin", plugin);
    if (mg_cli_ask(&about, address, NULL, false, mg_str(request, (size_t)n), &answer) != 0)
        return MG_EXIT_FAILED;
    status = answer.status;
    if (status == 200)
        printf("ok: %s\n", answer.body.p);
    else if (status == 404)
        mg_cli_fail(&about, plugin ? "%s is not in quarantine" : "no plugin is in quarantine", plugin);
    else
        mg_cli_fail(&about, status == 422 ? "released, but the config was refused; what was in force still is\n%s" : "%s", answer.body.p);
    free(answer.text);
    return status == 200 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

int mg_cmd_release(int argc, char **argv)
{
    const char *plugin;
    struct mg_cli cli;
    char *address;
    int code;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    plugin = cli.rest_n ? cli.rest[0] : NULL;
    if (plugin && !is_name(plugin)) {
        mg_cli_fail(&about, "\"%s\" is no name of a plugin", plugin);
        return MG_EXIT_USAGE;
    }
    address = mg_cli_gateway(&cli, &about, "-c or --admin");
    if (!address)
        return cli.exit_code;
    code = ask(address, plugin);
    free(address);
    return code;
}
