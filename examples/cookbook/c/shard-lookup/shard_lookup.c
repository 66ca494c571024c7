/* shard_lookup.c - each tenant's data lies in one of several upstreams, and a directory service knows in which.
 *
 * The tenant's name comes in a field; GET <directory>/<tenant> answers with the name of an upstream. Answers are kept in a
 * dictionary that all workers share. When the directory is away a kept answer is used though its time is over: a tenant does not
 * move while nobody can say so. Without one: 503. An unknown tenant: 404, kept for a shorter while. Limits: of many requests that ask
 * at once for the same tenant each asks the directory. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1
#define NAME_MAX_BYTES 64

struct conf {
    struct mg_str header, directory;
    int64_t ttl_ms, unknown_ttl_ms, timeout_ms;
};

static const struct mg_field fields[] = {
    { .name = "directory", .type = MG_STRING, .offset = offsetof(struct conf, directory), .at = 1, .required = true,
      .pattern = "https?://.*[^/]", .doc = "The URL before the tenant's name." },
    { .name = "header", .type = MG_STRING, .offset = offsetof(struct conf, header), .preset = "x-tenant", .doc = "The field that names the tenant." },
    { .name = "ttl", .type = MG_DURATION, .offset = offsetof(struct conf, ttl_ms), .preset = "1m", .has_min = true, .min = 1,
      .doc = "How long an answer is good." },
    { .name = "unknown_ttl", .type = MG_DURATION, .offset = offsetof(struct conf, unknown_ttl_ms), .preset = "5s", .has_min = true, .min = 1,
      .doc = "How long a tenant stays unknown." },
    { .name = "timeout", .type = MG_DURATION, .offset = offsetof(struct conf, timeout_ms), .preset = "500ms", .has_min = true, .min = 1,
      .doc = "How long the directory may take." },
    { 0 }
};

struct lookup {
    const struct conf *conf;
    struct mg_shared *known;
};
struct call {
    int req;
    struct mg_str tenant;
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct lookup *l = malloc(sizeof(*l));

    if (!l || !(l->known = mg_shared_open(LIT("shards")))) {
        free(l);
        snprintf(err->message, sizeof(err->message), "out of memory, or there are too many dictionaries");
        return err->code = MG_ENOMEM;
    }
    l->conf = entry->conf;
    *self = l;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

static enum mg_verdict refuse(struct mg_x *x, int status, const char *detail, size_t n)
{
    return mg_respond_error(x, status, detail, n) < 0 ? MG_ERROR : MG_RESPOND;
}

/* A name that may stand in a path as it is. */
static bool is_name(struct mg_str s)
{
    if (s.n == 0 || s.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_'))
            return false;
    return true;
}

/* An empty text stands for a tenant that there is not. */
static enum mg_verdict go_to(struct mg_x *x, struct mg_str upstream)
{
    if (upstream.n == 0)
        return refuse(x, 404, LIT("There is no such tenant."));
    if (mg_upstream_set(x, upstream.p, upstream.n) < 0) {
        mg_log_text("upstream", 8, upstream.p, upstream.n);
        mg_log(MG_LOG_ERROR, LIT("the directory names an upstream that there is not"));
        return refuse(x, 503, LIT("This tenant cannot be served now."));
    }
    return MG_CONTINUE;
}

static enum mg_verdict ask(struct mg_x *x, const struct conf *c, struct mg_str tenant)
{
    struct call *call = mg_x_local(x, sizeof(*call));
    size_t n = c->directory.n + 1 + tenant.n;
    char *url = mg_x_alloc(x, n);

    if (!call || !url)
        return MG_ERROR;
    memcpy(url, c->directory.p, c->directory.n);
    url[c->directory.n] = '/';
    memcpy(url + c->directory.n + 1, tenant.p, tenant.n);
    call->tenant = tenant;
    call->req = mg_http_new(x, LIT("GET"), url, n);
    if (call->req < 0 || mg_http_set(x, call->req, MG_HTTP_TOTAL_MS, c->timeout_ms) < 0 || mg_http_set(x, call->req, MG_HTTP_LIMIT, 1024) < 0)
        return MG_ERROR;
    return mg_http_send(x, call->req) > 0 ? MG_WAIT : MG_ERROR; /* on_wake goes on */
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct lookup *l = self;
    struct mg_str tenant;
    struct mg_datum found;

    if (mg_header_get(x, MG_REQUEST, l->conf->header.p, l->conf->header.n, &tenant) < 0 || !is_name(tenant))
        return refuse(x, 400, LIT("This needs the name of a tenant."));
    if (mg_shared_get(l->known, tenant.p, tenant.n, &found) >= 0 && found.kind == MG_TEXT)
        return go_to(x, found.text);
    return ask(x, l->conf, tenant);
}

/* The directory did not answer: what it said last, if that is still there. */
static enum mg_verdict from_memory(struct mg_x *x, const struct lookup *l, struct mg_str tenant)
{
    struct mg_datum found;

    if (mg_shared_get_stale(l->known, tenant.p, tenant.n, &found) >= 0 && found.kind == MG_TEXT && found.text.n)
        return go_to(x, found.text);
    mg_log(MG_LOG_ERROR, LIT("the directory does not answer"));
    return refuse(x, 503, LIT("This tenant cannot be found now."));
}

static struct mg_str trimmed(struct mg_str s)
{
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == ' '))
        s.n--;
    return s;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    const struct lookup *l = self;
    struct call *call = mg_x_local(x, sizeof(*call));
    int http = status == 0 ? mg_http_status(x, call->req) : 0;
    struct mg_str body = { "", 0 };
    int64_t ttl_ms = l->conf->unknown_ttl_ms;

    if (http == 200) {
        mg_http_body(x, call->req, &body);
        body = trimmed(body);
        ttl_ms = l->conf->ttl_ms;
    }
    if (!(http == 404 || (http == 200 && is_name(body))))
        return from_memory(x, l, call->tenant);
    if (mg_shared_set_text(l->known, MG_SHARED_SET, call->tenant.p, call->tenant.n, body.p, body.n, ttl_ms) < 0)
        mg_log(MG_LOG_WARN, LIT("an answer of the directory could not be kept"));
    return go_to(x, body); /* the request's data goes with the exchange */
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "shard-lookup", .version = "1.0",
    .doc = "Chooses a tenant's upstream by asking a directory.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request, .on_wake = on_wake,
};
