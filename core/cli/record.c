/* record.c - `moongate record`: exchanges of a running gateway, written to a file to be run again by `moongate replay`. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include "cli/ask.h"

enum { PAUSE_MS = 200, QUERY_MAX = 4096, GRACE_S = 10 };

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the gateway's config: names its admin listener", false },
    { "admin", 'a', "ADDR", "the admin listener: 127.0.0.1:9901, unix:/run/admin.sock", false },
    { "output", 'o', "FILE", "where to: added to, only its owner may read it (standard output)", false },
    { "route", 'r', "ID", "exchanges of this route alone", false },
    { "host", 0, "NAME", "…for this host", false },
    { "method", 'X', "METHOD", "…with this method", false },
    { "path", 'p', "PREFIX", "…whose path begins so", false },
    { "status", 's', "STATUS", "…answered 404, 5xx, 400-499", false },
    { "sample", 0, "SHARE", "this share of them: 0.01 (1)", false },
    { "limit", 'l', "BYTES", "keep at most so many of each body (65536)", false },
    { "count", 'n', "N", "end after that many", false },
    { "seconds", 't', "N", "end after that time", false },
    { "secret", 0, "NAME", "mask fields, arguments and JSON members of this name, too; may be given again", true },
    { "keep-secrets", 0, NULL, "mask nothing: whoever has the file has the keys in it", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "record", .usage = "record (-c FILE | --admin ADDR) [-o FILE]",
    .doc = "Writes exchanges of a running gateway with all that went into them, a line of JSON each: bytes, times, and what the\n"
           "plugins asked of clocks, counters and servers. Ends by --count, --seconds or Ctrl-C.",
    .options = options,
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = interrupted + 1;
}

/* ---- asking ---- */

static void put_argument(char *query, const char *name, const char *value)
{
    size_t n = strlen(query);
    struct mg_str coded;

    if (!value || mg_url_encode(value, strlen(value), &coded) != 0)
        return;
    snprintf(query + n, QUERY_MAX - n, "%s%s=%.*s", n ? "&" : "", name, (int)coded.n, coded.p);
}

static void query_of(const struct mg_cli *cli, char *query)
{
    static const char *const names[] = { "route", "host", "method", "path", "status", "sample", "limit", "count" };
    char secrets[1024] = "";

    query[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        put_argument(query, names[i], mg_cli_text(cli, names[i]));
    for (int i = 0; mg_cli_text_at(cli, "secret", i); i++) {
        size_t n = strlen(secrets);

        snprintf(secrets + n, sizeof secrets - n, "%s%s", n ? "," : "", mg_cli_text_at(cli, "secret", i));
    }
    put_argument(query, "secret", secrets[0] ? secrets : NULL);
    if (mg_cli_flag(cli, "keep-secrets"))
        put_argument(query, "secrets", "keep");
}

static int ask(const char *address, const char *method, const char *query, struct mg_asked *out)
{
    char request[QUERY_MAX + 256];
    int n = snprintf(request, sizeof request, "%s /recording%s%s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                     method, *query ? "?" : "", query);

    return mg_cli_ask(&about, address, NULL, false, mg_str(request, (size_t)n), out);
}

/* ---- writing ---- */

struct run { const char *address; int fd; unsigned long long recorded, dropped; bool more; };

static int put(int fd, struct mg_str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mg_cli_fail(&about, "cannot write: %s", n < 0 ? strerror(errno) : "the disk is full");
        s = mg_str(s.p + n, s.n - (size_t)n);
    }
    return 0;
}

/* All lines but the last are documents. */
static int take(struct run *r)
{
    struct mg_asked got;
    struct mg_str body;
    size_t last;
    char word[8];
    int rc = ask(r->address, "GET", "", &got);

    if (rc != 0)
        return rc;
    body = got.body;
    if (got.status != 200) {
        rc = mg_cli_fail(&about, "the gateway has ended the recording: %.*s", (int)body.n, body.p);
        free(got.text);
        return rc;
    }
    for (last = body.n; last > 1 && body.p[last - 2] != '\n'; last--)
        ;
    last = last ? last - 1 : 0;
    if (sscanf(body.p + last, "{\"more\":%7[a-z],\"recorded\":%llu,\"dropped\":%llu}", word, &r->recorded, &r->dropped) != 3)
        rc = mg_cli_fail(&about, "the admin listener says something else than expected");
    else
        rc = put(r->fd, mg_str(body.p, last));
    r->more = rc == 0 && strcmp(word, "true") == 0;
    free(got.text);
    return rc;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int stop(struct run *r)
{
    struct mg_asked got;
    int rc = ask(r->address, "DELETE", "", &got);

    if (rc == 0)
        free(got.text);
    return rc;
}

static int record(struct run *r, double seconds)
{
    double until = seconds > 0 ? now() + seconds : 1e18;
    struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    bool stopping = false;
    int rc = 0;

    while (r->more && rc == 0 && !(stopping && (interrupted > 1 || now() >= until))) {
        rc = take(r);
        if (rc == 0 && r->more && !stopping && (interrupted || now() >= until)) {
            stopping = true;
            interrupted = interrupted > 0;
            until = now() + GRACE_S; /* for those that are under way */
            rc = stop(r);
        } else if (r->more && rc == 0) {
            nanosleep(&pause, NULL);
        }
    }
    if (rc != 0)
        stop(r);
    fprintf(stderr, "%llu recorded", r->recorded);
    if (r->dropped)
        fprintf(stderr, ", %llu dropped (they came faster than they were taken)", r->dropped);
    fputc('\n', stderr);
    return rc == 0 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

static int begin(const struct mg_cli *cli, struct run *r)
{
    char query[QUERY_MAX];
    struct mg_asked got;
    int rc;

    query_of(cli, query);
    rc = ask(r->address, "POST", query, &got);
    if (rc != 0)
        return rc;
    if (got.status != 200)
        rc = mg_cli_fail(&about, "%.*s", (int)got.body.n, got.body.p);
    free(got.text);
    return rc;
}

int mg_cmd_record(int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    const char *output, *seconds;
    struct run r = { .fd = STDOUT_FILENO, .more = true };
    struct mg_cli cli;
    char *address;
    int rc;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    output = mg_cli_text(&cli, "output");
    seconds = mg_cli_text(&cli, "seconds");
    address = mg_cli_gateway(&cli, &about, "-c or --admin");
    if (!address)
        return cli.exit_code;
    if (output && (r.fd = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) {
        free(address);
        return mg_cli_fail(&about, "%s: %s", output, strerror(errno));
    }
    r.address = address;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    rc = begin(&cli, &r);
    rc = rc == 0 ? record(&r, seconds ? atof(seconds) : 0) : MG_EXIT_FAILED;
    if (output)
        close(r.fd);
    free(address);
    return rc;
}
