/* request_size_limit.c - how large may a request be?
 *
 *     { "request-size-limit", body = "1m", headers = "8k", require_length = true }
 *
 * A length that is announced is judged before anything else happens; one that is not is counted as it streams by, and the
 * request is cut off with 413 at the first byte too many. (limits.body bounds a route as well; this is for part of
 * its requests, with `when`, or for a bound on the headers that depends on the route.) */
#include <moongate/plugin.h>
#include <stdio.h>

struct conf {
    int64_t body, headers;
    bool require_length;
};

static const struct mg_field fields[] = {
    { .name = "body", .type = MG_SIZE, .offset = offsetof(struct conf, body), .at = 1, .preset = "0", .has_min = true, .min = 0,
      .doc = "Most bytes of a body; 0: any number." },
    { .name = "headers", .type = MG_SIZE, .offset = offsetof(struct conf, headers), .preset = "0", .has_min = true, .min = 0,
      .doc = "Most bytes of all header fields together, names, values and 4 for each; 0: any number." },
    { .name = "require_length", .type = MG_BOOL, .offset = offsetof(struct conf, require_length), .preset = "false",
      .doc = "Refuse a body whose length is not announced with 411." },
    { 0 }
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    const struct conf *c = entry->conf;

    if (!c->body && !c->headers && !c->require_length) {
        snprintf(err->message, sizeof(err->message), "limits nothing: give body, headers or require_length");
        return err->code = MG_ECONF;
    }
    *self = (void *)c;
    return 0;
}

static enum mg_verdict refuse(struct mg_x *x, int status, const char *detail, size_t n)
{
    return mg_respond_error(x, status, detail, n) < 0 ? MG_ERROR : MG_RESPOND;
}

static bool has_too_many_headers(struct mg_x *x, int64_t most)
{
    struct mg_str name, value;
    int64_t sum = 0;

    for (int i = 0; mg_header_at(x, MG_REQUEST, i, &name, &value) == 0; i++)
        sum += (int64_t)(name.n + value.n) + 4;
    return sum > most;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    static const char no_length[] = "This needs a Content-Length.", big_body[] = "The body is too large.",
                      big_head[] = "The header fields are too large.";
    const struct conf *c = self;
    int64_t length = mg_body_length(x, MG_REQUEST);

    (void)local;
    if (c->headers && has_too_many_headers(x, c->headers))
        return refuse(x, 431, big_head, sizeof(big_head) - 1);
    if (c->require_length && length == -1)
        return refuse(x, 411, no_length, sizeof(no_length) - 1);
    if (c->body && length > c->body)
        return refuse(x, 413, big_body, sizeof(big_body) - 1);
    return MG_CONTINUE;
}

static enum mg_verdict on_request_body(struct mg_x *x, void *self, void *local)
{
    static const char big_body[] = "The body is too large.";
    const struct conf *c = self;
    int64_t *seen;
    struct mg_str piece;

    (void)local;
    if (!c->body || mg_body_length(x, MG_REQUEST) >= 0) /* judged by its length */
        return MG_CONTINUE;
    seen = mg_x_local(x, sizeof(*seen));
    if (!seen || mg_piece_get(x, &piece) < 0)
        return MG_ERROR;
    *seen += (int64_t)piece.n;
    if (*seen <= c->body)
        return MG_CONTINUE;
    return refuse(x, 413, big_body, sizeof(big_body) - 1); /* the upstream is cut off; an error when an answer has begun */
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "request-size-limit", .version = "1.0",
    .doc = "Refuses requests that are too large.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .on_request = on_request, .on_request_body = on_request_body,
};
