/* trace.c - `moongate trace`: the chain as it ran, for one request or for those that pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/ask.h"
#include "config/config.h"

enum { TRIES = 60, PAUSE_MS = 50, FOLLOW_MS = 300 };

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the gateway's config: its admin listener, its debug header and secret", false },
    { "admin", 'a', "ADDR", "the admin listener: 127.0.0.1:9901, unix:/run/admin.sock", false },
    { "request", 'X', "METHOD", "of the request that is sent (GET, or POST with a body)", false },
    { "header", 'H', "FIELD", "\"name: value\", sent with it; may be given again", true },
    { "data", 'd', "TEXT", "its body", false },
    { "insecure", 'k', NULL, "do not check the certificate of an https URL", false },
    { "follow", 'f', NULL, "show requests as they pass, until interrupted", false },
    { "route", 'r', "ID", "with --follow: of this route alone", false },
    { "status", 's', "STATUS", "with --follow: 404, 5xx, 400-499", false },
    { "sample", 0, "SHARE", "with --follow: trace this share of all requests: 0.01 (1)", false },
    { "count", 'n', "N", "with --follow: end after that many", false },
    { "json", 'j', NULL, "as JSON", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "trace", .usage = "trace (-c FILE | --admin ADDR) (URL | ID | --follow)",
    .doc = "Shows a chain as it ran: each plugin, phase, verdict, time, and what it changed.\n"
           "URL   sends a request with the config's debug header (or the secret in MOONGATE_DEBUG_SECRET)\n"
           "ID    shows a trace that is kept: the x-moongate-trace of an answer",
    .options = options, .rest_max = 1,
};

/* What the config says of the debug header; texts from malloc. */
struct debug { char *header, *secret, *admin; };

static char *copy_of(const struct mg_value *v)
{
    return v && v->kind == MG_V_STRING ? strndup(v->text.p, v->text.n) : NULL;
}

static int debug_of(const char *path, struct debug *d)
{
    const char *secret = getenv("MOONGATE_DEBUG_SECRET");
    struct mg_config *config = NULL;
    struct mg_error err = { 0 };
    const struct mg_value *node, *v;

    if (path && mg_config_load(path, &config, &err) != 0)
        return mg_cli_fail(&about, "%s", err.message);
    if (config) {
        node = mg_value_get(config->root, "debug");
        v = mg_value_get(node, "secret");
        d->secret = copy_of(v && v->kind == MG_V_TABLE ? mg_value_at(v, 0) : v);
        d->header = copy_of(mg_value_get(node, "header"));
        v = mg_value_get(config->root, "admin");
        d->admin = copy_of(v && v->kind == MG_V_TABLE ? mg_value_at(v, 0) : v);
        mg_config_free(config);
    }
    if (secret && *secret) {
        free(d->secret);
        d->secret = strdup(secret);
    }
    if (!d->header)
        d->header = strdup("x-moongate-debug");
    return 0;
}

static void debug_free(struct debug *d)
{
    free(d->header);
    free(d->secret);
    free(d->admin);
}

static void pause_ms(long ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

static void print(struct mg_str text, bool newline)
{
    fwrite(text.p, 1, text.n, stdout);
    if (newline)
        putchar('\n');
    fflush(stdout);
}

/* ---- one that is kept -------------------------------------------------------------------------------- */

static bool is_id(const char *id)
{
    size_t n = strlen(id);

    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] >= 0x7f || strchr("?#%", id[i]))
            return false;
    return n > 0 && n <= 128;
}

/* It is kept once on_log has run, which is after the answer. */
static int show(const char *admin, const char *id, bool json, int tries)
{
    struct mg_asked a = { 0 };
    char path[256];

    if (!is_id(id))
        return mg_cli_fail(&about, "\"%s\" is neither a URL nor the id of a trace", id);
    snprintf(path, sizeof path, "/traces/%s%s", id, json ? "" : "?form=text");
    for (int i = 0;; i++) {
        if (mg_cli_get(&about, admin, path, &a) != 0)
            return MG_EXIT_FAILED;
        if (a.status != 404 || i + 1 >= tries)
            break;
        free(a.text);
        pause_ms(PAUSE_MS);
    }
    if (a.status == 200)
        print(a.body, json);
    else
        mg_cli_fail(&about, "%s: %.*s", id, (int)a.body.n, a.body.p);
    free(a.text);
    return a.status == 200 ? MG_EXIT_OK : MG_EXIT_FAILED;
}

/* ---- a request of our own ------------------------------------------------------------------------------ */

struct url { char address[300], host[256], path[4096]; bool tls; };

static bool url_parse(const char *text, struct url *u)
{
    const char *host = strstr(text, "://"), *slash, *colon;
    int n;

    u->tls = strncmp(text, "https://", 8) == 0;
    if (!host || (!u->tls && strncmp(text, "http://", 7) != 0))
        return false;
    host += 3;
    n = (int)strcspn(host, "/?#");
    slash = host + n;
    if (n == 0 || (size_t)n >= sizeof u->host || strchr(text, ' ') || strcspn(text, "\r\n") != strlen(text))
        return false;
    snprintf(u->host, sizeof u->host, "%.*s", n, host);
    colon = strrchr(u->host, ':');
    if (!colon || strchr(colon, ']'))
        snprintf(u->address, sizeof u->address, "%s:%d", u->host, u->tls ? 443 : 80);
    else
        snprintf(u->address, sizeof u->address, "%s", u->host);
    return snprintf(u->path, sizeof u->path, "%s%.*s", *slash == '/' ? "" : "/", (int)strcspn(slash, "#"), slash) < (int)sizeof u->path;
}

static char *request_of(const struct mg_cli *cli, const struct url *u, const struct debug *d, size_t *n)
{
    const char *data = mg_cli_text(cli, "data"), *method = mg_cli_text(cli, "request"), *field;
    char *text = NULL;
    FILE *f = open_memstream(&text, n);
    bool has_host = false;

    if (!f)
        return NULL;
    fprintf(f, "%s %s HTTP/1.1\r\n", method ? method : data ? "POST" : "GET", u->path);
    for (int i = 0; (field = mg_cli_text_at(cli, "header", i)); i++) {
        fprintf(f, "%s\r\n", field);
        has_host = has_host || strncasecmp(field, "host:", 5) == 0;
    }
    if (!has_host)
        fprintf(f, "host: %s\r\n", u->host);
    fprintf(f, "%s: %s\r\nconnection: close\r\n", d->header, d->secret);
    if (data)
        fprintf(f, "content-length: %zu\r\n", strlen(data));
    fprintf(f, "\r\n%s", data ? data : "");
    return fclose(f) == 0 ? text : NULL;
}

static int told(const struct mg_cli *cli, const char *admin, const struct mg_asked *a)
{
    struct mg_str id = mg_cli_field(a, "x-moongate-trace"), chain = mg_cli_field(a, "x-moongate-trace-chain");
    char text[129];

    if (!id.p)
        return mg_cli_fail(&about, "answered %d, without a trace: is this secret, from this address, one of the gateway's `debug`?", a->status);
    snprintf(text, sizeof text, "%.*s", (int)id.n, id.p);
    if (admin)
        return show(admin, text, mg_cli_flag(cli, "json"), TRIES);
    printf("%d\n", a->status); /* no admin listener: what the answer itself carries */
    print(chain, true);
    return MG_EXIT_OK;
}

static int send_and_show(const struct mg_cli *cli, const struct debug *d, const char *admin, const char *text)
{
    char host[256];
    struct mg_asked a;
    struct url u;
    size_t n = 0;
    char *request;
    int code;

    if (!url_parse(text, &u))
        return mg_cli_fail(&about, "\"%s\" is no http or https URL", text);
    if (!d->secret)
        return mg_cli_fail(&about, "no secret: the config has no `debug`, and MOONGATE_DEBUG_SECRET is not set");
    snprintf(host, sizeof host, "%.*s", (int)strcspn(u.host, ":"), u.host);
    request = request_of(cli, &u, d, &n);
    if (!request)
        return mg_cli_fail(&about, "out of memory");
    code = mg_cli_ask(&about, u.address, u.tls ? host : NULL, mg_cli_flag(cli, "insecure"), mg_str(request, n), &a);
    free(request);
    if (code != 0)
        return code;
    code = told(cli, admin, &a);
    free(a.text);
    return code;
}

/* ---- following ---------------------------------------------------------------------------------------- */

static void put_argument(char *to, size_t room, const char *name, const char *value)
{
    size_t n = strlen(to);

    n += (size_t)snprintf(to + n, room - n, "&%s=", name);
    for (; *value && n + 4 < room; value++)
        n += (size_t)snprintf(to + n, room - n, strchr("&%+#= ", *value) || *value <= ' ' ? "%%%02x" : "%c", (unsigned char)*value);
}

/* The page begins with two numbers: the newest trace's, and how many there are. */
static void numbers_of(struct mg_str body, unsigned long long *last, long *n)
{
    const char *digits = strpbrk(body.p, "0123456789");
    char *end = NULL;

    *last = digits ? strtoull(digits, &end, 10) : 0;
    digits = end ? strpbrk(end, "0123456789") : NULL;
    *n = digits ? strtol(digits, NULL, 10) : 0;
}

static void print_new(struct mg_str body, bool json)
{
    static const char list[] = "\"traces\":[";
    const char *p = json ? strstr(body.p, list) : strchr(body.p, '\n');

    if (!p)
        return;
    p += json ? sizeof list - 1 : 1;
    if (json)
        body.n -= 2; /* ]} */
    print(mg_str(p, body.n - (size_t)(p - body.p)), json);
}

static int follow(struct mg_cli *cli, const char *admin)
{
    static const char *const filters[] = { "route", "status", "sample" };
    bool json = mg_cli_flag(cli, "json");
    unsigned long long last = 0;
    char path[900];
    long most, n = 0, more;

    if (!mg_cli_number(cli, "count", 1, 1000000000, 1000000000, &most))
        return cli->exit_code;
    for (bool first = true; n < most; first = false) {
        struct mg_asked a;

        snprintf(path, sizeof path, "/traces?follow=%ld&after=%llu&form=%s", (long)getpid(), first ? ~0ull : last, json ? "json" : "text");
        for (int i = 0; i < 3; i++)
            if (mg_cli_text(cli, filters[i]))
                put_argument(path, sizeof path, filters[i], mg_cli_text(cli, filters[i]));
        if (mg_cli_get(&about, admin, path, &a) != 0)
            return MG_EXIT_FAILED;
        if (a.status != 200) {
            mg_cli_fail(&about, "%.*s", (int)a.body.n, a.body.p);
            free(a.text);
            return MG_EXIT_FAILED;
        }
        numbers_of(a.body, &last, &more);
        if (first)
            fprintf(stderr, "following; interrupt to end\n");
        if (more)
            print_new(a.body, json);
        n += more;
        free(a.text);
        if (n < most)
            pause_ms(FOLLOW_MS);
    }
    return MG_EXIT_OK;
}

int mg_cmd_trace(int argc, char **argv)
{
    struct debug d = { 0 };
    const char *admin, *word;
    struct mg_cli cli;
    int code;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    word = cli.rest_n ? cli.rest[0] : NULL;
    if (!word == !mg_cli_flag(&cli, "follow") || (!mg_cli_text(&cli, "config") && !mg_cli_text(&cli, "admin"))) {
        mg_cli_fail(&about, "what of which gateway? (%s)", about.usage);
        return MG_EXIT_USAGE;
    }
    code = debug_of(mg_cli_text(&cli, "config"), &d);
    admin = mg_cli_text(&cli, "admin") ? mg_cli_text(&cli, "admin") : d.admin;
    if (code != 0)
        ;
    else if (word && strstr(word, "://"))
        code = send_and_show(&cli, &d, admin, word);
    else if (!admin)
        code = mg_cli_fail(&about, "the config has no admin listener");
    else
        code = word ? show(admin, word, mg_cli_flag(&cli, "json"), 1) : follow(&cli, admin);
    debug_free(&d);
    return code;
}
