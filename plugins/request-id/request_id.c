/* request_id.c - one id for a request, in every log that it passes.
 *
 *     plugins = { "request-id" }
 *     plugins = { { "request-id", header = "x-correlation-id", accept = "always", format = "uuid" } }
 *
 * The core has an id for every exchange already. This plugin lets a client's own id take its place
 * where that is wanted, hands the id to the upstream, and echoes it in the answer. In the global chain it acts before
 * routing, so answers to requests that fit no route carry the id too. */
#include <moongate/plugin.h>

enum { ACCEPT_NEVER, ACCEPT_TRUSTED, ACCEPT_ALWAYS };
enum { FORMAT_UUID, FORMAT_HEX };

struct conf {
    struct mg_str header;
    int accept;
    int format;
    bool upstream;
    bool echo;
};

static const char *const accept_words[] = { "never", "trusted", "always", NULL };
static const char *const format_words[] = { "uuid", "hex", NULL };

static const struct mg_field fields[] = {
    { .name = "header", .type = MG_STRING, .offset = offsetof(struct conf, header), .preset = "x-request-id", .at = 1,
      .pattern = "[!#$%&'*+.^_`|~0-9A-Za-z-]+", .doc = "The field that carries the id." },
    { .name = "accept", .type = MG_ENUM, .offset = offsetof(struct conf, accept), .values = accept_words, .preset = "trusted",
      .doc = "Whose ids are taken over: nobody's, those that come through a trusted proxy, or everybody's." },
    { .name = "format", .type = MG_ENUM, .offset = offsetof(struct conf, format), .values = format_words, .preset = "uuid",
      .doc = "The form of an id made here: a random UUID, or 32 hex digits." },
    { .name = "upstream", .type = MG_BOOL, .offset = offsetof(struct conf, upstream), .preset = "true",
      .doc = "Send the id to the upstream." },
    { .name = "echo", .type = MG_BOOL, .offset = offsetof(struct conf, echo), .preset = "true",
      .doc = "Send the id back to the client." },
    { 0 }
};

static bool takes_over(struct mg_x *x, const struct conf *c)
{
    struct mg_str given;

    if (c->accept == ACCEPT_NEVER || mg_header_get(x, MG_REQUEST, c->header.p, c->header.n, &given) < 0)
        return false;
    if (c->accept == ACCEPT_TRUSTED && mg_client_peer_is_trusted(x) <= 0)
        return false;
    return mg_x_set_id(x, given.p, given.n) == 0; /* refuses what is no id: 1 to 128 visible characters */
}

static enum mg_verdict give_id(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;
    bool *is_done = mg_x_local(x, sizeof(*is_done));
    struct mg_str id;

    (void)local;
    if (!is_done)
        return MG_ERROR;
    if (*is_done) /* by on_rewrite */
        return MG_CONTINUE;
    *is_done = true;
    if (!takes_over(x, c) && c->format == FORMAT_UUID && (mg_uuid(&id) < 0 || mg_x_set_id(x, id.p, id.n) < 0))
        return MG_ERROR;
    if (mg_x_id(x, &id) < 0)
        return MG_ERROR;
    if (!c->upstream) {
        mg_header_remove(x, MG_REQUEST, c->header.p, c->header.n);
        return MG_CONTINUE;
    }
    return mg_header_set(x, MG_REQUEST, c->header.p, c->header.n, id.p, id.n) < 0 ? MG_ERROR : MG_CONTINUE;
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;
    struct mg_str id;

    (void)local;
    if (c->echo && mg_x_id(x, &id) == 0 && mg_header_set(x, MG_RESPONSE, c->header.p, c->header.n, id.p, id.n) < 0)
        return MG_ERROR;
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "request-id", .version = "1.0",
    .doc = "Gives every request an id that the upstream, the client and the logs see.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .on_rewrite = give_id, .on_request = give_id, .on_response = on_response,
};
