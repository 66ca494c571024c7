/* reload.c - `moongate reload`: ask the admin listener of a running gateway, or signal its process. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cli/cli.h"
#include "config/config.h"
#include "net/resolver.h"

enum { ANSWER_MAX = 1 << 20, WAIT_S = 120 };

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

/* The config's own word on its admin listener: "127.0.0.1:9901", or a table that begins with it. */
static char *admin_of(const char *path)
{
    struct mg_config *config = NULL;
    struct mg_error err = { 0 };
    const struct mg_value *v;
    char *text = NULL;

    if (mg_config_load(path, &config, &err) != 0) {
        mg_cli_fail(&about, "%s", err.message);
        return NULL;
    }
    v = mg_value_get(config->root, "admin");
    if (v && v->kind == MG_V_TABLE)
        v = mg_value_at(v, 0);
    if (v && v->kind == MG_V_STRING)
        text = strndup(v->text.p, v->text.n);
    else
        mg_cli_fail(&about, "%s has no admin listener: use --pid-file", path);
    mg_config_free(config);
    return text;
}

static int connect_to(const char *address)
{
    struct timeval wait = { .tv_sec = WAIT_S };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *colon = strrchr(address, ':');
    const struct sockaddr *sa = (const struct sockaddr *)&un;
    socklen_t n = sizeof un;
    struct mg_address a;
    int fd;

    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 5);
    } else if (colon && mg_address_parse(mg_str(address, (size_t)(colon - address)), atoi(colon + 1), &a) == 0) {
        sa = (const struct sockaddr *)&a.sa;
        n = sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    } else {
        mg_cli_fail(&about, "\"%s\" is no address", address);
        return -1;
    }
    fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        if (connect(fd, sa, n) == 0)
            return fd;
        close(fd);
    }
    mg_cli_fail(&about, "%s: %s", address, strerror(errno));
    return -1;
}

static char *exchange(int fd)
{
    static const char request[] = "POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    char *text = malloc(ANSWER_MAX + 1);
    size_t n = 0;
    ssize_t got = 1;

    if (text && send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        got = 0;
    while (text && got > 0 && n < ANSWER_MAX) {
        got = recv(fd, text + n, ANSWER_MAX - n, 0);
        n += got > 0 ? (size_t)got : 0;
    }
    if (text)
        text[n] = '\0';
    return text;
}

static int ask(const char *address)
{
    int fd = connect_to(address), status = 0;
    char *text, *body;

    if (fd < 0)
        return MG_EXIT_FAILED;
    text = exchange(fd);
    close(fd);
    body = text ? strstr(text, "\r\n\r\n") : NULL;
    if (!body || sscanf(text, "HTTP/1.%*d %d", &status) != 1) {
        free(text);
        return mg_cli_fail(&about, "%s gave no answer", address);
    }
    body += 4;
    if (status == 200)
        printf("ok: %s\n", body);
    else
        mg_cli_fail(&about, status == 422 ? "refused; what was in force still is\n%s" : "%s", body);
    free(text);
    return status == 200 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

int mg_cmd_reload(int argc, char **argv)
{
    const char *config, *admin, *pid_file;
    struct mg_cli cli;
    char *address;
    int code;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    config = mg_cli_text(&cli, "config");
    admin = mg_cli_text(&cli, "admin");
    pid_file = mg_cli_text(&cli, "pid-file");
    if (admin)
        return ask(admin);
    if (pid_file)
        return signal_process(pid_file);
    if (!config) {
        mg_cli_fail(&about, "which gateway? (-c, --admin or --pid-file)");
        return MG_EXIT_USAGE;
    }
    address = admin_of(config);
    if (!address)
        return MG_EXIT_FAILED;
    code = ask(address);
    free(address);
    return code;
}
