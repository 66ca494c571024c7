/* key_auth.c - who calls? The one whose API key this is.
 *
 *     consumers = { alice = { keys = { "k-alice-1", { "k-alice-2", id = "laptop" } } } }
 *     plugins   = { { "key-auth", header = { "x-api-key", "apikey" }, query = "api_key" } }
 *
 * A key is looked for in the headers, then the query, then the cookies that are named, and the first
 * one found decides: a wrong key is refused even where `anonymous` lets callers without a key in. */
#include "../cookies.h"
#include "../no_memory.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct conf {
    struct mg_array headers, query, cookies; /* of struct mg_str */
    struct mg_str scheme;
    struct mg_str anonymous;
    struct mg_str realm;
    bool hide;
};
struct instance {
    const struct conf *conf;
    struct mg_str challenge;
    struct mg_array headers; /* conf's, or x-api-key when nothing is named */
};
struct key {                 /* one credential */
    struct mg_str key, id;
};

static const struct mg_str default_header = { "x-api-key", 9 };

static const struct mg_field name_item = { .type = MG_STRING, .pattern = "[!#$%&'*+.^_`|~0-9A-Za-z-]+" };
static const struct mg_field argument_item = { .type = MG_STRING, .has_min = true, .min = 1 };

static const struct mg_field fields[] = {
    { .name = "header", .type = MG_LIST, .offset = offsetof(struct conf, headers), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Header fields that may carry the key; x-api-key when no place is named at all." },
    { .name = "query", .type = MG_LIST, .offset = offsetof(struct conf, query), .item = &argument_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Query arguments that may carry the key." },
    { .name = "cookie", .type = MG_LIST, .offset = offsetof(struct conf, cookies), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Cookies that may carry the key." },
    { .name = "scheme", .type = MG_STRING, .offset = offsetof(struct conf, scheme), .preset = "",
      .doc = "A word before the key in a header field, such as Bearer; fields without it hold no key." },
    { .name = "hide_credentials", .type = MG_BOOL, .offset = offsetof(struct conf, hide), .preset = "true",
      .doc = "Take the key off before the request goes upstream." },
    { .name = "anonymous", .type = MG_STRING, .offset = offsetof(struct conf, anonymous), .preset = "",
      .doc = "The consumer that callers without a key count as; empty: they are refused." },
    { .name = "realm", .type = MG_STRING, .offset = offsetof(struct conf, realm), .preset = "moongate",
      .pattern = "[^\"\\\\\\x00-\\x1f\\x7f]*", .doc = "The realm named in WWW-Authenticate." },
    { 0 }
};

static const struct mg_field credential_fields[] = {
    { .name = "key", .type = MG_STRING, .offset = offsetof(struct key, key), .required = true, .secret = true, .at = 1,
      .has_min = true, .min = 1, .doc = "The key." },
    { .name = "id", .type = MG_STRING, .offset = offsetof(struct key, id),
      .doc = "A name for the key in logs." },
    { 0 }
};
static const struct mg_credential_kind kind = {
    .kind = "keys", .fields = credential_fields, .conf_bytes = sizeof(struct key), .key = "key",
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    static const char open[] = "Key realm=\"";
    const struct conf *c = entry->conf;
    struct instance *in = malloc(sizeof(*in) + sizeof(open) + c->realm.n + 1);
    char *p;

    if (!in)
        return no_memory(err);
    p = (char *)(in + 1);
    in->conf = c;
    in->challenge = (struct mg_str){ p, sizeof(open) - 1 + c->realm.n + 1 };
    memcpy(p, open, sizeof(open) - 1);
    memcpy(p + sizeof(open) - 1, c->realm.p, c->realm.n);
    p[in->challenge.n - 1] = '"';
    in->headers = c->headers;
    if (!c->headers.n && !c->query.n && !c->cookies.n)
        in->headers = (struct mg_array){ &default_header, 1 };
    *self = in;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

/* ---- a request ---------------------------------------------------------------------------------- */

static bool strip_scheme(struct mg_str *value, struct mg_str scheme)
{
    if (scheme.n == 0)
        return true;
    if (value->n <= scheme.n || value->p[scheme.n] != ' ' || strncasecmp(value->p, scheme.p, scheme.n))
        return false;
    value->p += scheme.n;
    value->n -= scheme.n;
    while (value->n && *value->p == ' ') {
        value->p++;
        value->n--;
    }
    return true;
}

static bool find_key(struct mg_x *x, const struct instance *in, struct mg_str *key)
{
    const struct conf *c = in->conf;
    const struct mg_str *s = in->headers.items;

    for (size_t i = 0; i < in->headers.n; i++)
        if (mg_header_get(x, MG_REQUEST, s[i].p, s[i].n, key) == 0 && strip_scheme(key, c->scheme) && key->n)
            return true;
    s = c->query.items;
    for (size_t i = 0; i < c->query.n; i++)
        if (mg_query_get(x, s[i].p, s[i].n, key) == 0 && key->n)
            return true;
    s = c->cookies.items;
    for (size_t i = 0; i < c->cookies.n; i++)
        if (mg_request_cookie(x, s[i].p, s[i].n, key) == 0 && key->n)
            return true;
    return false;
}

static int hide(struct mg_x *x, const struct instance *in)
{
    const struct conf *c = in->conf;
    const struct mg_str *s = in->headers.items;
    struct mg_str value;

    for (size_t i = 0; i < in->headers.n; i++) /* another scheme's credentials stay */
        if (c->scheme.n == 0
            || (mg_header_get(x, MG_REQUEST, s[i].p, s[i].n, &value) == 0 && strip_scheme(&value, c->scheme)))
            mg_header_remove(x, MG_REQUEST, s[i].p, s[i].n);
    s = c->query.items;
    for (size_t i = 0; i < c->query.n; i++)
        mg_query_remove(x, s[i].p, s[i].n);
    s = c->cookies.items;
    for (size_t i = 0; i < c->cookies.n; i++)
        if (mg_hide_cookie(x, s[i]) < 0)
            return MG_ENOMEM;
    return 0;
}

static enum mg_verdict refuse(struct mg_x *x, const struct instance *in, const char *detail, size_t n)
{
    if (mg_respond_error(x, 401, detail, n) < 0
        || mg_header_set(x, MG_RESPONSE, "www-authenticate", 16, in->challenge.p, in->challenge.n) < 0)
        return MG_ERROR;
    return MG_RESPOND;
}

static enum mg_verdict without_key(struct mg_x *x, const struct instance *in)
{
    static const char none[] = "This needs an API key.";
    const struct conf *c = in->conf;
    struct mg_str id;

    if (!c->anonymous.n)
        return refuse(x, in, none, sizeof(none) - 1);
    if (mg_consumer_credential_id(x, &id) == 0) /* recognised by an earlier entry */
        return MG_CONTINUE;
    return mg_consumer_set(x, c->anonymous.p, c->anonymous.n) < 0 ? MG_ERROR : MG_CONTINUE;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    static const char wrong[] = "This API key is not valid.";
    const struct instance *in = self;
    struct mg_str key;
    int credential;

    (void)local;
    if (!find_key(x, in, &key))
        return without_key(x, in);
    credential = mg_credential_find(x, "keys", 4, key.p, key.n);
    if (credential == MG_ENOENT)
        return refuse(x, in, wrong, sizeof(wrong) - 1);
    if (credential < 0 || mg_consumer_set_credential(x, credential) < 0)
        return MG_ERROR;
    if (in->conf->hide && hide(x, in) < 0)
        return MG_ERROR;
    return MG_CONTINUE;
}

static const char *const provides[] = { "consumer", "credential", NULL };
static const char *const provides_anonymous[] = { "consumer", NULL };

static const char *const *provides_of(const void *conf)
{
    return ((const struct conf *)conf)->anonymous.n ? provides_anonymous : provides;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "key-auth", .version = "1.0",
    .doc = "Recognises consumers by API keys.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .provides = provides, .provides_of = provides_of, .credentials = &kind,
    .create = create, .destroy = destroy, .on_request = on_request,
};
