/* cmd_explain.c - `moongate explain`: which route a request takes, why not the others, and what happens to it. */
#include "cli/load.h"

#include <stdlib.h>
#include <unistd.h>

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "the config file", false },
    { "header", 'H', "'NAME: VALUE'", "a header field of the request", true },
    { "client", 0, "ADDRESS", "where it comes from (127.0.0.1)", false },
    { "listener", 0, "NAME", "the listener's name or address (the first that fits the scheme)", false },
    { "all", 'a', NULL, "every route that does not fit, not only the first ten", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "explain", .usage = "explain -c FILE METHOD URL [-H 'NAME: VALUE']…",
    .doc = "Says which route a request takes, why the others do not fit, which chain runs and what is sent upstream.\n"
           "Exit code: 0 when a route fits, 1 when none does, 2 for a wrong command line.",
    .options = options, .rest_min = 2, .rest_max = 2,
};

struct asked {
    struct mg_arena arena;
    struct mg_router_query q;
    struct mg_uri uri;
    struct mg_headers headers;
    uint8_t addr[16];
};

/* ---- the request ---- */

static int parse_host(struct asked *a, struct mg_str authority)
{
    size_t i = authority.n;
    struct mg_str host = authority;
    uint64_t port = a->q.is_https ? 443 : 80;
    char *lower;

    while (i > 0 && authority.p[i - 1] >= '0' && authority.p[i - 1] <= '9')
        i--;
    if (i > 0 && i < authority.n && authority.p[i - 1] == ':' && mg_str_u64(mg_str(authority.p + i, authority.n - i), 65535, &port))
        host.n = i - 1;
    host = mg_arena_copy(&a->arena, host.p ? host.p : "", host.n);
    lower = (char *)host.p;
    for (i = 0; lower && i < host.n; i++)
        lower[i] = mg_lower(lower[i]);
    a->q.host = host;
    a->q.port = (int)port;
    return host.p ? 0 : MG_ENOMEM;
}

static int parse_headers(struct asked *a, const struct mg_cli *cli)
{
    const char *text;

    for (int i = 0; (text = mg_cli_text_at(cli, "header", i)); i++) {
        const char *colon = strchr(text, ':');
        struct mg_str name, value;

        if (!colon || colon == text)
            return mg_cli_fail(&about, "-H %s: expected 'NAME: VALUE'", text), MG_EINVAL;
        name = mg_str_trim(mg_str(text, (size_t)(colon - text)));
        value = mg_str_trim(mg_str_c(colon + 1));
        if (mg_str_ieq(name, MG_STR("host")) && parse_host(a, value) != 0)
            return MG_ENOMEM;
        if (mg_headers_add(&a->headers, &a->arena, name, value) != 0)
            return MG_ENOMEM;
    }
    return 0;
}

/* The listener that the request would come in by. */
static void choose_listener(struct asked *a, const struct mg_cli *cli, const struct mg_snapshot *s)
{
    const char *wanted = mg_cli_text(cli, "listener");

    for (size_t i = 0; i < s->listeners_n; i++) {
        const struct mg_listener_conf *l = &s->listeners[i];

        if (l->is_admin || (wanted ? !mg_str_eq(mg_str_c(wanted), l->name) && !mg_str_eq(mg_str_c(wanted), l->address)
                                   : (l->tls != NULL) != a->q.is_https))
            continue;
        a->q.listener_name = l->name;
        a->q.listener_address = l->address;
        return;
    }
}

static int parse_client(struct asked *a, const struct mg_cli *cli)
{
    const char *client = mg_cli_text(cli, "client");
    struct mg_cidr one;

    if (mg_cidr_parse(mg_str_c(client ? client : "127.0.0.1"), &one) != 0 || one.bits != 128)
        return mg_cli_fail(&about, "--client %s: expected an address", client), MG_EINVAL;
    memcpy(a->addr, one.addr, 16);
    a->q.client_addr = a->addr;
    return 0;
}

static int parse(struct asked *a, const struct mg_cli *cli, const struct mg_snapshot *s)
{
    const char *url = cli->rest[1];
    int rc = mg_uri_parse(mg_str_c(url), &a->arena, &a->uri);

    if (rc != 0)
        return mg_cli_fail(&about, "%s: expected a URL (http://host/path) or a path", url), MG_EINVAL;
    a->q.method = mg_str_c(cli->rest[0]);
    a->q.path = a->uri.path;
    a->q.query = a->uri.query;
    a->q.is_https = mg_str_ieq(a->uri.scheme, MG_STR("https"));
    a->q.headers = &a->headers;
    if (parse_host(a, a->uri.authority) != 0)
        return MG_ENOMEM;
    rc = parse_headers(a, cli);
    if (rc == 0)
        rc = parse_client(a, cli);
    choose_listener(a, cli, s);
    return rc;
}

/* ---- the answer ---- */

static void print_request(const struct asked *a)
{
    printf("%srequest%s   ", mg_cli_colour(STDOUT_FILENO, MG_BOLD), mg_cli_colour(STDOUT_FILENO, MG_PLAIN));
    mg_cli_print(stdout, a->q.method);
    printf(" %s://", a->q.is_https ? "https" : "http");
    mg_cli_print(stdout, a->q.host);
    mg_cli_print(stdout, a->q.path);
    if (a->uri.has_query) {
        putchar('?');
        mg_cli_print(stdout, a->q.query);
    }
    putchar('\n');
}

static void print_chain(const struct mg_chain *chain)
{
    static const char *const phases[MG_PHASES] = { "on_rewrite", "on_request", "on_request_body", "on_response", "on_response_body", "on_log" };

    printf("chain     %s\n", chain->entries_n ? "" : "(empty)");
    for (int i = 0; i < chain->entries_n; i++) {
        const struct mg_chain_entry *e = chain->entries[i];
        const char *comma = "";

        printf("  %2d. ", i + 1);
        mg_cli_print(stdout, e->info.id);
        printf("%s%s:", e->info.route.n ? "" : " [global]", e->when >= 0 ? " [when …]" : "");
        if (e->observe)
            printf(" [only observes]");
        for (int p = 0; p < MG_PHASES; p++) {
            if (!(chain->has_phase[p] >> i & 1))
                continue;
            printf("%s %s", comma, phases[p]);
            comma = ",";
        }
        printf("%s\n", e->continue_on_error ? "; goes on after an error" : "");
    }
}

/* The path as the proxy will send it (proxy/forward.c says the same for live requests). */
static void print_sent_path(const struct asked *a, const struct mg_route *r, const struct mg_found *found)
{
    struct mg_str path = a->q.path, base = r->upstream_path;

    if (base.n && path.n && base.p[base.n - 1] == '/')
        base.n--;
    mg_cli_print(stdout, base);
    if (r->rewrite_parts_n) {
        for (size_t i = 0; i < r->rewrite_parts_n; i++) {
            struct mg_str part = i % 2 ? mg_str("", 0) : r->rewrite_parts[i];

            for (int k = 0; i % 2 && k < found->params_n; k++)
                if (mg_str_eq(found->params[k].name, r->rewrite_parts[i]))
                    part = found->params[k].value;
            mg_cli_print(stdout, part);
        }
    } else if (r->strip_prefix && found->literal_bytes <= path.n) {
        size_t cut = found->literal_bytes;

        cut -= cut && path.p[cut - 1] == '/';
        mg_cli_print(stdout, cut == path.n ? MG_STR("/") : mg_str(path.p + cut, path.n - cut));
    } else {
        mg_cli_print(stdout, path);
    }
    if (a->uri.has_query) {
        putchar('?');
        mg_cli_print(stdout, a->q.query);
    }
    putchar('\n');
}

static void print_upstream(const struct asked *a, const struct mg_route *r, const struct mg_found *found)
{
    if (r->redirect_https && !a->q.is_https) {
        printf("answer    %d, a redirect to https\n", r->redirect_https);
        return;
    }
    if (!r->upstream) {
        printf("upstream  none: a plugin answers, or the client gets 404\n");
        return;
    }
    printf("upstream  ");
    mg_cli_print(stdout, r->upstream->name);
    printf(" (%zu target%s%s)\nsent      ", r->upstream->targets_n, r->upstream->targets_n == 1 ? "" : "s", r->upstream->is_tls ? ", TLS" : "");
    print_sent_path(a, r, found);
    printf("host      %s", r->host_mode == MG_HOST_PRESERVE ? "as the client sent it\n" : r->host_mode == MG_HOST_UPSTREAM ? "the target's\n" : "");
    if (r->host_mode == MG_HOST_FIXED) {
        mg_cli_print(stdout, r->host);
        putchar('\n');
    }
}

struct others { size_t shown, hidden, max; const struct mg_pattern *chosen; };

static void print_other(void *arg, const struct mg_pattern *p, const char *why_not)
{
    struct others *o = arg;

    if (p == o->chosen)
        return;
    if (o->shown == o->max) {
        o->hidden++;
        return;
    }
    if (o->shown++ == 0)
        printf("others    in order of preference\n");
    printf("  ");
    mg_cli_print(stdout, p->id);
    printf(": %s\n", why_not ? why_not : "fits as well, but is less specific");
}

static int explain(struct asked *a, const struct mg_cli *cli, const struct mg_snapshot *s)
{
    const char *green = mg_cli_colour(STDOUT_FILENO, MG_GREEN), *red = mg_cli_colour(STDOUT_FILENO, MG_RED),
               *plain = mg_cli_colour(STDOUT_FILENO, MG_PLAIN);
    struct others others = { .max = mg_cli_flag(cli, "all") ? (size_t)-1 : 10 };
    struct mg_found found = { 0 };
    const struct mg_route *r;

    mg_router_match(s->router, &a->q, &a->arena, &found);
    r = found.route;
    print_request(a);
    if (r) {
        printf("route     %s", green);
        mg_cli_print(stdout, r->id);
        printf("%s", plain);
        if (found.path_pattern.n) {
            printf(" by ");
            mg_cli_print(stdout, found.path_pattern);
        }
        putchar('\n');
        for (int i = 0; i < found.params_n; i++) {
            printf("  {");
            mg_cli_print(stdout, found.params[i].name);
            printf("} = ");
            mg_cli_print(stdout, found.params[i].value);
            putchar('\n');
        }
        print_chain(r->chain);
        print_upstream(a, r, &found);
        others.chosen = found.pattern;
    } else {
        printf("route     %snone%s: the client gets %s\n", red, plain, found.path_exists ? "405" : "404");
        if (found.path_exists) {
            printf("allow     ");
            mg_cli_print(stdout, found.allow);
            putchar('\n');
        }
        print_chain(s->global);
    }
    mg_router_explain(s->router, &a->q, &a->arena, print_other, &others);
    if (others.hidden)
        printf("  … and %zu more (--all shows them)\n", others.hidden);
    return r ? MG_EXIT_OK : MG_EXIT_FAILED;
}

int mg_cmd_explain(int argc, char **argv)
{
    struct mg_snapshot *s;
    struct asked asked;
    struct mg_cli cli;
    int rc;

    s = mg_cli_begin(&cli, &about, argc, argv);
    if (!s)
        return cli.exit_code;
    memset(&asked, 0, sizeof(asked));
    mg_arena_init(&asked.arena, NULL, 256 << 20);
    rc = parse(&asked, &cli, s);
    rc = rc == 0 ? explain(&asked, &cli, s) : rc == MG_EINVAL ? MG_EXIT_USAGE : MG_EXIT_FAILED;
    mg_arena_deinit(&asked.arena);
    mg_snapshot_free(s);
    return rc;
}
