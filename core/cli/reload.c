/* reload.c - `moongate reload`: ask the admin listener of a running gateway, or signal its process. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/ask.h"

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "ask the admin listener that this config names", false },
    { "admin", 'a', "ADDR", "ask the admin listener there: 127.0.0.1:9901, unix:/run/admin.sock", false },
    { "pid-file", 0, "FILE", "only send SIGHUP to the process of this file: the outcome is in its log", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "reload", .usage = "reload (-c FILE | --admin ADDR | --pid-file FILE)",
    .doc = "Has a running gateway load its config anew and waits for the outcome: prints ok, or every mistake.",
    .options = options,
};

static int signal_process(const char *path)
{
    FILE *f = fopen(path, "re");
    int pid = 0;

    if (!f)
        return mg_cli_fail(&about, "%s: %s", path, strerror(errno));
    if (fscanf(f, "%d", &pid) != 1 || pid <= 1) {
        fclose(f);
        return mg_cli_fail(&about, "%s: holds no process id", path);
    }
    fclose(f);
    if (kill(pid, SIGHUP) != 0)
        return mg_cli_fail(&about, "process %d: %s", pid, strerror(errno));
    printf("sent SIGHUP to %d\n", pid);
    return MG_EXIT_OK;
}

static int ask(const char *address)
{
    static const char request[] = "POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    struct mg_asked answer;
    int status;

    if (mg_cli_ask(&about, address, NULL, false, mg_str(request, sizeof request - 1), &answer) != 0)
        return MG_EXIT_FAILED;
    status = answer.status;
    if (status == 200)
        printf("ok: %s\n", answer.body.p);
    else
        mg_cli_fail(&about, status == 422 ? "refused; what was in force still is\n%s" : "%s", answer.body.p);
    free(answer.text);
    return status == 200 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

int mg_cmd_reload(int argc, char **argv)
{
    const char *pid_file;
    struct mg_cli cli;
    char *address;
    int code;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    pid_file = mg_cli_text(&cli, "pid-file");
    if (pid_file && !mg_cli_text(&cli, "admin"))
        return signal_process(pid_file);
    address = mg_cli_gateway(&cli, &about, "-c, --admin or --pid-file");
    if (!address)
        return cli.exit_code;
    code = ask(address);
    free(address);
    return code;
}
